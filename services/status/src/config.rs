//! Settings of status: section `[status]`, or `CALGRANT_STATUS_…` in the environment.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calgrant_budget::Terms;
use calgrant_domain::Retention;
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
    database_url: Option<String>,
    database_ca_file: Option<PathBuf>,
    amqp_url: Option<String>,
    access_exchange: Option<String>,
    keep_changes: u64,
    keep_requests_days: u64,
    keep_operation_changes_days: u64,
    keep_history_days: u64,
    keep_events_days: u64,
    keep_dead_letters_days: u64,
    keep_alerts_days: u64,
    keep_lists_days: u64,
    longest_call_millis: u64,
    abandoned_hold_millis: u64,
    drain_secs: u64,
}

impl Default for Raw {
    fn default() -> Self {
        let usual = Retention::default();
        let in_days = |kept: Duration| kept.as_secs() / 86_400;
        Self {
            listen: "127.0.0.1:7102".into(),
            insecure_remote: false,
            database_url: None,
            database_ca_file: None,
            amqp_url: None,
            access_exchange: None,
            keep_changes: 500_000,
            keep_requests_days: in_days(usual.requests),
            keep_operation_changes_days: in_days(usual.changes),
            keep_history_days: in_days(usual.history),
            keep_events_days: in_days(usual.events),
            keep_dead_letters_days: in_days(usual.dead_letters),
            keep_alerts_days: in_days(usual.alerts),
            keep_lists_days: in_days(usual.lists),
            longest_call_millis: 60_000,
            abandoned_hold_millis: 60_000,
            drain_secs: 15,
        }
    }
}

/// Checked settings.
#[derive(Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// URL of Postgres. With `sslmode=verify-full` the connection is encrypted and the server's certificate checked.
    pub database_url: String,
    /// Certificates (PEM) that may vouch for Postgres's, besides the system's.
    pub database_ca_file: Option<PathBuf>,
    /// URL of RabbitMQ.
    pub amqp_url: String,
    /// The exchange of RabbitMQ by which it is told who becomes ready (`access_exchange`), as `CloudEvents`; it isn't without one.
    pub access_route: Option<String>,
    /// How many of the latest changes of a tenant's mailboxes are kept for those who watch; half a million by default.
    pub keep_changes: u64,
    /// For how long the rest is kept: ids of requests since the request (`keep_requests_days`, 30 days by default), the numbered changes of
    /// an operation since its end (`keep_operation_changes_days`, 28), operations and their jobs since their end (`keep_history_days`, 365; no
    /// less than ids of requests), onboarding events since they came (`keep_events_days`, 30), dead letters since they were replayed or
    /// discarded (`keep_dead_letters_days`, 30), alerts since they were acknowledged and have passed (`keep_alerts_days`, 30), uploaded
    /// lists that no delegation names since they were uploaded (`keep_lists_days`, 30). What a grant that stands rests on is kept for ever.
    pub retention: Retention,
    /// On which leases of budgets are granted: the longest time a call to Exchange is awaited (`longest_call_millis`, a
    /// minute by default), and for how long after that its place is kept (`abandoned_hold_millis`, a minute by default),
    /// because the server may go on working on it.
    pub terms: Terms,
    /// Longest wait for work under way when it is stopped (`drain_secs`, 15 seconds by default).
    pub drain: Duration,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let raw: Raw = settings::load(file, "status", "CALGRANT_STATUS_")?;
        let or = |set: Option<String>, name: &str, default: &str| {
            set.or_else(|| std::env::var(name).ok())
                .unwrap_or_else(|| default.to_owned())
        };
        let listen = settings::checked_bind("status.listen", &raw.listen, raw.insecure_remote);
        let mut faults = Vec::new();
        for (setting, millis) in [
            ("status.longest_call_millis", raw.longest_call_millis),
            ("status.abandoned_hold_millis", raw.abandoned_hold_millis),
        ] {
            if !(1..=3_600_000).contains(&millis) {
                faults.push(Fault {
                    setting: setting.into(),
                    value: millis.to_string(),
                    why: "1 millisecond to an hour".into(),
                });
            }
        }
        let retention = retention(&raw, &mut faults);
        let drain = shutdown::drain("status", raw.drain_secs).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::ZERO
        });
        if let Some(name) = raw
            .access_exchange
            .as_deref()
            .filter(|name| name.is_empty() || name.len() > 255)
        {
            faults.push(Fault {
                setting: "status.access_exchange".into(),
                value: name.into(),
                why: "1 to 255 bytes".into(),
            });
        }
        if raw.keep_changes < 1000 {
            faults.push(Fault {
                setting: "status.keep_changes".into(),
                value: raw.keep_changes.to_string(),
                why: "at least 1000, or whoever watches would miss some".into(),
            });
        }
        let listen = match listen {
            Ok(listen) if faults.is_empty() => listen,
            Ok(_) => return Err(faults),
            Err(fault) => return Err([vec![fault], faults].concat()),
        };
        let database_url = or(
            raw.database_url,
            "DATABASE_URL",
            "postgres://calgrant@127.0.0.1:5432/calgrant",
        );
        Ok(Self {
            drain,
            listen,
            database_url,
            database_ca_file: raw.database_ca_file,
            amqp_url: or(raw.amqp_url, "AMQP_URL", "amqp://127.0.0.1:5672/%2f"),
            access_route: raw.access_exchange,
            keep_changes: raw.keep_changes,
            retention,
            terms: Terms {
                longest_call: Duration::from_millis(raw.longest_call_millis),
                abandoned_hold: Duration::from_millis(raw.abandoned_hold_millis),
                ..Terms::default()
            },
        })
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn retention(raw: &Raw, faults: &mut Vec<Fault>) -> Retention {
    let mut days = |setting: &str, least: u64, days: u64, why: &str| {
        if !(least..=36_500).contains(&days) {
            faults.push(Fault {
                setting: format!("status.{setting}"),
                value: days.to_string(),
                why: format!("{least} to 36,500 days{why}"),
            });
        }
        DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))
    };
    let requests = raw.keep_requests_days;
    Retention {
        requests: days("keep_requests_days", 1, requests, ""),
        changes: days(
            "keep_operation_changes_days",
            1,
            raw.keep_operation_changes_days,
            "",
        ),
        history: days(
            "keep_history_days",
            requests.clamp(1, 36_500),
            raw.keep_history_days,
            ": no less than keep_requests_days, for a repeated request is answered with its operation",
        ),
        events: days("keep_events_days", 1, raw.keep_events_days, ""),
        dead_letters: days("keep_dead_letters_days", 1, raw.keep_dead_letters_days, ""),
        alerts: days("keep_alerts_days", 1, raw.keep_alerts_days, ""),
        lists: days("keep_lists_days", 1, raw.keep_lists_days, ""),
    }
}
