//! One connection: requests one after the other, each with its one answer.

use std::{future::Future, pin::Pin, task::Context};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Uri,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use calgrant_exchange::{CallError, Meaning};

use super::{
    kerberos::Seal,
    tls::{not_trusted, server_end_point},
};

/// Longest head of a reply, in bytes: lists of cookies and tokens of a few kilobytes fit.
const LONGEST_HEAD: usize = 64 << 10;

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header as text; empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name);
        value
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    }
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The request never went out: the connection had ended before.
    NotSent,
    /// It went out, and the connection was lost.
    Broken(String),
    /// The answer is longer than allowed.
    TooLong,
}

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves bytes. Polled while a call waits, and before the next: what a server sends unasked ends the connection.
    driver: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// What binds a sign-in to this server; none without TLS.
    pub(crate) binding: Option<Vec<u8>>,
    /// A sign-in that belongs to the connection has been made on it.
    pub(crate) signed_in: bool,
    /// Bodies on it are sealed in this.
    pub(crate) seal: Option<Seal>,
}

fn not_connected(why: impl std::fmt::Display) -> CallError {
    CallError::new(Meaning::Retry, "connect", why.to_string())
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// It can't, or the server is not who it should be: that takes a person.
    pub(crate) async fn open(url: &Uri, tls: &Arc<ClientConfig>) -> Result<Self, CallError> {
        let secure = url.scheme_str() == Some("https");
        let host = url
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(not_connected)?;
        // A call is one small message each way.
        tcp.set_nodelay(true).map_err(not_connected)?;
        if !secure {
            return Self::over(TokioIo::new(tcp), None).await;
        }
        let name = ServerName::try_from(host.clone()).map_err(not_connected)?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .map_err(|error| not_trusted(&error, &host))?;
        let certificates = stream.get_ref().1.peer_certificates();
        let binding = certificates
            .and_then(<[_]>::first)
            .map(|certificate| server_end_point(certificate));
        Self::over(TokioIo::new(stream), binding).await
    }

    async fn over<T>(io: T, binding: Option<Vec<u8>>) -> Result<Self, CallError>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(io)
            .await
            .map_err(not_connected)?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            binding,
            signed_in: false,
            seal: None,
        })
    }

    /// Whether the next request may go over it: it is open, and the server has sent nothing that nobody asked for.
    pub(crate) fn is_usable(&mut self) -> bool {
        if let Some(driver) = &mut self.driver {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if driver.as_mut().poll(&mut cx).is_ready() {
                self.driver = None;
            }
        }
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and reads its whole answer, of at most `longest` bytes.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        longest: usize,
    ) -> Result<Reply, Lost> {
        let sender = &mut self.sender;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|e| {
                if e.is_canceled() {
                    Lost::NotSent
                } else {
                    Lost::Broken(cause(&e))
                }
            })?;
            let (head, mut body) = response.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| Lost::Broken(cause(&e)))?;
                if let Some(data) = frame.data_ref() {
                    if bytes.len() + data.len() > longest {
                        return Err(Lost::TooLong);
                    }
                    bytes.extend_from_slice(data);
                }
            }
            Ok(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: bytes,
            })
        };
        tokio::pin!(answer);
        if let Some(driver) = &mut self.driver {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                _ = driver => {}
            }
            self.driver = None;
        }
        // The connection has ended; the answer may have come whole before that.
        answer.await
    }
}

/// The innermost cause. Names no URL.
fn cause(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
