//! One user of the directory: names, account, licence and mailbox.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::calendar::Mailbox;
use crate::dice::Dice;
use crate::replica::{Place, Replicated, Shows};
use crate::scenario::{Kind, UserSpec};

const NO_LICENCE: u8 = 0;
const LICENSED: u8 = 1;
const EXPIRED: u8 = 2;

/// The two halves of a hybrid organisation; each of its mailboxes lies in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Online,
    OnPremises,
}

/// What of a user can be changed while the simulator runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) enabled: bool,
    pub(crate) usage_location: Option<String>,
    pub(crate) password_policies: Option<String>,
    pub(crate) employee_id: Option<String>,
    /// `CustomAttribute15`.
    pub(crate) custom_15: Option<String>,
    /// Not in address lists.
    pub(crate) hidden: bool,
}

/// A password, and whether another one must be chosen at the next sign-in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password {
    pub(crate) secret: String,
    pub(crate) must_change: bool,
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// A licence that was assigned to the user directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// Its place among the tenant's products.
    pub(crate) sku: usize,
    pub(crate) disabled: Vec<Uuid>,
}

/// What is known of a user that was made while the simulator runs.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Exchange's `Name`, which the distinguished name begins with.
    pub(crate) common_name: String,
    /// The account's name before Windows 2000.
    pub(crate) sam: String,
    pub(crate) shows: Shows,
    /// The app or account that made it.
    pub(crate) by: String,
}

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) spec: UserSpec,
    pub(crate) mail: String,
    pub(crate) alias: String,
    /// `NO_LICENCE`, `LICENSED` or `EXPIRED`: whether there is an Exchange plan.
    licence: AtomicU8,
    licences: Mutex<Vec<Assigned>>,
    changed: OnceLock<Replicated<Account>>,
    password: Mutex<Option<Password>>,
    pub(crate) made: Option<Box<Made>>,
    /// Where the mailbox lies by now.
    on_premises: AtomicBool,
    pub(crate) mailbox: Option<Mailbox>,
}

impl User {
    /// The mailbox, when this side is the one that holds it.
    pub(crate) fn mailbox_at(&self, side: Side) -> Option<&Mailbox> {
        let here = self.on_premises.load(Ordering::Relaxed) == (side == Side::OnPremises);
        self.mailbox.as_ref().filter(|_| here)
    }

    /// The mailbox is moved, with its folders and their lists.
    pub(crate) fn move_to(&self, side: Side) {
        self.on_premises
            .store(side == Side::OnPremises, Ordering::Relaxed);
    }

    /// With a mailbox as the licence and the sort say; its folders come later.
    pub(crate) fn new(mut spec: UserSpec, dice: &Dice) -> Self {
        let mail = spec.mail.take().unwrap_or_else(|| spec.upn.clone());
        let local = || spec.upn.split('@').next().unwrap_or_default().to_owned();
        let alias = spec.alias.take().unwrap_or_else(local);
        let mailbox = (spec.kind != Kind::None).then(|| {
            let licensed = spec.licensed || spec.licence_expired;
            let needs_licence = spec.kind == Kind::User && !spec.on_premises;
            let comes = !spec.never_provisioned && (licensed || !needs_licence);
            let provisioned = comes.then(|| Duration::from_secs(spec.provisioned_after_secs));
            // a site on premises has no replicas to read from
            let lag = (!spec.on_premises).then(|| Duration::from_millis(spec.read_lag_ms));
            Mailbox::new(dice.uuid(), spec.kind, provisioned, lag, Vec::new())
        });
        let licensed = spec.licensed && !spec.on_premises;
        let licence = match (licensed, spec.licence_expired) {
            (_, true) => EXPIRED,
            (true, false) => LICENSED,
            (false, false) => NO_LICENCE,
        };
        let first = Assigned {
            sku: 0,
            disabled: Vec::new(),
        };
        let licences = if licence == NO_LICENCE {
            Vec::new()
        } else {
            vec![first]
        };
        Self {
            on_premises: AtomicBool::new(spec.on_premises),
            spec,
            mail,
            alias,
            licence: AtomicU8::new(licence),
            licences: Mutex::new(licences),
            changed: OnceLock::new(),
            password: Mutex::default(),
            made: None,
            mailbox,
        }
    }

