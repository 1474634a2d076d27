use calgrant_domain::{Observed, OperationState, Outcome, Reading, Reason};
use calgrant_store::StoreError;
use calgrant_testkit::sample;

use crate::world::{World, at, author, result};

#[tokio::test]
async fn only_what_has_not_begun_is_ended() {
    let world = World::new().await;
    let id = world.bulk(0, 0..10).await;
    let jobs: Vec<_> = world
        .claim(6, 6)
        .await
        .into_iter()
        .map(|ready| ready.job)
        .collect();
    for job in &jobs[..2] {
        world.begin(job.id, Observed::Absent).await.unwrap();
    }
    world
        .apply(&[result(&jobs[2], Reading::Seen(author()))])
        .await;
    world.store.cancel(id, at(30)).await.unwrap();
    world.store.cancel(id, at(31)).await.unwrap();
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Cancelling);
    assert_eq!(view.counts.of(Outcome::Cancelled), 7);
    assert_eq!(view.counts.outstanding(), 2);
    assert_eq!(
        world.job(&jobs[3]).await.reason,
        Some(Reason::CancelRequested)
    );
    assert!(world.claim_all().await.is_empty());
    for job in &jobs[..2] {
        world.apply(&[result(job, Reading::Wrote(author()))]).await;
    }
    let view = world.operation(id).await;
    assert_eq!(view.state, OperationState::Cancelled);
    assert_eq!(view.counts.of(Outcome::Added), 2);
    assert_eq!(view.ended_at, Some(at(40)));
    // A late result changes nothing, nor does another request.
    world
        .apply(&[result(&jobs[3], Reading::Seen(author()))])
        .await;
    world.store.cancel(id, at(50)).await.unwrap();
    assert_eq!(world.counts(id).await, view.counts);
}

#[tokio::test]
async fn a_proof_of_a_cancelled_operation_is_still_handed_out() {
    let world = World::new().await;
    let id = world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    world.begin(job.id, Observed::Absent).await.unwrap();
    world
        .apply(&[result(&job, Reading::Wrote(Observed::Absent))])
        .await;
    world.store.cancel(id, at(41)).await.unwrap();
    assert_eq!(world.operation(id).await.state, OperationState::Cancelling);
    let proof = world.claim_all_at(60).await.remove(0);
    world
        .apply(&[result(&proof, Reading::Seen(author()))])
        .await;
    assert_eq!(world.operation(id).await.state, OperationState::Cancelled);
}

#[tokio::test]
async fn a_listing_is_lost_by_a_cancellation() {
    let world = World::new().await;
    let new = sample::operation("uni", calgrant_domain::Lane::Bulk, at(0));
    world.store.accept(&new).await.unwrap();
    world
        .store
        .claim_listing(sample::PLANNER, sample::HOLD, at(0))
        .await
        .unwrap();
    world.store.cancel(new.id, at(1)).await.unwrap();
    let page = sample::page(vec![sample::listed(1)]);
    let recorded = world
        .store
        .record_jobs(new.id, sample::PLANNER, sample::HOLD, &page, at(2))
        .await;
    assert!(matches!(recorded, Err(StoreError::ClaimLost)));
    assert_eq!(
        world.operation(new.id).await.state,
        OperationState::Cancelled
    );
}

#[tokio::test]
async fn many_jobs_end_in_pages_and_an_interrupted_ending_goes_on() {
    let world = World::new().await;
    let id = world.bulk(0, 0..12_000).await;
    let begun = world.claim(1, 1).await.remove(0).job;
    world.begin(begun.id, Observed::Absent).await.unwrap();
    // The caller hangs up after the first page.
    let client = world.database.client().await;
    let cancelling = world.store.cancel(id, at(30));
    let interrupted = async {
        let mut cancelling = std::pin::pin!(cancelling);
        loop {
            // One look at the operation for each step of the cancellation.
            if futures::poll!(cancelling.as_mut()).is_ready() {
                return false;
            }
            let row = client
                .query_one("SELECT cancelled FROM operation", &[])
                .await
                .unwrap();
            if row.get::<_, i64>("cancelled") > 0 {
                return true;
            }
        }
    };
    assert!(interrupted.await);
    let counts = world.counts(id).await;
    assert!(counts.outstanding() > 1, "{counts:?}");
    let nothing_begins = world.claim(1, 100).await;
    for ready in nothing_begins {
        assert!(world.begin(ready.job.id, Observed::Absent).await.is_err());
    }
    assert_eq!(world.store.finish_endings(at(31)).await.unwrap(), 1);
    assert_eq!(world.store.finish_endings(at(32)).await.unwrap(), 0);
    let counts = world.counts(id).await;
    assert_eq!(counts.of(Outcome::Cancelled), 11_999);
    world
        .apply(&[result(&begun, Reading::Wrote(author()))])
        .await;
    assert_eq!(world.operation(id).await.state, OperationState::Cancelled);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    let unknown = sample::operation("uni", calgrant_domain::Lane::Bulk, at(0)).id;
    assert!(matches!(
        world.store.cancel(unknown, at(1)).await,
        Err(StoreError::NotFound("operation"))
    ));
}
