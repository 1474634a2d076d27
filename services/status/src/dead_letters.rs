//! Dead letters: taken from the broker into the database, explained, and replayed or discarded when a person says so.

use std::time::Duration;

use calgrant_bus::{Bus, DeadLetter, Delivery, Queue, Whole};
use calgrant_contract::{
    bus::{RESULTS, VERSION},
    cloud_event::CloudEvent,
    onboarding::OnboardingEvent,
    pb::{bus::v1 as wire, status::v1 as pb},
    refusal,
};
use calgrant_domain::{
    DeadCause, DeadLetterId, Detail, JobId, OperationId, Reading, Reason, outcome::optional,
    reading::Report,
};
use calgrant_runtime::{clock, waiting};
use calgrant_store::{
    DeadLetterFilter, DeadLetterState, DeadLetterView, NewDeadLetter, ReportedResult, Store,
    StoreError,
};
use prost::Message as _;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{provisioning::timestamp, refuse};

const PREFETCH: u16 = 100;
/// Letters replayed or discarded in one go.
const PAGE: i64 = 200;
/// Between looks for messages that wait for this version.
const LOOK: Duration = Duration::from_secs(60);
/// Who replays these.
const ITSELF: &str = "calgrant";
/// Longest text of a message that is shown, in bytes.
const SHOWN: usize = 64 << 10;

/// Takes dead letters until `stop`.
pub(crate) async fn run(store: Store, bus: Bus, stop: CancellationToken) {
    let queue = Queue::dead();
    let consumer = waiting::until_ok("RabbitMQ to consume dead letters", &stop, || {
        bus.consumer(&queue, PREFETCH)
    });
    let Some(mut consumer) = consumer.await else {
        return;
    };
    while let Some(delivery) = stop.run_until_cancelled(consumer.next()).await.flatten() {
        keep(&store, &stop, delivery).await;
    }
    consumer.stop().await;
}

async fn keep(store: &Store, stop: &CancellationToken, delivery: Delivery) {
    let letter = explained(delivery.letter(), clock::now());
    let kept = waiting::until_ok("Postgres to keep dead letters", stop, || {
        store.keep_dead_letter(&letter)
    });
    // Stopping: unacked, it is delivered again.
    if kept.await.is_none() {
        return;
    }
    warn!(dead_letter.id = %letter.id, queue = letter.queue, cause = %letter.cause, "a message couldn't be handled; `calgrant dead-letters list` explains it");
    if let Err(cause) = delivery.ack().await {
        // It comes again, and changes nothing then.
        warn!(error = %cause, dead_letter.id = %letter.id, "a dead letter is kept but couldn't be acked");
    }
}

/// What a message is, as far as it can be told.
#[derive(Default)]
struct About {
    text: String,
    tenant: String,
    operation: Option<OperationId>,
    job: Option<JobId>,
    is_job: bool,
}

fn explained(letter: DeadLetter, now: OffsetDateTime) -> NewDeadLetter {
    let DeadLetter {
        message,
        queue,
        cause,
        reason,
        by_version,
        number,
    } = letter;
    let about = about(&queue, &message, now);
    // The broker gives no number: what is the same in all respects is the same.
    let number = if number.is_empty() {
        let same = [
            queue.as_bytes(),
            message.message_id.as_bytes(),
            reason.as_bytes(),
            &message.body,
        ];
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &same.join(&b'\n')).to_string()
    } else {
        number
    };
    NewDeadLetter {
        id: DeadLetterId::new(now, Uuid::new_v4()),
        number,
        queue,
        // A word of a later version is as good as none.
        cause: optional(&cause).ok().flatten().unwrap_or(DeadCause::Unsaid),
        reason,
        by_version,
        about: about.text,
        tenant: about.tenant,
        operation: about.operation,
        job: about.job,
        is_job: about.is_job,
        message_id: message.message_id,
        content_type: message.content_type,
        headers: message.headers,
        body: message.body,
        at: now,
    }
}

/// What one result says of a message that holds it, and perhaps others.
fn about_results(result: &wire::Result, jobs: &str) -> About {
    let operation = Uuid::from_slice(&result.operation).ok();
    About {
        text: format!("what account {:?} read for {jobs}", result.account),
        operation: operation.map(OperationId::from_uuid),
        ..About::default()
    }
}

