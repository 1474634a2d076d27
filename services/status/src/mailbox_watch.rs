//! Who becomes ready: told to those who watch, and announced on the broker.

use std::{collections::BTreeMap, time::Duration};

use calgrant_bus::{Announcement, Bus, Message};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::FAMILY,
    pb::status::v1 as pb,
    words,
};
use calgrant_domain::{MailboxId, Reason, TenantName};
use calgrant_runtime::{clock, shutdown::Tasks};
use calgrant_store::{MailboxChange, Store, StoreError};
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{error, warn};

use crate::{provisioning::timestamp, refuse};

/// How often a watcher looks for changes.
const LOOK: Duration = Duration::from_millis(200);
/// Changes of one look.
const PAGE: i64 = 500;
/// Pause when there was nothing to announce, and when that failed.
const IDLE: Duration = Duration::from_millis(200);
const AWAY: Duration = Duration::from_secs(2);

type Answers = Sender<Result<pb::WatchMailboxAccessResponse, Status>>;

/// Sends changes after a number as long as somebody listens; with 0 what is known comes first.
pub(crate) async fn watch(
    store: &Store,
    tasks: &Tasks,
    tenant: &TenantName,
    mut after: u64,
    answers: &Answers,
) -> Result<(), Status> {
    if after == 0 {
        match known(store, tenant, answers).await? {
            Some(head) => after = head,
            None => return Ok(()),
        }
    }
    loop {
        let changes = store
            .mailbox_changes(tenant, after, PAGE)
            .await
            .map_err(refuse::store)?;
        if changes.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = answers.closed() => return Ok(()),
                () = tasks.stop().cancelled() => {
                    return Err(calgrant_contract::refusal::unavailable("this replica stops; watch again", LOOK));
                }
            }
        }
        for change in changes {
            after = change.sequence;
            if answers.send(Ok(answer(change))).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Sends all that is known, and the number from which on changes are missing; `None` if nobody listens any more.
async fn known(
    store: &Store,
    tenant: &TenantName,
    answers: &Answers,
) -> Result<Option<u64>, Status> {
    // Read first: what changes meanwhile is told again as a change.
    let head = store
        .mailbox_log_head(tenant)
        .await
        .map_err(refuse::store)?;
    let mut after: Option<(MailboxId, String)> = None;
    loop {
        let from = after
            .as_ref()
            .map(|(mailbox, trustee)| (*mailbox, trustee.as_str()));
        let page = store
            .mailboxes_known(tenant, from, PAGE)
            .await
            .map_err(refuse::store)?;
        let Some(last) = page.last() else { break };
        after = Some((last.mailbox, last.trustee.clone()));
        for change in page {
            if answers.send(Ok(answer(change))).await.is_err() {
                return Ok(None);
            }
        }
    }
    let end = pb::WatchMailboxAccessResponse {
        sequence: head,
        change: None,
    };
    Ok(answers.send(Ok(end)).await.is_ok().then_some(head))
}

fn advice(reason: Option<Reason>) -> String {
    reason
        .map(|reason| reason.advice().to_owned())
        .unwrap_or_default()
}

fn word(reason: Option<Reason>) -> String {
    reason.map(|reason| reason.to_string()).unwrap_or_default()
}

fn answer(change: MailboxChange) -> pb::WatchMailboxAccessResponse {
    pb::WatchMailboxAccessResponse {
        sequence: change.sequence,
        change: Some(pb::MailboxAccessChange {
            kind: words::access_change_to_wire(change.kind),
            mailbox_id: change.mailbox.to_string(),
            address: change.address,
            trustee: change.trustee,
            role: change.role,
            reason: word(change.reason),
            advice: advice(change.reason),
            operation_id: change.operation.to_string(),
            change_time: Some(timestamp(change.at)),
        }),
    }
}

/// A change as an event.
fn event(tenant: &TenantName, change: &MailboxChange) -> CloudEvent {
    let data = json!({
        "tenant": tenant.as_str(),
        "mailbox": {"id": change.mailbox.as_uuid().to_string(), "address": change.address},
        "trustee": change.trustee,
        "role": change.role,
        "reason": word(change.reason),
        "advice": advice(change.reason),
        "operation": change.operation.to_string(),
    });
    CloudEvent {
        source: format!("/calgrant/{tenant}"),
        id: change.sequence.to_string(),
        kind: format!("{FAMILY}{}.v1", change.kind),
        subject: Some(change.address.clone()),
        time: Some(change.at),
        extensions: BTreeMap::from([("sequence".to_owned(), format!("{:020}", change.sequence))]),
        data,
    }
}

/// Announces changes by `route` until `stop`, each tenant's in order, each at least once.
pub(crate) async fn announce(store: Store, bus: Bus, route: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match announce_all(&store, &bus, &route).await {
            Ok(0) => IDLE,
            Ok(_) => Duration::ZERO,
            Err(cause) => {
                warn!(error = %cause, "couldn't announce who is ready; trying again");
                AWAY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Answers how many changes there were.
async fn announce_all(store: &Store, bus: &Bus, route: &str) -> Result<usize, StoreError> {
    let mut number = 0;
    for tenant in store.unannounced().await? {
        number += store
            .announce(&tenant, PAGE, |changes| {
                publish(bus, route, &tenant, changes)
            })
            .await?;
    }
    Ok(number)
}

/// Publishes changes. Answers the number of the last before the first that isn't out.
async fn publish(
    bus: &Bus,
    route: &str,
    tenant: &TenantName,
    changes: Vec<MailboxChange>,
) -> Option<u64> {
    let mut numbers = Vec::with_capacity(changes.len());
    let mut announcements = Vec::with_capacity(changes.len());
    for change in &changes {
        let body = match event(tenant, change).to_json() {
            Ok(body) => body,
            Err(cause) => {
                error!(error = %cause, sequence = change.sequence, "a change can't be written; it is left out");
                continue;
            }
        };
        numbers.push(change.sequence);
        announcements.push(Announcement {
            key: format!("{tenant}.mailbox.{}", change.kind),
            message: Message {
                body,
                message_id: format!("{tenant}-{}", change.sequence),
                kind: STRUCTURED,
                traceparent: None,
            },
        });
    }
    let out = bus.publisher().announce(route, announcements).await;
    let mut last = None;
    for (number, out) in numbers.into_iter().zip(out) {
        match out {
            Ok(()) => last = Some(number),
            Err(cause) => {
                warn!(error = %cause, "the broker didn't take what was announced; trying again");
                tokio::time::sleep(IDLE).await;
                break;
            }
        }
    }
    last
}

/// Keeps the log from growing for ever: now and then, what is older than the latest `keep` changes of each tenant goes.
pub(crate) async fn prune(store: &Store, keep: u64, announced_only: bool) {
    if let Err(cause) = store.prune_mailbox_log(keep, announced_only).await {
        warn!(error = %cause, "couldn't prune what is known of mailboxes; trying again");
    }
    let before = clock::now() - time::Duration::days(30);
    for forgotten in [
        store.forget_events(before).await,
        store.forget_dead_letters(before).await,
        store.forget_alerts(before).await,
    ] {
        if let Err(cause) = forgotten {
            warn!(error = %cause, "couldn't forget what is old; trying again");
        }
    }
}
