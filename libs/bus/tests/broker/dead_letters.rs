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
    let buried = delivery
        .put_aside(&publisher, "", "not a Job: no id", 0, "")
        .await;
    buried.expect("with the dead letters");
    until_ready(&bus, &jobs(), 0).await;
    let mut dead = bus.consumer(&Queue::dead(), 10).await.expect("a consumer");
    let letter = dead.next().await.expect("a dead letter");
    assert_eq!(letter.body, b"body of 7");
    assert_eq!(letter.message_id, "7");
    assert_eq!(letter.traceparent, message(7).traceparent);
    let told = letter.letter();
    assert_eq!(told.queue, jobs().name());
    assert_eq!(
        (told.cause.as_str(), told.reason.as_str()),
        ("", "not a Job: no id")
    );
}

#[tokio::test]
async fn what_was_put_aside_goes_back_as_it_was() {
    let bus = Vhost::new().await;
    let publisher = bus.publisher();
    let stored = publisher.publish(&jobs(), message(7)).await;
    stored.expect("stored");
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let delivery = consumer.next().await.expect("a delivery");
    let put = delivery.put_aside(&publisher, "malformed", "no id", 3, "one");
    put.await.expect("put aside");
    let mut dead = bus.consumer(&Queue::dead(), 10).await.expect("a consumer");
    let letter = dead.next().await.expect("a dead letter");
    let told = letter.letter();
    assert_eq!(
        (told.cause.as_str(), told.by_version, told.number.as_str()),
        ("malformed", 3, "one")
    );
    assert_eq!(
        told.message.traceparent(),
        message(7).traceparent.as_deref()
    );
    let queue = Queue::named(&told.queue).expect("its queue");
    let back = publisher.publish_whole(&queue, &told.message, &[("x-replayed-by", "ada")]);
    back.await.expect("back");
    let again = consumer.next().await.expect("a delivery");
    assert_eq!(again.body, b"body of 7");
    assert_eq!(
        (again.message_id.as_str(), again.content_type()),
        ("7", message(7).kind)
    );
    let headers = again.headers();
    assert!(
        headers.contains(&("x-replayed-by".to_owned(), "ada".to_owned())),
        "{headers:?}"
    );
    assert!(
        headers.iter().all(|(name, _)| !name.starts_with("x-dead")),
        "{headers:?}"
    );
}

/// Where it is tried alone, only one consumer has it, and the count begins anew.
#[tokio::test]
async fn a_suspect_moves_to_where_it_is_alone() {
    let bus = Vhost::new().await;
    let publisher = bus.publisher();
    publisher
        .publish(&jobs(), message(7))
        .await
        .expect("stored");
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    drop(consumer.next().await.expect("a delivery"));
    let again = consumer.next().await.expect("the same again");
    assert_eq!(again.delivery_count, 1);
    again
        .move_to(&publisher, &Queue::alone("uni"))
        .await
        .expect("moved");
    let mut alone = bus
        .consumer(&Queue::alone("uni"), 1)
        .await
        .expect("a consumer");
    let there = alone.next().await.expect("the same there");
    assert_eq!((there.delivery_count, there.message_id.as_str()), (0, "7"));
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
    let told = letter.letter();
    assert_eq!(
        (told.queue.as_str(), told.cause.as_str()),
        (jobs().name(), "crashes")
    );
}
