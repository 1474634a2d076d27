//! The operator's hand on accounts, while an operation runs.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::time::Duration;

use calgrant_contract::pb::{
    fleet::v1::{
        Account, AccountState, DrainAccountRequest, ExplainPaceRequest, ListAccountsRequest,
        PaceExplanation, PauseAccountRequest, PlanCapacityRequest, ResumeAccountRequest,
        ScaleAccountRequest, SetAccountBudgetRequest,
    },
    provisioning::v1::{Operation, OperationState, RunDelegationRequest, SiteKind},
};
use calgrant_e2e::{House, Refused, Setup, TENANT, group};
use calgrant_simulator::EVERYONE;
use calgrant_testkit::eventually_within;
use serde_json::json;

/// An operator's word counts everywhere within five seconds; a machine that does much else is given more to show it.
const FOLLOWS: Duration = Duration::from_secs(30);

async fn slow(mailboxes: usize) -> House {
    let house = House::start(Setup::mailboxes(mailboxes)).await;
    house.school.turn(&json!({"latency_ms": 150})).await;
    house
}

fn ended(operation: &Operation) -> u64 {
    let counts = operation.counts.clone().unwrap_or_default();
    counts.accepted - counts.outstanding
}

async fn accounts(house: &House) -> Vec<Account> {
    let request = ListAccountsRequest {
        tenant: TENANT.to_owned(),
    };
    let answer = house.fleet.clone().list_accounts(request).await;
    answer.unwrap().into_inner().accounts
}

async fn account(house: &House, name: &str) -> Account {
    let all = accounts(house).await;
    let named = |account: &Account| account.spec.as_ref().is_some_and(|spec| spec.name == name);
    all.into_iter().find(named).unwrap()
}

async fn why(house: &House) -> PaceExplanation {
    let request = ExplainPaceRequest {
        tenant: TENANT.to_owned(),
    };
    let answer = house.fleet.clone().explain_pace(request).await;
    answer.unwrap().into_inner().sites.remove(0)
}

async fn pause(house: &House, name: &str) -> Account {
    let request = PauseAccountRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        account: name.to_owned(),
        reason: "exams".to_owned(),
    };
    let answer = house.fleet.clone().pause_account(request).await;
    answer.unwrap().into_inner()
}

async fn resume(house: &House, name: &str) -> Account {
    let request = ResumeAccountRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        account: name.to_owned(),
    };
    let answer = house.fleet.clone().resume_account(request).await;
    answer.unwrap().into_inner()
}

/// An account with calls under way is stopped, or has none any more.
fn is_still(account: &Account) -> bool {
    account.calls_in_flight == 0 && account.replicas == 0
}

