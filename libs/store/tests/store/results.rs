use std::time::Duration;

use calgrant_domain::{
    Calendar, Detail, JobId, Observed, OperationState, Outcome, Phase, Reading, Reason,
    reading::Report,
};
use calgrant_store::{Applied, ReportedResult};
use calgrant_testkit::sample;

use crate::world::{World, at, author, result, returned, rights};

const OVERDUE: Duration = Duration::from_secs(900);

#[tokio::test]
async fn the_first_final_outcome_stands() {
    let world = World::new().await;
    let id = world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let unchanged = result(&job, Reading::Seen(author()));
    let failed = result(&job, Reading::GaveUp(Reason::NotFound));
    // Together, again, and in another order.
    world.apply(&[unchanged.clone(), failed.clone()]).await;
    world.apply(std::slice::from_ref(&failed)).await;
    world.apply(&[returned(&job), unchanged]).await;
    let counts = world.counts(id).await;
    assert_eq!((counts.of(Outcome::Unchanged), counts.ended()), (1, 1));
    assert_eq!(world.operation(id).await.state, OperationState::Done);
    assert_eq!(world.outcome(&job).await, Some(Outcome::Unchanged));
    assert!(world.claim_all_at(5000).await.is_empty());
}

#[tokio::test]
async fn a_result_that_comes_twice_uses_up_one_attempt() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let retry = result(&job, Reading::Retry);
    world.apply(std::slice::from_ref(&retry)).await;
    world.apply(&[retry.clone(), retry]).await;
    assert_eq!(world.job(&job).await.attempts, 1);
}

#[tokio::test]
async fn what_is_late_does_not_disturb_the_handing_out_under_way() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let old = world.claim_all().await.remove(0);
    world
        .store
        .take_back_overdue(OVERDUE, at(2000))
        .await
        .unwrap();
    let present = world.claim_all_at(2001).await.remove(0);
    assert_eq!((old.delivery, present.delivery), (1, 2));
    for late in [
        returned(&old),
        result(&old, Reading::Retry),
        result(&old, Reading::Later(Duration::from_secs(600))),
        result(&old, Reading::NotReady),
        result(&old, Reading::Seen(Observed::Absent)),
    ] {
        assert_eq!(world.apply_at(&[late], 2002).await, [Applied::Recorded]);
        let job = world.job(&present).await;
        assert_eq!((job.state.as_str(), job.attempts), ("published", 0));
    }
    world
        .apply_at(&[result(&present, Reading::Retry)], 2003)
        .await;
    let job = world.job(&present).await;
    assert_eq!((job.state.as_str(), job.attempts), ("ready", 1));
    // Ready again: what the old one saw in place is still so.
    world
        .apply_at(&[result(&old, Reading::Seen(author()))], 2004)
        .await;
    assert_eq!(world.outcome(&present).await, Some(Outcome::Unchanged));
}

#[tokio::test]
async fn an_answer_to_what_was_taken_back_and_not_handed_out_again_counts() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    world
        .store
        .take_back_overdue(OVERDUE, at(2000))
        .await
        .unwrap();
    let wait = Duration::from_secs(600);
    world
        .apply_at(&[result(&job, Reading::Later(wait))], 2001)
        .await;
    let view = world.job(&job).await;
    assert_eq!(
        (view.waiting.as_str(), view.not_before),
        ("throttled", at(2601))
    );
    assert!(world.claim_all_at(2600).await.is_empty());
    assert_eq!(world.claim_all_at(2601).await.len(), 1);
}

#[tokio::test]
async fn giving_up_late_does_not_end_what_has_begun() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let old = world.claim_all().await.remove(0);
    world
        .store
        .take_back_overdue(OVERDUE, at(2000))
        .await
        .unwrap();
    let present = world.claim_all_at(2001).await.remove(0);
    world.begin(present.id, rights("Reviewer")).await.unwrap();
    for late in [
        Reading::GaveUp(Reason::OutOfWriteScope),
        Reading::Seen(rights("Owner")),
    ] {
        world.apply_at(&[result(&old, late)], 2002).await;
        assert_eq!(world.outcome(&present).await, None);
    }
    world
        .apply_at(&[result(&present, Reading::Wrote(author()))], 2003)
        .await;
    assert_eq!(world.outcome(&present).await, Some(Outcome::Updated));
}

