//! Delegation groups are watched: whoever is in one can use every right that was given to it.

use crate::{Address, AlertKind, Keeping, outcome::words};

words!(
    /// Who may join a group.
    Joining {
        /// Nobody who isn't added by somebody else.
        Closed = "closed",
        /// Whom an owner lets in.
        Approval = "approval",
        /// Anybody.
        Open = "open",
    }
);

/// A group as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSeen {
    /// Its members, those of nested groups included.
    pub members: Vec<GroupMember>,
    /// Whether it has more than these.
    pub more: bool,
    /// Who manages it; `None` if the account may not ask.
    pub managed: Option<Managed>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// What it is called.
    pub name: String,
    /// What else it is called.
    pub aliases: Vec<String>,
}

/// Who manages a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Its owners, as the server calls them.
    pub owners: Vec<String>,
    /// Who may join it.
    pub joining: Joining,
}

/// What is to be said of a group in one respect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// It isn't known, or nobody said what is expected.
    Unknown,
    /// It is as expected.
    None,
    /// It isn't: what, and what to do.
    Alert(String),
}

/// Names that are listed in a sentence; of more it is said how many.
const LISTED: usize = 10;

/// Compares a group with what a tenant expects of its delegation groups.
pub fn concerns(group: &Address, seen: &GroupSeen, keeping: &Keeping) -> [(AlertKind, Concern); 3] {
    let expected: Vec<_> = keeping.group_members.iter().map(Address::as_str).collect();
    let is_expected = |member: &&GroupMember| {
        let mut names = std::iter::once(&member.name).chain(&member.aliases);
        names.any(|name| is_one_of(name, &expected))
    };
    let strangers = seen.members.iter().filter(|member| !is_expected(member));
    let strangers: Vec<_> = strangers.map(|member| member.name.as_str()).collect();
    let members = if expected.is_empty() {
        Concern::Unknown
    } else if strangers.is_empty() && !seen.more {
        Concern::None
    } else {
        Concern::Alert(format!(
            "{} in {group}, and can use every right that was given to it: take them out, or add them to group_members in the tenant's file",
            unexpected(&strangers, seen.more)
        ))
    };
    let owners: Vec<_> = keeping.group_owners.iter().map(String::as_str).collect();
    let (owners, joining) = match &seen.managed {
        None => (Concern::Unknown, Concern::Unknown),
        Some(managed) => (
            owned(group, managed, &owners),
            joined(group, managed.joining),
        ),
    };
    [
        (AlertKind::GroupMembers, members),
        (AlertKind::GroupOwners, owners),
        (AlertKind::GroupOpen, joining),
    ]
}

fn owned(group: &Address, managed: &Managed, expected: &[&str]) -> Concern {
    let strangers = managed.owners.iter().map(String::as_str);
    let strangers: Vec<_> = strangers
        .filter(|owner| !is_one_of(owner, expected))
        .collect();
    if expected.is_empty() {
        Concern::Unknown
    } else if strangers.is_empty() {
        Concern::None
    } else {
        Concern::Alert(format!(
            "{} among the owners of {group}, who can let others in: take them out, or add them to group_owners in the tenant's file",
            unexpected(&strangers, false)
        ))
    }
}

fn joined(group: &Address, joining: Joining) -> Concern {
    let who = match joining {
        Joining::Closed => return Concern::None,
        Joining::Approval => "anybody whom an owner lets in",
        Joining::Open => "anybody",
    };
    Concern::Alert(format!(
        "{who} can join {group}, and use every right that was given to it: close it with Set-DistributionGroup -MemberJoinRestriction Closed"
    ))
}

fn is_one_of(name: &str, expected: &[&str]) -> bool {
    expected
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn unexpected(names: &[&str], more: bool) -> String {
    let listed = names.iter().take(LISTED).copied().collect::<Vec<_>>();
    let others = names.len() - listed.len();
    let verb = if names.len() == 1 { "isn't" } else { "aren't" };
    let listed = listed.join(", ");
    match (others, more) {
        (0, false) => format!("{listed} {verb} expected"),
        (some, false) => format!("{listed} and {some} more aren't expected"),
        (_, true) if names.is_empty() => "more than can be listed are".to_owned(),
        (_, true) => format!("{listed} and many more aren't expected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(members: &[(&str, &[&str])], managed: Option<(&[&str], Joining)>) -> GroupSeen {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        GroupSeen {
            members: members
                .iter()
                .map(|(name, aliases)| GroupMember {
                    name: (*name).to_owned(),
                    aliases: texts(aliases),
                })
                .collect(),
            more: false,
            managed: managed.map(|(owners, joining)| Managed {
                owners: texts(owners),
                joining,
            }),
        }
    }

    #[test]
    fn only_what_differs_from_what_is_expected_is_said() {
        let group: Address = "delegates@uni.example".parse().unwrap();
        let keeping = Keeping {
            group_members: vec!["sa-1@uni.example".parse().unwrap()],
            group_owners: vec!["Ann".to_owned()],
            ..Keeping::default()
        };
        let said = |seen: &GroupSeen, keeping: &Keeping| {
            concerns(&group, seen, keeping).map(|(_, concern)| match concern {
                Concern::Unknown => "unknown".to_owned(),
                Concern::None => "none".to_owned(),
                Concern::Alert(text) => text.split(' ').take(2).collect::<Vec<_>>().join(" "),
            })
        };
        let ours: (&str, &[&str]) = ("Service Account", &["SA-1@uni.example"]);
        let fine = seen(&[ours], Some((&["ann"], Joining::Closed)));
        assert_eq!(said(&fine, &keeping), ["none", "none", "none"]);
        assert_eq!(
            said(&fine, &Keeping::default()),
            ["unknown", "unknown", "none"]
        );
        let odd = seen(
            &[ours, ("bob@uni.example", &[])],
            Some((&["Ann", "Eve"], Joining::Open)),
        );
        assert_eq!(
            said(&odd, &keeping),
            ["bob@uni.example isn't", "Eve isn't", "anybody can"]
        );
        let unseen = seen(&[ours], None);
        assert_eq!(said(&unseen, &keeping), ["none", "unknown", "unknown"]);
        let many = GroupSeen { more: true, ..fine };
        assert_eq!(said(&many, &keeping)[0], "more than");
    }

    #[test]
    fn of_many_it_is_said_how_many() {
        let names: Vec<_> = (0..12).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let text = unexpected(&names, false);
        assert!(text.ends_with("9 and 2 more aren't expected"), "{text}");
        assert_eq!(unexpected(&names[..2], false), "0, 1 aren't expected");
    }
}
