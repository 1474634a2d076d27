//! Delegations that are kept: looked at again, listed anew, and what a person is told about them.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{collections::BTreeMap, time::Duration};

use calgrant_contract::pb::{
    fleet::v1::{Drift, Keeping, Leavers},
    provisioning::v1::{
        CancelOperationRequest, Delegation, GetDelegationRequest, Hold, ListOperationsRequest,
        Operation, OperationKind, OperationState, Outcome, Policy, RevokeDelegationRequest,
        RunDelegationRequest, selector::By,
    },
    status::v1::{AcknowledgeAlertRequest, Alert, ListAlertsRequest},
};
use calgrant_e2e::{House, Setup, TENANT, run, wish};
use calgrant_simulator::{EVERYONE, TRUSTEE};
use calgrant_testkit::eventually_within;
use serde_json::json;

const STAFF: &str = "staff@uni.example";
/// A principal that Calgrant has nothing to do with.
const FOREIGN: &str = "works-council@uni.example";
const LONG: Duration = Duration::from_secs(120);

/// Never, until it is said otherwise.
const NOTHING: Keeping = Keeping {
    verify_every_millis: Some(0),
    drift: 0,
    list_every_millis: Some(0),
    joiners: 0,
    leavers: 0,
    watch_every_millis: Some(0),
    group_members: Vec::new(),
    group_owners: Vec::new(),
};

/// A school whose reads show at once what was written, and nothing done by itself yet.
fn setup(mailboxes: usize) -> Setup {
    let mut setup = Setup::mailboxes(mailboxes);
    setup.school.read_lag_max_secs = 0;
    setup.keeping = Some(NOTHING);
    setup
}

fn kept(group: &str) -> RunDelegationRequest {
    let mut spec = wish(By::Group(group.to_owned()));
    spec.policy = Policy::Keep.into();
    run(spec)
}

/// From now on this is done by itself.
async fn keep(house: &House, keeping: Keeping) {
    let mut tenant = house.tenant();
    tenant.keeping = Some(keeping);
    house.apply(tenant).await;
}

async fn by_itself(house: &House, kind: OperationKind) -> Vec<Operation> {
    let request = ListOperationsRequest {
        tenant: TENANT.to_owned(),
        page_size: 1000,
        ..ListOperationsRequest::default()
    };
    let mut api = house.provisioning.clone();
    let page = api.list_operations(request).await.unwrap().into_inner();
    let mut found = page.operations;
    found.retain(|operation| operation.by_itself && operation.kind() == kind);
    // Oldest first.
    found.reverse();
    found
}

/// The first operation of this kind that was begun by itself after `after` of them, ended.
async fn next_of(house: &House, kind: OperationKind, after: usize) -> Operation {
    let mut found = None;
    eventually_within(LONG, "an operation begins by itself", async || {
        found = by_itself(house, kind).await.into_iter().nth(after);
        found.is_some()
    })
    .await;
    house.ended(&found.unwrap().id).await
}

async fn alerts(house: &House, kind: &str) -> Vec<Alert> {
    let request = ListAlertsRequest {
        tenant: TENANT.to_owned(),
        kind: kind.to_owned(),
        ..ListAlertsRequest::default()
    };
    let mut api = house.status.clone();
    api.list_alerts(request).await.unwrap().into_inner().alerts
}

async fn alert(house: &House, kind: &str) -> Alert {
    let mut found = None;
    eventually_within(LONG, "an alert is raised", async || {
        found = alerts(house, kind).await.pop();
        found.is_some()
    })
    .await;
    found.unwrap()
}

async fn delegation(house: &House, id: &str) -> Delegation {
    let request = GetDelegationRequest { id: id.to_owned() };
    let mut api = house.provisioning.clone();
    api.get_delegation(request).await.unwrap().into_inner()
}

