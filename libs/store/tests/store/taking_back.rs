//! Operations that take away, put back and verify: how they are listed, who wins, and what stops them.

use calgrant_domain::{
    Aim, BeginRefusal, DelegationId, Hold, Job, Lane, Observed, OperationId, OperationKind,
    OperationState, Outcome, Reading, Reason,
};
use calgrant_store::{NewBack, NewOperation, StoreError};
use calgrant_testkit::sample::{self, listed_operation};

use crate::world::{World, at, author, result, rights};

pub(crate) fn back(kind: OperationKind, delegation: DelegationId, seconds: u64) -> NewBack {
    let new = sample::operation("uni", Lane::Bulk, at(seconds));
    NewBack {
        id: new.id,
        tenant: new.tenant,
        kind,
        delegation: Some(delegation),
        trustee: None,
        undoes: None,
        repair: false,
        names: Vec::new(),
        lane: Lane::Bulk,
        validate_only: false,
        caller: new.caller,
        request_id: new.request_id,
        canonical: new.canonical,
        ticket: String::new(),
        traceparent: String::new(),
        at: at(seconds),
    }
}

impl World {
    /// An operation that gives the right to these mailboxes, done; with its delegation.
    pub(crate) async fn given(
        &self,
        seconds: u64,
        mailboxes: std::ops::Range<u32>,
    ) -> (OperationId, DelegationId) {
        let new = sample::operation("uni", Lane::Bulk, at(seconds));
        listed_operation(&self.store, &new, mailboxes).await;
        for job in self.claim_all().await {
            self.grant(&job).await;
        }
        (new.id, new.delegation)
    }

    /// Accepts and lists.
    pub(crate) async fn listed(&self, new: &NewBack) -> OperationId {
        self.store.accept_back(new).await.unwrap();
        self.store.cover().await.unwrap();
        self.store.list_from_records(new.at).await.unwrap();
        new.id
    }

    pub(crate) async fn revoking(&self, delegation: DelegationId, seconds: u64) -> OperationId {
        let new = back(OperationKind::Revoke, delegation, seconds);
        self.listed(&new).await
    }

    /// The job of an operation, handed out after everything that has ended.
    pub(crate) async fn only_job(&self, operation: OperationId) -> Job {
        let mut jobs = self.claim_all_at(60).await;
        jobs.retain(|job| job.operation == operation);
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }
}

#[tokio::test]
async fn what_was_given_is_listed_by_key_and_taken_away() {
    let world = World::new().await;
    let (_, delegation) = world.given(0, 0..3).await;
    let id = world.revoking(delegation, 1).await;
    let view = world.operation(id).await;
    assert_eq!(
        (view.state, view.counts.accepted),
        (OperationState::Running, 3)
    );
    let jobs = world.claim_all_at(60).await;
    for job in &jobs {
        let want = Aim::PutBack {
            left: author(),
            to: Observed::Absent,
        };
        assert_eq!(job.aim, want);
        world.begin(job.id, author()).await.unwrap();
        world
            .apply_at(&[result(job, Reading::Wrote(Observed::Absent))], 70)
            .await;
        assert_eq!(world.outcome(job).await, Some(Outcome::Removed));
    }
    assert_eq!(world.operation(id).await.state, OperationState::Done);
    // Nothing is left to take away.
    let again = world.revoking(delegation, 2).await;
    let view = world.operation(again).await;
    assert_eq!(
        (view.state, view.counts.accepted),
        (OperationState::Done, 0)
    );
}

