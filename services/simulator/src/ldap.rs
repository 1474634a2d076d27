//! LDAP: the directory of a site on premises, as Active Directory shows it. Read-only, and from the same state as the
//! other fronts.
//!
//! Written from RFC 4511 and MS-ADTS. BER is yasna's, which is the decoder of neither of our clients'.
//!
//! `frame`, `message`, `filter`, `answer`: bytes in and out. `connection`: one client. `signing_in`: who it is. `tree`:
//! objects and links. `entry`: what they show. `matching`, `search`, `root`: what is found.

mod answer;
mod connection;
mod entry;
mod filter;
mod frame;
mod matching;
mod message;
mod name;
mod outcome;
mod root;
mod schema;
mod search;
mod sid;
mod signing_in;
mod tree;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::tenant::Tenant;
use crate::world::World;
use connection::{Service, Stream};
pub(crate) use name::{Name, escaped};
use signing_in::Domain;

/// Where it listens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Doors {
    /// For connections that begin unsealed.
    pub(crate) open: Option<SocketAddr>,
    /// For connections that are sealed from the first byte on.
    pub(crate) sealed: Option<SocketAddr>,
}

impl Doors {
    pub(crate) fn is_none(&self) -> bool {
        self.open.is_none() && self.sealed.is_none()
    }
}

/// Starts to serve the directories of every tenant that has a site.
///
/// # Errors
/// An address can't be listened on.
pub(crate) async fn serve(
    world: &Arc<World>,
    doors: Doors,
    acceptor: &TlsAcceptor,
    stop: &CancellationToken,
) -> anyhow::Result<Doors> {
    let with_site = world.tenants.iter().filter(|tenant| tenant.site.is_some());
    let service = Arc::new(Service {
        world: Arc::clone(world),
        domains: domains(with_site, world.clock.now()),
        acceptor: acceptor.clone(),
        stop: stop.clone(),
    });
    let mut opened = Doors::default();
    if let Some(address) = doors.open {
        opened.open = Some(listen(&service, address, false).await?);
    }
    if let Some(address) = doors.sealed {
        opened.sealed = Some(listen(&service, address, true).await?);
    }
    Ok(opened)
}

/// Looked at once, so that the first who asks needn't wait.
fn domains<'a>(tenants: impl Iterator<Item = &'a Arc<Tenant>>, now: Duration) -> Vec<Domain> {
    let domains: Vec<Domain> = tenants.map(Domain::of).collect();
    for domain in &domains {
        domain.tree(now);
    }
    domains
}

async fn listen(
    service: &Arc<Service>,
    address: SocketAddr,
    sealed: bool,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address} for LDAP"))?;
    let address = listener.local_addr()?;
    let service = Arc::clone(service);
    let tasks = service.world.tasks.clone();
    tasks.clone().spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = service.stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // too many files are open, mostly
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let service = Arc::clone(&service);
            tasks.spawn(async move {
                let stream: Box<dyn Stream> = if sealed {
                    let sealing = service.acceptor.accept(stream);
                    let sealing = tokio::select! {
                        sealed = sealing => sealed,
                        () = service.stop.cancelled() => return,
                    };
                    match sealing {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    }
                } else {
                    Box::new(stream)
                };
                connection::serve(&service, stream, sealed).await;
            });
        }
    });
    Ok(address)
}
