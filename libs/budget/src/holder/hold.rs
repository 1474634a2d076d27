//! What a replica holds of one key: its lease, and what is in use of it.

use std::{collections::VecDeque, time::Duration};

use super::window::{BOUND_FOR, Windows};
use crate::{
    Moment, Terms,
    key::KeyName,
    message::{Ask, Breaches, ChunkUse, Grant, Lane, Pushback, TimeUse, Waiting, Why},
};

/// An idle key is given back at the renewal after so many without use.
const IDLE_RENEWALS: u8 = 2;
/// A wait, if the server named none.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
/// Guessed cost of a call, until one was measured.
const FIRST_COST: Duration = Duration::from_millis(200);

/// What one key says to calls that want to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Go,
    At(Moment),
    OnRelease,
    OnGrant,
}

/// Calls without a reply.
#[derive(Debug, Clone, Copy)]
struct Abandoned {
    until: Moment,
    since: Moment,
    calls: u32,
}

/// What was not yet told to the authority.
#[derive(Debug, Clone, Default)]
struct Untold {
    started: u32,
    answered: u32,
    took: Duration,
    /// With the moment until which the server said to wait.
    pushbacks: Vec<(Pushback, Moment)>,
    breaches: Breaches,
}

impl Untold {
    fn add(&mut self, other: Self) {
        self.started += other.started;
        self.answered += other.answered;
        self.took += other.took;
        self.pushbacks.splice(0..0, other.pushbacks);
        self.breaches.add(other.breaches);
    }

