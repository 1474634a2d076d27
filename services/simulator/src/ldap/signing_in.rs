//! Who signs in, and what is said to those who may not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ldap::message::Bind;
use crate::ldap::outcome::Outcome;
use crate::ldap::tree::{Tree, What};
use crate::onprem::{Account, Unwelcome};
use crate::tenant::{Object, Tenant};
use crate::world::World;

/// A tenant with a directory of its own, and that as it was when it was looked at last.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) tenant: Arc<Tenant>,
    /// With how often it had changed.
    tree: Mutex<Option<(usize, Arc<Tree>)>>,
}

impl Domain {
    pub(crate) fn of(tenant: &Arc<Tenant>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            tree: Mutex::default(),
        }
    }

    /// The directory as it is now.
    pub(crate) fn tree(&self, now: Duration) -> Arc<Tree> {
        let mut held = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.tenant.directory_epoch(now);
        match held.as_ref() {
            Some((known, tree)) if *known == epoch => Arc::clone(tree),
            _ => {
                let tree = Arc::new(Tree::of(&self.tenant, now));
                *held = Some((epoch, Arc::clone(&tree)));
                tree
            }
        }
    }
}

/// Somebody who has signed in: in which domain, by its place, and with which account.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) domain: usize,
    pub(crate) account: Arc<Account>,
}

/// Who it is; `None` for somebody without a name or a password, who is let in as nobody.
///
/// # Errors
/// Why not.
pub(crate) fn sign_in(
    world: &World,
    domains: &[Domain],
    bind: &Bind,
    sealed: bool,
) -> Result<Option<SignedIn>, Outcome> {
    let refused = |reason: &str, outcome| {
        world.judge.refused(&format!("LDAP bind: {reason}"));
        Err(outcome)
    };
    if bind.version != 3 {
        return refused("another version", Outcome::other_version());
    }
    let Some(password) = &bind.password else {
        return refused("not by password", Outcome::unknown_way_to_sign_in());
    };
    // Active Directory lets in who gives no password, as nobody, whatever the name
    if password.is_empty() {
        return Ok(None);
    }
    let time = world.clock.now();
    let known = domains
        .iter()
        .map(|domain| known_as(domain, &bind.name, time));
    let found = known
        .enumerate()
        .max_by_key(|(at, known)| (known.rank(), std::cmp::Reverse(*at)));
    let Some((domain, known)) = found else {
        return refused("unknown account", Outcome::bad_credentials("525"));
    };
    let Some(site) = &domains[domain].tenant.site else {
        return refused("no site", Outcome::bad_credentials("525"));
    };
    if !sealed && site.ldap_signing_required {
        return refused("unprotected", Outcome::unprotected());
    }
    let account = match known {
        Known::Account(account) => account,
        Known::Somebody => {
            return refused("no password is theirs", Outcome::bad_credentials("52e"));
        }
        Known::Nobody => return refused("unknown account", Outcome::bad_credentials("525")),
    };
    let now = site.clock(world).now();
    match account.check_password(password, now, site.lockout_after) {
        Ok(()) => Ok(Some(SignedIn { domain, account })),
        Err(why) => refused(
            why.reason(),
            Outcome::bad_credentials(match why {
                Unwelcome::WrongPassword => "52e",
                Unwelcome::Disabled => "533",
                Unwelcome::Locked => "775",
                Unwelcome::MustChange => "773",
            }),
        ),
    }
}

/// Whom a name means.
enum Known {
    Account(Arc<Account>),
    /// Somebody of the directory who can't sign in here.
    Somebody,
    Nobody,
}

impl Known {
    fn rank(&self) -> u8 {
        match self {
            Self::Account(_) => 2,
            Self::Somebody => 1,
            Self::Nobody => 0,
        }
    }
}

/// Whom a user principal name, an account's name with its domain, or a distinguished name means.
fn known_as(domain: &Domain, name: &str, now: Duration) -> Known {
    let (tenant, tree) = (&domain.tenant, domain.tree(now));
    let site = tenant.site.as_ref();
    let account = site.and_then(|site| site.account(name)).or_else(|| {
        match tree.items[tree.named(name).filter(|_| name.contains('='))?].what {
            What::Tenants(Object::User(user)) => site?.of_user(user),
            _ => None,
        }
    });
    let is_somebody = || tenant.user(name).or_else(|| tenant.by_directory_name(name));
    match account {
        Some(account) => Known::Account(account),
        None if is_somebody().is_some() => Known::Somebody,
        None => Known::Nobody,
    }
}
