//! A running site: accounts by the names they sign in with, and the budgets of single mailboxes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::http::Extensions;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::App;
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::onprem::account::{Account, Rights, Scope, Unwelcome, Wrong};
use crate::onprem::key::{Key, SiteClock};
use crate::onprem::policy::{DEFAULT, PolicySpec};
use crate::onprem::spec::{AccountSpec, BudgetOf, OnPremSpec};
use crate::powershell::Shells;
use crate::tenant::Tenant;
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Site {
    /// Fully qualified name of the server.
    pub(crate) server: String,
    pub(crate) netbios: String,
    /// Short names of its domain controllers; LDAP is the first one's.
    pub(crate) controllers: Vec<String>,
    /// Distinguished names of units that are there though nobody is in them.
    pub(crate) units: Vec<String>,
    pub(crate) impersonation_budget: BudgetOf,
    pub(crate) time_scale: u32,
    pub(crate) shells: Shells,
    /// An account is locked after so many wrong passwords in a row; 0 never locks.
    pub(crate) lockout_after: u32,
    /// LDAP takes passwords over sealed connections alone.
    pub(crate) ldap_signing_required: bool,
    /// Names and passwords aren't taken as they are.
    pub(crate) without_basic: bool,
    /// Kerberos signs a single request in.
    pub(crate) kerberos_each_request: bool,
    /// PowerShell takes Kerberos by its own name alone.
    pub(crate) kerberos_by_name: bool,
    default_policy: PolicySpec,
    policies: Vec<PolicySpec>,
    accounts: RwLock<Vec<Arc<Account>>>,
    by_login: RwLock<HashMap<String, Arc<Account>>>,
    /// Budgets of mailboxes that are worked in by impersonation.
    targets: Mutex<HashMap<usize, Arc<Key>>>,
}

/// At this size, idle budgets of mailboxes are let go.
const SWEEP_FROM: usize = 4096;

fn windows(calls: Option<u64>, secs: u64) -> Limits {
    let calls = calls.map(|calls| (u32::try_from(calls).unwrap_or(u32::MAX), secs));
    Limits {
        windows: calls.into_iter().collect(),
        ..Limits::default()
    }
}

fn runspaces(policy: &PolicySpec) -> Limits {
    let secs = policy.powershell_max_runspaces_time_period;
    windows(policy.powershell_max_runspaces.0, secs)
}

fn cmdlets(policy: &PolicySpec) -> Limits {
    let secs = policy.powershell_max_cmdlets_time_period;
    windows(policy.powershell_max_cmdlets.0, secs)
}

impl Site {
    pub(crate) fn build(spec: &OnPremSpec, tenant: &Tenant) -> Result<Self, String> {
        let first = tenant.domain.split('.').next().unwrap_or_default();
        let netbios = if spec.domain.is_empty() {
            first.to_uppercase()
        } else {
            spec.domain.clone()
        };
        let site = Self {
            server: format!("{}.{}", spec.server, tenant.domain),
            netbios,
            controllers: spec.domain_controllers.clone(),
            units: spec.units.clone(),
            impersonation_budget: spec.impersonation_budget,
            time_scale: spec.time_scale,
            shells: Shells::default(),
            lockout_after: spec.lockout_after,
            ldap_signing_required: spec.ldap_signing_required,
            without_basic: spec.without_basic,
            kerberos_each_request: spec.kerberos_each_request,
            kerberos_by_name: spec.kerberos_by_name,
            default_policy: spec.policy(DEFAULT).unwrap_or_default(),
            policies: spec.policies.clone(),
            accounts: RwLock::default(),
            by_login: RwLock::default(),
            targets: Mutex::default(),
        };
        for account in &spec.accounts {
            site.add(account, spec, tenant)?;
        }
        Ok(site)
    }

