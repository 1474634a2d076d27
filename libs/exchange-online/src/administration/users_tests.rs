//! Bodies and rows.

use calgrant_domain::Password;

use super::*;

const SITE: &str = "6f1c2d3e-0000-4000-8000-000000000000";
const ID: &str = "6f1c2d3e-0000-4000-8000-000000000001";

fn new_user() -> NewUser {
    NewUser {
        user_name: "svc-cal-01@uni.example".parse().unwrap(),
        display_name: "Calendar 01".into(),
        password: Password::new("hunter2"),
        usage_location: Some("DE".into()),
        organizational_unit: None,
        mark: "calgrant-1".into(),
    }
}

fn row(value: Value) -> UserRow {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_user_is_made_enabled_with_a_password_that_lasts_and_a_mark() {
    assert_eq!(
        creation(&new_user()),
        json!({
            "accountEnabled": true,
            "displayName": "Calendar 01",
            "mailNickname": "svc-cal-01",
            "userPrincipalName": "svc-cal-01@uni.example",
            "employeeId": "calgrant-1",
            "usageLocation": "DE",
            "passwordPolicies": "DisablePasswordExpiration",
            "passwordProfile": {"password": "hunter2", "forceChangePasswordNextSignIn": false},
        })
    );
    let nowhere = NewUser {
        usage_location: None,
        ..new_user()
    };
    assert!(creation(&nowhere).get("usageLocation").is_none());
}

#[test]
fn a_change_says_what_changes_and_nothing_else() {
    let none = UserChange::default();
    assert_eq!(change(&none), None);
    for (wanted, body) in [
        (
            UserChange {
                enabled: Some(false),
                ..none.clone()
            },
            json!({"accountEnabled": false}),
        ),
        (
            UserChange {
                usage_location: Some("NL".into()),
                password_never_expires: Some(true),
                ..none.clone()
            },
            json!({"usageLocation": "NL", "passwordPolicies": "DisablePasswordExpiration"}),
        ),
        (
            UserChange {
                password_never_expires: Some(false),
                password: Some(Password::new("hunter3")),
                ..none
            },
            json!({"passwordPolicies": "None",
                "passwordProfile": {"password": "hunter3", "forceChangePasswordNextSignIn": false}}),
        ),
    ] {
        assert_eq!(change(&wanted), Some(body));
    }
}

#[test]
fn licences() {
    assert_eq!(
        assignment("s", &["p".into()]),
        json!({"addLicenses": [{"skuId": "s", "disabledPlans": ["p"]}], "removeLicenses": []})
    );
    assert_eq!(
        removal("s"),
        json!({"addLicenses": [], "removeLicenses": ["s"]})
    );
}

#[test]
fn what_was_made_is_told_though_the_answer_says_little() {
    let made = created(
        row(
            json!({"id": ID, "displayName": "Calendar 01", "userPrincipalName": "SVC-cal-01@uni.example"}),
        ),
        &new_user(),
        SITE,
    );
    assert_eq!(made.id.as_uuid().to_string(), ID);
    assert_eq!(made.user_name.as_str(), "svc-cal-01@uni.example");
    assert!(made.enabled && made.password_never_expires && !made.synchronised);
    assert_eq!(made.mark.as_deref(), Some("calgrant-1"));
    assert_eq!(made.usage_location.as_deref(), Some("DE"));
}

#[test]
fn a_user_as_it_is_shown() {
    let shown = found(
        row(json!({
            "@odata.context": "x", "id": ID, "displayName": "Calendar 01",
            "userPrincipalName": "svc-cal-01@uni.example", "accountEnabled": true, "usageLocation": "de",
            "passwordPolicies": "DisableStrongPassword, DisablePasswordExpiration",
            "onPremisesSyncEnabled": null, "employeeId": "calgrant-1",
            "assignedLicenses": [
                {"skuId": "A", "disabledPlans": ["p"]},
                {"skuId": "b", "disabledPlans": []},
            ],
            "licenseAssignmentStates": [
                {"skuId": "a", "assignedByGroup": null, "state": "Active"},
                {"skuId": "b", "assignedByGroup": "g", "state": "Active"},
                {"skuId": "c", "assignedByGroup": "g", "state": "Error", "error": "CountViolation"},
            ],
        })),
        SITE,
    )
    .unwrap();
    assert!(shown.enabled && shown.password_never_expires && !shown.synchronised);
    assert_eq!(shown.usage_location.as_deref(), Some("DE"));
    let licence = |sku: &str, off: &[&str], through: &[&str]| LicenceFound {
        sku_id: sku.into(),
        disabled_plans: off.iter().map(|plan| (*plan).to_owned()).collect(),
        through_groups: through.iter().map(|group| (*group).to_owned()).collect(),
    };
    assert_eq!(
        shown.licences,
        [licence("A", &["p"], &[]), licence("b", &[], &["g"])]
    );
    let somebody_elses = found(
        row(
            json!({"id": ID, "userPrincipalName": "ada@uni.example", "onPremisesSyncEnabled": true,
            "employeeId": ""}),
        ),
        SITE,
    )
    .unwrap();
    assert!(somebody_elses.synchronised && !somebody_elses.enabled);
    assert_eq!(somebody_elses.mark, None);
    assert!(found(row(json!({"id": ID})), SITE).is_err());
}

#[test]
fn a_product_has_the_seats_that_can_be_used() {
    let product_of = |status: &str, enabled: i64| {
        let row = json!({"skuId": "s", "skuPartNumber": "EXCHANGESTANDARD", "capabilityStatus": status,
        "consumedUnits": 3, "prepaidUnits": {"enabled": enabled, "suspended": 9, "warning": 1},
        "servicePlans": [
            {"servicePlanId": "p", "servicePlanName": "EXCHANGE_S_STANDARD", "appliesTo": "User"},
            {"servicePlanId": "q", "servicePlanName": "INTUNE_O365", "appliesTo": "Company"},
        ]});
        product(serde_json::from_value(row).unwrap())
    };
    for (status, enabled, want) in [
        ("Enabled", 25, 25),
        ("Warning", 0, 0),
        ("Suspended", 25, 0),
        ("LockedOut", 25, 0),
        ("Enabled", -1, 0),
    ] {
        let sku = product_of(status, enabled);
        assert_eq!((sku.enabled_seats, sku.used_seats), (want, 3), "{status}");
        let plans: Vec<_> = sku
            .plans
            .iter()
            .map(|plan| (plan.name.as_str(), plan.for_users))
            .collect();
        assert_eq!(
            plans,
            [("EXCHANGE_S_STANDARD", true), ("INTUNE_O365", false)]
        );
    }
}
