//! Lists the mailboxes of operations that take away, put back or verify, and keeps what they are listed from complete.

use std::time::Duration;

use calgrant_runtime::clock;
use calgrant_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause when there was nothing to list.
const IDLE: Duration = Duration::from_millis(300);
/// Pause while the database is away.
const AWAY: Duration = Duration::from_secs(1);

/// Lists until `stop`. Several processes may.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match store.cover().await {
            Ok(covered) => match store.list_from_records(clock::now()).await {
                Ok(0) if covered == 0 => Some(IDLE),
                Ok(0) => None,
                Ok(operations) => {
                    info!(operations, "operations are listed from the records");
                    None
                }
                Err(cause) => {
                    warn!(error = %cause, "couldn't list from the records; trying again");
                    Some(AWAY)
                }
            },
            Err(cause) => {
                warn!(error = %cause, "couldn't record what delegations cover; trying again");
                Some(AWAY)
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
