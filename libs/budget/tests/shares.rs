//! Several replicas and one authority, in any order of events: together they never have more than the budget.

use std::time::Duration;

use calgrant_budget::{
    Answer, Charge, Holder, KeyLimits, KeyName, KeyState, Pace, Permit, Reading, Scope, ServerTime,
    Stand, Terms, Window,
    message::{Lane, Renewed, Waiting},
};
use proptest::prelude::*;

const MOST: u32 = 5;
const WINDOW: (u32, u64) = (9, 2000);
/// Longer than shares are held: handed out in chunks.
const LONG_WINDOW: (u32, u64) = (40, 90_000);
/// In milliseconds: the balance of server time, and what comes back in an hour.
const SERVER_TIME: (u64, u64) = (6000, 720_000);
/// In milliseconds: how long a call is awaited, and how long after that its place is kept.
const LONGEST: u64 = 1000;
const HOLD: u64 = 2000;
/// When the first event is.
const START: u64 = 10_000;

struct Replica {
    holder: Holder,
    charge: Charge,
    /// With the moments they were given.
    permits: Vec<(Permit, u64)>,
}

/// What happens next, to which replica: after so many milliseconds.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    Done,
    Abandon,
    Renew { lost: bool },
    Pause(bool),
}

fn step(longest_gap: u64) -> impl Strategy<Value = (usize, u64, Step)> {
    let kind = prop_oneof![
        6 => Just(Step::Ask),
        4 => Just(Step::Done),
        1 => Just(Step::Abandon),
        3 => prop::bool::weighted(0.2).prop_map(|lost| Step::Renew { lost }),
        1 => prop::bool::weighted(0.2).prop_map(Step::Pause),
    ];
    (0usize..3, 0..longest_gap, kind)
}

/// What the server sees of all replicas, in milliseconds.
#[derive(Default)]
struct Server {
    arrived: Vec<u64>,
    /// Calls whose client is gone: when they came, and when it is done with them.
    abandoned: Vec<(u64, u64)>,
    /// What calls that are over have cost.
    spent: u64,
    paused_since: Option<u64>,
}

impl Server {
    /// A call has come. `since`: when those came whose reply is awaited, this one included.
    fn judge(&mut self, limits: &KeyLimits, since: &[u64], now: u64) -> Result<(), TestCaseError> {
        self.arrived.push(now);
        let in_flight = since.len() + self.abandoned.len();
        if let Some(most) = limits.in_flight {
            prop_assert!(in_flight <= most as usize, "{in_flight} in flight");
        }
        for window in &limits.windows {
            let length = u64::try_from(window.length.as_millis()).expect("milliseconds");
            let recent = self.arrived.iter().filter(|at| **at + length > now).count();
            prop_assert!(
                recent <= window.calls as usize,
                "{recent} in {:?}",
                window.length
            );
        }
        if limits.server_time.is_some() {
            let (burst, per_hour) = SERVER_TIME;
            let clientless = self.abandoned.iter().map(|(since, _)| since);
            let running: u64 = since
                .iter()
                .chain(clientless)
                .map(|since| now - since)
                .sum();
            let back = (now - START) * per_hour / 3_600_000;
            let spent = self.spent + running;
            // Calls under way may cost more than was expected of them, and other replicas hear of it late: by no more than the
            // longest call in each slot.
            let overdraft = (LONGEST + HOLD) * u64::from(MOST);
            prop_assert!(
                spent <= burst + back + overdraft,
                "{spent} ms spent of {burst} + {back}"
            );
        }
        if let Some(since) = self.paused_since {
            prop_assert!(
                now < since + 3010,
                "started {} ms after the pause",
                now - since
            );
        }
        Ok(())
    }

    /// A call is over for its client, and after `held` more for the server.
    fn ends(&mut self, since: u64, at: u64, held: u64) {
        if held > 0 {
            self.abandoned.push((since, at + held));
        } else {
            self.spent += at - since;
        }
    }

    /// It is done with calls whose client is gone.
    fn forget(&mut self, now: u64) {
        let spent = &mut self.spent;
        self.abandoned.retain(|(since, until)| {
            if *until <= now {
                *spent += until - since;
            }
            *until > now
        });
    }
}

