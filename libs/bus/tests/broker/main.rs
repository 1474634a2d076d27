//! On a real RabbitMQ: each test has a vhost of its own, which goes when the test ends.

mod consuming;
mod dead_letters;
mod outage;
mod publishing;
mod routes;
mod vhost;

use calgrant_bus::{Bus, Message, Queue};
use calgrant_testkit::eventually;

fn message(id: u32) -> Message {
    Message {
        body: format!("body of {id}").into_bytes(),
        message_id: id.to_string(),
        kind: "text/plain; type=test",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

fn jobs() -> Queue {
    Queue::jobs("uni", "bulk")
}

/// Counts of quorum queues follow with a short delay.
async fn until_ready(bus: &Bus, queue: &Queue, wanted: u32) {
    let what = format!("{wanted} ready in {}", queue.name());
    eventually(&what, async || {
        bus.ready_count(queue).await.expect("a count") == wanted
    })
    .await;
}