    /// From when on it shows, and to whom.
    pub(crate) fn shows(&self) -> Shows {
        self.made.as_ref().map_or(Shows::ALWAYS, |made| made.shows)
    }

    /// Exchange's `Name`.
    pub(crate) fn common_name(&self) -> &str {
        let made = self.made.as_ref();
        made.map_or(&self.alias, |made| &made.common_name)
    }

    /// `sAMAccountName`.
    pub(crate) fn sam(&self) -> &str {
        self.made.as_ref().map_or(&self.alias, |made| &made.sam)
    }

    /// Its address, once there is a mailbox: an account that was made in the cloud has none before.
    pub(crate) fn mail_at(&self, now: Duration) -> Option<&str> {
        let waits = self.made.is_some() && !self.spec.on_premises;
        let there = || self.mailbox.as_ref().is_some_and(|it| it.is_there(now));
        (!waits || there()).then_some(self.mail.as_str())
    }

    fn at_start(&self) -> Account {
        Account {
            enabled: self.spec.enabled,
            usage_location: self.spec.usage_location.clone(),
            password_policies: self.spec.password_policies.clone(),
            employee_id: self.spec.employee_id.clone(),
            custom_15: self.spec.custom_attribute_15.clone(),
            hidden: false,
        }
    }

    /// The account as one who looks from here knows it.
    pub(crate) fn account(&self, looks: Place, now: Duration) -> Arc<Account> {
        match self.changed.get() {
            Some(changed) => changed.seen(looks, now),
            None => Arc::new(self.at_start()),
        }
    }

    /// The account as it is in truth.
    pub(crate) fn account_now(&self) -> Arc<Account> {
        match self.changed.get() {
            Some(changed) => changed.truth(),
            None => Arc::new(self.at_start()),
        }
    }

    pub(crate) fn change(&self, account: Account, shows: Shows) {
        let changed = self
            .changed
            .get_or_init(|| Replicated::new(self.at_start()));
        changed.write(account, shows);
    }

    fn held_password(&self) -> MutexGuard<'_, Option<Password>> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn password(&self) -> Option<Password> {
        self.held_password().clone()
    }

    pub(crate) fn set_password(&self, password: Password) {
        *self.held_password() = Some(password);
    }

    /// The licences it was assigned directly.
    pub(crate) fn licences(&self) -> MutexGuard<'_, Vec<Assigned>> {
        self.licences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_licensed(&self) -> bool {
        self.licence.load(Ordering::Relaxed) == LICENSED
    }

    /// Whether there was a licence: the mailbox is kept, and its owner is kept out of it.
    pub(crate) fn licence_has_expired(&self) -> bool {
        self.licence.load(Ordering::Relaxed) == EXPIRED
    }

    /// What Graph says about the Exchange plan, when there is one.
    pub(crate) fn capability(&self) -> Option<&'static str> {
        match self.licence.load(Ordering::Relaxed) {
            LICENSED => Some("Enabled"),
            EXPIRED => Some("Suspended"),
            _ => None,
        }
    }

    /// Whether there is an Exchange plan from now on.
    pub(crate) fn set_licensed(&self, licensed: bool) {
        let licence = if licensed { LICENSED } else { NO_LICENCE };
        self.licence.store(licence, Ordering::Relaxed);
    }

    /// Gives the tenant's first product, or takes every product away.
    pub(crate) fn license(&self, licensed: bool) {
        self.set_licensed(licensed);
        let mut licences = self.licences();
        licences.clear();
        if licensed {
            licences.push(Assigned {
                sku: 0,
                disabled: Vec::new(),
            });
        }
    }

    pub(crate) fn expire_licence(&self) {
        self.licence.store(EXPIRED, Ordering::Relaxed);
    }
}
