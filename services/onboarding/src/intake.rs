//! From the queue to the desk and back: each event is settled by itself, and acked when nothing is left to do about it.

use std::time::Duration;

use calgrant_bus::{Bus, Delivery, Queue};
use calgrant_contract::bus::VERSION;
use calgrant_domain::DeadCause;
use calgrant_runtime::{clock, shutdown::Tasks, telemetry, waiting};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::desk::{Desk, Outcome};

/// Events under way at the same time.
const PREFETCH: u16 = 32;
/// After so many deliveries without an end an event is put aside: something about it ends whoever takes it.
const OFTEN: u32 = 20;
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Takes events until `stop`.
pub async fn run(desk: &Desk, bus: &Bus, tasks: &Tasks, stop: &CancellationToken) {
    let queue = Queue::events();
    let consumer = waiting::until_ok("RabbitMQ to consume events", stop, || {
        bus.consumer(&queue, PREFETCH)
    });
    let Some(mut consumer) = consumer.await else {
        return;
    };
    while let Some(delivery) = stop.run_until_cancelled(consumer.next()).await.flatten() {
        let span = info_span!("event", message.id = delivery.message_id);
        if let Some(traceparent) = &delivery.traceparent {
            telemetry::follow(&span, traceparent);
        }
        let (desk, bus, stop) = (desk.clone(), bus.clone(), stop.clone());
        tasks.spawn("event", settle(desk, bus, stop, delivery).instrument(span));
    }
    consumer.stop().await;
}

/// Deals with one event, however long that takes.
async fn settle(desk: Desk, bus: Bus, stop: CancellationToken, delivery: Delivery) {
    if delivery.delivery_count >= OFTEN {
        let why = format!("it was handed out {OFTEN} times and nobody finished it");
        put_aside(&bus, delivery, DeadCause::Crashes, &why).await;
        return;
    }
    let mut pause = FIRST;
    loop {
        match desk.deal_with(&delivery, clock::now()).await {
            Outcome::Done => {
                if let Err(cause) = delivery.ack().await {
                    // It comes again, and changes nothing then.
                    warn!(error = %cause, "an event was dealt with but couldn't be acked");
                }
                return;
            }
            Outcome::PutAside { cause, reason } => {
                put_aside(&bus, delivery, cause, &reason).await;
                return;
            }
            Outcome::Again { why } => {
                info!(
                    wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "an event waits: {why}"
                );
            }
        }
        tokio::select! {
            // Given back: it is delivered again.
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.mul_f64(0.5 + clock::roll() / 2.0)) => {}
        }
        pause = (pause * 2).min(LONGEST);
    }
}

async fn put_aside(bus: &Bus, delivery: Delivery, cause: DeadCause, reason: &str) {
    // Without the reason, which may name a mailbox.
    warn!(cause = %cause, message.id = delivery.message_id, "an event can't be used; it is dead-lettered");
    bus.put_aside(delivery, cause.as_str(), reason, VERSION)
        .await;
}
