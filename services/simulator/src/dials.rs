//! What can be turned while the simulator runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names of the faults that can be injected.
///
/// Before anything happens, on every front but the tokens': `throttle_429`, `throttle_no_retry_after`,
/// `unavailable_503`, `server_error_500`, `gateway_timeout_504`, `connection_reset`, `slow_call` (takes `slow_call_ms`
/// more), `token_expired_401` (a good token is taken for an expired one). On Exchange's alone: `transient_400` and
/// `nul_403`. On the tokens': `token_unavailable_503`, `token_throttled_429`.
///
/// After the work was done, on Exchange's fronts and of changes by Graph: `lost_reply` (the connection is cut) and
/// `error_after_effect` (500, 502, 503 or 504); on Exchange's: `empty_success`, `unwrapped_single`, `missing_batch_status`; and `half_response` on Graph as well (the
/// connection breaks in the middle of the answer).
///
/// Instead of the answer to a read, or around the error of any cmdlet: `proxy_error_json`, `error_in_200`. Right after a
/// read: `user_edits_between`.
///
/// On premises: `throttle_429` and `throttle_no_retry_after` are `ErrorServerBusy`, with a back-off and without;
/// `token_expired_401` is a passing 401. EWS alone has `mailbox_move_in_progress` and `hidden_server_busy` (an internal
/// error that says inside that the server is busy), each for one folder of a request, and `html_error_page`. Searches by
/// LDAP have `throttle_429` (busy), `unavailable_503` (unavailable), `token_expired_401` (not signed in any more),
/// `connection_reset` and `lost_reply`.
pub const FAULTS: [&str; 24] = [
    "throttle_429",
    "throttle_no_retry_after",
    "unavailable_503",
    "server_error_500",
    "gateway_timeout_504",
    "connection_reset",
    "slow_call",
    "token_expired_401",
    "transient_400",
    "nul_403",
    "token_unavailable_503",
    "token_throttled_429",
    "lost_reply",
    "error_after_effect",
    "half_response",
    "empty_success",
    "unwrapped_single",
    "missing_batch_status",
    "proxy_error_json",
    "error_in_200",
    "user_edits_between",
    "mailbox_move_in_progress",
    "hidden_server_busy",
    "html_error_page",
];

/// Stands in a naming policy for the name that was asked for.
pub(crate) const GROUP_NAME: &str = "<GroupName>";

