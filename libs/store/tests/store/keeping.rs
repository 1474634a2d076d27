//! Delegations that are kept: what is begun by itself, behind whom, and what a listing makes of who is missing.

use std::{ops::Range, time::Duration};

use calgrant_domain::{
    DelegationId, Keeping, Lane, Leavers, Observed, OperationId, OperationKind, OperationState,
    Outcome, Policy, Reading, Reason, keep::CALLER,
};
use calgrant_store::{Begun, NewBack, OperationView};
use calgrant_testkit::sample::{self, HOLD, PLANNER, listed_operation};

use crate::{
    taking_back::back,
    world::{World, at, author, result},
};

const DAY: u64 = 86_400;
const WEEK: u64 = 7 * DAY;

impl World {
    async fn keeping(&self, keeping: Keeping) {
        let mut tenant = sample::tenant("uni");
        tenant.keeping = keeping;
        self.store
            .apply_tenant(&tenant, "", "2", at(0))
            .await
            .unwrap();
    }

    /// A delegation that is kept, run on these mailboxes.
    async fn run_to_keep(&self, mailboxes: Range<u32>) -> DelegationId {
        let mut new = sample::operation("uni", Lane::Bulk, at(0));
        if let Some(delegation) = &mut new.new_delegation {
            delegation.spec.policy = Policy::Keep;
        }
        listed_operation(&self.store, &new, mailboxes).await;
        for job in self.claim_all().await {
            self.grant(&job).await;
        }
        self.store.cover().await.unwrap();
        new.delegation
    }

    async fn begun(&self, seconds: u64) -> Begun {
        self.store.keep(at(seconds)).await.unwrap()
    }

    async fn by_itself(&self, kind: OperationKind) -> Vec<OperationView> {
        let mut found = self.store.operations(None, None, 100).await.unwrap();
        found.retain(|view| view.kept.is_some() && view.kind == kind);
        found
    }

    /// A listing that is due then, as a planner does it.
    async fn listing(&self, seconds: u64, excluded: Range<u32>, listed: Range<u32>) -> OperationId {
        assert_eq!(self.begun(seconds).await, Begun { verify: 0, list: 1 });
        let now = at(seconds);
        let claim = self.store.claim_listing(PLANNER, HOLD, now).await.unwrap();
        let id = claim.unwrap().operation;
        let excluded: Vec<_> = excluded.map(sample::mailbox_id).collect();
        self.store
            .record_exclusions(id, PLANNER, &excluded)
            .await
            .unwrap();
        let page = sample::page(listed.map(sample::listed).collect());
        self.store
            .record_jobs(id, PLANNER, HOLD, &page, now)
            .await
            .unwrap();
        self.store
            .finish_listing(id, PLANNER, None, now)
            .await
            .unwrap();
        id
    }
}

fn only_verify() -> Keeping {
    Keeping {
        list_every: None,
        ..Keeping::default()
    }
}

fn only_list(leavers: Leavers) -> Keeping {
    Keeping {
        verify_every: None,
        leavers,
        ..Keeping::default()
    }
}

#[tokio::test]
async fn looking_again_is_begun_once_and_waits_until_nobody_else_has_work() {
    let world = World::new().await;
    world.keeping(only_verify()).await;
    let delegation = world.run_to_keep(0..12).await;
    assert_eq!(world.begun(WEEK - 1).await, Begun::default());
    let other = world.database.store();
    let replicas = [&world.store, &other].map(|store| store.keep(at(WEEK)));
    let begun = futures::future::join_all(replicas).await;
    let begun: u64 = begun.into_iter().map(|begun| begun.unwrap().verify).sum();
    assert_eq!(begun, 1);
    world.store.list_from_records(at(WEEK)).await.unwrap();
    let look = world.by_itself(OperationKind::Verify).await.remove(0);
    assert_eq!(
        (look.counts.accepted, look.requested_by.as_str()),
        (12, CALLER)
    );

    let by_others = world.bulk(WEEK + 1, 100..103).await;
    let first = world.claim_at(1000, 100, WEEK + 2).await;
    assert!(first.len() == 3 && first.iter().all(|ready| ready.job.operation == by_others));
    assert!(world.claim_at(1000, 100, WEEK + 2).await.is_empty());
    for ready in &first {
        world
            .apply_at(&[result(&ready.job, Reading::Seen(author()))], WEEK + 3)
            .await;
    }
    // Then a twentieth of the window.
    let looks = world.claim_at(1000, 100, WEEK + 4).await;
    assert!(looks.len() == 5 && looks.iter().all(|ready| ready.job.operation == look.id));
    assert!(world.claim_at(1000, 100, WEEK + 4).await.is_empty());
    let kept = world.store.kept(&[delegation]).await.unwrap().remove(0);
    assert_eq!((kept.mailboxes, kept.verify), (12, Some(look.id)));
    assert_eq!(kept.oldest_verified_at, Some(at(30)));
}