    fn is_nothing(&self) -> bool {
        self.started == 0
            && self.answered == 0
            && self.pushbacks.is_empty()
            && self.breaches.is_none()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Hold {
    name: KeyName,
    /// Calls start before this moment only.
    start_until: Moment,
    /// `None` for any number.
    slots: Option<u32>,
    in_flight: u32,
    /// First come, first to end.
    abandoned: VecDeque<Abandoned>,
    windows: Windows,
    chunks: Vec<ChunkUse>,
    /// `None` if the key has no balance.
    time_allowed: Option<Duration>,
    time_spent: Duration,
    /// Sum of the starts of calls in flight, to know what they have cost so far.
    starts: Duration,
    /// What a call costs, with something on top.
    cost: Duration,
    blocked_until: Moment,
    why: Why,
    waiting: Waiting,
    /// When calls last had to wait for slots.
    bound_at: Moment,
    /// The most in flight since then.
    peak: [u32; 2],
    /// The most that waited since the last renewal, and since the one before.
    wanted: [Waiting; 2],
    idle: u8,
    /// The process stops: the next report gives everything back.
    leaves: bool,
    untold: Untold,
    told: Untold,
}

impl Hold {
    pub(super) fn new(name: KeyName) -> Self {
        Self {
            name,
            start_until: Moment::ZERO,
            slots: Some(0),
            in_flight: 0,
            abandoned: VecDeque::new(),
            windows: Windows::default(),
            chunks: Vec::new(),
            time_allowed: None,
            time_spent: Duration::ZERO,
            starts: Duration::ZERO,
            cost: FIRST_COST,
            blocked_until: Moment::ZERO,
            why: Why::Enough,
            waiting: Waiting::default(),
            bound_at: Moment::ZERO,
            peak: [0; 2],
            wanted: [Waiting::default(); 2],
            idle: IDLE_RENEWALS,
            leaves: false,
            untold: Untold::default(),
            told: Untold::default(),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn slots(&self) -> Option<u32> {
        self.slots
    }

    pub(super) fn why(&self) -> &Why {
        &self.why
    }

    pub(super) fn blocked_until(&self) -> Moment {
        self.blocked_until
    }

    pub(super) fn start_until(&self) -> Moment {
        self.start_until
    }

    pub(super) fn largest_round(&self) -> u32 {
        self.slots.unwrap_or(u32::MAX).min(self.windows.largest())
    }

    /// Whether the end of a call may let another start. Chunks and server time come with grants.
    pub(super) fn limits(&self) -> bool {
        self.slots.is_some() || !self.windows.is_empty()
    }

    /// Whether waiting for the usual renewal would keep somebody waiting for long.
    pub(super) fn is_urgent(&self, now: Moment) -> bool {
        let stopped = now < self.blocked_until || matches!(self.why, Why::Paused | Why::Draining);
        let nothing_held = !stopped && (now >= self.start_until || self.slots == Some(0));
        let first = self.idle >= IDLE_RENEWALS && self.waiting.total() > 0;
        !self.untold.pushbacks.is_empty()
            || (nothing_held && (first || self.waiting.interactive > 0))
    }

    pub(super) fn look(&mut self, lane: Lane, calls: u32, now: Moment) -> Look {
        if now >= self.start_until {
            self.bound_at = now;
            return Look::OnGrant;
        }
        self.forget(now);
        if now < self.blocked_until {
            return Look::At(self.blocked_until);
        }
        // Each limit is asked, whatever the first says: what is lacking is asked for together.
        let windows = self.windows.free_at(lane, calls, now);
        let slots = self.slots_free(calls, now);
        let out_of_calls = |chunk: &ChunkUse| chunk.used + u64::from(calls) > chunk.allowed;
        let out_of_time = self.time_allowed.is_some_and(|allowed| {
            let running = self.running(now).max(self.cost * self.in_flight);
            self.time_spent + running + self.cost * calls > allowed
        });
        if self.chunks.iter().any(out_of_calls) || out_of_time {
            return Look::OnGrant;
        }
        match (slots, windows) {
            (Look::OnGrant, _) | (_, None) => Look::OnGrant,
            (Look::Go, Some(at)) if at > now => Look::At(at),
            (Look::At(until), Some(at)) => Look::At(at.max(until)),
            (slots, Some(_)) => slots,
        }
    }

    fn slots_free(&mut self, calls: u32, now: Moment) -> Look {
        let Some(slots) = self.slots else {
            return Look::Go;
        };
        if self.in_flight + calls <= slots {
            return Look::Go;
        }
        self.bound_at = now;
        if calls > slots {
            return Look::OnGrant;
        }
        // All that holds us may be abandoned calls, whose end nobody reports.
        let abandoned = self.abandoned.front();
        abandoned.map_or(Look::OnRelease, |abandoned| Look::At(abandoned.until))
    }

    pub(super) fn start(&mut self, lane: Lane, calls: u32, terms: &Terms, now: Moment) -> u64 {
        self.in_flight += calls;
        self.peak[0] = self.peak[0].max(self.in_flight);
        self.starts += now * calls;
        self.untold.started += calls;
        for chunk in &mut self.chunks {
            chunk.used += u64::from(calls);
        }
        self.windows.start(calls, lane, terms, now)
    }

    pub(super) fn first_byte(
        &mut self,
        place: u64,
        calls: u32,
        terms: &Terms,
        late: bool,
        now: Moment,
    ) {
        if late {
            self.untold.breaches.stalls += u64::from(calls);
        }
        self.windows.first_byte(place, terms, late, now);
    }

    /// Calls that started at `since` got their reply. Those the server refused tell nothing about its speed.
    pub(super) fn done(
        &mut self,
        place: u64,
        calls: u32,
        since: Moment,
        served: bool,
        now: Moment,
    ) {
        self.windows.end(place, now);
        self.end(calls, since, now);
        if served {
            let took = now.saturating_sub(since);
            self.untold.answered += calls;
            self.untold.took += took * calls;
            // A fifth on top of the running mean: calls of the costlier kind are among them.
            self.cost = (self.cost * 7 + took * 6 / 5) / 8;
        }
    }

    pub(super) fn abandon(&mut self, calls: u32, since: Moment, until: Moment) {
        let until = self
            .abandoned
            .back()
            .map_or(until, |last| until.max(last.until));
        self.abandoned.push_back(Abandoned {
            until,
            since,
            calls,
        });
    }

    pub(super) fn push_back(&mut self, pushback: Pushback, now: Moment) {
        let until = now + pushback.wait.unwrap_or(SHORTEST_PAUSE);
        self.blocked_until = self.blocked_until.max(until);
        self.untold.pushbacks.push((pushback, until));
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        let [wanted, _] = &mut self.wanted;
        wanted.interactive = wanted.interactive.max(waiting.interactive);
        wanted.bulk = wanted.bulk.max(waiting.bulk);
    }

    /// What to say at the next renewal, if anything.
    pub(super) fn report(&mut self, terms: &Terms, now: Moment) -> Option<Ask> {
        self.forget(now);
        let [of_now, before] = self.wanted;
        let waiting = Waiting {
            interactive: of_now.interactive.max(before.interactive),
            bulk: of_now.bulk.max(before.bulk),
        };
        self.wanted = [self.waiting, of_now];
        if waiting.total() > 0 || self.in_flight > 0 {
            self.idle = 0;
        } else {
            self.idle = self.idle.saturating_add(1);
        }
        // Said even if nothing is held any more: the authority doesn't know yet.
        let leaves = std::mem::take(&mut self.leaves);
        let gives_back = leaves || self.idle >= IDLE_RENEWALS;
        // The last report was lost, or there was none.
        let lost = std::mem::take(&mut self.told);
        self.untold.add(lost);
        let held = now < self.start_until;
        if gives_back && !leaves && !held && self.untold.is_nothing() {
            return None;
        }
        if gives_back {
            self.give_back();
        }
        self.told = std::mem::take(&mut self.untold);
        let pushbacks = self.told.pushbacks.iter();
        let held = now < self.start_until;
        let (bound, peak) = (
            now < self.bound_at + BOUND_FOR,
            self.peak[0].max(self.peak[1]),
        );
        self.peak = [self.in_flight, self.peak[0]];
        Some(Ask {
            bound,
            peak,
            key: self.name.clone(),
            waiting,
            slots: if held { self.slots } else { Some(0) },
            in_flight: self.in_flight,
            abandoned: self.abandoned.iter().map(|abandoned| abandoned.calls).sum(),
            windows: self.windows.report(terms, held, now),
            chunks: self
                .chunks
                .iter()
                .map(|chunk| ChunkUse {
                    allowed: if held { chunk.allowed } else { chunk.used },
                    ..*chunk
                })
                .collect(),
            time: {
                let spent = self.time_spent + self.running(now);
                TimeUse {
                    allowed: self.time_allowed.filter(|_| held).unwrap_or(spent),
                    spent,
                }
            },
            started: self.told.started,
            answered: self.told.answered,
            took: self.told.took,
            pushbacks: pushbacks
                .map(|(pushback, until)| Pushback {
                    wait: pushback.wait.map(|_| until.saturating_sub(now)),
                    ..pushback.clone()
                })
                .collect(),
            breaches: self.told.breaches,
            gives_back,
        })
    }

    /// The replica's clock ran at another rate than the authority's. The next report says so.
    pub(super) fn clock_breached(&mut self) {
        self.untold.breaches.clock += 1;
    }

    /// The answer to the last report, which was sent at `sent`.
    pub(super) fn grant(&mut self, grant: &Grant, terms: &Terms, sent: Moment, now: Moment) {
        self.told = Untold::default();
        self.start_until = sent + grant.lease;
        self.slots = grant.slots;
        self.windows.set(&grant.windows, terms);
        let mut chunks = Vec::with_capacity(grant.chunks.len());
        for chunk in &grant.chunks {
            let known = self
                .chunks
                .iter()
                .find(|known| known.length == chunk.length);
            chunks.push(ChunkUse {
                length: chunk.length,
                allowed: chunk.allowed,
                used: known.map_or(0, |known| known.used),
            });
        }
        self.chunks = chunks;
        self.time_allowed = grant.time;
        // What the authority doesn't know yet still holds.
        let untold = self.untold.pushbacks.iter().map(|(_, until)| *until).max();
        self.blocked_until = (now + grant.blocked_for).max(untold.unwrap_or_default());
        self.why = grant.why.clone();
    }

    /// Nothing starts until something is granted again.
    pub(super) fn give_back(&mut self) {
        self.start_until = Moment::ZERO;
        self.slots = Some(0);
        self.windows.give_back();
    }

    /// The same, for good: the next report says so, whatever waits.
    pub(super) fn leave(&mut self) {
        self.give_back();
        self.waiting = Waiting::default();
        self.wanted = [Waiting::default(); 2];
        self.leaves = true;
    }

    /// Whether nothing of it is in use or counted, nor could become so.
    pub(super) fn is_empty(&mut self, now: Moment) -> bool {
        self.forget(now);
        self.in_flight == 0 && self.windows.counted(now) == 0
    }

    fn running(&self, now: Moment) -> Duration {
        (now * self.in_flight).saturating_sub(self.starts)
    }

    fn end(&mut self, calls: u32, since: Moment, at: Moment) {
        self.in_flight -= calls;
        self.starts = self.starts.saturating_sub(since * calls);
        self.time_spent += at.saturating_sub(since) * calls;
    }

    fn forget(&mut self, now: Moment) {
        while let Some(abandoned) = self.abandoned.front().copied()
            && abandoned.until <= now
        {
            self.abandoned.pop_front();
            self.end(abandoned.calls, abandoned.since, abandoned.until);
        }
    }
}