fn about(queue: &str, message: &Whole, now: OffsetDateTime) -> About {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
    let unreadable = |what: &str| About {
        text: format!("an unreadable message in place of {what}"),
        ..About::default()
    };
    if let Some((tenant, _)) = queue
        .strip_prefix("jobs.")
        .and_then(|rest| rest.rsplit_once('.'))
    {
        let Some(job) = wire::Job::decode(message.body.as_slice())
            .ok()
            .filter(|job| id(&job.id).is_some())
        else {
            let about = unreadable("a job");
            return About {
                tenant: tenant.to_owned(),
                ..about
            };
        };
        return About {
            text: format!("a job of tenant {}, {} site", job.tenant, job.site),
            tenant: job.tenant,
            operation: id(&job.operation).map(OperationId::from_uuid),
            job: id(&job.id).map(JobId::from_uuid),
            is_job: true,
        };
    }
    if queue == Queue::results().name() {
        if message.content_type == RESULTS {
            let several = wire::Results::decode(message.body.as_slice()).ok();
            let results = several.map(|several| several.results).unwrap_or_default();
            return results.first().map_or_else(
                || unreadable("results"),
                |first| about_results(first, &format!("{} jobs", results.len())),
            );
        }
        let result = wire::Result::decode(message.body.as_slice()).ok();
        return match result.filter(|result| id(&result.job).is_some()) {
            None => unreadable("a result"),
            Some(result) => About {
                job: id(&result.job).map(JobId::from_uuid),
                ..about_results(&result, "a job")
            },
        };
    }
    if queue == Queue::events().name() {
        let read = CloudEvent::read(&message.content_type, &message.headers, &message.body);
        return match read {
            Err(_) => unreadable("an event"),
            Ok(event) => About {
                text: format!("event {} of {}: {}", event.id, event.source, event.kind),
                tenant: OnboardingEvent::read(&event, now)
                    .map(|event| event.tenant.to_string())
                    .unwrap_or_default(),
                ..About::default()
            },
        };
    }
    unreadable("something that is not known")
}

