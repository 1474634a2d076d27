use calgrant_domain::{
    Lane, Listed, OperationFailure, OperationId, OperationState, Outcome, Reason,
};
use calgrant_store::StoreError;
use calgrant_testkit::sample::{self, HOLD, PLANNER, listed, mailbox_id, page};

use crate::world::{World, at};

/// An operation that is claimed, and has nothing recorded.
async fn claimed(world: &World) -> OperationId {
    let new = sample::operation("uni", Lane::Bulk, at(0));
    world.store.accept(&new).await.unwrap();
    let claim = world
        .store
        .claim_listing(PLANNER, HOLD, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claim.operation, new.id);
    new.id
}

async fn record(world: &World, id: OperationId, recipients: Vec<Listed>) -> Result<(), StoreError> {
    world
        .store
        .record_jobs(id, PLANNER, HOLD, &page(recipients), at(1))
        .await
}

async fn finish(world: &World, id: OperationId) {
    world
        .store
        .finish_listing(id, PLANNER, None, at(2))
        .await
        .unwrap();
}

fn on_line(number: u32, line: u32) -> Listed {
    Listed {
        lines: vec![line],
        ..listed(number)
    }
}

#[tokio::test]
async fn a_page_recorded_again_counts_once_and_its_lines_merge() {
    let world = World::new().await;
    let id = claimed(&world).await;
    let first = vec![on_line(1, 1), on_line(2, 2), on_line(1, 3)];
    record(&world, id, first.clone()).await.unwrap();
    // The planner dies, another begins again from the start; the alias on line 7 is on a later page.
    let crashed_at = at(0) + HOLD * 2;
    let claim = world
        .store
        .claim_listing("planner-2", HOLD, crashed_at)
        .await
        .unwrap();
    assert_eq!(claim.unwrap().operation, id);
    assert!(matches!(
        record(&world, id, first.clone()).await,
        Err(StoreError::ClaimLost)
    ));
    for recipients in [first, vec![on_line(2, 7), on_line(3, 8)]] {
        world
            .store
            .record_jobs(id, "planner-2", HOLD, &page(recipients), crashed_at)
            .await
            .unwrap();
    }
    let view = world.operation(id).await;
    assert_eq!((view.counts.accepted, view.merged_lines), (3, 2));
    let mut lines: Vec<_> = world
        .jobs(id)
        .await
        .into_iter()
        .map(|job| (job.name, job.lines))
        .collect();
    lines.sort();
    let person = |number: u32| format!("person-{number}@example.org");
    assert_eq!(
        lines,
        [
            (person(1), vec![1, 3]),
            (person(2), vec![2, 7]),
            (person(3), vec![8])
        ]
    );
}

#[tokio::test]
async fn unsuitable_recipients_end_at_once_and_are_counted() {
    let world = World::new().await;
    let id = claimed(&world).await;
    let unsuitable = |number, reason| Listed {
        what: Err(reason),
        ..listed(number)
    };
    let recipients = vec![
        listed(1),
        unsuitable(2, Reason::NotAMailbox),
        unsuitable(3, Reason::Ambiguous),
    ];
    record(&world, id, recipients.clone()).await.unwrap();
    record(&world, id, recipients).await.unwrap();
    let counts = world.counts(id).await;
    assert_eq!(counts.accepted, 3);
    assert_eq!(counts.of(Outcome::Refused), 1);
    assert_eq!(counts.of(Outcome::Failed), 1);
    assert_eq!(counts.outstanding(), 1);
    assert_eq!(world.claim_all().await.len(), 1);
}

#[tokio::test]
async fn an_operation_of_unsuitable_recipients_only_is_done() {
    let world = World::new().await;
    let id = claimed(&world).await;
    let recipient = Listed {
        what: Err(Reason::Unlicensed),
        ..listed(1)
    };
    record(&world, id, vec![recipient]).await.unwrap();
    finish(&world, id).await;
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Done);
    assert_eq!(view.ended_at, Some(at(2)));
}

#[tokio::test]
async fn exclusions_win_and_are_counted_where_the_listing_meets_them() {
    let world = World::new().await;
    let id = claimed(&world).await;
    let excluded = [mailbox_id(2), mailbox_id(99)];
    for _ in 0..2 {
        world
            .store
            .record_exclusions(id, PLANNER, &excluded)
            .await
            .unwrap();
        record(&world, id, vec![listed(1), listed(2), listed(3)])
            .await
            .unwrap();
    }
    finish(&world, id).await;
    let view = world.operation(id).await;
    assert_eq!((view.counts.accepted, view.excluded), (2, 1));
    let mailboxes: Vec<_> = world.jobs(id).await.iter().map(|job| job.mailbox).collect();
    assert!(!mailboxes.contains(&mailbox_id(2)));
}

#[tokio::test]
async fn an_empty_selection_fails() {
    let world = World::new().await;
    let id = claimed(&world).await;
    finish(&world, id).await;
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Failed);
    assert_eq!(view.failure, OperationFailure::EmptySelection.as_str());
    assert!(view.ended_at.is_some());
}

#[tokio::test]
async fn a_listing_that_fails_in_the_middle_ends_when_what_has_begun_has_ended() {
    let world = World::new().await;
    let id = claimed(&world).await;
    record(&world, id, (0..3).map(listed).collect())
        .await
        .unwrap();
    let jobs = world.claim_all().await;
    world
        .begin(jobs[0].id, calgrant_domain::Observed::Absent)
        .await
        .unwrap();
    let failure = Some((OperationFailure::ReaderRefused, "the reader was refused"));
    world
        .store
        .finish_listing(id, PLANNER, failure, at(3))
        .await
        .unwrap();
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Cancelling);
    assert_eq!(view.counts.of(Outcome::Cancelled), 2);
    assert_eq!(
        world.job(&jobs[1]).await.reason,
        Some(Reason::OperationFailed)
    );
    world.grant(&jobs[0]).await;
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Failed);
    assert_eq!(view.failure_text, "the reader was refused");
    assert_eq!(view.counts.outstanding(), 0);
}

#[tokio::test]
async fn a_claim_is_kept_by_signs_of_life_and_one_planner_has_it() {
    let world = World::new().await;
    let id = claimed(&world).await;
    let other = |seconds| world.store.claim_listing("planner-2", HOLD, at(seconds));
    assert!(other(10).await.unwrap().is_none());
    world
        .store
        .keep_listing(id, PLANNER, HOLD, Some("the directory"), at(14))
        .await
        .unwrap();
    assert!(other(28).await.unwrap().is_none());
    assert_eq!(world.operation(id).await.waiting_for, "the directory");
    assert_eq!(other(30).await.unwrap().unwrap().operation, id);
    let lost = world
        .store
        .keep_listing(id, PLANNER, HOLD, None, at(31))
        .await;
    assert!(matches!(lost, Err(StoreError::ClaimLost)));
}
