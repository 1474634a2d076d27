//! Messages that nobody can handle: they hold nothing up, and a person sees them.

#![expect(
    clippy::unwrap_used,
    reason = "what is prepared for a test succeeds or ends it"
)]

use std::time::Duration;

use calgrant_bus::{Bus, Delivery, Message, Queue};
use calgrant_contract::{
    bus::{RESULTS, VERSION},
    pb::{
        bus::v1::{Job, Result as JobResult, Results, result::Reading},
        provisioning::v1::Operation,
        status::v1::{
            DeadLetterFilter, DeadLetterState, DiscardDeadLettersRequest, OperationMailbox,
            ReplayDeadLettersRequest,
        },
    },
};
use calgrant_domain::{JobId, OperationId};
use calgrant_e2e::{House, Service, Setup, TENANT, group, publish};
use calgrant_testkit::eventually_within;
use prost::Message as _;

const STAFF: &str = "staff@uni.example";
const LONG: Duration = Duration::from_secs(60);

fn message(body: Vec<u8>) -> Message {
    Message {
        body,
        message_id: uuid::Uuid::new_v4().to_string(),
        kind: "application/x-protobuf",
        traceparent: None,
    }
}

async fn bus(house: &House) -> Bus {
    Bus::connect(house.vhost.url(), "test").await.unwrap()
}

fn operation_id(id: &str) -> Vec<u8> {
    id.parse::<OperationId>()
        .unwrap()
        .as_uuid()
        .into_bytes()
        .to_vec()
}

fn job_id(id: &str) -> Vec<u8> {
    id.parse::<JobId>().unwrap().as_uuid().into_bytes().to_vec()
}

/// An operation whose workers are away, and one of its jobs as a message of the broker.
async fn one_taken() -> (House, Operation, Bus, Delivery) {
    let mut house = House::start(Setup::mailboxes(20)).await;
    house.stop(Service::Worker).await;
    let operation = house.submit(group(STAFF)).await;
    let bus = bus(&house).await;
    let mut jobs = bus.consumer(&Queue::jobs(TENANT, "bulk"), 1).await.unwrap();
    let delivery = tokio::time::timeout(LONG, jobs.next())
        .await
        .expect("in time")
        .unwrap();
    jobs.stop().await;
    let job = Job::decode(delivery.body.as_slice()).unwrap();
    assert_eq!(job.tenant, house.tenant().name);
    (house, operation, bus, delivery)
}

/// The mailbox of a job, as status tells of it.
async fn mailbox_of(house: &House, operation: &Operation, job: &[u8]) -> OperationMailbox {
    let mailboxes = house.mailboxes(&operation.id).await;
    let mut of_job = mailboxes
        .into_iter()
        .filter(|mailbox| job_id(&mailbox.job_id) == job);
    of_job.next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_holds_nothing_up_and_is_explained() {
    let house = House::start(Setup::mailboxes(20)).await;
    let bus = bus(&house).await;
    for queue in [
        Queue::results(),
        Queue::jobs(TENANT, "bulk"),
        Queue::jobs(TENANT, "interactive"),
    ] {
        publish(&bus, &queue, message(b"\xff\xff junk".to_vec())).await;
    }
    let letters = house.dead(3).await;
    assert!(
        letters.iter().all(|letter| letter.cause == "malformed"),
        "{letters:?}"
    );
    let of_tenant = DeadLetterFilter {
        tenant: TENANT.to_owned(),
        ..DeadLetterFilter::default()
    };
    let of_tenant = house
        .dead_letters(of_tenant, DeadLetterState::Waiting)
        .await;
    assert_eq!(of_tenant.len(), 2, "{of_tenant:?}");
    house.done(group(STAFF)).await;
}

/// Of several results in one message those that are right count, and each of the others is put aside by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_result_of_several_fails_alone() {
    let (mut house, operation, bus, taken) = one_taken().await;
    let job = Job::decode(taken.body.as_slice()).unwrap();
    taken.ack().await.unwrap();
    let good = JobResult {
        job: job.id.clone(),
        operation: job.operation,
        delivery: job.delivery,
        reading: Some(Reading::GaveUp("ambiguous".to_owned())),
        ..JobResult::default()
    };
    let unknown = JobResult {
        job: vec![7; 16],
        ..good.clone()
    };
    let malformed = JobResult {
        operation: Vec::new(),
        ..good.clone()
    };
    for results in [vec![good, unknown.clone()], vec![malformed, unknown]] {
        let several = Results {
            results,
            needs_version: 2,
        };
        let several = Message {
            kind: RESULTS,
            ..message(several.encode_to_vec())
        };
        publish(&bus, &Queue::results(), several).await;
    }
    let letters = house.dead(3).await;
    let mut causes: Vec<_> = letters.iter().map(|letter| letter.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["malformed", "unknown", "unknown"]);
    assert!(letters.iter().all(|letter| letter.queue == "results"));
    let ended = mailbox_of(&house, &operation, &job.id).await;
    assert_eq!(ended.reason, "ambiguous");
    house.restart(Service::Worker).await;
    house.ended(&operation.id).await;
}

