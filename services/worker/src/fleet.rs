//! Which tenants, sites and accounts there are: asked of status every second, spread to the pools.

use std::{collections::HashSet, sync::Arc, time::Duration};

use calgrant_budget::Terms;
use calgrant_contract::pb::{fleet::v1::Account, ledger::v1::GetFleetResponse};
use calgrant_domain::{AccountSpec, BadInput, OperationId, TenantSpec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::ledger::{AccountKey, StatusLedger};

const POLL: Duration = Duration::from_secs(1);

/// The fleet as status knows it.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// Changes with every change.
    pub version: String,
    /// Every tenant.
    pub tenants: Vec<TenantSpec>,
    /// Accounts that the server refuses, as status knows.
    pub paused: HashSet<AccountKey>,
    /// Accounts that an operator stopped.
    pub stopped: HashSet<AccountKey>,
    /// Operations cancelled of late: their jobs are looked at before anything is asked of Exchange.
    pub cancelled: HashSet<OperationId>,
    /// On which leases are granted.
    pub terms: Terms,
}

impl Fleet {
    /// An account as it is set now.
    pub fn account(&self, key: &AccountKey) -> Option<&AccountSpec> {
        let mut tenants = self.tenants.iter();
        let tenant = tenants.find(|tenant| tenant.name == key.tenant)?;
        let mut accounts = tenant.site(key.site)?.accounts.iter();
        accounts.find(|account| account.name == key.account)
    }
}

/// Follows the fleet until `stop`.
pub async fn follow(
    ledger: StatusLedger,
    fleet: watch::Sender<Arc<Fleet>>,
    stop: CancellationToken,
) {
    loop {
        let version = fleet.borrow().version.clone();
        // A status that hangs must not hold up a stop.
        let Some(answer) = stop.run_until_cancelled(ledger.fleet(&version)).await else {
            return;
        };
        match answer {
            Ok(answer) if answer.unchanged => {
                let cancelled = cancelled(&answer);
                let differs = fleet.borrow().cancelled != cancelled;
                if differs {
                    fleet.send_modify(|fleet| Arc::make_mut(fleet).cancelled = cancelled);
                }
            }
            Ok(answer) => match read(answer) {
                Ok(read) => {
                    info!(
                        tenants = read.tenants.len(),
                        paused = read.paused.len(),
                        stopped = read.stopped.len(),
                        "the fleet changed"
                    );
                    fleet.send_replace(Arc::new(read));
                }
                Err(bad) => {
                    warn!(error = %bad, "status sent a fleet that can't be read; keeping the one before")
                }
            },
            Err(status) => warn!(
                error = status.message(),
                "status doesn't answer; keeping the fleet as it is"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn read(answer: GetFleetResponse) -> Result<Fleet, BadInput> {
    let mut fleet = Fleet {
        cancelled: cancelled(&answer),
        terms: calgrant_leases::wire::terms(&answer),
        version: answer.version,
        ..Fleet::default()
    };
    for tenant in answer.tenants {
        fleet
            .tenants
            .push(calgrant_contract::fleet::tenant(tenant).map_err(first)?);
    }
    let keys = |accounts: Vec<Account>| accounts.into_iter().map(key).collect::<Result<_, _>>();
    fleet.paused = keys(answer.paused)?;
    fleet.stopped = keys(answer.stopped)?;
    Ok(fleet)
}

fn key(account: Account) -> Result<AccountKey, BadInput> {
    let name = account
        .spec
        .ok_or_else(|| BadInput::missing("spec", "an account has a name"))?
        .name;
    Ok(AccountKey {
        tenant: account.tenant.parse()?,
        site: calgrant_contract::fleet::site_kind("site", account.site)?,
        account: name.parse()?,
    })
}

fn cancelled(answer: &GetFleetResponse) -> HashSet<OperationId> {
    let ids = answer.cancelled.iter();
    ids.filter_map(|id| Some(OperationId::from_uuid(uuid::Uuid::from_slice(id).ok()?)))
        .collect()
}

fn first(faults: Vec<BadInput>) -> BadInput {
    faults
        .into_iter()
        .next()
        .unwrap_or_else(|| BadInput::missing("tenant", "unreadable"))
}
