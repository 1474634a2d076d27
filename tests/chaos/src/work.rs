//! What is asked of the set, and when: a pure function of the seed.

use std::time::Duration;

use calgrant_domain::EventKind;

use crate::{
    dice::Dice,
    school::{TENANTS, Tenant},
};

/// A request. Tenants and wishes by their places, persons by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A delegation is run: the one that stands from the beginning, or another one like it.
    Run {
        tenant: usize,
        wish: usize,
        anew: bool,
        interactive: bool,
    },
    /// What the request of this number brought about is undone, once it is over.
    Undo { of: usize },
    /// A delegation is revoked: from these persons, or from all, once nothing is giving it.
    Revoke {
        tenant: usize,
        wish: usize,
        persons: Vec<u32>,
    },
    /// The same for everything that a trustee was given.
    RevokeTrustee {
        tenant: usize,
        trustee: usize,
        persons: Vec<u32>,
    },
}

/// Something that identity management tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) number: usize,
    pub(crate) tenant: usize,
    pub(crate) person: u32,
    pub(crate) kind: EventKind,
    /// Since the start; it may be told late.
    pub(crate) happened: Duration,
    /// How often it is told.
    pub(crate) copies: u64,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// Something is asked for under a `request_id` of this number.
    Ask {
        number: usize,
        what: What,
        validate_only: bool,
    },
    /// The request of this number again, under its `request_id`.
    Repeat { of: usize },
    /// What the request of this number brought about is cancelled.
    Cancel { of: usize },
    /// Somebody joins, moves or leaves.
    Tell(Event),
    /// Identity management tells something of this number that can't be read.
    Garble { number: usize },
}

/// Nothing more is asked so long before the end: what is left shall be over soon after it.
pub(crate) const QUIET: Duration = Duration::from_secs(30);
/// So few people may leave a tenant within an hour without a person's word.
const LEAVERS: u64 = 45;
/// Who comes and goes: few, so that it often happens to the same.
const RESTLESS: u64 = 10;

/// The work of a seed for a run of `length`, in the order of time.
pub(crate) fn work(dice: &mut Dice, length: Duration) -> Vec<(Duration, Work)> {
    let mut draw = Draw {
        dice,
        work: Vec::new(),
        asked: 0,
        undoable: Vec::new(),
        told: 0,
        garbled: 0,
        left: vec![0; TENANTS.len()],
    };
    let mut at = Duration::ZERO;
    let mut deck = Vec::new();
    while at < length.saturating_sub(QUIET).max(length / 2) {
        if deck.is_empty() {
            deck.extend(DECK);
            draw.dice.shuffle(&mut deck);
        }
        match deck.pop() {
            Some(Card::Undo) if !draw.undoable.is_empty() => draw.undo(at),
            Some(Card::RevokeSome) => draw.revoke(at, true),
            Some(Card::RevokeAll) => draw.revoke(at, false),
            Some(Card::Tell(kind)) => draw.tell(at, kind),
            Some(Card::Garble) => draw.garble(at),
            _ => draw.run(at),
        }
        at += millis(draw.dice, 1000, 4500);
    }
    let mut work = draw.work;
    work.sort_by_key(|(at, _)| *at);
    work
}

/// Work is dealt like cards, so that a short run meets every kind.
#[derive(Debug, Clone, Copy)]
enum Card {
    Run,
    Undo,
    RevokeSome,
    RevokeAll,
    Tell(EventKind),
    Garble,
}

const DECK: [Card; 15] = [
    Card::Run,
    Card::Run,
    Card::Run,
    Card::Run,
    Card::Run,
    Card::Run,
    Card::Undo,
    Card::RevokeSome,
    Card::RevokeSome,
    Card::RevokeAll,
    Card::Tell(EventKind::Joined),
    Card::Tell(EventKind::Left),
    Card::Tell(EventKind::Moved),
    Card::Tell(EventKind::Left),
    Card::Garble,
];

fn millis(dice: &mut Dice, from: u64, to: u64) -> Duration {
    Duration::from_millis(dice.between(from, to))
}

struct Draw<'d> {
    dice: &'d mut Dice,
    work: Vec<(Duration, Work)>,
    asked: usize,
    /// Requests that may write.
    undoable: Vec<usize>,
    told: usize,
    garbled: usize,
    /// People that left, by tenant.
    left: Vec<u64>,
}

