//! The reader accounts of every site: connected when needed, under their budgets, paused when refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_budget::{
    Scope,
    message::{Overload, Pushback},
};
use calgrant_contract::{
    pb::ledger::v1::{
        GetFleetRequest, ReportAccountRequest, ledger_service_client::LedgerServiceClient,
    },
    setup::micros,
};
use calgrant_domain::{
    AccountSpec, Organisation, Purpose, SiteKind, SiteSpec, TenantName, TenantSpec,
};
use calgrant_exchange::{CallError, Directory, ListingError, Meaning, secret};
use calgrant_exchange_ad::connect as active_directory;
use calgrant_exchange_online::connect as online;
use calgrant_leases::{Account, Budgets, keys};
use calgrant_runtime::clock;
use tonic::{Status, transport::Channel};

/// Connected readers, by what they were connected from.
pub struct Readers {
    ledger: LedgerServiceClient<Channel>,
    budgets: Budgets,
    connected: Mutex<HashMap<(TenantName, SiteKind), Arc<Reader>>>,
}

/// A connected reader account.
pub struct Reader {
    /// Its access.
    pub directory: Arc<dyn Directory>,
    /// Its budget.
    pub budget: Account,
    /// Which account it is.
    pub account: AccountSpec,
    site: SiteSpec,
    credential: Option<u64>,
}

impl Reader {
    /// The directory said to slow down: nothing more is asked of it for so long, if it said how long.
    pub(crate) fn slow_down(&self, wait: Option<Duration>, cause: &CallError) {
        let pushback = Pushback {
            overload: Overload::Unknown,
            wait,
            cause: cause.to_string(),
        };
        self.budget.push_back(Scope::Account, &pushback);
    }

    /// What went wrong, in words. Who was told to slow down does.
    pub(crate) fn failed(&self, why: &ListingError) -> String {
        if let ListingError::Call(error) = why
            && let Meaning::WaitUntil { after, .. } = &error.meaning
        {
            self.slow_down(*after, error);
        }
        why.to_string()
    }
}

/// The tenant's site of a kind; `Err` says that there is none any more.
pub(crate) fn site_of(tenant: &TenantSpec, kind: SiteKind) -> Result<&SiteSpec, String> {
    let site = tenant.site(kind);
    site.ok_or_else(|| format!("the tenant has no {kind} site any more"))
}

impl Readers {
    /// No reader connected yet.
    pub fn new(ledger: LedgerServiceClient<Channel>, budgets: Budgets) -> Self {
        Self {
            ledger,
            budgets,
            connected: Mutex::default(),
        }
    }

    /// The tenant as status has it now.
    ///
    /// # Errors
    /// Status doesn't answer, or has no such tenant.
    pub async fn tenant(&self, name: &TenantName) -> Result<TenantSpec, Status> {
        let fleet = self
            .ledger
            .clone()
            .get_fleet(GetFleetRequest::default())
            .await?
            .into_inner();
        let found = fleet
            .tenants
            .into_iter()
            .find(|tenant| tenant.name == name.as_str());
        let found = found.ok_or_else(|| {
            Status::not_found(format!("there is no tenant {name}; apply its file first"))
        })?;
        calgrant_contract::fleet::tenant(found)
            .map_err(|faults| calgrant_contract::refusal::bad_input(&faults))
    }

    /// The reader of a site: the one connected before unless its settings or its credential changed.
    ///
    /// # Errors
    /// The site has no reader, or its credential can't be read: says what to do.
    pub fn of(&self, tenant: &TenantName, site: &SiteSpec) -> Result<Arc<Reader>, String> {
        let account = site
            .accounts
            .iter()
            .find(|account| account.is(Purpose::Reader))
            .ok_or(
                "the site has no account with the purpose reader; add one to the tenant's file",
            )?;
        let credential = secret::fingerprint(site, account);
        let key = (tenant.clone(), site.kind());
        let mut connected = self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = connected
            .get(&key)
            .filter(|reader| reader.site == *site && reader.credential == credential)
        {
            return Ok(Arc::clone(reader));
        }
        let directory = match &site.organisation {
            Organisation::Online(site) => online::directory(site, account, clock::now)?,
            Organisation::Onprem(site) => active_directory::directory(site, account, clock::now)?,
        };
        let family = keys::directory(site.kind());
        let charged = keys::of_account(tenant, site, account, family);
        let budget = self
            .budgets
            .account(&charged)
            .ok_or("the account is charged to too many budget keys")?;
        let reader = Arc::new(Reader {
            directory,
            budget,
            account: account.clone(),
            site: site.clone(),
            credential,
        });
        connected.insert(key, Arc::clone(&reader));
        Ok(reader)
    }

    /// Records that a reader is refused, or works.
    ///
    /// # Errors
    /// Status doesn't answer.
    pub async fn report(
        &self,
        tenant: &TenantName,
        site: SiteKind,
        account: &AccountSpec,
        refused: Option<&str>,
    ) -> Result<(), Status> {
        let request = ReportAccountRequest {
            tenant: tenant.to_string(),
            site: site.to_string(),
            account: account.name.to_string(),
            paused: refused.is_some(),
            reason: refused.unwrap_or_default().to_owned(),
            certificate_expire_millis: micros(secret::certificate_expires(account)) / 1000,
        };
        self.ledger.clone().report_account(request).await.map(drop)
    }
}
