//! One budget key as it stands: what is in use, what is left, what binds it.

use std::time::Duration;

use calgrant_budget::{
    Breaches, KeyName, KeyState, Moment, Reading, Stand, Terms,
    authority::Lease,
    key::{KeyLimits, Window},
    message::{BUCKETS, Why},
};

use crate::leases::LastPushback;

/// A window of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowView {
    pub(crate) length: Duration,
    pub(crate) calls: u32,
    pub(crate) left: u32,
    pub(crate) learned: bool,
}

/// A key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyView {
    pub(crate) name: KeyName,
    /// The least of configured limit, operator's workers and what was learned; `None` for any number.
    pub(crate) most: Option<u32>,
    pub(crate) in_flight: u32,
    /// What was learned about calls in flight.
    pub(crate) learned: Option<u32>,
    pub(crate) windows: Vec<WindowView>,
    /// Calls started a second.
    pub(crate) rate: f64,
    /// Replicas that may start calls.
    pub(crate) replicas: u32,
    pub(crate) leases: u32,
    pub(crate) pushbacks: u64,
    pub(crate) last_pushback: Option<LastPushback>,
    /// How often exactness was at risk, and when last.
    pub(crate) breaches: Breaches,
    pub(crate) breached_at: Option<Moment>,
    /// Until when the server wants no calls, and what it said.
    pub(crate) blocked: Option<(Moment, String)>,
    /// What keeps it from more.
    pub(crate) why: Why,
    /// When a replica last asked for it.
    pub(crate) asked_at: Option<Moment>,
    /// What an answer takes of late, if one came.
    pub(crate) call_takes: Option<Duration>,
    /// All that binds it, learned limits and workers included.
    pub(crate) limits: KeyLimits,
}

impl KeyView {
    /// What is left of the calls in flight; `None` for any number.
    pub(crate) fn left(&self) -> Option<u32> {
        self.most.map(|most| most.saturating_sub(self.in_flight))
    }

    /// Whether nothing of it is under way, and nothing can start.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.replicas == 0
    }
}

/// How a stored key stands at that reading of the clock.
pub(crate) fn look(
    state: &KeyState,
    last_pushback: Option<LastPushback>,
    terms: &Terms,
    at: Reading,
) -> KeyView {
    let asked_at = state.leases.iter().map(|lease| lease.asked_at).max();
    let mut state = state.clone();
    state.observe(terms, at);
    let now = state.seen;
    let (in_flight, _) = state.in_flight(terms, now);
    let limits = state.limits.less_reserve();
    let (most, slots_why) = most(&state, &limits);
    let learned_window = state.learned.window();
    let windows = windows(&state, &limits, learned_window, terms, now);
    let live = || state.leases.iter().filter(|lease| lease.is_live(now));
    let starting = live().filter(|lease| lease.granted != Some(0));
    let why = why(&state, &windows, slots_why, &limits, terms, now);
    KeyView {
        name: state.name.clone(),
        most,
        in_flight,
        learned: state.learned.most_in_flight(),
        rate: rate(&state, now),
        replicas: u32::try_from(starting.count()).unwrap_or(u32::MAX),
        leases: u32::try_from(live().count()).unwrap_or(u32::MAX),
        pushbacks: state.learned.refusals,
        last_pushback,
        breaches: state.breaches,
        breached_at: state.breached_at,
        blocked: state
            .blocked
            .as_ref()
            .map(|blocked| (blocked.until, blocked.cause.clone())),
        why,
        asked_at,
        call_takes: Some(state.learned.slowness.of_late).filter(|took| !took.is_zero()),
        limits: KeyLimits {
            in_flight: most,
            windows: limits
                .windows
                .iter()
                .copied()
                .chain(learned_window)
                .collect(),
            reserve_percent: 0,
            ..limits
        },
        windows,
    }
}

/// The limit of calls in flight, and where it comes from.
fn most(state: &KeyState, limits: &KeyLimits) -> (Option<u32>, Why) {
    let of = [
        (limits.in_flight, Why::InFlight),
        (state.operator.workers, Why::Workers),
        (state.learned.most_in_flight(), Why::Learned),
    ];
    let least = of
        .into_iter()
        .filter_map(|(most, why)| Some((most?, why)))
        .min_by_key(|(most, _)| *most);
    least.map_or((None, Why::Enough), |(most, why)| (Some(most), why))
}

