//! One replica's lease of one key, as the authority knows it, and what it may have in use at the most.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{
    Moment, Terms,
    message::{Ask, BUCKETS, Waiting},
};

/// Clocks tick in steps; nothing is taken as free right at the edge.
const EDGE: Duration = Duration::from_millis(1);

/// A replica's part of one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowLease {
    /// The window's length.
    pub length: Duration,
    /// The share it held when it last asked.
    pub held: u32,
    /// The share it was granted then.
    pub granted: u32,
    /// Whether calls had waited because of it.
    pub bound: bool,
    /// Calls that counted then.
    pub counted: u32,
    /// When these leave.
    pub leaving: [u32; BUCKETS],
}

/// A replica's part of one long window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLease {
    /// The window's length.
    pub length: Duration,
    /// The most that it may have made in all.
    pub allowed: u64,
    /// What it had made when it last asked.
    pub used: u64,
}

/// One replica's lease of one key. One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The replica.
    pub replica: String,
    /// Its last renewal.
    pub number: u64,
    /// When that came.
    pub asked_at: Moment,
    /// From then on it surely starts nothing.
    pub starts_until: Moment,
    /// Calls that could start.
    pub waiting: Waiting,
    /// Slots it held when it last asked; `None` for any number.
    pub held: Option<u32>,
    /// Slots it was granted then.
    pub granted: Option<u32>,
    /// Whether calls had waited because of them.
    pub bound: bool,
    /// Calls in flight then.
    pub in_flight: u32,
    /// The most of late.
    pub peak: u32,
    /// Of these, abandoned ones.
    pub abandoned: u32,
    /// Its parts of windows.
    pub windows: Vec<WindowLease>,
    /// Its parts of long windows.
    pub chunks: Vec<ChunkLease>,
    /// Server time that it may have spent in all.
    pub time_allowed: Duration,
    /// Server time that it had spent when it last asked.
    pub time_spent: Duration,
    /// Since when it has had nothing though it wants some, or has had some.
    pub turn_since: Moment,
    /// What it held in chunks and time when it fell silent is accounted for.
    pub settled: bool,
}

impl WindowLease {
    /// Of the calls it reported, those that may still count.
    fn alive(&self, asked_at: Moment, now: Moment, terms: &Terms) -> u32 {
        let passed = now.saturating_sub(asked_at).saturating_sub(EDGE);
        let bucket = terms.surely(terms.counted(self.length)) / u32::try_from(BUCKETS).unwrap_or(1);
        let gone = passed.as_micros() / bucket.as_micros().max(1);
        let gone = usize::try_from(gone).unwrap_or(BUCKETS).min(BUCKETS);
        self.counted
            .saturating_sub(self.leaving[..gone].iter().sum())
    }

    /// Of the calls it reported, those that surely still counted when it could start no more.
    fn alive_at_end(&self, terms: &Terms) -> u32 {
        let bucket = terms.counted(self.length) / u32::try_from(BUCKETS).unwrap_or(1);
        // Both by the replica's own clock, from when it sent the report.
        let gone = terms.lease.as_micros().div_ceil(bucket.as_micros().max(1));
        let gone = usize::try_from(gone).unwrap_or(BUCKETS).min(BUCKETS);
        self.leaving[gone..].iter().sum()
    }

    fn in_use(&self, lease: &Lease, now: Moment, terms: &Terms) -> u32 {
        let alive = self.alive(lease.asked_at, now, terms);
        let share = self.held.max(self.granted);
        if now < lease.starts_until {
            return share.max(alive);
        }
        let last = lease.starts_until + terms.surely(terms.counted(self.length)) + EDGE;
        // It may have filled its share with calls nobody told us about, and these count a whole window longer.
        let unknown = if now < last {
            share.saturating_sub(self.alive_at_end(terms))
        } else {
            0
        };
        alive + unknown
    }
}

impl Lease {
    /// The lease of a replica that was not known. What it holds is set by [`Self::asked`].
    pub(super) fn new(replica: &str, ask: &Ask, now: Moment) -> Self {
        Self {
            replica: replica.to_owned(),
            number: 0,
            asked_at: now,
            starts_until: now,
            waiting: Waiting::default(),
            held: Some(0),
            granted: Some(0),
            bound: false,
            in_flight: 0,
            peak: 0,
            abandoned: 0,
            windows: Vec::new(),
            chunks: ask
                .chunks
                .iter()
                .map(|chunk| ChunkLease {
                    length: chunk.length,
                    allowed: chunk.allowed,
                    used: chunk.used,
                })
                .collect(),
            time_allowed: ask.time.allowed,
            time_spent: ask.time.spent,
            turn_since: now,
            settled: false,
        }
    }

