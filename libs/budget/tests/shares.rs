//! Several replicas and one authority, in any order of events: together they never have more than the budget.

use std::time::Duration;

use calgrant_budget::{
    Answer, Charge, Holder, KeyLimits, KeyName, KeyState, Pace, Permit, Reading, Scope, Stand,
    Terms, Window,
    message::{Lane, Renewed, Waiting},
};
use proptest::prelude::*;

const MOST: u32 = 5;
const WINDOW: (u32, u64) = (9, 2000);
/// In milliseconds: how long a call is awaited, and how long after that its place is kept.
const LONGEST: u64 = 1000;
const HOLD: u64 = 2000;

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

fn step() -> impl Strategy<Value = (usize, u64, Step)> {
    let kind = prop_oneof![
        6 => Just(Step::Ask),
        4 => Just(Step::Done),
        1 => Just(Step::Abandon),
        3 => prop::bool::weighted(0.2).prop_map(|lost| Step::Renew { lost }),
        1 => prop::bool::weighted(0.2).prop_map(Step::Pause),
    ];
    (0usize..3, 0u64..300, kind)
}

proptest! {
    #[test]
    fn together_never_more_than_the_budget(steps in prop::collection::vec(step(), 1..400)) {
        let terms = Terms { abandoned_hold: Duration::from_millis(HOLD), longest_call: Duration::from_millis(LONGEST), ..Terms::default() };
        let key = KeyName::new(Scope::Account, "sa-1", "ews");
        let limits = KeyLimits {
            in_flight: Some(MOST),
            windows: vec![Window { calls: WINDOW.0, length: Duration::from_millis(WINDOW.1) }],
            ..KeyLimits::default()
        };
        let reading = |now| Reading { now: Duration::from_millis(now), era: 1 };
        let mut state = KeyState::new(key.clone(), limits, reading(10_000));
        let mut replicas: Vec<Replica> = (0..3).map(|index| {
            let mut holder = Holder::new(format!("replica-{index}"), terms, Pace::default());
            let charge = holder.charge(std::slice::from_ref(&key)).expect("one key");
            Replica { holder, charge, permits: Vec::new() }
        }).collect();
        // What the server sees: arrivals, and ends of calls without a reply.
        let (mut now, mut arrived, mut abandoned) = (10_000u64, Vec::<u64>::new(), Vec::<u64>::new());
        let mut paused_since = None;
        for (index, gap, step) in steps {
            now += gap;
            let local = Duration::from_millis(now);
            // No call is awaited for longer than was agreed.
            for replica in &mut replicas {
                let (late, awaited) = replica.permits.drain(..).partition(|(_, since)| since + LONGEST <= now);
                replica.permits = awaited;
                for (permit, since) in late {
                    replica.holder.abandon(permit, Duration::from_millis(since + LONGEST));
                    abandoned.push(since + LONGEST + HOLD);
                }
            }
            abandoned.retain(|until| *until > now);
            let replica = &mut replicas[index];
            replica.holder.wait(&key, Waiting { interactive: 0, bulk: 9 });
            match step {
                Step::Ask => if let Answer::Go(permit) = replica.holder.ask(&replica.charge, Lane::Bulk, 1, local) {
                    replica.holder.first_byte(permit, local);
                    replica.permits.push((permit, now));
                    arrived.push(now);
                    let in_flight = replicas.iter().map(|replica| replica.permits.len()).sum::<usize>() + abandoned.len();
                    prop_assert!(in_flight <= MOST as usize, "{in_flight} in flight");
                    let recent = arrived.iter().filter(|at| **at + WINDOW.1 > now).count();
                    prop_assert!(recent <= WINDOW.0 as usize, "{recent} in the window");
                    if let Some(since) = paused_since {
                        prop_assert!(now < since + 3010, "started {} ms after the pause", now - since);
                    }
                },
                Step::Done => if let Some((permit, _)) = replica.permits.pop() {
                    replica.holder.done(permit, true, local);
                },
                Step::Abandon => if let Some((permit, _)) = replica.permits.pop() {
                    replica.holder.abandon(permit, local);
                    abandoned.push(now + HOLD);
                },
                Step::Renew { lost } => {
                    let renewal = replica.holder.renew(local);
                    let grants = renewal.asks.iter()
                        .filter_map(|ask| state.grant(&renewal.replica, renewal.number, ask, &terms, reading(now)))
                        .collect();
                    if !lost {
                        replica.holder.apply(&Renewed { number: renewal.number, clock: Some(local), grants }, local);
                    }
                }
                Step::Pause(pause) => {
                    state.operator.stand = if pause { Stand::Paused } else { Stand::Working };
                    paused_since = pause.then(|| paused_since.unwrap_or(now));
                }
            }
        }
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
