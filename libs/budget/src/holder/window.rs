//! A replica's calls in its windows.
//!
//! The server counts a call when it arrives. That is at or after its permit, and at the latest a guard after its first byte,
//! or when the reply is there. So a call counts here from its permit until a window's length after the least of these.
//! As long as each replica counts no more than its share, no window of the server ever holds more than all shares together.

use std::{collections::VecDeque, time::Duration};

use crate::{
    Moment, Terms,
    key::Window,
    message::{BUCKETS, Lane, WindowUse},
};

/// So much of the bulk lane may start at once: what its even pace yields in this time.
///
/// Well below a second's worth: what starts at once leaves the window at once, and until then somebody who comes has to wait.
const BULK_AT_ONCE: Duration = Duration::from_millis(250);

/// For so long a replica is taken as waiting for something that it lacked: long enough to get together all that a call needs.
pub(super) const BOUND_FOR: Duration = Duration::from_secs(4);

/// Some calls that started together.
#[derive(Debug, Clone, Copy)]
struct Started {
    calls: u32,
    /// At the latest then, the server has counted them.
    counted_by: Moment,
}

/// Calls that some window still counts, in the order of their permits.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The place of the first that is kept; places only grow.
    first: u64,
    started: VecDeque<Started>,
}

impl History {
    fn end(&self) -> u64 {
        self.first + self.started.len() as u64
    }

    fn from(&self, place: u64) -> impl Iterator<Item = &Started> {
        let skip = usize::try_from(place.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.started.range(skip.min(self.started.len())..)
    }

    fn push(&mut self, calls: u32, counted_by: Moment) -> u64 {
        self.started.push_back(Started { calls, counted_by });
        self.end() - 1
    }

    /// The server has counted them by then.
    fn bound(&mut self, place: u64, by: Moment, raise: bool) {
        let index = place
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(started) = index.and_then(|index| self.started.get_mut(index))
            && (raise || by < started.counted_by)
        {
            started.counted_by = by;
        }
    }

    fn forget_before(&mut self, place: u64) {
        while self.first < place && self.started.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// One window of a key.
#[derive(Debug, Clone)]
struct Share {
    length: Duration,
    /// How long a call counts after the server has counted it.
    counts_for: Duration,
    share: u32,
    /// All before this place have left.
    left: u64,
    counted: u32,
    /// When the even pace of the bulk lane reaches the next call.
    paced: Moment,
    /// When calls last had to wait because of it.
    bound_at: Moment,
}

impl Share {
    fn forget(&mut self, history: &History, now: Moment) {
        let mut left = self.left;
        for started in history.from(left) {
            if started.counted_by + self.counts_for > now {
                break;
            }
            self.counted -= started.calls;
            left += 1;
        }
        self.left = left;
    }

    /// One call's part of the window.
    fn pace(&self) -> Duration {
        // A little faster than the window allows, to make up for a lost moment.
        self.counts_for * 97 / 100 / self.share.max(1)
    }
}

/// All windows of a key.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows {
    history: History,
    shares: Vec<Share>,
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// When `calls` may start, at the earliest; `None` if the shares are too small for so many.
    pub(super) fn free_at(&mut self, lane: Lane, calls: u32, now: Moment) -> Option<Moment> {
        let mut at = Some(now);
        for share in &mut self.shares {
            share.forget(&self.history, now);
            if calls > share.share {
                share.bound_at = now;
                at = None;
                continue;
            }
            let mut at_share = now;
            let mut over = (share.counted + calls).saturating_sub(share.share);
            for started in self.history.from(share.left) {
                if over == 0 {
                    break;
                }
                at_share = at_share.max(started.counted_by + share.counts_for);
                over = over.saturating_sub(started.calls);
            }
            if lane == Lane::Bulk {
                // With a pace slower than that, one at a time.
                let ahead = BULK_AT_ONCE.saturating_sub(share.pace());
                at_share = at_share.max(share.paced.saturating_sub(ahead));
            }
            if at_share > now {
                share.bound_at = now;
            }
            at = at.map(|at| at.max(at_share));
        }
        at
    }

    /// The largest number of calls that can start together.
    pub(super) fn largest(&self) -> u32 {
        let shares = self.shares.iter().map(|share| share.share);
        shares.min().unwrap_or(u32::MAX)
    }

    /// Calls start. Their place, for what is learned about them later.
    pub(super) fn start(&mut self, calls: u32, lane: Lane, terms: &Terms, now: Moment) -> u64 {
        if self.shares.is_empty() {
            return 0;
        }
        for share in &mut self.shares {
            share.counted += calls;
            if lane == Lane::Bulk {
                share.paced = share.paced.max(now) + share.pace() * calls;
            }
        }
        let kept = self.shares.iter().map(|share| share.left).min();
        self.history.forget_before(kept.unwrap_or_default());
        let counted_by = now + terms.surely(terms.guard * 2);
        self.history.push(calls, counted_by)
    }

    /// Their first byte left at `now`; `late` if a longer stall than the guard lies before it.
    pub(super) fn first_byte(&mut self, place: u64, terms: &Terms, late: bool, now: Moment) {
        let by = now + terms.surely(terms.guard);
        self.history.bound(place, by, late);
    }

    /// They ended at `now`.
    pub(super) fn end(&mut self, place: u64, now: Moment) {
        self.history.bound(place, now, false);
    }

    /// The shares from now on. Calls stay counted.
    pub(super) fn set(&mut self, windows: &[Window], terms: &Terms) {
        self.shares
            .retain(|share| windows.iter().any(|window| window.length == share.length));
        for window in windows {
            let known = self
                .shares
                .iter_mut()
                .find(|share| share.length == window.length);
            if let Some(share) = known {
                share.share = window.calls;
                continue;
            }
            self.shares.push(Share {
                length: window.length,
                counts_for: terms.surely(window.length),
                share: window.calls,
                left: self.history.first,
                counted: self
                    .history
                    .started
                    .iter()
                    .map(|started| started.calls)
                    .sum(),
                paced: Moment::ZERO,
                bound_at: Moment::ZERO,
            });
        }
    }

    /// Nothing may start until shares are set again.
    pub(super) fn give_back(&mut self) {
        for share in &mut self.shares {
            share.share = 0;
        }
    }

    /// Calls that some window counts.
    pub(super) fn counted(&mut self, now: Moment) -> u32 {
        for share in &mut self.shares {
            share.forget(&self.history, now);
        }
        let counted = self.shares.iter().map(|share| share.counted);
        counted.max().unwrap_or_default()
    }

    /// For the next renewal; shares are held if the lease runs.
    pub(super) fn report(&mut self, terms: &Terms, held: bool, now: Moment) -> Vec<WindowUse> {
        let history = &self.history;
        let report = |share: &mut Share| {
            share.forget(history, now);
            let bucket = terms.counted(share.length) / u32::try_from(BUCKETS).unwrap_or(1);
            let mut leaving = [0; BUCKETS];
            for started in history.from(share.left) {
                let leaves_in = (started.counted_by + share.counts_for).saturating_sub(now);
                let index = leaves_in.as_micros() / bucket.as_micros().max(1);
                let index = usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1);
                leaving[index] += started.calls;
            }
            // Those that left out of turn are still counted here, behind one that has not: say the same in both numbers.
            let bound = now < share.bound_at + BOUND_FOR;
            WindowUse {
                bound,
                length: share.length,
                held: if held { share.share } else { 0 },
                counted: share.counted,
                leaving,
            }
        };
        self.shares.iter_mut().map(report).collect()
    }
}