#[tokio::test]
async fn what_another_delegation_wants_is_kept_and_named() {
    let world = World::new().await;
    let (_, first) = world.given(0, 0..1).await;
    let second = sample::operation("uni", Lane::Bulk, at(1));
    listed_operation(&world.store, &second, 0..1).await;
    let pending = world.claim_all().await.remove(0);
    let kept = async |job: Job| {
        let refused = world.begin(job.id, author()).await;
        assert_eq!(refused, Err(BeginRefusal::Kept));
        world
            .apply_at(&[result(&job, Reading::GaveUp(Reason::Kept))], 70)
            .await;
        let view = world.job(&job).await;
        assert_eq!(
            (view.outcome, view.kept_by),
            (Some(Outcome::KeptBy), Some(second.delegation))
        );
    };
    // It is about to be given by the second one, too.
    let id = world.revoking(first, 2).await;
    kept(world.only_job(id).await).await;
    // And then it is; the first one wants it no more.
    world
        .apply_at(&[result(&pending, Reading::Seen(author()))], 80)
        .await;
    assert_eq!(world.outcome(&pending).await, Some(Outcome::Unchanged));
    let nothing = world.revoking(first, 3).await;
    assert_eq!(world.operation(nothing).await.counts.accepted, 0);
    let id = world.revoking(second.delegation, 4).await;
    let mut jobs = world.claim_all_at(90).await;
    jobs.retain(|job| job.operation == id);
    assert_eq!(world.begin(jobs[0].id, author()).await, Ok(author()));
}

#[tokio::test]
async fn who_was_accepted_later_wins_whatever_each_does() {
    let world = World::new().await;
    let new = sample::operation("uni", Lane::Bulk, at(0));
    listed_operation(&world.store, &new, 0..2).await;
    let mut given = world.claim_all().await;
    given.sort_by_key(|job| job.id);
    // One has written already, the other hasn't begun, when both are to be taken away.
    world.begin(given[0].id, Observed::Absent).await.unwrap();
    let leaver = NewBack {
        names: given.iter().map(|job| job.mailbox.to_string()).collect(),
        ..back(OperationKind::Revoke, new.delegation, 1)
    };
    let id = world.listed(&leaver).await;
    let mut taken = world.claim_all_at(30).await;
    taken.retain(|job| job.operation == id);
    assert_eq!(taken.len(), 2);
    let of = |mailbox| taken.iter().find(|job| job.mailbox == mailbox).unwrap();
    let (busy, free) = (of(given[0].mailbox), of(given[1].mailbox));
    assert_eq!(
        world.begin(busy.id, Observed::Absent).await,
        Err(BeginRefusal::Unsettled)
    );
    assert_eq!(
        world.begin(free.id, Observed::Absent).await,
        Ok(Observed::Absent)
    );
    assert_eq!(
        world.begin(given[1].id, Observed::Absent).await,
        Err(BeginRefusal::Superseded)
    );
    // What the first one reads now may be taken away the next moment: that is no end.
    world
        .apply_at(&[result(&given[1], Reading::Seen(author()))], 40)
        .await;
    assert_eq!(world.outcome(&given[1]).await, None);
    world
        .apply_at(&[result(&given[0], Reading::Wrote(author()))], 40)
        .await;
    // It has read before that was settled: once more, and with what was left there.
    assert_eq!(
        world.begin(busy.id, Observed::Absent).await,
        Err(BeginRefusal::Unsettled)
    );
    world
        .apply_at(
            &[result(busy, Reading::Later(std::time::Duration::ZERO))],
            45,
        )
        .await;
    let again = world.claim_all_at(60).await;
    let busy = again.iter().find(|job| job.id == busy.id).unwrap();
    assert_eq!(
        world.begin(busy.id, author()).await,
        Err(BeginRefusal::Unsettled)
    );
    world
        .apply_at(
            &[result(busy, Reading::Later(std::time::Duration::ZERO))],
            65,
        )
        .await;
    let again = world.claim_all_at(70).await;
    let busy = again.iter().find(|job| job.id == busy.id).unwrap();
    let want = Aim::PutBack {
        left: author(),
        to: Observed::Absent,
    };
    assert_eq!(busy.aim, want);
    assert_eq!(world.begin(busy.id, author()).await, Ok(author()));
    world
        .apply_at(&[result(busy, Reading::Wrote(Observed::Absent))], 80)
        .await;
    assert_eq!(world.outcome(busy).await, Some(Outcome::Removed));
}