/// Nothing is ever over these limits, whatever happens in which order.
fn kept_to(limits: &KeyLimits, steps: Vec<(usize, u64, Step)>) -> Result<(), TestCaseError> {
    let terms = Terms {
        abandoned_hold: Duration::from_millis(HOLD),
        longest_call: Duration::from_millis(LONGEST),
        ..Terms::default()
    };
    let key = KeyName::new(Scope::Account, "sa-1", "ews");
    let reading = |now| Reading {
        now: Duration::from_millis(now),
        era: 1,
    };
    let mut state = KeyState::new(key.clone(), limits.clone(), reading(START));
    let replica = |index| {
        let mut holder = Holder::new(format!("replica-{index}"), terms, Pace::default());
        let charge = holder.charge(std::slice::from_ref(&key)).expect("one key");
        Replica {
            holder,
            charge,
            permits: Vec::new(),
        }
    };
    let mut replicas: Vec<Replica> = (0..3).map(replica).collect();
    let (mut now, mut server) = (START, Server::default());
    for (index, gap, step) in steps {
        now += gap;
        let local = Duration::from_millis(now);
        // No call is awaited for longer than was agreed.
        for replica in &mut replicas {
            let (late, awaited) = replica
                .permits
                .drain(..)
                .partition(|(_, since)| since + LONGEST <= now);
            replica.permits = awaited;
            for (permit, since) in late {
                let over = since + LONGEST;
                replica.holder.abandon(permit, Duration::from_millis(over));
                server.ends(since, over, HOLD);
            }
        }
        server.forget(now);
        let replica = &mut replicas[index];
        replica.holder.wait(
            &key,
            Waiting {
                interactive: 0,
                bulk: 9,
            },
        );
        match step {
            Step::Ask => {
                let answer = replica.holder.ask(&replica.charge, Lane::Bulk, 1, local);
                if let Answer::Go(permit) = answer {
                    replica.holder.first_byte(permit, local);
                    replica.permits.push((permit, now));
                    let permits = replicas.iter().flat_map(|replica| &replica.permits);
                    let since: Vec<_> = permits.map(|(_, since)| *since).collect();
                    server.judge(limits, &since, now)?;
                }
            }
            Step::Done => {
                if let Some((permit, since)) = replica.permits.pop() {
                    replica.holder.done(permit, true, local);
                    server.ends(since, now, 0);
                }
            }
            Step::Abandon => {
                if let Some((permit, since)) = replica.permits.pop() {
                    replica.holder.abandon(permit, local);
                    server.ends(since, now, HOLD);
                }
            }
            Step::Renew { lost } => {
                let renewal = replica.holder.renew(local);
                let grant =
                    |ask| state.grant(&renewal.replica, renewal.number, ask, &terms, reading(now));
                let grants = renewal.asks.iter().filter_map(grant).collect();
                if !lost {
                    let renewed = Renewed {
                        number: renewal.number,
                        clock: Some(local),
                        grants,
                    };
                    replica.holder.apply(&renewed, local);
                }
            }
            Step::Pause(pause) => {
                state.operator.stand = if pause { Stand::Paused } else { Stand::Working };
                server.paused_since = pause.then(|| server.paused_since.unwrap_or(now));
            }
        }
    }
    Ok(())
}

fn window((calls, millis): (u32, u64)) -> Window {
    Window {
        calls,
        length: Duration::from_millis(millis),
    }
}

proptest! {
    #[test]
    fn together_never_more_than_the_budget(steps in prop::collection::vec(step(300), 1..400)) {
        let limits = KeyLimits {
            in_flight: Some(MOST),
            windows: vec![window(WINDOW)],
            ..KeyLimits::default()
        };
        kept_to(&limits, steps)?;
    }

    #[test]
    fn long_windows_are_kept_to(steps in prop::collection::vec(step(600), 1..600)) {
        let limits = KeyLimits {
            windows: vec![window(WINDOW), window(LONG_WINDOW)],
            ..KeyLimits::default()
        };
        kept_to(&limits, steps)?;
    }

    #[test]
    fn server_time_is_kept_to(steps in prop::collection::vec(step(300), 1..600)) {
        let (burst, per_hour) = SERVER_TIME;
        let limits = KeyLimits {
            in_flight: Some(MOST),
            server_time: Some(ServerTime {
                burst: Duration::from_millis(burst),
                recharge_per_hour: Duration::from_millis(per_hour),
                floor: Duration::ZERO,
            }),
            ..KeyLimits::default()
        };
        kept_to(&limits, steps)?;
    }
}

#[test]
fn what_a_process_that_stops_gives_back_is_free_at_once() {
    let (terms, now) = (Terms::default(), Duration::from_secs(100));
    let key = KeyName::new(Scope::Account, "sa-1", "exchange");
    let limits = KeyLimits {
        in_flight: Some(MOST),
        ..KeyLimits::default()
    };
    let at = Reading { now, era: 1 };
    let mut state = KeyState::new(key.clone(), limits, at);
    let mut renew = |holder: &mut Holder| {
        let renewal = holder.renew(now);
        let grants = renewal
            .asks
            .iter()
            .filter_map(|ask| state.grant(&renewal.replica, renewal.number, ask, &terms, at));
        let renewed = Renewed {
            number: renewal.number,
            clock: None,
            grants: grants.collect(),
        };
        holder.apply(&renewed, now);
    };
    let waiting = Waiting {
        interactive: 0,
        bulk: 100,
    };
    let holder = |name: &str| {
        let mut holder = Holder::new(name, terms, Pace::default());
        assert!(holder.charge(std::slice::from_ref(&key)).is_some());
        holder.wait(&key, waiting);
        holder
    };
    let (mut old, mut new) = (holder("old"), holder("new"));
    renew(&mut old);
    assert_eq!(old.slots(&key), Some(MOST));
    // Calls still waited for it when it was told to stop.
    old.give_back();
    renew(&mut old);
    assert_eq!(old.slots(&key), Some(0));
    renew(&mut new);
    assert_eq!(new.slots(&key), Some(MOST));
}
