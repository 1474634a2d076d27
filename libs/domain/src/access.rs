//! What is told of a mailbox to those who wait for it.

use crate::{Outcome, outcome::words};

words!(
    /// What became of a trustee's right to a mailbox.
    AccessChange {
        /// The right is there, proven by reading it.
        Granted = "granted",
        /// The right is not there any more.
        Revoked = "revoked",
        /// What was asked for didn't work.
        Failed = "failed",
    }
);

impl AccessChange {
    /// What an outcome makes of it, with an entry seen or none; `None` if nothing was tried, or nothing came of it that
    /// anybody waits for.
    pub fn of(outcome: Outcome, entry: bool) -> Option<Self> {
        match outcome {
            Outcome::Added
            | Outcome::Updated
            | Outcome::Unchanged
            | Outcome::LeftHigher
            | Outcome::Verified
            | Outcome::Repaired => Some(Self::Granted),
            Outcome::Removed => Some(Self::Revoked),
            // Whatever is there now, and by whom.
            Outcome::Restored | Outcome::LeftChangedSince | Outcome::Drifted => {
                Some(if entry { Self::Granted } else { Self::Revoked })
            }
            Outcome::Refused | Outcome::Failed | Outcome::Unconfirmed => Some(Self::Failed),
            Outcome::Cancelled | Outcome::KeptBy => None,
        }
    }
}

/// What was known of a right before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessBefore {
    /// Whether it was there.
    pub granted: bool,
    /// Which right that was.
    pub role: String,
    /// Why it was not, as a word.
    pub reason: String,
}

/// Whether a change is worth telling: somebody asked for this very mailbox, or something is different from before.
pub fn worth_telling(
    change: AccessChange,
    role: &str,
    reason: &str,
    before: Option<&AccessBefore>,
    asked_for: bool,
) -> bool {
    asked_for
        || match (change, before) {
            (AccessChange::Granted, Some(before)) => !before.granted || before.role != role,
            (AccessChange::Revoked, before) => before.is_some_and(|before| before.granted),
            (AccessChange::Failed, Some(before)) => before.reason != reason,
            (_, None) => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_unless_somebody_asked() {
        use AccessChange::{Failed, Granted, Revoked};
        let before = |granted, reason: &str| AccessBefore {
            granted,
            role: "Author".into(),
            reason: reason.into(),
        };
        for (change, role, reason, before, told) in [
            (Granted, "Author", "", None, true),
            (Granted, "Author", "", Some(before(true, "")), false),
            (Granted, "Editor", "", Some(before(true, "")), true),
            (Granted, "Author", "", Some(before(false, "")), true),
            (Revoked, "", "", None, false),
            (Revoked, "", "", Some(before(false, "")), false),
            (Revoked, "", "", Some(before(true, "")), true),
            (Failed, "", "rejected", None, true),
            (
                Failed,
                "",
                "rejected",
                Some(before(false, "rejected")),
                false,
            ),
            (
                Failed,
                "",
                "rejected",
                Some(before(false, "unavailable")),
                true,
            ),
        ] {
            let told_of =
                |asked_for| worth_telling(change, role, reason, before.as_ref(), asked_for);
            assert_eq!(told_of(false), told, "{change} {before:?}");
            assert!(told_of(true));
        }
    }
}
