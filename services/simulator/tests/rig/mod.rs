//! A simulator and a client for it.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests uses its own part of the rig"
)]

use std::{net::SocketAddr, time::Duration};

use calgrant_runtime::waiting::until_ok;
use calgrant_simulator::{Config, Running, Scenario, SchoolOptions, TENANT_ID, start};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const READER: &str = "aaaaaaaa-0000-0000-0000-000000000000";
pub(crate) const GRANTOR: &str = "bbbbbbbb-0000-0000-0000-000000000002";
pub(crate) const GRAPH: &str = "https://graph.microsoft.com/.default";
pub(crate) const EXCHANGE: &str = "https://outlook.office365.com/.default";

pub(crate) struct Rig {
    pub(crate) running: Running,
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Rig {
    pub(crate) async fn new(options: &SchoolOptions) -> Self {
        Self::of(Scenario::school(options)).await
    }

    /// With what a scenario file holds.
    pub(crate) async fn of(scenario: Scenario) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let url = running.url();
        Self {
            running,
            client: Client::new(),
            url,
        }
    }

    pub(crate) async fn ask_token(&self, more: &[(&str, &str)]) -> Response {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(more);
        let url = format!("{}/{TENANT_ID}/oauth2/v2.0/token", self.url);
        self.client.post(url).form(&form).send().await.unwrap()
    }

    pub(crate) async fn token(&self, app: &str, secret: &str, scope: &str) -> String {
        let reply = self
            .ask_token(&[
                ("client_id", app),
                ("client_secret", secret),
                ("scope", scope),
            ])
            .await;
        assert_eq!(reply.status(), 200);
        reply.json::<Value>().await.unwrap()["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn grantor(&self) -> String {
        self.token(GRANTOR, "grantor-secret-2", EXCHANGE).await
    }

    pub(crate) async fn invoke(&self, token: &str, cmdlet: &str, parameters: Value) -> Response {
        self.try_invoke(token, cmdlet, parameters).await.unwrap()
    }

    pub(crate) async fn try_invoke(
        &self,
        token: &str,
        cmdlet: &str,
        parameters: Value,
    ) -> reqwest::Result<Response> {
        let url = format!("{}/adminapi/beta/{TENANT_ID}/InvokeCommand", self.url);
        let body = json!({"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters}});
        self.client
            .post(url)
            .bearer_auth(token)
            .json(&body)
            .send()
            .await
    }

    pub(crate) async fn folder(&self, token: &str, mailbox: &str) -> String {
        let reply = self
            .invoke(
                token,
                "Get-MailboxFolderStatistics",
                json!({"Identity": mailbox, "FolderScope": "Calendar"}),
            )
            .await;
        let body: Value = reply.json().await.unwrap();
        let row = body["value"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["FolderType"] == "Calendar")
            .unwrap();
        format!("{mailbox}:\\{}", row["Name"].as_str().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// Puts the simulator's clock forward.
    pub(crate) async fn advance(&self, ms: u64) {
        let url = format!("{}/_simulator/clock", self.url);
        let call = self.client.post(url).json(&json!({"advance_ms": ms}));
        assert_eq!(call.send().await.unwrap().status(), 200);
    }

    /// Asks again and again until the answer is right.
    pub(crate) async fn until(&self, path: &str, right: impl Fn(&Value) -> bool) {
        let stop = CancellationToken::new();
        let asked = until_ok(path, &stop, async || {
            let answer = self.get(path).await;
            if right(&answer) { Ok(()) } else { Err(answer) }
        });
        let waited = tokio::time::timeout(Duration::from_secs(10), asked).await;
        assert_eq!(
            waited,
            Ok(Some(())),
            "{path} never answered what was waited for"
        );
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> u16 {
        self.client
            .put(format!("{}{path}", self.url))
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }
}

pub(crate) fn mailbox(number: usize) -> String {
    format!("u{number:06}@uni.example")
}