#[tokio::test]
async fn only_the_last_change_is_undone_and_to_what_was_before_it() {
    let world = World::new().await;
    let new = sample::operation("uni", Lane::Bulk, at(0));
    listed_operation(&world.store, &new, 0..2).await;
    for job in world.claim_all().await {
        let before = rights("Reviewer");
        world.begin(job.id, before).await.unwrap();
        world.apply(&[result(&job, Reading::Wrote(author()))]).await;
    }
    // A later run finds one of them lowered, and raises it again.
    let later = NewOperation {
        delegation: new.delegation,
        new_delegation: None,
        ..sample::operation("uni", Lane::Bulk, at(1))
    };
    listed_operation(&world.store, &later, 0..1).await;
    let job = world.claim_all_at(50).await.remove(0);
    world.begin(job.id, rights("Contributor")).await.unwrap();
    world.apply(&[result(&job, Reading::Wrote(author()))]).await;
    let undo = NewBack {
        undoes: Some(new.id),
        ..back(OperationKind::Undo, new.delegation, 2)
    };
    let id = world.listed(&undo).await;
    assert_eq!(world.operation(id).await.counts.accepted, 2);
    for job in world.claim_all_at(60).await {
        let answer = world.begin(job.id, author()).await;
        if job.mailbox == sample::mailbox_id(0) {
            assert_eq!(answer, Err(BeginRefusal::Overtaken));
            continue;
        }
        assert_eq!(answer, Ok(author()));
        let want = Aim::PutBack {
            left: author(),
            to: rights("Reviewer"),
        };
        assert_eq!(job.aim, want);
        world
            .apply_at(&[result(&job, Reading::Wrote(rights("Reviewer")))], 70)
            .await;
        assert_eq!(world.outcome(&job).await, Some(Outcome::Restored));
    }
}

#[tokio::test]
async fn what_an_earlier_version_gave_is_covered_and_known_as_ours() {
    let world = World::new().await;
    let (given, delegation) = world.given(0, 0..2).await;
    let sql = "DELETE FROM coverage; UPDATE operation SET covered = false; UPDATE begun SET ours = NULL, ours_by = NULL, known_of = NULL";
    world
        .database
        .client()
        .await
        .batch_execute(sql)
        .await
        .unwrap();
    let new = back(OperationKind::Revoke, delegation, 1);
    world.store.accept_back(&new).await.unwrap();
    // Nothing is taken away before all is covered.
    assert_eq!(world.store.list_from_records(at(50)).await.unwrap(), 0);
    assert_eq!(world.store.cover().await.unwrap(), 1);
    assert_eq!(world.store.list_from_records(at(50)).await.unwrap(), 1);
    let jobs = world.claim_all_at(60).await;
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        assert_eq!(world.begin(job.id, author()).await, Ok(author()));
    }
    assert_eq!(world.store.cover().await.unwrap(), 0);
    assert!(given < new.id);
}

#[tokio::test]
async fn taking_away_much_waits_for_a_person_before_anything_is_handed_out() {
    let world = World::new().await;
    let (_, delegation) = world.given(0, 0..60).await;
    let id = world.revoking(delegation, 1).await;
    let view = world.operation(id).await;
    assert_eq!(
        (view.state, view.hold),
        (OperationState::Held, Some(Hold::RevokesMany))
    );
    assert!(world.claim_all_at(60).await.is_empty());
    world
        .store
        .release(id, "cli:ada", "CHG-7", at(61))
        .await
        .unwrap();
    let releases = world.store.releases(id).await.unwrap();
    assert_eq!(
        (releases[0].hold, releases[0].ticket.as_str()),
        (Hold::RevokesMany, "CHG-7")
    );
    assert_eq!(world.claim_all_at(62).await.len(), 60);
    let again = world.store.release(id, "cli:ada", "", at(63)).await;
    assert!(matches!(again, Err(StoreError::NotHeld)));
}

