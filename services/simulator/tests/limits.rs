//! Limits by key, over HTTP: whose they are, what is said about them, and what the judge makes of them.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use calgrant_simulator::{SchoolOptions, TENANT_ID};
use reqwest::Response;
use serde_json::{Value, json};

use rig::{EXCHANGE, GRANTOR, GRAPH, READER, Rig, mailbox};

const OTHER: &str = "bbbbbbbb-0000-0000-0000-000000000003";

async fn rig() -> (Rig, String) {
    let rig = Rig::new(&SchoolOptions {
        read_lag_max_secs: 0,
        max_in_flight: None,
        ..SchoolOptions::default()
    })
    .await;
    let token = rig.grantor().await;
    (rig, token)
}

async fn ask(rig: &Rig, token: &str, number: usize) -> Response {
    let ask = json!({"Identity": mailbox(number), "FolderScope": "Calendar"});
    rig.invoke(token, "Get-MailboxFolderStatistics", ask).await
}

async fn limit_app(rig: &Rig, limits: Value) {
    let path = format!("/_simulator/apps/{GRANTOR}");
    assert_eq!(rig.put(&path, json!({"limits": limits})).await, 200);
}

async fn limit_tenant(rig: &Rig, change: Value) {
    let path = format!("/_simulator/tenants/{TENANT_ID}");
    assert_eq!(rig.put(&path, change).await, 200);
}

async fn mark(rig: &Rig) {
    let url = format!("{}/_simulator/mark", rig.url);
    assert_eq!(rig.client.post(url).send().await.unwrap().status(), 200);
}

async fn account(rig: &Rig, app: &str) -> Value {
    rig.get("/_simulator/report").await["accounts"][app]["exchange"].clone()
}

#[tokio::test]
async fn a_window_is_exact_and_says_what_was_allowed() {
    let (rig, token) = rig().await;
    limit_app(&rig, json!({"windows": [[3, 10], [100, 60]]})).await;
    mark(&rig).await;
    for left in ["2", "1", "0"] {
        let reply = ask(&rig, &token, 1).await;
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["rate-limit-limit"], "3");
        assert_eq!(reply.headers()["rate-limit-remaining"], left);
        assert_eq!(reply.headers()["x-concurrencycount"], "0");
    }
    let refused = ask(&rig, &token, 1).await;
    assert_eq!(refused.status(), 429);
    let scope = refused.headers()["x-ms-throttle-scope"].to_str().unwrap();
    assert!(scope.starts_with("Tenant_Application/"), "{scope}");
    rig.advance(9_000).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 429);
    rig.advance(1_000).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 200);
    let shown = account(&rig, GRANTOR).await;
    assert_eq!((&shown["calls"], &shown["refused"]), (&json!(6), &json!(2)));
    assert_eq!(shown["refused_by"]["app: 3 in 10 s"], 2);
    assert_eq!(shown["allowed_calls"], 6);
    // it was told to wait, and came back too soon once
    assert_eq!(shown["early_calls"], 1);
    let latest = shown["per_second"]["latest"].as_array().unwrap();
    let past: u64 = latest.iter().filter_map(Value::as_u64).sum();
    assert!(past >= 4, "{shown}"); // all but those of this second
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["limit_violations"], 2);
}

#[tokio::test]
async fn a_tenant_limit_is_for_all_its_callers() {
    let (rig, token) = rig().await;
    let other = rig.token(OTHER, "grantor-secret-3", EXCHANGE).await;
    limit_tenant(&rig, json!({"limits": {"windows": [[2, 60]]}})).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 200);
    assert_eq!(ask(&rig, &other, 2).await.status(), 200);
    let refused = ask(&rig, &other, 2).await;
    assert_eq!(refused.status(), 429);
    let scope = refused.headers()["x-ms-throttle-scope"].to_str().unwrap();
    assert!(scope.starts_with("Tenant/"), "{scope}");
    // Graph is counted apart
    let reader = rig.token(READER, "reader-secret", GRAPH).await;
    let users = format!("{}/v1.0/users?$top=1", rig.url);
    let call = rig.client.get(&users).bearer_auth(&reader);
    assert_eq!(call.send().await.unwrap().status(), 200);
    limit_tenant(&rig, json!({"graph_limits": {"windows": [[1, 60]]}})).await;
    for status in [200, 429] {
        let call = rig.client.get(&users).bearer_auth(&reader);
        assert_eq!(call.send().await.unwrap().status(), status);
    }
    let report = rig.get("/_simulator/report").await;
    let tenant = &report["tenants"][TENANT_ID.to_string()];
    assert_eq!(tenant["exchange"]["refused"], 1);
    assert_eq!(tenant["graph"]["refused"], 1);
    assert_eq!(report["violations_by_app"][OTHER]["tenant: 2 in 60 s"], 1);
}