/// Replays what waits for this version, now and then, until `stop`.
pub(crate) async fn replay_newer(store: Store, bus: Bus, stop: CancellationToken) {
    let filter = DeadLetterFilter {
        cause: Some(DeadCause::Newer),
        before_version: Some(VERSION),
        ..DeadLetterFilter::default()
    };
    loop {
        match Resolving::Replay(&bus)
            .all(&store, &filter, ITSELF, "")
            .await
        {
            Ok(0) => {}
            Ok(replayed) => info!(
                replayed,
                "messages that waited for this version are replayed"
            ),
            Err(cause) => warn!(
                error = cause.message(),
                "couldn't replay what waits for this version; trying again"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What is done with those that wait.
pub(crate) enum Resolving<'b> {
    /// They are handled again.
    Replay(&'b Bus),
    /// They are given up; jobs among them end as failed.
    Discard,
}

impl Resolving<'_> {
    /// Does it with each of those that wait, oldest first. Answers with how many.
    pub(crate) async fn all(
        &self,
        store: &Store,
        filter: &DeadLetterFilter,
        by: &str,
        ticket: &str,
    ) -> Result<u64, Status> {
        let state = match self {
            Self::Replay(_) => DeadLetterState::Replayed,
            Self::Discard => DeadLetterState::Discarded,
        };
        let (mut after, mut number) = (None, 0);
        // What dies again meanwhile is younger than this.
        let until = DeadLetterId::new(clock::now(), Uuid::max());
        loop {
            let page = store
                .dead_letters_to_resolve(filter, after, PAGE)
                .await
                .map_err(refuse::store)?;
            for letter in page.iter().take_while(|letter| letter.id <= until) {
                // Done before it is recorded: at least once.
                self.one(store, letter, by).await?;
                let resolved =
                    store.resolve_dead_letter(letter.id, state, by, ticket, clock::now());
                number += u64::from(resolved.await.map_err(refuse::store)?);
            }
            match page.last() {
                Some(last) if last.id <= until => after = Some(last.id),
                _ => return Ok(number),
            }
        }
    }

    async fn one(&self, store: &Store, letter: &DeadLetterView, by: &str) -> Result<(), Status> {
        match self {
            // The row is the job's message in the making: a replayed copy would be one too many.
            Self::Replay(_) if letter.queue.starts_with("jobs.") && letter.job.is_some() => {
                let Some(job) = letter.job else { return Ok(()) };
                let taken_up = store.take_up_again(job, clock::now()).await;
                taken_up.map(drop).map_err(refuse::store)
            }
            Self::Replay(bus) => publish_again(bus, letter, by).await,
            Self::Discard => match (letter.job, letter.operation) {
                (Some(job), Some(operation)) => end(store, job, operation, &letter.reason)
                    .await
                    .map_err(refuse::store),
                _ => Ok(()),
            },
        }
    }
}

async fn publish_again(bus: &Bus, letter: &DeadLetterView, by: &str) -> Result<(), Status> {
    let Some(queue) = Queue::named(&letter.queue) else {
        let why = format!(
            "{} came from queue {:?}, which is none of ours; discard it",
            letter.id, letter.queue
        );
        return Err(refusal::precondition("NO_SUCH_QUEUE", &why));
    };
    let message = Whole {
        body: letter.body.clone(),
        message_id: letter.message_id.clone(),
        content_type: letter.content_type.clone(),
        headers: letter.headers.clone(),
    };
    let mut more = vec![("x-replayed-by", by)];
    if letter.cause == DeadCause::Brake {
        more.push(("x-approved-by", by));
    }
    let sent = bus.publisher().publish_whole(&queue, &message, &more).await;
    sent.map_err(|cause| {
        warn!(error = %cause, "a dead letter couldn't be replayed");
        refusal::unavailable("the broker is away; try again", Duration::from_secs(1))
    })
}

/// Ends a job that was set aside.
async fn end(
    store: &Store,
    job: JobId,
    operation: OperationId,
    why: &str,
) -> Result<(), StoreError> {
    let Some(delivery) = store.set_aside(job).await? else {
        return Ok(());
    };
    let result = ReportedResult {
        job,
        operation,
        delivery,
        report: Some(Report {
            reading: Reading::GaveUp(Reason::Discarded),
            detail: Detail {
                server_text: why.chars().take(300).collect(),
                ..Detail::default()
            },
        }),
        calendar: None,
        account: String::new(),
        calls: 0,
        read_at: clock::now(),
    };
    store.apply(&[result], 0.0, clock::now()).await.map(drop)
}

fn none_if_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads a filter.
pub(crate) fn filter(filter: Option<&pb::DeadLetterFilter>) -> Result<DeadLetterFilter, Status> {
    let Some(filter) = filter else {
        return Ok(DeadLetterFilter::default());
    };
    let ids = filter
        .ids
        .iter()
        .map(|id| id.parse())
        .collect::<Result<_, _>>();
    Ok(DeadLetterFilter {
        ids: ids.map_err(refuse::field("filter.ids"))?,
        queue: none_if_empty(&filter.queue),
        cause: optional(&filter.cause).map_err(refuse::field("filter.cause"))?,
        tenant: none_if_empty(&filter.tenant),
        operation: optional(&filter.operation_id).map_err(refuse::field("filter.operation_id"))?,
        before_version: None,
    })
}

/// Writes a letter.
pub(crate) fn to_wire(letter: DeadLetterView) -> pb::DeadLetter {
    let is_event = letter.queue == Queue::events().name();
    let text = String::from_utf8_lossy(&letter.body[..letter.body.len().min(SHOWN)]).into_owned();
    let state = match letter.state {
        DeadLetterState::Waiting => pb::DeadLetterState::Waiting,
        DeadLetterState::Replayed => pb::DeadLetterState::Replayed,
        DeadLetterState::Discarded => pb::DeadLetterState::Discarded,
    };
    pb::DeadLetter {
        id: letter.id.to_string(),
        queue: letter.queue,
        about: letter.about,
        cause: letter.cause.to_string(),
        reason: letter.reason,
        advice: letter.cause.advice().to_owned(),
        dead_time: Some(timestamp(letter.dead_at)),
        tenant: letter.tenant,
        operation_id: letter
            .operation
            .map(|id| id.to_string())
            .unwrap_or_default(),
        job_id: letter.job.map(|id| id.to_string()).unwrap_or_default(),
        state: state.into(),
        resolved_by: letter.resolved_by,
        resolve_time: letter.resolved_at.map(timestamp),
        ticket: letter.ticket,
        size: u64::try_from(letter.body.len()).unwrap_or(u64::MAX),
        text: if is_event { text } else { String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_results_are_told_from_one() {
        let about = |content_type: &str, body: Vec<u8>| {
            let message = Whole {
                body,
                message_id: String::new(),
                content_type: content_type.to_owned(),
                headers: Vec::new(),
            };
            about(Queue::results().name(), &message, clock::now())
        };
        let result = wire::Result {
            job: vec![1; 16],
            operation: vec![2; 16],
            account: "sa-1".to_owned(),
            ..wire::Result::default()
        };
        let alone = about("", result.encode_to_vec());
        assert!(alone.job.is_some());
        let several = wire::Results {
            results: vec![result; 3],
            needs_version: VERSION + 1,
        };
        let several = about(RESULTS, several.encode_to_vec());
        assert_eq!(several.text, "what account \"sa-1\" read for 3 jobs");
        assert_eq!((several.operation, several.job), (alone.operation, None));
        let junk = about(RESULTS, Vec::new());
        assert!(junk.text.contains("unreadable") && junk.operation.is_none());
    }
}
