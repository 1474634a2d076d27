//! A school that is written out, with the odd cases a generated one doesn't have.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::Scenario;
use reqwest::Response;
use serde_json::{Value, json};

use rig::{EXCHANGE, GRAPH, Rig};

const TENANT: &str = "33333333-4444-5555-6666-777777777777";
const APP: &str = "cccccccc-0000-0000-0000-000000000001";
const GET: &str = "Get-MailboxFolderPermission";
const ADD: &str = "Add-MailboxFolderPermission";
const SET: &str = "Set-MailboxFolderPermission";

const SCHOOL: &str = r#"
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "school.example"
managed = ["delegates@school.example"]
contacts = ["c1@else.example", "c2@else.example", "c3@else.example"]

[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "secret"
roles = ["Exchange.ManageAsApp", "Exchange.ManageAsAppV2", "Directory.Read.All", "Calendars.Read"]
cmdlets = [
    "Get-Mailbox", "Get-MailboxFolderPermission", "Add-MailboxFolderPermission", "Set-MailboxFolderPermission",
    "Remove-MailboxFolderPermission", "Get-DistributionGroup", "Get-DistributionGroupMember",
    "Get-DynamicDistributionGroupMember", "Get-MailboxFolderStatistics",
]

[[tenant.user]]
upn = "ada@school.example"
name = "Ada Lovelace"
read_lag_ms = 30000

[[tenant.user.calendar]]
path = "Kalender"
entries = [
    { principal = "delegates@school.example", mask = 1563 },
    { principal = "bob@school.example", rights = ["CreateItems", "ReadItems", "EditOwnedItems", "FolderVisible"] },
    { principal = "carol@school.example", rights = ["Editor"], flags = ["Delegate", "CanViewPrivateItems"] },
    { principal = "carol@school.example", rights = ["Reviewer"], duplicate = true },
    { principal = "NT:S-1-5-21-1-2-3-500", rights = ["Reviewer"] },
]

[[tenant.user]]
id = "dddddddd-0000-0000-0000-000000000002"
upn = "bob@school.example"
mail = "robert.noyce@school.example"
addresses = ["bob@school.example", "bob@old.example"]
alias = "bnoyce"
name = "Bob Noyce"

[[tenant.user]]
upn = "carol@school.example"
name = "Calendar Delegates"
licence_expired = true

[[tenant.group]]
name = "Calendar Delegates"
mail = "delegates@school.example"

[[tenant.group]]
name = "Newcomers"
mail = "new-group@school.example"
visible_after_secs = 60

[[tenant.group]]
name = "Everyone"
mail = "everyone@school.example"
members = [
    "ada@school.example", "bob@school.example", "carol@school.example", "delegates@school.example",
    "c1@else.example", "c2@else.example", "c3@else.example",
]
"#;

struct School {
    rig: Rig,
    token: String,
}

impl School {
    async fn open() -> Self {
        let rig = Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await;
        let token = token(&rig, EXCHANGE).await;
        Self { rig, token }
    }

    async fn run(&self, cmdlet: &str, parameters: Value) -> Response {
        let url = format!("{}/adminapi/beta/{TENANT}/InvokeCommand", self.rig.url);
        self.post(&url, cmdlet, parameters).await
    }

    async fn post(&self, url: &str, cmdlet: &str, parameters: Value) -> Response {
        let body = json!({"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}});
        let call = self.rig.client.post(url).bearer_auth(&self.token);
        let call = call.header("Prefer", "odata.maxpagesize=3").json(&body);
        call.send().await.unwrap()
    }

    async fn body(&self, cmdlet: &str, parameters: Value) -> Value {
        self.run(cmdlet, parameters).await.json().await.unwrap()
    }

    /// The last part of the exception's name.
    async fn exception(&self, cmdlet: &str, parameters: Value) -> String {
        let body = self.body(cmdlet, parameters).await;
        let message = body["error"]["details"][0]["message"].as_str();
        let kind = message.unwrap_or_default().split('|').nth(1);
        let last = kind.unwrap_or_default().rsplit('.').next();
        last.unwrap_or_default().to_owned()
    }

    async fn graph(&self, path: &str) -> (u16, Value) {
        let token = token(&self.rig, GRAPH).await;
        let call = self.rig.client.get(format!("{}/v1.0{path}", self.rig.url));
        let reply = call.bearer_auth(&token).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }
}

async fn token(rig: &Rig, scope: &str) -> String {
    let url = format!("{}/school.example/oauth2/v2.0/token", rig.url);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("client_secret", "secret"),
        ("scope", scope),
    ];
    let reply = rig.client.post(url).form(&form).send().await.unwrap();
    let body: Value = reply.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lists_are_shown_as_they_are_stored() {
    let school = School::open().await;
    let body = school
        .body(GET, json!({"Identity": "ada@school.example:\\Kalender"}))
        .await;
    let rows: Vec<(String, Value)> = body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let user = row["User"].as_str().unwrap().to_owned();
            (user, row["AccessRights"].clone())
        })
        .collect();
    let expected = [
        ("Default", json!(["AvailabilityOnly"])),
        ("Anonymous", json!(["None"])),
        ("Calendar Delegates", json!(["Author"])), // with the Contact bit, without the free/busy ones
        (
            "Bob Noyce",
            json!([
                "ReadItems",
                "CreateItems",
                "EditOwnedItems",
                "FolderVisible"
            ]),
        ),
        ("Calendar Delegates", json!(["Editor"])), // another one of this name
        ("Calendar Delegates", json!(["Reviewer"])), // and her again
        ("NT:S-1-5-21-1-2-3-500", json!(["Reviewer"])),
    ];
    for (row, (user, rights)) in rows.iter().zip(&expected) {
        assert_eq!((row.0.as_str(), &row.1), (*user, rights));
    }
    assert_eq!(rows.len(), expected.len());
    let skipped =
        json!({"Identity": "ada@school.example:\\Kalender", "SkipCount": 5, "ResultSize": "1"});
    let body = school.body(GET, skipped).await;
    assert_eq!(body["value"].as_array().unwrap().len(), 1);
    assert_eq!(body["value"][0]["AccessRights"], json!(["Reviewer"]));
    // the same rights again change nothing, whatever bits they are stored in
    let same = json!({"Identity": "ada@school.example:\\Kalender", "User": "delegates@school.example", "AccessRights": ["Author"]});
    let reply = school.run(SET, same).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.headers().contains_key("x-warnings"));
    assert_eq!(school.rig.get("/_simulator/report").await["writes"], 0);
}

