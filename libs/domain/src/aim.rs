//! What a job is to bring about at one mailbox, and what is written for it, from what was read there.

use crate::{AccessRole, Decision, Observed, Outcome, Reason, Rights, decide};

/// What a job is to bring about. It is about the trustee's own entry alone, whatever else is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The trustee has the right.
    Grant {
        /// The right.
        role: AccessRole,
        /// Whether a higher one is lowered.
        lower_higher: bool,
    },
    /// The entry is as it was before, if it still is what we left there. Revocations and undoing.
    PutBack {
        /// What we left there.
        left: Observed,
        /// What it was before; for a revocation, nothing.
        to: Observed,
    },
    /// It is known whether the entry still is what it was.
    Verify {
        /// What was last known to be there.
        expected: Rights,
        /// The right that is wanted.
        role: AccessRole,
        /// Whether a higher one is lowered, where it is put right.
        lower_higher: bool,
        /// Whether what is missing of the right is given again.
        repair: bool,
    },
}

/// A change of the trustee's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// There is none: add one.
    Add(AccessRole),
    /// There is one: set it.
    Set(AccessRole),
    /// There is one: remove it.
    Remove,
}

/// What is to be done to put an entry back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// It is as it was before.
    Done,
    /// It is not what we left: somebody has changed it since, and it is left alone.
    Changed,
    /// It is what we left.
    Write(Write),
}

impl Observed {
    /// Whether both are absent, or allow exactly the same.
    pub fn same_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Present(one), Self::Present(other)) => one.same_as(other),
            _ => false,
        }
    }

    /// Whether it allows all of `role`.
    pub fn allows(self, role: AccessRole) -> bool {
        matches!(self, Self::Present(rights) if rights.includes(role.rights()))
    }
}

/// Compares an entry with what we left, and with what it was before that.
pub fn put_back(seen: Observed, left: Observed, to: Observed) -> Back {
    if seen.same_as(to) {
        return Back::Done;
    }
    if !seen.same_as(left) {
        return Back::Changed;
    }
    Back::Write(match (seen, to) {
        (_, Observed::Absent) => Write::Remove,
        (Observed::Absent, Observed::Present(rights)) => Write::Add(AccessRole::exactly(rights)),
        (Observed::Present(_), Observed::Present(rights)) => {
            Write::Set(AccessRole::exactly(rights))
        }
    })
}

/// How an entry differs from what was known of it; `None`: it doesn't.
pub fn drift(known: Observed, seen: Observed) -> Option<Reason> {
    match (known, seen) {
        _ if known.same_as(seen) => None,
        (_, Observed::Absent) => Some(Reason::RemovedSince),
        (Observed::Absent, Observed::Present(_)) => Some(Reason::AddedSince),
        (Observed::Present(known), Observed::Present(seen)) if seen.includes(known) => {
            Some(Reason::RaisedSince)
        }
        (Observed::Present(known), Observed::Present(seen)) if known.includes(seen) => {
            Some(Reason::LoweredSince)
        }
        _ => Some(Reason::ReplacedSince),
    }
}

impl Aim {
    /// What is to be written, from what was read; `None`: nothing.
    pub fn write(&self, seen: Observed) -> Option<Write> {
        match *self {
            Self::PutBack { left, to } => match put_back(seen, left, to) {
                Back::Write(write) => Some(write),
                Back::Done | Back::Changed => None,
            },
            Self::Verify { repair: false, .. } => None,
            Self::Grant { role, lower_higher }
            | Self::Verify {
                role, lower_higher, ..
            } => match decide(seen, role, lower_higher) {
                Decision::Add => Some(Write::Add(role)),
                Decision::Update { .. } => Some(Write::Set(role)),
                Decision::Unchanged | Decision::LeaveHigher => None,
            },
        }
    }

    /// What the entry is after a write for it.
    pub fn wanted(&self) -> Observed {
        match *self {
            Self::PutBack { to, .. } => to,
            Self::Grant { role, .. } | Self::Verify { role, .. } => {
                Observed::Present(role.rights())
            }
        }
    }

    /// Whether order is decided before it is known that nothing is to be written. Who takes a right away must be sure
    /// that nobody who was asked before gives it again afterwards.
    pub fn always_begins(&self) -> bool {
        matches!(self, Self::PutBack { .. })
    }

    /// Whether the mailbox must be the very one that is on record, not one that has its address today.
    pub fn names_a_mailbox_on_record(&self) -> bool {
        !matches!(self, Self::Grant { .. })
    }

    /// Whether it would leave somebody who wants `role` with less.
    pub fn deprives(&self, role: AccessRole) -> bool {
        matches!(self, Self::PutBack { to, .. } if !to.allows(role))
    }

