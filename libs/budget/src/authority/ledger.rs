//! What the authority itself keeps account of: calls in long windows, and the balance of server time.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{
    Moment, Terms,
    key::{ServerTime, Window},
};

/// Entries are merged until a window has about so many.
const ENTRIES: u32 = 120;
/// Chunks are given for so long ahead: a renewal may be late.
const AHEAD: Duration = Duration::from_secs(2);

/// Calls of one long window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The window's length.
    pub length: Duration,
    /// When calls leave the window, and how many. In that order.
    pub entries: Vec<(Moment, u32)>,
    /// When the even pace reaches the next call.
    pub paced: Moment,
}

impl Ledger {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            entries: Vec::new(),
            paced: Moment::ZERO,
        }
    }

    /// Calls were made, the last of them at `now` at the latest.
    pub(super) fn add(&mut self, calls: u32, most: u32, terms: &Terms, now: Moment) {
        if calls == 0 {
            return;
        }
        // Rounded up, so that those of about the same time leave together.
        let step = (self.length / ENTRIES).max(Duration::from_millis(1));
        let leaves = (now + terms.counted(self.length))
            .as_micros()
            .div_ceil(step.as_micros());
        let leaves = step * u32::try_from(leaves).unwrap_or(u32::MAX);
        match self.entries.last_mut() {
            Some((last, merged)) if leaves <= *last => *merged += calls,
            _ => self.entries.push((leaves, calls)),
        }
        self.paced = self.paced.max(now.saturating_sub(AHEAD)) + self.interval(most, terms) * calls;
    }

    fn interval(&self, most: u32, terms: &Terms) -> Duration {
        terms.counted(self.length) / most.max(1)
    }

    pub(super) fn forget(&mut self, now: Moment) {
        self.entries.retain(|(leaves, _)| *leaves > now);
    }

    /// Calls that may be allowed now, unspent ones of earlier chunks included: evenly paced, and `hurried` ones at once.
    pub(super) fn free(&self, window: &Window, hurried: u32, terms: &Terms, now: Moment) -> u64 {
        let counted: u64 = self
            .entries
            .iter()
            .map(|(_, calls)| u64::from(*calls))
            .sum();
        let free = u64::from(window.calls).saturating_sub(counted);
        let interval = self.interval(window.calls, terms);
        let ahead = (now + AHEAD).checked_sub(self.paced.max(now.saturating_sub(AHEAD)));
        let paced = ahead.map_or(0, |ahead| {
            1 + ahead.as_micros() / interval.as_micros().max(1)
        });
        free.min(
            u64::try_from(paced)
                .unwrap_or(u64::MAX)
                .saturating_add(u64::from(hurried)),
        )
    }

    pub(super) fn shift(&mut self, to: impl Fn(Moment) -> Moment) {
        self.paced = to(self.paced);
        for (leaves, _) in &mut self.entries {
            *leaves = to(*leaves);
        }
    }
}

/// The balance of server time, never above the server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// In microseconds; negative if calls cost more than was expected.
    pub micros: i64,
    /// When that was so.
    pub at: Moment,
}

impl Balance {
    pub(super) fn full(limit: &ServerTime, now: Moment) -> Self {
        Self {
            micros: micros(limit.burst),
            at: now,
        }
    }

    pub(super) fn recharge(&mut self, limit: &ServerTime, terms: &Terms, now: Moment) {
        let passed = now.saturating_sub(self.at);
        // Our clock may be the faster one.
        let surely =
            passed.as_micros() * u128::from(1_000_000 - terms.clock_ppm.min(1_000_000)) / 1_000_000;
        let back = surely * limit.recharge_per_hour.as_micros() / 3_600_000_000;
        // Less than a microsecond is kept for later.
        if back > 0 || surely == 0 {
            self.micros = self
                .micros
                .saturating_add(i64::try_from(back).unwrap_or(i64::MAX))
                .min(micros(limit.burst));
            self.at = now;
        }
    }

    pub(super) fn spend(&mut self, time: Duration) {
        self.micros = self.micros.saturating_sub(micros(time));
    }

    /// What may be allowed now, unspent allowances included, in microseconds.
    pub(super) fn free(&self, limit: &ServerTime) -> u64 {
        u64::try_from(self.micros.saturating_sub(micros(limit.floor))).unwrap_or(0)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
