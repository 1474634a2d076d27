//! One user of the directory: names, licence and mailbox.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::calendar::Mailbox;
use crate::dice::Dice;
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

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) spec: UserSpec,
    pub(crate) mail: String,
    pub(crate) alias: String,
    /// `NO_LICENCE`, `LICENSED` or `EXPIRED`.
    licence: AtomicU8,
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
        Self {
            on_premises: AtomicBool::new(spec.on_premises),
            spec,
            mail,
            alias,
            licence: AtomicU8::new(licence),
            mailbox,
        }
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

    pub(crate) fn license(&self, licensed: bool) {
        let licence = if licensed { LICENSED } else { NO_LICENCE };
        self.licence.store(licence, Ordering::Relaxed);
    }

    pub(crate) fn expire_licence(&self) {
        self.licence.store(EXPIRED, Ordering::Relaxed);
    }
}
