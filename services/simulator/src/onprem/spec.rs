//! What a scenario says of an on-premises site.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::ldap::Name;
use crate::onprem::policy::{DEFAULT, PolicySpec};

/// Whose budget a call pays from that impersonates somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetOf {
    /// The mailbox that is worked in: each has a budget of its own.
    #[default]
    Target,
    /// The account that calls.
    Caller,
}

/// The Exchange servers of a tenant on its own premises: EWS at `/EWS/Exchange.asmx`, PowerShell at `/PowerShell/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnPremSpec {
    /// The `NetBIOS` name of the domain, before the backslash of account names; the first part of the tenant's domain in
    /// capitals when left out.
    pub domain: String,
    /// Name of the server, as errors tell of it.
    pub server: String,
    /// Names of its domain controllers. LDAP is the first one's; a PowerShell session that names none uses the last one.
    pub domain_controllers: Vec<String>,
    /// Distinguished names of units that are there besides those that somebody is in.
    pub units: Vec<String>,
    /// Whose budget impersonated EWS calls pay from.
    pub impersonation_budget: BudgetOf,
    /// How much faster than real time the site lives, 1 to 10000: latencies, bursts, cutoffs and back-offs, all given in
    /// milliseconds of the site, pass so many times faster. What clients are told is in their own milliseconds.
    pub time_scale: u32,
    /// An account is locked for half an hour after so many wrong passwords in a row; 0 never locks.
    pub lockout_after: u32,
    /// LDAP refuses passwords on connections that aren't sealed, as domain controllers do that require signing.
    pub ldap_signing_required: bool,
    /// Basic authentication is switched off.
    pub without_basic: bool,
    /// Kerberos signs a single request in, not its connection (`authPersistNonNTLM` is off). Without TLS it is the connection
    /// all the same.
    pub kerberos_each_request: bool,
    /// PowerShell takes Kerberos by its own name alone, and not by Negotiate.
    pub kerberos_by_name: bool,
    /// Throttling policies.
    #[serde(rename = "policy")]
    pub policies: Vec<PolicySpec>,
    /// The accounts that may sign in.
    #[serde(rename = "account")]
    pub accounts: Vec<AccountSpec>,
}

impl Default for OnPremSpec {
    fn default() -> Self {
        Self {
            domain: String::new(),
            server: "MBX01".to_owned(),
            domain_controllers: vec!["DC01".to_owned()],
            units: Vec::new(),
            impersonation_budget: BudgetOf::Target,
            time_scale: 1,
            lockout_after: 10,
            ldap_signing_required: true,
            without_basic: false,
            kerberos_each_request: false,
            kerberos_by_name: false,
            policies: Vec::new(),
            accounts: Vec::new(),
        }
    }
}

/// An account of the site's directory that may sign in, as `DOMAIN\alias` or by its user principal name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSpec {
    /// The user it is, by user principal name; one of the tenant's, with a mailbox or without.
    pub user: String,
    /// Password.
    pub password: String,
    /// Name of its throttling policy.
    pub policy: String,
    /// Mailboxes it has Full Access to: `*`, addresses, addresses of groups (their members), or `OU=…` (all below).
    pub full_access: Vec<String>,
    /// The scope of its `ApplicationImpersonation` role, as above; empty without the role.
    pub impersonation: Vec<String>,
    /// Cmdlets its role groups allow.
    pub cmdlets: Vec<String>,
    /// Management roles of those, such as `Mail Recipient Creation`, besides `cmdlets`. Where some are written, parameters of
    /// roles that aren't among them don't exist for it.
    pub management_roles: Vec<String>,
    /// `RemotePowerShellEnabled` is `$false`.
    pub without_remote_powershell: bool,
    /// It is disabled, or its password has expired: it can't sign in.
    pub disabled: bool,
}

impl Default for AccountSpec {
    fn default() -> Self {
        Self {
            user: String::new(),
            password: String::new(),
            policy: DEFAULT.to_owned(),
            full_access: Vec::new(),
            impersonation: Vec::new(),
            cmdlets: Vec::new(),
            management_roles: Vec::new(),
            without_remote_powershell: false,
            disabled: false,
        }
    }
}

impl OnPremSpec {
    /// The policy of this name; the one called `default` is there unwritten.
    pub(crate) fn policy(&self, name: &str) -> Option<PolicySpec> {
        let written = self.policies.iter().find(|policy| policy.name == name);
        written
            .cloned()
            .or_else(|| (name == DEFAULT).then(PolicySpec::default))
    }

    /// Everything that is wrong with this site, each with its place.
    pub(crate) fn mistakes(&self, place: &str) -> Vec<String> {
        let mut mistakes = Vec::new();
        if !(1..=10_000).contains(&self.time_scale) {
            mistakes.push(format!("{place}.time_scale: it takes 1 to 10000"));
        }
        if self.domain_controllers.is_empty() {
            mistakes.push(format!("{place}.domain_controllers: name one at least"));
        }
        for unit in &self.units {
            if Name::parse(unit).is_none_or(|name| name.domain().is_empty()) {
                mistakes.push(format!(
                    "{place}.units: {unit:?} isn't a distinguished name of the domain"
                ));
            }
        }
        let mut users = HashSet::new();
        for account in &self.accounts {
            let name = &account.user;
            if !users.insert(name.to_lowercase()) {
                mistakes.push(format!("{place}.account: {name:?} is there twice"));
            }
            if account.password.is_empty() {
                mistakes.push(format!("{place}.account {name:?}: it has no password"));
            }
            if self.policy(&account.policy).is_none() {
                let policy = &account.policy;
                mistakes.push(format!(
                    "{place}.account {name:?}: no policy is called {policy:?}"
                ));
            }
        }
        mistakes
    }
}
