//! Brakes: what stops by itself before harm is done at scale, and waits for a person.

use crate::outcome::words;

words!(
    /// Why an operation waits for a person.
    Hold {
        /// It would take away more grants than one may without a person's word.
        RevokesMany = "revokes_many",
        /// Too many of its mailboxes failed for the same reason.
        FailsAlike = "fails_alike",
        /// The mailboxes it was to try first are done.
        Canary = "canary",
    }
);

/// Grants that one run, or a burst of leavers, may take away whatever the tenant has.
pub const REVOKED_FREELY: u64 = 50;
/// One in so many of a tenant's grants may be taken away like that: 2 %.
const REVOKED_SHARE: u64 = 50;
/// Failures for one reason below which nobody is called.
const FAILED_FREELY: u64 = 20;
/// One in so many may fail for one reason: 5 %.
const FAILED_SHARE: u64 = 20;

/// Whether a run that would take away `taken` of a tenant's `grants`, or a burst of so many leavers, waits for a person before
/// the first write.
pub fn revokes_many(taken: u64, grants: u64) -> bool {
    taken > REVOKED_FREELY && taken.saturating_mul(REVOKED_SHARE) > grants
}

/// Whether `failed` failures for one reason, among `accepted` mailboxes, are too many to go on without a person.
pub fn fails_alike(failed: u64, accepted: u64) -> bool {
    failed >= FAILED_FREELY && failed.saturating_mul(FAILED_SHARE) > accepted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        for (taken, grants, want) in [
            (50, 60, false),
            (51, 60, true),
            (51, 2549, true),
            (51, 2550, false),
            (1000, 50_000, false),
            (1001, 50_000, true),
        ] {
            assert_eq!(revokes_many(taken, grants), want, "{taken} of {grants}");
        }
        for (failed, accepted, want) in [
            (19, 19, false),
            (20, 20, true),
            (20, 399, true),
            (20, 400, false),
            (501, 10_000, true),
            (500, 10_000, false),
        ] {
            assert_eq!(
                fails_alike(failed, accepted),
                want,
                "{failed} of {accepted}"
            );
        }
    }

    proptest! {
        #[test]
        fn more_never_brakes_less(taken: u64, grants: u64, more in 0u64..1000) {
            prop_assert!(!revokes_many(taken, grants) || revokes_many(taken.saturating_add(more), grants));
            prop_assert!(!fails_alike(taken, grants) || fails_alike(taken.saturating_add(more), grants));
        }
    }
}
