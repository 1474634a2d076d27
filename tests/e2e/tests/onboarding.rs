//! People join, move and leave: from the event to the right, and to whoever waits for it.

#![expect(
    clippy::unwrap_used,
    reason = "what is prepared for a test succeeds or ends it"
)]

use std::time::Duration;

use calgrant_bus::{Delivery, Queue, Whole};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    pb::{
        provisioning::v1::{
            CreateDelegationRequest, DelegationSpec, Lane, OperationState, Outcome, Policy,
            selector::By,
        },
        status::v1::{
            AccessChangeKind, DeadLetterFilter, DeadLetterState, DiscardDeadLettersRequest,
            ReplayDeadLettersRequest, WatchMailboxAccessRequest, WatchMailboxAccessResponse,
        },
    },
};
use calgrant_domain::EventKind;
use calgrant_e2e::{ACCESS, House, Identity, Service, Setup, TENANT, event, group, wish};
use calgrant_simulator::{EVERYONE, TRUSTEE};
use calgrant_testkit::eventually_within;
use serde_json::{Value, json};
use tonic::{Code, Streaming};

const ADA: &str = "person.5@uni.example";
const BOB: &str = "person.6@uni.example";
const STAFF: &str = "staff@uni.example";
const LONG: Duration = Duration::from_secs(60);

/// A delegation that is kept; answers its id.
async fn keep(house: &House, by: By, change: impl FnOnce(&mut DelegationSpec)) -> String {
    let mut spec = DelegationSpec {
        policy: Policy::Keep.into(),
        ..wish(by)
    };
    change(&mut spec);
    let created = house
        .provisioning
        .clone()
        .create_delegation(CreateDelegationRequest { spec: Some(spec) })
        .await;
    created.unwrap().into_inner().id
}

async fn keep_staff(house: &House) -> String {
    keep(house, By::Group(STAFF.to_owned()), |_| {}).await
}

async fn watch(house: &House, after_sequence: u64) -> Streaming<WatchMailboxAccessResponse> {
    let request = WatchMailboxAccessRequest {
        tenant: TENANT.to_owned(),
        after_sequence,
    };
    let watched = house.status.clone().watch_mailbox_access(request).await;
    watched.unwrap().into_inner()
}

