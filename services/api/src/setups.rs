//! Set-ups that the site's own account carries out: claimed, gone on with as far as they go at present, given back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use calgrant_contract::pb::ledger::v1::setup_journal_service_client::SetupJournalServiceClient;
use calgrant_domain::{
    AccountSpec, Address, OperationFailure, Organisation, Purpose, SecretRef, Setting, SetupSpec,
    SiteSpec, TenantName, setup::TrusteeSeen,
};
use calgrant_exchange::{Administration, CallError, ListingError};
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_leases::{Budgets, keys};
use calgrant_runtime::clock;
use calgrant_secrets::Sink;
use calgrant_setup::{
    Budgets as SetupBudgets, Hands, JournalError, Passwords, Run, Trustees,
    wire::{self, Claimed, RemoteJournal},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    config,
    listing::attempt,
    readers::{Reader, Readers, site_of},
};

/// Pause between two questions whether there is a set-up to go on with.
const IDLE: Duration = Duration::from_secs(1);
/// What can't be begun, as with a credential that can't be read, is tried again after so long.
const PUT_OFF: Duration = Duration::from_secs(60);

/// Carries out set-ups, one at a time.
pub(crate) struct Setups {
    journal: SetupJournalServiceClient<Channel>,
    readers: Arc<Readers>,
    budgets: Budgets,
    key: Option<SecretRef>,
    /// The set-up that is being carried out.
    under_way: Mutex<Option<RemoteJournal>>,
}

impl Setups {
    /// Claims at `journal`; passwords are sealed with the key that is found at `key`.
    pub(crate) fn new(
        journal: SetupJournalServiceClient<Channel>,
        readers: Arc<Readers>,
        budgets: Budgets,
        key: Option<SecretRef>,
    ) -> Self {
        Self {
            journal,
            readers,
            budgets,
            key,
            under_way: Mutex::default(),
        }
    }

    fn set_under_way(&self, journal: Option<RemoteJournal>) -> Option<RemoteJournal> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *under_way, journal)
    }

    /// Lets another go on at once with what was under way here. What it finds begun it looks for first.
    async fn leave(&self) {
        if let Some(journal) = self.set_under_way(None) {
            let left = journal.leave(clock::now()).await;
            info!(heard = left.is_ok(), "a set-up is left to others");
        }
    }

    /// Carries out one after the other until `stop`. Several processes may; a claim that is left runs out, and another goes on.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            match stop.run_until_cancelled(self.next()).await {
                None => return self.leave().await,
                Some(Ok(true)) => continue,
                Some(Ok(false)) => {}
                Some(Err(JournalError::Lost)) => info!("a set-up is not ours any more"),
                Some(Err(away)) => {
                    warn!(error = %away, "no set-up can be carried out; trying again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(IDLE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Goes on with a set-up, if one is due.
    async fn next(&self) -> Result<bool, JournalError> {
        let Some(claimed) = wire::claim(self.journal.clone(), None).await? else {
            return Ok(false);
        };
        let id = claimed.id;
        self.set_under_way(Some(claimed.journal.clone()));
        let span = info_span!("set-up", setup.id = %id);
        let ended = async {
            let ready = match self.prepare(&claimed).await {
                Ok(ready) => ready,
                Err(why) => {
                    warn!(reason = why, "{id} can't be carried out at present");
                    let again = clock::now() + PUT_OFF;
                    return claimed.journal.put_off(&why, again).await;
                }
            };
            let run = Run {
                setting: ready.setting,
                aim: claimed.aim,
                planning: claimed.planning,
                hands: &ready.hands,
                journal: &claimed.journal,
                passwords: &ready.passwords,
                now: clock::now,
            };
            let ended = run.run(claimed.known.clone()).await;
            ready.hands.sign_out().await;
            let ended = ended?;
            info!(state = %ended.state, "{id} went as far as it goes at present");
            claimed.journal.release(&ended).await
        }
        .instrument(span)
        .await;
        self.set_under_way(None);
        ended.map(|()| true)
    }

    async fn prepare(&self, claimed: &Claimed) -> Result<Ready, String> {
        let (tenant, kind) = (&claimed.tenant, claimed.site);
        let spec = self.readers.tenant(tenant).await;
        let spec = spec.map_err(|status| status.message().to_owned())?;
        let site = site_of(&spec, kind)?;
        let setup = site.setup.as_ref().ok_or(
            "the site has no setup any more: put it back into the tenant's file, or cancel",
        )?;
        let account = site
            .accounts
            .iter()
            .find(|account| account.is(Purpose::Setup))
            .ok_or("the site has no account with the purpose setup: add one to the tenant's file, or cancel and run the set-up with a token")?;
        let trustees = SiteTrustees {
            readers: Arc::clone(&self.readers),
            tenant: tenant.clone(),
            site: site.clone(),
        };
        let hands = Hands::new(
            kind,
            administration(site, account)?,
            Some(Arc::new(trustees)),
            Some(self.charged(tenant, site, account)?),
        );
        Ok(Ready {
            hands,
            passwords: self.passwords(setup)?,
            setting: Setting {
                tenant: tenant.clone(),
                site: kind,
                spec: setup.clone(),
            },
        })
    }

    fn passwords(&self, spec: &SetupSpec) -> Result<Passwords, String> {
        let key = self.key.as_ref().map(config::read_key).transpose()?;
        let sink = spec.hand_over.as_ref().map(Sink::of).transpose()?;
        Ok(Passwords::new(key, sink))
    }

    fn charged(
        &self,
        tenant: &TenantName,
        site: &SiteSpec,
        account: &AccountSpec,
    ) -> Result<SetupBudgets, String> {
        let of = |family: &str| {
            let keys = keys::of_account(tenant, site, account, family);
            self.budgets
                .account(&keys)
                .ok_or("the account is charged to too many budget keys")
        };
        Ok(SetupBudgets {
            directory: of(keys::directory(site.kind()))?,
            exchange: of(keys::EXCHANGE)?,
        })
    }
}

/// What a set-up is carried out with.
struct Ready {
    hands: Hands,
    passwords: Passwords,
    setting: Setting,
}

fn administration(
    site: &SiteSpec,
    account: &AccountSpec,
) -> Result<Arc<dyn Administration>, String> {
    match &site.organisation {
        Organisation::Online(site) => online::administration(site, account, clock::now),
        Organisation::Onprem(site) => onprem::administration(site, account, clock::now),
    }
}

/// The trustee, as the site's reader looks it up.
struct SiteTrustees {
    readers: Arc<Readers>,
    tenant: TenantName,
    site: SiteSpec,
}

#[async_trait]
impl Trustees for SiteTrustees {
    async fn seen(&self, address: &Address) -> Result<TrusteeSeen, CallError> {
        let Ok(reader) = self.readers.of(&self.tenant, &self.site) else {
            return Ok(TrusteeSeen::NotAsked);
        };
        let ask = |reader: Arc<Reader>| {
            let address = address.clone();
            async move { reader.directory.trustee(&address).await }
        };
        match attempt(&reader, &ask).await {
            Ok(_) => Ok(TrusteeSeen::Suits),
            Err(ListingError::Call(error)) => Err(error),
            Err(
                ListingError::Expired
                | ListingError::Refused {
                    failure: OperationFailure::TrusteeNotFound,
                    ..
                },
            ) => Ok(TrusteeSeen::Missing),
            Err(ListingError::Refused { why, .. }) => Ok(TrusteeSeen::Unsuited(why)),
        }
    }
}