#[tokio::test]
async fn who_was_looked_at_longest_ago_is_next_and_what_was_taken_away_meanwhile_is_no_difference()
{
    let world = World::new().await;
    world.keeping(only_verify()).await;
    let delegation = world.run_to_keep(0..2).await;
    world.begun(0).await;
    world.begun(WEEK).await;
    world.store.list_from_records(at(WEEK)).await.unwrap();
    let jobs = world.claim_all_at(WEEK + 1).await;
    assert_eq!(jobs.len(), 2);
    // One is taken away before it is looked at.
    let gone = &jobs[0];
    let leaver = NewBack {
        names: vec![gone.mailbox.to_string()],
        lane: Lane::Interactive,
        ..back(OperationKind::Revoke, delegation, WEEK + 2)
    };
    world.store.accept_back(&leaver).await.unwrap();
    world.store.list_from_records(at(WEEK + 2)).await.unwrap();
    let taking = world.claim_all_at(WEEK + 3).await.remove(0);
    world.begin(taking.id, author()).await.unwrap();
    world
        .apply_at(
            &[result(&taking, Reading::Wrote(Observed::Absent))],
            WEEK + 4,
        )
        .await;
    for job in &jobs {
        world
            .apply_at(&[result(job, Reading::Seen(Observed::Absent))], WEEK + 5)
            .await;
    }
    let view = world.job(gone).await;
    assert_eq!(
        (view.outcome, view.reason),
        (Some(Outcome::Refused), Some(Reason::Superseded))
    );
    assert_eq!(world.outcome(&jobs[1]).await, Some(Outcome::Drifted));
    let alerts = world
        .store
        .alerts(None, None, false, None, 10)
        .await
        .unwrap();
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].text.starts_with("1 of 2 mailboxes"), "{alerts:?}");
}

#[tokio::test]
async fn who_is_excluded_or_missing_twice_has_departed_and_whoever_was_revoked_is_no_joiner() {
    let world = World::new().await;
    world.keeping(only_list(Leavers::Revoke)).await;
    world.run_to_keep(0..5).await;
    assert_eq!(world.begun(DAY - 1).await, Begun::default());
    // Two are gone, one of them by an exclusion.
    let first = world.listing(DAY, 4..5, 0..3).await;
    let view = world.operation(first).await;
    assert_eq!(
        (view.state, view.counts.accepted),
        (OperationState::Done, 0)
    );
    assert!(world.by_itself(OperationKind::Revoke).await.is_empty());
    // Looked for again soon; one is there again.
    assert_eq!(world.begun(DAY + 599).await, Begun::default());
    world.listing(DAY + 600, 4..5, 0..5).await;
    let leaving = world.by_itself(OperationKind::Revoke).await;
    assert_eq!(leaving.len(), 1);
    world.store.cover().await.unwrap();
    world.store.list_from_records(at(DAY + 601)).await.unwrap();
    let jobs = world.claim_all_at(DAY + 602).await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].mailbox, sample::mailbox_id(4));
    world.begin(jobs[0].id, author()).await.unwrap();
    world
        .apply_at(
            &[result(&jobs[0], Reading::Wrote(Observed::Absent))],
            DAY + 603,
        )
        .await;
    // The exclusion is taken back: who departed joins again.
    let again = world.listing(2 * DAY + 600, 9..9, 0..6).await;
    let jobs = world.jobs(again).await;
    let mut joined: Vec<_> = jobs.iter().map(|job| job.mailbox).collect();
    joined.sort_unstable();
    let mut want = [4, 5].map(sample::mailbox_id);
    want.sort_unstable();
    assert_eq!(joined, want);
}

#[tokio::test]
async fn an_empty_listing_fails_and_one_that_failed_counts_for_nothing() {
    let world = World::new().await;
    world.keeping(only_list(Leavers::Revoke)).await;
    let delegation = world.run_to_keep(0..5).await;
    for day in 1..4 {
        let empty = world.listing(day * DAY, 0..0, 0..0).await;
        assert_eq!(world.operation(empty).await.failure, "empty_selection");
    }
    let kept = world.store.kept(&[delegation]).await.unwrap().remove(0);
    assert_eq!((kept.missing, kept.leave), (0, None));
    let alerts = world
        .store
        .alerts(None, None, false, None, 10)
        .await
        .unwrap();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].raised_at, at(DAY));
    assert_eq!(alerts[0].last_at, at(3 * DAY));
    let id = alerts[0].id;
    world
        .store
        .acknowledge(id, "ann", "T-1", at(3 * DAY))
        .await
        .unwrap();
    let second = world
        .store
        .acknowledge(id, "bob", "T-2", at(4 * DAY))
        .await
        .unwrap();
    assert_eq!(
        (second.acknowledged_by.as_str(), second.ticket.as_str()),
        ("ann", "T-1")
    );
    world.listing(4 * DAY, 0..0, 0..5).await;
    let all = world
        .store
        .alerts(None, None, true, None, 10)
        .await
        .unwrap();
    assert_eq!(all[0].ended_at, Some(at(4 * DAY)));
    assert!(world.store.open_alerts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_delegation_that_was_revoked_or_never_run_is_not_listed_by_itself() {
    let world = World::new().await;
    world.keeping(only_list(Leavers::Report)).await;
    let delegation = world.run_to_keep(0..3).await;
    let whole = back(OperationKind::Revoke, delegation, 50);
    world.store.accept_back(&whole).await.unwrap();
    world.store.cancel(whole.id, at(60)).await.unwrap();
    let mut never_run = sample::operation("uni", Lane::Bulk, at(70))
        .new_delegation
        .unwrap();
    never_run.spec.policy = Policy::Keep;
    world.store.create_delegation(&never_run).await.unwrap();
    let later = at(0) + Duration::from_secs(30 * DAY);
    assert_eq!(world.store.keep(later).await.unwrap(), Begun::default());
}
