//! An operation's lane and states.

use crate::{Counts, outcome::words};

words!(
    /// Which jobs go first.
    Lane {
        /// Somebody waits for it: takes the next permit.
        Interactive = "interactive",
        /// Everything else.
        Bulk = "bulk",
    }
);

words!(
    /// What an operation does.
    OperationKind {
        /// Gives a right.
        Delegate = "delegate",
        /// Takes away what was given.
        Revoke = "revoke",
        /// Puts back what another operation changed.
        Undo = "undo",
        /// Looks whether what was given is still there.
        Verify = "verify",
    }
);

words!(
    /// Where an operation stands. Done, failed and cancelled are final.
    OperationState {
        /// Accepted; its mailboxes have not been listed yet.
        Accepted = "accepted",
        /// Its mailboxes are being listed; those already listed are being worked on.
        Listing = "listing",
        /// All its mailboxes are listed; jobs are outstanding.
        Running = "running",
        /// Cancelled by request, or it failed in the middle; jobs that had begun to write are being finished.
        Cancelling = "cancelling",
        /// Every job ended, in whatever way.
        Done = "done",
        /// It could not be carried out: see its failure.
        Failed = "failed",
        /// Cancelled, and nothing of it is running any more.
        Cancelled = "cancelled",
        /// Listing or running, and stopped by a brake: nothing new begins until a person releases it.
        Held = "held",
    }
);

words!(
    /// Why an operation as a whole could not be carried out.
    OperationFailure {
        /// The selector chose no mailbox.
        EmptySelection = "empty_selection",
        /// The directory knows no such group, or several.
        GroupNotFound = "group_not_found",
        /// No object of the directory lies in this organisational unit.
        OuNotFound = "ou_not_found",
        /// The directory knows no such administrative unit.
        AdministrativeUnitNotFound = "administrative_unit_not_found",
        /// The directory knows no trustee of this address.
        TrusteeNotFound = "trustee_not_found",
        /// The trustee is not a mail-enabled security group and has no mailbox.
        TrusteeNotSecurityPrincipal = "trustee_not_security_principal",
        /// The reader account was refused: it lacks a right, or its credential is wrong.
        ReaderRefused = "reader_refused",
    }
);

impl OperationState {
    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The state after jobs ended, or the listing did: moves on when nothing is outstanding. `failed`: the operation
    /// itself could not be carried out.
    #[must_use]
    pub fn after(self, counts: &Counts, failed: bool) -> Self {
        match self {
            Self::Running if counts.outstanding() == 0 => Self::Done,
            Self::Cancelling if counts.outstanding() == 0 && failed => Self::Failed,
            Self::Cancelling if counts.outstanding() == 0 => Self::Cancelled,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn moves_on_when_nothing_is_outstanding() {
        let mut counts = Counts::accepting(1);
        assert_eq!(
            OperationState::Running.after(&counts, false),
            OperationState::Running
        );
        counts.add(Outcome::Failed, 1);
        for (from, to) in [
            (OperationState::Running, OperationState::Done),
            (OperationState::Cancelling, OperationState::Cancelled),
            (OperationState::Listing, OperationState::Listing),
        ] {
            assert_eq!(from.after(&counts, false), to);
        }
        assert_eq!(
            OperationState::Cancelling.after(&counts, true),
            OperationState::Failed
        );
    }
}
