//! A site with its grantor accounts, as everything about its pace is decided from.

use std::time::Duration;

use calgrant_budget::{KeyName, Scope};
use calgrant_domain::{AccountSpec, Purpose, SiteKind, SiteSpec, TenantName};
use calgrant_leases::keys;
use calgrant_store::Backlog;

use super::{
    key_view::KeyView,
    scene::{Scene, Standing},
};

/// Nobody is missed before jobs have waited, and no replica has asked, for so long.
const MISSED_AFTER: Duration = Duration::from_secs(10);

/// A grantor account.
#[derive(Debug, Clone)]
pub(crate) struct AccountView<'a> {
    pub(crate) spec: &'a AccountSpec,
    pub(crate) standing: Standing<'a>,
    /// Its own key.
    pub(crate) key: &'a KeyView,
    /// That of its app registration, where others use it too.
    pub(crate) app: Option<&'a KeyView>,
    /// Jobs wait, and nobody has asked for its budget of late.
    pub(crate) no_worker: bool,
}

/// A site.
#[derive(Debug, Clone)]
pub(crate) struct SiteView<'a> {
    pub(crate) tenant: &'a TenantName,
    pub(crate) kind: SiteKind,
    pub(crate) accounts: Vec<AccountView<'a>>,
    /// The key that all of them share.
    pub(crate) key: Option<&'a KeyView>,
    pub(crate) backlog: Option<&'a Backlog>,
}

impl AccountView<'_> {
    /// Whether it is used.
    pub(crate) fn is_working(&self) -> bool {
        matches!(self.standing, Standing::Working)
    }
}

impl SiteView<'_> {
    /// The accounts that are used.
    pub(crate) fn working(&self) -> impl Iterator<Item = &AccountView<'_>> {
        self.accounts.iter().filter(|account| account.is_working())
    }

    /// Jobs that could be done now.
    pub(crate) fn ready(&self) -> u64 {
        self.backlog.map_or(0, |backlog| backlog.ready)
    }

    /// What a call takes of late, over all accounts; `None` before the first answer.
    pub(crate) fn call_takes(&self) -> Option<Duration> {
        let took: Vec<_> = self
            .accounts
            .iter()
            .filter_map(|account| account.key.call_takes)
            .collect();
        let count = u32::try_from(took.len()).unwrap_or(1);
        (count > 0).then(|| took.iter().sum::<Duration>() / count)
    }
}

/// A site of the scene.
pub(crate) fn site<'a>(
    scene: &'a Scene,
    tenant: &'a TenantName,
    site: &'a SiteSpec,
) -> SiteView<'a> {
    let backlog = scene.backlog_of(tenant, site.kind());
    let grantors = site
        .accounts
        .iter()
        .filter(|account| account.is(Purpose::Grantor));
    let accounts = grantors.filter_map(|spec| {
        let names = keys::of_account(tenant, site, spec, keys::EXCHANGE);
        let view = |scope: Scope| {
            let name: &KeyName = names.iter().find(|name| name.scope == scope)?;
            scene.keys.get(name)
        };
        let (key, app) = (view(Scope::Account)?, view(Scope::App));
        let standing = scene.standing(tenant, site.kind(), &spec.name);
        let working = matches!(standing, Standing::Working);
        Some(AccountView {
            spec,
            standing,
            key,
            app,
            no_worker: working && misses_workers(scene, backlog, key),
        })
    });
    SiteView {
        tenant,
        kind: site.kind(),
        accounts: accounts.collect(),
        key: scene.keys.get(&keys::of_site(tenant, site, keys::EXCHANGE)),
        backlog,
    }
}

/// All sites of the scene.
pub(crate) fn sites(scene: &Scene) -> impl Iterator<Item = SiteView<'_>> {
    let tenants = scene.tenants.iter();
    tenants.flat_map(move |tenant| {
        let sites = tenant.sites.iter();
        sites.map(move |spec| site(scene, &tenant.name, spec))
    })
}

fn misses_workers(scene: &Scene, backlog: Option<&Backlog>, key: &KeyView) -> bool {
    let Some(backlog) = backlog.filter(|backlog| backlog.ready > 0) else {
        return false;
    };
    let waits_long = backlog
        .oldest
        .is_some_and(|since| scene.now - since > MISSED_AFTER);
    let asked_late = key
        .asked_at
        .is_none_or(|asked| scene.at().saturating_sub(asked) > MISSED_AFTER);
    waits_long && asked_late
}
