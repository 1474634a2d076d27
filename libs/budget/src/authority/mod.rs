//! The authority's side: what each replica may have of a key, so that all together never have more than the budget.
//!
//! [`KeyState`] is what is stored: one row for the key, one for each of its leases. For a [`Renewal`](crate::message::Renewal), lock and load the keys
//! it names (in the order of their names), read the clock, call [`KeyState::grant`] for each ask, store, commit, answer.

mod lease;
mod ledger;
mod split;

use serde::{Deserialize, Serialize};
use std::time::Duration;

use self::split::{Want, split};
pub use self::{
    lease::{ChunkLease, Lease, WindowLease},
    ledger::{Balance, Ledger},
};
use crate::{
    Moment, Terms,
    key::{KeyLimits, KeyName, Operator, Scope, Stand, Window},
    learning::{Learned, Usage},
    message::{Ask, Breaches, Chunk, Grant, Why},
};

/// The clock may be set back by so much without more ado: time stands still then.
const SLEW: Duration = Duration::from_millis(50);
/// After so long without a turn, a replica goes before those that have had one, where accounts share a key.
const TURN: Duration = Duration::from_secs(60);

/// What the authority's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time.
    pub now: Moment,
    /// Another one after every known step of the clock and every failover.
    pub era: u64,
}

/// Until when the server wants no calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Until then.
    pub until: Moment,
    /// What the server said.
    pub cause: String,
}

/// All that is known about a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyState {
    /// The key.
    pub name: KeyName,
    /// Its limits. May be changed at any time.
    pub limits: KeyLimits,
    /// What an operator wants. May be changed at any time.
    pub operator: Operator,
    /// What the server wants.
    pub blocked: Option<Blocked>,
    /// What was learned.
    pub learned: Learned,
    /// How often exactness was at risk, in all replicas.
    #[serde(default)]
    pub breaches: Breaches,
    /// When that was last told; `None` if never.
    #[serde(default)]
    pub breached_at: Option<Moment>,
    /// The era in which the clock was last read.
    pub era: u64,
    /// The latest reading of the clock.
    pub seen: Moment,
    /// Nothing is granted before.
    pub quiet_until: Moment,
    /// Calls of long windows.
    pub ledgers: Vec<Ledger>,
    /// Server time.
    pub balance: Option<Balance>,
    /// The leases.
    pub leases: Vec<Lease>,
}

/// A limit of calls in flight, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slots {
    most: Option<u32>,
    why: Why,
}

impl KeyState {
    /// A key of which nothing is in use, first seen at that reading.
    pub fn new(name: KeyName, limits: KeyLimits, at: Reading) -> Self {
        Self {
            name,
            limits,
            operator: Operator::default(),
            blocked: None,
            learned: Learned::default(),
            breaches: Breaches::default(),
            breached_at: None,
            era: at.era,
            seen: at.now,
            quiet_until: Moment::ZERO,
            ledgers: Vec::new(),
            balance: None,
            leases: Vec::new(),
        }
    }

    /// Answers one ask of a replica. `None` if a later one was answered before.
    pub fn grant(
        &mut self,
        replica: &str,
        number: u64,
        ask: &Ask,
        terms: &Terms,
        at: Reading,
    ) -> Option<Grant> {
        self.observe(terms, at);
        let now = self.seen;
        let place = self
            .leases
            .iter()
            .position(|lease| lease.replica == replica);
        let place = if let Some(place) = place {
            if number <= self.leases[place].number {
                return None;
            }
            place
        } else {
            self.leases.push(Lease::new(replica, ask, now));
            self.leases.len() - 1
        };
        let limits = self.limits.less_reserve();
        self.account(place, number, ask, &limits, terms);
        self.learn(ask, &limits);

        let stopped = self.stopped(now);
        let nothing = stopped.is_some() || ask.gives_back;
        let slots = self.slots(&limits);
        let (granted, mut why) = self.slots_for(place, &slots, nothing, terms);
        self.leases[place].granted = granted;
        let (windows, which) = self.windows_for(place, &limits, nothing, terms);
        why = which.or(why);
        let (chunks, which) = self.chunks_for(place, &limits, nothing, terms);
        why = which.or(why);
        let (time, which) = self.time_for(place, &limits, nothing);
        why = which.or(why);

        let lease = &mut self.leases[place];
        if nothing {
            // Calls may still start under what the replica held when it asked.
            let held = ask.slots != Some(0);
            lease.starts_until = if held {
                now + terms.surely(terms.lease)
            } else {
                now
            };
        } else {
            lease.starts_until = now + terms.surely(terms.lease);
        }
        let had = ask.slots != Some(0);
        let has = granted != Some(0);
        if had != has || lease.waiting.total() == 0 {
            lease.turn_since = now;
        }
        // Granted all the same: the replica waits by itself, and starts the moment it is over.
        let (blocked_for, blocked) = match &self.blocked {
            Some(blocked) => (
                blocked.until.saturating_sub(now),
                Some(Why::Blocked {
                    cause: blocked.cause.clone(),
                }),
            ),
            None => (Duration::ZERO, None),
        };
        Some(Grant {
            key: self.name.clone(),
            lease: if nothing { Duration::ZERO } else { terms.lease },
            slots: granted,
            windows,
            chunks,
            time,
            blocked_for,
            why: stopped.or(blocked).or(why).unwrap_or(Why::Enough),
        })
    }