async fn next(changes: &mut Streaming<WatchMailboxAccessResponse>) -> WatchMailboxAccessResponse {
    let next = tokio::time::timeout(LONG, changes.message()).await;
    next.expect("in time").unwrap().expect("more")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_is_granted_once_however_often_it_is_told() {
    let house = House::start(Setup::onboarding(20)).await;
    let delegation = keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    let joined = event("A-1", EventKind::Joined, ADA, 0);
    for _ in 0..3 {
        identity.send(&joined).await;
    }
    let operation = house.brought_about(1).await.remove(0);
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
    assert_eq!(ended.delegation_id, delegation);
    assert_eq!(ended.lane(), Lane::Interactive);
    assert_eq!(ended.requested_by, "onboarding");
    assert_eq!(ended.ticket, "event A-1 of /identity");
    assert_eq!(ended.mailboxes, [ADA]);
    assert_eq!(ended.counts.unwrap().accepted, 1);
    let right = house.school.rights(ADA, TRUSTEE).await;
    assert!(right.is_some(), "{right:?}");
    // The whole queue is dealt with, and nothing else came of it.
    eventually_within(LONG, "no event is left", async || {
        identity.bus.ready_count(&Queue::events()).await.unwrap() == 0
    })
    .await;
    identity.send(&joined).await;
    identity
        .send(&event("A-2", EventKind::Joined, BOB, 0))
        .await;
    // One whom the delegation doesn't select has nothing to be done for, and that is no failure.
    let other = house.brought_about(2).await.remove(1);
    let ended = house.ended(&other.id).await;
    assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
    assert_eq!(ended.counts.unwrap().accepted, 0);
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_what_was_acted_on_changes_nothing() {
    let house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    identity
        .send(&event("A-2", EventKind::Moved, ADA, 60))
        .await;
    house.brought_about(1).await;
    // By another of its names, which is known by now.
    let first = house.operations().await.remove(0);
    house.ended(&first.id).await;
    identity
        .send(&event("A-1", EventKind::Joined, "u000005@uni.example", 0))
        .await;
    identity
        .send(&event("A-3", EventKind::Joined, ADA, 61))
        .await;
    let all = house.brought_about(2).await;
    assert_eq!(all[1].ticket, "event A-3 of /identity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusions_win_over_whoever_names_the_delegation() {
    let house = House::start(Setup::onboarding(20)).await;
    let delegation = keep(&house, By::Group(STAFF.to_owned()), |spec| {
        spec.exclude_mailboxes
            .push("p6@mail.uni.example".to_owned());
        spec.policy = Policy::Once.into();
    })
    .await;
    let identity = Identity::of(&house).await;
    for (id, address) in [("A-1", BOB), ("A-2", "person.8@uni.example")] {
        let mut named = event(id, EventKind::Joined, address, 0);
        named.data["delegation"] = json!(delegation);
        identity.send(&named).await;
    }
    for operation in house.brought_about(2).await {
        let ended = house.ended(&operation.id).await;
        let excluded = ended.mailboxes == [BOB];
        assert_eq!(ended.excluded, u64::from(excluded), "{ended:?}");
        // Named, it is granted although the selector doesn't select it.
        assert_eq!(ended.counts.unwrap().accepted, u64::from(!excluded));
    }
    let bob = house.member(&format!("group={EVERYONE}"), BOB).await;
    assert_eq!(bob["before"], bob["now"]);
    assert!(
        house
            .school
            .rights("person.8@uni.example", TRUSTEE)
            .await
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_not_there_yet_is_waited_for() {
    let house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    house
        .school
        .put(&format!("mailboxes/{ADA}"), &json!({"licensed": false}))
        .await;
    let identity = Identity::of(&house).await;
    identity
        .send(&event("A-1", EventKind::Joined, ADA, 0))
        .await;
    let operation = house.brought_about(1).await.remove(0);
    house
        .until(&operation.id, |operation| operation.parked == 1)
        .await;
    house
        .school
        .put(&format!("mailboxes/{ADA}"), &json!({"licensed": true}))
        .await;
    let ended = house.ended(&operation.id).await;
    assert!(!House::counts(&ended).contains_key("failed"), "{ended:?}");
    assert!(house.school.rights(ADA, TRUSTEE).await.is_some());

    // Whom not even the directory knows is looked for again and again, and holds nobody up.
    let delegation = house.operations().await.remove(0).delegation_id;
    let mut unknown = event("A-2", EventKind::Joined, "new@uni.example", 0);
    unknown.data["delegation"] = json!(delegation);
    identity.send(&unknown).await;
    let waits = house.brought_about(2).await.remove(1);
    let waits = house
        .until(&waits.id, |waits| !waits.waiting_for.is_empty())
        .await;
    assert!(waits.waiting_for.contains("new@uni.example"), "{waits:?}");
    assert_eq!(waits.state(), OperationState::Listing);
    for number in 0..5 {
        house.done(group(STAFF)).await;
        identity
            .send(&event(
                &format!("B-{number}"),
                EventKind::Moved,
                ADA,
                number,
            ))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_explained_replayed_and_discarded() {
    let house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    let mut other = event("A-1", EventKind::Joined, ADA, 0);
    other.data["tenant"] = json!("school");
    identity.send(&other).await;
    identity.send_raw(b"junk".to_vec(), STRUCTURED).await;
    identity.send_raw(b"{}".to_vec(), "application/json").await;
    let later = CloudEvent {
        kind: "nl.calgrant.mailbox.joined.v9".to_owned(),
        ..event("A-2", EventKind::Joined, ADA, 0)
    };
    identity.send(&later).await;
    // Of a type that isn't ours: passed over.
    let foreign = CloudEvent {
        kind: "com.example.payroll.paid.v1".to_owned(),
        ..later
    };
    identity.send(&foreign).await;
    let letters = house.dead(4).await;
    let of = |cause: &str| -> Vec<_> {
        let of_cause = letters.iter().filter(|letter| letter.cause == cause);
        of_cause.cloned().collect()
    };
    assert_eq!(of("malformed").len(), 2);
    let unknown = of("unknown").remove(0);
    assert!(unknown.reason.contains("no such tenant"), "{unknown:?}");
    assert!(
        unknown.about.contains("A-1") && unknown.text.contains(ADA),
        "{unknown:?}"
    );
    assert!(!unknown.advice.is_empty() && unknown.dead_time.is_some());
    let newer = of("newer").remove(0);
    assert!(newer.reason.contains("v9"), "{newer:?}");

    // The tenant that was missing is there now: what waits for it is replayed.
    let mut school = house.tenant();
    school.name = "school".to_owned();
    house.apply(school).await;
    let filter = |cause: &str| DeadLetterFilter {
        cause: cause.to_owned(),
        ..DeadLetterFilter::default()
    };
    let mut status = house.status.clone();
    let nothing = ReplayDeadLettersRequest::default();
    let refused = status.replay_dead_letters(nothing).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let replay = ReplayDeadLettersRequest {
        filter: Some(filter("unknown")),
        ticket: "T-1".to_owned(),
        ..ReplayDeadLettersRequest::default()
    };
    let mut replay = tonic::Request::new(replay);
    replay
        .metadata_mut()
        .insert("calgrant-caller", "ada".parse().unwrap());
    let replayed = status.replay_dead_letters(replay).await.unwrap();
    assert_eq!(replayed.into_inner().replayed, 1);
    let replayed = house
        .dead_letters(filter("unknown"), DeadLetterState::Replayed)
        .await;
    assert_eq!(
        (
            replayed[0].resolved_by.as_str(),
            replayed[0].ticket.as_str()
        ),
        ("ada", "T-1")
    );
    let discard = DiscardDeadLettersRequest {
        filter: Some(filter("malformed")),
        ..DiscardDeadLettersRequest::default()
    };
    let discarded = status.discard_dead_letters(discard).await.unwrap();
    assert_eq!(discarded.into_inner().discarded, 2);
    // What is from a newer version still waits, for the upgrade.
    assert_eq!(house.dead(1).await[0].cause, "newer");
    eventually_within(LONG, "no event is left", async || {
        identity.bus.ready_count(&Queue::events()).await.unwrap() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_binary_mode_by_the_queue_itself() {
    let house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    for (id, address, prefix) in [
        ("A-1", ADA, "cloudEvents:"),
        ("A-2", "person.10@uni.example", "cloudEvents_"),
    ] {
        let structured = event(id, EventKind::Joined, address, 0);
        let attributes = [
            ("specversion", "1.0"),
            ("type", &structured.kind),
            ("source", "/identity"),
            ("id", id),
            ("time", "2026-09-20T08:00:00Z"),
        ];
        let headers = attributes.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned()));
        let whole = Whole {
            body: structured.data.to_string().into_bytes(),
            message_id: id.to_owned(),
            content_type: "application/json".to_owned(),
            headers: headers.to_vec(),
        };
        let (publisher, events) = (identity.bus.publisher(), Queue::events());
        // A broker refuses for a moment what comes to a queue that is just being made.
        eventually_within(LONG, "the queue takes it", async || {
            publisher.publish_whole(&events, &whole, &[]).await.is_ok()
        })
        .await;
    }
    for operation in house.brought_about(2).await {
        let ended = house.ended(&operation.id).await;
        assert_eq!(ended.counts.unwrap().accepted, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_learns_who_is_ready_and_resumes() {
    let mut house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    // Whoever listens on the broker.
    let (listener, keys) = (Queue::jobs("listener", "bulk"), ["uni.#".to_owned()]);
    identity.bus.bind(&listener, ACCESS, &keys).await.unwrap();
    let mut told = identity.bus.consumer(&listener, 100).await.unwrap();

    let mut changes = watch(&house, 0).await;
    let nothing_known = next(&mut changes).await;
    assert_eq!((nothing_known.sequence, nothing_known.change), (0, None));
    identity
        .send(&event("A-1", EventKind::Joined, ADA, 0))
        .await;
    let granted = next(&mut changes).await;
    assert_eq!(granted.sequence, 1);
    let change = granted.change.unwrap();
    assert_eq!(change.kind(), AccessChangeKind::Granted);
    assert_eq!(change.trustee, TRUSTEE);
    let operation = house.brought_about(1).await.remove(0);
    assert_eq!(change.operation_id, operation.id);

    // Somebody else's watch begins with what is known.
    let mut late = watch(&house, 0).await;
    let known = next(&mut late).await;
    assert_eq!(
        (known.sequence, known.change.unwrap().mailbox_id),
        (0, change.mailbox_id.clone())
    );
    let end = next(&mut late).await;
    assert_eq!((end.sequence, end.change), (1, None));

    // A run for all: whoever has the right is told, those who had it already are not told again.
    let all = house.done(group(STAFF)).await;
    let outcomes = house.mailboxes(&all.id).await;
    house.stop(Service::Status).await;
    house.restart(Service::Status).await;
    let mut resumed = {
        let mut resumed = None;
        eventually_within(LONG, "status serves again", async || {
            let request = WatchMailboxAccessRequest {
                tenant: TENANT.to_owned(),
                after_sequence: 1,
            };
            resumed = house
                .status
                .clone()
                .watch_mailbox_access(request)
                .await
                .ok();
            resumed.is_some()
        })
        .await;
        resumed.unwrap().into_inner()
    };
    let granted = [
        Outcome::Added,
        Outcome::Updated,
        Outcome::Unchanged,
        Outcome::LeftHigher,
    ];
    // Recipients that a listing found unsuitable are told of only where they were asked for by name.
    let expected = outcomes
        .iter()
        .filter(|mailbox| granted.contains(&mailbox.outcome()))
        .count()
        - 1;
    for number in 0..expected {
        let change = next(&mut resumed).await;
        assert_eq!(change.sequence, 2 + number as u64);
        assert_ne!(change.change.unwrap().mailbox_id, operation.mailboxes[0]);
    }
    let request = WatchMailboxAccessRequest {
        tenant: TENANT.to_owned(),
        after_sequence: 1_000_000,
    };
    let mut lost = house
        .status
        .clone()
        .watch_mailbox_access(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(lost.message().await.unwrap_err().code(), Code::OutOfRange);

    // The same on the broker, each at least once and in order.
    let mut sequences = Vec::new();
    while sequences.len() <= expected {
        let delivery = tokio::time::timeout(LONG, told.next())
            .await
            .expect("in time")
            .unwrap();
        let announced = announced(&delivery);
        if sequences.is_empty() {
            assert_eq!(announced["type"], "nl.calgrant.mailbox.granted.v1");
            assert_eq!(announced["data"]["mailbox"]["address"], change.address);
            assert_eq!(announced["source"], "/calgrant/uni");
        }
        let sequence: u64 = announced["id"].as_str().unwrap().parse().unwrap();
        if sequences.last().is_none_or(|last| *last < sequence) {
            sequences.push(sequence);
        }
        delivery.ack().await.unwrap();
    }
    let all: Vec<u64> = (1..=sequences.len() as u64).collect();
    assert_eq!(sequences, all);
}

fn announced(delivery: &Delivery) -> Value {
    assert_eq!(delivery.content_type(), STRUCTURED);
    serde_json::from_slice(&delivery.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_the_api_is_away() {
    let mut house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    house.stop(Service::Api).await;
    identity
        .send(&event("A-1", EventKind::Joined, ADA, 0))
        .await;
    eventually_within(LONG, "the event is taken", async || {
        identity.bus.ready_count(&Queue::events()).await.unwrap() == 0
    })
    .await;
    // Another one takes over what this one had begun.
    house.stop(Service::Onboarding).await;
    house.restart(Service::Onboarding).await;
    house.restart(Service::Api).await;
    let operation = house.brought_about(1).await.remove(0);
    house.ended(&operation.id).await;
    assert!(house.school.rights(ADA, TRUSTEE).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_is_revoked_whatever_comes_late() {
    let house = House::start(Setup::onboarding(20)).await;
    keep_staff(&house).await;
    let identity = Identity::of(&house).await;
    // Somebody who had no entry before.
    let members = house.members(&format!("group={STAFF}")).await;
    let newcomer = members.iter().find(|member| member["before"].is_null());
    let address = newcomer.unwrap()["address"].as_str().unwrap().to_owned();
    identity
        .send(&event("A-1", EventKind::Joined, &address, 10))
        .await;
    let joined = house.brought_about(1).await.remove(0);
    let joined = house.ended(&joined.id).await;
    assert_eq!(House::counts(&joined).get("added"), Some(&1), "{joined:?}");
    let mut changes = watch(&house, 1).await;
    identity
        .send(&event("A-2", EventKind::Left, &address, 20))
        .await;
    let left = house.brought_about(2).await.remove(1);
    let left = house.ended(&left.id).await;
    assert_eq!(House::counts(&left).get("removed"), Some(&1), "{left:?}");
    assert_eq!(house.school.rights(&address, TRUSTEE).await, None);
    let revoked = next(&mut changes).await;
    let change = revoked.change.unwrap();
    assert_eq!(
        (revoked.sequence, change.kind()),
        (2, AccessChangeKind::Revoked)
    );
    assert_eq!(change.operation_id, left.id);
    // Late, and again.
    identity
        .send(&event("A-0", EventKind::Joined, &address, 0))
        .await;
    identity
        .send(&event("A-2", EventKind::Left, &address, 20))
        .await;
    // Whoever leaves while the mailbox is still waited for isn't given anything later.
    let mut unknown = event("B-1", EventKind::Joined, "new@uni.example", 0);
    unknown.data["delegation"] = json!(joined.delegation_id);
    identity.send(&unknown).await;
    let waits = house.brought_about(3).await.remove(2);
    house
        .until(&waits.id, |waits| !waits.waiting_for.is_empty())
        .await;
    identity
        .send(&event("B-2", EventKind::Left, "new@uni.example", 10))
        .await;
    let waits = house.ended(&waits.id).await;
    assert_eq!(waits.state(), OperationState::Cancelled);
    house.assert_harmless().await;
}
