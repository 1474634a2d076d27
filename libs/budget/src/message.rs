//! What a replica and the authority tell each other about a key: one [`Ask`] and one [`Grant`] a renewal.
//!
//! Times in messages are lengths, never moments: the two clocks know nothing of each other.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::key::{KeyName, Window};

/// Buckets in which a replica reports when its counted calls leave a window.
pub const BUCKETS: usize = 8;

/// Which queue a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody waits for it: takes the next permit.
    Interactive,
    /// One of many: paced evenly.
    Bulk,
}

/// Calls that could start now if they were allowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// In the interactive lane.
    pub interactive: u32,
    /// In the bulk lane.
    pub bulk: u32,
}

impl Waiting {
    /// Of both lanes.
    pub fn total(self) -> u32 {
        self.interactive.saturating_add(self.bulk)
    }
}

/// What kind of overload the server named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Too many calls at once.
    Concurrency,
    /// Too many calls in a time.
    Rate,
    /// It didn't say.
    Unknown,
}

/// The server said to slow down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushback {
    /// What there was too much of.
    pub overload: Overload,
    /// What is left of the time the server said to wait; `None` if it named none.
    pub wait: Option<Duration>,
    /// The server's own code or text, for people.
    pub cause: String,
}

/// A replica's calls in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowUse {
    /// The window's length.
    pub length: Duration,
    /// The share the replica holds.
    pub held: u32,
    /// Whether calls had to wait because of it.
    pub bound: bool,
    /// Calls that may still count at the server.
    pub counted: u32,
    /// When those leave: so many in the first eighth of [`Terms::counted`](crate::Terms::counted), and so on.
    pub leaving: [u32; BUCKETS],
}

/// A replica's calls out of chunks. Both numbers only grow while the replica lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkUse {
    /// The window's length.
    pub length: Duration,
    /// Calls it may have made in all.
    pub allowed: u64,
    /// Calls it made.
    pub used: u64,
}

/// A replica's server time. Both only grow while the replica lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeUse {
    /// What it may have spent in all.
    pub allowed: Duration,
    /// What it spent, calls in flight included.
    pub spent: Duration,
}

/// How often a replica went out of the bounds on which exactness rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaches {
    /// Calls whose first byte left later than a guard after their permit.
    pub stalls: u64,
    /// Stretches in which this clock and the authority's differed by more than allowed.
    pub clock: u64,
}

impl Breaches {
    /// Whether there was none.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.stalls = self.stalls.saturating_add(other.stalls);
        self.clock = self.clock.saturating_add(other.clock);
    }
}

/// What a replica says about one key when it renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The key.
    pub key: KeyName,
    /// Calls that could start now.
    pub waiting: Waiting,
    /// Slots the replica holds; `None` for any number.
    pub slots: Option<u32>,
    /// Whether calls had to wait because of them.
    pub bound: bool,
    /// Slots in use, those of abandoned calls included.
    pub in_flight: u32,
    /// The most that were in use of late.
    pub peak: u32,
    /// Of these, calls without a reply that the server may still work on.
    pub abandoned: u32,
    /// Its windows.
    pub windows: Vec<WindowUse>,
    /// Its long windows.
    pub chunks: Vec<ChunkUse>,
    /// Its server time.
    pub time: TimeUse,
    /// Calls started since the last renewal.
    pub started: u32,
    /// Calls answered since the last renewal, throttled ones not among them.
    pub answered: u32,
    /// How long these took together.
    pub took: Duration,
    /// What the server said since the last renewal.
    pub pushbacks: Vec<Pushback>,
    /// How often exactness was at risk since the last renewal.
    pub breaches: Breaches,
    /// The replica gives the lease back: it starts nothing until it is granted something again.
    pub gives_back: bool,
}

/// A renewal: everything one replica asks at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The replica: one life of one process. A restarted one has another name.
    pub replica: String,
    /// Counts up with every renewal sent; an older one that arrives late is refused.
    pub number: u64,
    /// One for each key with a lease, or that should have one.
    pub asks: Vec<Ask>,
}

/// Why a replica isn't given more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is given all that it asked for.
    Enough,
    /// The limit of calls in flight.
    InFlight,
    /// The limit of calls per window of this length.
    Window(Duration),
    /// The balance of server time.
    ServerTime,
    /// The operator's number of workers.
    Workers,
    /// What was learned from the server's refusals or its slowness.
    Learned,
    /// The server said to wait.
    Blocked {
        /// What it said.
        cause: String,
    },
    /// An operator paused it.
    Paused,
    /// An operator drains it.
    Draining,
    /// Slots of a replica that fell silent are not free yet.
    Silent,
    /// The authority's clock stepped or it failed over: nothing for one lease.
    Quarantine,
}

/// An allowance of a long window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The window's length.
    pub length: Duration,
    /// Calls the replica may have made in all.
    pub allowed: u64,
}

/// What a replica may do with one key until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub key: KeyName,
    /// Calls start until so long after the renewal was sent.
    pub lease: Duration,
    /// Calls in flight at once; `None` for any number.
    pub slots: Option<u32>,
    /// Its share of each window.
    pub windows: Vec<Window>,
    /// Its allowance of each long window.
    pub chunks: Vec<Chunk>,
    /// Server time it may have spent in all; `None` for any.
    pub time: Option<Duration>,
    /// Nothing starts for so long: the server said so. Zero if it didn't.
    pub blocked_for: Duration,
    /// Why it isn't more.
    pub why: Why,
}

/// The answer to a [`Renewal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The renewal's number.
    pub number: u64,
    /// The authority's clock; `None` right after it stepped, for that says nothing about its rate.
    pub clock: Option<Duration>,
    /// One for each ask.
    pub grants: Vec<Grant>,
}
