//! Whether two clocks run equally fast, seen from renewals whose way takes varying time.

use std::time::Duration;

use crate::Moment;

/// Of the samples of so long the best is taken.
const STRETCH: Duration = Duration::from_secs(30);

/// One exchange with the other clock.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// The middle between sending and answer, by our clock.
    ours: Moment,
    theirs: Moment,
    /// Half the time between them: the other clock was read at most so far from the middle.
    unsure: Duration,
}

/// Compares the other clock with ours.
#[derive(Debug, Clone)]
pub(super) struct ClockRate {
    ppm: u32,
    base: Option<Sample>,
    best: Option<Sample>,
}

impl ClockRate {
    pub(super) fn new(ppm: u32) -> Self {
        Self {
            ppm,
            base: None,
            best: None,
        }
    }

    /// Whether a stretch has ended in which the rates surely differed by more than allowed.
    pub(super) fn breached(&mut self, sent: Moment, answered: Moment, theirs: Moment) -> bool {
        let unsure = answered.saturating_sub(sent) / 2;
        let sample = Sample {
            ours: sent + unsure,
            theirs,
            unsure,
        };
        let Some(base) = self.base else {
            self.base = Some(sample);
            return false;
        };
        if self.best.is_none_or(|best| sample.unsure <= best.unsure) {
            self.best = Some(sample);
        }
        if sample.ours < base.ours + STRETCH {
            return false;
        }
        let Some(end) = self.best.take() else {
            return false;
        };
        self.base = Some(end);
        let ours = end.ours.saturating_sub(base.ours);
        // A step of the other clock is not a matter of its rate; the authority sees to it.
        let Some(theirs) = end.theirs.checked_sub(base.theirs) else {
            return false;
        };
        let allowed = ours * self.ppm / 1_000_000 + base.unsure + end.unsure;
        ours.abs_diff(theirs) > allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rate_out_of_bounds_is_a_breach() {
        for (theirs_per_ours, breaches) in [
            (1.0, false),
            (1.0009, false),
            (0.9991, false),
            (1.005, true),
            (0.99, true),
        ] {
            let mut rate = ClockRate::new(1000);
            let mut seen = false;
            for second in 0..120u64 {
                let sent = Moment::from_secs(second);
                let way = Duration::from_millis(second % 7);
                let theirs = (sent + way).mul_f64(theirs_per_ours);
                seen |= rate.breached(sent, sent + way * 2, theirs);
            }
            assert_eq!(seen, breaches, "{theirs_per_ours}");
        }
    }
}
