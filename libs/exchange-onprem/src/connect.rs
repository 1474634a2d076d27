//! From a site and an account as they are registered to a connected adapter: secrets are read here, where they
//! are used, and travel nowhere.

use std::sync::Arc;

use calgrant_domain::{
    AccountSpec, BudgetKey, Credential, Interface, MailboxAccess, OnpremSite, OnpremWritePath,
    SignInKind,
};
use calgrant_exchange::{Calendars, secret};

use crate::{
    Access, ConnectError, EitherCalendars, EwsCalendars, EwsMember, Now, PowerShellCalendars,
    Server, SignIn,
};

/// The most sessions that a server's default policy lets an account have. How many are used is the budget's word.
const SESSIONS: usize = 18;

/// A grantor account's calendars, by the way that the site writes.
///
/// # Errors
/// A secret or a certificate can't be read, or a setting is wrong: says which and what to do.
pub fn calendars(
    site: &OnpremSite,
    account: &AccountSpec,
    now: Now,
) -> Result<Arc<dyn Calendars>, String> {
    let connecting = Connecting {
        site,
        account,
        password: password(account)?,
        ca_pem: secret::authorities(site.ca_file.as_deref())?,
        now,
    };
    let (ews, powershell) = (site.ews.as_ref(), site.powershell.as_ref());
    let connected: Arc<dyn Calendars> = match (site.write_path, ews, powershell) {
        (OnpremWritePath::Powershell, _, Some(powershell)) => {
            Arc::new(connecting.powershell(powershell)?)
        }
        (OnpremWritePath::Ews, Some(ews), None) => Arc::new(connecting.ews(ews)?),
        (OnpremWritePath::Ews, Some(ews), Some(powershell)) => Arc::new(EitherCalendars::new(
            connecting.ews(ews)?,
            connecting.powershell(powershell)?,
        )),
        (OnpremWritePath::Powershell, _, None) => {
            return Err("powershell_url is missing, which the write path needs".into());
        }
        (OnpremWritePath::Ews, None, _) => {
            return Err("ews_url is missing, which the write path needs".into());
        }
    };
    Ok(connected)
}

/// An account of the calendar product, as it works in calendars itself: by EWS.
///
/// # Errors
/// The site has no `ews_url`, a secret or a certificate can't be read, or a setting is wrong: says which and what to do.
pub fn member(site: &OnpremSite, account: &AccountSpec, now: Now) -> Result<EwsMember, String> {
    let Some(ews) = &site.ews else {
        return Err("ews_url is missing, by which a member works in calendars".into());
    };
    let connecting = Connecting {
        site,
        account,
        password: password(account)?,
        ca_pem: secret::authorities(site.ca_file.as_deref())?,
        now,
    };
    EwsMember::new(&connecting.server(ews), connecting.sign_in(ews)?, now)
        .map_err(|cause| named("ews", &cause))
}

fn password(account: &AccountSpec) -> Result<String, String> {
    match &account.credential {
        Credential::Secret(at) => secret::read(at),
        Credential::Certificate { .. } => {
            Err("servers on premises take no certificate from us; give a secret".into())
        }
    }
}

/// What is wrong, with the setting as the site's file calls it.
fn named(interface: &str, cause: &ConnectError) -> String {
    match cause {
        ConnectError::Url { field: "url", .. } => format!("{interface}_{cause}"),
        ConnectError::Ca(_) => format!("ca_file: {cause}"),
        ConnectError::Url { .. } => cause.to_string(),
    }
}

struct Connecting<'a> {
    site: &'a OnpremSite,
    account: &'a AccountSpec,
    password: String,
    ca_pem: Option<String>,
    now: Now,
}

impl Connecting<'_> {
    fn ews(&self, at: &Interface) -> Result<EwsCalendars, String> {
        let access = match self.site.access {
            MailboxAccess::Impersonation => Access::Impersonation,
            MailboxAccess::FullAccess => Access::Full,
        };
        let calendars = EwsCalendars::new(&self.server(at), self.sign_in(at)?, access, self.now)
            .map_err(|cause| named("ews", &cause))?;
        Ok(match self.site.budget_key {
            BudgetKey::Target => calendars.charged_to_mailboxes(),
            BudgetKey::Caller | BudgetKey::Nobody => calendars,
        })
    }

    fn powershell(&self, at: &Interface) -> Result<PowerShellCalendars, String> {
        let sessions = (self.account.limits.in_flight as usize).max(SESSIONS);
        PowerShellCalendars::new(&self.server(at), self.sign_in(at)?, sessions, self.now)
            .map_err(|cause| named("powershell", &cause))
    }

    fn server(&self, at: &Interface) -> Server {
        Server {
            url: at.url.clone(),
            ca_pem: self.ca_pem.clone(),
        }
    }

    fn sign_in(&self, at: &Interface) -> Result<SignIn, String> {
        let (user, password) = (self.account.user.clone(), self.password.clone().into());
        Ok(match at.sign_in {
            SignInKind::Basic => SignIn::Basic { user, password },
            SignInKind::Ntlm => SignIn::Ntlm { user, password },
            SignInKind::Bearer => {
                let issuer = self.site.token.as_ref().ok_or(
                    "token_url is missing: say who issues the tokens that the account signs in with",
                )?;
                SignIn::Bearer {
                    token_url: issuer.url.clone(),
                    client_id: self.account.client_id.clone(),
                    secret: password,
                    scope: issuer.scope.clone(),
                }
            }
        })
    }
}