#[tokio::test]
async fn one_mailbox_has_many_names_and_so_has_a_trustee() {
    let school = School::open().await;
    let bob = school
        .body("Get-Mailbox", json!({"Identity": "bnoyce"}))
        .await["value"][0]
        .clone();
    let text = |field: &str| bob[field].as_str().unwrap().to_owned();
    let names = [
        text("Guid"),
        text("ExternalDirectoryObjectId"),
        text("DistinguishedName"),
        text("LegacyExchangeDN"),
        text("Alias"),
        text("DisplayName"),
        "BOB@old.example".to_owned(),
    ];
    for name in &names {
        let body = school.body("Get-Mailbox", json!({"Identity": name})).await;
        assert_eq!(body["value"][0]["Guid"], bob["Guid"], "{name}");
        let ask = json!({"Identity": "ada@school.example:\\Kalender", "User": name});
        let body = school.body(GET, ask).await;
        assert_eq!(body["value"][0]["User"], "Bob Noyce", "{name}");
    }
    let group = school
        .body(
            "Get-DistributionGroup",
            json!({"Identity": "delegates@school.example"}),
        )
        .await;
    let dn = &group["value"][0]["DistinguishedName"];
    for name in [dn, &json!("delegates")] {
        let ask = json!({"Identity": "ada@school.example:\\Kalender", "User": name});
        let body = school.body(GET, ask).await;
        assert_eq!(
            body["value"][0]["AccessRights"],
            json!(["Author"]),
            "{name}"
        );
    }
    let ask = json!({"Identity": "ada@school.example:\\Kalender", "User": "Calendar Delegates"});
    assert_eq!(
        school.exception(GET, ask).await,
        "ManagementObjectAmbiguousException"
    );
}

