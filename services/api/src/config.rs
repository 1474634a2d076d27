//! Settings of the api: section `[api]`, or `CALGRANT_API_…` in the environment.

use std::{net::SocketAddr, path::Path, time::Duration};

use calgrant_runtime::{
    settings::{self, Fault},
    shutdown,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    insecure_remote: bool,
    status_url: String,
    amqp_url: Option<String>,
    window: u32,
    listings: usize,
    drain_secs: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7101".into(),
            insecure_remote: false,
            status_url: "http://127.0.0.1:7102".into(),
            amqp_url: None,
            window: 2000,
            listings: 4,
            drain_secs: 10,
        }
    }
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Base URL of status.
    pub status_url: String,
    /// URL of RabbitMQ.
    pub amqp_url: String,
    /// How many jobs of a tenant's lane are on the broker at the same time: some minutes of what its accounts can do.
    pub window: u32,
    /// How many operations are listed at the same time.
    pub listings: usize,
    /// Longest wait for work under way when it is stopped (`drain_secs`, 10 seconds by default).
    pub drain: Duration,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let raw: Raw = settings::load(file, "api", "CALGRANT_API_")?;
        let mut faults = Vec::new();
        let listen = settings::checked_bind("api.listen", &raw.listen, raw.insecure_remote);
        if raw.window == 0 {
            faults.push(Fault {
                setting: "api.window".into(),
                value: "0".into(),
                why: "at least 1, or nothing would ever be published".into(),
            });
        }
        if raw.listings == 0 {
            faults.push(Fault {
                setting: "api.listings".into(),
                value: "0".into(),
                why: "at least 1, or nothing would ever be listed".into(),
            });
        }
        let amqp_url = raw
            .amqp_url
            .or_else(|| std::env::var("AMQP_URL").ok())
            .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".into());
        let drain = shutdown::drain("api", raw.drain_secs).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::ZERO
        });
        match listen {
            Ok(listen) if faults.is_empty() => Ok(Self {
                drain,
                listen,
                status_url: raw.status_url,
                amqp_url,
                window: raw.window,
                listings: raw.listings,
            }),
            Ok(_) => Err(faults),
            Err(fault) => Err([vec![fault], faults].concat()),
        }
    }
}
