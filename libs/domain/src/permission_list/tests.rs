use proptest::prelude::*;

use super::*;
use crate::{AccessRole, Address, Observed, Rights};

fn trustee() -> Address {
    "group@uni.example".parse().unwrap()
}

fn arb_flags() -> impl Strategy<Value = Flags> {
    let extent = || proptest::sample::select(Extent::ALL);
    (
        any::<[bool; 5]>(),
        extent(),
        extent(),
        proptest::sample::select(ReadExtent::ALL),
    )
        .prop_map(
            |([create_items, create_subfolders, owner, visible, contact], edit, delete, read)| {
                Flags {
                    create_items,
                    create_subfolders,
                    owner,
                    visible,
                    contact,
                    edit,
                    delete,
                    read,
                }
            },
        )
}

/// Named levels are as likely as other flags.
fn arb_rights() -> impl Strategy<Value = Flags> {
    let named: Vec<Flags> = Level::all().filter_map(Level::flags).collect();
    prop_oneof![proptest::sample::select(named), arb_flags()]
}

/// Few, so that twins occur; the trustee among them.
fn arb_identity() -> impl Strategy<Value = Identity> {
    let address = |n: u8| match n {
        0 => "Group@Uni.example".to_owned(),
        n => format!("P{n}@uni.example"),
    };
    let sid = |n: u8| format!("S-1-5-21-1-2-3-{n}").parse::<Sid>().unwrap();
    let principal = (0u8..6, any::<(bool, bool)>()).prop_map(move |(n, (by_sid, by_address))| {
        Identity::Principal {
            sid: by_sid.then(|| sid(n)),
            address: by_address.then(|| address(n)),
            name: "the same".into(),
        }
    });
    let external = (0u8..3, any::<bool>()).prop_map(move |(n, by_address)| Identity::External {
        identity: format!("ext-{n}"),
        address: by_address.then(|| format!("x{n}@elsewhere.example")),
        name: String::new(),
    });
    prop_oneof![
        1 => Just(Identity::Default),
        1 => Just(Identity::Anonymous),
        6 => principal,
        2 => external,
        1 => Just(Identity::Unnamed),
    ]
}

fn arb_list() -> impl Strategy<Value = PermissionList> {
    let entry =
        (arb_identity(), arb_rights()).prop_map(|(identity, flags)| Entry { identity, flags });
    let unknown = proptest::collection::vec(Just("NT:S-1-5-21-9".to_owned()), 0..2);
    (
        proptest::collection::vec(entry, 0..6),
        prop_oneof![3 => Just(Vec::new()), 1 => unknown],
    )
        .prop_map(|(entries, unknown)| PermissionList { entries, unknown })
}

/// What a server makes of a list that is written: flags of a name, principals looked up as the list before named them.
fn stored(before: &PermissionList, rebuilt: &Rebuilt) -> PermissionList {
    let entries = rebuilt.entries.iter().map(|entry| {
        let known = before
            .entries
            .iter()
            .map(|one| &one.identity)
            .filter(|known| match (&entry.identity, known) {
                (WrittenIdentity::Sid(sid), Identity::Principal { sid: Some(own), .. }) => {
                    own == sid
                }
                (
                    WrittenIdentity::Address(address),
                    Identity::Principal {
                        address: Some(own), ..
                    },
                ) => own.eq_ignore_ascii_case(address),
                (
                    WrittenIdentity::External { identity, .. },
                    Identity::External { identity: own, .. },
                ) => own == identity,
                (WrittenIdentity::Default, Identity::Default)
                | (WrittenIdentity::Anonymous, Identity::Anonymous) => true,
                _ => false,
            })
            .max_by_key(
                |known| matches!(known, Identity::Principal { address, .. } if address.is_some()),
            );
        let identity = known.cloned().unwrap_or_else(|| Identity::Principal {
            sid: None,
            address: Some(trustee().to_string()),
            name: String::new(),
        });
        let flags = match entry.rights {
            Written::Level(level) => level.flags().expect("a named level"),
            Written::Flags(flags) => flags,
        };
        Entry { identity, flags }
    });
    PermissionList {
        entries: entries.collect(),
        unknown: Vec::new(),
    }
}

proptest! {
    #[test]
    fn every_other_entry_is_as_before(list in arb_list(), wanted in arb_rights(), give in any::<bool>()) {
        let rights = wanted.rights();
        let change = if give { Change::Give(rights) } else { Change::Take };
        match list.changed(&trustee(), change) {
            Ok(rebuilt) => {
                let after = stored(&list, &rebuilt);
                prop_assert_eq!(list.lost_in(&after, &trustee()), Vec::<&Identity>::new());
                prop_assert_eq!(after.lost_in(&list, &trustee()), Vec::<&Identity>::new());
                let named = after.entries.len() - usize::from(give);
                prop_assert_eq!(rebuilt.entries.len(), after.entries.len());
                prop_assert!(named + rebuilt.merged.len() <= list.entries.len());
                match after.observed(&trustee()) {
                    Observed::Present(held) => prop_assert!(give && held.same_as(rights)),
                    Observed::Absent => prop_assert!(!give),
                }
                prop_assert!(after.holds(&trustee(), change));
                for (at, one) in rebuilt.entries.iter().enumerate() {
                    prop_assert!(!rebuilt.entries[..at].iter().any(|other| other.identity == one.identity), "twice the same");
                }
            }
            // Only for a cause, and every cause is named.
            Err(refused) => {
                prop_assert!(!refused.entries.is_empty());
                let text = refused.to_string();
                prop_assert!(text.contains(&refused.entries[0].who));
                let unnamed = |one: &Entry| !one.identity.is(&trustee()) && one.identity.written().is_none();
                let differ = |one: &Entry| list.entries.iter().any(|other| other != one && matches!((&other.identity, &one.identity), (Identity::Principal { .. }, Identity::Principal { .. })) || other.identity.same_as(&one.identity) && other.flags != one.flags);
                let cause = !list.unknown.is_empty() || list.entries.iter().any(|one| unnamed(one) || differ(one));
                prop_assert!(cause, "{}", text);
            }
        }
    }

    #[test]
    fn flags_are_rights_and_back(flags in arb_flags()) {
        prop_assert_eq!(Flags::of(flags.rights()), flags);
    }

    #[test]
    fn a_written_form_says_exactly_the_flags(flags in arb_rights()) {
        let said = match Written::of(flags) {
            Written::Level(level) => level.flags().expect("a named level"),
            Written::Flags(flags) => flags,
        };
        prop_assert_eq!(said, flags);
    }
}

