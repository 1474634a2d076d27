//! Each fault by name: what a client sees of it, and what was done all the same.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use std::time::{Duration, Instant};

use calgrant_simulator::{FAULTS, SchoolOptions, TENANT_ID, TRUSTEE};
use reqwest::Response;
use serde_json::{Value, json};

use rig::{EXCHANGE, GRANTOR, GRAPH, READER, Rig, mailbox};

const GET: &str = "Get-MailboxFolderPermission";
const ADD: &str = "Add-MailboxFolderPermission";

/// A simulator that injects one fault, once.
struct Faulty {
    rig: Rig,
    token: String,
    identity: String,
    fault: &'static str,
}

impl Faulty {
    async fn new(fault: &'static str) -> Self {
        assert!(FAULTS.contains(&fault));
        let rig = Rig::new(&SchoolOptions {
            read_lag_max_secs: 0,
            ..SchoolOptions::default()
        })
        .await;
        let token = rig.grantor().await;
        let identity = rig.folder(&token, &mailbox(1)).await;
        let dials = json!({"faults": {fault: {"times": 1}}});
        assert_eq!(rig.put("/_simulator/dials", dials).await, 200);
        Self {
            rig,
            token,
            identity,
            fault,
        }
    }

    async fn read(&self) -> Response {
        let ask = json!({"Identity": self.identity, "User": "Default"});
        self.rig.invoke(&self.token, GET, ask).await
    }

    async fn grant(&self) -> reqwest::Result<Response> {
        let ask = json!({"Identity": self.identity, "User": TRUSTEE, "AccessRights": ["Author"]});
        self.rig.try_invoke(&self.token, ADD, ask).await
    }

    /// Whether the grant is in force, whatever was answered.
    async fn granted(&self) -> bool {
        let path = format!("/_simulator/permissions?mailbox={}", mailbox(1));
        let list = self.rig.get(&path).await;
        let wanted = json!({"principal": TRUSTEE, "rights": ["Author"]});
        list.as_array().unwrap().contains(&wanted)
    }

    /// The fault is over: a read works; and it was counted as injected, not held against the client.
    async fn passes(&self) {
        assert_eq!(self.read().await.status(), 200, "after {}", self.fault);
        let report = self.rig.get("/_simulator/report").await;
        assert_eq!(report["injected"], json!({self.fault: 1}));
        assert_eq!(report["limit_violations"], 0);
        assert_eq!(report["foreign_entries_changed"], 0);
    }

    async fn refuses_before_the_effect(&self, status: u16) -> Response {
        let reply = self.grant().await.unwrap();
        assert_eq!(reply.status(), status, "{}", self.fault);
        assert!(!self.granted().await);
        self.passes().await;
        reply
    }

    async fn broken_but_done(&self, granted: bool) {
        let whole = match self.grant().await {
            Ok(reply) => reply.bytes().await.is_ok(),
            Err(_) => false,
        };
        assert!(!whole, "{}", self.fault);
        assert_eq!(self.granted().await, granted);
        self.passes().await;
    }
}

#[tokio::test]
async fn throttle_429() {
    let it = Faulty::new("throttle_429").await;
    let reply = it.refuses_before_the_effect(429).await;
    assert!(reply.headers().contains_key("retry-after"));
    assert_eq!(
        it.rig.get("/_simulator/report").await["injected_throttles"],
        1
    );
}

