//! Calls to a directory and its Exchange: one at a time, each under the budget of what it is charged to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use calgrant_budget::{
    Scope,
    message::{Lane, Overload, Pushback},
};
use calgrant_domain::{Address, SiteKind, setup::TrusteeSeen};
use calgrant_exchange::{Administered, Administration, AdministrationError, CallError, Meaning};
use calgrant_leases::{Account, Permits};

/// Longest wait for permission.
const PERMIT: Duration = Duration::from_secs(60);

/// Who can say what the directory shows of the trustee to those who look it up.
#[async_trait]
pub trait Trustees: Send + Sync {
    /// Looks it up.
    ///
    /// # Errors
    /// The call failed.
    async fn seen(&self, address: &Address) -> Result<TrusteeSeen, CallError>;
}

/// What a set-up credential may use.
#[derive(Debug, Clone)]
pub struct Budgets {
    /// Of the directory: users and licences online.
    pub directory: Account,
    /// Of Exchange: the rest.
    pub exchange: Account,
}

/// A set-up credential's hands.
pub struct Hands {
    administration: Arc<dyn Administration>,
    trustees: Option<Arc<dyn Trustees>>,
    budgets: Option<Budgets>,
    site: SiteKind,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About {
    /// Users and licences.
    Users,
    /// Mailboxes and groups.
    Exchange,
}

impl Hands {
    /// Hands at a site. Without budgets nothing else may use the credential meanwhile: the calls go one by one all the same.
    #[must_use]
    pub fn new(
        site: SiteKind,
        administration: Arc<dyn Administration>,
        trustees: Option<Arc<dyn Trustees>>,
        budgets: Option<Budgets>,
    ) -> Self {
        Self {
            administration,
            trustees,
            budgets,
            site,
        }
    }

    /// Ends what is kept open at the server, after the last call.
    pub async fn sign_out(&self) {
        self.administration.sign_out().await;
    }

    /// What the directory shows of the trustee.
    pub(crate) async fn trustee(&self, address: &Address) -> Administered<TrusteeSeen> {
        match &self.trustees {
            None => Ok(TrusteeSeen::NotAsked),
            Some(trustees) => Ok(trustees.seen(address).await?),
        }
    }

    /// One call, with a permit, and a second one if the token was refused.
    pub(crate) async fn call<T, F: Future<Output = Administered<T>>>(
        &self,
        about: About,
        ask: impl Fn(Arc<dyn Administration>) -> F,
    ) -> Administered<T> {
        let mut last = false;
        loop {
            self.administration.sign_in().await?;
            let account = self.charged(about);
            let permits = match account {
                Some(account) => Some(permitted(account).await?),
                None => None,
            };
            let answer = ask(Arc::clone(&self.administration)).await;
            let failed = match &answer {
                Err(AdministrationError::Call(error)) => Some(error),
                _ => None,
            };
            let slow_down = failed.and_then(pushback);
            if let (Some(pushback), Some(account)) = (&slow_down, account) {
                account.push_back(Scope::Account, pushback);
            }
            match permits {
                // The server may go on with it: it keeps its place for a while.
                Some(permits) if failed.is_some_and(|error| error.unanswered) => drop(permits),
                Some(permits) => permits.done(slow_down.is_none()),
                None => {}
            }
            let refused = failed.is_some_and(|error| error.meaning == Meaning::SignInAgain);
            if !refused || last {
                return answer;
            }
            last = true;
        }
    }

    fn charged(&self, about: About) -> Option<&Account> {
        let budgets = self.budgets.as_ref()?;
        Some(match about {
            About::Users if self.site == SiteKind::Online => &budgets.directory,
            About::Users | About::Exchange => &budgets.exchange,
        })
    }
}

/// Permission for one call. It isn't awaited for long: the claim on the set-up would run out, and another carry it out meanwhile.
async fn permitted(account: &Account) -> Result<Permits, CallError> {
    let permits = account.permits(Lane::Interactive, 1);
    tokio::time::timeout(PERMIT, permits).await.map_err(|_| {
        let wait = Meaning::WaitUntil {
            scope: calgrant_exchange::Scope::Account,
            after: None,
        };
        let why = "the budget of the set-up account allows no call at present: it may be paused, or used up";
        CallError::new(wait, "BudgetSpent", why)
    })
}

/// The server said to slow down.
fn pushback(error: &CallError) -> Option<Pushback> {
    let of = |overload, wait: Option<Duration>| {
        Some(Pushback {
            overload,
            wait,
            cause: error.to_string(),
        })
    };
    match error.meaning {
        Meaning::WaitUntil { after, .. } => of(Overload::Unknown, after),
        Meaning::TooManyAtOnce { after } => of(Overload::Concurrency, after),
        _ => None,
    }
}
