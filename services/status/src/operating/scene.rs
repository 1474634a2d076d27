//! What is stored about tenants, their accounts and their budgets, loaded together.

use std::collections::BTreeMap;

use calgrant_budget::{KeyName, KeyState, Terms};
use calgrant_domain::{
    AccountName, AccountSpec, AccountStand, Purpose, SiteKind, SiteSpec, TenantName, TenantSpec,
};
use calgrant_leases::keys;
use calgrant_store::{Backlog, Pause, Stopped, Store, StoreError};
use time::OffsetDateTime;

use super::key_view::{KeyView, look};
use crate::{
    leases::{self, last_pushback, reading},
    limits,
};

/// All of it, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// By the database's clock.
    pub(crate) now: OffsetDateTime,
    pub(crate) terms: Terms,
    pub(crate) tenants: Vec<TenantSpec>,
    pub(crate) stopped: Vec<Stopped>,
    pub(crate) refused: Vec<Pause>,
    pub(crate) backlog: Vec<Backlog>,
    pub(crate) keys: BTreeMap<KeyName, KeyView>,
}

/// Whether an account is used, and who says otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing<'a> {
    Working,
    /// By the server.
    Refused(&'a Pause),
    /// By an operator.
    Stopped(&'a Stopped),
}

impl Scene {
    /// What concerns one tenant, or all.
    pub(crate) async fn load(
        store: &Store,
        terms: Terms,
        tenant: Option<&TenantName>,
        now: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let tenants = match tenant {
            Some(name) => store.tenant(name).await?.into_iter().collect(),
            None => store.tenants("", i64::MAX).await?,
        };
        let tenants: Vec<_> = tenants.into_iter().map(|stored| stored.spec).collect();
        let (stopped, refused) = (store.stopped().await?, store.pauses().await?);
        let backlog = store.backlog(tenant, now).await?;
        let limits = limits::of(&tenants, &stopped);
        let names: Vec<_> = limits.keys().map(ToString::to_string).collect();
        let (stored, clock) = store.budget_keys(&names).await?;
        let at = reading(clock);
        let stored: BTreeMap<_, _> = stored.iter().map(|key| (key.name.as_str(), key)).collect();
        let keys = limits.into_iter().map(|(name, (limits, operator))| {
            let key = stored.get(name.to_string().as_str());
            // One that can't be read is begun anew by whoever grants next.
            let known = key.and_then(|key| leases::state(key, key.state.as_deref()?).ok());
            let state = known.unwrap_or_else(|| KeyState::new(name.clone(), limits.clone(), at));
            let state = KeyState {
                limits,
                operator,
                ..state
            };
            let last = key.and_then(|key| last_pushback(key.state.as_deref()?));
            let view = look(&state, last, &terms, at);
            (name, view)
        });
        Ok(Self {
            now: clock.now,
            terms,
            stopped,
            refused,
            backlog,
            keys: keys.collect(),
            tenants,
        })
    }

    /// Whether an account is used. An operator's word is said before the server's.
    pub(crate) fn standing(
        &self,
        tenant: &TenantName,
        site: SiteKind,
        account: &AccountName,
    ) -> Standing<'_> {
        standing(&self.stopped, &self.refused, tenant, site, account)
    }

    /// The keys that an account's calls are charged to, its own first.
    pub(crate) fn keys_of(
        &self,
        tenant: &TenantName,
        site: &SiteSpec,
        account: &AccountSpec,
    ) -> Vec<&KeyView> {
        let mut families = Vec::new();
        if account.is(Purpose::Grantor) {
            families.push(keys::EXCHANGE);
        }
        if account.is(Purpose::Reader) {
            families.push(keys::directory(site.kind()));
        }
        let names = families
            .into_iter()
            .flat_map(|family| keys::of_account(tenant, site, account, family));
        names.filter_map(|name| self.keys.get(&name)).collect()
    }

    /// What waits at a site.
    pub(crate) fn backlog_of(&self, tenant: &TenantName, site: SiteKind) -> Option<&Backlog> {
        let mut all = self.backlog.iter();
        all.find(|backlog| backlog.tenant == *tenant && backlog.site == site)
    }

    /// The moment as budgets count.
    pub(crate) fn at(&self) -> calgrant_budget::Moment {
        leases::since_epoch(self.now)
    }
}

/// Whether an account is used.
pub(crate) fn standing<'a>(
    stopped: &'a [Stopped],
    refused: &'a [Pause],
    tenant: &TenantName,
    site: SiteKind,
    account: &AccountName,
) -> Standing<'a> {
    let of = |other: (&TenantName, SiteKind, &AccountName)| other == (tenant, site, account);
    if let Some(stopped) = stopped
        .iter()
        .find(|stopped| of((&stopped.tenant, stopped.site, &stopped.account)))
        .filter(|stopped| stopped.stand != AccountStand::Working)
    {
        return Standing::Stopped(stopped);
    }
    refused
        .iter()
        .find(|pause| of((&pause.tenant, pause.site, &pause.account)))
        .map_or(Standing::Working, Standing::Refused)
}