#[tokio::test]
async fn throttle_no_retry_after() {
    let it = Faulty::new("throttle_no_retry_after").await;
    let reply = it.refuses_before_the_effect(429).await;
    assert!(!reply.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn unavailable_503() {
    let it = Faulty::new("unavailable_503").await;
    it.refuses_before_the_effect(503).await;
}

#[tokio::test]
async fn server_error_500() {
    let it = Faulty::new("server_error_500").await;
    let reply = it.refuses_before_the_effect(500).await;
    let id = reply.headers()["request-id"].to_str().unwrap().to_owned();
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["error"]["innerError"]["request-id"], id);
}

#[tokio::test]
async fn gateway_timeout_504() {
    let it = Faulty::new("gateway_timeout_504").await;
    it.refuses_before_the_effect(504).await;
}

#[tokio::test]
async fn connection_reset() {
    let it = Faulty::new("connection_reset").await;
    it.broken_but_done(false).await;
}

#[tokio::test]
async fn slow_call() {
    let it = Faulty::new("slow_call").await;
    let dials = json!({"slow_call_ms": 300, "faults": {"slow_call": {"times": 1}}});
    assert_eq!(it.rig.put("/_simulator/dials", dials).await, 200);
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a call takes is what is tested"
    )]
    let begun = Instant::now();
    assert_eq!(it.read().await.status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    it.passes().await;
}

#[tokio::test]
async fn token_expired_401() {
    let it = Faulty::new("token_expired_401").await;
    let reply = it.refuses_before_the_effect(401).await;
    assert!(reply.text().await.unwrap().contains("expired"));
}

#[tokio::test]
async fn transient_400() {
    let it = Faulty::new("transient_400").await;
    let reply = it.refuses_before_the_effect(400).await;
    assert!(reply.text().await.unwrap().contains("ServerBusyException"));
}

#[tokio::test]
async fn nul_403() {
    let it = Faulty::new("nul_403").await;
    let reply = it.refuses_before_the_effect(403).await;
    let reason = reply.headers()["x-ms-diagnostics"].to_str().unwrap();
    assert!(reason.starts_with("2000003;reason="));
    // it's one NUL byte that calls itself gzip
    assert!(reply.text().await.is_err());
}

#[tokio::test]
async fn token_unavailable_503() {
    let it = Faulty::new("token_unavailable_503").await;
    assert_eq!(ask_token(&it).await.status(), 503);
    assert_eq!(ask_token(&it).await.status(), 200);
    it.passes().await;
}

#[tokio::test]
async fn token_throttled_429() {
    let it = Faulty::new("token_throttled_429").await;
    let reply = ask_token(&it).await;
    assert_eq!(reply.status(), 429);
    assert!(reply.headers().contains_key("retry-after"));
    assert_eq!(ask_token(&it).await.status(), 200);
    it.passes().await;
}

async fn ask_token(it: &Faulty) -> Response {
    let form = [
        ("client_id", GRANTOR),
        ("client_secret", "grantor-secret-2"),
        ("scope", EXCHANGE),
    ];
    it.rig.ask_token(&form).await
}

#[tokio::test]
async fn lost_reply() {
    let it = Faulty::new("lost_reply").await;
    it.broken_but_done(true).await;
}

#[tokio::test]
async fn error_after_effect() {
    let it = Faulty::new("error_after_effect").await;
    let status = it.grant().await.unwrap().status().as_u16();
    assert!([500, 502, 503, 504].contains(&status), "{status}");
    assert!(it.granted().await);
    it.passes().await;
}

#[tokio::test]
async fn half_response() {
    let it = Faulty::new("half_response").await;
    it.broken_but_done(true).await;
}

#[tokio::test]
async fn half_response_of_graph() {
    let it = Faulty::new("half_response").await;
    let token = it.rig.token(READER, "reader-secret", GRAPH).await;
    let users = format!("{}/v1.0/users?$top=5", it.rig.url);
    let ask = async || {
        it.rig
            .client
            .get(&users)
            .bearer_auth(&token)
            .send()
            .await?
            .bytes()
            .await
    };
    assert!(ask().await.is_err());
    assert!(ask().await.is_ok());
    it.passes().await;
}

#[tokio::test]
async fn empty_success() {
    let it = Faulty::new("empty_success").await;
    let reply = it.grant().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.text().await.unwrap(), "{}");
    assert!(it.granted().await);
    it.passes().await;
}

