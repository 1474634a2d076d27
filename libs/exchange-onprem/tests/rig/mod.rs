//! A simulated school with servers of its own, and adapters before it.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests uses its own part of the rig"
)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use calgrant_domain::{Address, Calendar, Observed, Rights};
use calgrant_exchange::{
    Answer, Ask, Calendars, CallError, Directory, Performed, Selection,
    conformance::{self, Expected, Names, ROLES, State, World, asking},
};
use calgrant_exchange_onprem::{Server, SignIn};
use calgrant_simulator::{Config, Running, Scenario, start};
use serde_json::{Value, json};

pub(crate) const TRUSTEE: &str = "delegates@uni.example";
const FREE: usize = 60;
const CMDLETS: &[&str] = &[
    "Get-Mailbox",
    "Get-MailboxFolderStatistics",
    "Get-MailboxFolderPermission",
    "Add-MailboxFolderPermission",
    "Set-MailboxFolderPermission",
    "Remove-MailboxFolderPermission",
];
pub(crate) fn address(raw: &str) -> Address {
    raw.parse().unwrap()
}

fn user(upn: &str, more: &str) -> String {
    format!("\n[[tenant.user]]\nupn = \"{upn}\"\non_premises = true\n{more}\n")
}

fn calendar(path: &str, entries: &[(&str, &str, &str)]) -> String {
    let entry = |(who, rights, flags): &(&str, &str, &str)| {
        format!(
            "{{ principal = {who:?}, rights = {:?}, flags = {:?} }}",
            rights.split(',').collect::<Vec<_>>(),
            flags
                .split(',')
                .filter(|flag| !flag.is_empty())
                .collect::<Vec<_>>()
        )
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    format!(
        "\n[[tenant.user.calendar]]\npath = {path:?}\nentries = [{}]\n",
        entries.join(", ")
    )
}

fn scenario() -> String {
    let cmdlets = format!("{CMDLETS:?}");
    let mut text = format!(
        r#"
seed = 7
https = "127.0.0.1:0"
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "uni.example"
managed = ["{TRUSTEE}"]
[tenant.onprem]
domain = "UNI"
[[tenant.onprem.policy]]
name = "small"
ews_max_concurrency = 1
powershell_max_concurrency = 2
[[tenant.onprem.account]]
user = "sa-full@uni.example"
password = "full:secret"
full_access = ["*"]
cmdlets = {cmdlets}
[[tenant.onprem.account]]
user = "sa-acting@uni.example"
password = "acting"
impersonation = ["*"]
[[tenant.onprem.account]]
user = "sa-small@uni.example"
password = "small"
policy = "small"
full_access = ["*"]
cmdlets = {cmdlets}
[[tenant.user]]
upn = "sa-full@uni.example"
kind = "none"
[[tenant.user]]
upn = "sa-acting@uni.example"
kind = "none"
[[tenant.user]]
upn = "sa-small@uni.example"
kind = "none"
[[tenant.user]]
upn = "cloud@uni.example"
"#
    );
    text += &user("ada@uni.example", "");
    text += &user("twin@uni.example", "name = \"Delegates\"");
    text += &user("never@uni.example", "never_provisioned = true");
    text += &user("no.calendar@uni.example", "without_calendar = true");
    text += &user(
        "o'brien@uni.example",
        &format!(
            "outside_write_scope = true\n{}",
            calendar("Kalender", &[("Default", "Reviewer", "")])
        ),
    );
    text += &user(
        "delegate@uni.example",
        &calendar("Kalender", &[(TRUSTEE, "Editor", "Delegate")]),
    );
    text += &user(
        "orphan@uni.example",
        &calendar(
            "Kalender",
            &[
                ("NT:S-1-5-21-1-2-3-500", "Reviewer", ""),
                ("ada@uni.example", "Editor", ""),
            ],
        ),
    );
    text += &user(
        "external@uni.example",
        &calendar(
            "Kalender",
            &[
                ("external:pat@partner.example", "AvailabilityOnly", ""),
                ("external:Member@local", "Reviewer", ""),
            ],
        ),
    );
    for at in 0..FREE {
        let calendars = [
            calendar(
                "Kalender",
                &[
                    ("ada@uni.example", "Owner", ""),
                    ("Default", "Reviewer", ""),
                    ("external:pat@partner.example", "AvailabilityOnly", ""),
                ],
            ),
            calendar("Kalender\\Projekt", &[(TRUSTEE, "Owner", "")]),
            calendar("Archiv\\Kalender", &[]),
        ];
        text += &user(&format!("free{at:02}@uni.example"), &calendars.concat());
    }
    for (at, held) in ROLES.iter().enumerate() {
        let entries = [("twin@uni.example", "Owner", ""), (TRUSTEE, *held, "")];
        text += &user(
            &format!("holds{at:02}@uni.example"),
            &calendar("Lịch", &entries),
        );
    }
    text += &format!(
        r#"
[[tenant.group]]
name = "Delegates"
mail = "{TRUSTEE}"
members = ["ada@uni.example"]
[[tenant.group]]
name = "Students"
mail = "students@uni.example"
kind = "distribution"
members = ["ada@uni.example"]
"#
    );
    text
}

pub(crate) struct Rig {
    pub(crate) running: Running,
    pub(crate) url: String,
    pub(crate) calendars: Box<dyn Calendars>,
    tells_delegates: bool,
    requests_of_a_change: u32,
    free: AtomicUsize,
}

/// `DOMAIN\account` and its password.
pub(crate) fn basic(user: &str, password: &str) -> SignIn {
    SignIn::Basic {
        user: format!("UNI\\{user}"),
        password: password.into(),
    }
}

impl Rig {
    /// The school, and the adapter that `connect` makes before its URL.
    pub(crate) async fn new(connect: impl FnOnce(&str) -> Box<dyn Calendars>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scenario = Scenario::from_toml(&scenario()).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let url = running.url();
        Self {
            calendars: connect(&url),
            running,
            url,
            tells_delegates: true,
            requests_of_a_change: 1,
            free: AtomicUsize::new(0),
        }
    }

    /// Lists are written whole, and hold no flags of delegates.
    pub(crate) fn whole_lists(self) -> Self {
        Self {
            tells_delegates: false,
            requests_of_a_change: 2,
            ..self
        }
    }

    async fn control(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/_simulator/{path}", self.url);
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().await.unwrap();
        assert!(reply.status().is_success(), "{}", reply.status());
        reply.json().await.unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.control(reqwest::Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        self.control(reqwest::Method::PUT, path, Some(body)).await;
    }

    /// The next call of any kind meets this fault, so many times.
    pub(crate) async fn fault(&self, name: &str, times: u32) {
        let fault = json!({"rate": 1.0, "times": times});
        self.put("dials", json!({"faults": {name: fault}})).await;
    }

    pub(crate) fn free(&self) -> Address {
        let at = self.free.fetch_add(1, Ordering::Relaxed);
        assert!(at < FREE, "make more");
        address(&format!("free{at:02}@uni.example"))
    }

    pub(crate) async fn perform(&self, asks: &[(&Address, Ask)]) -> Performed {
        asking::perform(&*self.calendars, asks).await
    }

    pub(crate) async fn one(&self, mailbox: &Address, ask: Ask) -> Result<Answer, CallError> {
        asking::one(&*self.calendars, mailbox, ask).await.1
    }

    pub(crate) async fn calendar(&self, mailbox: &Address) -> Calendar {
        asking::calendar(&*self.calendars, mailbox).await
    }

    /// The true list of a mailbox's calendar.
    pub(crate) async fn list(&self, mailbox: &str) -> Value {
        let mailbox = mailbox.replace('\'', "%27");
        self.get(&format!("permissions?mailbox={mailbox}")).await
    }
}

#[async_trait]
impl World for Rig {
    fn calendars(&self) -> &dyn Calendars {
        &*self.calendars
    }

    fn directory(&self) -> &dyn Directory {
        panic!("this adapter has none")
    }

    fn mailbox(&self, state: State) -> Address {
        match state {
            State::Free => self.free(),
            State::Holds(rights) => {
                let at = conformance::place_of(rights);
                address(&format!("holds{at:02}@uni.example"))
            }
            State::Delegate => address("delegate@uni.example"),
            State::Missing => address("nobody@uni.example"),
            State::Unlicensed => address("cloud@uni.example"),
            State::NotProvisioned => address("never@uni.example"),
            State::NoCalendar => address("no.calendar@uni.example"),
            State::OutOfScope => address("o'brien@uni.example"),
        }
    }

    fn trustee(&self) -> Address {
        address(TRUSTEE)
    }

    fn powerless(&self) -> Address {
        address("students@uni.example")
    }

    fn unknown(&self) -> Address {
        address("o'nobody@uni.example")
    }

    fn tells_delegates(&self) -> bool {
        self.tells_delegates
    }

    fn requests_of_a_change(&self) -> u32 {
        self.requests_of_a_change
    }

    fn selections(&self) -> Vec<Expected> {
        Vec::new()
    }

    fn missing_selections(&self) -> Vec<Selection> {
        Vec::new()
    }

    fn names(&self) -> Names {
        panic!("this adapter has no directory")
    }

    async fn truth(&self, mailbox: &Address) -> Observed {
        let list = self.list(mailbox.as_str()).await;
        let entry = list
            .as_array()
            .and_then(|list| list.iter().find(|entry| entry["principal"] == TRUSTEE));
        entry.map_or(Observed::Absent, |entry| {
            let names = entry["rights"].as_array().into_iter().flatten();
            let rights = Rights::from_names(names.filter_map(|name| name.as_str()));
            Observed::Present(rights.expect("names of rights"))
        })
    }

    async fn foreign_changes(&self) -> u64 {
        let report = self.get("report").await;
        report["foreign_entries_changed"].as_u64().expect("a count")
    }
}

/// The server of an interface.
pub(crate) fn server(url: &str, path: &str) -> Server {
    Server {
        url: format!("{url}{path}"),
        ca_pem: None,
    }
}