    fn add(&self, spec: &AccountSpec, site: &OnPremSpec, tenant: &Tenant) -> Result<(), String> {
        let name = &spec.user;
        let user = tenant
            .user(name)
            .ok_or_else(|| format!("on-premises account {name:?} isn't a user of this tenant"))?;
        let policy = site
            .policy(&spec.policy)
            .ok_or_else(|| format!("on-premises account {name:?}: no policy {:?}", spec.policy))?;
        let rights = Rights {
            password: spec.password.clone(),
            must_change: false,
            disabled: spec.disabled,
            revoked: false,
            remote_powershell: !spec.without_remote_powershell,
            full_access: Scope::read(&spec.full_access, tenant)?,
            impersonation: Scope::read(&spec.impersonation, tenant)?,
            policy,
        };
        let may = (spec.cmdlets.as_slice(), spec.management_roles.as_slice());
        self.admit(tenant, user, rights, may);
        Ok(())
    }

    /// Somebody can sign in from now on, with these cmdlets and management roles.
    pub(crate) fn admit(
        &self,
        tenant: &Tenant,
        user: usize,
        rights: Rights,
        (names, roles): (&[String], &[String]),
    ) {
        let held = &tenant.users[user];
        let upn = held.spec.upn.to_lowercase();
        let start = Duration::ZERO;
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let policy = &rights.policy;
        let account = Arc::new(Account {
            name: upn.clone(),
            user,
            app: Arc::new(App::of_account(upn.clone(), accounts.len(), names, roles)),
            ews: Arc::new(Key::new(policy.ews(), start)),
            powershell: Arc::new(Key::new(policy.powershell(), start)),
            runspaces: Arc::new(Limiter::new("PowerShellMaxRunspaces", runspaces(policy))),
            cmdlets: Arc::new(Limiter::new("PowerShellMaxCmdlets", cmdlets(policy))),
            rights: RwLock::new(Arc::new(rights)),
            wrong: Mutex::new(Wrong::default()),
        });
        let sam = format!("{}\\{}", self.netbios, held.sam()).to_lowercase();
        let mut by_login = self
            .by_login
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        by_login.insert(sam, Arc::clone(&account));
        by_login.insert(upn, Arc::clone(&account));
        accounts.push(account);
    }

    /// The rights of somebody new, with this password.
    pub(crate) fn fresh(&self, password: String, policy: Option<PolicySpec>) -> Rights {
        Rights {
            password,
            must_change: false,
            disabled: false,
            revoked: false,
            remote_powershell: true,
            full_access: Scope::default(),
            impersonation: Scope::default(),
            policy: policy.unwrap_or_else(|| self.default_policy.clone()),
        }
    }

