//! Groups, units and all.

use std::collections::BTreeSet;

use calgrant_domain::{DisabledAccounts, MailboxType, OperationFailure, Reason};
use calgrant_exchange::{Depth, Directory, ListingError, Meaning, Selection};
use calgrant_exchange_ad::Nesting;
use calgrant_testkit::Proxy;
use serde_json::json;

use crate::rig::{Part, UNIVERSAL_SECURITY, list, suitable};

const GLOBAL_SECURITY: &str = "-2147483646";

#[tokio::test]
async fn circles_and_diamonds_end_and_list_everybody_once() {
    let Some(mut part) = Part::new() else { return };
    let people: Vec<String> = (0..4)
        .map(|number| part.mailbox(&format!("p{number}"), "", "1", &[]))
        .collect();
    let bottom = part.group("bottom", UNIVERSAL_SECURITY, &people[2..]);
    let left = part.group(
        "left",
        UNIVERSAL_SECURITY,
        &[bottom.clone(), people[1].clone()],
    );
    let right = part.group(
        "right",
        UNIVERSAL_SECURITY,
        &[bottom.clone(), people[1].clone()],
    );
    let top = part.group("top", UNIVERSAL_SECURITY, &[left, right, people[0].clone()]);
    part.make();
    let members = [people[2..].to_vec(), vec![top]].concat();
    part.order(&json!({"change": {bottom: {"member": members}}}));
    for directory in part.both_ways() {
        for group in ["top", "bottom"] {
            let selection = Selection::Group(part.address(group));
            let listed = list(&directory, &selection).await.unwrap();
            assert_eq!(suitable(&listed), ["p0", "p1", "p2", "p3"], "{group}");
            assert_eq!(listed.len(), 4);
        }
    }
}

#[tokio::test]
async fn a_groups_name_may_hold_any_character() {
    let Some(mut part) = Part::new() else { return };
    let names = [
        "Grüne\\, Große (A*B)",
        "Wiskunde \\+ \\\"Logica\\\" \\#1",
        "a\\\\b\\=c; d",
        "日本語 グループ",
    ];
    let mut inner = part.mailbox("ada", "", "1", &[]);
    for (number, name) in names.iter().enumerate() {
        let name = name.replace(';', "\\;");
        let dn = part.dn(&format!("CN={name}"));
        let address = part.address(&format!("g{number}"));
        let mail = [("mail", json!(address.as_str()))];
        part.group_at(
            &dn,
            &format!("g{number}"),
            UNIVERSAL_SECURITY,
            std::slice::from_ref(&inner),
            &mail,
        );
        inner = dn;
    }
    part.make();
    for directory in part.both_ways() {
        for (number, name) in names.iter().enumerate() {
            let selection = Selection::Group(part.address(&format!("g{number}")));
            let listed = list(&directory, &selection).await.unwrap();
            assert_eq!(suitable(&listed), ["ada"], "{name}");
        }
    }
}

#[tokio::test]
async fn a_group_may_have_twenty_thousand_members() {
    let Some(mut part) = Part::new() else { return };
    let mut members = Vec::new();
    for number in 0..19_990 {
        let dn = part.dn(&format!("CN=c{number}"));
        part.object(&dn, "contact", &[]);
        members.push(dn);
    }
    for number in 0..10 {
        members.push(part.mailbox(&format!("p{number}"), "", "1", &[]));
    }
    part.group("huge", UNIVERSAL_SECURITY, &members);
    part.make();
    let selection = Selection::Group(part.address("huge"));
    // By the other way, Samba takes long for a group of this size.
    let directory = part.reach(|settings| settings.nesting = Nesting::Walk);
    let (mut seen, mut people, mut from) = (BTreeSet::new(), Vec::new(), None);
    loop {
        let page = directory.page(&selection, from.as_deref()).await.unwrap();
        assert!(page.listed.len() <= 1000, "pages grow");
        people.extend(suitable(&page.listed));
        for one in page.listed {
            assert!(one.what.is_ok() || one.what == Err(Reason::NotAMailbox));
            assert!(seen.insert(one.id), "{} is listed twice", one.name);
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), people.len()), (20_000, 10));
    // Contacts are no mailboxes of a unit.
    let unit = Selection::OrganizationalUnit {
        dn: part.dn(""),
        depth: Depth::Subtree,
    };
    let listed = list(&part.reach(|_| {}), &unit).await.unwrap();
    assert_eq!(listed.len(), 10);
}