impl Draw<'_> {
    fn run(&mut self, at: Duration) {
        let tenant = self.dice.place(TENANTS.len());
        let what = What::Run {
            tenant,
            wish: self.dice.place(TENANTS[tenant].wishes.len()),
            anew: self.dice.percent(10),
            interactive: self.dice.percent(25),
        };
        self.ask(at, what);
    }

    fn undo(&mut self, at: Duration) {
        let of = self.undoable[self.dice.place(self.undoable.len())];
        self.ask(at, What::Undo { of });
    }

    fn revoke(&mut self, at: Duration, named: bool) {
        let tenant = self.dice.place(TENANTS.len());
        let persons = if named {
            let count = self.dice.between(1, 5);
            let mut persons: Vec<_> = (0..count).map(|_| self.person()).collect();
            persons.sort_unstable();
            persons.dedup();
            persons
        } else {
            Vec::new()
        };
        let of: &Tenant = &TENANTS[tenant];
        let what = if self.dice.percent(80) {
            let wish = self.dice.place(of.wishes.len());
            What::Revoke {
                tenant,
                wish,
                persons,
            }
        } else {
            let trustee = self.dice.place(of.trustees.len());
            What::RevokeTrustee {
                tenant,
                trustee,
                persons,
            }
        };
        self.ask(at, what);
    }

    fn ask(&mut self, at: Duration, what: What) {
        let number = self.asked;
        self.asked += 1;
        let validate_only = self.dice.percent(5);
        if !validate_only {
            self.undoable.push(number);
        }
        let ask = Work::Ask {
            number,
            what,
            validate_only,
        };
        self.work.push((at, ask));
        if number % 4 == 1 || self.dice.percent(10) {
            let later = millis(self.dice, 0, 5000);
            self.work.push((at + later, Work::Repeat { of: number }));
        }
        if number % 8 == 5 || self.dice.percent(8) {
            let later = millis(self.dice, 0, 8000);
            self.work.push((at + later, Work::Cancel { of: number }));
        }
    }

    fn tell(&mut self, at: Duration, kind: EventKind) {
        let takers: Vec<_> = (0..TENANTS.len())
            .filter(|tenant| TENANTS[*tenant].keeps())
            .collect();
        let tenant = takers[self.dice.place(takers.len())];
        if kind == EventKind::Left {
            if self.left[tenant] == LEAVERS {
                return;
            }
            self.left[tenant] += 1;
        }
        // Some are told late, when a later one was told already.
        let late = if self.dice.percent(25) {
            millis(self.dice, 500, 8000)
        } else {
            Duration::ZERO
        };
        let event = Event {
            number: self.told,
            tenant,
            person: self.person(),
            kind,
            happened: at,
            copies: if self.dice.percent(25) { 2 } else { 1 },
        };
        self.told += 1;
        self.work.push((at + late, Work::Tell(event)));
    }

    fn garble(&mut self, at: Duration) {
        let number = self.garbled;
        self.garbled += 1;
        self.work.push((at, Work::Garble { number }));
    }

    fn person(&mut self) -> u32 {
        u32::try_from(self.dice.between(0, RESTLESS)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(180);

    fn of(seed: u64) -> Vec<(Duration, Work)> {
        work(&mut Dice::new(seed), MINUTES)
    }

    #[test]
    fn what_is_repeated_cancelled_or_undone_was_asked() {
        for seed in 0..50 {
            let mut asked = 0;
            for (_, work) in of(seed) {
                match work {
                    Work::Ask { number, what, .. } => {
                        assert_eq!(number, asked);
                        asked += 1;
                        if let What::Undo { of } = what {
                            assert!(of < number);
                        }
                    }
                    Work::Repeat { of } | Work::Cancel { of } => assert!(of < asked),
                    Work::Tell(_) | Work::Garble { .. } => {}
                }
            }
        }
    }

    #[test]
    fn three_minutes_ask_for_everything() {
        for seed in 0..50 {
            let work = of(seed);
            let some = |wanted: fn(&Work) -> bool| work.iter().any(|(_, work)| wanted(work));
            let asks = |wanted: fn(&What) -> bool| {
                work.iter()
                    .any(|(_, work)| matches!(work, Work::Ask { what, .. } if wanted(what)))
            };
            assert!(asks(|what| matches!(what, What::Run { .. })), "{seed}");
            assert!(asks(|what| matches!(what, What::Undo { .. })), "{seed}");
            assert!(asks(|what| matches!(what, What::Revoke { .. })), "{seed}");
            assert!(some(|work| matches!(work, Work::Repeat { .. })), "{seed}");
            assert!(some(|work| matches!(work, Work::Cancel { .. })), "{seed}");
            assert!(some(|work| matches!(work, Work::Garble { .. })), "{seed}");
            for kind in [EventKind::Joined, EventKind::Left] {
                let told = |work: &(Duration, Work)| matches!(&work.1, Work::Tell(event) if event.kind == kind);
                assert!(work.iter().any(told), "{seed}: {kind}");
            }
        }
    }

    #[test]
    fn no_brake_is_needed_for_leavers() {
        let work = work(&mut Dice::new(3), Duration::from_secs(1800));
        for tenant in 0..TENANTS.len() {
            let leaves = |work: &&(Duration, Work)| matches!(&work.1, Work::Tell(event) if event.kind == EventKind::Left && event.tenant == tenant);
            assert!(work.iter().filter(leaves).count() <= 45);
        }
    }
}
