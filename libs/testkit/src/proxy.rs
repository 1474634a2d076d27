//! A TCP proxy in front of a server, which can be away.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Stands in front of a server. Gone when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    away: watch::Sender<bool>,
    _gone: DropGuard,
}

impl Proxy {
    /// In front of the server at `server`, such as `127.0.0.1:5672`; away from the beginning if told so.
    ///
    /// # Panics
    /// It can't listen on loopback.
    pub async fn new(server: &str, away: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap_or_else(|cause| panic!("the proxy: {cause}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|cause| panic!("the proxy: {cause}"));
        let (away, seen) = watch::channel(away);
        let gone = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (server, stop) = (server.to_owned(), gone.clone());
        tasks.clone().spawn(async move {
            let accept = async {
                while let Ok((client, _)) = listener.accept().await {
                    let passed = pass(client, server.clone(), seen.clone());
                    tasks.spawn(stop.clone().run_until_cancelled_owned(passed));
                }
            };
            stop.run_until_cancelled(accept).await;
        });
        Self {
            address,
            away,
            _gone: gone.drop_guard(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this proxy's address instead of the server's.
    #[must_use]
    pub fn before(&self, url: &str) -> String {
        let (start, end) = host_of(url);
        format!("{}{}{}", &url[..start], self.address, &url[end..])
    }

    /// Cuts every connection, and those to come at once after they were made; or lets them through again.
    pub fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }
}

/// The host and port of a URL.
///
/// # Panics
/// It has no `://`.
#[must_use]
pub fn server_of(url: &str) -> &str {
    let (start, end) = host_of(url);
    &url[start..end]
}

fn host_of(url: &str) -> (usize, usize) {
    let after_scheme = url.find("://").unwrap_or_else(|| panic!("{url} is no URL")) + 3;
    let end = url[after_scheme..]
        .find('/')
        .map_or(url.len(), |slash| after_scheme + slash);
    let start = url[after_scheme..end]
        .rfind('@')
        .map_or(after_scheme, |at| after_scheme + at + 1);
    (start, end)
}

async fn pass(mut client: TcpStream, server: String, mut away: watch::Receiver<bool>) {
    let through = async {
        let mut server = TcpStream::connect(server).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        io::Result::Ok(())
    };
    tokio::select! {
        biased;
        _ = away.wait_for(|away| *away) => {}
        // Either side may break off at any time.
        _ended = through => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_in_a_url() {
        for (url, server) in [
            (
                "postgres://app@127.0.0.1:5432/calgrant?x=1",
                "127.0.0.1:5432",
            ),
            ("amqp://app:p@[::1]:5672/%2f", "[::1]:5672"),
            ("http://localhost:1", "localhost:1"),
        ] {
            assert_eq!(server_of(url), server);
        }
    }
}
