use std::time::Duration;

use tokio::time::timeout;

use crate::{eventually, jobs, message, vhost::Vhost};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_come_back_by_themselves() {
    let bus = Vhost::new().await;
    let publisher = bus.publisher();
    publisher
        .publish(&jobs(), message(1))
        .await
        .expect("stored");
    let mut consumer = bus.consumer(&jobs(), 10).await.expect("a consumer");
    let held = consumer.next().await.expect("a delivery");

    let down = eventually("down", async || !bus.is_up());
    let (cut, ()) = tokio::join!(bus.cut(), down);
    assert_eq!(cut, 2);
    // Nobody publishes or consumes meanwhile: it comes back all the same.
    eventually("up", async || bus.is_up()).await;

    // The old ack says nothing any more, which is no error; the message comes again.
    assert!(!held.ack().await.expect("no error"));
    let again = timeout(LONG, consumer.next()).await.expect("in time");
    let again = again.expect("a delivery");
    assert_eq!((again.message_id.as_str(), again.redelivered), ("1", true));
    assert!(again.ack().await.expect("acked"));
    publisher
        .publish(&jobs(), message(2))
        .await
        .expect("stored");
    let next = timeout(LONG, consumer.next()).await.expect("in time");
    assert_eq!(next.expect("a delivery").message_id, "2");
}
