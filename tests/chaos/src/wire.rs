//! A TCP proxy that stands in the middle of a connection, and can cut or stall it.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They go through.
    Open,
    /// They wait; no connection breaks.
    Stalled,
    /// Every connection is broken, new ones at once.
    Cut,
}

/// Stands before one server, or several that do the same: the next connection goes to the next one that takes it.
pub(crate) struct Wire {
    address: SocketAddr,
    flow: watch::Sender<Flow>,
    _gone: DropGuard,
}

impl Wire {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn before(servers: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (flow, seen) = watch::channel(Flow::Open);
        let gone = CancellationToken::new();
        let (tasks, stop, servers) = (TaskTracker::new(), gone.clone(), Arc::new(servers));
        tasks.clone().spawn(async move {
            let accept = async {
                let mut turn = 0;
                while let Ok((client, _)) = listener.accept().await {
                    turn += 1;
                    let passed = pass(client, Arc::clone(&servers), turn, seen.clone());
                    tasks.spawn(stop.clone().run_until_cancelled_owned(passed));
                }
            };
            stop.run_until_cancelled(accept).await;
        });
        Ok(Self {
            address,
            flow,
            _gone: gone.drop_guard(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub(crate) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

async fn pass(
    mut client: TcpStream,
    servers: Arc<Vec<SocketAddr>>,
    turn: usize,
    mut flow: watch::Receiver<Flow>,
) {
    let through = async {
        let mut server = connect(&servers, turn).await?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await?;
        io::Result::Ok(())
    };
    tokio::pin!(through);
    loop {
        let now = *flow.borrow_and_update();
        match now {
            Flow::Cut => return,
            Flow::Stalled => {
                if flow.changed().await.is_err() {
                    return;
                }
            }
            Flow::Open => tokio::select! {
                biased;
                changed = flow.changed() => if changed.is_err() { return },
                // Either side may break off at any time.
                _ended = &mut through => return,
            },
        }
    }
}

async fn connect(servers: &[SocketAddr], turn: usize) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotConnected);
    for next in 0..servers.len() {
        match TcpStream::connect(servers[(turn + next) % servers.len()]).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_wait_while_it_is_stalled_and_connections_end_when_it_is_cut() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = away.local_addr().unwrap();
        drop(away);
        let wire = Wire::before(vec![server.local_addr().unwrap(), nobody])
            .await
            .unwrap();
        let mut client = TcpStream::connect(wire.address()).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        client.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        wire.set(Flow::Stalled);
        client.write_all(b"b").await.unwrap();
        wire.set(Flow::Open);
        assert_eq!(served.read_u8().await.unwrap(), b'b');
        wire.set(Flow::Cut);
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
