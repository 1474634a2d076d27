//! The clock and the dice. Everything else takes the time and the roll as arguments.

use std::{sync::OnceLock, time::Instant};

use time::OffsetDateTime;
use uuid::Uuid;

/// The time of day, in UTC.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    match skewed() {
        None => now,
        Some(skew) => {
            let truly = Instant::now();
            now + (skew.instant(truly) - truly)
        }
    }
}

/// A point in time for measuring how long something takes.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn instant() -> Instant {
    let now = Instant::now();
    skewed().map_or(now, |skew| skew.instant(now))
}

/// A clock that runs at another rate than it should: for tests of what must notice that.
#[derive(Debug, Clone, Copy)]
struct Skew {
    /// Seconds of it in a true second.
    rate: f64,
    since: Instant,
}

impl Skew {
    fn instant(self, truly: Instant) -> Instant {
        self.since
            + truly
                .saturating_duration_since(self.since)
                .mul_f64(self.rate)
    }
}

/// What `CALGRANT_TEST_CLOCK_RATE` asks for. Never set it outside of tests: budgets are exact only among clocks that agree.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
fn skewed() -> Option<Skew> {
    static SKEW: OnceLock<Option<Skew>> = OnceLock::new();
    *SKEW.get_or_init(|| {
        let rate = std::env::var("CALGRANT_TEST_CLOCK_RATE").ok()?;
        let rate = rate
            .parse()
            .ok()
            .filter(|rate| (1.0..=2.0).contains(rate))?;
        tracing::warn!(
            rate,
            "the clock of this process is made to run fast, for a test"
        );
        Some(Skew {
            rate,
            since: Instant::now(),
        })
    })
}

/// A random number in [0, 1).
#[must_use]
pub fn roll() -> f64 {
    // The last four bytes of a version 4 UUID are all random.
    let bytes = Uuid::new_v4().into_bytes();
    let drawn = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    f64::from(drawn) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_skewed_clock_runs_at_its_rate() {
        let since = instant();
        let skew = Skew { rate: 1.05, since };
        let after = skew.instant(since + Duration::from_secs(100));
        assert_eq!(after - since, Duration::from_secs(105));
    }

    #[test]
    fn rolls_stay_in_range_and_spread() {
        let rolls: Vec<f64> = (0..1000).map(|_| roll()).collect();
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        assert!(rolls.iter().any(|roll| *roll < 0.2) && rolls.iter().any(|roll| *roll > 0.8));
    }
}