#[tokio::test]
async fn whose_primary_group_it_is_belongs_to_it() {
    let Some(mut part) = Part::new() else { return };
    let both = part.mailbox("both", "", "1", &[]);
    let primary = part.mailbox("primary", "", "1", &[]);
    let plain = part.mailbox("plain", "", "1", &[]);
    let inner = part.group("inner", GLOBAL_SECURITY, &[both.clone(), primary.clone()]);
    part.group(
        "outer",
        UNIVERSAL_SECURITY,
        &[inner.clone(), both.clone(), plain],
    );
    part.make();
    // Making a group primary takes the link away that shows the member.
    let sid = part.order(&json!({"read": [[inner, "primaryGroupToken"]]}));
    let token = sid[0].clone().expect("a group's number in the domain");
    part.order(&json!({"change": {
        primary: {"primaryGroupID": token}, both: {"primaryGroupID": token}}}));
    for directory in part.both_ways() {
        let selection = Selection::Group(part.address("outer"));
        let listed = list(&directory, &selection).await.unwrap();
        assert_eq!(suitable(&listed), ["both", "plain", "primary"]);
        assert_eq!(listed.len(), 3);
    }
}

#[tokio::test]
async fn a_security_group_needs_no_mail_address() {
    let Some(mut part) = Part::new() else { return };
    let ada = part.mailbox("ada", "", "1", &[]);
    let dn = part.dn("CN=Staff");
    part.group_at(&dn, "staff", GLOBAL_SECURITY, &[ada], &[]);
    part.make();
    let named = |domain: &str| {
        Selection::Group(
            format!("{}@{domain}", part.account("staff"))
                .parse()
                .unwrap(),
        )
    };
    let directory = part.reach(|_| {});
    let listed = list(&directory, &named("calgrant.test")).await.unwrap();
    assert_eq!(suitable(&listed), ["ada"]);
    refused(
        list(&directory, &named("other.example")).await,
        OperationFailure::GroupNotFound,
        &["spelling"],
    );
}

#[tokio::test]
async fn two_groups_of_one_address_are_one_too_many() {
    let Some(mut part) = Part::new() else { return };
    for name in ["one", "two"] {
        let mail = part.address("same");
        let dn = part.dn(&format!("CN={name}"));
        part.group_at(
            &dn,
            name,
            UNIVERSAL_SECURITY,
            &[],
            &[("mail", json!(mail.as_str()))],
        );
    }
    part.make();
    let selection = Selection::Group(part.address("same"));
    let (one, two) = (part.dn("CN=one"), part.dn("CN=two"));
    let listed = list(&part.reach(|_| {}), &selection).await;
    refused(listed, OperationFailure::GroupNotFound, &[&one, &two]);
}

