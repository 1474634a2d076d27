//! A simulator in this process, the two adapters before it, and a clock they share.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests uses its own part of the rig"
)]

mod people;
mod world;

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use calgrant_domain::{Address, Calendar, WritePath};
use calgrant_exchange::{Answer, Ask, CallError, Performed, conformance::asking};
use calgrant_exchange_online::{Account, Endpoints, OnlineCalendars, OnlineDirectory, Secret};
use calgrant_runtime::clock;
use calgrant_simulator::{Config, DEMO_CERTIFICATE_PEM, DEMO_KEY_PEM, Running, Scenario, start};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

pub(crate) use people::{ADA, People, TENANT, TRUSTEE};

/// An app with a secret, and one with a certificate.
pub(crate) const BY_SECRET: &str = "bbbbbbbb-0000-0000-0000-000000000001";
pub(crate) const BY_CERTIFICATE: &str = "bbbbbbbb-0000-0000-0000-000000000002";
pub(crate) const READER: &str = "aaaaaaaa-0000-0000-0000-000000000000";
pub(crate) const SECRET: &str = "hush";

thread_local! {
    // Every test has a thread of its own, on which all its futures are polled.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The adapters' clock.
pub(crate) fn now() -> OffsetDateTime {
    clock::now() + AHEAD.get()
}

pub(crate) struct Rig {
    pub(crate) running: Running,
    pub(crate) client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) people: People,
    pub(crate) calendars: OnlineCalendars,
    pub(crate) directory: OnlineDirectory,
    free: AtomicUsize,
}

impl Rig {
    /// A grantor with a secret.
    pub(crate) async fn new(path: WritePath) -> Self {
        Self::with(path, BY_SECRET, Secret::Client(SECRET.into())).await
    }

    pub(crate) async fn by_certificate(path: WritePath) -> Self {
        let secret = Secret::Certificate {
            key_pem: DEMO_KEY_PEM.into(),
            certificate_pem: DEMO_CERTIFICATE_PEM.to_owned(),
        };
        Self::with(path, BY_CERTIFICATE, secret).await
    }

    pub(crate) async fn with(path: WritePath, client_id: &str, secret: Secret) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let people = People::new();
        let running = start(Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            scenario: Scenario {
                seed: 7,
                tenants: vec![people.tenant()],
                ..Scenario::default()
            },
        })
        .await
        .unwrap();
        let url = running.url();
        let account = |client_id: &str, secret| Account {
            client_id: client_id.to_owned(),
            secret,
        };
        Self {
            calendars: OnlineCalendars::new(endpoints(&url), account(client_id, secret), path, now)
                .unwrap(),
            directory: OnlineDirectory::new(
                endpoints(&url),
                account(READER, Secret::Client(SECRET.into())),
                now,
            )
            .unwrap(),
            client: reqwest::Client::new(),
            running,
            url,
            people,
            free: AtomicUsize::new(0),
        }
    }

    /// The next mailbox without an entry of the trustee.
    pub(crate) fn free(&self) -> Address {
        let at = self.free.fetch_add(1, Ordering::Relaxed);
        self.people.free(at)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}/_simulator/{path}", self.url);
        let reply = self.client.get(url).send().await.unwrap();
        reply.json().await.unwrap()
    }

    pub(crate) async fn report(&self) -> Value {
        self.get("report").await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        let url = format!("{}/_simulator/{path}", self.url);
        let reply = self.client.put(url).json(&body).send().await.unwrap();
        let status = reply.status();
        assert!(status.is_success(), "{}", reply.text().await.unwrap());
    }

    /// The next call of any kind meets this fault, once.
    pub(crate) async fn fault(&self, name: &str, only: Option<&str>) {
        let mut fault = json!({"rate": 1.0, "times": 1});
        if let Some(only) = only {
            fault["only"] = only.into();
        }
        self.put("dials", json!({"faults": {name: fault}})).await;
    }

    /// Puts the simulator's clock forward.
    pub(crate) async fn advance_server(&self, secs: u32) {
        let url = format!("{}/_simulator/clock", self.url);
        let body = json!({"advance_ms": u64::from(secs) * 1000});
        let reply = self.client.post(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success());
    }

    /// Puts both clocks forward.
    pub(crate) async fn advance(&self, secs: u32) {
        AHEAD.set(AHEAD.get() + Duration::seconds(i64::from(secs)));
        self.advance_server(secs).await;
    }

    pub(crate) async fn perform(&self, asks: &[(&Address, Ask)]) -> Performed {
        asking::perform(&self.calendars, asks).await
    }

    pub(crate) async fn one(&self, mailbox: &Address, ask: Ask) -> Result<Answer, CallError> {
        asking::one(&self.calendars, mailbox, ask).await.1
    }

    pub(crate) async fn calendar(&self, mailbox: &Address) -> Calendar {
        asking::calendar(&self.calendars, mailbox).await
    }
}

pub(crate) fn endpoints(url: &str) -> Endpoints {
    Endpoints {
        login_url: url.to_owned(),
        graph_url: url.to_owned(),
        admin_url: url.to_owned(),
        directory_id: TENANT.to_string(),
    }
}
