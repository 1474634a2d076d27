//! Checks of the directory's port.

use std::collections::{BTreeSet, HashMap};

use calgrant_domain::{Address, Listed, MailboxId, OperationFailure, Reason};

use super::{State, World, good};
use crate::{ListingError, PrincipalKind, Selection};

/// All of them.
pub async fn all(world: &dyn World) {
    every_selection_lists_what_it_must(world).await;
    a_mailbox_has_one_key_by_whatever_way_it_is_found(world).await;
    what_is_not_there_is_refused_with_a_reason(world).await;
    names_are_looked_up(world).await;
    trustees_are_judged(world).await;
    a_group_shows_who_is_in_it(world).await;
    who_is_in_a_group_is_told_one_by_one(world).await;
}

/// Every mailbox once, nothing else as a mailbox, and what doesn't suit is said.
pub async fn every_selection_lists_what_it_must(world: &dyn World) {
    for expected in world.selections() {
        let listed = list(world, &expected.selection).await;
        let what = &expected.selection;
        let mut ids = HashMap::new();
        for one in &listed {
            let before = ids.insert(one.id, one.name.clone());
            assert_eq!(before, None, "{what:?} lists {} twice", one.name);
        }
        let suitable: BTreeSet<Address> = listed
            .iter()
            .filter_map(|one| Some(one.what.as_ref().ok()?.address.clone()))
            .collect();
        let wanted: BTreeSet<Address> = expected.suitable.iter().cloned().collect();
        assert_eq!(suitable, wanted, "{what:?}");
        for reason in &expected.unsuitable {
            assert!(
                listed.iter().any(|one| one.what == Err(*reason)),
                "{what:?} reports nobody as {reason}: {listed:?}"
            );
        }
        for one in &listed {
            if let Ok(mailbox) = &one.what {
                assert_eq!(mailbox.id, one.id);
                assert!(!mailbox.aliases.contains(&mailbox.address), "{mailbox:?}");
            }
        }
    }
}

/// Listings of every kind and a look-up by each of its names give the same key, and the same names.
pub async fn a_mailbox_has_one_key_by_whatever_way_it_is_found(world: &dyn World) {
    let names = world.names();
    let mut keys: Vec<(String, MailboxId)> = Vec::new();
    for expected in world.selections() {
        let listed = list(world, &expected.selection).await;
        let found = listed.iter().find(|one| {
            one.what
                .as_ref()
                .is_ok_and(|it| it.address == names.address)
        });
        let Some(found) = found else {
            panic!("{:?} doesn't list {}", expected.selection, names.address);
        };
        keys.push((format!("{:?}", expected.selection), found.id));
        let aliases: BTreeSet<_> = good(found.what.clone()).aliases.into_iter().collect();
        let wanted: BTreeSet<_> = names.aliases.iter().cloned().collect();
        assert_eq!(aliases, wanted, "{:?}", expected.selection);
    }
    let all = [vec![names.address.clone()], names.aliases.clone()].concat();
    for found in look_up(world, &all).await {
        let address = good(found.1.what.clone()).address;
        assert_eq!(address, names.address, "{}", found.0);
        keys.push((found.0.to_string(), found.1.id));
    }
    for (how, key) in &keys {
        assert_eq!(*key, keys[0].1, "by {how}");
    }
}

/// Everybody whom a group's listing selects is a member of it, by the address they are worked with; a group that isn't there is refused.
pub async fn a_group_shows_who_is_in_it(world: &dyn World) {
    for expected in world.selections() {
        let Selection::Group(group) = &expected.selection else {
            continue;
        };
        let seen = good(world.directory().group(group).await);
        for address in &expected.suitable {
            let is_it = |name: &String| name.eq_ignore_ascii_case(address.as_str());
            let found = seen
                .members
                .iter()
                .any(|member| is_it(&member.name) || member.aliases.iter().any(is_it));
            assert!(found || seen.more, "{address} isn't seen in {group}");
        }
    }
    let unknown = world.unknown();
    match world.directory().group(&unknown).await {
        Err(ListingError::Refused { failure, why }) => {
            assert_eq!(failure, OperationFailure::GroupNotFound);
            assert!(why.contains(unknown.as_str()), "{why}");
        }
        other => panic!("{unknown} is no group: {other:?}"),
    }
}

/// Of all mailboxes that any selection lists, exactly those are members of a group that its own listing has, where that can be asked;
/// a group that isn't there is refused.
pub async fn who_is_in_a_group_is_told_one_by_one(world: &dyn World) {
    let mut all = BTreeSet::new();
    for expected in world.selections() {
        all.extend(mailboxes(list(world, &expected.selection).await));
    }
    let all: Vec<_> = all.into_iter().collect();
    for expected in world.selections() {
        let Selection::Group(group) = &expected.selection else {
            continue;
        };
        let wanted: BTreeSet<_> = mailboxes(list(world, &expected.selection).await).collect();
        good(world.directory().sign_in().await);
        let told = good(world.directory().members_among(group, &all).await);
        if let Some(told) = told {
            assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), wanted, "{group}");
        }
    }
    let unknown = world.unknown();
    match world.directory().members_among(&unknown, &all).await {
        Err(ListingError::Refused { failure, .. }) => {
            assert_eq!(failure, OperationFailure::GroupNotFound);
        }
        other => panic!("{unknown} is no group: {other:?}"),
    }
}