#[tokio::test]
async fn waits_are_kept_with_what_is_next() {
    let world = World::new().await;
    let id = world.bulk(0, 0..2).await;
    let jobs = world.claim_all().await;
    world.begin(jobs[0].id, Observed::Absent).await.unwrap();
    world
        .apply(&[
            result(&jobs[0], Reading::Wrote(Observed::Absent)),
            result(&jobs[1], Reading::NotReady),
        ])
        .await;
    assert_eq!(world.operation(id).await.parked, 1);
    assert!(world.claim_all_at(41).await.is_empty());
    let proof = world.claim_all_at(42).await.remove(0);
    assert_eq!((proof.id, proof.phase), (jobs[0].id, Phase::Prove));
    // Nobody took it: it is still a proof.
    world.apply_at(&[returned(&proof)], 43).await;
    let proof = world.claim_all_at(43).await.remove(0);
    assert_eq!((proof.phase, proof.delivery), (Phase::Prove, 3));
    world
        .apply_at(&[result(&proof, Reading::Seen(author()))], 44)
        .await;
    assert_eq!(world.outcome(&proof).await, Some(Outcome::Added));
    assert_eq!(world.claim_all_at(340).await.len(), 1);
    assert_eq!(world.operation(id).await.parked, 0);
}

#[tokio::test]
async fn the_servers_words_stay_when_nobody_took_it_since() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let detail = Detail {
        server_code: "ErrorServerBusy".to_owned(),
        server_text: "come back later".to_owned(),
        request_id: "4f1".to_owned(),
    };
    let busy = ReportedResult {
        report: Some(Report {
            reading: Reading::Retry,
            detail: detail.clone(),
        }),
        ..result(&job, Reading::Retry)
    };
    world.apply(&[busy]).await;
    let job = world.claim_all_at(1000).await.remove(0);
    world.apply(&[returned(&job)]).await;
    let view = world.job(&job).await;
    assert_eq!((view.detail, view.account.as_str()), (detail, "sa-1"));
    assert_eq!(view.waiting, "returned");
}

#[tokio::test]
async fn a_calendar_is_remembered_for_the_next_operation() {
    let world = World::new().await;
    world.bulk(0, 0..2).await;
    let calendar = Calendar {
        folder_id: "AAMk".to_owned(),
        path: "\\Kalender".to_owned(),
    };
    let results: Vec<_> = world
        .claim_all()
        .await
        .iter()
        .map(|job| ReportedResult {
            calendar: (job.mailbox == sample::mailbox_id(1)).then(|| calendar.clone()),
            ..result(job, Reading::Seen(author()))
        })
        .collect();
    world.apply(&results).await;
    world.bulk(50, 0..2).await;
    for job in world.claim_all_at(60).await {
        let known = (job.mailbox == sample::mailbox_id(1)).then(|| calendar.clone());
        assert_eq!(job.calendar, known);
    }
}

#[tokio::test]
async fn results_of_unknown_jobs_say_so() {
    let world = World::new().await;
    let id = world.bulk(0, 0..1).await;
    let other = world.bulk(1, 5..6).await;
    let job = world
        .claim_all()
        .await
        .into_iter()
        .find(|job| job.operation == id)
        .unwrap();
    let known = result(&job, Reading::Seen(author()));
    let unknown = ReportedResult {
        job: JobId::of(id, sample::mailbox_id(9)),
        ..known.clone()
    };
    let misplaced = ReportedResult {
        operation: other,
        ..known.clone()
    };
    assert_eq!(
        world.apply(&[unknown, misplaced, known]).await,
        [Applied::Unknown, Applied::Unknown, Applied::Recorded]
    );
    assert_eq!(world.counts(other).await.ended(), 0);
}