fn windows(
    state: &KeyState,
    limits: &KeyLimits,
    learned: Option<Window>,
    terms: &Terms,
    now: Moment,
) -> Vec<WindowView> {
    let configured = limits.windows.iter().map(|window| (*window, false));
    let all = configured.chain(learned.map(|window| (window, true)));
    all.map(|(window, learned)| {
        let counted: u64 = if window.length > terms.longest_share {
            let ledgers = state.ledgers.iter();
            ledgers
                .filter(|ledger| ledger.length == window.length)
                .flat_map(|ledger| &ledger.entries)
                .filter(|(leaves, _)| *leaves > now)
                .map(|(_, calls)| u64::from(*calls))
                .sum()
        } else {
            let leases = state.leases.iter();
            leases
                .map(|lease| u64::from(counted(lease, window.length, terms, now)))
                .sum()
        };
        WindowView {
            length: window.length,
            calls: window.calls,
            left: window
                .calls
                .saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX)),
            learned,
        }
    })
    .collect()
}

/// Of the calls that a replica reported, those that may still count.
fn counted(lease: &Lease, length: Duration, terms: &Terms, now: Moment) -> u32 {
    let Some(window) = lease.windows.iter().find(|window| window.length == length) else {
        return 0;
    };
    let bucket = terms.counted(length) / u32::try_from(BUCKETS).unwrap_or(1);
    let gone = now.saturating_sub(lease.asked_at).as_micros() / bucket.as_micros().max(1);
    let gone = usize::try_from(gone).unwrap_or(BUCKETS).min(BUCKETS);
    window
        .counted
        .saturating_sub(window.leaving[..gone].iter().sum())
}

/// Calls started a second, as the meter would say now.
fn rate(state: &KeyState, now: Moment) -> f64 {
    let meter = state.learned.meter;
    let passed = now.saturating_sub(meter.at).as_secs_f64();
    let keeps = (-passed / 10.0).exp();
    let weight = (meter.weight * keeps + (1.0 - keeps)).max(0.1);
    // To a hundredth: it is for people.
    (meter.sum * keeps / weight * 100.0).round() / 100.0
}