#[tokio::test]
async fn unwrapped_single() {
    let it = Faulty::new("unwrapped_single").await;
    let body: Value = it.read().await.json().await.unwrap();
    assert_eq!(
        (&body["User"], &body["value"]),
        (&json!("Default"), &Value::Null)
    );
    it.passes().await;
}

#[tokio::test]
async fn missing_batch_status() {
    let it = Faulty::new("missing_batch_status").await;
    let base = format!("{}/adminapi/beta/{TENANT_ID}", it.rig.url);
    let item = |id: &str| {
        json!({"id": id, "method": "POST", "url": format!("{base}/InvokeCommand?"),
            "headers": {"Authorization": format!("Bearer {}", it.token)},
            "body": {"CmdletInput": {"CmdletName": GET, "Parameters": {"Identity": it.identity}}}})
    };
    let call = it.rig.client.post(format!("{base}/$batch"));
    let call = call.bearer_auth(&it.token);
    let call = call.json(&json!({"requests": [item("a"), item("b")]}));
    let body: Value = call.send().await.unwrap().json().await.unwrap();
    let responses = body["responses"].as_array().unwrap();
    let bare = responses
        .iter()
        .filter(|item| item["status"].is_null())
        .count();
    assert_eq!((responses.len(), bare), (2, 1));
    assert!(
        responses
            .iter()
            .all(|item| item["body"]["value"].is_array())
    );
    it.passes().await;
}

#[tokio::test]
async fn proxy_error_json() {
    let it = Faulty::new("proxy_error_json").await;
    let reply = it.read().await;
    assert_eq!(reply.status(), 400);
    let body: Value = reply.json().await.unwrap();
    let message = body["error"]["details"][0]["message"].as_str().unwrap();
    let inner: Value = serde_json::from_str(message).unwrap();
    assert_eq!(
        inner["ClassName"],
        "Microsoft.Exchange.Configuration.CmdletProxyException"
    );
    assert!(
        inner["Message"]
            .as_str()
            .unwrap()
            .contains("CmdletProxyNotAvailableFailure")
    );
    it.passes().await;
}

#[tokio::test]
async fn error_in_200() {
    let it = Faulty::new("error_in_200").await;
    let reply = it.read().await;
    assert_eq!(reply.status(), 200);
    let body: Value = reply.json().await.unwrap();
    assert!(body["error"].is_object());
    it.passes().await;
}

#[tokio::test]
async fn user_edits_between() {
    let it = Faulty::new("user_edits_between").await;
    let show = async || {
        let body: Value = it.read().await.json().await.unwrap();
        body["value"][0]["AccessRights"].clone()
    };
    assert_eq!(show().await, json!(["AvailabilityOnly"]));
    // what was read is out of date already
    assert_eq!(show().await, json!(["Reviewer"]));
    assert_eq!(it.rig.get("/_simulator/report").await["user_edits"], 1);
    it.passes().await;
}

#[tokio::test]
async fn one_account_can_be_hit_alone() {
    let it = Faulty::new("throttle_429").await;
    let other = "bbbbbbbb-0000-0000-0000-000000000003";
    let dials = json!({"faults": {"throttle_429": {"app": other}}});
    assert_eq!(it.rig.put("/_simulator/dials", dials).await, 200);
    assert_eq!(it.read().await.status(), 200);
    let token = it.rig.token(other, "grantor-secret-3", EXCHANGE).await;
    let ask = json!({"Identity": it.identity});
    assert_eq!(it.rig.invoke(&token, GET, ask).await.status(), 429);
}

#[tokio::test]
async fn every_fault_has_a_test_of_its_name() {
    let tests = concat!(include_str!("faults.rs"), include_str!("ews_strictness.rs"));
    for fault in FAULTS {
        assert!(tests.contains(&format!("async fn {fault}()")), "{fault}");
    }
}
