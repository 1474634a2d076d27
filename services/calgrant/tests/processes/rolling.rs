//! A rolling upgrade: each service stopped in order and started again, under load. A client that tries again when a server is
//! away sees no failure.

use std::time::Duration;

use calgrant_contract::pb::provisioning::v1::{
    GetOperationRequest, Operation, OperationState, WatchOperationRequest,
    provisioning_service_client::ProvisioningServiceClient,
};
use calgrant_simulator::{EVERYONE, SchoolOptions};
use calgrant_testkit::eventually;
use serde_json::json;
use tokio::task::JoinHandle;
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

async fn set(mailboxes: usize) -> Set {
    let set = Set::start(&SchoolOptions {
        mailboxes,
        grantors: 2,
        read_lag_max_secs: 1,
        provision_delay_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    set.school.turn(&json!({"latency_ms": 100})).await;
    set
}

/// A run under way, and clients that follow it.
struct Load {
    id: String,
    stop: CancellationToken,
    asking: JoinHandle<u64>,
    watching: JoinHandle<Vec<u64>>,
}

fn load(set: &Set) -> Load {
    let id = set.submit(["--group", EVERYONE]);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let asking = tasks.spawn(ask(set.api_url(), id.clone(), stop.clone()));
    let watching = tasks.spawn(watch(set.api_url(), id.clone()));
    Load {
        id,
        stop,
        asking,
        watching,
    }
}

async fn serves_again(set: &Set, id: &str) {
    eventually("it serves again", async || {
        set.operation(id).await.is_some()
    })
    .await;
}

/// It ends as if nothing had been, and no client saw a failure.
async fn ends_unharmed(set: &Set, load: Load) {
    let Load {
        id,
        stop,
        asking,
        watching,
    } = load;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_in_turn_under_load() {
    let mut set = set(120).await;
    let load = load(&set);
    for name in ["status", "api", "worker"] {
        set.stop_and_run(name).await;
        serves_again(&set, &load.id).await;
    }
    ends_unharmed(&set, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_version_migrates_under_load_and_this_one_goes_on() {
    let mut set = set(120).await;
    let load = load(&set);
    let under_way = |operation: &Operation| {
        let counts = operation.counts.clone().unwrap_or_default();
        counts.outstanding > 0 && counts.outcomes.iter().any(|outcome| outcome.count > 0)
    };
    set.until(&load.id, under_way).await;
    set.database.migrate_further().await;
    // One of this version that dies now comes back, too.
    set.stop_and_run("status").await;
    serves_again(&set, &load.id).await;
    ends_unharmed(&set, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_ends_where_the_schema_went_another_way() {
    let mut set = set(2).await;
    set.stop("status").await;
    let client = set.database.client().await;
    let changed = "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 4";
    client.execute(changed, &[]).await.unwrap();
    set.run("status");
    assert_eq!(set.ends("status").await.code(), Some(1));
    set.says("status", "V4__claims").await;
}
