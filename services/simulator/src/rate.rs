//! Calls per second, over the latest quarter of an hour.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

const KEPT_SECS: usize = 900;

/// How many calls arrived in each second since the simulator started.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// The second of the last count.
    last: u64,
    counts: VecDeque<u32>,
    peak: u32,
}

impl Rate {
    pub(crate) fn note(&mut self, now: Duration) {
        self.move_to(now);
        if let Some(count) = self.counts.back_mut() {
            *count += 1;
            self.peak = self.peak.max(*count);
        }
    }

    fn move_to(&mut self, now: Duration) {
        let second = now.as_secs();
        if self.counts.is_empty() {
            self.last = second;
            self.counts.push_back(0);
        }
        let gap = usize::try_from(second.saturating_sub(self.last)).unwrap_or(usize::MAX);
        for _ in 0..gap.min(KEPT_SECS) {
            self.counts.push_back(0);
        }
        self.last = self.last.max(second);
        let over = self.counts.len().saturating_sub(KEPT_SECS);
        self.counts.drain(..over);
    }

    /// Calls a second over whole seconds that are past; `latest` is the row of them, oldest first.
    pub(crate) fn show(&mut self, now: Duration, since: Duration) -> Value {
        self.move_to(now);
        let age = usize::try_from(self.last.saturating_sub(since.as_secs())).unwrap_or(usize::MAX);
        let past: Vec<u32> = self
            .counts
            .iter()
            .rev()
            .skip(1)
            .take(age)
            .copied()
            .collect();
        let mean = |seconds: usize| {
            let taken = &past[..seconds.min(past.len())];
            let sum: f64 = taken.iter().map(|count| f64::from(*count)).sum();
            let over = u32::try_from(taken.len()).unwrap_or(u32::MAX);
            if over == 0 {
                0.0
            } else {
                (sum / f64::from(over) * 100.0).round() / 100.0
            }
        };
        let latest: Vec<u32> = past.iter().take(60).rev().copied().collect();
        json!({
            "last_10_secs": mean(10), "last_60_secs": mean(60), "last_900_secs": mean(KEPT_SECS),
            "peak_second": self.peak, "latest": latest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Rate};

    #[test]
    fn whole_seconds_are_counted_and_gaps_are_nought() {
        let mut rate = Rate::default();
        for ms in [100, 200, 1900, 4000, 4001, 4002, 5100] {
            rate.note(Duration::from_millis(ms));
        }
        let shown = rate.show(Duration::from_secs(6), Duration::ZERO);
        assert_eq!(shown["latest"], serde_json::json!([2, 1, 0, 0, 3, 1]));
        assert_eq!(shown["last_10_secs"], 1.17);
        assert_eq!(shown["peak_second"], 3);
        let later = rate.show(Duration::from_secs(60), Duration::from_secs(58));
        assert_eq!(later["latest"], serde_json::json!([0, 0]));
    }
}
