//! The port of set-up before a simulated school with servers of its own.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::net::SocketAddr;

use async_trait::async_trait;
use calgrant_domain::{Address, NewGroup, NewUser, Password};
use calgrant_exchange::{
    Administration, AdministrationError,
    conformance::administration::{self, Office},
};
use calgrant_exchange_onprem::{PowerShellAdministration, Server, SignIn};
use calgrant_runtime::clock;
use calgrant_simulator::{Config, Running, Scenario, start};
use serde_json::{Value, json};

const UNIT: &str = "OU=Service,DC=uni,DC=example";

const SCENARIO: &str = r#"
seed = 7
[dials]
replication_lag_ms = 60000
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "uni.example"
[tenant.onprem]
domain = "UNI"
domain_controllers = ["DC01", "DC02", "DC03"]
units = ["OU=Service,DC=uni,DC=example"]
[[tenant.onprem.account]]
user = "sa-set-up@uni.example"
password = "set:up"
management_roles = ["Organization Management"]
[[tenant.onprem.account]]
user = "sa-reader@uni.example"
password = "reader"
management_roles = ["View-Only Recipients"]
[[tenant.user]]
upn = "sa-set-up@uni.example"
kind = "none"
[[tenant.user]]
upn = "sa-reader@uni.example"
kind = "none"
[[tenant.user]]
upn = "ada@uni.example"
on_premises = true
[[tenant.group]]
name = "Students"
mail = "students@uni.example"
kind = "distribution"
members = ["ada@uni.example"]
"#;

struct Simulated {
    running: Running,
    administration: PowerShellAdministration,
    reader: PowerShellAdministration,
    switches_accounts: bool,
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

impl Simulated {
    async fn new(switches_accounts: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scenario = Scenario::from_toml(SCENARIO).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let server = Server {
            url: format!("{}/PowerShell/", running.url()),
            ca_pem: None,
        };
        let connect = |user: &str, password: &str| {
            let sign_in = SignIn::Basic {
                user: format!("UNI\\{user}"),
                password: password.into(),
            };
            PowerShellAdministration::new(&server, sign_in, clock::now).unwrap()
        };
        let simulated = Self {
            administration: connect("sa-set-up", "set:up"),
            reader: connect("sa-reader", "reader"),
            switches_accounts,
            running,
        };
        let dials = json!({"disables_accounts_on_premises": switches_accounts});
        simulated
            .control(reqwest::Method::PUT, "dials", Some(&dials))
            .await;
        simulated
    }

    async fn control(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/_simulator/{path}", self.running.url());
        let mut request = reqwest::Client::new().request(method, url);
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
        Some(UNIT)
    }

    fn somebody(&self) -> Address {
        address("ada@uni.example")
    }

    fn list(&self) -> Address {
        address("students@uni.example")
    }

    fn synchronised(&self) -> Option<Address> {
        None
    }

    fn sells_licences(&self) -> bool {
        false
    }

    fn switches_accounts(&self) -> bool {
        self.switches_accounts
    }

    /// Nothing: what one domain controller was told, it knows.
    async fn wait(&self) {}

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
        usage_location: None,
        organizational_unit: Some(UNIT.into()),
        mark: "calgrant-1".into(),
    }
}

#[tokio::test]
async fn it_does_what_every_adapter_does() {
    let simulated = Simulated::new(false).await;
    administration::all(&simulated).await;
    let report = simulated
        .control(reqwest::Method::GET, "report", None)
        .await
        .to_string();
    assert!(
        report.contains("\"open\":0") && !report.contains("\"open\":1"),
        "{report}"
    );
}

#[tokio::test]
async fn the_first_answer_decides_which_domain_controller_is_asked() {
    let simulated = Simulated::new(false).await;
    let administration = &simulated.administration;
    administration.sign_in().await.unwrap();
    assert_eq!(administration.domain_controller().await, None);
    let nobody = address("nobody@uni.example");
    assert_eq!(administration.user(&nobody).await, Ok(None));
    let asked = administration.domain_controller().await;
    assert_eq!(asked.as_deref(), Some("DC03.uni.example"));
    administration.sign_out().await;
}

#[tokio::test]
async fn accounts_are_switched_where_the_server_does_it() {
    let simulated = Simulated::new(true).await;
    administration::a_user_is_changed(&simulated).await;
    simulated.administration.sign_out().await;
}

#[tokio::test]
async fn whose_answer_is_lost_is_found_before_it_is_made_again() {
    let simulated = Simulated::new(false).await;
    let administration = &simulated.administration;
    administration.sign_in().await.unwrap();
    let user = new_user("svc-lost");
    // The answer to what the command has to say: it ran, and nobody hears how.
    simulated
        .fault("lost_reply", "WSMan Receive New-Mailbox")
        .await;
    let lost = administration.create_user(&user).await;
    let Err(AdministrationError::Call(error)) = lost else {
        panic!("{lost:?}")
    };
    assert!(error.unanswered, "{error:?}");
    let found = administration.user(&user.user_name).await.unwrap().unwrap();
    // It came without its mark: whoever began it knows that it did.
    assert_eq!((found.mark, found.enabled), (None, true));

    let group = NewGroup {
        address: address("cal-lost@uni.example"),
        name: "Lost".into(),
        owners: vec![address("ada@uni.example")],
        organizational_unit: None,
    };
    simulated
        .fault("lost_reply", "WSMan Receive New-DistributionGroup")
        .await;
    let lost = administration.create_group(&group).await;
    let Err(AdministrationError::Call(error)) = lost else {
        panic!("{lost:?}")
    };
    assert!(error.unanswered, "{error:?}");
    assert!(
        administration
            .group(&group.address)
            .await
            .unwrap()
            .is_some()
    );
    administration.sign_out().await;
}
