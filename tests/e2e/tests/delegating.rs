//! One request, from the gRPC call to the proven permission.

use calgrant_contract::pb::{fleet::v1::WritePath, provisioning::v1::OperationState};
use calgrant_e2e::{House, Setup, group};
use calgrant_simulator::{EVERYONE, TRUSTEE};
use serde_json::Value;

/// Everything the simulator can say against a run.
async fn assert_proven(house: &House) {
    let proof = house
        .school
        .get(&format!("proof?group={EVERYONE}&trustee={TRUSTEE}"))
        .await;
    let report = house.school.get("report").await;
    assert_eq!(report["limit_violations"], 0, "{report}");
    assert_eq!(report["foreign_entries_changed"], 0, "{report}");
    assert_eq!(proof["missing"], Value::Array(Vec::new()), "{proof}");
}

async fn a_whole_school(write_path: WritePath) {
    let house = House::start(Setup {
        write_path,
        ..Setup::default()
    })
    .await;
    let first = house.done(group(EVERYONE)).await;
    let counts = House::counts(&first);
    assert!(counts["added"] > 20, "{counts:?}");
    assert_proven(&house).await;
    let second = house.done(group(EVERYONE)).await;
    let again = House::counts(&second);
    assert!(
        !again.contains_key("added") && !again.contains_key("updated"),
        "{again:?}"
    );
    assert_eq!(second.state(), OperationState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_admin_api() {
    a_whole_school(WritePath::AdminApi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_invoke_command() {
    a_whole_school(WritePath::InvokeCommand).await;
}