    /// Reads the clock: sees whether it stepped, and what has become free. [`Self::grant`] does so itself.
    pub fn observe(&mut self, terms: &Terms, at: Reading) {
        if at.era != self.era || at.now + SLEW < self.seen {
            self.step(terms, at.now);
        }
        self.era = at.era;
        self.seen = self.seen.max(at.now);
        let now = self.seen;
        if self
            .blocked
            .as_ref()
            .is_some_and(|blocked| blocked.until <= now)
        {
            self.blocked = None;
        }
        let limits = self.limits.less_reserve();
        self.settle(&limits, terms, now);
        for ledger in &mut self.ledgers {
            ledger.forget(now);
        }
        self.leases.retain(|lease| !lease.is_over(now, terms));
    }

    /// Calls that may be in flight now, and how many of them in leases that are running out.
    pub fn in_flight(&self, terms: &Terms, now: Moment) -> (u32, u32) {
        let of = |live: bool| {
            let leases = self
                .leases
                .iter()
                .filter(|lease| lease.is_live(now) == live);
            leases
                .map(|lease| {
                    if live {
                        lease.in_flight
                    } else {
                        lease.slots_in_use(now, terms)
                    }
                })
                .sum::<u32>()
        };
        (of(true) + of(false), of(false))
    }

    /// Nothing starts before that: the server, or a person, says so.
    pub fn block(&mut self, until: Moment, cause: impl Into<String>) {
        if self
            .blocked
            .as_ref()
            .is_none_or(|blocked| blocked.until < until)
        {
            self.blocked = Some(Blocked {
                until,
                cause: cause.into(),
            });
        }
    }

    /// The clock was set, or it is another one. How much time has really passed is unknown: taken as none, for all that runs out.
    fn step(&mut self, terms: &Terms, now: Moment) {
        let seen = self.seen;
        let to = |moment: Moment| {
            if moment >= seen {
                now + (moment - seen)
            } else {
                now.saturating_sub(seen - moment)
            }
        };
        for lease in &mut self.leases {
            lease.shift(to);
        }
        for ledger in &mut self.ledgers {
            ledger.shift(to);
        }
        if let Some(balance) = &mut self.balance {
            balance.at = to(balance.at);
        }
        if let Some(blocked) = &mut self.blocked {
            blocked.until = to(blocked.until);
        }
        self.learned.shift(to);
        self.seen = now;
        self.quiet_until = now + terms.surely(terms.lease);
    }

    /// Chunks and time of leases that ran out count as used.
    fn settle(&mut self, limits: &KeyLimits, terms: &Terms, now: Moment) {
        for lease in &mut self.leases {
            if lease.is_live(now) || lease.settled {
                continue;
            }
            for ledger in &mut self.ledgers {
                let unspent = u32::try_from(lease.chunk_unspent(ledger.length)).unwrap_or(u32::MAX);
                let window = limits
                    .windows
                    .iter()
                    .find(|window| window.length == ledger.length);
                ledger.add(unspent, window.map_or(1, |window| window.calls), terms, now);
            }
            if let Some(balance) = &mut self.balance {
                balance.spend(lease.time_unspent());
            }
            lease.settled = true;
        }
    }

