//! Passwords that expire: a person is told ahead.

use std::time::Duration;

use calgrant_runtime::clock;
use calgrant_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(3600);
/// Pause while the database is away.
const AWAY: Duration = Duration::from_secs(30);

/// Looks until `stop`. Several processes may.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    loop {
        let pause = match store.warn_of_expiry(clock::now()).await {
            Ok(_) => LOOK,
            Err(cause) => {
                warn!(error = %cause, "couldn't look which passwords expire; trying again");
                AWAY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