fn why(
    state: &KeyState,
    windows: &[WindowView],
    slots_why: Why,
    limits: &KeyLimits,
    terms: &Terms,
    now: Moment,
) -> Why {
    match state.operator.stand {
        Stand::Paused => return Why::Paused,
        Stand::Draining => return Why::Draining,
        Stand::Working => {}
    }
    if now < state.quiet_until {
        return Why::Quarantine;
    }
    if let Some(blocked) = &state.blocked {
        return Why::Blocked {
            cause: blocked.cause.clone(),
        };
    }
    let waiting = || {
        let leases = state.leases.iter();
        leases.filter(|lease| lease.is_live(now) && lease.waiting.total() > 0)
    };
    if waiting().next().is_none() {
        return Why::Enough;
    }
    let bound_by = |window: &&WindowView| {
        let shared = |lease: &Lease| {
            let mut own = lease.windows.iter();
            own.any(|own| own.length == window.length && own.bound)
        };
        window.left == 0 || waiting().any(shared)
    };
    if let Some(window) = windows.iter().find(bound_by) {
        return if window.learned {
            Why::Learned
        } else {
            Why::Window(window.length)
        };
    }
    let spent = match (&limits.server_time, &state.balance) {
        (Some(limit), Some(balance)) => {
            balance.micros <= i64::try_from(limit.floor.as_micros()).unwrap_or(i64::MAX)
        }
        _ => false,
    };
    if spent {
        return Why::ServerTime;
    }
    if waiting().any(|lease| lease.bound) {
        let silent = state.leases.iter().any(|lease| !lease.is_live(now));
        let (all, expiring) = state.in_flight(terms, now);
        return if silent && expiring > 0 && expiring * 2 >= all {
            Why::Silent
        } else {
            slots_why
        };
    }
    Why::Enough
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use calgrant_budget::{
        Scope,
        message::{Ask, Overload, Pushback, TimeUse, Waiting, WindowUse},
    };

    pub(crate) const AT: Reading = Reading {
        now: Moment::from_secs(1_000_000),
        era: 1,
    };

    pub(crate) fn key(account: &str, limits: KeyLimits) -> KeyState {
        let name = KeyName::new(Scope::Account, format!("uni/online/{account}"), "exchange");
        KeyState::new(name, limits, AT)
    }

    pub(crate) fn slots(most: u32) -> KeyLimits {
        KeyLimits {
            in_flight: Some(most),
            ..KeyLimits::default()
        }
    }

    /// What a replica says that has so many calls in flight, and so many waiting for a slot.
    pub(crate) fn ask(state: &KeyState, in_flight: u32, waiting: u32) -> Ask {
        Ask {
            key: state.name.clone(),
            waiting: Waiting {
                interactive: 0,
                bulk: waiting,
            },
            slots: Some(in_flight),
            bound: waiting > 0,
            in_flight,
            peak: in_flight,
            abandoned: 0,
            windows: Vec::new(),
            chunks: Vec::new(),
            time: TimeUse::default(),
            started: 0,
            answered: 0,
            took: Duration::ZERO,
            pushbacks: Vec::new(),
            breaches: Breaches::default(),
            gives_back: false,
        }
    }

    fn at(seconds: u64) -> Reading {
        Reading {
            now: AT.now + Duration::from_secs(seconds),
            ..AT
        }
    }

    #[test]
    fn what_binds_is_named() {
        let terms = Terms::default();
        let view = |state: &KeyState| look(state, None, &terms, at(0));
        let mut state = key("sa-1", slots(4));
        assert_eq!(view(&state).why, Why::Enough);
        let busy = ask(&state, 4, 3);
        state.grant("a", 1, &busy, &terms, AT).unwrap();
        let seen = view(&state);
        assert_eq!(
            (&seen.why, seen.most, seen.in_flight, seen.left()),
            (&Why::InFlight, Some(4), 4, Some(0))
        );
        assert_eq!((seen.replicas, seen.is_empty()), (1, false));
        state.operator.workers = Some(2);
        assert_eq!(view(&state).why, Why::Workers);
        state.operator.stand = Stand::Paused;
        assert_eq!(view(&state).why, Why::Paused, "a pause beats every limit");
    }

    #[test]
    fn calls_of_a_window_are_left_as_they_age_out() {
        let terms = Terms::default();
        let length = Duration::from_secs(10);
        let mut state = key(
            "sa-1",
            KeyLimits {
                windows: vec![Window { calls: 100, length }],
                ..slots(50)
            },
        );
        let mut leaving = [0; BUCKETS];
        leaving[BUCKETS - 1] = 60;
        leaving[0] = 40;
        let used = Ask {
            windows: vec![WindowUse {
                length,
                held: 100,
                bound: true,
                counted: 100,
                leaving,
            }],
            ..ask(&state, 1, 5)
        };
        state.grant("a", 1, &used, &terms, AT).unwrap();
        let seen = look(&state, None, &terms, at(0));
        assert_eq!((seen.windows[0].left, &seen.why), (0, &Why::Window(length)));
        assert_eq!(look(&state, None, &terms, at(2)).windows[0].left, 40);
        assert_eq!(look(&state, None, &terms, at(60)).windows[0].left, 100);
    }

    #[test]
    fn a_pushback_is_seen_with_its_cause_and_its_end() {
        let terms = Terms::default();
        let mut state = key("sa-1", slots(8));
        let refused = Ask {
            pushbacks: vec![Pushback {
                overload: Overload::Concurrency,
                wait: Some(Duration::from_secs(30)),
                cause: "ServerBusy".to_owned(),
            }],
            ..ask(&state, 8, 3)
        };
        state.grant("a", 1, &refused, &terms, AT).unwrap();
        let seen = look(&state, None, &terms, at(1));
        let until = AT.now + Duration::from_secs(30);
        assert_eq!(seen.blocked, Some((until, "ServerBusy".to_owned())));
        assert!(matches!(seen.why, Why::Blocked { cause } if cause == "ServerBusy"));
        assert_eq!((seen.pushbacks, seen.learned), (1, Some(4)));
        assert_eq!(look(&state, None, &terms, at(31)).blocked, None);
    }

    #[test]
    fn a_lease_that_ran_out_is_no_replica_but_its_slots_count() {
        let terms = Terms::default();
        let mut state = key("sa-1", slots(4));
        let busy = ask(&state, 2, 1);
        state.grant("a", 1, &busy, &terms, AT).unwrap();
        let seen = look(&state, None, &terms, at(10));
        assert_eq!(seen.replicas, 0);
        assert!(seen.in_flight > 0 && !seen.is_empty());
        assert_eq!(seen.asked_at, Some(AT.now));
        assert!(look(&state, None, &terms, at(1000)).is_empty());
    }
}