async fn under_way(house: &House, name: &str) {
    eventually_within(Duration::from_secs(30), "calls are under way", async || {
        account(house, name).await.calls_in_flight > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_and_its_end_are_followed_within_seconds_and_others_go_on() {
    let house = slow(400).await;
    let operation = house.submit(group(EVERYONE)).await;
    under_way(&house, "sa-1").await;
    let paused = pause(&house, "sa-1").await;
    assert_eq!(paused.state(), AccountState::Paused);
    assert!(paused.paused && paused.pause_reason == "exams" && !paused.changed_by.is_empty());
    eventually_within(FOLLOWS, "nothing of it is under way", async || {
        is_still(&account(&house, "sa-1").await)
    })
    .await;
    let seen = ended(&house.operation(&operation.id).await);
    let later = house
        .until(&operation.id, |now| ended(now) >= seen + 30)
        .await;
    assert_eq!(later.waiting_for, "", "another account works");
    let of_others = house.mailboxes(&operation.id).await;
    assert!(of_others.iter().any(|job| job.account == "sa-2"));
    assert!(is_still(&account(&house, "sa-1").await));
    let said = why(&house).await;
    assert!(said.text.contains("sa-1 is paused by"), "{said:?}");
    resume(&house, "sa-1").await;
    eventually_within(FOLLOWS, "it works again", async || {
        account(&house, "sa-1").await.calls_in_flight > 0
    })
    .await;
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done);
    house
        .assert_true(&operation.id, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_accounts_stopped_the_operation_says_what_it_waits_for() {
    let house = slow(200).await;
    let operation = house.submit(group(EVERYONE)).await;
    under_way(&house, "sa-1").await;
    house
        .until(&operation.id, |now| now.state() == OperationState::Running)
        .await;
    pause(&house, "sa-1").await;
    let request = DrainAccountRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        account: "sa-2".to_owned(),
        reason: String::new(),
    };
    let drained = house.fleet.clone().drain_account(request).await.unwrap();
    assert!(
        matches!(
            drained.get_ref().state(),
            AccountState::Draining | AccountState::Drained
        ),
        "{drained:?}"
    );
    let held = house.operation(&operation.id).await;
    assert!(
        held.waiting_for.contains("sa-1 is paused") && held.waiting_for.contains("resume sa-1"),
        "{held:?}"
    );
    eventually_within(FOLLOWS, "it is drained", async || {
        account(&house, "sa-2").await.state() == AccountState::Drained
    })
    .await;
    let still = house.operation(&operation.id).await;
    assert!(still.end_time.is_none());
    let estimate = still.estimate.unwrap();
    assert!(estimate.calls_left > 0 && estimate.remaining_seconds.is_none());
    let said = why(&house).await;
    assert_eq!((said.why.as_str(), said.feedable_workers), ("stopped", 0));
    resume(&house, "sa-2").await;
    let freed = house.operation(&operation.id).await;
    assert_eq!(freed.waiting_for, "");
    assert!(freed.sequence > held.sequence);
    assert_eq!(
        house.ended(&operation.id).await.state(),
        OperationState::Done
    );
    house
        .assert_true(&operation.id, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scale_and_budget_are_followed_within_seconds() {
    let house = slow(600).await;
    let operation = house.submit(group(EVERYONE)).await;
    under_way(&house, "sa-1").await;
    let scale = async |account: &str, workers| {
        let request = ScaleAccountRequest {
            tenant: TENANT.to_owned(),
            site: SiteKind::Online.into(),
            account: account.to_owned(),
            workers,
        };
        let answer = house.fleet.clone().scale_account(request).await;
        answer.unwrap().into_inner()
    };
    let before = accounts(&house).await;
    assert_eq!(before.len(), 3);
    scale("sa-1", 1).await;
    eventually_within(FOLLOWS, "sa-1 has one call under way", async || {
        let now = account(&house, "sa-1").await;
        now.calls_in_flight <= 1 && now.keys[0].in_flight_most == Some(1)
    })
    .await;
    let budget = SetAccountBudgetRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        account: "sa-2".to_owned(),
        max_in_flight: Some(2),
        ..SetAccountBudgetRequest::default()
    };
    let set = house.fleet.clone().set_account_budget(budget).await;
    let set = set.unwrap().into_inner();
    assert!(
        set.notes
            .iter()
            .any(|note| note.contains("2 calls in flight")),
        "{set:?}"
    );
    eventually_within(FOLLOWS, "sa-2 has two calls under way", async || {
        account(&house, "sa-2").await.calls_in_flight <= 2
    })
    .await;
    eventually_within(FOLLOWS, "what binds is said", async || {
        ["workers", "in_flight"].contains(&why(&house).await.why.as_str())
    })
    .await;
    // More than the budget allows is no use, and is said.
    let scaled = scale("sa-1", 20).await;
    assert!(
        scaled.notes.iter().any(|note| note.contains("8 calls")),
        "{scaled:?}"
    );
    eventually_within(FOLLOWS, "sa-1 has more calls under way", async || {
        account(&house, "sa-1").await.calls_in_flight > 4
    })
    .await;
    assert_eq!(
        house.ended(&operation.id).await.state(),
        OperationState::Done
    );
    house
        .assert_true(&operation.id, &format!("group={EVERYONE}"))
        .await;
    // Applying the file again shows what was changed by hand.
    let again = calgrant_contract::pb::fleet::v1::ApplyTenantRequest {
        spec: Some(house.tenant()),
        validate_only: true,
        ..Default::default()
    };
    let changes = house.fleet.clone().apply_tenant(again).await.unwrap();
    let changes = changes.into_inner().changes;
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(
        changes
            .iter()
            .any(|line| line.contains("workers = 8 (was 20)"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_ahead_comes_true() {
    let mut setup = Setup::mailboxes(400);
    // Reads that are repeated until they show what was written can't be planned.
    setup.school.read_lag_max_secs = 0;
    let house = House::start(setup).await;
    house.school.turn(&json!({"latency_ms": 150})).await;
    let plan = RunDelegationRequest {
        validate_only: true,
        ..group(EVERYONE)
    };
    let plan = house.done(plan).await;
    let counts = House::counts(&plan);
    let planned = plan.estimate.clone().unwrap();
    assert!(planned.calls_needed >= counts["added"] * 3, "{planned:?}");
    assert!(
        planned
            .remaining_seconds
            .is_some_and(|seconds| seconds > 1.0)
    );
    let operation = house.submit(group(EVERYONE)).await;
    let running = house
        .until(&operation.id, |now| {
            now.state() == OperationState::Running && ended(now) >= 80
        })
        .await;
    let at_first = running.estimate.unwrap();
    assert!(
        at_first.calls_left > 0
            && at_first.estimated_end_time.is_some()
            && at_first.remaining_seconds.is_some_and(|left| left > 0.0),
        "{at_first:?}"
    );
    let over = house.ended(&operation.id).await;
    let estimate = over.estimate.unwrap();
    assert_eq!((estimate.calls_left, estimate.remaining_seconds), (0, None));
    let needed = estimate.calls_needed;
    let planned = planned.calls_needed;
    assert!(
        planned.abs_diff(needed) * 10 <= needed,
        "{planned} planned, {needed} made"
    );
    let ahead = PlanCapacityRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        mailboxes: 40_000,
        by: None,
    };
    let ahead = house.fleet.clone().plan_capacity(ahead).await.unwrap();
    let ahead = ahead.into_inner();
    assert_eq!((ahead.calls_needed, ahead.accounts), (160_000, 2));
    assert!(
        ahead.seconds.is_some_and(|seconds| seconds > 600.0),
        "{ahead:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_serves_one_account_reads_no_other_s_secret() {
    let house = House::empty(Setup {
        only: calgrant_worker::only::Only::new(vec!["uni/online/sa-2".parse().unwrap()]),
        ..Setup::mailboxes(30)
    })
    .await;
    // Whoever looked for it would report the account as refused.
    std::fs::remove_file(house.folder().join("key.pem")).unwrap();
    house.apply(house.tenant()).await;
    let operation = house.done(group(EVERYONE)).await;
    let jobs = house.mailboxes(&operation.id).await;
    assert!(jobs.iter().all(|job| job.account != "sa-1"));
    assert_eq!(account(&house, "sa-1").await.state(), AccountState::Working);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_names_the_field_the_value_and_what_to_do() {
    let house = House::start(Setup::mailboxes(5)).await;
    let request = ScaleAccountRequest {
        tenant: TENANT.to_owned(),
        site: SiteKind::Online.into(),
        account: "sa-9".to_owned(),
        workers: 4,
    };
    let unknown = house.fleet.clone().scale_account(request.clone()).await;
    let unknown = Refused::from(unknown.unwrap_err());
    assert_eq!(unknown.code, tonic::Code::NotFound);
    assert!(
        unknown.fields[0].0 == "account" && unknown.fields[0].1.contains("sa-1, sa-2"),
        "{unknown:?}"
    );
    let none = ScaleAccountRequest {
        workers: 0,
        ..request
    };
    let none = Refused::from(house.fleet.clone().scale_account(none).await.unwrap_err());
    assert_eq!(none.code, tonic::Code::InvalidArgument);
    assert!(none.fields[0].1.contains("pause"), "{none:?}");
    let said = why(&house).await;
    assert_eq!(said.why, "idle");
}