#[tokio::test]
async fn units_are_listed_whole_or_one_level_deep() {
    let Some(mut part) = Part::new() else { return };
    for unit in ["OU=Staff", "OU=Übungen\\, alle,OU=Staff", "OU=Empty"] {
        let dn = part.dn(unit);
        part.object(&dn, "organizationalUnit", &[]);
    }
    part.mailbox("boss", "OU=Staff", "1", &[]);
    part.mailbox("tutor", "OU=Übungen\\, alle,OU=Staff", "1", &[]);
    part.mailbox("other", "", "1", &[]);
    part.make();
    let directory = part.reach(|_| {});
    for (unit, depth, want) in [
        ("OU=Staff", Depth::Subtree, &["boss", "tutor"][..]),
        ("ou=STAFF", Depth::OneLevel, &["boss"]),
        ("OU=übungen\\2c alle , OU=staff", Depth::Subtree, &["tutor"]),
        ("OU=Empty", Depth::Subtree, &[]),
    ] {
        let selection = Selection::OrganizationalUnit {
            dn: part.dn(unit),
            depth,
        };
        let listed = list(&directory, &selection).await.unwrap();
        assert_eq!(suitable(&listed), want, "{unit} {depth:?}");
    }
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_said_with_what_is() {
    let Some(mut part) = Part::new() else { return };
    let staff = part.dn("OU=Staff");
    part.object(&staff, "organizationalUnit", &[]);
    part.make();
    let directory = part.reach(|settings| settings.base = None);
    for (dn, word) in [
        (part.dn("OU=Tutors,OU=Maths,OU=Staff"), staff.as_str()),
        (part.dn("OU=Studnets"), &part.dn("")),
        (
            "OU=Staff,DC=other,DC=example".to_owned(),
            "outside of DC=calgrant,DC=test",
        ),
        ("Staff".to_owned(), "not a distinguished name"),
        ("uni.example/Staff".to_owned(), "not a distinguished name"),
    ] {
        let selection = Selection::OrganizationalUnit {
            dn: dn.clone(),
            depth: Depth::Subtree,
        };
        refused(
            list(&directory, &selection).await,
            OperationFailure::OuNotFound,
            &[&dn, word],
        );
    }
}

#[tokio::test]
async fn all_mailboxes_by_type_with_and_without_disabled_accounts() {
    let Some(mut part) = Part::new() else { return };
    for (name, details, bits) in [
        ("user", "1", "544"),
        ("left", "1", "546"),
        ("linked", "2", "546"),
        ("shared", "4", "546"),
        ("room", "16", "546"),
        ("beamer", "32", "546"),
        ("cloud", "2147483648", "544"),
        ("mailuser", "128", "544"),
        ("arbitration", "8388608", "546"),
    ] {
        part.mailbox(name, "", details, &[("userAccountControl", json!(bits))]);
    }
    part.person("bare", "", &[]);
    part.make();
    use MailboxType::{Equipment, Room, Shared, User};
    for (types, disabled, want) in [
        (
            vec![User],
            DisabledAccounts::Refuse,
            &["linked", "user"][..],
        ),
        (
            vec![User],
            DisabledAccounts::Include,
            &["left", "linked", "user"],
        ),
        (
            vec![Shared, Room, Equipment],
            DisabledAccounts::Refuse,
            &["beamer", "room", "shared"],
        ),
        (vec![], DisabledAccounts::Include, &[]),
    ] {
        let directory = part.reach(|settings| {
            settings.disabled = disabled;
        });
        let listed = list(
            &directory,
            &Selection::All {
                types: types.clone(),
            },
        )
        .await
        .unwrap();
        assert_eq!(suitable(&listed), want, "{types:?} {disabled:?}");
        assert_eq!(listed.len(), want.len(), "nothing but mailboxes");
        let kinds = listed
            .iter()
            .map(|one| one.what.as_ref().unwrap().kind.unwrap());
        assert!(kinds.into_iter().all(|kind| types.contains(&kind)));
    }
}

/// More than a page, so that there is a place to go on from.
fn crowd(part: &mut Part) -> Selection {
    let people: Vec<String> = (0..1100)
        .map(|number| part.mailbox(&format!("p{number}"), "", "1", &[]))
        .collect();
    part.group("crowd", UNIVERSAL_SECURITY, &people);
    part.make();
    Selection::Group(part.address("crowd"))
}

#[tokio::test]
async fn a_place_holds_for_one_page_of_one_listing() {
    let Some(mut part) = Part::new() else { return };
    let crowd = crowd(&mut part);
    for directory in part.both_ways() {
        let first = directory.page(&crowd, None).await.unwrap();
        let place = first.next.expect("more than a page");
        let second = directory.page(&crowd, Some(&place)).await.unwrap();
        assert!(!second.listed.is_empty());
        for place in [place.as_str(), "", "nonsense", "a.1"] {
            let again = directory.page(&crowd, Some(place)).await;
            assert_eq!(again, Err(ListingError::Expired), "{place}");
        }
    }
    // Listings side by side don't mix.
    let directory = part.reach(|_| {});
    let both = futures::future::join_all((0..4).map(|_| list(&directory, &crowd))).await;
    for listed in both {
        assert_eq!(suitable(&listed.unwrap()).len(), 1100);
    }
}

#[tokio::test]
async fn a_listing_whose_connection_is_lost_starts_again() {
    let Some(mut part) = Part::new() else { return };
    let crowd = crowd(&mut part);
    let proxy = Proxy::new(
        &format!("{}:636", crate::rig::named("CALGRANT_TEST_AD_HOST")),
        false,
    )
    .await;
    let directory = part.reach(|settings| settings.url = format!("ldaps://{}", proxy.address()));
    let place = directory
        .page(&crowd, None)
        .await
        .unwrap()
        .next
        .expect("more than a page");
    proxy.set_away(true);
    let Err(ListingError::Call(error)) = directory.page(&crowd, Some(&place)).await else {
        panic!("the server is away")
    };
    assert_eq!(error.meaning, Meaning::Retry, "{error:?}");
    let error = directory.sign_in().await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Retry, "{error:?}");
    proxy.set_away(false);
    assert_eq!(
        directory.page(&crowd, Some(&place)).await,
        Err(ListingError::Expired)
    );
    assert_eq!(
        suitable(&list(&directory, &crowd).await.unwrap()).len(),
        1100
    );
    // An idle connection that was cut is noticed, and costs no failure.
    proxy.set_away(true);
    proxy.set_away(false);
    calgrant_testkit::eventually("a new connection", async || {
        directory.sign_in().await.is_ok()
    })
    .await;
}

fn refused<T: std::fmt::Debug>(
    answer: Result<T, ListingError>,
    want: OperationFailure,
    words: &[&str],
) {
    match answer {
        Err(ListingError::Refused { failure, why }) => {
            assert_eq!(failure, want);
            for word in words {
                assert!(why.contains(word), "{why:?} doesn't say {word:?}");
            }
        }
        other => panic!("{other:?}"),
    }
}
