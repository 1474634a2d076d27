//! Passwords and credentials that expire: a person is told ahead.

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
        let now = clock::now();
        let looked = async {
            store.warn_of_expiry(now).await?;
            store.warn_of_credentials(now).await
        };
        let pause = match looked.await {
            Ok(_) => LOOK,
            Err(cause) => {
                warn!(error = %cause, "couldn't look which passwords and credentials expire; trying again");
                AWAY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
