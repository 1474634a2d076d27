//! What to do with one mailbox, from what was read there.

use crate::{AccessRole, Rights};

/// What a read of the calendar's permission list said about the trustee's own entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The list has no entry of the trustee.
    Absent,
    /// The list has one, with these rights. (`None` on the list is an entry too, with no right in it.)
    Present(Rights),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The entry is as wanted: nothing is written.
    Unchanged,
    /// The entry allows more than wanted and the delegation doesn't say to lower it: nothing is written.
    LeaveHigher,
    /// There is no entry: add one.
    Add,
    /// There is an entry that allows less, or something else: set it.
    Update {
        /// What it held before.
        from: Rights,
    },
}

/// Compares the entry with what is wanted. Looks at the trustee's own entry only, so everybody else's
/// can't be touched by what follows from it.
pub fn decide(observed: Observed, wanted: AccessRole, lower_higher: bool) -> Decision {
    match observed {
        Observed::Absent => Decision::Add,
        Observed::Present(held) if held.same_as(wanted.rights()) => Decision::Unchanged,
        Observed::Present(held) if held.includes(wanted.rights()) && !lower_higher => {
            Decision::LeaveHigher
        }
        Observed::Present(from) => Decision::Update { from },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let present = |raw: &str| Observed::Present(raw.parse().unwrap());
        let update = |raw: &str| Decision::Update {
            from: raw.parse().unwrap(),
        };
        for (observed, lower, want) in [
            (Observed::Absent, false, Decision::Add),
            (present("Author"), false, Decision::Unchanged),
            (present("Author"), true, Decision::Unchanged),
            (present("Reviewer"), false, update("Reviewer")),
            (present("None"), false, update("None")),
            (present("Owner"), false, Decision::LeaveHigher),
            (present("Owner"), true, update("Owner")),
            (
                present("Contributor,EditAllItems"),
                false,
                update("Contributor,EditAllItems"),
            ),
        ] {
            assert_eq!(
                decide(observed, AccessRole::AUTHOR, lower),
                want,
                "{observed:?} lower={lower}"
            );
        }
    }
}
