use calgrant_domain::{Lane, OperationId, OperationState};
use calgrant_store::{Accepted, NewOperation, StoreError};
use calgrant_testkit::sample;

use crate::world::{World, at};

/// Another try of the same request: it has ids of its own.
fn again(new: &NewOperation, canonical: &str) -> NewOperation {
    NewOperation {
        request_id: new.request_id.clone(),
        canonical: canonical.to_owned(),
        ..sample::operation("uni", Lane::Bulk, at(5))
    }
}

async fn operations(world: &World) -> Vec<OperationId> {
    let all = world.store.operations(None, None, 100).await.unwrap();
    all.iter().map(|view| view.id).collect()
}

#[tokio::test]
async fn the_same_request_is_the_same_operation() {
    let world = World::new().await;
    let first = sample::operation("uni", Lane::Bulk, at(0));
    assert_eq!(
        world.store.accept(&first).await.unwrap(),
        Accepted::New(first.id)
    );
    let repeat = again(&first, &first.canonical);
    assert_eq!(
        world.store.accept(&repeat).await.unwrap(),
        Accepted::Known(first.id)
    );
    assert_eq!(operations(&world).await, [first.id]);
    assert!(
        world
            .store
            .delegation(repeat.delegation)
            .await
            .unwrap()
            .is_none()
    );
    let view = world.operation(first.id).await;
    assert_eq!((view.state, view.sequence), (OperationState::Accepted, 1));
}

#[tokio::test]
async fn a_request_id_with_another_body_is_refused() {
    let world = World::new().await;
    let first = sample::operation("uni", Lane::Bulk, at(0));
    world.store.accept(&first).await.unwrap();
    let other = again(&first, "something else");
    match world.store.accept(&other).await {
        Err(StoreError::RequestIdReused(known)) => assert_eq!(known, first.id),
        unexpected => panic!("{unexpected:?}"),
    }
    // Another caller's request ids are their own.
    let theirs = NewOperation {
        caller: "somebody else".to_owned(),
        ..other
    };
    assert_eq!(
        world.store.accept(&theirs).await.unwrap(),
        Accepted::New(theirs.id)
    );
}

#[tokio::test]
async fn of_many_at_once_one_is_accepted() {
    let world = World::new().await;
    let first = sample::operation("uni", Lane::Bulk, at(0));
    let tries: Vec<_> = (0..12).map(|_| again(&first, "the same")).collect();
    let answers = futures::future::join_all(tries.iter().map(|new| world.store.accept(new))).await;
    let mut accepted = Vec::new();
    let mut known = Vec::new();
    for answer in answers {
        match answer.unwrap() {
            Accepted::New(id) => accepted.push(id),
            Accepted::Known(id) => known.push(id),
        }
    }
    assert_eq!((accepted.len(), known.len()), (1, 11));
    assert!(known.iter().all(|id| *id == accepted[0]));
    assert_eq!(operations(&world).await, accepted);
}

#[tokio::test]
async fn operations_are_listed_newest_first_and_by_tenant() {
    let world = World::new().await;
    world.tenant("college").await;
    let mut ids = Vec::new();
    for (second, tenant) in [(1, "uni"), (2, "college"), (3, "uni")] {
        let new = sample::operation(tenant, Lane::Bulk, at(second));
        world.store.accept(&new).await.unwrap();
        ids.push(new.id);
    }
    ids.reverse();
    assert_eq!(operations(&world).await, ids);
    let uni = "uni".parse().unwrap();
    let page = world.store.operations(Some(&uni), None, 1).await.unwrap();
    assert_eq!(page[0].id, ids[0]);
    let next = world
        .store
        .operations(Some(&uni), Some(ids[0].as_uuid()), 1)
        .await
        .unwrap();
    assert_eq!(next[0].id, ids[2]);
}
