//! TLS: connections that are sealed with a certificate of the simulator's own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use crate::wire::{Cutter, Wire};

type Sealed = Wire<TlsStream<TcpStream>>;

/// What connections are sealed with.
pub(crate) struct Seal {
    pub(crate) acceptor: TlsAcceptor,
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// `tls-server-end-point` of RFC 5929, which ties a sign-in to a connection.
    pub(crate) binding: Vec<u8>,
}

impl Seal {
    /// Makes a certificate for `localhost` and loopback addresses.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        // It is signed with SHA-256.
        let hash = ring::digest::digest(&ring::digest::SHA256, made.cert.der());
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: made.cert.pem(),
            binding: [b"tls-server-end-point:", hash.as_ref()].concat(),
        })
    }
}

/// Accepts connections that can be cut, and hands them on once they are sealed.
#[derive(Debug)]
pub(crate) struct SealedWires {
    ready: mpsc::Receiver<(Sealed, SocketAddr)>,
    pub(crate) address: SocketAddr,
}

impl SealedWires {
    /// Listens.
    pub(crate) async fn listen(
        address: SocketAddr,
        seal: &Seal,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}"))?;
        let address = listener.local_addr()?;
        let (hand_on, ready) = mpsc::channel(64);
        let (acceptor, binding) = (seal.acceptor.clone(), seal.binding.clone());
        let tracker = tasks.clone();
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = hand_on.closed() => return,
                };
                let Ok((stream, from)) = accepted else {
                    continue;
                };
                let (acceptor, hand_on) = (acceptor.clone(), hand_on.clone());
                let cutter = Cutter::over_tls(binding.clone());
                tracker.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let sealing = tokio::select! {
                        sealed = acceptor.accept(stream) => sealed,
                        () = hand_on.closed() => return,
                    };
                    if let Ok(stream) = sealing {
                        let _ = hand_on.send((Wire { stream, cutter }, from)).await;
                    }
                });
            }
        });
        Ok(Self { ready, address })
    }
}

impl Listener for SealedWires {
    type Io = Sealed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Sealed, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, SealedWires>> for Cutter {
    fn connect_info(stream: IncomingStream<'_, SealedWires>) -> Self {
        stream.io().cutter.clone()
    }
}