    /// Takes over what the replica did since its last renewal.
    fn account(&mut self, place: usize, number: u64, ask: &Ask, limits: &KeyLimits, terms: &Terms) {
        let now = self.seen;
        if !ask.breaches.is_none() {
            self.breaches.add(ask.breaches);
            self.breached_at = Some(now);
        }
        let (calls, time) = self.leases[place].asked(number, ask, now);
        self.ledgers.retain(|ledger| {
            limits
                .windows
                .iter()
                .any(|window| window.length == ledger.length)
        });
        for window in limits
            .windows
            .iter()
            .filter(|window| window.length > terms.longest_share)
        {
            if !self
                .ledgers
                .iter()
                .any(|ledger| ledger.length == window.length)
            {
                self.ledgers.push(Ledger::new(window.length));
            }
            for ledger in self
                .ledgers
                .iter_mut()
                .filter(|ledger| ledger.length == window.length)
            {
                let new = calls.iter().find(|(length, _)| *length == window.length);
                ledger.add(new.map_or(0, |(_, calls)| *calls), window.calls, terms, now);
            }
        }
        match &limits.server_time {
            None => self.balance = None,
            Some(limit) => {
                let balance = self
                    .balance
                    .get_or_insert_with(|| Balance::full(limit, now));
                balance.recharge(limit, terms, now);
                balance.spend(time);
            }
        }
    }

    fn learn(&mut self, ask: &Ask, limits: &KeyLimits) {
        let now = self.seen;
        let live: Vec<_> = self
            .leases
            .iter()
            .filter(|lease| lease.is_live(now) || lease.asked_at == now)
            .collect();
        let learned = self.learned.window();
        // Who waits for a first grant waits for it, not for a slot.
        let peak: u32 = live.iter().map(|lease| lease.peak).sum();
        let slots = self.learned.most_in_flight();
        let were_all_used = slots.is_some_and(|slots| peak >= slots);
        let waits_for = |window: &WindowLease| {
            window.bound && learned.is_some_and(|learned| learned.length == window.length)
        };
        let rates = limits.windows.iter().map(|window| {
            u64::from(window.calls) * 1_000_000
                / u64::try_from(window.length.as_millis())
                    .unwrap_or(u64::MAX)
                    .max(1)
        });
        let usage = Usage {
            in_flight: live.iter().map(|lease| lease.in_flight).sum(),
            most_in_flight: least(limits.in_flight, self.operator.workers),
            most_rate: rates.min(),
            slots_bind: live.iter().any(|lease| lease.bound) && were_all_used,
            rate_binds: live.iter().any(|lease| lease.windows.iter().any(waits_for)),
        };
        self.learned
            .worked(ask.started, ask.answered, ask.took, usage, now);
        if limits.latency_led {
            self.learned.pace_by_latency(usage, now);
        }
        for pushback in &ask.pushbacks {
            let wait = self.learned.refused(pushback, usage, now);
            self.block(now + wait, pushback.cause.clone());
        }
    }

    fn stopped(&self, now: Moment) -> Option<Why> {
        match self.operator.stand {
            Stand::Paused => return Some(Why::Paused),
            Stand::Draining => return Some(Why::Draining),
            Stand::Working => {}
        }
        if now < self.quiet_until {
            return Some(Why::Quarantine);
        }
        None
    }

    fn slots(&self, limits: &KeyLimits) -> Slots {
        let mut slots = Slots {
            most: limits.in_flight,
            why: Why::InFlight,
        };
        for (most, why) in [
            (self.operator.workers, Why::Workers),
            (self.learned.most_in_flight(), Why::Learned),
        ] {
            if let Some(most) = most
                && slots.most.is_none_or(|least| most < least)
            {
                slots = Slots {
                    most: Some(most),
                    why,
                };
            }
        }
        slots
    }

    /// A replica's part of something of which there is `capacity`, given what each may have in use and wants.
    fn part(
        &self,
        place: usize,
        capacity: u64,
        in_use: impl Fn(&Lease) -> u64,
        want: impl Fn(&Lease) -> Want,
    ) -> u64 {
        let now = self.seen;
        // Replicas of one account do the same work: while one does it, handing over would only cost time. Accounts that share a key
        // may each have a replica of their own.
        let by_turns =
            self.name.scope != Scope::Account || !self.leases.iter().any(|lease| lease.peak > 0);
        let mut wants = Vec::with_capacity(self.leases.len());
        let mut others = 0;
        let mut mine = 0;
        for (index, lease) in self.leases.iter().enumerate() {
            if index == place {
                mine = wants.len();
            } else {
                others += in_use(lease);
                if !lease.is_live(now) {
                    continue;
                }
            }
            let mut want = want(lease);
            want.hopes = !want.barred && lease.waiting.total() > 0;
            want.lot = lot(&self.name.owner, &lease.replica);
            want.first = lot("", &lease.replica);
            if by_turns && want.has == 0 && now >= lease.turn_since + TURN {
                // Who waits longest goes first.
                want.claim = (now - lease.turn_since).as_secs();
            }
            wants.push(want);
        }
        let part = split(capacity, &wants).get(mine).copied().unwrap_or(0);
        part.min(capacity.saturating_sub(others))
    }

