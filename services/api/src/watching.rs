//! Watching delegation groups: asks the directory who is in them, and tells status.

use std::{sync::Arc, time::Duration};

use calgrant_contract::{
    pb::ledger::v1::{
        ClaimGroupRequest, ClaimGroupResponse, ledger_service_client::LedgerServiceClient,
    },
    watch::group_seen_to_wire,
};
use calgrant_domain::{Address, BadInput, GroupSeen, OperationFailure, SiteKind, TenantName};
use calgrant_exchange::ListingError;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::warn;

use crate::{
    listing::attempt,
    readers::{Reader, Readers, site_of},
};

/// Pause between two questions whether there is something to look at.
const IDLE: Duration = Duration::from_secs(3);
/// Whoever doesn't report by then is thought to have failed, and somebody looks again.
const CLAIM_MILLIS: u64 = 300_000;

/// Looks at one group after the other until `stop`. Several processes may.
pub(crate) async fn run(
    ledger: LedgerServiceClient<Channel>,
    readers: Arc<Readers>,
    stop: CancellationToken,
) {
    loop {
        let looked = stop
            .run_until_cancelled(look_at_next(ledger.clone(), &readers))
            .await;
        let pause = match looked {
            None => return,
            Some(Ok(true)) => continue,
            Some(Ok(false)) => IDLE,
            Some(Err(why)) => {
                warn!(
                    reason = why,
                    "couldn't look at a delegation group; somebody will again"
                );
                IDLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at a group, if there is one that is due.
async fn look_at_next(
    mut ledger: LedgerServiceClient<Channel>,
    readers: &Readers,
) -> Result<bool, String> {
    let said = |status: tonic::Status| status.message().to_owned();
    let request = ClaimGroupRequest {
        claim_millis: CLAIM_MILLIS,
    };
    let claimed = ledger
        .claim_group(request)
        .await
        .map_err(said)?
        .into_inner();
    if claimed.tenant.is_empty() {
        return Ok(false);
    }
    let seen = look(readers, &claimed).await?;
    let report = group_seen_to_wire(claimed, seen);
    ledger.report_group(report).await.map_err(said)?;
    Ok(true)
}

/// Who is in a group; `None` if it is none.
async fn look(
    readers: &Readers,
    claimed: &ClaimGroupResponse,
) -> Result<Option<GroupSeen>, String> {
    let bad = |bad: BadInput| bad.to_string();
    let tenant: TenantName = claimed.tenant.parse().map_err(bad)?;
    let kind: SiteKind = claimed.site.parse().map_err(bad)?;
    let address: Address = claimed.address.parse().map_err(bad)?;
    let spec = readers.tenant(&tenant).await;
    let spec = spec.map_err(|status| status.message().to_owned())?;
    let reader = readers.of(&tenant, site_of(&spec, kind)?)?;
    let ask = |reader: Arc<Reader>| {
        let address = address.clone();
        async move { reader.directory.group(&address).await }
    };
    match attempt(&reader, &ask).await {
        Ok(seen) => Ok(Some(seen)),
        Err(ListingError::Refused {
            failure: OperationFailure::GroupNotFound,
            ..
        }) => Ok(None),
        Err(other) => Err(reader.failed(&other)),
    }
}