#[tokio::test]
async fn a_mailbox_has_places_of_its_own() {
    let (rig, token) = rig().await;
    let other = rig.token(OTHER, "grantor-secret-3", EXCHANGE).await;
    let limits = json!({"mailbox_limits": {"windows": [[1, 60]]}});
    limit_tenant(&rig, limits).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 200);
    assert_eq!(ask(&rig, &token, 2).await.status(), 200);
    // by whatever name, and whoever asks
    let alias = json!({"Identity": "person.1@uni.example", "FolderScope": "Calendar"});
    let refused = rig
        .invoke(&other, "Get-MailboxFolderStatistics", alias)
        .await;
    assert_eq!(refused.status(), 429);
    let report = rig.get("/_simulator/report").await;
    let mailboxes = &report["tenants"][TENANT_ID.to_string()]["mailboxes"];
    assert_eq!(mailboxes["refused"], 1);
}

#[tokio::test]
async fn graph_names_its_mailbox_limit() {
    let (rig, _) = rig().await;
    let reader = rig.token(READER, "reader-secret", GRAPH).await;
    let roles = json!({"roles": ["Calendars.Read"]});
    assert_eq!(
        rig.put(&format!("/_simulator/apps/{READER}"), roles).await,
        200
    );
    let limits = json!({"graph_mailbox_limits": {"max_in_flight": 0}});
    limit_tenant(&rig, limits).await;
    let url = format!("{}/v1.0/users/{}/calendar", rig.url, mailbox(1));
    let reply = rig.client.get(url).bearer_auth(&reader).send().await;
    let reply = reply.unwrap();
    assert_eq!(reply.status(), 429);
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["error"]["code"], "ApplicationThrottled");
}

#[tokio::test]
async fn a_hidden_limit_shows_in_no_header() {
    let (rig, token) = rig().await;
    let limits =
        json!({"windows": [[100, 10]], "hidden_windows": [[1, 10]], "without_retry_after": true});
    limit_app(&rig, limits).await;
    let reply = ask(&rig, &token, 1).await;
    assert_eq!(reply.headers()["rate-limit-remaining"], "99");
    let reply = ask(&rig, &token, 1).await;
    assert_eq!(reply.status(), 429);
    assert!(!reply.headers().contains_key("retry-after"));
    assert!(!reply.headers().contains_key("x-ms-throttle-scope"));
    assert_eq!(reply.headers()["rate-limit-remaining"], "99");
    let shown = account(&rig, GRANTOR).await;
    assert_eq!(shown["refused_by"]["app: 1 in 10 s (hidden)"], 1);
}

#[tokio::test]
async fn a_call_without_its_client_keeps_its_place() {
    let (rig, token) = rig().await;
    limit_app(&rig, json!({"max_in_flight": 1})).await;
    mark(&rig).await;
    let slow = json!({"latency_ms": 400});
    assert_eq!(rig.put("/_simulator/dials", slow).await, 200);
    let url = format!("{}/adminapi/beta/{TENANT_ID}/InvokeCommand", rig.url);
    let body = json!({"CmdletInput": {"CmdletName": "Get-MailboxFolderStatistics",
        "Parameters": {"Identity": mailbox(1), "FolderScope": "Calendar"}}});
    let call = rig.client.post(url).bearer_auth(&token).json(&body);
    let patience = std::time::Duration::from_millis(100);
    assert!(call.timeout(patience).send().await.is_err());
    assert_eq!(ask(&rig, &token, 1).await.status(), 429);
    let ended = |report: &Value| report["accounts"][GRANTOR]["exchange"]["in_flight"] == 0;
    rig.until("/_simulator/report", ended).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 200);
    let shown = account(&rig, GRANTOR).await;
    assert_eq!(shown["admitted"], 2);
    let number = |field: &str| shown[field].as_u64().unwrap();
    assert!(number("busy_ms") >= 800, "{shown}");
    assert!(number("available_ms") >= number("busy_ms"), "{shown}");
    assert!(number("allowed_calls") >= 2, "{shown}");
}

#[tokio::test]
async fn a_storm_ends_by_itself_and_is_no_violation() {
    let (rig, token) = rig().await;
    let storm = json!({"on": true, "mode": "429", "secs": 30, "retry_after": 20});
    assert_eq!(rig.put("/_simulator/outage", storm).await, 200);
    let reply = ask(&rig, &token, 1).await;
    assert_eq!(reply.status(), 429);
    assert_eq!(reply.headers()["retry-after"], "20");
    rig.advance(30_000).await;
    assert_eq!(ask(&rig, &token, 1).await.status(), 200);
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["injected"]["outage_429"], 1);
    assert_eq!(report["limit_violations"], 0);
}

#[tokio::test]
async fn wrong_limits_are_named() {
    let (rig, _) = rig().await;
    for limits in [json!({"windows": [[3, 0]]}), json!({"max": 3})] {
        let path = format!("/_simulator/apps/{GRANTOR}");
        assert_eq!(rig.put(&path, json!({"limits": limits})).await, 400);
    }
}
