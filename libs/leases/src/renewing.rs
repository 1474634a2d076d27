//! Budgets that are being renewed, until no call needs them any more.

use std::time::Duration;

use calgrant_contract::pb::ledger::v1::lease_service_client::LeaseServiceClient;
use calgrant_runtime::shutdown::Tasks;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{Budgets, breaches};

/// Longest wait for the last renewal.
const LAST: Duration = Duration::from_secs(3);

/// Budgets that are being renewed. Stopping a service doesn't end it: calls that are being finished need their leases.
#[derive(Debug)]
pub struct Renewing {
    budgets: Budgets,
    status: LeaseServiceClient<Channel>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Renewing {
    /// Renews from now on, and shows as a metric how often exactness was at risk.
    #[must_use]
    pub fn begin(budgets: Budgets, status: LeaseServiceClient<Channel>) -> Self {
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        tasks.spawn(
            "leases",
            budgets.clone().renew(status.clone(), stop.clone()),
        );
        breaches::count(&budgets);
        Self {
            budgets,
            status,
            stop,
            tasks,
        }
    }

    /// Ends it and gives everything back, when the last call has ended. Whether status has heard it.
    pub async fn give_back(&self) -> bool {
        self.stop.cancel();
        self.tasks.drain(LAST).await;
        self.budgets.give_back(self.status.clone()).await
    }
}
