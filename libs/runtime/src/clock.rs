//! The clock and the dice. Everything else takes the time and the roll as arguments.

use std::time::Instant;

use time::OffsetDateTime;
use uuid::Uuid;

/// The time of day, in UTC.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A point in time for measuring how long something takes.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn instant() -> Instant {
    Instant::now()
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
    use super::*;

    #[test]
    fn rolls_stay_in_range_and_spread() {
        let rolls: Vec<f64> = (0..1000).map(|_| roll()).collect();
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        assert!(rolls.iter().any(|roll| *roll < 0.2) && rolls.iter().any(|roll| *roll > 0.8));
    }
}
