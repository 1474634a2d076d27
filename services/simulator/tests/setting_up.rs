//! Users, licences and groups in the cloud, as somebody sets up a tenant that has none.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::Scenario;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use rig::{EXCHANGE, GRAPH, Rig};

const TENANT: &str = "44444444-4444-5555-6666-777777777777";
const SETUP: &str = "cccccccc-0000-0000-0000-000000000000";
const READER: &str = "cccccccc-0000-0000-0000-000000000001";
const FACULTY: &str = "c24b3bac-78f7-42f7-9468-97dce529d88a";
const ENTERPRISE: &str = "19ec0d23-8335-4cbd-94ac-6050e30712fa";
const PACK: &str = "94763226-9b3c-4e75-a931-5c89701abe66";
const TEAMS: &str = "57ff2da0-773e-42df-b2af-ffb7a2317929";
const PLAN_1: &str = "9aaf7827-d63c-4b61-89c3-182f06f82e5c";
const GROUP: &str = "delegates@school.example";
const SECRET: &str = "Long-enough-1";

const SCHOOL: &str = r#"
[dials]
replication_lag_ms = 60000
provisioning_lag_ms = 60000

[[tenant]]
id = "44444444-4444-5555-6666-777777777777"
domain = "school.example"
domains = ["mail.school.example"]
awaited = ["delegates@school.example"]
contacts = ["visitor@partner.example"]

[[tenant.sku]]
part_number = "EXCHANGESTANDARD_FACULTY"
seats = 3

[[tenant.sku]]
part_number = "EXCHANGEENTERPRISE"
seats = 5

[[tenant.sku]]
part_number = "STANDARDWOFFPACK_FACULTY"
seats = 5

