//! `kill -9` at any time: the operation completes, nothing is counted twice, `added` stays `added`.

use calgrant_contract::pb::provisioning::v1::{Operation, OperationState};
use calgrant_simulator::{EVERYONE, SchoolOptions};
use serde_json::json;

use crate::set::Set;

fn school(mailboxes: usize) -> SchoolOptions {
    SchoolOptions {
        mailboxes,
        grantors: 2,
        read_lag_max_secs: 1,
        provision_delay_secs: 1,
        // A killed worker's calls go on at the server while its successor makes new ones.
        max_in_flight: None,
        ..SchoolOptions::default()
    }
}

fn ended(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

async fn ends_true(set: &Set, id: &str) {
    let operation = set
        .until(id, |operation| operation.end_time.is_some())
        .await;
    assert_eq!(operation.state(), OperationState::Done, "{operation:?}");
    let counts = operation.counts.clone().unwrap_or_default();
    let sum: u64 = counts.outcomes.iter().map(|count| count.count).sum();
    assert_eq!((counts.accepted, counts.outstanding), (sum, 0));
    let mailboxes = set.mailboxes(id).await;
    assert_eq!(mailboxes.len() as u64, counts.accepted);
    // `added` of the simulator's truth is `added` here, whoever wrote it and died.
    set.school
        .assert_true(mailboxes, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_and_status_in_the_middle_of_writing() {
    let mut set = Set::start(&school(150)).await;
    set.school.turn(&json!({"latency_ms": 100})).await;
    let id = set.submit(["--group", EVERYONE]);
    for (some, name) in [(20, "worker"), (50, "status"), (80, "worker"), (110, "api")] {
        set.until(&id, |operation| ended(operation) >= some).await;
        set.kill_and_run(name);
    }
    ends_true(&set, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_in_the_middle_of_a_listing() {
    let mut set = Set::start(&school(1100)).await;
    set.school.turn(&json!({"latency_ms": 400})).await;
    let id = set.submit(["--group", EVERYONE]);
    set.until(&id, |operation| {
        assert_ne!(operation.state(), OperationState::Running, "too late");
        operation.counts.clone().unwrap_or_default().accepted > 0
    })
    .await;
    set.kill_and_run("api");
    set.school.turn(&json!({"latency_ms": 0})).await;
    ends_true(&set, &id).await;
}
