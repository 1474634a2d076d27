//! What happens when: a pure function of the seed.
//!
//! Troubles are dealt like cards: every kind comes once before any comes again, so that a short run meets them all. The simulator
//! itself is neither killed nor stopped: it is the judge, and holds what is true. Its own troubles are the faults it can be told.

use std::{fmt, time::Duration};

use calgrant_simulator::FAULTS;

use crate::{
    dice::Dice,
    school::{TENANTS, Tenant},
    work::{Work, work},
};

/// A service, of which several processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Service {
    Api,
    Status,
    Worker,
    Onboarding,
}

impl Service {
    /// The subcommand, and the prefix of its settings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Status => "status",
            Self::Worker => "worker",
            Self::Onboarding => "onboarding",
        }
    }
}

/// How many processes of each service run.
pub(crate) const SET: [(Service, u8); 4] = [
    (Service::Status, 2),
    (Service::Api, 2),
    (Service::Worker, 3),
    (Service::Onboarding, 1),
];

/// The worker whose clock runs fast.
pub(crate) const FAST: Process = Process {
    service: Service::Worker,
    number: 3,
};

/// One process, by number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) service: Service,
    pub(crate) number: u8,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service.word(), self.number)
    }
}

/// Every process.
pub(crate) fn processes() -> impl Iterator<Item = Process> {
    SET.into_iter()
        .flat_map(|(service, count)| (1..=count).map(move |number| Process { service, number }))
}

/// A connection in whose middle we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Link {
    Database,
    Broker,
    Status,
    Api,
    Exchange,
}

impl Link {
    pub(crate) const ALL: [Self; 5] = [
        Self::Database,
        Self::Broker,
        Self::Status,
        Self::Api,
        Self::Exchange,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Database => "the database",
            Self::Broker => "the broker",
            Self::Status => "status",
            Self::Api => "the apis",
            Self::Exchange => "Exchange",
        }
    }
}

/// What goes wrong, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// `kill -9`, and started again.
    Kill { process: Process, down: Duration },
    /// SIGTERM, and started again when it has ended.
    Terminate { process: Process, down: Duration },
    /// SIGSTOP, then SIGCONT.
    Suspend { process: Process, held: Duration },
    /// `kill -9` of RabbitMQ, and started again on its data.
    KillBroker { down: Duration },
    /// Postgres stopped as by a crash, and started again on its data.
    KillDatabase { down: Duration },
    /// RabbitMQ is short of memory: it reads from nobody who publishes.
    MemoryAlarm { held: Duration },
    /// All connections are cut, and new ones refused for a while.
    Cut { link: Link, down: Duration },
    /// Nothing goes through any connection, but none breaks.
    Stall { link: Link, held: Duration },
    /// A fault of the simulator's, by so many in a thousand calls, of all apps or of this one.
    Fault {
        name: &'static str,
        permille: u64,
        app: Option<&'static str>,
        held: Duration,
    },
    /// Reads show writes only so much later.
    ReadLag { lag: Duration, held: Duration },
    /// The database's clock is set to so many milliseconds before or after the true time.
    SetDatabaseClock { millis: i64 },
}

impl Trouble {
    /// How it is counted.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Kill { process, .. } => format!("kill -9 of {process}"),
            Self::Terminate { process, .. } => format!("SIGTERM to {process}"),
            Self::Suspend { process, .. } => format!("SIGSTOP and SIGCONT of {process}"),
            Self::KillBroker { .. } => "kill -9 of RabbitMQ".to_owned(),
            Self::KillDatabase { .. } => "Postgres stopped immediately".to_owned(),
            Self::MemoryAlarm { .. } => "memory alarm of RabbitMQ".to_owned(),
            Self::Cut { link, .. } => format!("connections to {} cut", link.word()),
            Self::Stall { link, .. } => format!("connections to {} stalled", link.word()),
            Self::Fault { name, .. } => format!("fault {name}"),
            Self::ReadLag { .. } => "reads lag behind writes".to_owned(),
            Self::SetDatabaseClock { .. } => "the database's clock set".to_owned(),
        }
    }

    fn held(&mut self) -> Option<&mut Duration> {
        match self {
            Self::Kill { down: held, .. }
            | Self::Terminate { down: held, .. }
            | Self::Suspend { held, .. }
            | Self::KillBroker { down: held }
            | Self::KillDatabase { down: held }
            | Self::MemoryAlarm { held }
            | Self::Cut { down: held, .. }
            | Self::Stall { held, .. }
            | Self::Fault { held, .. }
            | Self::ReadLag { held, .. } => Some(held),
            Self::SetDatabaseClock { .. } => None,
        }
    }
}

