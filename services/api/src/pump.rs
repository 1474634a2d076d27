//! From rows to the broker: claims what the windows have room for, publishes it, gives back what couldn't be.

use std::{collections::HashMap, time::Duration};

use calgrant_bus::{Bus, Message, Queue};
use calgrant_contract::{
    bus::{JOB, message_id},
    pb::ledger::v1::{
        ClaimReadyRequest, GiveBackRequest, ReadyJob, ledger_service_client::LedgerServiceClient,
    },
};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};
use tracing::{debug, warn};

/// Most jobs of one claim.
const CLAIM: u32 = 1000;
/// Pause when there was nothing to claim.
const IDLE: Duration = Duration::from_millis(100);
/// Pause while status or the broker is away.
const AWAY: Duration = Duration::from_secs(1);

/// Pumps until `stop`.
pub async fn run(
    mut ledger: LedgerServiceClient<Channel>,
    bus: Bus,
    window: u32,
    stop: CancellationToken,
) {
    let mut unsettled = Vec::new();
    while !stop.is_cancelled() {
        let pause = if bus.is_up() {
            pump(&mut ledger, &bus, window, &mut unsettled).await
        } else {
            Some(AWAY)
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// Tells status what became of claims; those it didn't hear of stay, and are taken back there if that takes too long.
async fn settle(
    ledger: &mut LedgerServiceClient<Channel>,
    unsettled: &mut Vec<GiveBackRequest>,
) -> Result<(), Status> {
    while let Some(claim) = unsettled.first() {
        ledger.give_back(claim.clone()).await?;
        unsettled.remove(0);
    }
    Ok(())
}

/// One claim. Answers how long to pause before the next one, if at all.
async fn pump(
    ledger: &mut LedgerServiceClient<Channel>,
    bus: &Bus,
    window: u32,
    unsettled: &mut Vec<GiveBackRequest>,
) -> Option<Duration> {
    let claim = uuid::Uuid::new_v4().into_bytes().to_vec();
    let request = ClaimReadyRequest {
        limit: CLAIM,
        window,
        claim: claim.clone(),
    };
    let asked = async {
        settle(ledger, unsettled).await?;
        ledger.claim_ready(request).await
    };
    let claimed = match asked.await {
        Ok(answer) => answer.into_inner().jobs,
        Err(status) => {
            warn!(
                error = status.message(),
                "no jobs could be claimed; trying again"
            );
            return Some(AWAY);
        }
    };
    if claimed.is_empty() {
        return Some(IDLE);
    }
    debug!(jobs = claimed.len(), "publishing");
    let mut queues: HashMap<Queue, Vec<ReadyJob>> = HashMap::new();
    for ready in claimed {
        let tenant = ready
            .job
            .as_ref()
            .map(|job| job.tenant.clone())
            .unwrap_or_default();
        queues
            .entry(Queue::jobs(&tenant, &ready.lane))
            .or_default()
            .push(ready);
    }
    let publisher = bus.publisher();
    let mut failed = Vec::new();
    for (queue, ready) in queues {
        let jobs: Vec<_> = ready
            .into_iter()
            .filter_map(|ready| Some((ready.job?, ready.traceparent)))
            .collect();
        let messages = jobs.iter().map(|(job, traceparent)| Message {
            body: job.encode_to_vec(),
            message_id: message_id(&job.id),
            kind: JOB,
            traceparent: (!traceparent.is_empty()).then(|| traceparent.clone()),
        });
        let stored = publisher.publish_all(&queue, messages.collect()).await;
        failed.extend(
            jobs.into_iter()
                .zip(stored)
                .filter_map(|((job, _), stored)| stored.err().map(|cause| (job.id, cause))),
        );
    }
    if let Some((_, cause)) = failed.first() {
        warn!(error = %cause, jobs = failed.len(), "jobs couldn't be published; they become ready again");
    }
    let pause = (!failed.is_empty()).then_some(AWAY);
    unsettled.push(GiveBackRequest {
        jobs: failed.into_iter().map(|(job, _)| job).collect(),
        claim,
    });
    if let Err(status) = settle(ledger, unsettled).await {
        warn!(
            error = status.message(),
            "couldn't say what was published; trying again"
        );
        return Some(AWAY);
    }
    pause
}