    /// All throttling policies: the first is everybody's who is given none.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &PolicySpec> {
        let others = self.policies.iter();
        let others = others.filter(|policy| !policy.name.eq_ignore_ascii_case(DEFAULT));
        std::iter::once(&self.default_policy).chain(others)
    }

    /// The throttling policy of this name.
    pub(crate) fn policy(&self, name: &str) -> Option<PolicySpec> {
        let mut written = self.policies.iter();
        let written = written.find(|policy| policy.name.eq_ignore_ascii_case(name));
        let default = Some(&self.default_policy).filter(|_| name.eq_ignore_ascii_case(DEFAULT));
        written.or(default).cloned()
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.clone()
    }

    /// The account with this name to sign in with.
    pub(crate) fn account(&self, login: &str) -> Option<Arc<Account>> {
        let by_login = self.by_login.read().unwrap_or_else(PoisonError::into_inner);
        by_login.get(&login.trim().to_lowercase()).map(Arc::clone)
    }

    /// The account of a user, when there is one to sign in with.
    pub(crate) fn of_user(&self, user: usize) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut accounts = accounts.iter();
        accounts
            .find(|account| account.user == user)
            .map(Arc::clone)
    }

    pub(crate) fn clock(&self, world: &World) -> SiteClock {
        SiteClock::new(&world.clock, self.time_scale)
    }

    /// The budget of one mailbox, for calls that impersonate its owner.
    pub(crate) fn target(&self, user: usize, now: Duration) -> Arc<Key> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if targets.len() >= SWEEP_FROM {
            targets.retain(|_, key| Arc::strong_count(key) > 1 || !key.balance().is_idle(now));
        }
        let fresh = || Arc::new(Key::new(self.default_policy.ews(), now));
        Arc::clone(targets.entry(user).or_insert_with(fresh))
    }

    /// Another policy for an account, by name.
    ///
    /// # Errors
    /// No policy has this name.
    pub(crate) fn set_policy(
        &self,
        world: &World,
        account: &Account,
        name: &str,
    ) -> Result<PolicySpec, String> {
        let policy = self.policy(name);
        let policy = policy.ok_or_else(|| format!("policy: none is called {name:?}"))?;
        let (now, site_now) = (world.clock.now(), self.clock(world).now());
        account.ews.balance().replace(site_now, policy.ews());
        account
            .powershell
            .balance()
            .replace(site_now, policy.powershell());
        account.runspaces.meter().replace(now, runspaces(&policy));
        account.cmdlets.meter().replace(now, cmdlets(&policy));
        Ok(policy)
    }

    /// Starts to count anew.
    pub(crate) fn mark(&self, world: &World) {
        let (now, site_now) = (world.clock.now(), self.clock(world).now());
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets
            .values()
            .for_each(|key| key.balance().mark(site_now));
        for account in self.accounts() {
            account.ews.balance().mark(site_now);
            account.powershell.balance().mark(site_now);
            account.runspaces.meter().mark(now);
            account.cmdlets.meter().mark(now);
        }
        self.shells.mark();
    }

    pub(crate) fn show(&self, world: &World) -> Value {
        let (now, site_now) = (world.clock.now(), self.clock(world).now());
        let shown = |account: &Arc<Account>| {
            let (open, peak, refused) = self.shells.show(&account.name);
            let value = json!({
                "ews": account.ews.balance().show(site_now),
                "powershell": account.powershell.balance().show(site_now),
                "shells": {"open": open, "peak": peak, "refused": refused},
                "runspaces": account.runspaces.meter().show(now),
                "cmdlets": account.cmdlets.meter().show(now),
                "policy": account.rights().policy.name,
            });
            (account.name.clone(), value)
        };
        let accounts: serde_json::Map<_, _> = self.accounts().iter().map(shown).collect();
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let refused: u64 = targets.values().map(|key| key.balance().refused()).sum();
        json!({
            "accounts": accounts,
            "impersonated_mailboxes": {"budgets": targets.len(), "refused": refused},
            "time_scale": self.time_scale,
        })
    }
}

/// Whose account somebody has signed in with.
#[derive(Debug, Clone)]
pub(crate) struct Identified {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) account: Arc<Account>,
}

impl Identified {
    /// The account with this name to sign in with, as it `proves` to be.
    ///
    /// # Errors
    /// Why it can't sign in, for the judge; the client is told nothing.
    pub(crate) fn by_name(
        world: &World,
        login: &str,
        proves: impl FnOnce(&str) -> bool,
    ) -> Result<Self, &'static str> {
        let found = world.tenants.iter().find_map(|tenant| {
            let site = tenant.site.as_ref()?;
            Some((tenant, site, site.account(login)?))
        });
        let (tenant, site, account) = found.ok_or("unknown account")?;
        account
            .check(proves, site.clock(world).now(), site.lockout_after)
            .map_err(Unwelcome::reason)?;
        Ok(Self {
            tenant: tenant.clone(),
            account: account.clone(),
        })
    }
}

/// Finds the account that a request comes from: the one its connection is signed in with, or the one that its `Authorization`
/// header names.
///
/// # Errors
/// Why there is none, for the judge; the client is told nothing.
pub(crate) fn sign_in(
    world: &World,
    extensions: &Extensions,
    header: Option<&str>,
) -> Result<(Arc<Tenant>, Arc<Account>), &'static str> {
    if let Some(Identified { tenant, account }) = extensions.get() {
        return Ok((Arc::clone(tenant), Arc::clone(account)));
    }
    let header = header.ok_or("no credentials")?;
    let encoded = match header.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Basic") => rest.trim(),
        _ => return Err("unknown authentication scheme"),
    };
    let decoded = STANDARD.decode(encoded).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or("unreadable credentials")?;
    let (login, password) = text.split_once(':').ok_or("unreadable credentials")?;
    let Identified { tenant, account } =
        Identified::by_name(world, login, |known| known == password)?;
    if tenant.site.as_ref().is_some_and(|site| site.without_basic) {
        return Err("Basic is switched off");
    }
    Ok((tenant, account))
}
