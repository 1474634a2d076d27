//! Counts of an operation. `accepted = outstanding + the sum of outcomes`, in every snapshot.

use crate::Outcome;

/// How many jobs an operation has, and how many of them ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Jobs recorded.
    pub accepted: u64,
    /// By outcome, in the order of [`Outcome::ALL`].
    ended: [u64; Outcome::ALL.len()],
}

impl Counts {
    /// `accepted` jobs, none of them ended.
    pub fn accepting(accepted: u64) -> Self {
        Self {
            accepted,
            ..Self::default()
        }
    }

    /// Jobs that ended so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.ended[outcome as usize]
    }

    /// Adds `more` jobs that ended so.
    pub fn add(&mut self, outcome: Outcome, more: u64) {
        self.ended[outcome as usize] += more;
    }

    /// Jobs that have ended.
    pub fn ended(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Jobs that haven't.
    pub fn outstanding(&self) -> u64 {
        self.accepted.saturating_sub(self.ended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_add_up() {
        let mut counts = Counts {
            accepted: 5,
            ..Counts::default()
        };
        counts.add(Outcome::Added, 2);
        counts.add(Outcome::Unconfirmed, 1);
        assert_eq!(
            (
                counts.of(Outcome::Added),
                counts.ended(),
                counts.outstanding()
            ),
            (2, 3, 2)
        );
    }
}
