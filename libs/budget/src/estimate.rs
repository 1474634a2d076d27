//! Asked ahead: how long will it take on these accounts, which key binds, and how many accounts would be enough.
//!
//! The same limits that are leased, as the number of calls each key lets through in a given time. Keys nest: a group lets through
//! what its parts do together, but no more than its own limits.

use std::time::Duration;

use crate::{
    Moment, Terms,
    key::{KeyLimits, KeyName},
};

/// Nothing takes longer: what would is answered with `None`.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A key with those below it: a tenant with its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The key.
    pub name: KeyName,
    /// What binds it now: configured limits, operator's workers and what was learned, whichever is less.
    pub limits: KeyLimits,
    /// Nothing starts for so long.
    pub blocked_for: Duration,
    /// What is below it; empty for an account.
    pub parts: Vec<Node>,
}

/// Work to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Calls needed.
    pub calls: u64,
    /// How long a call is in flight.
    pub call_takes: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// How long it takes.
    pub takes: Duration,
    /// The key that keeps it from being faster; `None` if no key has a limit. More accounts help only if it is an account.
    pub binds: Option<KeyName>,
}

/// How many accounts are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// So many in all.
    Needed(u32),
    /// No number is enough: this key binds first.
    Useless {
        /// The key whose limit would have to be raised.
        because: KeyName,
    },
}

