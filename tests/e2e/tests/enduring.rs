//! What goes away in the middle, and comes back: the operation goes on, nothing is lost, nothing is counted twice.

use std::time::Duration;

use calgrant_contract::pb::{
    fleet::v1::ListAccountsRequest,
    provisioning::v1::{CancelOperationRequest, Operation, OperationState, RunDelegationRequest},
};
use calgrant_e2e::{House, Service, Setup, TENANT, grantor_secret, group};
use calgrant_runtime::clock;
use calgrant_simulator::EVERYONE;
use calgrant_testkit::eventually;
use serde_json::json;

/// A school whose calls take some time, so that a run of this many mailboxes takes some seconds.
async fn slow(mailboxes: usize) -> House {
    let house = House::start(Setup::mailboxes(mailboxes)).await;
    house.school.turn(&json!({"latency_ms": 150})).await;
    house
}

fn ended(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

/// The operation is half through.
async fn halfway(house: &House, id: &str, mailboxes: u64) {
    house
        .until(id, |operation| {
            let done = ended(operation);
            assert!(done < mailboxes, "too late: {operation:?}");
            done >= mailboxes / 3
        })
        .await;
}

async fn ends_true(house: &House, id: &str) {
    let operation = house.ended(id).await;
    assert_eq!(operation.state(), OperationState::Done, "{operation:?}");
    let counts = House::counts(&operation);
    assert!(counts["added"] > 0, "{counts:?}");
    house.assert_true(id, &format!("group={EVERYONE}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_rabbitmq_absent_at_the_start() {
    let house = House::empty(Setup {
        servers_away: true,
        ..Setup::mailboxes(20)
    })
    .await;
    let refused = house
        .fleet
        .clone()
        .list_accounts(ListAccountsRequest::default())
        .await
        .expect_err("nothing can be known");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    house.to_database.set_away(false);
    house.to_broker.set_away(false);
    house.apply(house.tenant()).await;
    let operation = house.done(group("staff@uni.example")).await;
    house
        .assert_true(&operation.id, "group=staff@uni.example")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_gone_in_the_middle() {
    let house = slow(150).await;
    let operation = house.submit(group(EVERYONE)).await;
    halfway(&house, &operation.id, 150).await;
    house.to_database.set_away(true);
    eventually("status says that its database is away", async || {
        let request = ListAccountsRequest::default();
        let answer = house.fleet.clone().list_accounts(request).await;
        answer.is_err_and(|status| status.code() == tonic::Code::Unavailable)
    })
    .await;
    house.to_database.set_away(false);
    ends_true(&house, &operation.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_gone_in_the_middle() {
    let house = slow(150).await;
    let operation = house.submit(group(EVERYONE)).await;
    halfway(&house, &operation.id, 150).await;
    house.to_broker.set_away(true);
    let seen = ended(&house.operation(&operation.id).await);
    // Accepting needs no broker.
    let plan = RunDelegationRequest {
        validate_only: true,
        ..group("staff@uni.example")
    };
    let second = house.submit(plan).await;
    house.to_broker.set_away(false);
    house.until(&operation.id, |now| ended(now) > seen).await;
    ends_true(&house, &operation.id).await;
    let planned = house.ended(&second.id).await;
    assert_eq!(planned.state(), OperationState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_stopped_and_started_in_the_middle() {
    let mut house = slow(220).await;
    let operation = house.submit(group(EVERYONE)).await;
    for (part, service) in [Service::Worker, Service::Status, Service::Api]
        .into_iter()
        .enumerate()
    {
        let some = 40 * (part as u64 + 1);
        house
            .until(&operation.id, |operation| ended(operation) >= some)
            .await;
        house.stop(service).await;
        house.restart(service).await;
    }
    ends_true(&house, &operation.id).await;
}

/// Windows are exact across a restart: what the old process used counts for the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_worker_keeps_to_the_windows() {
    let mut setup = Setup::mailboxes(120);
    // The server's window is shorter than ours by what a busy machine may hold a call up; a process that began anew would still show.
    setup.windows = vec![(40, 2500)];
    setup.school.windows = vec![(40, 2)];
    let mut house = House::start(setup).await;
    let operation = house.submit(group(EVERYONE)).await;
    for some in [20, 50, 80] {
        house
            .until(&operation.id, |operation| ended(operation) >= some)
            .await;
        house.stop(Service::Worker).await;
        house.restart(Service::Worker).await;
    }
    ends_true(&house, &operation.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchange_away_and_back_while_tokens_expire() {
    let house = slow(120).await;
    house.school.turn(&json!({"token_life_secs": 2})).await;
    let operation = house.submit(group(EVERYONE)).await;
    halfway(&house, &operation.id, 120).await;
    house
        .school
        .put("outage", &json!({"on": true, "mode": "abort"}))
        .await;
    eventually("somebody noticed", async || {
        let jobs = house.mailboxes(&operation.id).await;
        jobs.iter().any(|job| job.waiting == "retry")
    })
    .await;
    house.school.put("outage", &json!({"on": false})).await;
    ends_true(&house, &operation.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_pauses_the_account_and_the_operation_waits_for_its_correction() {
    let setup = Setup::mailboxes(20);
    let house = House::empty(setup).await;
    let (secret, key) = (
        grantor_secret(house.folder(), 2),
        house.folder().join("key.pem"),
    );
    std::fs::write(&secret, "wrong").unwrap();
    std::fs::write(&key, "no key").unwrap();
    house.apply(house.tenant()).await;
    let operation = house.submit(group("staff@uni.example")).await;
    let mut reasons = Vec::new();
    eventually("both accounts are paused", async || {
        let request = ListAccountsRequest {
            tenant: TENANT.to_owned(),
        };
        let accounts = house
            .fleet
            .clone()
            .list_accounts(request)
            .await
            .unwrap()
            .into_inner();
        reasons = accounts
            .accounts
            .into_iter()
            .filter(|account| account.paused)
            .map(|account| account.pause_reason)
            .collect();
        reasons.len() == 2
    })
    .await;
    assert!(
        reasons.iter().any(|reason| reason.contains("7000215")),
        "{reasons:?}"
    );
    assert!(
        reasons.iter().any(|reason| reason.contains("PRIVATE KEY")),
        "{reasons:?}"
    );
    assert!(
        !reasons.iter().any(|reason| reason.contains("no key")),
        "{reasons:?}"
    );
    let waits = house
        .until(&operation.id, |now| now.state() == OperationState::Running)
        .await;
    assert!(waits.end_time.is_none());
    house.setup.write_secrets(&house.school, house.folder());
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done);
    house
        .assert_true(&operation.id, "group=staff@uni.example")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_a_wrong_secret_is_named_as_what_the_operation_waits_for() {
    let house = House::empty(Setup::mailboxes(20)).await;
    let secret = house.folder().join("reader");
    std::fs::write(&secret, "wrong").unwrap();
    house.apply(house.tenant()).await;
    let operation = house.submit(group("staff@uni.example")).await;
    let waits = house
        .until(&operation.id, |operation| !operation.waiting_for.is_empty())
        .await;
    assert!(waits.waiting_for.contains("reader"), "{waits:?}");
    house.setup.write_secrets(&house.school, house.folder());
    let ended = house.ended(&operation.id).await;
    assert_eq!(
        (ended.state(), ended.waiting_for.as_str()),
        (OperationState::Done, "")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_not_there_yet_is_parked_and_then_done() {
    let mut setup = Setup::mailboxes(60);
    // Number 50 appears when it is told to.
    setup.school.provision_delay_secs = 100_000;
    let house = House::start(setup).await;
    let operation = house.submit(group(EVERYONE)).await;
    let parked = house
        .until(&operation.id, |operation| {
            operation.parked == 1 && operation.counts.clone().unwrap_or_default().outstanding == 1
        })
        .await;
    assert_eq!(parked.state(), OperationState::Running);
    let listed = house.mailboxes(&operation.id).await;
    let waits = listed.iter().find(|job| !job.waiting.is_empty()).unwrap();
    assert_eq!(waits.waiting, "parked");
    assert!(waits.not_before.is_some());
    let path = format!("mailboxes/{}", waits.name);
    house.school.put(&path, &json!({"provisioned": true})).await;
    ends_true(&house, &operation.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_and_stale_reads_end_in_proof() {
    let mut setup = Setup::mailboxes(60);
    setup.school.read_lag_max_secs = 0;
    let house = House::start(setup).await;
    house
        .school
        .turn(&json!({
            "read_lag_ms": [200, 1500], "read_lag_share": 0.5,
            "faults": {
                "lost_reply": {"rate": 0.2, "times": 8, "only": "MailboxFolderPermission"},
                "server_error_500": {"rate": 0.1, "times": 6},
                "user_edits_between": {"rate": 0.05, "times": 2}
            }
        }))
        .await;
    let operation = house.submit(group(EVERYONE)).await;
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done);
    let counts = House::counts(&ended);
    let unproven: Vec<_> = house
        .mailboxes(&operation.id)
        .await
        .into_iter()
        .filter(|job| ["failed", "unconfirmed"].contains(&House::word(job.outcome()).as_str()))
        .collect();
    assert!(unproven.is_empty(), "{counts:?} {unproven:#?}");
    let granted = house.members(&format!("group={EVERYONE}")).await;
    assert!(
        granted
            .iter()
            .filter(|member| member["state"] == "mailbox")
            .all(|member| !member["now"].is_null()),
        "{granted:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_operation_ends_within_seconds_and_what_had_begun_is_proven() {
    let house = slow(400).await;
    let operation = house.submit(group(EVERYONE)).await;
    halfway(&house, &operation.id, 400).await;
    let asked = clock::instant();
    let request = CancelOperationRequest {
        id: operation.id.clone(),
    };
    house
        .provisioning
        .clone()
        .cancel_operation(request.clone())
        .await
        .unwrap();
    let ended = house.ended(&operation.id).await;
    let took = clock::instant() - asked;
    assert_eq!(ended.state(), OperationState::Cancelled);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let counts = House::counts(&ended);
    assert!(counts["cancelled"] > 50, "{counts:?}");
    house
        .provisioning
        .clone()
        .cancel_operation(request)
        .await
        .unwrap();
    assert_eq!(House::counts(&house.operation(&operation.id).await), counts);
    // What is not cancelled has the right; what is was not touched.
    let members = house.members(&format!("group={EVERYONE}")).await;
    for job in house.mailboxes(&operation.id).await {
        let key = job.mailbox_id.trim_start_matches("mbx_");
        let of_job = |member: &&serde_json::Value| {
            member["object_id"]
                .as_str()
                .unwrap_or_default()
                .replace('-', "")
                == key
        };
        let Some(member) = members.iter().find(of_job) else {
            continue;
        };
        match job.outcome().as_str_name() {
            "OUTCOME_CANCELLED" => assert_eq!(member["before"], member["now"], "{job:?}"),
            "OUTCOME_ADDED" => assert_eq!(member["now"]["rights"][0], "Author", "{job:?}"),
            _ => {}
        }
    }
    house.assert_harmless().await;
}
