//! What a person should know of, and wasn't asked about.

use crate::{Hold, KeptRun, OperationFailure, OperationId, Policy, outcome::words};

words!(
    /// What an alert is about.
    AlertKind {
        /// A delegation that is kept selects nobody.
        EmptySelection = "empty_selection",
        /// It couldn't be listed who is selected by a delegation that is kept.
        ListingFailed = "listing_failed",
        /// Entries differ from what is on record.
        Drift = "drift",
        /// Mailboxes that a delegation covers aren't selected any more.
        Leavers = "leavers",
        /// A brake has stopped an operation.
        Held = "held",
        /// Somebody is a member of a delegation group who isn't expected there.
        GroupMembers = "group_members",
        /// Somebody owns a delegation group who isn't expected to.
        GroupOwners = "group_owners",
        /// People can join a delegation group by themselves.
        GroupOpen = "group_open",
        /// The password of an account that set-up made expires soon, or has.
        PasswordExpires = "password_expires",
        /// The secret or certificate that an account signs in with expires soon, or has.
        CredentialExpires = "credential_expires",
        /// A set-up can't go on until a person does something.
        SetupBlocked = "setup_blocked",
    }
);

/// An operation that ended, or was stopped, as far as alerts are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which.
    pub operation: OperationId,
    /// What it does by itself, if nobody asked for it.
    pub kept: Option<KeptRun>,
    /// Of its delegation, if it has one.
    pub policy: Option<Policy>,
    /// Why it couldn't be carried out.
    pub failure: Option<OperationFailure>,
    /// The same for people.
    pub failure_text: String,
    /// What stopped it.
    pub hold: Option<Hold>,
    /// What it waits for, for people.
    pub waiting_for: String,
    /// Mailboxes it looked at, or was to.
    pub mailboxes: u64,
    /// Of these, those that differ and were left so.
    pub drifted: u64,
    /// Of these, those that were put right.
    pub repaired: u64,
}

/// What an alert of a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The run itself.
    Operation,
    /// Its delegation: the same for each of its runs.
    Delegation,
}

/// What a person should know of a run; `None`: nothing.
pub fn of(run: &Run) -> Option<(AlertKind, Subject, String)> {
    if run.hold.is_some() {
        let text = format!("{} waits for {}", run.operation, run.waiting_for);
        return Some((AlertKind::Held, Subject::Operation, text));
    }
    if let Some(failure) = run.failure
        && (run.kept.is_some() || run.policy == Some(Policy::Keep))
    {
        let (kind, what) = match failure {
            OperationFailure::EmptySelection => (
                AlertKind::EmptySelection,
                "nobody is selected, and nothing was written",
            ),
            _ => (
                AlertKind::ListingFailed,
                "it couldn't be listed who is selected, and nobody counts as departed",
            ),
        };
        let text = format!("{what}: {}", run.failure_text);
        return Some((kind, Subject::Delegation, text));
    }
    if run.kept == Some(KeptRun::Verify) && run.drifted + run.repaired > 0 {
        let repaired = match run.repaired {
            0 => String::new(),
            some => format!(", {some} of them put right"),
        };
        let text = format!(
            "{} of {} mailboxes differ from what is on record{repaired}; see `calgrant mailboxes {}`",
            run.drifted + run.repaired,
            run.mailboxes,
            run.operation
        );
        return Some((AlertKind::Drift, Subject::Operation, text));
    }
    None
}

/// What is said of those who have departed and are left their entries.
pub fn departed(departed: u64, of: u64) -> String {
    format!(
        "{departed} of {of} mailboxes aren't selected any more and still have the right; take it away with `calgrant revoke`, \
         or set leavers = \"revoke\" in the tenant's file"
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run() -> Run {
        Run {
            operation: OperationId::from_uuid(Uuid::from_u128(1)),
            kept: Some(KeptRun::Verify),
            policy: Some(Policy::Keep),
            failure: None,
            failure_text: String::new(),
            hold: None,
            waiting_for: String::new(),
            mailboxes: 20,
            drifted: 0,
            repaired: 0,
        }
    }

    #[test]
    fn only_what_a_person_does_not_know_yet_is_said() {
        let empty = Some(OperationFailure::EmptySelection);
        for (run, want) in [
            (run(), None),
            (
                Run {
                    drifted: 1,
                    repaired: 2,
                    ..run()
                },
                Some(AlertKind::Drift),
            ),
            // Whoever asked for it sees it.
            (
                Run {
                    drifted: 1,
                    kept: None,
                    ..run()
                },
                None,
            ),
            (
                Run {
                    failure: empty,
                    kept: None,
                    ..run()
                },
                Some(AlertKind::EmptySelection),
            ),
            (
                Run {
                    failure: empty,
                    kept: None,
                    policy: Some(Policy::Once),
                    ..run()
                },
                None,
            ),
            (
                Run {
                    failure: Some(OperationFailure::GroupNotFound),
                    ..run()
                },
                Some(AlertKind::ListingFailed),
            ),
            (
                Run {
                    hold: Some(Hold::RevokesMany),
                    kept: None,
                    policy: None,
                    ..run()
                },
                Some(AlertKind::Held),
            ),
        ] {
            assert_eq!(of(&run).map(|(kind, ..)| kind), want, "{run:?}");
        }
        let text = of(&Run {
            drifted: 1,
            repaired: 2,
            ..run()
        })
        .unwrap()
        .2;
        assert!(
            text.starts_with("3 of 20 mailboxes differ") && text.contains("2 of them put right"),
            "{text}"
        );
    }
}