/// How long the work takes with all of `root`'s limits used up; `None` if over a year.
pub fn estimate(root: &Node, work: &Work, terms: &Terms) -> Option<Estimate> {
    let wanted = calls(work);
    if root.lets_through(LONGEST, work, terms) < wanted {
        return None;
    }
    let (mut low, mut high) = (Duration::ZERO, LONGEST);
    while high - low > Duration::from_millis(10) {
        let middle = low + (high - low) / 2;
        if root.lets_through(middle, work, terms) >= wanted {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(Estimate {
        takes: high,
        binds: root.binding(high, work, terms),
    })
}

/// How many accounts like the first of `root` finish the work within `by`. At most 10,000.
pub fn accounts_for(root: &Node, work: &Work, by: Duration, terms: &Terms) -> Accounts {
    const MOST: u32 = 10_000;
    let wanted = calls(work);
    let alone = root.own(by, work, terms);
    let each = root
        .parts
        .first()
        .map_or(0.0, |account| account.lets_through(by, work, terms));
    if alone < wanted || each <= 0.0 {
        let because = if alone < wanted {
            Some(root)
        } else {
            root.parts.first()
        };
        return Accounts::Useless {
            because: because.unwrap_or(root).name.clone(),
        };
    }
    let mut needed = 1;
    while f64::from(needed) * each < wanted && needed < MOST {
        needed += 1;
    }
    Accounts::Needed(needed)
}

impl Node {
    /// Calls that it and all below it let through in that time.
    fn lets_through(&self, time: Duration, work: &Work, terms: &Terms) -> f64 {
        let own = self.own(time, work, terms);
        if self.parts.is_empty() {
            return own;
        }
        own.min(self.of_parts(time, work, terms))
    }

    fn of_parts(&self, time: Duration, work: &Work, terms: &Terms) -> f64 {
        let time = time.saturating_sub(self.blocked_for);
        self.parts
            .iter()
            .map(|part| part.lets_through(time, work, terms))
            .sum()
    }

    /// Calls that its own limits let through.
    fn own(&self, time: Duration, work: &Work, terms: &Terms) -> f64 {
        let limits = self.limits.less_reserve();
        let time = time.saturating_sub(self.blocked_for).as_secs_f64();
        let takes = work.call_takes.as_secs_f64().max(0.001);
        let mut least = f64::INFINITY;
        if let Some(slots) = limits.in_flight {
            least = least.min(f64::from(slots) * time / takes);
        }
        for window in &limits.windows {
            let counted = terms.surely(window.length + terms.guard).as_secs_f64();
            least = least.min(f64::from(window.calls) * time / counted);
        }
        if let Some(server) = limits.server_time {
            let recharged = server.recharge_per_hour.as_secs_f64() * time / 3600.0;
            let burst = server.burst.saturating_sub(server.floor).as_secs_f64();
            least = least.min((burst + recharged) / takes);
        }
        least
    }

    fn binding(&self, time: Duration, work: &Work, terms: &Terms) -> Option<KeyName> {
        let own = self.own(time, work, terms);
        if self.parts.is_empty() || own <= self.of_parts(time, work, terms) {
            return own.is_finite().then(|| self.name.clone());
        }
        let mut parts = self.parts.iter();
        parts.find_map(|part| part.binding(time.saturating_sub(self.blocked_for), work, terms))
    }
}

/// How long a running operation still takes: from what it did of late, and from its limits before there is enough to go by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eta {
    started_at: Moment,
    /// Where the stretch that is measured began.
    from: (Moment, u64),
    /// A later point, where the next one will begin.
    next: (Moment, u64),
}

impl Eta {
    /// The rate is taken over so long at least, and twice that at the most.
    const STRETCH: Duration = Duration::from_secs(120);
    /// What was done before is left out: leases come, and pools fill up.
    const WARM_UP: Duration = Duration::from_secs(5);

    /// An operation that starts now.
    pub fn new(now: Moment) -> Self {
        Self {
            started_at: now,
            from: (now, 0),
            next: (now, 0),
        }
    }

    /// So much is done in all. Call it now and then.
    pub fn done(&mut self, done: u64, now: Moment) {
        let point = (now, done);
        if self.from.0 < self.started_at + Self::WARM_UP && now >= self.started_at + Self::WARM_UP {
            (self.from, self.next) = (point, point);
        } else if now >= self.next.0 + Self::STRETCH {
            (self.from, self.next) = (self.next, point);
        }
    }

    /// How long `left` more take, with `done` done until now; `planned` is what the limits alone say.
    pub fn left(
        &self,
        done: u64,
        left: u64,
        planned: Option<Duration>,
        now: Moment,
    ) -> Option<Duration> {
        let passed = now.saturating_sub(self.from.0);
        let made = done.saturating_sub(self.from.1);
        if made == 0 || passed < Self::WARM_UP {
            return planned;
        }
        Some(passed.mul_f64(float(left) / float(made)))
    }
}

fn calls(work: &Work) -> f64 {
    float(work.calls)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Scope, ServerTime, Window};

    fn account(index: u32, limits: KeyLimits) -> Node {
        Node {
            name: KeyName::new(Scope::Account, format!("sa-{index}"), "ews"),
            limits,
            blocked_for: Duration::ZERO,
            parts: Vec::new(),
        }
    }

    fn tenant(limits: KeyLimits, parts: Vec<Node>) -> Node {
        Node {
            name: KeyName::new(Scope::Tenant, "acme", "ews"),
            limits,
            blocked_for: Duration::ZERO,
            parts,
        }
    }

    fn slots(in_flight: u32) -> KeyLimits {
        KeyLimits {
            in_flight: Some(in_flight),
            ..KeyLimits::default()
        }
    }

    fn work(calls: u64) -> Work {
        Work {
            calls,
            call_takes: Duration::from_millis(200),
        }
    }

    #[test]
    fn accounts_add_up_until_a_shared_key_binds() {
        let terms = Terms::default();
        let accounts: Vec<Node> = (0..3).map(|index| account(index, slots(4))).collect();
        let free = tenant(KeyLimits::default(), accounts.clone());
        let found = estimate(&free, &work(40_000), &terms).unwrap();
        // 3 × 4 slots, 5 calls a second each.
        assert_eq!(found.takes.as_secs(), 666);
        assert_eq!(found.binds.unwrap().owner, "sa-0");
        let bound = tenant(slots(6), accounts);
        let found = estimate(&bound, &work(40_000), &terms).unwrap();
        assert_eq!(found.takes.as_secs(), 1333);
        assert_eq!(found.binds.unwrap().owner, "acme");
        let by = Duration::from_secs(1000);
        assert_eq!(
            accounts_for(&free, &work(40_000), by, &terms),
            Accounts::Needed(2)
        );
        assert_eq!(
            accounts_for(&bound, &work(40_000), by, &terms),
            Accounts::Useless {
                because: bound.name.clone()
            }
        );
    }

    #[test]
    fn a_balance_is_fast_until_it_is_spent() {
        let limits = KeyLimits {
            in_flight: Some(27),
            windows: vec![Window {
                calls: 1000,
                length: Duration::from_secs(10),
            }],
            server_time: Some(ServerTime {
                burst: Duration::from_secs(300),
                recharge_per_hour: Duration::from_secs(900),
                floor: Duration::ZERO,
            }),
            ..KeyLimits::default()
        };
        let terms = Terms::default();
        let one = account(1, limits);
        let short = estimate(&one, &work(1400), &terms).unwrap();
        assert!(short.takes < Duration::from_secs(20), "{short:?}");
        let long = estimate(&one, &work(100_000), &terms).unwrap();
        // 20,000 s of work at a quarter of a second a second, less the burst.
        assert_eq!(long.takes.as_secs() / 100, 788);
    }

    #[test]
    fn what_is_left_follows_what_was_done() {
        let mut eta = Eta::new(Moment::ZERO);
        assert_eq!(
            eta.left(0, 100, Some(Duration::from_secs(7)), Moment::ZERO),
            Some(Duration::from_secs(7))
        );
        for second in 0..100 {
            eta.done(second * 10, Moment::from_secs(second));
        }
        let left = eta.left(1000, 9000, None, Moment::from_secs(100)).unwrap();
        assert!(left.as_secs().abs_diff(900) <= 1, "{left:?}");
    }
}
