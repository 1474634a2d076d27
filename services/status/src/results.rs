//! Results from the broker: a batch in one transaction, acked after the commit. One bad item fails alone: a message of several that
//! can't all be recorded is taken apart.

use std::time::Duration;

use calgrant_bus::{Bus, Delivery, Message, Queue};
use calgrant_contract::{
    bus::{JobResult, RESULT, Unreadable, VERSION, message_id, read_result, results_of},
    pb,
};
use calgrant_domain::DeadCause;
use calgrant_runtime::{clock, waiting};
use calgrant_store::{Applied, ReportedResult, Store, StoreError};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Messages of a batch.
const BATCH: usize = 200;
/// Results of a transaction, from which on no further message is added.
const ENOUGH: usize = 300;
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

/// A message that can be read, and what it says.
struct Told {
    results: Vec<ReportedResult>,
    delivery: Delivery,
}

async fn handle(store: &Store, bus: &Bus, stop: &CancellationToken, batch: Vec<Delivery>) {
    let (mut part, mut size) = (Vec::with_capacity(batch.len()), 0);
    for delivery in batch {
        match read(&delivery) {
            Ok(results) => {
                size += results.len();
                part.push(Told { results, delivery });
            }
            Err(why) => refuse(bus, delivery, why.cause(), &why.to_string()).await,
        }
        if size >= ENOUGH {
            record(store, bus, stop, std::mem::take(&mut part)).await;
            size = 0;
        }
    }
    if !part.is_empty() {
        record(store, bus, stop, part).await;
    }
}

async fn record(store: &Store, bus: &Bus, stop: &CancellationToken, part: Vec<Told>) {
    let results: Vec<_> = part.iter().flat_map(|told| told.results.clone()).collect();
    match apply(store, stop, &results).await {
        Ok(Some(applied)) => {
            let mut applied = applied.as_slice();
            for told in part {
                let (its, others) = applied.split_at(told.results.len());
                applied = others;
                settle(bus, told, its).await;
            }
        }
        // Stopping: unacked, they are delivered again.
        Ok(None) => {}
        Err(cause) => {
            warn!(error = %cause, "a batch of results failed; trying each message alone");
            for told in part {
                match apply(store, stop, &told.results).await {
                    Ok(Some(applied)) => settle(bus, told, &applied).await,
                    Ok(None) => return,
                    Err(cause) => {
                        let why = cause.to_string();
                        refuse(bus, told.delivery, DeadCause::Refused, &why).await;
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

async fn settle(bus: &Bus, told: Told, applied: &[Applied]) {
    let all = told.results.iter().zip(applied);
    let unknown = all.filter(|(_, applied)| **applied == Applied::Unknown);
    match unknown.map(|(result, _)| result.job).next() {
        None => {
            if let Err(cause) = told.delivery.ack().await {
                // It comes again, and changes nothing then.
                warn!(error = %cause, results = told.results.len(), "results are recorded but couldn't be acked");
            }
        }
        Some(job) => {
            let why = format!("there is no {job}");
            refuse(bus, told.delivery, DeadCause::Unknown, &why).await;
        }
    }
}

/// Dead-letters a message of one result. One of several is taken apart, for whatever is wrong may be wrong with one of them.
async fn refuse(bus: &Bus, delivery: Delivery, cause: DeadCause, why: &str) {
    match results_of(delivery.content_type(), &delivery.body) {
        Ok(several) if several.len() > 1 => take_apart(bus, delivery, several).await,
        _ => {
            error!(
                reason = why,
                message.id = delivery.message_id,
                "a result can't be handled; it is dead-lettered"
            );
            bus.put_aside(delivery, cause.as_str(), why, VERSION).await;
        }
    }
}

/// Has each of several results delivered by itself. What of them is recorded by now, or comes twice, changes nothing.
async fn take_apart(bus: &Bus, delivery: Delivery, several: Vec<pb::bus::v1::Result>) {
    let messages = several.iter().map(|alone| Message {
        body: alone.encode_to_vec(),
        message_id: message_id(&alone.job),
        kind: RESULT,
        traceparent: delivery.traceparent.clone(),
    });
    let (publisher, queue) = (bus.publisher(), Queue::results());
    let stored = publisher.publish_all(&queue, messages.collect()).await;
    match stored.into_iter().collect::<Result<Vec<()>, _>>() {
        Ok(_) => {
            if let Err(error) = delivery.ack().await {
                warn!(%error, "results were taken apart but couldn't be acked; they are delivered again");
            }
        }
        Err(error) => {
            warn!(%error, "results couldn't be taken apart; they are delivered again");
        }
    }
}

fn read(delivery: &Delivery) -> Result<Vec<ReportedResult>, Unreadable> {
    let wire = results_of(delivery.content_type(), &delivery.body)?;
    let read = wire.into_iter().map(|result| {
        let result: JobResult = read_result(result)?;
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
    });
    read.collect()
}