/// The dials of a running simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dials {
    /// How long each call takes, in milliseconds.
    pub latency_ms: u64,
    /// Up to this much more, at random.
    pub latency_jitter_ms: u64,
    /// How much longer a call takes that meets `slow_call`, in milliseconds.
    pub slow_call_ms: u64,
    /// How long a token is good for, in seconds.
    pub token_life_secs: u64,
    /// How long a link to the next page is good for, in seconds.
    pub next_link_life_secs: u64,
    /// Reads of any mailbox show a write this much later, drawn between the two; a mailbox's own lag wins.
    pub read_lag_ms: (u64, u64),
    /// How many of the writes `read_lag_ms` is for, 0 to 1.
    pub read_lag_share: f64,
    /// The faults that are on; see [`FAULTS`].
    pub faults: BTreeMap<String, Fault>,
    /// Whether the Admin API takes `<mailbox>:<FolderId>`.
    pub folder_id_in_admin_api: bool,
    /// Whether the Admin API answers at all.
    pub admin_api_available: bool,
    /// How long each EWS request takes, in milliseconds of the site, its folders apart.
    pub ews_latency_ms: u64,
    /// How long each folder, item or change of an EWS request takes besides, in milliseconds of the site.
    pub ews_item_latency_ms: u64,
    /// How long opening a PowerShell session takes, in milliseconds of the site.
    pub shell_latency_ms: u64,
    /// How long each cmdlet of PowerShell remoting takes, in milliseconds of the site.
    pub cmdlet_latency_ms: u64,
    /// How long each search by LDAP takes, in milliseconds of the site.
    pub ldap_latency_ms: u64,
    /// Cmdlets of PowerShell remoting show every property as a text, none as an object.
    pub plain_properties: bool,
    /// EWS takes changes of folders whatever their change key is.
    pub change_keys_ignored: bool,
    /// EWS says `ErrorFolderNotFound` of folders the caller may not see, instead of `ErrorAccessDenied`.
    pub hides_folders: bool,
    /// How many calls one `$batch` of `InvokeCommand` takes.
    pub batch_max: usize,
    /// How long after a write in Exchange Graph shows it, and the other way round, and how long after a write at one
    /// domain controller the others show it, in milliseconds.
    pub replication_lag_ms: u64,
    /// How long after a write on premises the cloud shows it, in milliseconds.
    pub sync_lag_ms: u64,
    /// How long after a user was made Graph itself doesn't know of it, in milliseconds.
    pub creation_lag_ms: u64,
    /// How long after a licence was assigned its mailbox is there, in milliseconds.
    pub provisioning_lag_ms: u64,
    /// What groups made in the cloud are called, such as `DG <GroupName>`: empty without a naming policy.
    pub group_naming_policy: String,
    /// Whether `Set-Mailbox -AccountDisabled` disables accounts on premises. As documented, it works in the cloud alone.
    pub disables_accounts_on_premises: bool,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            latency_jitter_ms: 0,
            slow_call_ms: 10_000,
            token_life_secs: 3599,
            next_link_life_secs: 300,
            read_lag_ms: (0, 0),
            read_lag_share: 1.0,
            faults: BTreeMap::new(),
            folder_id_in_admin_api: false,
            admin_api_available: true,
            ews_latency_ms: 0,
            ews_item_latency_ms: 0,
            shell_latency_ms: 0,
            cmdlet_latency_ms: 0,
            ldap_latency_ms: 0,
            plain_properties: false,
            change_keys_ignored: false,
            hides_folders: false,
            batch_max: 10,
            replication_lag_ms: 200,
            sync_lag_ms: 2000,
            creation_lag_ms: 0,
            provisioning_lag_ms: 1000,
            group_naming_policy: String::new(),
            disables_accounts_on_premises: false,
        }
    }
}

/// How often a fault happens; a bare number is a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Fault {
    /// The chance for each call, 0 to 1.
    pub rate: f64,
    /// At most so many times from now on.
    pub times: Option<u64>,
    /// Only for calls whose kind holds this text, such as `Add-MailboxFolderPermission` or `GET users`.
    pub only: Option<String>,
    /// Only for calls of the app with this client id.
    pub app: Option<String>,
}

impl TryFrom<Value> for Fault {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            #[serde(default = "always")]
            rate: f64,
            times: Option<u64>,
            only: Option<String>,
            app: Option<String>,
        }
        fn always() -> f64 {
            1.0
        }
        if let Some(rate) = value.as_f64() {
            return Ok(Self {
                rate,
                times: None,
                only: None,
                app: None,
            });
        }
        let written: Written = serde_json::from_value(value).map_err(|error| {
            format!("a fault is a rate, or {{rate, times, only, app}}: {error}")
        })?;
        Ok(Self {
            rate: written.rate,
            times: written.times,
            only: written.only,
            app: written.app,
        })
    }
}

impl Dials {
    /// Everything that is wrong with these dials.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (name, fault) in &self.faults {
            if !FAULTS.contains(&name.as_str()) {
                mistakes.push(format!(
                    "dials.faults.{name}: no fault has this name; there are {}",
                    FAULTS.join(", ")
                ));
            }
            if !(0.0..=1.0).contains(&fault.rate) {
                let rate = fault.rate;
                mistakes.push(format!("dials.faults.{name}: {rate} isn't between 0 and 1"));
            }
        }
        if self.read_lag_ms.0 > self.read_lag_ms.1 {
            mistakes.push("dials.read_lag_ms: the first is larger than the second".to_owned());
        }
        if !(0.0..=1.0).contains(&self.read_lag_share) {
            mistakes.push("dials.read_lag_share: it isn't between 0 and 1".to_owned());
        }
        if self.batch_max == 0 {
            mistakes.push("dials.batch_max: it is 0".to_owned());
        }
        let policy = &self.group_naming_policy;
        if !policy.is_empty() && !policy.contains(GROUP_NAME) {
            mistakes.push(format!(
                "dials.group_naming_policy: {policy:?} doesn't hold {GROUP_NAME}"
            ));
        }
        mistakes
    }
}