#[tokio::test]
async fn a_new_group_is_not_known_everywhere_at_once() {
    let school = School::open().await;
    let (_, found) = school
        .graph("/groups?$filter=mail eq 'new-group@school.example'")
        .await;
    assert_eq!(found["value"][0]["displayName"], "Newcomers");
    let grant = json!({"Identity": "bob@school.example:\\Calendar", "User": "new-group@school.example", "AccessRights": "Author"});
    assert_eq!(
        school.exception(ADD, grant.clone()).await,
        "InvalidExternalUserIdException"
    );
    let group = json!({"Identity": "new-group@school.example"});
    assert_eq!(
        school.exception("Get-DistributionGroup", group).await,
        "ManagementObjectNotFoundException"
    );
    school.rig.advance(60_000).await;
    assert_eq!(school.run(ADD, grant).await.status(), 200);
}

#[tokio::test]
async fn licences_come_and_go_and_expire() {
    let school = School::open().await;
    let plans = async |name: &str| {
        let path = format!("/users/{name}@school.example?$select=assignedPlans");
        school.graph(&path).await.1["assignedPlans"].clone()
    };
    let calendar = async |name: &str| {
        let path = format!("/users/{name}@school.example/calendar");
        let (status, body) = school.graph(&path).await;
        (status, body["error"]["code"].clone())
    };
    assert_eq!(plans("carol").await[0]["capabilityStatus"], "Suspended");
    let refused = (404, json!("MailboxNotEnabledForRESTAPI"));
    assert_eq!(calendar("carol").await, refused);
    // an administrator still gets at it
    let carol = json!({"Identity": "carol@school.example"});
    assert_eq!(school.run("Get-Mailbox", carol).await.status(), 200);
    let path = "/_simulator/mailboxes/bob@school.example";
    assert_eq!(plans("bob").await[0]["capabilityStatus"], "Enabled");
    let expire = json!({"licence_expired": true});
    assert_eq!(school.rig.put(path, expire).await, 200);
    assert_eq!(plans("bob").await[0]["capabilityStatus"], "Suspended");
    assert_eq!(school.rig.put(path, json!({"licensed": false})).await, 200);
    assert_eq!(plans("bob").await, json!([]));
    let nobody = (404, json!("ErrorInvalidUser"));
    assert_eq!(calendar("nobody").await, nobody);
    let (status, skus) = school.graph("/subscribedSkus").await;
    assert_eq!(
        (status, &skus["value"][0]["consumedUnits"]),
        (200, &json!(2))
    );
}

#[tokio::test]
async fn graph_reads_permissions_in_its_own_words() {
    let school = School::open().await;
    let path = "/users/ada@school.example/calendar/calendarPermissions";
    let (status, list) = school.graph(path).await;
    assert_eq!(status, 200);
    let rows = list["value"].as_array().unwrap();
    let of = |address: &str| {
        let mut rows = rows.iter();
        rows.find(|row| row["emailAddress"]["address"] == address)
            .unwrap()
    };
    assert_eq!(rows[0]["emailAddress"]["name"], "My Organization");
    assert_eq!(
        (&rows[0]["role"], &rows[0]["isRemovable"]),
        (&json!("freeBusyRead"), &json!(false))
    );
    assert_eq!(of("delegates@school.example")["role"], "custom");
    assert_eq!(of("robert.noyce@school.example")["role"], "custom");
    assert_eq!(
        of("carol@school.example")["role"],
        "delegateWithPrivateEventAccess"
    );
    let id = rows[0]["id"].as_str().unwrap();
    let (status, one) = school.graph(&format!("{path}/{id}")).await;
    assert_eq!((status, &one["role"]), (200, &json!("freeBusyRead")));
    assert_eq!(school.graph(&format!("{path}/none")).await.0, 404);
}

#[tokio::test]
async fn members_come_in_pages_up_to_the_size_that_was_asked() {
    let school = School::open().await;
    let list = async |size: Value| {
        let parameters = json!({"Identity": "everyone@school.example", "ResultSize": size});
        let mut url = format!("{}/adminapi/beta/{TENANT}/InvokeCommand", school.rig.url);
        let (mut pages, mut warned) = (Vec::new(), false);
        loop {
            let cmdlet = "Get-DistributionGroupMember";
            let reply = school.post(&url, cmdlet, parameters.clone()).await;
            let body: Value = reply.json().await.unwrap();
            pages.push(body["value"].as_array().unwrap().len());
            warned |= body["@adminapi.warnings"][0].is_string();
            match body["@odata.nextLink"].as_str() {
                Some(next) => next.clone_into(&mut url),
                None => return (pages, warned),
            }
        }
    };
    assert_eq!(list(json!("Unlimited")).await, (vec![3, 3, 1], false));
    assert_eq!(list(json!(5)).await, (vec![3, 2], true));
    let dynamic = json!({"Identity": "everyone@school.example"});
    let found = school
        .exception("Get-DynamicDistributionGroupMember", dynamic)
        .await;
    assert_eq!(found, "ManagementObjectNotFoundException");
}

