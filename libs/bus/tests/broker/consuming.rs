use std::time::Duration;

use calgrant_bus::Bus;
use tokio::time::timeout;

use crate::{jobs, message, until_ready, vhost::Vhost};

const LONG: Duration = Duration::from_secs(20);

async fn fill(bus: &Bus, count: u32) {
    let stored = bus
        .publisher()
        .publish_all(&jobs(), (0..count).map(message).collect())
        .await;
    assert!(stored.iter().all(Result::is_ok));
}

#[tokio::test]
async fn deliveries_are_acked_in_any_order() {
    let bus = Vhost::new().await;
    fill(&bus, 3).await;
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(consumer.next().await.expect("a delivery"));
    }
    while let Some(delivery) = held.pop() {
        assert!(delivery.ack().await.expect("acked"));
    }
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    bus.close().await;
    until_ready(&bus.another().await, &jobs(), 0).await;
}

#[tokio::test]
async fn no_more_than_the_prefetch_are_in_hand() {
    let bus = Vhost::new().await;
    fill(&bus, 5).await;
    let mut consumer = bus.consumer(&jobs(), 2).await.expect("a consumer");
    let batch = consumer.next_batch(10, Duration::from_millis(300)).await;
    assert_eq!(batch.len(), 2);
    until_ready(&bus, &jobs(), 3).await;
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_loses_nothing() {
    let bus = Vhost::new().await;
    fill(&bus, 3).await;
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let waiting = consumer.next_batch(10, Duration::from_secs(60));
    assert!(timeout(Duration::from_millis(300), waiting).await.is_err());
    let batch = timeout(LONG, consumer.next_batch(3, Duration::from_secs(1))).await;
    let batch = batch.expect("in time");
    let mut ids: Vec<_> = batch.iter().map(|it| it.message_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["0", "1", "2"]);
}

#[tokio::test]
async fn what_is_in_hand_can_be_acked_after_its_consumer_is_gone() {
    let bus = Vhost::new().await;
    fill(&bus, 3).await;
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let held = consumer.next().await.expect("a delivery");
    consumer.stop().await;
    drop(consumer);
    // The two others go back without waiting for this one.
    until_ready(&bus, &jobs(), 2).await;
    assert!(held.ack().await.expect("acked"));
    bus.close().await;
    until_ready(&bus.another().await, &jobs(), 2).await;
}

/// A panic or a cancelled task must not keep a message from others until the connection ends.
#[tokio::test]
async fn a_dropped_delivery_goes_back() {
    let bus = Vhost::new().await;
    fill(&bus, 1).await;
    let mut consumer = bus.consumer(&jobs(), 1).await.expect("a consumer");
    drop(consumer.next().await.expect("a delivery"));
    let again = timeout(LONG, consumer.next()).await.expect("in time");
    assert!(again.expect("the same again").redelivered);
}
