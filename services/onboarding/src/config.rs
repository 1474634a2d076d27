//! Settings of onboarding: section `[onboarding]`, or `CALGRANT_ONBOARDING_…` in the environment.

use std::{net::SocketAddr, path::Path};

use calgrant_runtime::settings::{self, Fault};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: String,
    insecure_remote: bool,
    api_url: String,
    status_url: String,
    amqp_url: Option<String>,
    amqp_exchange: Option<String>,
    bindings: Vec<String>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7104".into(),
            insecure_remote: false,
            api_url: "http://127.0.0.1:7101".into(),
            status_url: "http://127.0.0.1:7102".into(),
            amqp_url: None,
            amqp_exchange: None,
            bindings: vec!["#".into()],
        }
    }
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where health is served.
    pub listen: SocketAddr,
    /// Base URL of the api.
    pub api_url: String,
    /// Base URL of status.
    pub status_url: String,
    /// URL of RabbitMQ.
    pub amqp_url: String,
    /// The exchange of RabbitMQ that events are published to (`amqp_exchange`). Without one, only what is published to the queue
    /// `events` itself is taken.
    pub route: Option<String>,
    /// The routing keys of those that are taken; all by default.
    pub bindings: Vec<String>,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let raw: Raw = settings::load(file, "onboarding", "CALGRANT_ONBOARDING_")?;
        let mut faults = Vec::new();
        let listen = settings::checked_bind("onboarding.listen", &raw.listen, raw.insecure_remote);
        let mut fault = |setting: &str, value: &str, why: &str| {
            faults.push(Fault {
                setting: format!("onboarding.{setting}"),
                value: value.into(),
                why: why.into(),
            });
        };
        if let Some(name) = raw
            .amqp_exchange
            .as_deref()
            .filter(|name| name.is_empty() || name.len() > 255)
        {
            fault("amqp_exchange", name, "1 to 255 bytes");
        }
        if raw.bindings.is_empty() {
            fault(
                "bindings",
                "",
                "at least one, or no event would ever come; \"#\" for all",
            );
        }
        if let Some(key) = raw.bindings.iter().find(|key| key.len() > 255) {
            fault("bindings", key, "a routing key has at most 255 bytes");
        }
        let amqp_url = raw
            .amqp_url
            .or_else(|| std::env::var("AMQP_URL").ok())
            .unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".into());
        match listen {
            Ok(listen) if faults.is_empty() => Ok(Self {
                listen,
                api_url: raw.api_url,
                status_url: raw.status_url,
                amqp_url,
                route: raw.amqp_exchange,
                bindings: raw.bindings,
            }),
            Ok(_) => Err(faults),
            Err(unfit) => Err([vec![unfit], faults].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        let config = Config::load(None).unwrap();
        assert_eq!(
            (config.route, config.bindings),
            (None, vec!["#".to_owned()])
        );
    }
}
