//! Publishing as our services do it: what the broker doesn't take is published again.

use calgrant_bus::{Bus, Message, Queue};
use calgrant_testkit::eventually;

/// Publishes to a queue until it is stored there. A broker refuses for a moment what comes to a queue that is just being made.
pub async fn publish(bus: &Bus, queue: &Queue, message: Message) {
    let publisher = bus.publisher();
    eventually("the broker takes a message", async || {
        publisher.publish(queue, message.clone()).await.is_ok()
    })
    .await;
}
