//! Repeatable chance: `SplitMix64`, as a value for the generator and shared for the running server.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A small generator of numbers; the same seed gives the same row.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// Whether something with this chance (0 to 1) happens now.
    pub(crate) fn happens(&self, rate: f64) -> bool {
        if rate <= 0.0 {
            return false;
        }
        let roll = u32::try_from(self.next() >> 32).unwrap_or(u32::MAX);
        f64::from(roll) / f64::from(u32::MAX) < rate
    }

    pub(crate) fn uuid(&self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let pick = usize::try_from(self.below(bound)).unwrap_or(0);
            items.swap(last, pick);
        }
    }
}