[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000000"
secret = "setup-secret"
roles = ["User.ReadWrite.All", "Organization.Read.All", "GroupMember.ReadWrite.All", "Exchange.ManageAsApp"]
management_roles = ["Distribution Groups", "Security Group Creation and Membership", "View-Only Recipients", "Mail Recipients"]

[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "reader-secret"
roles = ["User.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
management_roles = ["Distribution Groups"]

[[tenant.user]]
upn = "ada@school.example"
name = "Ada Lovelace"

[[tenant.user]]
upn = "bob@school.example"
name = "Bob Noyce"
dn = "CN=bob,OU=Staff,DC=school,DC=example"

[[tenant.group]]
name = "Licensed"
kind = "security"
licences = ["EXCHANGEENTERPRISE"]

[[tenant.group]]
name = "Team"
mail = "team@school.example"
kind = "unified"
"#;

struct School {
    rig: Rig,
    graph: String,
    exchange: String,
}

impl School {
    async fn open() -> Self {
        let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
        let graph = token(&rig, SETUP, "setup-secret", GRAPH).await;
        let exchange = token(&rig, SETUP, "setup-secret", EXCHANGE).await;
        Self {
            rig,
            graph,
            exchange,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.ask_as(&self.graph, method, path, body).await
    }

    async fn ask_as(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/v1.0{path}", self.rig.url);
        let mut call = self.rig.client.request(method, url).bearer_auth(token);
        if !body.is_null() {
            call = call.json(&body);
        }
        let reply = call.send().await.unwrap();
        let status = reply.status().as_u16();
        (status, reply.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn create(&self, local: &str) -> (u16, Value) {
        self.ask(Method::POST, "/users", user(local)).await
    }

    async fn license(&self, local: &str, add: Value, remove: Value) -> (u16, Value) {
        let path = format!("/users/{local}@school.example/assignLicense");
        let body = json!({"addLicenses": add, "removeLicenses": remove});
        self.ask(Method::POST, &path, body).await
    }

    async fn run(&self, cmdlet: &str, parameters: Value) -> (u16, Value) {
        self.run_as(&self.exchange, cmdlet, parameters).await
    }

    async fn run_as(&self, token: &str, cmdlet: &str, parameters: Value) -> (u16, Value) {
        let url = format!("{}/adminapi/beta/{TENANT}/InvokeCommand", self.rig.url);
        let body = json!({"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}});
        let call = self.rig.client.post(url).bearer_auth(token).json(&body);
        let reply = call.send().await.unwrap();
        let status = reply.status().as_u16();
        (status, reply.json().await.unwrap_or_default())
    }

    /// The exception a cmdlet ends with, or nothing.
    async fn exception(&self, cmdlet: &str, parameters: Value) -> String {
        let (_, body) = self.run(cmdlet, parameters).await;
        let message = body["error"]["details"][0]["message"].as_str();
        let kind = message.unwrap_or_default().split('|').nth(1);
        let last = kind.unwrap_or_default().rsplit('.').next();
        last.unwrap_or_default().to_owned()
    }

    async fn deeds(&self) -> Value {
        self.rig.get("/_simulator/report").await["setup"].clone()
    }
}

async fn token_reply(client: &Client, url: &str, form: &[(&str, &str)]) -> Response {
    let url = format!("{url}/{TENANT}/oauth2/v2.0/token");
    client.post(url).form(form).send().await.unwrap()
}

async fn token(rig: &Rig, app: &str, secret: &str, scope: &str) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", app),
        ("client_secret", secret),
        ("scope", scope),
    ];
    let reply = token_reply(&rig.client, &rig.url, &form).await;
    let body: Value = reply.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn user(local: &str) -> Value {
    json!({
        "accountEnabled": true, "displayName": format!("Service {local}"), "mailNickname": local,
        "userPrincipalName": format!("{local}@school.example"), "usageLocation": "DE",
        "passwordPolicies": "DisablePasswordExpiration",
        "passwordProfile": {"password": SECRET, "forceChangePasswordNextSignIn": false},
    })
}

fn one(sku: &str) -> Value {
    json!([{"skuId": sku, "disabledPlans": []}])
}

fn told(body: &Value) -> &str {
    body["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_user_is_made_once_and_signs_in_with_its_password() {
    let school = School::open().await;
    let (status, made) = school.create("svc-1").await;
    assert_eq!(
        (status, &made["displayName"]),
        (201, &json!("Service svc-1"))
    );
    assert_eq!(made["mail"], Value::Null);
    let (status, again) = school.create("SVC-1").await;
    assert_eq!(
        (status, again["error"]["code"].as_str()),
        (400, Some("Request_BadRequest"))
    );
    assert!(told(&again).contains("property userPrincipalName already exists"));
    let fields = "id,accountEnabled,usageLocation,passwordPolicies,employeeId,onPremisesSyncEnabled,assignedLicenses,licenseAssignmentStates";
    let (status, read) = school
        .get(&format!("/users/svc-1@school.example?$select={fields}"))
        .await;
    assert_eq!((status, &read["id"]), (200, &made["id"]));
    assert_eq!(read["usageLocation"], "DE");
    assert_eq!(read["passwordPolicies"], "DisablePasswordExpiration");
    assert_eq!(read["assignedLicenses"], json!([]));
    let form = |password: &'static str| {
        [
            ("grant_type", "password"),
            ("client_id", SETUP),
            ("scope", "openid"),
            ("username", "svc-1@school.example"),
            ("password", password),
        ]
    };
    let sign_in = async |password| {
        let reply = token_reply(&school.rig.client, &school.rig.url, &form(password)).await;
        let body: Value = reply.json().await.unwrap();
        body["error_codes"][0].clone()
    };
    assert_eq!(sign_in(SECRET).await, Value::Null);
    assert_eq!(sign_in("wrong").await, 50126);
    let path = "/users/svc-1@school.example";
    let change = json!({"accountEnabled": false, "employeeId": "calgrant", "passwordProfile": {"password": "Another-one-2", "forceChangePasswordNextSignIn": false}});
    let (status, _) = school.ask(Method::PATCH, path, change).await;
    assert_eq!(status, 204);
    assert_eq!(sign_in(SECRET).await, 50126);
    assert_eq!(sign_in("Another-one-2").await, 50057);
    let (_, read) = school
        .get(&format!("{path}?$select=accountEnabled,employeeId"))
        .await;
    assert_eq!(
        (&read["accountEnabled"], &read["employeeId"]),
        (&json!(false), &json!("calgrant"))
    );
    let deeds = school.deeds().await;
    assert_eq!(
        (&deeds["accounts_created"], &deeds["passwords_set"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(deeds["accounts_disabled"], 1);
    let created = school.rig.get("/_simulator/created").await;
    assert_eq!(created["users"][0]["enabled"], false);
    assert!(!created.to_string().contains("Another-one"));
    // who comes from the directory on premises is changed there
    let bob = json!({"accountEnabled": false});
    let (status, _) = school
        .ask(Method::PATCH, "/users/bob@school.example", bob)
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn what_a_user_lacks_and_what_an_app_lacks_is_told() {
    let school = School::open().await;
    let mut nameless = user("svc-1");
    nameless["displayName"].take();
    let (status, body) = school.ask(Method::POST, "/users", nameless).await;
    assert_eq!(status, 400);
    assert!(told(&body).contains("'displayName'"), "{body}");
    let mut elsewhere = user("svc-1");
    elsewhere["userPrincipalName"] = json!("svc-1@other.example");
    let (_, body) = school.ask(Method::POST, "/users", elsewhere).await;
    assert!(told(&body).contains("verified domain"), "{body}");
    let mut second = user("svc-1");
    second["userPrincipalName"] = json!("svc-1@mail.school.example");
    assert_eq!(school.ask(Method::POST, "/users", second).await.0, 201);
    let reader = token(&school.rig, READER, "reader-secret", GRAPH).await;
    let path = "/users/ada@school.example";
    for (method, path, body) in [
        (Method::POST, "/users", user("svc-2")),
        (Method::PATCH, path, json!({"usageLocation": "DE"})),
        (
            Method::POST,
            "/users/ada@school.example/assignLicense",
            json!({"addLicenses": [], "removeLicenses": []}),
        ),
        (Method::GET, "/subscribedSkus", Value::Null),
    ] {
        let (status, body) = school.ask_as(&reader, method, path, body).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (403, &json!("Authorization_RequestDenied")),
            "{path}"
        );
    }
    assert_eq!(school.ask(Method::DELETE, path, Value::Null).await.0, 405);
    assert_eq!(school.deeds().await["deletions_tried"], 1);
    assert_eq!(school.get("/users/svc-2@school.example").await.0, 404);
}

#[tokio::test]
async fn licences_are_assigned_while_there_are_seats() {
    let school = School::open().await;
    for local in ["svc-1", "svc-2"] {
        assert_eq!(school.create(local).await.0, 201);
    }
    let (_, skus) = school.get("/subscribedSkus").await;
    // Ada and Bob have the first product
    let seats = |skus: &Value| {
        let sku = &skus["value"][0];
        (
            sku["consumedUnits"].clone(),
            sku["prepaidUnits"]["enabled"].clone(),
        )
    };
    assert_eq!(seats(&skus), (json!(2), json!(3)));
    assert_eq!(skus["value"][2]["servicePlans"][0]["appliesTo"], "Company");
    let unlocated = json!({"usageLocation": null});
    let path = "/users/svc-1@school.example";
    assert_eq!(school.ask(Method::PATCH, path, unlocated).await.0, 204);
    let (status, body) = school.license("svc-1", one(FACULTY), json!([])).await;
    assert_eq!(status, 400);
    assert!(told(&body).contains("invalid usage location"), "{body}");
    let located = json!({"usageLocation": "DE"});
    assert_eq!(school.ask(Method::PATCH, path, located).await.0, 204);
    let (status, body) = school.license("svc-1", one(FACULTY), json!([])).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        school.license("svc-1", one(FACULTY), json!([])).await.0,
        200
    );
    let (status, body) = school.license("svc-2", one(FACULTY), json!([])).await;
    assert_eq!(status, 400);
    assert!(told(&body).contains("available licenses"), "{body}");
    // two mailbox plans don't go together, unless one of them is off
    let pack = |off: Value| json!([{"skuId": PACK, "disabledPlans": off}]);
    let (_, body) = school.license("svc-1", one(ENTERPRISE), json!([])).await;
    assert!(told(&body).contains("mutually exclusive"), "{body}");
    let only_teams = pack(json!([PLAN_1]));
    assert_eq!(school.license("svc-1", only_teams, json!([])).await.0, 200);
    let (_, body) = school
        .license(
            "svc-1",
            pack(json!(["00000000-0000-0000-0000-000000000001"])),
            json!([]),
        )
        .await;
    assert!(told(&body).contains("isn't part of the SKU"), "{body}");
    assert_eq!(
        school
            .license("svc-2", pack(json!([TEAMS])), json!([]))
            .await
            .0,
        200
    );
    let (_, read) = school
        .get("/users/svc-2@school.example?$select=assignedLicenses")
        .await;
    assert_eq!(read["assignedLicenses"], pack(json!([TEAMS])));
    let (status, _) = school.license("svc-2", json!([]), json!([FACULTY])).await;
    assert_eq!(status, 400);
    assert_eq!(
        school.license("svc-2", json!([]), json!([PACK])).await.0,
        200
    );
    let deeds = school.deeds().await;
    assert_eq!(
        (&deeds["licences_assigned"], &deeds["licences_removed"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn a_licence_that_comes_from_a_group_isnt_removed_from_the_user() {
    let school = School::open().await;
    let (_, made) = school.create("svc-1").await;
    let (_, groups) = school
        .get("/groups?$filter=displayName eq 'Licensed'")
        .await;
    let group = groups["value"][0]["id"].as_str().unwrap().to_owned();
    let link = format!(
        "https://graph.microsoft.com/v1.0/directoryObjects/{}",
        made["id"].as_str().unwrap()
    );
    let path = format!("/groups/{group}/members/$ref");
    let join = json!({"@odata.id": link});
    assert_eq!(school.ask(Method::POST, &path, join.clone()).await.0, 204);
    let (status, body) = school.ask(Method::POST, &path, join).await;
    assert_eq!(status, 400);
    assert!(told(&body).contains("already exist"), "{body}");
    let (_, read) = school
        .get("/users/svc-1@school.example?$select=licenseAssignmentStates,assignedLicenses")
        .await;
    assert_eq!(
        read["licenseAssignmentStates"][0]["assignedByGroup"],
        group.as_str()
    );
    assert_eq!(read["assignedLicenses"][0]["skuId"], ENTERPRISE);
    let (_, body) = school
        .license("svc-1", json!([]), json!([ENTERPRISE]))
        .await;
    assert!(told(&body).contains("inherited from a group"), "{body}");
    school.rig.advance(60_000).await;
    let there = school
        .run("Get-Mailbox", json!({"Identity": "svc-1@school.example"}))
        .await;
    assert_eq!(there.0, 200);
    let (_, members) = school.get(&format!("/groups/{group}/members")).await;
    assert_eq!(members["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_mailbox_is_there_some_time_after_its_licence() {
    let school = School::open().await;
    assert_eq!(school.create("svc-1").await.0, 201);
    assert_eq!(
        school.license("svc-1", one(FACULTY), json!([])).await.0,
        200
    );
    let identity = json!({"Identity": "svc-1@school.example"});
    for _ in 0..2 {
        let found = school.exception("Get-Mailbox", identity.clone()).await;
        assert_eq!(found, "ManagementObjectNotFoundException");
        school.rig.advance(20_000).await;
    }
    let group = json!({"Name": "Delegates", "Type": "Security", "PrimarySmtpAddress": GROUP});
    assert_eq!(school.run("New-DistributionGroup", group).await.0, 200);
    let add = json!({"Identity": GROUP, "Member": "svc-1@school.example", "BypassSecurityGroupManagerCheck": true});
    let early = school
        .exception("Add-DistributionGroupMember", add.clone())
        .await;
    assert_eq!(early, "ManagementObjectNotFoundException");
    school.rig.advance(20_000).await;
    assert_eq!(school.run("Get-Mailbox", identity).await.0, 200);
    let (_, read) = school.get("/users/svc-1@school.example?$select=mail").await;
    assert_eq!(read["mail"], "svc-1@school.example");
    assert_eq!(school.run("Add-DistributionGroupMember", add).await.0, 200);
}

#[tokio::test]
async fn a_group_is_made_set_and_filled_and_graph_learns_of_it_later() {
    let school = School::open().await;
    let new = json!({
        "Name": "Calendar Delegates", "Alias": "delegates", "PrimarySmtpAddress": GROUP, "Type": "Security",
        "MemberJoinRestriction": "Closed", "MemberDepartRestriction": "Closed", "RequireSenderAuthenticationEnabled": true,
    });
    let (status, made) = school.run("New-DistributionGroup", new.clone()).await;
    assert_eq!(status, 200, "{made}");
    let made = &made["value"][0];
    assert_eq!(made["RecipientTypeDetails"], "MailUniversalSecurityGroup");
    assert_eq!(made["HiddenFromAddressListsEnabled"], false);
    let again = school.exception("New-DistributionGroup", new).await;
    assert_eq!(again, "ADObjectAlreadyExistsException");
    let taken = json!({"Name": "Another", "PrimarySmtpAddress": GROUP, "Type": "Security"});
    let taken = school.exception("New-DistributionGroup", taken).await;
    assert_eq!(taken, "ProxyAddressExistsException");
    let set = json!({"Identity": GROUP, "HiddenFromAddressListsEnabled": true});
    let unowned = school.exception("Set-DistributionGroup", set.clone()).await;
    assert_eq!(unowned, "OperationRequiresGroupManagerException");
    let mut bypassing = set;
    bypassing["BypassSecurityGroupManagerCheck"] = json!(true);
    assert_eq!(school.run("Set-DistributionGroup", bypassing).await.0, 200);
    let member = |name: &str| json!({"Identity": GROUP, "Member": name, "BypassSecurityGroupManagerCheck": true});
    for (name, expected) in [
        ("ada@school.example", ""),
        ("ADA@school.example", "MemberAlreadyExistsException"),
        ("visitor@partner.example", ""),
        ("team@school.example", "RecipientTaskException"),
        ("nobody@school.example", "ManagementObjectNotFoundException"),
        (GROUP, "RecipientTaskException"),
    ] {
        let found = school
            .exception("Add-DistributionGroupMember", member(name))
            .await;
        assert_eq!(found, expected, "{name}");
    }
    let two = json!({"Identity": GROUP, "Member": ["ada@school.example", "bob@school.example"], "BypassSecurityGroupManagerCheck": true});
    let two = school.exception("Add-DistributionGroupMember", two).await;
    assert_eq!(two, "ParameterBindingException");
    let find = format!("/groups?$filter=mail eq '{GROUP}'");
    assert_eq!(school.get(&find).await.1["value"], json!([]));
    let (_, recipient) = school
        .run("Get-Recipient", json!({"Identity": GROUP}))
        .await;
    assert_eq!(recipient["value"][0]["HiddenFromAddressListsEnabled"], true);
    school.rig.advance(60_000).await;
    let (_, found) = school.get(&find).await;
    let id = found["value"][0]["id"].as_str().unwrap();
    let (_, members) = school.get(&format!("/groups/{id}/members")).await;
    assert_eq!(members["value"].as_array().unwrap().len(), 2);
    let removed = school
        .run(
            "Remove-DistributionGroupMember",
            member("ada@school.example"),
        )
        .await;
    assert_eq!(removed.0, 200);
    let twice = school
        .exception(
            "Remove-DistributionGroupMember",
            member("ada@school.example"),
        )
        .await;
    assert_eq!(twice, "MemberNotFoundException");
    let (_, before) = school.get(&format!("/groups/{id}/transitiveMembers")).await;
    assert_eq!(before["value"].as_array().unwrap().len(), 2);
    school.rig.advance(60_000).await;
    let (_, after) = school.get(&format!("/groups/{id}/transitiveMembers")).await;
    assert_eq!(after["value"].as_array().unwrap().len(), 1);
    // it is the trustee that was awaited, and may stand in permission lists
    let grant = json!({"Identity": "ada@school.example:\\Calendar", "User": GROUP, "AccessRights": "Author"});
    assert_eq!(
        school.run("Add-MailboxFolderPermission", grant).await.0,
        200
    );
    let report = school.rig.get("/_simulator/report").await;
    assert_eq!(
        (
            &report["managed_entries_changed"],
            &report["foreign_entries_changed"]
        ),
        (&json!(1), &json!(0))
    );
    let created = school.rig.get("/_simulator/created").await;
    assert_eq!(created["groups"].as_array().unwrap().len(), 1);
    assert_eq!(
        created["groups"][0]["members"],
        json!(["visitor@partner.example"])
    );
    let deeds = &report["setup"];
    assert_eq!(
        (
            &deeds["groups_created"],
            &deeds["members_added"],
            &deeds["members_removed"]
        ),
        (&json!(1), &json!(2), &json!(1))
    );
}

#[tokio::test]
async fn names_of_groups_have_rules_and_roles_are_needed() {
    let school = School::open().await;
    for (parameters, expected) in [
        (json!({"Type": "Security"}), "ParameterBindingException"),
        (json!({"Name": "x".repeat(65)}), "DataValidationException"),
        (
            json!({"Name": "A", "Type": "Security", "MemberJoinRestriction": "Open"}),
            "DataValidationException",
        ),
        (
            json!({"Name": "A", "Type": "Secret"}),
            "ParameterBindingException",
        ),
        (
            json!({"Name": "A", "Alias": "two words"}),
            "DataValidationException",
        ),
        (
            json!({"Name": "A", "PrimarySmtpAddress": "a@other.example"}),
            "NotAcceptedDomainException",
        ),
        (
            json!({"Name": "A", "HiddenFromAddressListsEnabled": true}),
            "ParameterBindingException",
        ),
        (
            json!({"Name": "A", "ManagedBy": "nobody@school.example"}),
            "ManagementObjectNotFoundException",
        ),
        (
            json!({"Name": "A", "OrganizationalUnit": "OU=Staff,DC=school,DC=example"}),
            "ParameterBindingException",
        ),
        (
            json!({"Name": "A", "ManagedBy": ["ada@school.example"], "Members": ["bob@school.example"], "CopyOwnerToMember": true}),
            "",
        ),
    ] {
        let found = school
            .exception("New-DistributionGroup", parameters.clone())
            .await;
        assert_eq!(found, expected, "{parameters}");
    }
    let (_, members) = school
        .run("Get-DistributionGroupMember", json!({"Identity": "A"}))
        .await;
    assert_eq!(members["value"].as_array().unwrap().len(), 2);
    let policy = json!({"group_naming_policy": "DG <GroupName> (school)"});
    assert_eq!(school.rig.put("/_simulator/dials", policy).await, 200);
    let (_, made) = school
        .run("New-DistributionGroup", json!({"Name": "B"}))
        .await;
    assert_eq!(made["value"][0]["Name"], "DG B (school)");
    let ignoring = json!({"Name": "C", "IgnoreNamingPolicy": true});
    let (_, made) = school.run("New-DistributionGroup", ignoring).await;
    assert_eq!(made["value"][0]["Name"], "C");
    let lesser = token(&school.rig, READER, "reader-secret", EXCHANGE).await;
    let security = json!({"Name": "D", "Type": "Security"});
    let (status, body) = school
        .run_as(&lesser, "New-DistributionGroup", security)
        .await;
    assert_eq!(status, 400);
    let message = body["error"]["details"][0]["message"].as_str().unwrap();
    assert!(message.contains("parameter name 'Type'"), "{message}");
    let plain = json!({"Name": "D"});
    assert_eq!(
        school
            .run_as(&lesser, "New-DistributionGroup", plain)
            .await
            .0,
        200
    );
    let ada = json!({"Identity": "ada@school.example"});
    assert_eq!(school.run_as(&lesser, "Set-Mailbox", ada).await.0, 403);
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_user_made() {
    let school = School::open().await;
    let dials = json!({"faults": {"lost_reply": {"times": 1, "only": "POST users"}}});
    assert_eq!(school.rig.put("/_simulator/dials", dials).await, 200);
    let url = format!("{}/v1.0/users", school.rig.url);
    let call = school.rig.client.post(url).bearer_auth(&school.graph);
    assert!(call.json(&user("svc-1")).send().await.is_err());
    assert_eq!(school.create("svc-1").await.0, 400);
    assert_eq!(school.get("/users/svc-1@school.example").await.0, 200);
    assert_eq!(school.deeds().await["accounts_created"], 1);
}

#[tokio::test]
async fn of_several_who_make_the_same_one_does() {
    let school = School::open().await;
    let made = tokio::join!(
        school.create("svc-1"),
        school.create("svc-1"),
        school.create("svc-1"),
    );
    let mut statuses = [made.0.0, made.1.0, made.2.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400, 400]);
    let group = json!({"Name": "Delegates", "Type": "Security", "PrimarySmtpAddress": GROUP});
    let made = tokio::join!(
        school.run("New-DistributionGroup", group.clone()),
        school.run("New-DistributionGroup", group),
    );
    let mut statuses = [made.0.0, made.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    // two ask for the last seat
    assert_eq!(school.create("svc-2").await.0, 201);
    let licensed = tokio::join!(
        school.license("svc-1", one(FACULTY), json!([])),
        school.license("svc-2", one(FACULTY), json!([])),
    );
    let mut statuses = [licensed.0.0, licensed.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let deeds = school.deeds().await;
    let counts = ["accounts_created", "groups_created", "licences_assigned"];
    assert_eq!(
        counts.map(|name| deeds[name].clone()),
        [2, 1, 1].map(Value::from)
    );
}

#[tokio::test]
async fn graph_itself_may_not_know_at_once_of_what_it_made() {
    let school = School::open().await;
    let dials = json!({"creation_lag_ms": 60_000});
    assert_eq!(school.rig.put("/_simulator/dials", dials).await, 200);
    let (status, made) = school.create("svc-1").await;
    assert_eq!(status, 201);
    let path = format!("/users/{}", made["id"].as_str().unwrap());
    let (status, body) = school.get(&path).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("Request_ResourceNotFound"))
    );
    let count = async || {
        let (_, all) = school.get("/users").await;
        all["value"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 2);
    assert_eq!(school.create("svc-1").await.0, 400);
    school.rig.advance(60_000).await;
    assert_eq!(school.get(&path).await.0, 200);
    assert_eq!(count().await, 3);
}

#[tokio::test]
async fn recipients_are_listed_by_sort_and_nothing_is_deleted() {
    let school = School::open().await;
    let list = async |sort: &str| {
        let all = json!({"RecipientTypeDetails": [sort], "ResultSize": "Unlimited"});
        let (_, body) = school.run("Get-Recipient", all).await;
        body["value"].as_array().unwrap().len()
    };
    assert_eq!(list("UserMailbox").await, 2);
    assert_eq!(list("MailUniversalSecurityGroup").await, 0);
    let group = json!({"Name": "Delegates", "Type": "Security", "PrimarySmtpAddress": GROUP});
    assert_eq!(school.run("New-DistributionGroup", group).await.0, 200);
    assert_eq!(list("MailUniversalSecurityGroup").await, 1);
    let roles = json!({"management_roles": ["Organization Management"]});
    let path = format!("/_simulator/apps/{SETUP}");
    assert_eq!(school.rig.put(&path, roles).await, 200);
    let attribute = json!({"Identity": "ada@school.example", "CustomAttribute15": "calgrant"});
    assert_eq!(school.run("Set-Mailbox", attribute).await.0, 200);
    // what is synchronised is set on premises
    let synced = json!({"Identity": "bob@school.example", "CustomAttribute15": "calgrant"});
    let synced = school.exception("Set-Mailbox", synced).await;
    assert_eq!(synced, "OperationRequiresWriteScopeException");
    assert_eq!(
        school
            .run("Remove-DistributionGroup", json!({"Identity": GROUP}))
            .await
            .0,
        403
    );
    assert_eq!(school.deeds().await["deletions_tried"], 1);
}
