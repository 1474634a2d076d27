//! A server that answers requests, in their order, with what it was given, whatever they ask.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests uses its own part"
)]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which connection it came over, from 0.
    pub(crate) connection: usize,
    /// Its first line and headers, lower case.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: String,
}

/// The server.
pub(crate) struct Play {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A whole reply.
pub(crate) fn reply(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Play {
    /// Starts it. Where nothing is left to answer with, it hangs up.
    pub(crate) fn start(replies: Vec<Vec<u8>>) -> Self {
        Self::answering({
            let replies = Mutex::new(VecDeque::from(replies));
            move |_: &Seen| replies.lock().unwrap().pop_front().unwrap_or_default()
        })
    }

    /// Starts one that hangs up after each reply.
    pub(crate) fn closing(replies: Vec<Vec<u8>>) -> Self {
        let replies = Mutex::new(VecDeque::from(replies));
        let next = move |_: &Seen| replies.lock().unwrap().pop_front().unwrap_or_default();
        Self::serving(next, true)
    }

    /// Starts one that answers by what is asked. An empty answer hangs up.
    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serving(answer, false)
    }

    fn serving(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static, closing: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        // It ends with the test's process.
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || serve(connection, stream.unwrap(), &*answer, &seen, closing));
            }
        });
        Self { url, seen: kept }
    }

    /// What was asked until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    connection: usize,
    mut stream: TcpStream,
    answer: &dyn Fn(&Seen) -> Vec<u8>,
    seen: &Mutex<Vec<Seen>>,
    closing: bool,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let one = Seen {
            connection,
            head,
            body: String::from_utf8(body).unwrap(),
        };
        seen.lock().unwrap().push(one.clone());
        let bytes = answer(&one);
        if bytes.is_empty() || stream.write_all(&bytes).is_err() || closing {
            return;
        }
    }
}