    fn slots_for(
        &self,
        place: usize,
        slots: &Slots,
        nothing: bool,
        terms: &Terms,
    ) -> (Option<u32>, Option<Why>) {
        if nothing {
            return (Some(0), None);
        }
        let Some(most) = slots.most else {
            return (None, None);
        };
        let now = self.seen;
        let part = self.part(
            place,
            u64::from(most),
            |lease| u64::from(lease.slots_in_use(now, terms)),
            |lease| {
                let (interactive, bulk) = wanted(lease, lease.bound);
                Want {
                    interactive,
                    bulk: bulk + u64::from(lease.peak),
                    useful: lease.is_useful(),
                    working: lease.peak > 0,
                    has: u64::from(held(lease, place, &self.leases)),
                    ..Want::default()
                }
            },
        );
        let lease = &self.leases[place];
        let wanted = u64::from(lease.waiting.total()) + u64::from(lease.in_flight);
        let silent = self.leases.iter().any(|lease| {
            !lease.is_live(now) && lease.slots_in_use(now, terms) > 0 && lease.asked_at < now
        });
        let why = (part < wanted).then(|| {
            if silent {
                Why::Silent
            } else {
                slots.why.clone()
            }
        });
        (u32::try_from(part).ok(), why)
    }

    /// Whether nearly all slots are used, so that they decide who makes how many calls.
    fn slots_bind(&self, limits: &KeyLimits) -> bool {
        let live = self.leases.iter().filter(|lease| lease.is_live(self.seen));
        let used: u32 = live
            .map(|lease| lease.peak.min(lease.granted.unwrap_or(0)))
            .sum();
        self.slots(limits)
            .most
            .is_some_and(|most| used * 5 >= most * 4)
    }

    fn windows_for(
        &mut self,
        place: usize,
        limits: &KeyLimits,
        nothing: bool,
        terms: &Terms,
    ) -> (Vec<Window>, Option<Why>) {
        let now = self.seen;
        let mut windows: Vec<Window> = Vec::new();
        let learned = self.learned.window();
        let configured = limits
            .windows
            .iter()
            .copied()
            .filter(|window| window.length <= terms.longest_share);
        for window in configured.chain(learned) {
            match windows
                .iter_mut()
                .find(|known| known.length == window.length)
            {
                Some(known) => known.calls = known.calls.min(window.calls),
                None => windows.push(window),
            }
        }
        let slots_bind = self.slots_bind(limits);
        let mut why = None;
        for window in &mut windows {
            let length = window.length;
            let of = |lease: &Lease| {
                lease
                    .windows
                    .iter()
                    .find(|window| window.length == length)
                    .map_or((0, 0, true), |window| {
                        (
                            window.counted,
                            window.held.max(window.granted),
                            window.bound,
                        )
                    })
            };
            let part = if nothing {
                0
            } else {
                self.part(
                    place,
                    u64::from(window.calls),
                    |lease| u64::from(lease.window_in_use(length, now, terms)),
                    |lease| {
                        let (counted, has, bound) = of(lease);
                        // Without a slot it can make no use of it.
                        let idle = lease.granted == Some(0) && lease.in_flight == 0;
                        let (interactive, bulk) = wanted(lease, bound && !idle);
                        // What waits now is followed by more: so much can start while the window lasts.
                        let turns = length.as_secs().max(1);
                        Want {
                            interactive,
                            bulk: bulk.saturating_mul(turns) + u64::from(counted),
                            barred: idle,
                            useful: !idle && lease.is_useful(),
                            // Who has twice the slots makes twice the calls.
                            weight: if slots_bind {
                                u64::from(lease.granted.unwrap_or(1))
                            } else {
                                1
                            },
                            working: lease.peak > 0,
                            has: u64::from(has),
                            ..Want::default()
                        }
                    },
                )
            };
            let lease = &mut self.leases[place];
            let wanted = u64::from(of(lease).0) + u64::from(lease.waiting.total());
            if part < wanted {
                let is_learned = learned.is_some_and(|learned| {
                    learned.length == length && learned.calls == window.calls
                });
                why = Some(if is_learned {
                    Why::Learned
                } else {
                    Why::Window(length)
                });
            }
            window.calls = u32::try_from(part).unwrap_or(u32::MAX);
            match lease
                .windows
                .iter_mut()
                .find(|known| known.length == length)
            {
                Some(known) => known.granted = window.calls,
                None => lease.windows.push(WindowLease {
                    length,
                    held: 0,
                    granted: window.calls,
                    bound: true,
                    counted: 0,
                    leaving: Default::default(),
                }),
            }
        }
        (windows, why)
    }

