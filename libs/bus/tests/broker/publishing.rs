use calgrant_bus::{Bus, BusError, Queue};

use crate::{jobs, message, until_ready, vhost::Vhost};

#[tokio::test]
async fn what_is_confirmed_is_there_in_full() {
    let bus = Vhost::new().await;
    let stored = bus.publisher().publish(&jobs(), message(1)).await;
    stored.expect("stored");
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let delivery = consumer.next().await.expect("a delivery");
    assert_eq!(delivery.body, b"body of 1");
    assert_eq!(delivery.message_id, "1");
    assert_eq!(delivery.traceparent, message(1).traceparent);
    assert!(!delivery.redelivered);
    assert!(delivery.ack().await.expect("acked"));
    until_ready(&bus, &jobs(), 0).await;
}

#[tokio::test]
async fn a_thousand_go_together() {
    let bus = Vhost::new().await;
    let answers = bus
        .publisher()
        .publish_all(&jobs(), (0..1000).map(message).collect())
        .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    until_ready(&bus, &jobs(), 1000).await;
}

#[tokio::test]
async fn what_amqp_cannot_carry_is_refused_alone() {
    let bus = Vhost::new().await;
    let mut long = message(1);
    long.message_id = "x".repeat(256);
    let messages = vec![message(0), long, message(2)];
    let answers = bus.publisher().publish_all(&jobs(), messages).await;
    let stored: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, true]);
    let far = Queue::jobs(&"x".repeat(256), "bulk");
    assert!(bus.declare(&far).await.is_err());
    assert!(bus.publisher().publish(&far, message(3)).await.is_err());
}

/// A return of the broker must not be credited to another message, in this batch or in another sender's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_counts_as_stored_that_is_nowhere() {
    let bus = Vhost::new().await;
    let present = jobs();
    bus.declare(&present).await.expect("declared");
    for round in 0..20 {
        let absent = Queue::jobs(&format!("new-{round}"), "bulk");
        let (here, there) = (bus.publisher(), bus.publisher());
        let (known, new) = tokio::join!(
            here.publish_all(&present, (0..200).map(message).collect()),
            there.publish_all(&absent, (0..50).map(message).collect()),
        );
        assert!(known.iter().chain(&new).all(Result::is_ok));
        until_ready(&bus, &absent, 50).await;
    }
    until_ready(&bus, &present, 4000).await;
}

#[tokio::test]
async fn a_closed_bus_says_so() {
    let bus = Vhost::new().await;
    assert!(bus.is_up());
    let mut consumer = bus.consumer(&jobs(), 1).await.expect("a consumer");
    bus.close().await;
    assert!(!bus.is_up());
    let refused = bus.publisher().publish(&jobs(), message(1)).await;
    assert!(matches!(refused, Err(BusError::Closed)), "{refused:?}");
    assert!(consumer.next().await.is_none());
}

#[tokio::test]
async fn no_error_shows_the_password() {
    for url in [
        "amqp://app:s3cret@127.0.0.1:1/x",
        "amqp:app:s3cret@x",
        "http://app:s3cret@x",
    ] {
        let Err(error) = Bus::connect(url, "test").await else {
            panic!("connected to {url}");
        };
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
