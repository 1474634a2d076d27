//! Jobs that were handed out again and again without an end: something about one of them ends the workers that take it, and it takes
//! innocent ones that were held beside it with it. They are tried alone, one at a time over all workers; what ends a worker even
//! so is put aside.

use std::{sync::Arc, time::Duration};

use calgrant_bus::{Bus, Delivery, Queue};
use calgrant_contract::bus::VERSION;
use calgrant_domain::DeadCause;
use tokio::sync::Notify;
use tracing::{error, warn};

/// Handed out so often, a job is tried alone. Workers that are stopped or killed count too, and that is no sign of anything.
const OFTEN: u32 = 20;
/// So often it may end a worker that holds it alone.
const ALONE: u32 = 3;

/// What is known of a tenant's suspects, and what to do with a delivery.
#[derive(Debug, Clone)]
pub struct Suspects {
    queue: Queue,
    moved: Arc<Notify>,
    /// Whether these are already tried alone.
    alone: bool,
}

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Take,
    MoveAway,
    PutAside,
}

/// Decides by how often it was handed out before.
fn then(alone: bool, delivery_count: u32) -> Then {
    match (alone, delivery_count) {
        (false, OFTEN..) => Then::MoveAway,
        (true, ALONE..) => Then::PutAside,
        _ => Then::Take,
    }
}

impl Suspects {
    /// Those of a tenant.
    #[must_use]
    pub fn new(tenant: &str) -> Self {
        Self {
            queue: Queue::alone(tenant),
            moved: Arc::new(Notify::new()),
            alone: false,
        }
    }

    /// The same, where they are tried alone.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self {
            alone: true,
            ..self.clone()
        }
    }

    /// Where they are.
    #[must_use]
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Ends when one was moved there by us.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Whether there were any of late.
    pub async fn some(&self, bus: &Bus) -> bool {
        bus.ready_count(&self.queue).await.is_ok()
    }

    /// Looks at a delivery. Gives it back if it may be taken.
    pub async fn look(&self, bus: &Bus, delivery: Delivery) -> Option<Delivery> {
        match then(self.alone, delivery.delivery_count) {
            Then::Take => Some(delivery),
            Then::MoveAway => {
                warn!(
                    message.id = delivery.message_id,
                    "a job was handed out {OFTEN} times without an end; it is tried alone"
                );
                match delivery.move_to(&bus.publisher(), &self.queue).await {
                    Ok(()) => self.moved.notify_one(),
                    Err(cause) => {
                        warn!(error = %cause, "couldn't move it; it is delivered again");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
                None
            }
            Then::PutAside => {
                error!(
                    message.id = delivery.message_id,
                    "a job ended {ALONE} workers that held it alone; it is dead-lettered"
                );
                let why = format!(
                    "it was handed out {OFTEN} times, and then ended {ALONE} workers that tried it alone"
                );
                let cause = DeadCause::Crashes.as_str();
                bus.put_aside(delivery, cause, &why, VERSION).await;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn often_is_tried_alone_and_put_aside_if_that_ends_workers_too() {
        for (alone, count, want) in [
            (false, 0, Then::Take),
            (false, OFTEN - 1, Then::Take),
            (false, OFTEN, Then::MoveAway),
            (false, 999, Then::MoveAway),
            (true, 0, Then::Take),
            (true, ALONE - 1, Then::Take),
            (true, ALONE, Then::PutAside),
        ] {
            assert_eq!(then(alone, count), want, "{alone} {count}");
        }
    }
}