/// Waits until two listings that begin from now on are over.
async fn listed_twice(house: &House) {
    let so_far = by_itself(house, OperationKind::Delegate).await.len();
    next_of(house, OperationKind::Delegate, so_far).await;
    next_of(house, OperationKind::Delegate, so_far + 1).await;
}

async fn added(house: &House, operation: &str) -> Vec<String> {
    let mailboxes = house.mailboxes(operation).await.into_iter();
    let added = mailboxes.filter(|mailbox| mailbox.outcome() == Outcome::Added);
    added.map(|mailbox| mailbox.name).collect()
}

async fn differing(house: &House, operation: &str) -> BTreeMap<String, (Outcome, String)> {
    let mailboxes = house.mailboxes(operation).await.into_iter();
    mailboxes
        .filter(|mailbox| mailbox.outcome() != Outcome::Verified)
        .map(|mailbox| (mailbox.name.clone(), (mailbox.outcome(), mailbox.reason)))
        .collect()
}

async fn rights(house: &House, mailbox: &str) -> Option<String> {
    house.school.rights(mailbox, TRUSTEE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tampered_with_is_reported_exactly_and_repaired_if_so_wished() {
    let house = House::start(setup(60)).await;
    let given = house.done(kept(EVERYONE)).await;
    let added = added(&house, &given.id).await;
    let [removed, lowered, raised, with_foreign] = [0, 1, 2, 3].map(|at| added[at].as_str());
    house.school.edit(removed, TRUSTEE, None).await;
    house.school.edit(lowered, TRUSTEE, Some("Reviewer")).await;
    house.school.edit(raised, TRUSTEE, Some("Owner")).await;
    for mailbox in [removed, with_foreign] {
        house.school.edit(mailbox, FOREIGN, Some("Reviewer")).await;
    }
    house.school.post("mark").await;
    let tampered = house.school.get("report").await["foreign_entries_changed"].clone();

    let every = Some(2000);
    let report = Keeping {
        verify_every_millis: every,
        ..NOTHING
    };
    keep(&house, report.clone()).await;
    let cycle = next_of(&house, OperationKind::Verify, 0).await;
    assert_eq!(
        (cycle.state(), cycle.requested_by.as_str()),
        (OperationState::Done, "calgrant")
    );
    let said = |outcome, reason: &str| (outcome, reason.to_owned());
    let wanted = |missing| {
        BTreeMap::from([
            (removed.to_owned(), said(missing, "removed_since")),
            (lowered.to_owned(), said(missing, "lowered_since")),
            (raised.to_owned(), said(Outcome::Drifted, "raised_since")),
        ])
    };
    assert_eq!(differing(&house, &cycle.id).await, wanted(Outcome::Drifted));
    let covered = cycle.counts.clone().unwrap().accepted;
    assert!(covered >= 40, "{cycle:?}");
    assert_eq!(house.school.get("report").await["writes"], 0);

    let drift = alert(&house, "drift").await;
    assert!(
        drift
            .text
            .starts_with(&format!("3 of {covered} mailboxes differ")),
        "{drift:?}"
    );
    let request = AcknowledgeAlertRequest {
        id: drift.id.clone(),
        ticket: "T-1".to_owned(),
    };
    let seen = house
        .status
        .clone()
        .acknowledge_alert(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (seen.ticket.as_str(), seen.acknowledged_by.is_empty()),
        ("T-1", false)
    );
    assert!(
        alerts(&house, "drift")
            .await
            .iter()
            .all(|alert| alert.id != drift.id)
    );

    let so_far = by_itself(&house, OperationKind::Verify).await.len();
    let repair = Keeping {
        drift: Drift::Repair.into(),
        ..report
    };
    keep(&house, repair).await;
    // One may have begun just before.
    let mut cycle = next_of(&house, OperationKind::Verify, so_far).await;
    if !House::counts(&cycle).contains_key("repaired") {
        cycle = next_of(&house, OperationKind::Verify, so_far + 1).await;
    }
    assert_eq!(
        differing(&house, &cycle.id).await,
        wanted(Outcome::Repaired)
    );
    for (mailbox, want) in [(removed, "Author"), (lowered, "Author"), (raised, "Owner")] {
        assert_eq!(
            rights(&house, mailbox).await.as_deref(),
            Some(want),
            "{mailbox}"
        );
    }
    for mailbox in [removed, with_foreign] {
        let foreign = house.school.rights(mailbox, FOREIGN).await;
        assert_eq!(foreign.as_deref(), Some("Reviewer"), "{mailbox}");
    }
    let report = house.school.get("report").await;
    assert_eq!(report["foreign_entries_changed"], tampered, "{report}");
    house.school.assert_within_limits().await;

    let shown = delegation(&house, &given.delegation_id).await.kept.unwrap();
    assert_eq!(shown.mailboxes, covered);
    assert!(
        shown.oldest_verify_time.is_some() && !shown.verify_operation_id.is_empty(),
        "{shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_is_given_the_right_and_from_who_leaves_it_is_taken() {
    let house = House::start(setup(40)).await;
    let given = house.done(kept(STAFF)).await;
    let staff = added(&house, &given.id).await;
    let leaver = staff[0].as_str();
    let suits = |member: &&serde_json::Value| {
        member["state"] == "mailbox"
            && !member["calendar"].is_null()
            && member["before"].is_null()
            && member["now"].is_null()
    };
    let everyone = house.members(&format!("group={EVERYONE}")).await;
    let joiner = everyone.iter().find(suits).unwrap()["address"]
        .as_str()
        .unwrap();
    let every_second = Keeping {
        list_every_millis: Some(1000),
        leavers: Leavers::Revoke.into(),
        ..NOTHING
    };
    keep(&house, every_second).await;
    listed_twice(&house).await;
    assert!(by_itself(&house, OperationKind::Revoke).await.is_empty());

    let change = json!({"add": [joiner], "remove": [leaver]});
    house.school.put(&format!("groups/{STAFF}"), &change).await;
    eventually_within(
        LONG,
        "the joiner has the right, the leaver has it no more",
        async || {
            rights(&house, joiner).await.as_deref() == Some("Author")
                && rights(&house, leaver).await.is_none()
        },
    )
    .await;
    let leaving = next_of(&house, OperationKind::Revoke, 0).await;
    assert_eq!(
        House::counts(&leaving),
        BTreeMap::from([("removed".to_owned(), 1)])
    );
    for other in &staff[1..] {
        assert_eq!(
            rights(&house, other).await.as_deref(),
            Some("Author"),
            "{other}"
        );
    }

    // From whom it is taken by hand, it isn't given again; nor is anybody else's taken.
    let request = RevokeDelegationRequest {
        delegation: given.delegation_id.clone(),
        mailboxes: vec![joiner.to_owned()],
        request_id: uuid::Uuid::new_v4().to_string(),
        ..RevokeDelegationRequest::default()
    };
    let mut api = house.provisioning.clone();
    let revoking = api.revoke_delegation(request).await.unwrap().into_inner();
    house.ended(&revoking.id).await;
    listed_twice(&house).await;
    assert_eq!(rights(&house, joiner).await, None);
    // Who comes back is a joiner again.
    let change = json!({"add": [leaver]});
    house.school.put(&format!("groups/{STAFF}"), &change).await;
    eventually_within(LONG, "who came back has the right again", async || {
        rights(&house, leaver).await.as_deref() == Some("Author")
    })
    .await;
    assert_eq!(by_itself(&house, OperationKind::Revoke).await.len(), 1);
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_reads_empty_takes_nothing_away_and_one_that_shrinks_waits_for_a_person() {
    let house = House::start(setup(90)).await;
    let given = house.done(kept(EVERYONE)).await;
    let added = added(&house, &given.id).await;
    house.school.post("mark").await;
    let everyone = format!("groups/{EVERYONE}");
    house.school.put(&everyone, &json!({"clear": true})).await;
    let every_second = Keeping {
        list_every_millis: Some(1000),
        leavers: Leavers::Revoke.into(),
        ..NOTHING
    };
    keep(&house, every_second).await;
    let empty = alert(&house, "empty_selection").await;
    assert_eq!(empty.subject, given.delegation_id);
    listed_twice(&house).await;
    assert_eq!(
        alerts(&house, "empty_selection").await.len(),
        1,
        "one alert, however often it is found"
    );
    assert!(by_itself(&house, OperationKind::Revoke).await.is_empty());
    assert_eq!(house.school.get("report").await["writes"], 0);

    // A few are there again: the others count as departed, but are too many.
    let some: Vec<_> = added.iter().take(3).collect();
    house.school.put(&everyone, &json!({"add": some})).await;
    let mut held = None;
    eventually_within(LONG, "too many departures wait for a person", async || {
        held = by_itself(&house, OperationKind::Revoke).await.pop();
        held.as_ref()
            .is_some_and(|held| held.state() == OperationState::Held)
    })
    .await;
    let held = held.unwrap();
    assert_eq!(held.hold(), Hold::RevokesMany);
    assert!(alert(&house, "empty_selection").await.end_time.is_some());
    let alert = alert(&house, "held").await;
    assert!(
        alert.text.contains("operations release") && alert.operation_id == held.id,
        "{alert:?}"
    );
    listed_twice(&house).await;
    assert_eq!(by_itself(&house, OperationKind::Revoke).await.len(), 1);
    assert_eq!(house.school.get("report").await["writes"], 0);
    keep(&house, NOTHING).await;
    let request = CancelOperationRequest {
        id: held.id.clone(),
    };
    house
        .provisioning
        .clone()
        .cancel_operation(request)
        .await
        .unwrap();
    house.ended(&held.id).await;
    for mailbox in &added {
        assert_eq!(
            rights(&house, mailbox).await.as_deref(),
            Some("Author"),
            "{mailbox}"
        );
    }
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegation_group_with_somebody_else_in_it_raises_an_alert() {
    const OURS: &str = "timetable.delegates@uni.example";
    const READER: &str = "aaaaaaaa-0000-0000-0000-000000000000";
    let house = House::start(setup(20)).await;
    let given = house.done(kept(STAFF)).await;
    let stranger = added(&house, &given.id).await.remove(0);
    let group = format!("groups/{TRUSTEE}");
    house.school.put(&group, &json!({"add": [OURS]})).await;
    let every_second = Keeping {
        watch_every_millis: Some(1000),
        group_members: vec![OURS.to_owned()],
        group_owners: vec!["Exchange Administrator".to_owned()],
        ..NOTHING
    };
    keep(&house, every_second).await;
    house.school.put(&group, &json!({"add": [stranger]})).await;
    let members = alert(&house, "group_members").await;
    assert_eq!(members.subject, format!("{TRUSTEE} at online"));
    assert!(
        members.text.contains(&stranger) && !members.text.contains(OURS),
        "{members:?}"
    );
    // Who manages it can't be asked yet.
    assert!(alerts(&house, "group_owners").await.is_empty());

    let rights = json!({"cmdlets": ["Get-Mailbox", "Get-DistributionGroup"]});
    house.school.put(&format!("apps/{READER}"), &rights).await;
    let managed = json!({"owners": ["Mallory"], "join": "approval_required", "remove": [stranger]});
    house.school.put(&group, &managed).await;
    let owners = alert(&house, "group_owners").await;
    assert!(owners.text.contains("Mallory"), "{owners:?}");
    let open = alert(&house, "group_open").await;
    assert!(open.text.contains("Set-DistributionGroup"), "{open:?}");
    eventually_within(LONG, "the stranger is gone", async || {
        alert(&house, "group_members").await.end_time.is_some()
    })
    .await;
    house.assert_harmless().await;
}
