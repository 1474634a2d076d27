//! Permission for calls that are under way.

use std::time::Duration;

use calgrant_budget::Permit;

use crate::Account;

/// Permission for calls that are under way. Dropping it without [`Permits::done`] means that no reply came: the calls keep
/// their places for a while, for the server may go on working on them.
#[derive(Debug)]
pub struct Permits {
    account: Account,
    permit: Option<Permit>,
    since: Duration,
}

impl Permits {
    pub(crate) fn new(account: Account, permit: Permit, since: Duration) -> Self {
        Self {
            account,
            permit: Some(permit),
            since,
        }
    }

    /// Permission that nothing gave and nothing counts.
    pub(crate) fn unbudgeted(account: Account) -> Self {
        Self {
            account,
            permit: None,
            since: Duration::ZERO,
        }
    }

    /// The first byte of the calls left so long after the permission was given.
    pub fn first_byte(&self, after: Duration) {
        if let Some(permit) = self.permit {
            let at = self.since + after;
            self.account
                .budgets
                .with(|holder, _| holder.first_byte(permit, at));
        }
    }

    /// The calls were answered, or never left. `served`: with something else than a refusal to serve.
    pub fn done(mut self, served: bool) {
        if let Some(permit) = self.permit.take() {
            self.account
                .budgets
                .with(|holder, now| holder.done(permit, served, now));
            self.account.released();
        }
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.account
                .budgets
                .with(|holder, now| holder.abandon(permit, now));
        }
    }
}