/// A job that ends the workers that take it is tried alone, put aside, and shown at its operation; the others are done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_workers_is_put_aside_and_its_job_waits_for_a_person() {
    let (mut house, operation, bus, mut taken) = one_taken().await;
    let poison = taken.body.clone();
    let job = Job::decode(poison.as_slice()).unwrap();
    taken.ack().await.unwrap();
    // Where it is tried alone, it has ended three of them already.
    let alone = Queue::alone(TENANT);
    publish(&bus, &alone, message(poison)).await;
    let mut holds = bus.consumer(&alone, 1).await.unwrap();
    for _ in 0..3 {
        taken = tokio::time::timeout(LONG, holds.next())
            .await
            .expect("in time")
            .unwrap();
        drop(taken);
    }
    holds.stop().await;
    drop(holds);
    house.restart(Service::Worker).await;
    let letter = house.dead(1).await.remove(0);
    assert_eq!(letter.cause, "crashes");
    assert_eq!(letter.operation_id, operation.id);
    assert_eq!(job_id(&letter.job_id), job.id);
    let left = house
        .until(&operation.id, |operation| {
            operation
                .counts
                .as_ref()
                .is_some_and(|counts| counts.accepted > 1 && counts.outstanding == 1)
        })
        .await;
    assert_eq!(left.dead_letters, 1);
    let mailboxes = house.mailboxes(&operation.id).await;
    let waits: Vec<_> = mailboxes
        .iter()
        .filter(|mailbox| mailbox.waiting == "set_aside")
        .collect();
    assert_eq!(waits.len(), 1, "{mailboxes:?}");
    assert_eq!(waits[0].job_id, letter.job_id);

    // After an upgrade, it is replayed.
    let replay = ReplayDeadLettersRequest {
        filter: Some(DeadLetterFilter {
            operation_id: operation.id.clone(),
            ..DeadLetterFilter::default()
        }),
        ..ReplayDeadLettersRequest::default()
    };
    let replayed = house
        .status
        .clone()
        .replay_dead_letters(replay)
        .await
        .unwrap();
    assert_eq!(replayed.into_inner().replayed, 1);
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.dead_letters, 0);
    house
        .assert_true(&operation.id, "group=staff@uni.example")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discarded_job_ends_as_failed() {
    let (mut house, operation, bus, taken) = one_taken().await;
    let job = Job::decode(taken.body.as_slice()).unwrap();
    let publisher = bus.publisher();
    let put = taken.put_aside(&publisher, "crashes", "for the test", VERSION, "one");
    put.await.unwrap();
    let letter = house.dead(1).await.remove(0);
    house.restart(Service::Worker).await;
    let discard = DiscardDeadLettersRequest {
        filter: Some(DeadLetterFilter {
            ids: vec![letter.id.clone()],
            ..DeadLetterFilter::default()
        }),
        ..DiscardDeadLettersRequest::default()
    };
    let discarded = house
        .status
        .clone()
        .discard_dead_letters(discard)
        .await
        .unwrap();
    assert_eq!(discarded.into_inner().discarded, 1);
    house.ended(&operation.id).await;
    let ended = mailbox_of(&house, &operation, &job.id).await;
    assert_eq!(
        (ended.reason.as_str(), ended.server_text.as_str()),
        ("discarded", "for the test")
    );
}

/// Messages of a later version wait: a job as a row, a result with the dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_later_version_sends_waits_for_the_upgrade() {
    let (mut house, operation, bus, taken) = one_taken().await;
    let job = Job {
        needs_version: VERSION + 1,
        phase: "of the future".to_owned(),
        ..Job::decode(taken.body.as_slice()).unwrap()
    };
    let later = message(job.encode_to_vec());
    publish(&bus, &Queue::jobs(TENANT, "bulk"), later).await;
    taken.ack().await.unwrap();
    let result = JobResult {
        job: job_id(&house.mailboxes(&operation.id).await[0].job_id),
        operation: operation_id(&operation.id),
        reading: Some(Reading::Retry(true)),
        needs_version: VERSION + 1,
        ..JobResult::default()
    };
    let result = message(result.encode_to_vec());
    publish(&bus, &Queue::results(), result).await;
    let letter = house.dead(1).await.remove(0);
    assert_eq!(
        (letter.cause.as_str(), letter.queue.as_str()),
        ("newer", "results")
    );
    assert_eq!(letter.operation_id, operation.id);

    house.restart(Service::Worker).await;
    house
        .until(&operation.id, |operation| {
            operation
                .counts
                .as_ref()
                .is_some_and(|counts| counts.accepted > 1 && counts.outstanding == 1)
        })
        .await;
    eventually_within(LONG, "the job waits as a row", async || {
        let mailboxes = house.mailboxes(&operation.id).await;
        mailboxes.iter().any(|mailbox| {
            job_id(&mailbox.job_id) == job.id
                && mailbox.server_text.contains("waits for a newer worker")
        })
    })
    .await;
    // Handed out again later, as this version makes it, it is done.
    house.ended(&operation.id).await;
    assert_eq!(house.dead(1).await[0].id, letter.id);
}
