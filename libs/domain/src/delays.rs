//! Delays as data.

use std::time::Duration;

/// Re-reads after a write that doesn't show yet: reads lag writes in Exchange Online by seconds.
pub const PROOF: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Attempts at one mailbox that may fail because the server is not available.
pub const ATTEMPTS: u32 = 6;

/// Between these attempts.
pub const RETRY: RetryDelays = RetryDelays {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(300),
};

/// Longest wait between two looks at a mailbox that isn't ready.
pub const PARK_CAP: Duration = Duration::from_secs(3600);

/// Exponential back-off with jitter; the server's own delay is a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// After the first failure.
    pub first: Duration,
    /// Longest.
    pub cap: Duration,
}

impl RetryDelays {
    /// The delay after `failures` earlier ones. `roll` in `[0, 1)` takes up to half of it away; `told` is what the server asked for.
    pub fn delay(&self, failures: u32, roll: f64, told: Option<Duration>) -> Duration {
        let own = self
            .first
            .saturating_mul(2u32.saturating_pow(failures))
            .min(self.cap)
            .mul_f64(0.5 + roll / 2.0);
        told.map_or(own, |told| told.max(own))
    }
}

/// The wait for a mailbox that isn't ready after `parks` earlier ones: doubles, up to an hour or to `first` if that is longer.
pub fn park(first: Duration, parks: u32) -> Duration {
    first
        .saturating_mul(2u32.saturating_pow(parks))
        .min(PARK_CAP.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_cap_and_never_undercut_the_server() {
        assert_eq!(RETRY.delay(0, 1.0, None), Duration::from_secs(1));
        assert_eq!(RETRY.delay(40, 1.0, None), RETRY.cap);
        assert_eq!(
            RETRY.delay(0, 0.0, Some(Duration::from_secs(900))),
            Duration::from_secs(900)
        );
        assert_eq!(park(Duration::from_secs(300), 1), Duration::from_secs(600));
        assert_eq!(park(Duration::from_secs(300), 30), PARK_CAP);
    }
}
