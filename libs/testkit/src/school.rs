//! A simulated school, and the simulator's own interface.

use std::net::SocketAddr;

use calgrant_simulator::{Config, Running, Scenario, SchoolOptions, TENANT_ID};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::eventually;

/// A simulator: one of its own in this process, which ends with it, or another process's.
#[derive(Debug)]
pub struct School {
    url: String,
    running: Option<Running>,
    client: Client,
}

impl School {
    /// A generated school.
    ///
    /// # Panics
    /// It can't listen on loopback.
    pub async fn new(options: &SchoolOptions) -> Self {
        // Another test of this process may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scenario = Scenario::school(options);
        scenario.ldaps = (options.on_premises_share > 0.0).then_some(listen);
        let running = calgrant_simulator::start(Config { listen, scenario })
            .await
            .unwrap_or_else(|cause| panic!("the simulator: {cause}"));
        Self {
            url: running.url(),
            running: Some(running),
            client: Client::new(),
        }
    }

    /// The simulator of another process, by its base URL.
    #[must_use]
    pub fn at(url: String) -> Self {
        Self {
            url,
            running: None,
            client: Client::new(),
        }
    }

    /// Base URL of every front.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its domain controller, if it has servers on premises.
    ///
    /// # Panics
    /// It has none, or is another process's.
    #[must_use]
    pub fn ldaps(&self) -> String {
        let Some(address) = self.running.as_ref().and_then(|running| running.ldaps) else {
            panic!("this school has no servers on premises");
        };
        // The name that its certificate is for.
        format!("ldaps://localhost:{}", address.port())
    }

    /// Whom to trust to reach the domain controller, PEM; `None` for another process's.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.running.as_ref()?.certificate()
    }

    /// What the simulator says at `path`, such as `report`.
    ///
    /// # Panics
    /// It refuses.
    pub async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await
    }

    /// Changes something.
    ///
    /// # Panics
    /// It refuses.
    pub async fn put(&self, path: &str, body: &Value) {
        self.ask(Method::PUT, path, Some(body)).await;
    }

    /// Does something, such as `mark`.
    ///
    /// # Panics
    /// It refuses.
    pub async fn post(&self, path: &str) {
        self.ask(Method::POST, path, None).await;
    }

    /// Puts these dials elsewhere; the others stay.
    ///
    /// # Panics
    /// It refuses.
    pub async fn turn(&self, dials: &Value) {
        self.put("dials", dials).await;
    }

    /// The trustee's rights on a mailbox's calendar by the simulator's own state; `None` without an entry.
    ///
    /// # Panics
    /// There is no such mailbox.
    pub async fn rights(&self, mailbox: &str, trustee: &str) -> Option<String> {
        let path = format!("permissions?mailbox={mailbox}");
        self.rights_at(&path, trustee).await
    }

    async fn rights_at(&self, path: &str, trustee: &str) -> Option<String> {
        let entries = self.get(path).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry["principal"] == trustee)?;
        Some(match &entry["rights"] {
            Value::Array(names) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                names.join(",")
            }
            other => other.as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Sets the trustee's entry as a user might, or takes it away. Done by an app that Calgrant knows as a grantor: only
    /// the record tells it from Calgrant. Reads show it when this returns: some mailboxes' lag behind.
    ///
    /// # Panics
    /// The simulator refuses, or its reads never show the edit.
    pub async fn edit(&self, mailbox: &str, trustee: &str, rights: Option<&str>) {
        let url = format!("{}/{TENANT_ID}/oauth2/v2.0/token", self.url);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "bbbbbbbb-0000-0000-0000-000000000002"),
            ("client_secret", "grantor-secret-2"),
            ("scope", "https://outlook.office365.com/.default"),
        ];
        let token = answer(self.client.post(url).form(&form)).await;
        let token = token["access_token"].as_str().unwrap_or_default();
        let found = json!({"Identity": mailbox, "FolderScope": "Calendar"});
        let found = self
            .cmdlet(token, "Get-MailboxFolderStatistics", found)
            .await;
        let folders = found["value"].as_array().cloned().unwrap_or_default();
        let main = folders.iter().find(|row| row["FolderType"] == "Calendar");
        let folder = main
            .and_then(|row| row["FolderId"].as_str())
            .unwrap_or_default();
        let identity = format!("{mailbox}:{folder}");
        let there = self.rights(mailbox, trustee).await.is_some();
        let (name, parameters) = match rights {
            None => (
                "Remove-MailboxFolderPermission",
                json!({"Identity": identity, "User": trustee, "Confirm": false}),
            ),
            Some(rights) => (
                if there {
                    "Set-MailboxFolderPermission"
                } else {
                    "Add-MailboxFolderPermission"
                },
                json!({"Identity": identity, "User": trustee, "AccessRights": [rights]}),
            ),
        };
        self.cmdlet(token, name, parameters).await;
        let shown = format!("permissions?mailbox={mailbox}&shown=true");
        eventually("reads show the edit", async || {
            self.rights_at(&shown, trustee).await == self.rights(mailbox, trustee).await
        })
        .await;
    }

    async fn cmdlet(&self, token: &str, name: &str, parameters: Value) -> Value {
        let url = format!("{}/adminapi/beta/{TENANT_ID}/InvokeCommand", self.url);
        let body = json!({"CmdletInput": {"CmdletName": name, "Parameters": parameters}});
        answer(self.client.post(url).bearer_auth(token).json(&body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/_simulator/{path}", self.url);
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }
}

/// What the simulator answers.
async fn answer(request: reqwest::RequestBuilder) -> Value {
    let answer = request
        .send()
        .await
        .unwrap_or_else(|cause| panic!("the simulator: {cause}"));
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap_or_default();
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
