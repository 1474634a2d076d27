//! What is done by itself for delegations that are kept: begun here when it is due, and carried out like any other operation.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_contract::pb::provisioning::v1 as pb;
use calgrant_domain::{DelegationId, OperationId};
use calgrant_runtime::{
    clock,
    metrics::{self, Sample},
};
use calgrant_store::{Kept, OpenAlerts, Store, StoreError};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::provisioning::timestamp;

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(2);

/// Begins what is due until `stop`. Several processes may.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    let measured: Arc<Mutex<Measured>> = Arc::default();
    gauges(&measured);
    loop {
        match store.keep(clock::now()).await {
            Ok(begun) if begun.verify + begun.list == 0 => {}
            Ok(begun) => info!(
                verify = begun.verify,
                list = begun.list,
                "operations are begun for delegations that are kept"
            ),
            Err(cause) => {
                warn!(error = %cause, "couldn't begin what is due for delegations that are kept; trying again")
            }
        }
        match Measured::load(&store).await {
            Ok(found) => *measured.lock().unwrap_or_else(PoisonError::into_inner) = found,
            Err(cause) => {
                warn!(error = %cause, "couldn't measure how delegations are kept; trying again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What the gauges say. Every replica says the same.
#[derive(Debug, Default)]
struct Measured {
    oldest: Vec<(String, OffsetDateTime)>,
    alerts: Vec<OpenAlerts>,
}

impl Measured {
    async fn load(store: &Store) -> Result<Self, StoreError> {
        let oldest = store.oldest_verifications().await?;
        Ok(Self {
            oldest: oldest
                .into_iter()
                .map(|(tenant, at)| (tenant.to_string(), at))
                .collect(),
            alerts: store.open_alerts().await?,
        })
    }

    fn ages(&self, now: OffsetDateTime) -> Vec<Sample> {
        let of = |(tenant, at): &(String, OffsetDateTime)| Sample {
            value: u64::try_from((now - *at).whole_seconds()).unwrap_or(0),
            labels: vec![("tenant", tenant.clone())],
        };
        self.oldest.iter().map(of).collect()
    }

    fn open(&self) -> Vec<Sample> {
        let of = |open: &OpenAlerts| Sample {
            value: open.count,
            labels: vec![
                ("tenant", open.tenant.to_string()),
                ("kind", open.kind.to_string()),
            ],
        };
        self.alerts.iter().map(of).collect()
    }
}

fn gauges(measured: &Arc<Mutex<Measured>>) {
    let shown = |of: fn(&Measured) -> Vec<Sample>| {
        let measured = Arc::clone(measured);
        move || of(&measured.lock().unwrap_or_else(PoisonError::into_inner))
    };
    metrics::gauge(
        "calgrant.verification.age",
        "s",
        "How long ago the entry was read at that mailbox of a tenant's kept delegations where that is longest ago.",
        shown(|measured| measured.ages(clock::now())),
    );
    metrics::gauge(
        "calgrant.alerts.open",
        "{alert}",
        "Alerts that nobody has acknowledged.",
        shown(Measured::open),
    );
}

/// Adds to delegations how they are kept.
///
/// # Errors
/// Postgres is away.
pub(crate) async fn tell(
    store: &Store,
    delegations: &mut [pb::Delegation],
) -> Result<(), StoreError> {
    let ids: Vec<DelegationId> = delegations
        .iter()
        .filter_map(|delegation| delegation.id.parse().ok())
        .collect();
    for kept in store.kept(&ids).await? {
        let id = kept.delegation.to_string();
        let of_id = delegations
            .iter_mut()
            .find(|delegation| delegation.id == id);
        if let Some(delegation) = of_id {
            delegation.kept = Some(wire(&kept));
        }
    }
    Ok(())
}

fn wire(kept: &Kept) -> pb::Kept {
    let id = |id: Option<OperationId>| id.map_or_else(String::new, |id| id.to_string());
    pb::Kept {
        mailboxes: kept.mailboxes,
        oldest_verify_time: kept.oldest_verified_at.map(timestamp),
        verify_operation_id: id(kept.verify),
        list_time: kept.listed_at.map(timestamp),
        list_operation_id: id(kept.list),
        missing: kept.missing,
        leave_operation_id: id(kept.leave),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_grows_while_nothing_is_verified() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let measured = Measured {
            oldest: vec![("uni".to_owned(), at)],
            alerts: Vec::new(),
        };
        for (seconds, want) in [(-5i64, 0), (0, 0), (90, 90)] {
            let ages = measured.ages(at + time::Duration::seconds(seconds));
            assert_eq!(ages[0].value, want, "{seconds}");
            assert_eq!(ages[0].labels, [("tenant", "uni".to_owned())]);
        }
    }
}