/// Everything that happens, each part in the order of time since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) troubles: Vec<(Duration, Trouble)>,
    pub(crate) work: Vec<(Duration, Work)>,
    /// When nothing is wrong any more.
    pub(crate) end: Duration,
}

/// Faults that budgets learn from: they befall one account, for if all were told to slow down, all would rightly be too slow for
/// what is asked here, long after the storm.
const SLOWING: [&str; 2] = ["throttle_429", "throttle_no_retry_after"];

/// Work is under way before the first trouble.
const FIRST_TROUBLE: Duration = Duration::from_secs(6);

/// The plan of a seed for a run of `length`.
pub(crate) fn plan(seed: u64, length: Duration) -> Plan {
    Plan {
        troubles: troubles(&mut Dice::new(seed), length),
        work: work(&mut Dice::new(!seed), length),
        end: length,
    }
}

fn troubles(dice: &mut Dice, length: Duration) -> Vec<(Duration, Trouble)> {
    let mut troubles = Vec::new();
    let mut at = FIRST_TROUBLE;
    loop {
        let mut deck = deck(dice);
        dice.shuffle(&mut deck);
        for mut trouble in deck {
            if at + Duration::from_secs(2) > length {
                return troubles;
            }
            if let Some(held) = trouble.held() {
                *held = (*held).min(length - at);
            }
            troubles.push((at, trouble));
            at += Duration::from_millis(dice.between(800, 3000));
        }
    }
}

/// Seconds, forward or back.
fn step(dice: &mut Dice) -> i64 {
    let millis = i64::try_from(dice.between(1000, 10_000)).unwrap_or(1000);
    if dice.percent(50) { millis } else { -millis }
}

/// The client id of an account that writes.
fn grantor(dice: &mut Dice) -> &'static str {
    let grantors: Vec<_> = TENANTS.iter().flat_map(Tenant::grantors).collect();
    grantors[dice.place(grantors.len())]
}

/// Every kind once.
fn deck(dice: &mut Dice) -> Vec<Trouble> {
    let millis = |dice: &mut Dice, from, to| Duration::from_millis(dice.between(from, to));
    let mut deck = vec![
        Trouble::KillBroker {
            down: millis(dice, 0, 5000),
        },
        Trouble::KillDatabase {
            down: millis(dice, 0, 5000),
        },
        Trouble::MemoryAlarm {
            held: millis(dice, 3000, 12_000),
        },
        Trouble::ReadLag {
            lag: millis(dice, 500, 8000),
            held: millis(dice, 8000, 20_000),
        },
        Trouble::SetDatabaseClock { millis: step(dice) },
    ];
    for process in processes() {
        deck.push(Trouble::Kill {
            process,
            down: millis(dice, 0, 6000),
        });
        deck.push(Trouble::Terminate {
            process,
            down: millis(dice, 0, 3000),
        });
        deck.push(Trouble::Suspend {
            process,
            held: millis(dice, 1000, 30_000),
        });
    }
    for link in Link::ALL {
        deck.push(Trouble::Cut {
            link,
            down: millis(dice, 0, 4000),
        });
        // What is held up on the way to Exchange would arrive there in one heap, whatever budget it left under.
        if link != Link::Exchange {
            deck.push(Trouble::Stall {
                link,
                held: millis(dice, 1000, 20_000),
            });
        }
    }
    for name in FAULTS {
        deck.push(Trouble::Fault {
            name,
            permille: dice.between(20, 200),
            app: SLOWING.contains(&name).then(|| grantor(dice)),
            held: millis(dice, 3000, 10_000),
        });
    }
    deck
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTES: Duration = Duration::from_secs(180);

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(plan(7, MINUTES), plan(7, MINUTES));
        assert_ne!(plan(7, MINUTES), plan(8, MINUTES));
    }

    #[test]
    fn three_minutes_meet_every_trouble() {
        for seed in 0..50 {
            let all: BTreeSet<_> = deck(&mut Dice::new(seed))
                .iter()
                .map(Trouble::label)
                .collect();
            let met: BTreeSet<_> = plan(seed, MINUTES)
                .troubles
                .iter()
                .map(|(_, trouble)| trouble.label())
                .collect();
            let missing: Vec<_> = all.difference(&met).collect();
            assert!(missing.is_empty(), "{seed}: {missing:?}");
        }
    }

    #[test]
    fn nothing_is_wrong_after_the_end() {
        for seed in 0..50 {
            let plan = plan(seed, MINUTES);
            for (at, mut trouble) in plan.troubles {
                let until = at + trouble.held().map_or(Duration::ZERO, |held| *held);
                assert!(until <= plan.end, "{seed}: {trouble:?} at {at:?}");
            }
        }
    }
}
