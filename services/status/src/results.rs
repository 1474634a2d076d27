//! Results from the broker: a batch in one transaction, acked after the commit. One bad item fails alone.

use std::time::Duration;

use calgrant_bus::{Bus, Delivery, Queue};
use calgrant_contract::bus::{JobResult, Unreadable, VERSION, read_result};
use calgrant_domain::DeadCause;
use calgrant_runtime::{clock, waiting};
use calgrant_store::{Applied, ReportedResult, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

const BATCH: usize = 200;
const LINGER: Duration = Duration::from_millis(10);
const PREFETCH: u16 = 1000;

/// Takes results until `stop`.
pub(crate) async fn run(store: Store, bus: Bus, stop: CancellationToken) {
    let queue = Queue::results();
    let consumer = waiting::until_ok("RabbitMQ to consume results", &stop, || {
        bus.consumer(&queue, PREFETCH)
    })
    .await;
    let Some(mut consumer) = consumer else { return };
    loop {
        let batch = tokio::select! {
            () = stop.cancelled() => break,
            batch = consumer.next_batch(BATCH, LINGER) => batch,
        };
        if batch.is_empty() {
            break;
        }
        handle(&store, &bus, &stop, batch).await;
    }
    consumer.stop().await;
}

async fn handle(store: &Store, bus: &Bus, stop: &CancellationToken, batch: Vec<Delivery>) {
    let mut readable = Vec::with_capacity(batch.len());
    for delivery in batch {
        match read(&delivery) {
            Ok(result) => readable.push((result, delivery)),
            Err(why) => {
                dead_letter(bus, delivery, why.cause(), &why.to_string()).await;
            }
        }
    }
    let results: Vec<_> = readable.iter().map(|(result, _)| result.clone()).collect();
    match apply(store, stop, &results).await {
        Ok(Some(applied)) => settle(bus, readable, applied).await,
        // Stopping: unacked, they are delivered again.
        Ok(None) => {}
        Err(cause) => {
            warn!(error = %cause, "a batch of results failed; trying each alone");
            for (result, delivery) in readable {
                match apply(store, stop, std::slice::from_ref(&result)).await {
                    Ok(Some(applied)) => settle(bus, vec![(result, delivery)], applied).await,
                    Ok(None) => return,
                    Err(cause) => {
                        dead_letter(bus, delivery, DeadCause::Refused, &cause.to_string()).await;
                    }
                }
            }
        }
    }
}

/// Applies results, waiting while the database is away.
async fn apply(
    store: &Store,
    stop: &CancellationToken,
    results: &[ReportedResult],
) -> Result<Option<Vec<Applied>>, StoreError> {
    let answered = waiting::until_ok("Postgres to record results", stop, || async {
        match store.apply(results, clock::roll(), clock::now()).await {
            Err(StoreError::Away(cause) | StoreError::Contended(cause)) => Err(cause),
            other => Ok(other),
        }
    });
    answered.await.transpose()
}

async fn settle(bus: &Bus, readable: Vec<(ReportedResult, Delivery)>, applied: Vec<Applied>) {
    for ((result, delivery), applied) in readable.into_iter().zip(applied) {
        match applied {
            Applied::Recorded => {
                if let Err(cause) = delivery.ack().await {
                    // It comes again, and changes nothing then.
                    warn!(error = %cause, job.id = %result.job, "a result is recorded but couldn't be acked");
                }
            }
            Applied::Unknown => {
                let why = format!("there is no {}", result.job);
                dead_letter(bus, delivery, DeadCause::Unknown, &why).await;
            }
        }
    }
}

async fn dead_letter(bus: &Bus, delivery: Delivery, cause: DeadCause, why: &str) {
    error!(
        reason = why,
        message.id = delivery.message_id,
        "a result can't be handled; it is dead-lettered"
    );
    bus.put_aside(delivery, cause.as_str(), why, VERSION).await;
}

fn read(delivery: &Delivery) -> Result<ReportedResult, Unreadable> {
    let result: JobResult = read_result(&delivery.body)?;
    Ok(ReportedResult {
        job: result.job,
        operation: result.operation,
        delivery: result.delivery,
        report: result.report,
        calendar: result.calendar,
        account: result.account,
        calls: result.calls,
        read_at: result.read_at,
    })
}