    /// What a job that had begun left as our entry; `None`: what was there before it.
    pub fn left(&self, outcome: Outcome, reason: Option<Reason>) -> Option<Observed> {
        let stands = match outcome {
            Outcome::Added
            | Outcome::Updated
            | Outcome::Repaired
            | Outcome::Removed
            | Outcome::Restored
            // It may show yet.
            | Outcome::Unconfirmed => true,
            Outcome::Unchanged => self.always_begins(),
            Outcome::Failed => reason == Some(Reason::ChangedByOthers),
            _ => false,
        };
        stands.then(|| self.wanted())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn present(raw: &str) -> Observed {
        Observed::Present(raw.parse().unwrap())
    }

    fn any_observed() -> impl Strategy<Value = Observed> {
        let names = [
            "None",
            "AvailabilityOnly",
            "Reviewer",
            "Contributor",
            "Author",
            "Editor",
            "Owner",
            "ReadItems,CreateItems",
        ];
        prop_oneof![
            Just(Observed::Absent),
            proptest::sample::select(names.to_vec()).prop_map(present),
        ]
    }

    /// What the entry is after a write.
    fn after(write: Write) -> Observed {
        match write {
            Write::Add(role) | Write::Set(role) => Observed::Present(role.rights()),
            Write::Remove => Observed::Absent,
        }
    }

    #[test]
    fn what_others_changed_is_left_alone() {
        let author = present("Author");
        for (seen, left, to, want) in [
            (author, author, Observed::Absent, Back::Write(Write::Remove)),
            (Observed::Absent, author, Observed::Absent, Back::Done),
            (present("Editor"), author, Observed::Absent, Back::Changed),
            (present("Reviewer"), author, present("Reviewer"), Back::Done),
            (Observed::Absent, author, present("Reviewer"), Back::Changed),
            (
                Observed::Absent,
                Observed::Absent,
                author,
                Back::Write(Write::Add(AccessRole::AUTHOR)),
            ),
            (present("Owner"), Observed::Absent, author, Back::Changed),
        ] {
            assert_eq!(put_back(seen, left, to), want, "{seen:?} {left:?} {to:?}");
        }
        let reviewer = Back::Write(Write::Set("Reviewer".parse().unwrap()));
        assert_eq!(put_back(author, author, present("Reviewer")), reviewer);
    }

    proptest! {
        /// Whatever was granted is put back to the letter, and putting back twice changes nothing more.
        #[test]
        fn what_a_grant_changed_is_put_back_exactly(before in any_observed(), lower_higher: bool) {
            let grant = Aim::Grant { role: AccessRole::AUTHOR, lower_higher };
            let Some(write) = grant.write(before) else { return Ok(()) };
            let left = after(write);
            prop_assert_eq!(left, grant.wanted());
            let undo = Aim::PutBack { left, to: before };
            let Some(back) = undo.write(left) else { return Err(TestCaseError::fail("nothing is put back")) };
            prop_assert!(after(back).same_as(before));
            prop_assert_eq!(undo.write(after(back)), None);
            // And undoing that brings the grant back.
            let again = Aim::PutBack { left: after(back), to: left };
            let again = again.write(after(back)).map(after);
            prop_assert!(again.is_some_and(|again| again.same_as(left)));
        }

        /// Nothing is written unless the entry is what we left, and then it is what it was before.
        #[test]
        fn only_what_we_left_is_touched(seen in any_observed(), left in any_observed(), to in any_observed()) {
            let written = Aim::PutBack { left, to }.write(seen);
            prop_assert_eq!(written.is_some(), seen.same_as(left) && !left.same_as(to));
            if let Some(write) = written {
                prop_assert!(after(write).same_as(to));
                prop_assert_eq!(matches!(write, Write::Add(_)), seen == Observed::Absent);
            }
        }

        /// Verifying writes only to repair, and what it repaired has the right.
        #[test]
        fn verifying_writes_only_what_is_missing(seen in any_observed(), repair: bool) {
            let role = AccessRole::AUTHOR;
            let verify = Aim::Verify { expected: role.rights(), role, lower_higher: false, repair };
            let written = verify.write(seen);
            prop_assert_eq!(written.is_some(), repair && !seen.allows(role));
            if let Some(write) = written {
                prop_assert!(after(write).allows(role));
            }
        }

        #[test]
        fn drift_is_said_exactly_where_there_is_one(known in any_observed(), seen in any_observed()) {
            prop_assert_eq!(drift(known, seen).is_none(), known.same_as(seen));
        }
    }

    #[test]
    fn kinds_of_drift() {
        for (known, seen, want) in [
            ("Author", Observed::Absent, Reason::RemovedSince),
            ("Author", present("Owner"), Reason::RaisedSince),
            ("Author", present("Reviewer"), Reason::LoweredSince),
            ("Reviewer", present("Contributor"), Reason::ReplacedSince),
        ] {
            assert_eq!(drift(present(known), seen), Some(want));
        }
    }

    #[test]
    fn who_would_be_deprived() {
        let to = |to| Aim::PutBack {
            left: present("Editor"),
            to,
        };
        assert!(to(Observed::Absent).deprives(AccessRole::AUTHOR));
        assert!(to(present("Reviewer")).deprives(AccessRole::AUTHOR));
        assert!(!to(present("Author")).deprives(AccessRole::AUTHOR));
    }

    #[test]
    fn what_is_on_record_after_a_job() {
        let revoke = Aim::PutBack {
            left: present("Author"),
            to: Observed::Absent,
        };
        for (outcome, reason, want) in [
            (Outcome::Removed, None, Some(Observed::Absent)),
            (Outcome::Unchanged, None, Some(Observed::Absent)),
            (Outcome::Unconfirmed, None, Some(Observed::Absent)),
            (Outcome::LeftChangedSince, None, None),
            (
                Outcome::Failed,
                Some(Reason::ChangedByOthers),
                Some(Observed::Absent),
            ),
            (Outcome::Failed, Some(Reason::Rejected), None),
        ] {
            assert_eq!(revoke.left(outcome, reason), want, "{outcome} {reason:?}");
        }
    }
}
