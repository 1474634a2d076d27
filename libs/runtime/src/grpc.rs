//! gRPC: listening, dialling and health, with the same limits everywhere.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint, Error, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, health_reporter},
};

use crate::settings::Fault;

/// How long dialling may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a quiet connection is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long that may go unanswered.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Calls of one connection that clients may give up before they are looked at. A process that hung for half a minute finds so many; by
/// default it would take more than 20 for an attack, and end the connection with `RESOURCE_EXHAUSTED` for all other calls.
const GIVEN_UP: usize = 1000;

/// Takes the port; port 0 takes a free one.
///
/// # Errors
///
/// When the port can't be had.
pub async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .map_err(|cause| io::Error::new(cause.kind(), format!("listening on {addr}: {cause}")))
}

/// Serves until stopped; calls under way are finished first.
///
/// # Errors
///
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Error> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.cancelled_owned(),
        )
        .await
}

/// A channel to a server that need not be there yet: it dials at the first call, and again whenever it must.
///
/// # Errors
///
/// When that is no URL.
pub fn channel(url: &str) -> Result<Channel, Fault> {
    let fault = |why: String| Fault {
        setting: "url".to_owned(),
        value: url.to_owned(),
        why,
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(fault("write it as http://host:port".to_owned()));
    }
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|cause| fault(format!("write it as http://host:port ({cause})")))?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}

/// The standard health service: says whether this process can do its work.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// Not ready yet; the second part is the service to serve.
    #[must_use]
    pub fn new() -> (
        Self,
        HealthServer<impl tonic_health::pb::health_server::Health>,
    ) {
        let (reporter, service) = health_reporter();
        (Self { reporter }, service)
    }

    /// Says whether these services, and so the process as a whole, are ready.
    pub async fn ready(&self, service_names: &[&str], ready: bool) {
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in std::iter::once(&"").chain(service_names) {
            self.reporter.set_service_status(*name, status).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    #[tokio::test]
    async fn serves_health_until_stopped() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (health, service) = Health::new();
        health.ready(&["calgrant.test"], false).await;
        let stop = CancellationToken::new();
        let client = async {
            let mut client = HealthClient::new(channel(&format!("http://{addr}")).unwrap());
            let mut seen = Vec::new();
            for (name, ready) in [("", false), ("calgrant.test", true), ("", true)] {
                health.ready(&["calgrant.test"], ready).await;
                seen.push(
                    client
                        .check(HealthCheckRequest {
                            service: name.to_owned(),
                        })
                        .await
                        .unwrap()
                        .into_inner()
                        .status,
                );
            }
            stop.cancel();
            seen
        };
        let (served, seen) =
            tokio::join!(serve(listener, Routes::new(service), stop.clone()), client);
        served.unwrap();
        assert_eq!(seen, [2, 1, 1]);
    }

    #[tokio::test]
    async fn refuses_what_is_no_url() {
        assert!(channel("127.0.0.1:7010").is_err());
        assert!(channel("http://[").is_err());
    }
}
