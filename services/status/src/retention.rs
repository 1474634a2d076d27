//! Forgets what is old, a small piece after the other, and counts it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_domain::{CutOffs, Kept as Kind, Retention};
use calgrant_runtime::{
    clock,
    metrics::{self, Sample},
};
use calgrant_store::{Forgotten, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between looks for what is old.
const EVERY: Duration = Duration::from_secs(60);
/// Rows of a piece.
const PIECE: u32 = 1000;
/// Between two pieces: others have work to do.
const PAUSE: Duration = Duration::from_millis(50);

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// By age.
    pub(crate) ages: Retention,
    /// So many of the latest changes of each tenant's mailboxes.
    pub(crate) mailbox_changes: u64,
    /// Changes of mailboxes that have not been announced are kept too.
    pub(crate) announced_only: bool,
}

type Counts = Arc<Mutex<BTreeMap<Kind, u64>>>;

/// Forgets until `stop`. Several processes may.
pub(crate) async fn run(store: Store, kept: Kept, stop: CancellationToken) {
    let counts: Counts = Arc::default();
    let shown = Arc::clone(&counts);
    metrics::counter(
        "calgrant.retention.forgotten",
        "{row}",
        "What this process forgot because it was old: ids of requests, changes of operations, history, set-ups, onboarding events, dead letters, alerts, lists, changes of mailboxes.",
        move || {
            let counts = shown.lock().unwrap_or_else(PoisonError::into_inner);
            Kind::ALL
                .iter()
                .map(|kind| sample(*kind, &counts))
                .collect()
        },
    );
    loop {
        for kind in Kind::ALL {
            match all(&store, *kind, kept, &counts, &stop).await {
                Ok(0) => {}
                Ok(rows) => {
                    info!(kind = %kind, rows, "forgot {rows} rows of {kind}: they are older than is kept");
                }
                Err(cause) => {
                    warn!(error = %cause, kind = %kind, "couldn't forget what is old; trying again");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn sample(kind: Kind, counts: &BTreeMap<Kind, u64>) -> Sample {
    Sample {
        value: counts.get(&kind).copied().unwrap_or(0),
        labels: vec![("kind", kind.to_string())],
    }
}

fn count(counts: &Counts, kind: Kind, rows: u64) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(kind).or_default() += rows;
}

/// Forgets all of a kind that is old now.
async fn all(
    store: &Store,
    kind: Kind,
    kept: Kept,
    counts: &Counts,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    let (cut_offs, mut rows) = (kept.ages.cut_offs(clock::now()), 0);
    loop {
        let forgotten = piece(store, kind, kept, cut_offs).await?;
        rows += forgotten.rows;
        count(counts, kind, forgotten.rows);
        let goes_on = forgotten.more
            && stop
                .run_until_cancelled(tokio::time::sleep(PAUSE))
                .await
                .is_some();
        if !goes_on {
            return Ok(rows);
        }
    }
}

async fn piece(
    store: &Store,
    kind: Kind,
    kept: Kept,
    before: CutOffs,
) -> Result<Forgotten, StoreError> {
    match kind {
        Kind::Requests => store.forget_requests(before.requests, PIECE).await,
        Kind::Changes => store.forget_changes(before.changes).await,
        Kind::History => store.forget_history(before.history, PIECE).await,
        Kind::Setups => store.forget_setups(before.history, PIECE).await,
        Kind::Events => store.forget_events(before.events, PIECE).await,
        Kind::DeadLetters => store.forget_dead_letters(before.dead_letters, PIECE).await,
        Kind::Alerts => store.forget_alerts(before.alerts, PIECE).await,
        Kind::Lists => store.forget_list(before.lists).await,
        Kind::MailboxChanges => {
            let (keep, announced_only) = (kept.mailbox_changes, kept.announced_only);
            store
                .forget_mailbox_changes(keep, announced_only, PIECE)
                .await
        }
    }
}