#[tokio::test]
async fn reads_are_stale_for_as_long_as_the_mailbox_lags() {
    let school = School::open().await;
    let ada = "ada@school.example:\\Kalender";
    let grant =
        json!({"Identity": ada, "User": "delegates@school.example", "AccessRights": "Reviewer"});
    assert_eq!(school.run(SET, grant).await.status(), 200);
    let shown = async || {
        let ask = json!({"Identity": ada, "User": "delegates@school.example"});
        let body = school.body(GET, ask).await;
        body["value"][0]["AccessRights"][0].clone()
    };
    // between half of it and all of it
    assert_eq!(shown().await, "Author");
    school.rig.advance(14_000).await;
    assert_eq!(shown().await, "Author");
    let path = "/users/ada@school.example/calendar/calendarPermissions";
    let (_, list) = school.graph(path).await;
    assert!(list.to_string().contains("custom"));
    school.rig.advance(16_000).await;
    assert_eq!(shown().await, "Reviewer");
}

#[tokio::test]
async fn a_reset_of_delegates_is_a_change_of_others() {
    let school = School::open().await;
    let remove = json!({"Identity": "ada@school.example:\\Kalender", "User": "delegates@school.example",
        "ResetDelegateUserCollection": true, "Confirm": false});
    let reply = school.run("Remove-MailboxFolderPermission", remove).await;
    assert_eq!(reply.status(), 200);
    let report = school.rig.get("/_simulator/report").await;
    assert_eq!(report["foreign_entries_changed"], 1);
    assert_eq!(report["changes"][0]["principal"], "carol@school.example");
    assert_eq!(report["changes"][0]["after"], json!(["Editor"]));
}

#[tokio::test]
async fn flags_go_together_and_versions_apart() {
    let school = School::open().await;
    let bob = "bob@school.example:\\Calendar";
    let grant = |flags: &str| json!({"Identity": bob, "User": "ada@school.example", "AccessRights": ["Editor"], "SharingPermissionFlags": flags});
    let private = school.run(ADD, grant("CanViewPrivateItems")).await;
    assert_eq!(private.status(), 400);
    let both = school.run(ADD, grant("Delegate,CanViewPrivateItems")).await;
    assert_eq!(both.status(), 200);
    for path in ["v1.0", "v2.0"] {
        let url = format!("{}/adminapi/{path}/{TENANT}/InvokeCommand", school.rig.url);
        let reply = school.post(&url, GET, json!({"Identity": bob})).await;
        let expected = if path == "v1.0" { 405 } else { 404 };
        assert_eq!(reply.status(), expected, "{path}");
        let url = format!("{}/adminapi/{path}/{TENANT}/$batch", school.rig.url);
        let reply = school.post(&url, GET, json!({"Identity": bob})).await;
        assert_eq!(reply.status(), expected, "{path} $batch");
    }
}

#[tokio::test]
async fn libraries_find_the_endpoint_and_read_their_token() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let school = School::open().await;
    let path = "/school.example/v2.0/.well-known/openid-configuration";
    let found = school.rig.get(path).await;
    let endpoint = found["token_endpoint"].as_str().unwrap();
    assert_eq!(
        endpoint,
        format!("{}/school.example/oauth2/v2.0/token", school.rig.url)
    );
    let claims = school.token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["aud"], "https://outlook.office365.com");
    assert_eq!(
        (&claims["tid"], &claims["appid"]),
        (&json!(TENANT), &json!(APP))
    );
    assert_eq!(claims["roles"].as_array().unwrap().len(), 2);
    // another token with the same words isn't one
    let forged = format!("{}x", school.token);
    let call = school.rig.client.post(format!(
        "{}/adminapi/beta/{TENANT}/InvokeCommand",
        school.rig.url
    ));
    let call = call.bearer_auth(forged).json(&json!({}));
    assert_eq!(call.send().await.unwrap().status(), 401);
}
