use calgrant_bus::Queue;

use crate::{jobs, message, until_ready, vhost::Vhost};

#[tokio::test]
async fn a_dead_letter_is_kept_whole() {
    let bus = Vhost::new().await;
    let publisher = bus.publisher();
    publisher
        .publish(&jobs(), message(7))
        .await
        .expect("stored");
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let delivery = consumer.next().await.expect("a delivery");
    let buried = delivery.dead_letter(&publisher, "not a Job: no id").await;
    buried.expect("with the dead letters");
    until_ready(&bus, &jobs(), 0).await;
    let mut dead = bus.consumer(&Queue::dead(), 10).await.expect("a consumer");
    let letter = dead.next().await.expect("a dead letter");
    assert_eq!(letter.body, b"body of 7");
    assert_eq!(letter.message_id, "7");
    assert_eq!(letter.traceparent, message(7).traceparent);
}

/// What is given back too often ends with the dead letters by the broker's own hand.
#[tokio::test]
async fn poison_does_not_go_round_for_ever() {
    let bus = Vhost::new().await;
    let stored = bus.publisher().publish(&jobs(), message(1)).await;
    stored.expect("stored");
    let mut consumer = bus.consumer(&jobs(), 1).await.expect("a consumer");
    let mut dead = bus.consumer(&Queue::dead(), 1).await.expect("a consumer");
    let going_round = async {
        loop {
            tokio::select! {
                letter = dead.next() => return letter.expect("a dead letter"),
                delivery = consumer.next() => drop(delivery.expect("a delivery")),
            }
        }
    };
    let letter = tokio::time::timeout(std::time::Duration::from_secs(60), going_round)
        .await
        .expect("dead in time");
    assert_eq!(letter.message_id, "1");
}