    fn chunks_for(
        &mut self,
        place: usize,
        limits: &KeyLimits,
        nothing: bool,
        terms: &Terms,
    ) -> (Vec<Chunk>, Option<Why>) {
        let now = self.seen;
        let mut chunks = Vec::new();
        let mut why = None;
        for ledger in &self.ledgers {
            let length = ledger.length;
            let Some(window) = limits.windows.iter().find(|window| window.length == length) else {
                continue;
            };
            let live = self
                .leases
                .iter()
                .filter(|lease| lease.is_live(now) || lease.asked_at == now);
            let hurried: u32 = live.map(|lease| lease.waiting.interactive).sum();
            let part = if nothing {
                0
            } else {
                self.part(
                    place,
                    ledger.free(window, hurried, terms, now),
                    |lease| lease.chunk_unspent(length),
                    |lease| Want {
                        interactive: u64::from(lease.waiting.interactive),
                        bulk: u64::from(lease.in_flight + lease.waiting.bulk),
                        useful: true,
                        has: lease.chunk_unspent(length),
                        ..Want::default()
                    },
                )
            };
            if part < u64::from(self.leases[place].waiting.total()) {
                why = Some(Why::Window(length));
            }
            chunks.push((length, part));
        }
        let lease = &mut self.leases[place];
        let chunks = chunks
            .into_iter()
            .map(|(length, part)| {
                let used = lease
                    .chunks
                    .iter()
                    .find(|chunk| chunk.length == length)
                    .map_or(0, |chunk| chunk.used);
                let allowed = used + part;
                match lease.chunks.iter_mut().find(|chunk| chunk.length == length) {
                    Some(chunk) => chunk.allowed = chunk.allowed.max(allowed),
                    None => lease.chunks.push(ChunkLease {
                        length,
                        allowed,
                        used,
                    }),
                }
                Chunk { length, allowed }
            })
            .collect();
        (chunks, why)
    }

    fn time_for(
        &mut self,
        place: usize,
        limits: &KeyLimits,
        nothing: bool,
    ) -> (Option<Duration>, Option<Why>) {
        let (Some(limit), Some(balance)) = (&limits.server_time, &self.balance) else {
            return (None, None);
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // Until the lease ends, each call in flight costs as long at the most.
        let of_a_call = 3_000_000;
        let want = |lease: &Lease| {
            u64::from(lease.in_flight + lease.waiting.total()).saturating_mul(of_a_call)
        };
        let part = if nothing {
            0
        } else {
            self.part(
                place,
                balance.free(limit),
                |lease| micros(lease.time_unspent()),
                |lease| Want {
                    bulk: want(lease),
                    has: micros(lease.time_unspent()),
                    ..Want::default()
                },
            )
        };
        let lease = &mut self.leases[place];
        let why = (part < want(lease).min(of_a_call)).then_some(Why::ServerTime);
        let allowed = lease.time_spent + Duration::from_micros(part);
        lease.time_allowed = lease.time_allowed.max(allowed);
        (Some(allowed), why)
    }
}

/// What a lease has for the purpose of staying as it is: of the one that asks, what it held.
fn held(lease: &Lease, place: usize, leases: &[Lease]) -> u32 {
    let asks = std::ptr::eq(lease, &raw const leases[place]);
    let slots = if asks { lease.held } else { lease.granted };
    slots.unwrap_or_default()
}

/// What waits for more of something: nothing, if it didn't have to wait because of that.
fn wanted(lease: &Lease, bound: bool) -> (u64, u64) {
    if bound {
        (
            u64::from(lease.waiting.interactive),
            u64::from(lease.waiting.bulk),
        )
    } else {
        (0, 0)
    }
}

/// Decides between equals: for each key another replica, so that not always the same one has more.
fn lot(owner: &str, replica: &str) -> u64 {
    let bytes = owner.bytes().chain(replica.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
