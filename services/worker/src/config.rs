//! Settings of the worker: section `[worker]`, or `CALGRANT_WORKER_…` in the environment.

use std::{net::SocketAddr, path::Path};

use calgrant_runtime::settings::{self, Fault};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    insecure_remote: bool,
    status_url: String,
    amqp_url: Option<String>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7103".into(),
            insecure_remote: false,
            status_url: "http://127.0.0.1:7102".into(),
            amqp_url: None,
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
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let raw: Raw = settings::load(file, "worker", "CALGRANT_WORKER_")?;
        let amqp_url = raw
            .amqp_url
            .or_else(|| std::env::var("AMQP_URL").ok())
            .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".into());
        let listen = settings::checked_bind("worker.listen", &raw.listen, raw.insecure_remote)
            .map_err(|fault| vec![fault])?;
        Ok(Self {
            listen,
            status_url: raw.status_url,
            amqp_url,
        })
    }
}
