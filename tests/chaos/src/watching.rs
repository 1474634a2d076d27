//! Who looks on: at every snapshot, and for what a person is waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use calgrant_contract::pb::provisioning::v1::Operation;
use calgrant_testkit::pass;

use crate::{
    desk::{Desk, adds_up},
    operator,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longest wait for one look at all operations.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// What was seen and done while troubles were made.
#[derive(Default)]
pub(crate) struct Watched {
    /// Snapshots whose counts were no sum.
    pub(crate) torn: AtomicU64,
    /// Accounts that a person resumed.
    pub(crate) resumed: AtomicU64,
    /// Operations that a person let go on.
    pub(crate) released: AtomicU64,
}

/// Looks at every snapshot, and does what a person is waited for.
pub(crate) async fn watch(desk: Arc<Desk>, watched: Arc<Watched>) {
    loop {
        pass(SECOND).await;
        let looked = tokio::time::timeout(LOOK, desk.newest()).await;
        let operations = looked.unwrap_or_default();
        let sums = operations
            .iter()
            .map(|operation| adds_up(&operation.counts.clone().unwrap_or_default()));
        let torn = sums.filter(|adds_up| !adds_up).count();
        watched
            .torn
            .fetch_add(u64::try_from(torn).unwrap_or(u64::MAX), Relaxed);
        // Whoever is away is asked again in a moment.
        let released = operator::release_held(&desk, &operations).await;
        watched.released.fetch_add(released.unwrap_or(0), Relaxed);
        let resumed = operator::resume_paused(&desk).await;
        watched.resumed.fetch_add(resumed.unwrap_or(0), Relaxed);
    }
}

/// Whether it has ended, or waits for nothing but mailboxes that aren't ready.
pub(crate) fn is_over(operation: &Operation) -> bool {
    let outstanding = operation
        .counts
        .as_ref()
        .map_or(0, |counts| counts.outstanding);
    operation.end_time.is_some() || (operation.parked > 0 && operation.parked == outstanding)
}