#[test]
fn levels_are_the_roles_cmdlets_name() {
    for (level, role) in [
        ("NoneditingAuthor", "NonEditingAuthor"),
        ("FreeBusyTimeOnly", "AvailabilityOnly"),
        ("FreeBusyTimeAndSubjectAndLocation", "LimitedDetails"),
        ("None", "None"),
        ("Owner", "Owner"),
        ("PublishingEditor", "PublishingEditor"),
        ("Editor", "Editor"),
        ("PublishingAuthor", "PublishingAuthor"),
        ("Author", "Author"),
        ("Reviewer", "Reviewer"),
        ("Contributor", "Contributor"),
    ] {
        let known = Level::from_name(level).unwrap();
        assert_eq!(known.name(), level);
        let flags = known.flags().unwrap();
        assert_eq!(flags.level(), known);
        assert_eq!(flags.rights(), role.parse::<Rights>().unwrap(), "{level}");
    }
    assert_eq!(Level::from_name("Writer"), None);
}

#[test]
fn variants_keep_their_name_and_are_written_in_full() {
    let none = Level::None.flags().unwrap();
    let owner = Level::Owner.flags().unwrap();
    for (flags, level) in [
        (
            Flags {
                visible: true,
                ..none
            },
            Level::None,
        ),
        (
            Flags {
                visible: true,
                contact: true,
                ..none
            },
            Level::None,
        ),
        (
            Flags {
                contact: false,
                ..owner
            },
            Level::Owner,
        ),
    ] {
        assert_eq!(flags.level(), level);
        assert_eq!(Written::of(flags), Written::Flags(flags));
    }
}

#[test]
fn what_cannot_be_rebuilt_is_named() {
    let entry = |identity| Entry {
        identity,
        flags: Level::None.flags().unwrap(),
    };
    let list = PermissionList {
        entries: vec![
            entry(Identity::Default),
            entry(Identity::Unnamed),
            entry(Identity::External {
                identity: "Member@local".into(),
                address: None,
                name: String::new(),
            }),
        ],
        unknown: vec!["NT:S-1-5-21-9".into()],
    };
    let give = Change::Give(AccessRole::AUTHOR.rights());
    let text = list.changed(&trustee(), give).unwrap_err().to_string();
    for named in ["NT:S-1-5-21-9", "without a name", "Member@local"] {
        assert!(text.contains(named), "{text}");
    }
    assert!(!text.contains("Default"), "{text}");
}

#[test]
fn the_trustee_is_written_by_the_one_sid_it_has() {
    let entry = |sid: &str| Entry {
        identity: Identity::Principal {
            sid: sid.parse().ok(),
            address: Some("GROUP@uni.example".into()),
            name: String::new(),
        },
        flags: Level::Reviewer.flags().unwrap(),
    };
    for (sids, want) in [
        (vec![], WrittenIdentity::Address("group@uni.example".into())),
        (
            vec!["S-1-5-21-7"],
            WrittenIdentity::Sid("S-1-5-21-7".parse().unwrap()),
        ),
        (
            vec!["S-1-5-21-7", ""],
            WrittenIdentity::Sid("S-1-5-21-7".parse().unwrap()),
        ),
        (
            vec!["S-1-5-21-7", "S-1-5-21-8"],
            // Which of them is the present one only the server knows.
            WrittenIdentity::Address("GROUP@uni.example".into()),
        ),
    ] {
        let list = PermissionList {
            entries: sids.iter().map(|sid| entry(sid)).collect(),
            unknown: Vec::new(),
        };
        let give = Change::Give(AccessRole::AUTHOR.rights());
        let rebuilt = list.changed(&trustee(), give).unwrap();
        let [only] = rebuilt.entries.as_slice() else {
            panic!("{rebuilt:?}");
        };
        assert_eq!(only.identity, want);
        assert_eq!(only.rights, Written::Level(Level::Author));
    }
}

#[test]
fn sids() {
    for (raw, good) in [
        ("S-1-5-21-3623811015-3361044348-30300820-1013", true),
        ("S-1-1-0", true),
        ("S-1-5", false),
        ("NT:S-1-5-21-9", false),
        ("S-1-5-", false),
        ("S-1-5-x", false),
        ("", false),
    ] {
        assert_eq!(raw.parse::<Sid>().is_ok(), good, "{raw}");
    }
}