    /// Takes over what the replica says it has. Returns the calls of each long window and the server time that are new.
    pub(super) fn asked(
        &mut self,
        number: u64,
        ask: &Ask,
        now: Moment,
    ) -> (Vec<(Duration, u32)>, Duration) {
        self.number = number;
        self.asked_at = now;
        self.waiting = if ask.gives_back {
            Waiting::default()
        } else {
            ask.waiting
        };
        self.held = ask.slots;
        self.granted = Some(0);
        self.bound = ask.bound;
        self.in_flight = ask.in_flight;
        self.peak = ask.peak.max(ask.in_flight);
        self.abandoned = ask.abandoned;
        self.windows = ask
            .windows
            .iter()
            .map(|window| WindowLease {
                length: window.length,
                held: window.held,
                granted: 0,
                bound: window.bound,
                counted: window.counted,
                leaving: window.leaving,
            })
            .collect();
        let mut new_calls = Vec::new();
        let mut chunks = Vec::with_capacity(ask.chunks.len());
        for chunk in &ask.chunks {
            let known = self
                .chunks
                .iter()
                .find(|known| known.length == chunk.length);
            // Once settled, all it was allowed is accounted for.
            let before = known.map_or(chunk.used, |known| {
                if self.settled {
                    known.allowed
                } else {
                    known.used
                }
            });
            let new = chunk.used.saturating_sub(before);
            new_calls.push((chunk.length, u32::try_from(new).unwrap_or(u32::MAX)));
            chunks.push(ChunkLease {
                length: chunk.length,
                allowed: chunk.allowed.max(chunk.used),
                used: chunk.used,
            });
        }
        self.chunks = chunks;
        let before = if self.settled {
            self.time_allowed
        } else {
            self.time_spent
        };
        let new_time = ask.time.spent.saturating_sub(before);
        self.time_spent = ask.time.spent;
        self.time_allowed = ask.time.allowed.max(ask.time.spent);
        self.settled = false;
        (new_calls, new_time)
    }

    /// Whether it may start calls.
    pub fn is_live(&self, now: Moment) -> bool {
        now < self.starts_until
    }

    /// Whether it can make use of the key: it does, or waits for something of it.
    pub(super) fn is_useful(&self) -> bool {
        self.peak > 0 || self.bound || self.windows.iter().any(|window| window.bound)
    }

    /// Slots that may be in use at the server.
    pub(super) fn slots_in_use(&self, now: Moment, terms: &Terms) -> u32 {
        let settles = terms.surely(terms.longest_call + terms.surely(terms.abandoned_hold));
        if now < self.starts_until + settles + EDGE {
            let known = |slots: Option<u32>| slots.unwrap_or_default();
            known(self.held)
                .max(known(self.granted))
                .max(self.in_flight)
        } else {
            0
        }
    }

    /// Calls that may count in the window of that length.
    pub(super) fn window_in_use(&self, length: Duration, now: Moment, terms: &Terms) -> u32 {
        self.windows
            .iter()
            .find(|window| window.length == length)
            .map_or(0, |window| window.in_use(self, now, terms))
    }

    /// Calls of the long window's chunk that it may still make.
    pub(super) fn chunk_unspent(&self, length: Duration) -> u64 {
        if self.settled {
            return 0;
        }
        let chunk = self.chunks.iter().find(|chunk| chunk.length == length);
        chunk.map_or(0, |chunk| chunk.allowed.saturating_sub(chunk.used))
    }

    /// Server time that it may still spend.
    pub(super) fn time_unspent(&self) -> Duration {
        if self.settled {
            return Duration::ZERO;
        }
        self.time_allowed.saturating_sub(self.time_spent)
    }

    /// Whether nothing of it is in use any more: the row can go.
    pub(super) fn is_over(&self, now: Moment, terms: &Terms) -> bool {
        !self.is_live(now)
            && self.settled
            && self.slots_in_use(now, terms) == 0
            && self
                .windows
                .iter()
                .all(|window| window.in_use(self, now, terms) == 0)
    }

    /// The authority's clock was set: as if no time had passed since it last read it.
    pub(super) fn shift(&mut self, to: impl Fn(Moment) -> Moment) {
        for moment in [
            &mut self.asked_at,
            &mut self.starts_until,
            &mut self.turn_since,
        ] {
            *moment = to(*moment);
        }
    }
}
