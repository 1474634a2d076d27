use calgrant_domain::{Lane, OperationState, Reading};
use calgrant_store::StoreError;
use calgrant_testkit::sample::{self, HOLD, PLANNER};

use crate::world::{World, at, author, result};

#[tokio::test]
async fn changes_are_numbered_without_gaps_by_several_writers() {
    let world = World::new().await;
    let id = world.bulk(0, 0..40).await;
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    let store = &world.store;
    let applied =
        futures::future::join_all(results.chunks(1).map(|one| store.apply(one, 0.5, at(30)))).await;
    assert!(applied.iter().all(Result::is_ok));
    let events = world.store.events(id, 0, 1000).await.unwrap();
    // Accepted, claimed, recorded, listed, and one for each result.
    assert_eq!(events.len(), 44);
    for (event, number) in events.iter().zip(1u64..) {
        assert_eq!(event.sequence, number);
        if number > 4 {
            assert_eq!(event.counts.ended(), number - 4);
        }
    }
    assert_eq!(events.last().unwrap().state, OperationState::Done);
}

#[tokio::test]
async fn a_watcher_resumes_where_it_was_and_learns_what_is_pruned() {
    let world = World::new().await;
    let new = sample::operation("uni", Lane::Bulk, at(0));
    world.store.accept(&new).await.unwrap();
    world
        .store
        .claim_listing(PLANNER, HOLD, at(0))
        .await
        .unwrap();
    for number in 0..2400 {
        let text = format!("page {number}");
        world
            .store
            .keep_listing(new.id, PLANNER, HOLD, Some(&text), at(1))
            .await
            .unwrap();
    }
    let last = world.operation(new.id).await.sequence;
    assert_eq!(last, 2402);
    let events = |after| world.store.events(new.id, after, 100);
    assert!(matches!(events(0).await, Err(StoreError::Pruned)));
    assert!(matches!(events(100).await, Err(StoreError::Pruned)));
    let resumed = events(last - 150).await.unwrap();
    assert_eq!(resumed.len(), 100);
    assert_eq!(resumed[0].sequence, last - 149);
    assert_eq!(resumed[0].waiting_for, format!("page {}", 2400 - 150));
    let rest = events(resumed[99].sequence).await.unwrap();
    assert_eq!(rest.last().unwrap().sequence, last);
    assert!(events(last).await.unwrap().is_empty());
    // At least 2,000 are kept.
    assert_eq!(events(402).await.unwrap()[0].sequence, 403);
}
