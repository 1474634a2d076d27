//! Settings of the api: section `[api]`, or `CALGRANT_API_…` in the environment.

use std::{net::SocketAddr, path::Path, time::Duration};

use calgrant_domain::SecretRef;
use calgrant_exchange::secret;
use calgrant_runtime::{
    settings::{self, Fault},
    shutdown,
};
use calgrant_secrets::Key;
use serde::Deserialize;

/// The variable that holds the key that secrets are sealed with, where no file does.
const KEY: &str = "CALGRANT_SECRETS_KEY";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    insecure_remote: bool,
    status_url: String,
    amqp_url: Option<String>,
    window: u32,
    listings: usize,
    secrets_key_file: Option<String>,
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
            secrets_key_file: None,
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
    /// The key that passwords of new accounts are sealed with (`secrets_key_file`, or the variable `CALGRANT_SECRETS_KEY`): 32 random
    /// bytes in Base64. Without one set-up makes no accounts.
    pub secrets_key: Option<SecretRef>,
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
        let in_environment = std::env::var_os(KEY).filter(|key| !key.is_empty());
        let in_environment = in_environment.map(|_| SecretRef::Env(KEY.into()));
        let secrets_key = raw.secrets_key_file.map(SecretRef::File).or(in_environment);
        if let Some(Err(why)) = secrets_key.as_ref().map(read_key) {
            faults.push(Fault {
                setting: "api.secrets_key_file".into(),
                value: String::new(),
                why,
            });
        }
        match listen {
            Ok(listen) if faults.is_empty() => Ok(Self {
                drain,
                listen,
                status_url: raw.status_url,
                amqp_url,
                window: raw.window,
                listings: raw.listings,
                secrets_key,
            }),
            Ok(_) => Err(faults),
            Err(fault) => Err([vec![fault], faults].concat()),
        }
    }
}

/// The key that secrets are sealed with.
///
/// # Errors
/// It can't be read, or is none: says what to do.
pub(crate) fn read_key(at: &SecretRef) -> Result<Key, String> {
    Key::parse(&secret::read(at)?).map_err(|cause| cause.to_string())
}