fn mailboxes(listed: Vec<Listed>) -> impl Iterator<Item = MailboxId> {
    let all = listed.into_iter().filter(|one| one.what.is_ok());
    all.map(|one| one.id)
}

/// A typed failure and a text that names what was asked for.
pub async fn what_is_not_there_is_refused_with_a_reason(world: &dyn World) {
    for selection in world.missing_selections() {
        good(world.directory().sign_in().await);
        let (want, value) = match &selection {
            Selection::Group(group) => (OperationFailure::GroupNotFound, group.to_string()),
            Selection::OrganizationalUnit { dn, .. } => (OperationFailure::OuNotFound, dn.clone()),
            Selection::AdministrativeUnit(unit) => {
                (OperationFailure::AdministrativeUnitNotFound, unit.clone())
            }
            Selection::All { .. } => continue,
        };
        let mut from = None;
        let refused = loop {
            match world.directory().page(&selection, from.as_deref()).await {
                Ok(page) => match page.next {
                    Some(next) => from = Some(next),
                    None => panic!("{selection:?} was listed"),
                },
                Err(error) => break error,
            }
        };
        match refused {
            ListingError::Refused { failure, why } => {
                assert_eq!(failure, want);
                assert!(why.contains(&value), "{why}");
            }
            other => panic!("{selection:?}: {other:?}"),
        }
    }
}

/// A mailbox, nobody, a group: each name is answered, in any order, and says what it is.
pub async fn names_are_looked_up(world: &dyn World) {
    let free = world.mailbox(State::Free);
    let names = [
        free.clone(),
        world.unknown(),
        world.trustee(),
        world.mailbox(State::Unlicensed),
    ];
    let found: HashMap<Address, Listed> = look_up(world, &names).await.into_iter().collect();
    assert!(found[&free].what.is_ok());
    assert_eq!(found[&world.unknown()].what, Err(Reason::NotFound));
    assert_eq!(found[&world.trustee()].what, Err(Reason::NotAMailbox));
    // A user without a licence is refused at once, or is known to have none when its mailbox isn't there.
    match &found[&world.mailbox(State::Unlicensed)].what {
        Ok(mailbox) => assert_eq!(mailbox.licensed, Some(false)),
        // Where there are no licences, it just has none.
        Err(reason) => assert!(
            matches!(reason, Reason::Unlicensed | Reason::NotAMailbox),
            "{reason}"
        ),
    }
    let none = look_up(world, &[]).await;
    assert!(none.is_empty());
}

/// Who can hold rights, and who can't.
pub async fn trustees_are_judged(world: &dyn World) {
    let directory = world.directory();
    let found = good(directory.trustee(&world.trustee()).await);
    assert_eq!(found.kind, PrincipalKind::SecurityGroup);
    assert_eq!(found.address, world.trustee());
    let found = good(directory.trustee(&world.names().address).await);
    assert_eq!(found.kind, PrincipalKind::Mailbox);
    for (trustee, want) in [
        (world.unknown(), OperationFailure::TrusteeNotFound),
        (
            world.powerless(),
            OperationFailure::TrusteeNotSecurityPrincipal,
        ),
    ] {
        match directory.trustee(&trustee).await {
            Err(ListingError::Refused { failure, why }) => {
                assert_eq!(failure, want);
                assert!(why.contains(trustee.as_str()), "{why}");
            }
            other => panic!("{trustee}: {other:?}"),
        }
    }
}

/// A whole selection.
pub async fn list(world: &dyn World, selection: &Selection) -> Vec<Listed> {
    good(world.directory().sign_in().await);
    let (mut listed, mut from) = (Vec::new(), None);
    loop {
        let page = good(world.directory().page(selection, from.as_deref()).await);
        listed.extend(page.listed);
        from = page.next;
        if from.is_none() {
            return listed;
        }
    }
}

async fn look_up(world: &dyn World, names: &[Address]) -> Vec<(Address, Listed)> {
    let mut found = Vec::new();
    for part in names.chunks(world.directory().lookup_size().max(1)) {
        let answer = good(world.directory().look_up(part).await);
        assert_eq!(answer.rest, None);
        assert_eq!(answer.resolved.len(), part.len(), "one answer a name");
        found.extend(
            answer
                .resolved
                .into_iter()
                .map(|one| (one.asked, one.listed)),
        );
    }
    found
}
