//! One account of a site: what it signs in with, and what it may do.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::app::App;
use crate::limiter::Limiter;
use crate::onprem::key::Key;
use crate::onprem::policy::PolicySpec;
use crate::tenant::Tenant;

const LOCKED_FOR: Duration = Duration::from_secs(1800);

/// Some of a tenant's mailboxes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    all: bool,
    users: HashSet<usize>,
    written: Vec<String>,
}

impl Scope {
    /// Reads `*`, addresses, addresses of groups, and `OU=…`.
    pub(crate) fn read(names: &[String], tenant: &Tenant) -> Result<Self, String> {
        let mut scope = Self {
            written: names.to_vec(),
            ..Self::default()
        };
        for name in names {
            if name == "*" {
                scope.all = true;
            } else if name.to_lowercase().starts_with("ou=") {
                let suffix = format!(",{}", name.to_lowercase());
                let below = |dn: &String| dn.to_lowercase().ends_with(&suffix);
                let users = tenant.users.iter().enumerate();
                let found = users.filter(|(_, user)| user.spec.dn.as_ref().is_some_and(below));
                scope.users.extend(found.map(|(at, _)| at));
            } else if let Some(user) = tenant.user(name) {
                scope.users.insert(user);
            } else if let Some(group) = tenant.group(name) {
                scope.users.extend(&tenant.transitive(group).users);
            } else {
                return Err(format!("{name:?} isn't in this tenant"));
            }
        }
        Ok(scope)
    }

    /// Whether there is a role at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    pub(crate) fn holds(&self, tenant: &Tenant, user: usize) -> bool {
        let kept_out = tenant.users[user].spec.outside_write_scope;
        !kept_out && (self.all || self.users.contains(&user))
    }
}

/// What can change about an account while the simulator runs.
#[derive(Clone)]
pub(crate) struct Rights {
    pub(crate) password: String,
    /// Another password must be chosen first.
    pub(crate) must_change: bool,
    pub(crate) disabled: bool,
    /// A cmdlet has disabled it.
    pub(crate) revoked: bool,
    pub(crate) remote_powershell: bool,
    pub(crate) full_access: Scope,
    pub(crate) impersonation: Scope,
    pub(crate) policy: PolicySpec,
}

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rights")
            .field("disabled", &(self.disabled || self.revoked))
            .field("full_access", &self.full_access)
            .field("impersonation", &self.impersonation)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Account {
    /// Its user principal name in lower case, which the verdict knows it by.
    pub(crate) name: String,
    pub(crate) user: usize,
    /// Stands for it before the judge and in cmdlets.
    pub(crate) app: Arc<App>,
    pub(crate) ews: Arc<Key>,
    pub(crate) powershell: Arc<Key>,
    /// Shells it opens, and cmdlets it runs, per time.
    pub(crate) runspaces: Arc<Limiter>,
    pub(crate) cmdlets: Arc<Limiter>,
    pub(crate) rights: RwLock<Arc<Rights>>,
    pub(crate) wrong: Mutex<Wrong>,
}

/// Wrong passwords in a row, and since when that has locked the account.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    count: u32,
    locked_at: Option<Duration>,
}

/// Why somebody who is known can't sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    WrongPassword,
    Disabled,
    Locked,
    MustChange,
}

impl Unwelcome {
    /// What the judge notes.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong password",
            Self::Disabled => "account is disabled",
            Self::Locked => "account is locked",
            Self::MustChange => "password must be changed",
        }
    }
}

impl Account {
    pub(crate) fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what it may do.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Rights)) {
        let mut held = self.rights.write().unwrap_or_else(PoisonError::into_inner);
        let mut rights = held.as_ref().clone();
        change(&mut rights);
        *held = Arc::new(rights);
    }

    /// Whether this is the password of an account that may sign in now; notes when it isn't.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_password(
        &self,
        password: &str,
        now: Duration,
        lockout_after: u32,
    ) -> Result<(), Unwelcome> {
        self.check(|known| known == password, now, lockout_after)
    }

    /// The same for whoever proves the password otherwise.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(
        &self,
        proves: impl FnOnce(&str) -> bool,
        now: Duration,
        lockout_after: u32,
    ) -> Result<(), Unwelcome> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = wrong.locked_at {
            if now.saturating_sub(at) < LOCKED_FOR {
                return Err(Unwelcome::Locked);
            }
            *wrong = Wrong::default();
        }
        let rights = self.rights();
        if !proves(&rights.password) {
            wrong.count += 1;
            if lockout_after > 0 && wrong.count >= lockout_after {
                wrong.locked_at = Some(now);
            }
            return Err(Unwelcome::WrongPassword);
        }
        wrong.count = 0;
        if rights.disabled || rights.revoked {
            return Err(Unwelcome::Disabled);
        }
        if rights.must_change {
            return Err(Unwelcome::MustChange);
        }
        Ok(())
    }
}
