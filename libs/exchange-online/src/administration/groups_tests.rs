//! Parameters and rows.

use super::*;

const SITE: &str = "6f1c2d3e-0000-4000-8000-000000000000";
const ID: &str = "6f1c2d3e-0000-4000-8000-000000000001";
const OTHER: &str = "6f1c2d3e-0000-4000-8000-000000000002";

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn new_group(owners: &[&str]) -> NewGroup {
    NewGroup {
        address: address("cal@uni.example"),
        name: "Calendar access".into(),
        owners: owners.iter().map(|owner| address(owner)).collect(),
        organizational_unit: None,
    }
}

#[test]
fn a_group_is_made_closed_and_its_owners_are_no_members() {
    let wanted = creation(&new_group(&["admin@uni.example"]));
    assert_eq!(
        wanted,
        json!({
            "Name": "Calendar access", "DisplayName": "Calendar access", "Alias": "cal",
            "PrimarySmtpAddress": "cal@uni.example", "Type": "Security",
            "MemberJoinRestriction": "Closed", "MemberDepartRestriction": "Closed",
            "RequireSenderAuthenticationEnabled": true, "ManagedBy": ["admin@uni.example"],
        })
    );
    // Nobody named: whoever makes it. An empty list would be refused.
    assert!(creation(&new_group(&[])).get("ManagedBy").is_none());
}

#[test]
fn a_change_says_what_changes_and_nothing_else() {
    let group = address("cal@uni.example");
    let none = GroupChange::default();
    assert_eq!(change(&group, &none), None);
    let hidden = GroupChange {
        hidden: Some(true),
        ..none.clone()
    };
    assert_eq!(
        change(&group, &hidden),
        Some(
            json!({"Identity": "cal@uni.example", "BypassSecurityGroupManagerCheck": true,
                "HiddenFromAddressListsEnabled": true})
        )
    );
    let rest = GroupChange {
        join_closed: Some(false),
        depart_closed: Some(true),
        owners: Some(vec![address("a@uni.example")]),
        ..none
    };
    let parameters = change(&group, &rest).unwrap();
    assert_eq!(parameters["MemberJoinRestriction"], "ApprovalRequired");
    assert_eq!(parameters["MemberDepartRestriction"], "Closed");
    assert_eq!(parameters["ManagedBy"], json!(["a@uni.example"]));
}

#[test]
fn members_are_named_and_nobody_is_asked_whether_to_be_sure() {
    let (group, member) = (address("cal@uni.example"), address("svc@uni.example"));
    assert_eq!(
        adding(&group, &member),
        json!({"Identity": "cal@uni.example", "Member": "svc@uni.example",
            "BypassSecurityGroupManagerCheck": true})
    );
    assert_eq!(taking_out(&group, &member)["Confirm"], false);
}

fn row(value: Value) -> GroupRow {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_group_as_exchange_shows_it() {
    let asked = address("old.name@uni.example");
    let shown = found(
        &row(json!({
            "Name": "Calendar access", "DisplayName": "PRE Calendar access", "Guid": OTHER,
            "Guid@odata.type": "#Guid", "ExternalDirectoryObjectId": ID,
            "PrimarySmtpAddress": "cal@uni.example", "RecipientTypeDetails": "MailUniversalSecurityGroup",
            "ManagedBy": ["Admin", "Ada"], "MemberJoinRestriction": "Closed",
            "MemberDepartRestriction": "Open", "HiddenFromAddressListsEnabled": true, "IsDirSynced": false,
        })),
        &asked,
        SITE,
    );
    assert_eq!(
        shown,
        GroupFound {
            id: MailboxId::from_uuid(ID.parse().unwrap()),
            address: address("cal@uni.example"),
            name: "Calendar access".into(),
            kind: GroupKind::MailEnabledSecurity,
            join_closed: true,
            depart_closed: false,
            hidden: true,
            synchronised: false,
            owners: vec!["Admin".into(), "Ada".into()],
        }
    );
    // Just made: the directory hasn't given it an id yet.
    let new = found(
        &row(
            json!({"Guid": OTHER, "ExternalDirectoryObjectId": "", "ManagedBy": "Admin",
            "DisplayName": "X", "Name": ""}),
        ),
        &asked,
        SITE,
    );
    assert_eq!(new.id.as_uuid().to_string(), OTHER);
    assert_eq!((new.address, new.name.as_str()), (asked, "X"));
    assert_eq!(new.owners, ["Admin"]);
}

#[test]
fn kinds() {
    for (details, group_type, want) in [
        (
            "MailUniversalSecurityGroup",
            "",
            GroupKind::MailEnabledSecurity,
        ),
        (
            "MailUniversalDistributionGroup",
            "Universal",
            GroupKind::Distribution,
        ),
        ("RoomList", "", GroupKind::Distribution),
        // It holds no rights on folders, whatever else it may.
        (
            "MailNonUniversalGroup",
            "SecurityEnabled",
            GroupKind::Distribution,
        ),
        ("DynamicDistributionGroup", "", GroupKind::Dynamic),
        ("GroupMailbox", "", GroupKind::Microsoft365),
        (
            "",
            "Universal, SecurityEnabled",
            GroupKind::MailEnabledSecurity,
        ),
        ("", "Universal", GroupKind::Distribution),
    ] {
        let row = row(json!({"RecipientTypeDetails": details, "GroupType": group_type}));
        assert_eq!(kind(&row), want, "{details} {group_type}");
    }
    let asked = address("x@uni.example");
    for (value, want) in [
        (
            json!({"groupTypes": ["Unified"], "mailEnabled": true, "securityEnabled": false}),
            Some(GroupKind::Microsoft365),
        ),
        (
            json!({"groupTypes": ["Unified", "DynamicMembership"], "mailEnabled": true}),
            Some(GroupKind::Dynamic),
        ),
        (
            json!({"groupTypes": [], "mailEnabled": false, "securityEnabled": true}),
            Some(GroupKind::Security),
        ),
        (
            json!({"groupTypes": [], "mailEnabled": true, "securityEnabled": false}),
            Some(GroupKind::Distribution),
        ),
        (
            json!({"groupTypes": [], "mailEnabled": true, "securityEnabled": true}),
            None,
        ),
    ] {
        let row = serde_json::from_value(value.clone()).unwrap();
        let found = of_directory(row, &asked, SITE);
        assert_eq!(found.map(|group| group.kind), want, "{value}");
    }
}

#[test]
fn members_have_ids_and_most_have_addresses() {
    let member_of = |value: Value| member(&serde_json::from_value(value).unwrap(), SITE);
    let user = member_of(
        json!({"ExternalDirectoryObjectId": ID, "PrimarySmtpAddress": "svc@uni.example", "Name": "svc"}),
    );
    assert_eq!(user.id.as_uuid().to_string(), ID);
    assert_eq!(user.address, Some(address("svc@uni.example")));
    let contact = member_of(json!({"Name": "Pat", "PrimarySmtpAddress": ""}));
    assert_eq!(contact.id, MailboxId::of_unknown(SITE, "Pat"));
    assert_eq!(contact.address, None);
}
