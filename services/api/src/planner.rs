//! The planner: claims accepted operations and has their mailboxes listed, a few at the same time.

use std::{sync::Arc, time::Duration};

use calgrant_contract::pb::ledger::v1::{
    ClaimListingRequest, ClaimListingResponse, ledger_service_client::LedgerServiceClient,
};
use calgrant_domain::{Address, Confined};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    listing::{Confines, Listing, Stopped},
    readers::Readers,
};

const IDLE: Duration = Duration::from_millis(200);
const AWAY: Duration = Duration::from_secs(1);

/// Lists one operation after the other until `stop`. Several may run in one process.
pub async fn run(
    mut ledger: LedgerServiceClient<Channel>,
    readers: Arc<Readers>,
    owner: String,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let request = ClaimListingRequest {
            owner: owner.clone(),
            claim_millis: crate::listing::CLAIM_MILLIS,
        };
        let pause = match ledger
            .claim_listing(request)
            .await
            .map(tonic::Response::into_inner)
        {
            Ok(claim) if claim.operation_id.is_empty() => Some(IDLE),
            Ok(claim) => {
                tokio::select! {
                    () = list(&ledger, &readers, &owner, claim) => {}
                    // The claim runs out, and another planner starts the listing again.
                    () = stop.cancelled() => {}
                }
                None
            }
            Err(status) => {
                warn!(
                    error = status.message(),
                    "no operation could be claimed for listing; trying again"
                );
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

async fn list(
    ledger: &LedgerServiceClient<Channel>,
    readers: &Arc<Readers>,
    owner: &str,
    claim: ClaimListingResponse,
) {
    let id = claim.operation_id.clone();
    let span = info_span!("listing", operation.id = id);
    calgrant_runtime::telemetry::follow(&span, &claim.traceparent);
    async {
        let mut listing = Listing::new(
            ledger.clone(),
            Arc::clone(readers),
            owner.to_owned(),
            id.clone(),
        );
        let confines = confines(&claim);
        match listing
            .run(claim.spec.unwrap_or_default(), confines.as_ref())
            .await
        {
            Ok(()) => info!("{id} is listed"),
            Err(Stopped::Later) => info!("{id} waits for a mailbox that isn't there yet"),
            Err(Stopped::Lost) => info!("the listing of {id} is not ours any more"),
            Err(Stopped::Failed { failure, why }) => {
                info!(failure = %failure, "the listing of {id} failed");
                listing.fail(failure, &why).await;
            }
        }
    }
    .instrument(span)
    .await;
}

/// What a claimed operation is confined to, if it is.
fn confines(claim: &ClaimListingResponse) -> Option<Confines> {
    let mailboxes: Vec<Address> = claim
        .mailboxes
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    (!mailboxes.is_empty()).then_some(Confines {
        confined: Confined {
            mailboxes,
            beyond_selector: claim.beyond_selector,
            awaits: claim.await_mailboxes,
        },
        age: Duration::from_millis(claim.age_millis),
    })
}
