//! An application that works in calendars by roles of Exchange's own, without any delegation: what it may do, where, and what undoes
//! the limits that were meant.

use std::collections::{BTreeMap, BTreeSet};

use calgrant_domain::{
    Address, ApplicationScope, Authorization, Consent, Finding,
    application::{
        NO_CONSENT, WORK, authorized, consented, groups_of, scope_capability, scope_group,
    },
};
use calgrant_exchange::{Administered, Administration as _, AdministrationError};
use calgrant_exchange_online::OnlineAdministration;
use calgrant_leases::Account;
use uuid::Uuid;

use super::asking::{call_of, not_done, not_permitted, permitted, refused};

/// What is looked with.
pub(super) struct Looking {
    pub(super) hand: OnlineAdministration,
    pub(super) charged: Charged,
}

/// Whose budgets the calls come out of.
pub(super) enum Charged {
    /// Nobody's of ours: somebody lent a token.
    Nobody,
    /// The set-up account's.
    Account {
        exchange: Option<Account>,
        directory: Option<Account>,
    },
}

/// Where a call goes.
#[derive(Clone, Copy)]
enum To {
    Exchange,
    Directory,
}

impl Looking {
    /// Everything there is to say of it.
    pub(super) async fn at(&self, application: Uuid, mailbox: Option<&Address>) -> Vec<Finding> {
        if let Err(error) = self.hand.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = self.roles(application, mailbox).await;
        findings.extend(self.consents(application).await);
        findings
    }

    /// Its roles in Exchange, and what their scopes leave out.
    async fn roles(&self, application: Uuid, mailbox: Option<&Address>) -> Vec<Finding> {
        let asked = self.hand.authorizations(application, None);
        let roles = match self.ask(To::Exchange, asked).await {
            Ok(roles) => roles,
            // Exchange knows only those that were made known to it.
            Err(AdministrationError::Missing { .. }) => Vec::new(),
            Err(error) => return vec![not_done(WORK, error)],
        };
        let mut findings = Vec::new();
        let tried = match mailbox.filter(|_| !roles.is_empty()) {
            None => authorized(&roles, None),
            Some(mailbox) => {
                let asked = self.hand.authorizations(application, Some(mailbox));
                match self.ask(To::Exchange, asked).await {
                    Ok(tried) => authorized(&tried, Some(mailbox)),
                    Err(error) => {
                        findings.push(not_done(&format!("look at {mailbox}"), error));
                        authorized(&roles, None)
                    }
                }
            }
        };
        findings.extend(tried);
        findings.extend(self.scopes(&roles).await);
        findings
    }

    /// The scopes that are made of groups.
    async fn scopes(&self, roles: &[Authorization]) -> Vec<Finding> {
        let scopes = roles.iter().filter_map(|one| match &one.scope {
            ApplicationScope::Recipients(name) => Some(name.as_str()),
            _ => None,
        });
        let mut findings = Vec::new();
        for scope in scopes.collect::<BTreeSet<_>>() {
            let capability = scope_capability(scope);
            let filter = self.hand.scope_filter(scope);
            let filter = match self.ask(To::Exchange, filter).await {
                Ok(filter) => filter,
                Err(error) => {
                    findings.push(not_done(&capability, error));
                    continue;
                }
            };
            for group in groups_of(&filter) {
                let nested = self.hand.nested_groups(&group);
                findings.push(match self.ask(To::Exchange, nested).await {
                    Ok(nested) => scope_group(scope, &group, &nested),
                    Err(error) => not_done(&capability, error),
                });
            }
        }
        findings
    }

    /// What the directory consented to.
    async fn consents(&self, application: Uuid) -> Vec<Finding> {
        match self.consents_named(application).await {
            Ok(consents) => consented(&consents),
            Err(error) => vec![not_done(NO_CONSENT, error)],
        }
    }

    async fn consents_named(&self, application: Uuid) -> Administered<Vec<Consent>> {
        let held = self.hand.consented(application);
        let held = self.ask(To::Directory, held).await?;
        let mut names = BTreeMap::new();
        for api in held.iter().map(|one| &one.api).collect::<BTreeSet<_>>() {
            let permissions = self.hand.permissions(application, api);
            names.insert(api, self.ask(To::Directory, permissions).await?);
        }
        let named = held.iter().map(|one| Consent {
            // One that its API doesn't offer any more has no name.
            permission: names[&one.api].get(&one.role).unwrap_or(&one.role).clone(),
            api: one.api_name.clone(),
        });
        Ok(named.collect())
    }

    async fn ask<T>(&self, to: To, call: impl Future<Output = Administered<T>>) -> Administered<T> {
        let budget = match (&self.charged, to) {
            (Charged::Nobody, _) => return call.await,
            (Charged::Account { exchange, .. }, To::Exchange) => exchange,
            (Charged::Account { directory, .. }, To::Directory) => directory,
        };
        let answer = permitted(budget, call, call_of).await;
        answer.unwrap_or_else(|| Err(not_permitted().into()))
    }
}
