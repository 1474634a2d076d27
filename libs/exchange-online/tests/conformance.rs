//! The suite that every adapter passes, by each way this one has to the server.

mod rig;

use calgrant_domain::WritePath;
use calgrant_exchange::conformance;
use rig::{BY_SECRET, Rig, TENANT};
use serde_json::json;

#[tokio::test]
async fn calendars_by_the_admin_api() {
    let rig = Rig::new(WritePath::AdminApi).await;
    conformance::calendars::all(&rig).await;
    assert!(rig.report().await["fronts"]["admin_api"].as_u64() > Some(50));
}

#[tokio::test]
async fn calendars_by_invoke_command() {
    let rig = Rig::new(WritePath::InvokeCommand).await;
    conformance::calendars::all(&rig).await;
    let report = rig.report().await;
    assert_eq!(report["fronts"]["admin_api"], json!(null), "{report}");
    assert_eq!(report["fronts"]["invoke_batch"], 1);
}

#[tokio::test]
async fn calendars_where_the_admin_api_is_there() {
    let rig = Rig::new(WritePath::Auto).await;
    conformance::calendars::all(&rig).await;
    assert!(rig.report().await["fronts"]["admin_api"].as_u64() > Some(50));
}

#[tokio::test]
async fn calendars_where_the_admin_api_is_not_there() {
    let rig = Rig::new(WritePath::Auto).await;
    let tenant = format!("tenants/{TENANT}");
    rig.put(&tenant, json!({"admin_api": false})).await;
    conformance::calendars::all(&rig).await;
    // Tried once; from then on it is known.
    assert_eq!(rig.report().await["fronts"]["admin_api"], 1);
}

#[tokio::test]
async fn calendars_where_the_account_has_no_role_for_the_admin_api() {
    let rig = Rig::new(WritePath::Auto).await;
    let app = format!("apps/{BY_SECRET}");
    rig.put(&app, json!({"roles": ["Exchange.ManageAsApp"]}))
        .await;
    conformance::calendars::all(&rig).await;
    assert_eq!(rig.report().await["fronts"]["admin_api"], 1);
}

#[tokio::test]
async fn calendars_with_a_certificate() {
    let rig = Rig::by_certificate(WritePath::Auto).await;
    conformance::calendars::all(&rig).await;
    assert_eq!(rig.report().await["token_requests"], 1);
}

#[tokio::test]
async fn the_directory() {
    let rig = Rig::new(WritePath::Auto).await;
    conformance::directory::all(&rig).await;
    let report = rig.report().await;
    // One token for Graph, one for Exchange.
    assert_eq!(report["token_requests"], 2);
    assert_eq!(report["limit_violations"], 0);
    // Of members of groups it asked one by one.
    assert!(report["calls"]["POST users/…/checkMemberGroups"].as_u64() > Some(5));
}
