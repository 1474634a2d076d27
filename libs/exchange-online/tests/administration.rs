//! The port of set-up before a simulated organisation.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::net::SocketAddr;

use async_trait::async_trait;
use calgrant_domain::{Address, MailboxId, NewGroup, NewUser, Password};
use calgrant_exchange::{
    Administration, AdministrationError, Meaning,
    conformance::administration::{self, Office},
};
use calgrant_exchange_online::{Account, Endpoints, OnlineAdministration, Secret};
use calgrant_runtime::clock;
use calgrant_simulator::{Config, Running, Scenario, start};
use serde_json::{Value, json};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const SET_UP: &str = "cccccccc-0000-0000-0000-000000000001";
const READER: &str = "cccccccc-0000-0000-0000-000000000002";
const SECRET: &str = "hush";

const SCENARIO: &str = r#"
seed = 7
[dials]
replication_lag_ms = 4000
creation_lag_ms = 3000
provisioning_lag_ms = 30000
[[tenant]]
id = "11111111-2222-3333-4444-555555555555"
domain = "uni.example"
[[tenant.sku]]
part_number = "EXCHANGESTANDARD"
seats = 5
[[tenant.sku]]
part_number = "STANDARDWOFFPACK_FACULTY"
seats = 20
[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "hush"
roles = ["User.ReadWrite.All", "User-PasswordProfile.ReadWrite.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
management_roles = ["Organization Management"]
[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000002"
secret = "hush"
roles = ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
management_roles = ["View-Only Recipients"]
[[tenant.user]]
upn = "ada@uni.example"
usage_location = "DE"
[[tenant.group]]
name = "Students"
mail = "students@uni.example"
kind = "distribution"
members = ["ada@uni.example"]
[[tenant.group]]
name = "Staff"
mail = "staff@uni.example"
synced = true
[[tenant.group]]
name = "Team"
mail = "team@uni.example"
kind = "unified"
"#;

struct Simulated {
    running: Running,
    client: reqwest::Client,
    administration: OnlineAdministration,
    reader: OnlineAdministration,
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn endpoints(url: &str) -> Endpoints {
    Endpoints {
        login_url: url.to_owned(),
        graph_url: url.to_owned(),
        admin_url: url.to_owned(),
        directory_id: TENANT.to_owned(),
    }
}

impl Simulated {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scenario = Scenario::from_toml(SCENARIO).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let url = running.url();
        let connect = |client_id: &str| {
            let account = Account {
                client_id: client_id.to_owned(),
                secret: Secret::Client(SECRET.into()),
            };
            OnlineAdministration::new(endpoints(&url), account, clock::now).unwrap()
        };
        Self {
            client: reqwest::Client::new(),
            administration: connect(SET_UP),
            reader: connect(READER),
            running,
        }
    }

    async fn control(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/_simulator/{path}", self.running.url());
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await.unwrap();
        let status = reply.status();
        assert!(status.is_success(), "{path}: {status}");
        reply.json().await.unwrap_or_default()
    }

    /// The next call of this kind meets this fault, once.
    async fn fault(&self, name: &str, only: &str) {
        let fault = json!({"faults": {name: {"rate": 1.0, "times": 1, "only": only}}});
        self.control(reqwest::Method::PUT, "dials", Some(&fault))
            .await;
    }

    async fn advance(&self, secs: u64) {
        let body = json!({"advance_ms": secs * 1000});
        self.control(reqwest::Method::POST, "clock", Some(&body))
            .await;
    }

    /// A token for a resource, as somebody would bring it along.
    async fn token(&self, scope: &str) -> String {
        let form = [
            ("client_id", SET_UP),
            ("scope", scope),
            ("grant_type", "client_credentials"),
            ("client_secret", SECRET),
        ];
        let url = format!("{}/{TENANT}/oauth2/v2.0/token", self.running.url());
        let reply = self.client.post(url).form(&form).send().await.unwrap();
        let answer: Value = reply.json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

#[async_trait]
impl Office for Simulated {
    fn administration(&self) -> &dyn Administration {
        &self.administration
    }

    fn reader(&self) -> &dyn Administration {
        &self.reader
    }

    fn domain(&self) -> &str {
        "uni.example"
    }

    fn foreign_domain(&self) -> &str {
        "elsewhere.example"
    }

    fn unit(&self) -> Option<&str> {
        None
    }

    fn somebody(&self) -> Address {
        address("ada@uni.example")
    }

    fn list(&self) -> Address {
        address("students@uni.example")
    }

    fn synchronised(&self) -> Option<Address> {
        Some(address("staff@uni.example"))
    }

    fn sells_licences(&self) -> bool {
        true
    }

    fn switches_accounts(&self) -> bool {
        true
    }

    async fn wait(&self) {
        self.advance(5).await;
    }

    async fn is_password(&self, user: &Address, password: &Password) -> bool {
        let body = json!({"user": user.as_str(), "password": password.reveal()});
        let answer = self
            .control(reqwest::Method::POST, "sign-in", Some(&body))
            .await;
        answer["signed_in"] == true
    }
}

fn new_user(local: &str) -> NewUser {
    NewUser {
        user_name: address(&format!("{local}@uni.example")),
        display_name: "Calendar Service".into(),
        password: Password::new("A-first pass_w0rd"),
        usage_location: Some("DE".into()),
        organizational_unit: None,
        mark: "calgrant-1".into(),
    }
}

fn new_group(local: &str) -> NewGroup {
    NewGroup {
        address: address(&format!("{local}@uni.example")),
        name: format!("Calendar Access {local}"),
        owners: vec![address("ada@uni.example")],
        organizational_unit: None,
    }
}

#[tokio::test]
async fn it_does_what_every_adapter_does() {
    let simulated = Simulated::new().await;
    administration::all(&simulated).await;
}

#[tokio::test]
async fn one_resource_is_one_token() {
    let simulated = Simulated::new().await;
    simulated.administration.sign_in().await.unwrap();
    simulated.administration.sign_in().await.unwrap();
    simulated.administration.skus().await.unwrap();
    let report = simulated
        .control(reqwest::Method::GET, "report", None)
        .await;
    assert_eq!(report["token_requests"], 2);
}

#[tokio::test]
async fn tokens_that_are_lent_serve_until_they_end() {
    let simulated = Simulated::new().await;
    let (graph, exchange) = (
        simulated
            .token("https://graph.microsoft.com/.default")
            .await,
        simulated
            .token("https://outlook.office365.com/.default")
            .await,
    );
    let lent = OnlineAdministration::with_tokens(
        endpoints(&simulated.running.url()),
        graph.into(),
        exchange.into(),
        clock::now,
    )
    .unwrap();
    lent.sign_in().await.unwrap();
    assert!(lent.user(&simulated.somebody()).await.unwrap().is_some());
    assert!(lent.group(&simulated.list()).await.unwrap().is_some());
    simulated.advance(4000).await;
    for ended in [
        lent.user(&simulated.somebody()).await.map(drop),
        lent.group(&simulated.list()).await.map(drop),
    ] {
        let Err(AdministrationError::Call(error)) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(error.meaning, Meaning::PauseAccount);
        assert!(
            error.detail.server_text.contains("give a new one"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn whose_answer_is_lost_is_found_before_it_is_made_again() {
    let simulated = Simulated::new().await;
    let user = new_user("svc-lost");
    simulated.fault("lost_reply", "POST users").await;
    let lost = simulated.administration.create_user(&user).await;
    let Err(AdministrationError::Call(error)) = lost else {
        panic!("{lost:?}")
    };
    assert!(error.unanswered, "{error:?}");
    simulated.advance(10).await;
    let found = simulated
        .administration
        .user(&user.user_name)
        .await
        .unwrap();
    assert_eq!(found.unwrap().mark.as_deref(), Some("calgrant-1"));

    let group = new_group("cal-lost");
    for (fault, at) in [("lost_reply", 0), ("error_after_effect", 1)] {
        let group = NewGroup {
            address: address(&format!("cal-lost-{at}@uni.example")),
            name: format!("Lost {at}"),
            ..group.clone()
        };
        simulated.fault(fault, "New-DistributionGroup").await;
        let lost = simulated.administration.create_group(&group).await;
        let Err(AdministrationError::Call(error)) = lost else {
            panic!("{fault}: {lost:?}")
        };
        assert!(error.unanswered, "{fault}: {error:?}");
        simulated.advance(10).await;
        let found = simulated
            .administration
            .group(&group.address)
            .await
            .unwrap();
        assert!(found.is_some(), "{fault}");
    }
}

#[tokio::test]
async fn seats_come_to_an_end_and_a_group_keeps_what_it_gives() {
    let simulated = Simulated::new().await;
    let administration = &simulated.administration;
    let skus = administration.skus().await.unwrap();
    let small = skus.iter().find(|sku| sku.enabled_seats == 5).unwrap();
    let mut last: Option<MailboxId> = None;
    // Whoever was there before has one.
    for at in 0..5 {
        let user = new_user(&format!("svc-seat-{at}"));
        let made = administration.create_user(&user).await.unwrap();
        simulated.advance(10).await;
        let given = administration
            .assign_licence(&made.id, &small.sku_id, &[])
            .await;
        if at < 4 {
            given.unwrap();
            last = Some(made.id);
        } else {
            let Err(AdministrationError::Refused { why }) = given else {
                panic!("{given:?}")
            };
            assert!(
                why.contains("no seat") && why.contains(&small.sku_id),
                "{why}"
            );
        }
    }
    let unknown = "00000000-0000-4000-8000-000000000bad";
    let given = administration
        .assign_licence(&last.unwrap(), unknown, &[])
        .await;
    let Err(AdministrationError::Refused { why }) = given else {
        panic!("{given:?}")
    };
    assert!(why.contains(unknown), "{why}");
}

#[tokio::test]
async fn a_naming_policy_shows_in_the_answer_and_a_team_is_told_from_a_group() {
    let simulated = Simulated::new().await;
    let policy = json!({"group_naming_policy": "PRE <GroupName>"});
    simulated
        .control(reqwest::Method::PUT, "dials", Some(&policy))
        .await;
    let made = simulated
        .administration
        .create_group(&new_group("cal-named"))
        .await
        .unwrap();
    assert_eq!(made.name, "PRE Calendar Access cal-named");
    let team = address("team@uni.example");
    let found = simulated.administration.group(&team).await.unwrap();
    assert_eq!(
        found.unwrap().kind,
        calgrant_domain::GroupKind::Microsoft365
    );
}
