//! Whether the authority's clock was set: compared with one that runs steadily.

use std::time::Duration;

use crate::Moment;

/// Watches one clock by another. One for each process that reads the authority's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWatch {
    /// By how much the two may differ beyond their rates.
    tolerance: Duration,
    /// By how much their rates may differ, in millionths.
    ppm: u32,
    last: Option<(Moment, Moment)>,
}

impl ClockWatch {
    /// A watch that has seen nothing. The time it takes to read the clock must stay below `tolerance`.
    pub const fn new(tolerance: Duration, ppm: u32) -> Self {
        Self {
            tolerance,
            ppm,
            last: None,
        }
    }

    /// The watched clock says `now`, the steady one `steady`. Whether the first was set since the last look: then begin another era.
    pub fn stepped(&mut self, now: Moment, steady: Moment) -> bool {
        let Some((before, steady_before)) = self.last.replace((now, steady)) else {
            return false;
        };
        let passed = steady.saturating_sub(steady_before);
        let allowed = self.tolerance + passed * self.ppm / 1_000_000;
        (before + passed).abs_diff(now) > allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_seen_and_drift_is_not() {
        let mut watch = ClockWatch::new(Duration::from_millis(50), 1000);
        for (now, steady, stepped) in [
            (1_000, 0, false),
            (2_010, 1_000, false),
            (12_000, 11_000, false),
            (17_000, 11_500, true),
            (17_500, 12_000, false),
            (17_000, 12_000, true),
        ] {
            let seen = watch.stepped(Moment::from_millis(now), Moment::from_millis(steady));
            assert_eq!(seen, stepped, "{now} at {steady}");
        }
    }
}