#[tokio::test]
async fn failures_alike_stop_what_has_not_begun_and_a_release_lets_more_of_them_pass_but_once() {
    let world = World::new().await;
    let id = world.bulk(0, 0..100).await;
    let jobs = world.claim(60, 10_000).await;
    let failing = |range: std::ops::Range<usize>| -> Vec<_> {
        let jobs = jobs[range].iter();
        jobs.map(|ready| result(&ready.job, Reading::GaveUp(Reason::OutOfWriteScope)))
            .collect()
    };
    world
        .begin(jobs[50].job.id, Observed::Absent)
        .await
        .unwrap();
    world.apply(&failing(0..19)).await;
    assert_eq!(world.operation(id).await.hold, None);
    world.apply(&failing(19..20)).await;
    let view = world.operation(id).await;
    assert_eq!(
        (view.state, view.hold),
        (OperationState::Held, Some(Hold::FailsAlike))
    );
    assert!(
        view.waiting_for.contains("out_of_write_scope"),
        "{}",
        view.waiting_for
    );
    assert!(world.claim_all_at(60).await.is_empty());
    // What is in workers' hands waits, unless it has begun.
    assert_eq!(
        world.begin(jobs[51].job.id, Observed::Absent).await,
        Err(BeginRefusal::Unsettled)
    );
    assert_eq!(
        world.begin(jobs[50].job.id, Observed::Absent).await,
        Ok(Observed::Absent)
    );
    world
        .apply_at(
            &[result(
                &jobs[50].job,
                Reading::Later(std::time::Duration::ZERO),
            )],
            61,
        )
        .await;
    let goes_on: Vec<_> = world
        .claim_all_at(62)
        .await
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(goes_on, [jobs[50].job.id]);
    world
        .store
        .release(id, "cli:ada", "", at(63))
        .await
        .unwrap();
    world.apply_at(&failing(20..39), 64).await;
    assert_eq!(world.operation(id).await.hold, None);
    world.apply_at(&failing(39..40), 65).await;
    assert_eq!(world.operation(id).await.hold, Some(Hold::FailsAlike));
}

#[tokio::test]
async fn a_canary_is_tried_first_and_the_rest_waits() {
    let world = World::new().await;
    let new = NewOperation {
        canary: 3,
        ..sample::operation("uni", Lane::Bulk, at(0))
    };
    let id = listed_operation(&world.store, &new, 0..10).await;
    let first = world.claim_all().await;
    assert_eq!(first.len(), 3);
    for job in &first {
        assert_eq!(world.operation(id).await.hold, None);
        world.grant(job).await;
    }
    let view = world.operation(id).await;
    assert_eq!(
        (view.state, view.hold),
        (OperationState::Held, Some(Hold::Canary))
    );
    assert!(world.claim_all_at(50).await.is_empty());
    world
        .store
        .release(id, "cli:ada", "", at(51))
        .await
        .unwrap();
    assert_eq!(world.claim_all_at(52).await.len(), 7);
}

#[tokio::test]
async fn what_is_held_can_be_cancelled() {
    let world = World::new().await;
    let (_, delegation) = world.given(0, 0..60).await;
    let id = world.revoking(delegation, 1).await;
    world.store.cancel(id, at(60)).await.unwrap();
    let view = world.operation(id).await;
    assert_eq!((view.state, view.hold), (OperationState::Cancelled, None));
    assert_eq!(view.counts.of(Outcome::Cancelled), 60);
    // It took nothing away, so all of it is still there to be taken away.
    let again = world.revoking(delegation, 2).await;
    assert_eq!(world.operation(again).await.counts.accepted, 60);
}

#[tokio::test]
async fn a_burst_of_leavers_waits_for_a_person_as_one_large_run_does() {
    let world = World::new().await;
    let (_, delegation) = world.given(0, 0..90).await;
    let leave = async |seconds: u64, numbers: std::ops::Range<u32>| {
        let names = numbers.map(|number| sample::mailbox_id(number).to_string());
        let new = NewBack {
            names: names.collect(),
            ..back(OperationKind::Revoke, delegation, seconds)
        };
        let id = world.listed(&new).await;
        (id, world.operation(id).await.hold)
    };
    assert_eq!(leave(100, 0..30).await.1, None);
    assert_eq!(leave(200, 30..50).await.1, None);
    let (held, hold) = leave(300, 50..51).await;
    assert_eq!(hold, Some(Hold::RevokesMany));
    // A person has looked: from then on it is counted anew.
    world
        .store
        .release(held, "cli:ada", "", at(301))
        .await
        .unwrap();
    assert_eq!(leave(400, 51..80).await.1, None);
    // And what is longer ago than an hour is none of it.
    assert_eq!(leave(400 + 3601, 80..90).await.1, None);
}
