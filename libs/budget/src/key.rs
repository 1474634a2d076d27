//! Budget keys: what a server counts calls against, and the limits of one.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

use calgrant_domain::{CallWindow, Limits, SharedLimits};

/// How wide a key reaches, narrow first. A call is charged to one key of each scope that has limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// One service account.
    Account,
    /// One app registration.
    App,
    /// One institution.
    Tenant,
    /// One Exchange organisation.
    Site,
}

impl Scope {
    /// Every scope, narrow first.
    pub const ALL: [Self; 4] = [Self::Account, Self::App, Self::Tenant, Self::Site];

    /// The word for it, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::App => "app",
            Self::Tenant => "tenant",
            Self::Site => "site",
        }
    }
}

/// The name of a key: printed as `account:sa-1/ews`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyName {
    /// How wide it reaches.
    pub scope: Scope,
    /// Whose it is, unique within the scope.
    pub owner: String,
    /// The family of endpoints that the server counts together: `ews`, `graph`, `admin`.
    pub family: String,
}

impl KeyName {
    /// The key of that owner for that family of endpoints.
    pub fn new(scope: Scope, owner: impl Into<String>, family: impl Into<String>) -> Self {
        Self {
            scope,
            owner: owner.into(),
            family: family.into(),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.scope.as_str(), self.owner, self.family)
    }
}

/// So many calls in any stretch of time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The most calls.
    pub calls: u32,
    /// How long the stretch is.
    pub length: Duration,
}

/// Exchange's balance: a call in flight costs its own duration; the balance fills up again steadily.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTime {
    /// The full balance.
    pub burst: Duration,
    /// What comes back in an hour.
    pub recharge_per_hour: Duration,
    /// The balance that no new call may touch.
    pub floor: Duration,
}

/// What is configured for a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Calls in flight at once; `None` for any number.
    pub in_flight: Option<u32>,
    /// Calls per sliding window, each of another length.
    pub windows: Vec<Window>,
    /// The balance of server time.
    pub server_time: Option<ServerTime>,
    /// The share left to others who use the same key, in percent: 0 to 99.
    pub reserve_percent: u8,
    /// Whether calls in flight are reduced while answers take over twice as long as usual.
    pub latency_led: bool,
}

impl From<&Limits> for KeyLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            in_flight: Some(limits.in_flight),
            windows: limits.windows.iter().map(window).collect(),
            server_time: limits.server_time.map(|time| ServerTime {
                burst: time.burst,
                recharge_per_hour: time.recharge_per_hour,
                floor: time.floor,
            }),
            ..Self::default()
        }
    }
}

impl From<&SharedLimits> for KeyLimits {
    fn from(limits: &SharedLimits) -> Self {
        Self {
            in_flight: limits.in_flight,
            windows: limits.windows.iter().map(window).collect(),
            ..Self::default()
        }
    }
}

fn window(window: &CallWindow) -> Window {
    Window {
        calls: window.calls,
        length: window.length,
    }
}

impl KeyLimits {
    /// These limits less the reserve. A limit that isn't zero leaves at least one.
    #[must_use]
    pub fn less_reserve(&self) -> Self {
        let left = u32::from(100 - self.reserve_percent.min(99));
        let of = |calls: u32| match calls {
            0 => 0,
            calls => (u64::from(calls) * u64::from(left) / 100).max(1),
        };
        let narrow = |calls: u32| u32::try_from(of(calls)).unwrap_or(calls);
        let part = |time: Duration| time * left / 100;
        Self {
            in_flight: self.in_flight.map(narrow),
            windows: self
                .windows
                .iter()
                .map(|window| Window {
                    calls: narrow(window.calls),
                    length: window.length,
                })
                .collect(),
            server_time: self.server_time.map(|time| ServerTime {
                burst: part(time.burst),
                recharge_per_hour: part(time.recharge_per_hour),
                floor: time.floor,
            }),
            ..self.clone()
        }
    }
}

/// What an operator wants of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Stand {
    /// Calls are made.
    #[default]
    Working,
    /// No new call until somebody resumes it.
    Paused,
    /// No new call; what is in flight is finished, and then it is empty.
    Draining,
}

/// The operator's hand on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operator {
    /// Whether calls are made.
    pub stand: Stand,
    /// The most calls in flight the operator wants; `None` for what the budget allows.
    pub workers: Option<u32>,
}

/// What exactness rests on. The same for authority and replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long after a renewal was sent calls may still start under it. At most 3 s.
    pub lease: Duration,
    /// No reply is awaited longer.
    pub longest_call: Duration,
    /// How long the server may go on working on a call without a reply.
    pub abandoned_hold: Duration,
    /// The longest stall between a permit and the call's first byte, and between that and its arrival.
    pub guard: Duration,
    /// By how much the rates of two clocks may differ, in millionths.
    pub clock_ppm: u32,
    /// Shares of windows up to this length are held by replicas; of longer ones chunks are handed out.
    pub longest_share: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            longest_call: Duration::from_secs(30),
            abandoned_hold: Duration::from_secs(60),
            guard: Duration::from_millis(100),
            clock_ppm: 1000,
            longest_share: Duration::from_secs(60),
        }
    }
}

impl Terms {
    /// A time by one clock that is at least `time` by any other.
    #[must_use]
    pub fn surely(&self, time: Duration) -> Duration {
        // Rounded up: at most a microsecond too long.
        let micros = time.as_micros() * u128::from(self.clock_ppm) / 1_000_000 + 1;
        time + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long a call counts in a window of that length, from its permit at the most.
    #[must_use]
    pub fn counted(&self, window: Duration) -> Duration {
        self.surely(window + self.guard * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_leaves_at_least_one() {
        for (calls, reserve, want) in [(10, 50, 5), (1, 50, 1), (0, 50, 0), (7, 0, 7), (100, 99, 1)]
        {
            let limits = KeyLimits {
                in_flight: Some(calls),
                reserve_percent: reserve,
                ..KeyLimits::default()
            };
            assert_eq!(
                limits.less_reserve().in_flight,
                Some(want),
                "{calls} less {reserve} %"
            );
        }
    }

    #[test]
    fn a_key_is_printed_as_it_is_typed() {
        let key = KeyName::new(Scope::Account, "sa-1", "ews");
        assert_eq!(key.to_string(), "account:sa-1/ews");
    }
}
