//! Single names, ids and trustees.

use calgrant_domain::{Address, MailboxId, OperationFailure, Reason};
use calgrant_exchange::{Directory, ListingError, PrincipalKind};
use serde_json::json;
use uuid::Uuid;

use crate::rig::{Part, UNIVERSAL_SECURITY, guid};

#[tokio::test]
async fn every_name_of_a_mailbox_finds_it() {
    let Some(mut part) = Part::new() else { return };
    let mailbox = Uuid::new_v4();
    let proxies = [
        format!("SMTP:Ada.Lovelace@{}", domain(&part)),
        format!("smtp:AL@{}", domain(&part)),
    ];
    let dn = part.mailbox(
        "ada",
        "",
        "1",
        &[
            ("msExchMailboxGuid", guid(mailbox)),
            ("proxyAddresses", json!(proxies)),
            ("mail", json!(part.address("ada.lovelace").as_str())),
        ],
    );
    part.make();
    let directory = part.reach(|_| {});
    let upn: Address = format!("ada@upn.{}", domain(&part)).parse().unwrap();
    let names = [part.address("ada.lovelace"), part.address("al"), upn];
    let found = directory.look_up(&names).await.unwrap();
    assert_eq!(found.rest, None);
    assert_eq!(found.resolved.len(), 3);
    for one in found.resolved {
        let found = one.listed.what.unwrap();
        assert_eq!(found.id, MailboxId::from_uuid(mailbox), "{}", one.asked);
        assert_eq!(found.address, names[0]);
        assert_eq!(found.aliases, names[1..]);
    }
    // By the mailbox's id, and by the object's.
    let object = part.order(&json!({"read": [[dn, "objectGUID"]]}));
    let object: Uuid = object[0].as_ref().unwrap().parse().unwrap();
    let by_object = directory.by_id(MailboxId::from_uuid(object)).await.unwrap();
    assert_eq!(by_object.id, MailboxId::from_uuid(mailbox));
    let by_mailbox = directory
        .by_id(MailboxId::from_uuid(mailbox))
        .await
        .unwrap();
    assert_eq!(by_mailbox.what.unwrap().address, names[0]);
    let nobody = directory
        .by_id(MailboxId::from_uuid(Uuid::new_v4()))
        .await
        .unwrap();
    assert_eq!(nobody.what, Err(Reason::NotFound));
}

#[tokio::test]
async fn names_that_mislead() {
    let Some(mut part) = Part::new() else { return };
    // The same `mail` as somebody's real address is no second mailbox; the same address is.
    part.mailbox("ada", "", "1", &[]);
    part.person(
        "admin",
        "",
        &[("mail", json!(part.address("ada").as_str()))],
    );
    let twin = json!([format!("smtp:{}", part.address("bob"))]);
    part.mailbox("bob", "", "1", &[]);
    part.mailbox("bob2", "", "1", &[("proxyAddresses", twin)]);
    part.group("team", UNIVERSAL_SECURITY, &[]);
    part.mailbox("cloud", "", "2147483648", &[]);
    part.make();
    let directory = part.reach(|_| {});
    let names = ["ada", "bob", "team", "cloud", "nobody", "o'x*"];
    let asked: Vec<Address> = names.iter().map(|name| part.address(name)).collect();
    let found = directory.look_up(&asked).await.unwrap().resolved;
    let what: Vec<_> = found
        .iter()
        .map(|one| one.listed.what.as_ref().err().copied())
        .collect();
    assert_eq!(
        what,
        [
            None,
            Some(Reason::Ambiguous),
            Some(Reason::NotAMailbox),
            Some(Reason::OtherSite),
            Some(Reason::NotFound),
            Some(Reason::NotFound),
        ]
    );
    // No more than it takes at once, and none at all.
    let many: Vec<Address> = (0..200)
        .map(|number| part.address(&format!("x{number}")))
        .collect();
    let found = directory.look_up(&many).await.unwrap();
    assert_eq!(found.resolved.len(), directory.lookup_size());
    assert!(directory.look_up(&[]).await.unwrap().resolved.is_empty());
}

#[tokio::test]
async fn who_can_hold_rights() {
    let Some(mut part) = Part::new() else { return };
    part.group("security", UNIVERSAL_SECURITY, &[]);
    part.group("distribution", "8", &[]);
    part.group("global", "-2147483646", &[]);
    part.group("local", "-2147483644", &[]);
    let bare = part.dn("CN=bare");
    part.group_at(
        &bare,
        "bare",
        UNIVERSAL_SECURITY,
        &[],
        &[("mail", json!(part.address("bare").as_str()))],
    );
    part.mailbox("single", "", "1", &[]);
    part.mailbox("disabled", "", "1", &[("userAccountControl", json!("546"))]);
    part.mailbox("cloud", "", "2147483648", &[]);
    part.person(
        "nomail",
        "",
        &[("mail", json!(part.address("nomail").as_str()))],
    );
    part.make();
    let directory = part.reach(|_| {});
    use OperationFailure::{TrusteeNotFound, TrusteeNotSecurityPrincipal as Unsuitable};
    for (name, want, word) in [
        ("security", Ok(PrincipalKind::SecurityGroup), ""),
        ("single", Ok(PrincipalKind::Mailbox), ""),
        ("distribution", Err(Unsuitable), "distribution group"),
        ("global", Err(Unsuitable), "not universal"),
        ("local", Err(Unsuitable), "not universal"),
        ("bare", Err(Unsuitable), "not mail-enabled"),
        ("disabled", Err(Unsuitable), "disabled"),
        ("cloud", Err(Unsuitable), "Exchange Online"),
        ("nomail", Err(Unsuitable), "neither"),
        ("nobody", Err(TrusteeNotFound), "spelling"),
    ] {
        let address = part.address(name);
        match directory.trustee(&address).await {
            Ok(found) => {
                assert_eq!(Ok(found.kind), want, "{name}");
                assert_eq!(found.address, address);
            }
            Err(ListingError::Refused { failure, why }) => {
                assert_eq!(Err(failure), want, "{name}: {why}");
                assert!(
                    why.contains(word) && why.contains(address.as_str()),
                    "{why}"
                );
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

fn domain(part: &Part) -> String {
    let address = part.address("x");
    address
        .as_str()
        .rsplit_once('@')
        .expect("an address")
        .1
        .to_owned()
}
