//! What can be turned while the simulator runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names of the faults that can be injected.
pub const FAULTS: [&str; 11] = [
    "throttle_429",
    "throttle_no_retry_after",
    "unavailable_503",
    "server_error_500",
    "lost_reply",
    "proxy_error_json",
    "nul_403",
    "error_in_200",
    "unwrapped_single",
    "missing_batch_status",
    "user_edits_between",
];

/// The dials of a running simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dials {
    /// How long each call takes.
    pub latency_ms: u64,
    /// Up to this much more, at random.
    pub latency_jitter_ms: u64,
    /// How long a token is good for.
    pub token_life_secs: u64,
    /// How long a link to the next page is good for.
    pub next_link_life_secs: u64,
    /// The chance of each fault, 0 to 1; see [`FAULTS`].
    pub faults: BTreeMap<String, f64>,
    /// Whether the Admin API takes `<mailbox>:<FolderId>`.
    pub folder_id_in_admin_api: bool,
    /// Whether the Admin API answers at all.
    pub admin_api_available: bool,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            latency_jitter_ms: 0,
            token_life_secs: 3599,
            next_link_life_secs: 300,
            faults: BTreeMap::new(),
            folder_id_in_admin_api: false,
            admin_api_available: true,
        }
    }
}

impl Dials {
    /// Everything that is wrong with these dials.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (name, rate) in &self.faults {
            if !FAULTS.contains(&name.as_str()) {
                mistakes.push(format!(
                    "faults: no fault is called {name:?}; there are {}",
                    FAULTS.join(", ")
                ));
            }
            if !(0.0..=1.0).contains(rate) {
                mistakes.push(format!("faults.{name}: {rate} isn't between 0 and 1"));
            }
        }
        mistakes
    }

    pub(crate) fn rate(&self, fault: &str) -> f64 {
        self.faults.get(fault).copied().unwrap_or(0.0)
    }
}
