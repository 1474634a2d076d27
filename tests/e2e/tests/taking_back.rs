//! Taking a permission away, putting it back, and looking whether it is still there.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::collections::BTreeMap;

use calgrant_contract::pb::provisioning::v1::{
    CancelOperationRequest, Hold, Lane, Operation, OperationKind, OperationState, Outcome,
    ReleaseOperationRequest, RevokeDelegationRequest, RevokeTrusteeRequest, RunDelegationRequest,
    UndoOperationRequest, VerifyDelegationRequest, run_delegation_request::What, selector::By,
};
use calgrant_contract::pb::status::v1::{AccessState, BatchGetMailboxAccessRequest};
use calgrant_e2e::{House, Refused, Setup, TENANT, group, run, wish};
use calgrant_simulator::{EVERYONE, TRUSTEE};

const STAFF: &str = "staff@uni.example";

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn leaver(delegation: &str, mailboxes: &[&str]) -> RevokeDelegationRequest {
    RevokeDelegationRequest {
        delegation: delegation.to_owned(),
        mailboxes: mailboxes.iter().map(ToString::to_string).collect(),
        request_id: request_id(),
        ..RevokeDelegationRequest::default()
    }
}

async fn accepted(
    house: &House,
    request: RevokeDelegationRequest,
) -> Result<Operation, tonic::Status> {
    let mut api = house.provisioning.clone();
    Ok(api.revoke_delegation(request).await?.into_inner())
}

async fn revoked(house: &House, request: RevokeDelegationRequest) -> Operation {
    let operation = accepted(house, request).await.unwrap();
    house.ended(&operation.id).await
}

fn undo(operation: &str) -> UndoOperationRequest {
    UndoOperationRequest {
        operation: operation.to_owned(),
        request_id: request_id(),
        ..UndoOperationRequest::default()
    }
}

async fn undone(house: &House, operation: &str) -> Operation {
    let mut api = house.provisioning.clone();
    let accepted = api.undo_operation(undo(operation)).await.unwrap();
    house.ended(&accepted.into_inner().id).await
}

async fn verified(house: &House, delegation: &str, repair: bool) -> Operation {
    let request = VerifyDelegationRequest {
        delegation: delegation.to_owned(),
        repair,
        request_id: request_id(),
        ..VerifyDelegationRequest::default()
    };
    let mut api = house.provisioning.clone();
    let accepted = api.verify_delegation(request).await.unwrap();
    house.ended(&accepted.into_inner().id).await
}

