//! Applications that work in mailboxes by roles of Exchange's own: what they have, where, and what the directory consented to.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::Scenario;
use serde_json::{Value, json};

use rig::{EXCHANGE, GRAPH, Rig};

const ADMIN: &str = "cccccccc-0000-0000-0000-000000000000";
const PRODUCT: &str = "cccccccc-0000-0000-0000-000000000001";
const TEST: &str = "Test-ServicePrincipalAuthorization";

const SCHOOL: &str = r#"
[[tenant]]
id = "11111111-2222-3333-4444-555555555555"
domain = "school.example"

[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000000"
secret = "admin-secret"
roles = ["Application.Read.All", "Exchange.ManageAsApp"]
management_roles = ["Organization Management"]

[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "product-secret"
roles = ["Calendars.ReadWrite", "full_access_as_app"]
assignments = [
    { role = "Application Calendars.ReadWrite", scope = { name = "Timetable", filter = "MemberOfGroup -eq 'CN=staff,OU=school.example,OU=Microsoft Exchange Hosted Organizations,DC=EURP190A001,DC=PROD,DC=OUTLOOK,DC=COM'" } },
    { role = "Application Mail.Read", unit = "Science" },
    { role = "Application Contacts.Read" },
]

[[tenant.user]]
upn = "ada@school.example"
name = "Ada Lovelace"

[[tenant.user]]
upn = "bob@school.example"
name = "Bob Noyce"

[[tenant.group]]
name = "Staff"
mail = "staff@school.example"
kind = "mail_security"
members = ["ada@school.example", "nested@school.example"]

[[tenant.group]]
name = "Nested"
mail = "nested@school.example"
kind = "mail_security"
members = ["bob@school.example"]

[[tenant.unit]]
name = "Science"
members = ["bob@school.example"]
"#;

/// The rows that a cmdlet prints, or the code that it is refused with.
async fn printed(rig: &Rig, cmdlet: &str, parameters: Value) -> Result<Vec<Value>, u16> {
    let token = rig.token(ADMIN, "admin-secret", EXCHANGE).await;
    let reply = rig.invoke(&token, cmdlet, parameters).await;
    if reply.status() != 200 {
        return Err(reply.status().as_u16());
    }
    let body: Value = reply.json().await.unwrap();
    Ok(body["value"].as_array().unwrap().clone())
}

#[tokio::test]
async fn each_role_is_told_with_its_scope_and_whether_a_mailbox_is_in_it() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let alone = printed(&rig, TEST, json!({"Identity": PRODUCT}))
        .await
        .unwrap();
    let named = |row: &Value| row["ScopeType"].as_str().unwrap().to_owned();
    let sorts: Vec<_> = alone.iter().map(named).collect();
    assert_eq!(
        sorts,
        ["CustomRecipientScope", "AdministrativeUnit", "Organization"]
    );
    assert!(alone.iter().all(|row| row["InScope"] == "Not Run"));
    assert_eq!(alone[0]["GrantedPermissions"], "Calendars.ReadWrite");
    for (mailbox, wanted) in [
        // Bob is in a group within the group: a scope doesn't see him.
        ("ada@school.example", ["True", "False", "True"]),
        ("bob@school.example", ["False", "True", "True"]),
    ] {
        let ask = json!({"Identity": PRODUCT, "Resource": mailbox});
        let rows = printed(&rig, TEST, ask).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| row["InScope"].clone()).collect();
        assert_eq!(told, wanted, "{mailbox}");
    }
    // Nobody gave the administrator's own app a role in mailboxes.
    for unknown in [
        json!({"Identity": ADMIN}),
        json!({"Identity": PRODUCT, "Resource": "nobody@school.example"}),
    ] {
        assert!(printed(&rig, TEST, unknown).await.is_err());
    }
    let scope = |name: &str| json!({"Identity": name});
    let found = printed(&rig, "Get-ManagementScope", scope("timetable")).await;
    let filter = found.unwrap()[0]["RecipientFilter"].clone();
    assert!(filter.as_str().unwrap().starts_with("MemberOfGroup -eq"));
    let missing = printed(&rig, "Get-ManagementScope", scope("other")).await;
    assert!(missing.is_err());
}

#[tokio::test]
async fn assignments_are_checked_and_changed() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let path = format!("/_simulator/apps/{PRODUCT}");
    for (wrong, field) in [
        (json!({"role": "Calendars.ReadWrite"}), "assignments.role"),
        (
            json!({"role": "Application Mail.Read", "unit": "Law"}),
            "assignments.unit",
        ),
        (
            json!({"role": "Application Mail.Read", "scope": {"name": "x", "filter": "Alias -like 'a*'"}}),
            "assignments.scope.filter",
        ),
    ] {
        let call = rig.client.put(format!("{}{path}", rig.url));
        let call = call.json(&json!({"assignments": [wrong]}));
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status(), 400);
        let said = reply.text().await.unwrap();
        assert!(said.contains(field), "{said}");
    }
    let one = json!({"assignments": [{"role": "Application Calendars.Read"}]});
    assert_eq!(rig.put(&path, one).await, 200);
    let rows = printed(&rig, TEST, json!({"Identity": PRODUCT})).await;
    assert_eq!(rows.unwrap().len(), 1);
}

#[tokio::test]
async fn graph_tells_which_permissions_an_app_has_consent_for() {
    let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
    let token = rig.token(ADMIN, "admin-secret", GRAPH).await;
    let ask = async |path: String| {
        let call = rig.client.get(format!("{}/v1.0/{path}", rig.url));
        let reply = call.bearer_auth(&token).send().await.unwrap();
        let status = reply.status().as_u16();
        (status, reply.json::<Value>().await.unwrap())
    };
    let path = format!("servicePrincipals(appId='{PRODUCT}')/appRoleAssignments");
    let (status, held) = ask(path).await;
    assert_eq!(status, 200, "{held}");
    let held = held["value"].as_array().unwrap();
    let mut names = Vec::new();
    for one in held {
        let resource = one["resourceId"].as_str().unwrap();
        let (_, api) = ask(format!("servicePrincipals/{resource}?$select=appRoles")).await;
        assert!(api.get("appId").is_none(), "only what was asked for: {api}");
        let roles = api["appRoles"].as_array().unwrap();
        let role = roles.iter().find(|role| role["id"] == one["appRoleId"]);
        names.push((
            one["resourceDisplayName"].as_str().unwrap().to_owned(),
            role.unwrap()["value"].as_str().unwrap().to_owned(),
        ));
    }
    let named = names
        .iter()
        .map(|(api, role)| (api.as_str(), role.as_str()));
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            ("Microsoft Graph", "Calendars.ReadWrite"),
            ("Office 365 Exchange Online", "full_access_as_app")
        ]
    );
    for (path, wanted) in [
        (
            "servicePrincipals(appId='dddddddd-0000-0000-0000-000000000000')",
            404,
        ),
        (
            "servicePrincipals/dddddddd-0000-0000-0000-000000000000",
            404,
        ),
        ("servicePrincipals", 400),
    ] {
        assert_eq!(ask(path.to_owned()).await.0, wanted, "{path}");
    }
    let fewer = json!({"roles": ["Exchange.ManageAsApp"]});
    let path = format!("/_simulator/apps/{ADMIN}");
    assert_eq!(rig.put(&path, fewer).await, 200);
    let refused = ask(format!("servicePrincipals(appId='{PRODUCT}')")).await;
    assert_eq!(refused.0, 403);
}
