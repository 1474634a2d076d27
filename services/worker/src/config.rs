//! Settings of the worker: section `[worker]`, or `CALGRANT_WORKER_…` in the environment.

use std::{net::SocketAddr, path::Path, time::Duration};

use calgrant_runtime::{
    settings::{self, Fault},
    shutdown,
};
use serde::Deserialize;

use crate::only::{Only, Part};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    insecure_remote: bool,
    status_url: String,
    amqp_url: Option<String>,
    only: Vec<String>,
    drain_secs: u64,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7103".into(),
            insecure_remote: false,
            status_url: "http://127.0.0.1:7102".into(),
            amqp_url: None,
            only: Vec::new(),
            drain_secs: 25,
        }
    }
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where health is served.
    pub listen: SocketAddr,
    /// Base URL of status.
    pub status_url: String,
    /// URL of RabbitMQ.
    pub amqp_url: String,
    /// Which accounts it serves: `only = ["uni/online/sa-1"]`; all by default.
    pub only: Only,
    /// Longest wait for work under way when it is stopped (`drain_secs`, 25 seconds by default).
    pub drain: Duration,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Fault>> {
        Self::load_only(file, &[])
    }

    /// The same, serving no more than `only` if that names anything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load_only(file: Option<&Path>, only: &[String]) -> Result<Self, Vec<Fault>> {
        let raw: Raw = settings::load(file, "worker", "CALGRANT_WORKER_")?;
        let named = if only.is_empty() { &raw.only } else { only };
        let mut faults = Vec::new();
        let mut parts = Vec::with_capacity(named.len());
        for part in named {
            match part.parse::<Part>() {
                Ok(part) => parts.push(part),
                Err(bad) => faults.push(Fault {
                    setting: "worker.only".into(),
                    value: bad.value,
                    why: bad.why,
                }),
            }
        }
        let amqp_url = raw
            .amqp_url
            .or_else(|| std::env::var("AMQP_URL").ok())
            .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".into());
        let listen = settings::checked_bind("worker.listen", &raw.listen, raw.insecure_remote);
        let drain = shutdown::drain("worker", raw.drain_secs).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::ZERO
        });
        let listen = match listen {
            Ok(listen) if faults.is_empty() => listen,
            Ok(_) => return Err(faults),
            Err(fault) => return Err([vec![fault], faults].concat()),
        };
        Ok(Self {
            drain,
            listen,
            only: Only::new(parts),
            status_url: raw.status_url,
            amqp_url,
        })
    }
}