/// Addresses of mailboxes of a run that ended so.
async fn ended_as(house: &House, operation: &str, outcome: Outcome) -> Vec<String> {
    let mailboxes = house.mailboxes(operation).await;
    mailboxes
        .into_iter()
        .filter(|mailbox| mailbox.outcome() == outcome)
        .map(|mailbox| mailbox.name)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_loses_our_entry_and_nobody_else_anything() {
    let house = House::start(Setup::mailboxes(30)).await;
    let given = house.done(group(EVERYONE)).await;
    let added = ended_as(&house, &given.id, Outcome::Added).await;
    let who = added[0].as_str();
    assert_eq!(
        house.school.rights(who, TRUSTEE).await.as_deref(),
        Some("Author")
    );
    let mut request = leaver(&given.delegation_id, &[who]);
    let operation = revoked(&house, request.clone()).await;
    assert_eq!(
        (operation.state(), operation.kind(), operation.lane()),
        (
            OperationState::Done,
            OperationKind::Revoke,
            Lane::Interactive
        )
    );
    assert_eq!(
        House::counts(&operation),
        BTreeMap::from([("removed".to_owned(), 1)])
    );
    assert_eq!(house.school.rights(who, TRUSTEE).await, None);
    for other in &added[1..] {
        assert_eq!(
            house.school.rights(other, TRUSTEE).await.as_deref(),
            Some("Author")
        );
    }
    house.assert_harmless().await;
    let mailboxes = house.mailboxes(&operation.id).await;
    let all = format!("group={EVERYONE}");
    house.school.assert_true_back(mailboxes, &all).await;
    // The same request again is the same operation; another one has nothing left to do.
    let again = accepted(&house, request.clone()).await.unwrap();
    assert_eq!(again.id, operation.id);
    request.request_id = request_id();
    let nothing = revoked(&house, request).await;
    assert_eq!(
        House::counts(&nothing),
        BTreeMap::from([("refused".to_owned(), 1)])
    );
    let known = BatchGetMailboxAccessRequest {
        tenant: TENANT.to_owned(),
        names: vec![who.to_owned()],
    };
    let access = house
        .status
        .clone()
        .batch_get_mailbox_access(known)
        .await
        .unwrap();
    assert_eq!(
        access.into_inner().access[0].state(),
        AccessState::NotGranted
    );
}

/// What is on a calendar by the simulator's own state, for every mailbox of a run that ended with the right there.
async fn entries(house: &House, operation: &str) -> BTreeMap<String, Option<String>> {
    let mut entries = BTreeMap::new();
    for mailbox in house.mailboxes(operation).await {
        if !matches!(mailbox.outcome(), Outcome::Refused | Outcome::Failed) {
            let rights = house.school.rights(&mailbox.name, TRUSTEE).await;
            entries.insert(mailbox.name, rights);
        }
    }
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_puts_back_exactly_what_was_changed_and_undoing_that_gives_it_again() {
    let house = House::start(Setup::mailboxes(24)).await;
    let all = format!("group={EVERYONE}");
    let at_first: BTreeMap<_, _> = house
        .members(&all)
        .await
        .into_iter()
        .map(|member| {
            let address = member["address"].as_str().unwrap_or_default().to_owned();
            let rights = member["before"]["rights"][0].as_str().map(str::to_owned);
            (address, rights)
        })
        .collect();
    // Entries that allow more are lowered, so that some are updated.
    let mut spec = wish(By::Group(EVERYONE.to_owned()));
    spec.lower_higher = true;
    let given = house.done(run(spec)).await;
    let (counts, after) = (House::counts(&given), entries(&house, &given.id).await);
    let changed = |counts: &BTreeMap<String, u64>| {
        (counts.get("added").copied(), counts.get("updated").copied())
    };
    let (added, updated) = changed(&counts);
    assert!(added > Some(0) && updated > Some(0), "{counts:?}");

    let undoing = undone(&house, &given.id).await;
    assert_eq!(
        (undoing.kind(), undoing.undoes.as_str()),
        (OperationKind::Undo, given.id.as_str())
    );
    let back = House::counts(&undoing);
    assert_eq!(
        (back.get("removed").copied(), back.get("restored").copied()),
        (added, updated),
        "{back:?}"
    );
    for (mailbox, rights) in entries(&house, &given.id).await {
        if let Some(first) = at_first.get(&mailbox) {
            assert_eq!(rights, *first, "{mailbox}");
        }
    }
    let mailboxes = house.mailboxes(&undoing.id).await;
    house.school.assert_true_back(mailboxes, &all).await;

    // Once more there is nothing left to put back; then the undoing itself is undone.
    let again = House::counts(&undone(&house, &given.id).await);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["unchanged"], "{again:?}");
    let redone = undone(&house, &undoing.id).await;
    let redone = House::counts(&redone);
    assert_eq!(
        redone.get("restored").copied(),
        added.zip(updated).map(|(added, updated)| added + updated),
        "{redone:?}"
    );
    house.assert_harmless().await;
    assert_eq!(entries(&house, &given.id).await, after);
}

/// The whole list of a mailbox's calendar by the simulator's own state.
async fn whole_list(house: &House, mailbox: &str) -> BTreeMap<String, serde_json::Value> {
    let path = format!("permissions?mailbox={mailbox}");
    let entries = house.school.get(&path).await;
    let entries = entries.as_array().cloned().unwrap_or_default();
    let named = entries.into_iter().map(|entry| {
        let principal = entry["principal"].as_str().unwrap_or_default().to_owned();
        (principal, entry["rights"].clone())
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_leaves_every_list_as_it_was_but_for_what_others_changed() {
    const FOREIGN: &str = "works-council@uni.example";
    let mut setup = Setup::mailboxes(30);
    setup.school.read_lag_max_secs = 0;
    let house = House::start(setup).await;
    let mut spec = wish(By::Group(EVERYONE.to_owned()));
    spec.lower_higher = true;
    let mut before = BTreeMap::new();
    for member in house.members(&format!("group={EVERYONE}")).await {
        let address = member["upn"].as_str().unwrap_or_default();
        if member["state"] == "mailbox" && !member["calendar"].is_null() {
            before.insert(address.to_owned(), whole_list(&house, address).await);
        }
    }
    let given = house.done(run(spec)).await;
    let mut added = ended_as(&house, &given.id, Outcome::Added).await;
    added.retain(|name| before.contains_key(name));
    let [raised, removed, joined] = [0, 1, 2].map(|at| added[at].as_str());
    house.school.edit(raised, TRUSTEE, Some("Owner")).await;
    house.school.edit(removed, TRUSTEE, None).await;
    house.school.edit(joined, FOREIGN, Some("Reviewer")).await;
    let theirs = [(raised, TRUSTEE), (joined, FOREIGN)];
    let mut wanted = before.clone();
    for (mailbox, principal) in theirs {
        let entry = whole_list(&house, mailbox).await[principal].clone();
        let list = wanted.get_mut(mailbox).unwrap();
        list.insert(principal.to_owned(), entry);
    }
    undone(&house, &given.id).await;
    for (mailbox, list) in wanted {
        assert_eq!(whole_list(&house, &mailbox).await, list, "{mailbox}");
    }
    house.school.assert_within_limits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_a_revocation_gives_again_and_is_wanted_again() {
    let house = House::start(Setup::mailboxes(20)).await;
    let given = house.done(group(EVERYONE)).await;
    let who = ended_as(&house, &given.id, Outcome::Added).await.remove(0);
    let gone = revoked(&house, leaver(&given.delegation_id, &[&who])).await;
    assert_eq!(house.school.rights(&who, TRUSTEE).await, None);
    let back = undone(&house, &gone.id).await;
    assert_eq!(
        House::counts(&back),
        BTreeMap::from([("restored".to_owned(), 1)])
    );
    assert_eq!(
        house.school.rights(&who, TRUSTEE).await.as_deref(),
        Some("Author")
    );
    // It is on record again as given here: it can be verified, and taken away.
    let looked = verified(&house, &given.delegation_id, false).await;
    assert!(
        ended_as(&house, &looked.id, Outcome::Verified)
            .await
            .contains(&who)
    );
    let gone = revoked(&house, leaver(&given.delegation_id, &[&who])).await;
    assert_eq!(
        House::counts(&gone),
        BTreeMap::from([("removed".to_owned(), 1)])
    );
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_since_is_left_alone_and_what_was_never_given_is_refused() {
    // What somebody has changed is read at once: what isn't visible yet can't be left alone.
    let mut setup = Setup::mailboxes(40);
    setup.school.read_lag_max_secs = 0;
    let house = House::start(setup).await;
    let given = house.done(group(EVERYONE)).await;
    let added = ended_as(&house, &given.id, Outcome::Added).await;
    let higher = ended_as(&house, &given.id, Outcome::LeftHigher).await;
    house.school.edit(&added[0], TRUSTEE, Some("Editor")).await;
    house.school.edit(&added[1], TRUSTEE, None).await;
    let named = [&added[0], &added[1], &added[2], &higher[0]].map(String::as_str);
    let operation = revoked(&house, leaver(&given.delegation_id, &named)).await;
    let mailboxes = house.mailboxes(&operation.id).await;
    let ended = |name: &str| {
        let found = mailboxes
            .iter()
            .find(|mailbox| mailbox.name == name)
            .unwrap();
        (found.outcome(), found.reason.clone())
    };
    assert_eq!(
        ended(&added[0]),
        (Outcome::LeftChangedSince, "raised_since".to_owned())
    );
    assert_eq!(ended(&added[1]), (Outcome::Unchanged, String::new()));
    assert_eq!(ended(&added[2]), (Outcome::Removed, String::new()));
    assert_eq!(
        ended(&higher[0]),
        (Outcome::Refused, "not_granted_here".to_owned())
    );
    assert_eq!(
        house.school.rights(&added[0], TRUSTEE).await.as_deref(),
        Some("Editor")
    );
    assert!(house.school.rights(&higher[0], TRUSTEE).await.is_some());
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_delegation_wants_is_kept_until_that_one_is_revoked_too() {
    let house = House::start(Setup::mailboxes(30)).await;
    let all = house.done(group(EVERYONE)).await;
    let staff = house.done(group(STAFF)).await;
    let added = ended_as(&house, &all.id, Outcome::Added).await;
    let of_staff = ended_as(&house, &staff.id, Outcome::Unchanged).await;
    let shared: Vec<_> = added
        .iter()
        .filter(|name| of_staff.contains(name))
        .collect();
    let plan = RevokeDelegationRequest {
        validate_only: true,
        ..leaver(&all.delegation_id, &[])
    };
    let planned = House::counts(&revoked(&house, plan).await);
    let operation = revoked(&house, leaver(&all.delegation_id, &[])).await;
    assert_eq!(operation.state(), OperationState::Done);
    let mailboxes = house.mailboxes(&operation.id).await;
    let kept: Vec<_> = mailboxes
        .iter()
        .filter(|mailbox| mailbox.outcome() == Outcome::KeptBy)
        .collect();
    assert!(!shared.is_empty() && kept.len() >= shared.len(), "{kept:?}");
    assert!(
        kept.iter()
            .all(|mailbox| mailbox.kept_by == staff.delegation_id),
        "{kept:?}"
    );
    assert_eq!(
        House::counts(&operation),
        planned,
        "it comes as it was planned"
    );
    let everyone = format!("group={EVERYONE}");
    house
        .school
        .assert_true_back(mailboxes.clone(), &everyone)
        .await;
    // Nobody else wants it any more.
    let last = revoked(&house, leaver(&staff.delegation_id, &[])).await;
    let removed = ended_as(&house, &last.id, Outcome::Removed).await;
    for name in shared {
        assert!(removed.contains(name), "{name}");
        assert_eq!(house.school.rights(name, TRUSTEE).await, None);
    }
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_a_trustee_was_given_is_taken_away_whoever_gave_it() {
    let house = House::start(Setup::mailboxes(20)).await;
    let all = house.done(group(EVERYONE)).await;
    house.done(group(STAFF)).await;
    let request = RevokeTrusteeRequest {
        tenant: TENANT.to_owned(),
        trustee: TRUSTEE.to_owned(),
        request_id: request_id(),
        ..RevokeTrusteeRequest::default()
    };
    let mut api = house.provisioning.clone();
    let accepted = api.revoke_trustee(request).await.unwrap().into_inner();
    let operation = house.ended(&accepted.id).await;
    let counts = House::counts(&operation);
    assert_eq!(counts.get("kept_by"), None, "{counts:?}");
    assert_eq!(
        (operation.trustee.as_str(), operation.delegation_id.as_str()),
        (TRUSTEE, "")
    );
    for name in ended_as(&house, &all.id, Outcome::Added).await {
        assert_eq!(house.school.rights(&name, TRUSTEE).await, None, "{name}");
    }
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_says_what_drifted_and_repairs_it_only_if_told_to() {
    let house = House::start(Setup::mailboxes(30)).await;
    let given = house.done(group(EVERYONE)).await;
    let added = ended_as(&house, &given.id, Outcome::Added).await;
    house.school.edit(&added[0], TRUSTEE, None).await;
    house
        .school
        .edit(&added[1], TRUSTEE, Some("Reviewer"))
        .await;
    house.school.edit(&added[2], TRUSTEE, Some("Owner")).await;
    house.school.post("mark").await;
    let looked = verified(&house, &given.delegation_id, false).await;
    assert_eq!(house.school.get("report").await["writes"], 0);
    let differs = async |operation: &str| {
        let mailboxes = house.mailboxes(operation).await.into_iter();
        let differing = mailboxes.filter(|mailbox| mailbox.outcome() != Outcome::Verified);
        let said =
            differing.map(|mailbox| (mailbox.name.clone(), (mailbox.outcome(), mailbox.reason)));
        said.collect::<BTreeMap<_, _>>()
    };
    let said = |outcome, reason: &str| (outcome, reason.to_owned());
    let wanted = BTreeMap::from([
        (added[0].clone(), said(Outcome::Drifted, "removed_since")),
        (added[1].clone(), said(Outcome::Drifted, "lowered_since")),
        (added[2].clone(), said(Outcome::Drifted, "raised_since")),
    ]);
    assert_eq!(differs(&looked.id).await, wanted);
    let repaired = verified(&house, &given.delegation_id, true).await;
    let wanted = BTreeMap::from([
        (added[0].clone(), said(Outcome::Repaired, "removed_since")),
        (added[1].clone(), said(Outcome::Repaired, "lowered_since")),
        (added[2].clone(), said(Outcome::Drifted, "raised_since")),
    ]);
    assert_eq!(differs(&repaired.id).await, wanted);
    for name in &added[..2] {
        assert_eq!(
            house.school.rights(name, TRUSTEE).await.as_deref(),
            Some("Author")
        );
    }
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_not_taken_away_before_a_person_says_so() {
    let house = House::start(Setup::mailboxes(70)).await;
    let given = house.done(group(EVERYONE)).await;
    let request = ReleaseOperationRequest {
        id: given.id.clone(),
        ticket: String::new(),
    };
    let mut api = house.provisioning.clone();
    let refused = api.release_operation(request).await.unwrap_err();
    assert_eq!(Refused::from(refused).reason, "NOT_HELD");
    house.school.post("mark").await;
    let operation = accepted(&house, leaver(&given.delegation_id, &[]))
        .await
        .unwrap();
    let held = house
        .until(&operation.id, |now| now.state() == OperationState::Held)
        .await;
    assert_eq!(held.hold(), Hold::RevokesMany);
    assert!(
        held.waiting_for.contains("operations release"),
        "{}",
        held.waiting_for
    );
    let report = house.school.get("report").await;
    assert_eq!(report["calls_total"], 0, "{report}");
    let released = release(&house, &operation.id).await;
    assert_eq!(released.releases[0].ticket, "CHG-1");
    let ended = house.ended(&operation.id).await;
    assert!(House::counts(&ended)["removed"] > 50, "{ended:?}");
    house.assert_harmless().await;
}

async fn release(house: &House, id: &str) -> Operation {
    let request = ReleaseOperationRequest {
        id: id.to_owned(),
        ticket: "CHG-1".to_owned(),
    };
    let mut api = house.provisioning.clone();
    api.release_operation(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_tried_first_and_the_rest_waits_for_a_person() {
    let house = House::start(Setup::mailboxes(30)).await;
    let mut request = run(wish(By::Group(EVERYONE.to_owned())));
    request.canary = 5;
    let operation = house.submit(request).await;
    let held = house
        .until(&operation.id, |now| now.state() == OperationState::Held)
        .await;
    let counts = held.counts.clone().unwrap();
    let tried = house
        .mailboxes(&operation.id)
        .await
        .iter()
        .filter(|mailbox| mailbox.end_time.is_some() && mailbox.outcome() != Outcome::Refused)
        .count();
    assert!(tried <= 5 && counts.outstanding >= 20, "{tried} {counts:?}");
    release(&house, &operation.id).await;
    let ended = house.ended(&operation.id).await;
    assert_eq!(ended.state(), OperationState::Done);
    house
        .assert_true(&ended.id, &format!("group={EVERYONE}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_undone_is_refused_with_what_to_do() {
    let mut setup = Setup::mailboxes(60);
    setup.windows = vec![(4, 2000)];
    let house = House::start(setup).await;
    let given = house.submit(group(EVERYONE)).await;
    let refused = async |id: &str| {
        let refusal = house.provisioning.clone().undo_operation(undo(id)).await;
        let status = refusal.unwrap_err();
        (status.message().to_owned(), Refused::from(status))
    };
    let (text, why) = refused(&given.id).await;
    assert_eq!(
        (why.code, why.reason.as_str()),
        (tonic::Code::FailedPrecondition, "STILL_RUNNING")
    );
    assert!(text.contains("operations cancel"), "{text}");
    let whole = accepted(&house, leaver(&given.delegation_id, &[]))
        .await
        .unwrap_err();
    assert_eq!(Refused::from(whole).reason, "STILL_RUNNING");
    let (_, why) = refused("op_00000000000000000000000000000001").await;
    assert_eq!(why.code, tonic::Code::NotFound);
    let cancel = CancelOperationRequest {
        id: given.id.clone(),
    };
    house
        .provisioning
        .clone()
        .cancel_operation(cancel)
        .await
        .unwrap();
    house.ended(&given.id).await;
    let back = undone(&house, &given.id).await;
    assert_eq!(back.state(), OperationState::Done);
    let all = format!("group={EVERYONE}");
    for member in house.members(&all).await {
        assert_eq!(member["now"], member["before"], "{member}");
    }
}

/// A leaver whose mailbox is still being given the right: whoever was accepted later wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_everybody_is_given_the_right_has_none_in_the_end() {
    let house = House::start(Setup::mailboxes(60)).await;
    let first = house.done(group(STAFF)).await;
    let who = ended_as(&house, &first.id, Outcome::Added).await;
    let again = RunDelegationRequest {
        what: Some(What::DelegationId(first.delegation_id.clone())),
        ..run(wish(By::All(true)))
    };
    let running = house.submit(again).await;
    let names: Vec<_> = who.iter().take(3).map(String::as_str).collect();
    let leaving = revoked(&house, leaver(&first.delegation_id, &names)).await;
    house.ended(&running.id).await;
    assert_eq!(leaving.state(), OperationState::Done);
    for name in names {
        assert_eq!(house.school.rights(name, TRUSTEE).await, None, "{name}");
    }
    house.assert_harmless().await;
}
