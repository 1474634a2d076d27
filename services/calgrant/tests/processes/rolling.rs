//! A rolling upgrade: each service stopped in order and started again, under load. A client that tries again when a server is
//! away sees no failure.

use std::time::Duration;

use calgrant_contract::pb::provisioning::v1::{
    GetOperationRequest, OperationState, WatchOperationRequest,
    provisioning_service_client::ProvisioningServiceClient,
};
use calgrant_simulator::{EVERYONE, SchoolOptions};
use calgrant_testkit::eventually;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, transport::Channel};

use crate::set::Set;

/// Between two tries of a client.
const AGAIN: Duration = Duration::from_millis(20);

/// UNAVAILABLE, and a connection that broke: what other clients than tonic call so too.
fn is_away(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

fn client(api: &str) -> ProvisioningServiceClient<Channel> {
    let channel = Channel::from_shared(api.to_owned()).unwrap().connect_lazy();
    ProvisioningServiceClient::new(channel)
}

/// Asks without pause until told to stop. Answers how often that was answered.
async fn ask(api: String, id: String, stop: CancellationToken) -> u64 {
    let (mut client, mut answered) = (client(&api), 0);
    let mut again = tokio::time::interval(AGAIN);
    while !stop.is_cancelled() {
        match client
            .get_operation(GetOperationRequest { id: id.clone() })
            .await
        {
            Ok(_) => answered += 1,
            Err(status) => {
                assert!(is_away(&status), "{status:?}");
                again.tick().await;
            }
        }
    }
    answered
}

/// Watches to the end, resuming where it was when a server went away. Answers the numbers it saw.
async fn watch(api: String, id: String) -> Vec<u64> {
    let (mut client, mut seen) = (client(&api), vec![0]);
    let mut again = tokio::time::interval(AGAIN);
    loop {
        let after_sequence = *seen.last().unwrap();
        let request = WatchOperationRequest {
            id: id.clone(),
            after_sequence,
        };
        let mut changes = match client.watch_operation(request).await {
            Ok(changes) => changes.into_inner(),
            Err(status) => {
                assert!(is_away(&status), "{status:?}");
                again.tick().await;
                continue;
            }
        };
        loop {
            match changes.message().await {
                Ok(Some(change)) => {
                    let operation = change.operation.unwrap();
                    seen.push(operation.sequence);
                    if operation.end_time.is_some() {
                        return seen;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    assert!(is_away(&status), "{status:?}");
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_in_turn_under_load() {
    let mut set = Set::start(&SchoolOptions {
        mailboxes: 120,
        grantors: 2,
        read_lag_max_secs: 1,
        provision_delay_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    set.school.turn(&json!({"latency_ms": 100})).await;
    let id = set.submit(["--group", EVERYONE]);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let asking = tasks.spawn(ask(set.api_url(), id.clone(), stop.clone()));
    let watching = tasks.spawn(watch(set.api_url(), id.clone()));
    for name in ["status", "api", "worker"] {
        set.stop_and_run(name).await;
        eventually("it serves again", async || {
            set.operation(&id).await.is_some()
        })
        .await;
    }
    let ended = set
        .until(&id, |operation| operation.end_time.is_some())
        .await;
    assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
    stop.cancel();
    assert!(asking.await.unwrap() > 0);
    let seen = watching.await.unwrap();
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    let mailboxes = set.mailboxes(&id).await;
    set.school
        .assert_true(mailboxes, &format!("group={EVERYONE}"))
        .await;
    // Nothing that stopped left a call behind that its successor made room for too early.
    set.school.assert_within_limits().await;
}
