use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use calgrant_domain::{Lane, OperationId, Reading};
use calgrant_store::ReadyJob;
use calgrant_testkit::sample::{self, listed_operation};

use crate::world::{CLAIM, World, at, author, result};

fn by_operation(claimed: &[ReadyJob]) -> BTreeMap<OperationId, usize> {
    let mut counts = BTreeMap::new();
    for ready in claimed {
        *counts.entry(ready.job.operation).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_window_is_filled_again_as_outcomes_come_in() {
    let world = World::new().await;
    world.bulk(0, 0..30).await;
    let first = world.claim(100, 10).await;
    assert_eq!(first.len(), 10);
    assert!(world.claim(100, 10).await.is_empty());
    let results: Vec<_> = first[..4]
        .iter()
        .map(|ready| result(&ready.job, Reading::Seen(author())))
        .collect();
    world.apply(&results).await;
    assert_eq!(world.claim(3, 10).await.len(), 3);
    assert_eq!(world.claim(3, 10).await.len(), 1);
}

#[tokio::test]
async fn two_claimers_never_exceed_a_window() {
    let world = World::new().await;
    world.bulk(0, 0..300).await;
    world.bulk(1, 0..300).await;
    let other = world.database.store();
    let mut claimed = Vec::new();
    for _ in 0..10 {
        let claims = (0..6).map(|number| {
            let store = if number % 2 == 0 {
                &world.store
            } else {
                &other
            };
            store.claim_ready(40, 100, uuid::Uuid::new_v4(), at(20))
        });
        for part in futures::future::join_all(claims).await {
            claimed.extend(part.unwrap());
        }
        assert!(claimed.len() <= 100, "{} are published", claimed.len());
    }
    assert_eq!(claimed.len(), 100);
    let mut ids: Vec<_> = claimed.iter().map(|ready| ready.job.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn a_small_operation_is_not_starved_by_a_huge_one() {
    let world = World::new().await;
    world.bulk(0, 0..5000).await;
    let mut under_way: VecDeque<_> = world.claim_at(1000, 60, 60).await.into();
    let mut small = BTreeMap::new();
    for number in 1..30u32 {
        let from = 10_000 + number * 10;
        small.insert(world.bulk(u64::from(number), from..from + 3).await, 3);
    }
    // Ten at a time are finished, oldest first: what becomes free goes to the small ones until they are served.
    for round in 0.. {
        assert!(round < 12, "{small:?}");
        let done: Vec<_> = under_way
            .drain(..10)
            .map(|ready| result(&ready.job, Reading::Seen(author())))
            .collect();
        world.apply(&done).await;
        let claimed = world.claim_at(1000, 60, 60).await;
        assert_eq!(claimed.len(), 10);
        for ready in &claimed {
            if let Some(left) = small.get_mut(&ready.job.operation) {
                *left -= 1;
            }
        }
        if small.values().all(|left| *left == 0) {
            break;
        }
        under_way.extend(claimed);
    }
}

#[tokio::test]
async fn an_empty_window_is_shared_evenly() {
    let world = World::new().await;
    let ids = [
        world.bulk(0, 0..1000).await,
        world.bulk(1, 0..1000).await,
        world.bulk(2, 0..5).await,
    ];
    let counts = by_operation(&world.claim(105, 105).await);
    assert_eq!(ids.map(|id| counts[&id]), [50, 50, 5]);
}

#[tokio::test]
async fn interactive_goes_before_bulk_and_has_a_window_of_its_own() {
    let world = World::new().await;
    world.bulk(0, 0..50).await;
    assert_eq!(world.claim(100, 20).await.len(), 20);
    let urgent = world.running(Lane::Interactive, 1, 100..103).await;
    world.bulk(2, 200..250).await;
    let claimed = world.claim(4, 30).await;
    assert_eq!(by_operation(&claimed)[&urgent], 3);
    assert!(
        claimed[..3]
            .iter()
            .all(|ready| ready.lane == Lane::Interactive)
    );
    assert_eq!(claimed.len(), 4);
}

#[tokio::test]
async fn tenants_share_a_claim_evenly_and_use_what_others_leave() {
    let world = World::new().await;
    for name in ["alpha", "beta", "gamma"] {
        world.tenant(name).await;
    }
    for (second, name, size) in [(1, "alpha", 200), (2, "beta", 200), (3, "gamma", 10)] {
        let new = sample::operation(name, Lane::Bulk, at(second));
        listed_operation(&world.store, &new, 0..size).await;
    }
    let claimed = world.claim(100, 1000).await;
    let of = |name: &str| {
        claimed
            .iter()
            .filter(|ready| ready.job.tenant.as_str() == name)
            .count()
    };
    assert_eq!(claimed.len(), 100);
    assert_eq!(of("gamma"), 10);
    assert!(of("alpha") >= 40 && of("beta") >= 40);
}

#[tokio::test]
async fn what_waits_for_later_is_not_claimed_before() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let wait = Reading::Later(Duration::from_secs(60));
    world.apply_at(&[result(&job, wait)], 40).await;
    assert!(world.claim_all_at(99).await.is_empty());
    let again = world.claim_all_at(100).await.remove(0);
    assert_eq!((again.id, again.delivery), (job.id, 2));
}

#[tokio::test]
async fn what_could_not_be_published_comes_back() {
    let world = World::new().await;
    let id = world.bulk(0, 0..5).await;
    let claimed = world.claim(5, 5).await;
    let ids: Vec<_> = claimed.iter().map(|ready| ready.job.id).collect();
    world
        .apply(&[result(&claimed[0].job, Reading::Seen(author()))])
        .await;
    world.store.give_back(&ids).await.unwrap();
    let again = world.claim(5, 5).await;
    assert_eq!(again.len(), 4);
    assert!(again.iter().all(|ready| ready.job.delivery == 2));
    assert_eq!(world.counts(id).await.ended(), 1);
}

#[tokio::test]
async fn what_is_overdue_is_ready_again() {
    let world = World::new().await;
    world.bulk(0, 0..4).await;
    world.claim_at(2, 10, 100).await;
    world.claim_at(2, 10, 500).await;
    let limit = Duration::from_secs(900);
    let take_back = |seconds| world.store.take_back_overdue(limit, at(seconds));
    assert_eq!(take_back(999).await.unwrap(), 0);
    assert_eq!(take_back(1001).await.unwrap(), 2);
    assert_eq!(take_back(1001).await.unwrap(), 0);
    let again = world.claim_at(10, 10, 1001).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|ready| ready.job.delivery == 2));
}

#[tokio::test]
async fn what_a_pump_claimed_and_never_published_is_ready_again() {
    let world = World::new().await;
    world.bulk(0, 0..3).await;
    let claimed = world.claim_all_at(20).await;
    let limit = Duration::from_secs(20);
    let taken_back = |at_second| world.store.take_back_unsettled(limit, at(at_second));
    assert_eq!(taken_back(40).await.unwrap(), 0, "too early");
    // One has ended meanwhile: it was published after all.
    world
        .apply(&[result(&claimed[0], Reading::Seen(author()))])
        .await;
    assert_eq!(taken_back(41).await.unwrap(), 2);
    assert_eq!(world.claim_all_at(42).await.len(), 2);
    world.store.settle_claim(CLAIM).await.unwrap();
    assert_eq!(taken_back(100).await.unwrap(), 0, "they are published");
}
