//! Which keys the calls of an account are charged to.

use calgrant_budget::{KeyName, Scope};
use calgrant_domain::{AccountSpec, SiteKind, SiteSpec, TenantName};

/// The family of Exchange's own interfaces.
pub const EXCHANGE: &str = "exchange";
/// The family of Microsoft Graph.
pub const GRAPH: &str = "graph";
/// The family of Active Directory.
pub const LDAP: &str = "ldap";

/// The family of a site's directory.
#[must_use]
pub fn directory(site: SiteKind) -> &'static str {
    match site {
        SiteKind::Online => GRAPH,
        SiteKind::Onprem => LDAP,
    }
}

/// The keys of an account's calls to a family of interfaces: its own, that of its app registration (on premises: of its name in
/// the directory) where other accounts of the site use the same one, and the site's.
#[must_use]
pub fn of_account(
    tenant: &TenantName,
    site: &SiteSpec,
    account: &AccountSpec,
    family: &str,
) -> Vec<KeyName> {
    let mut keys = vec![KeyName::new(
        Scope::Account,
        format!("{tenant}/{}/{}", site.kind(), account.name),
        family,
    )];
    let users = site
        .accounts
        .iter()
        .filter(|other| other.signs_in_as(account));
    if users.count() > 1 {
        keys.push(KeyName::new(
            Scope::App,
            format!("{tenant}/{}/{}", site.kind(), identity(account)),
            family,
        ));
    }
    keys.push(of_site(tenant, site, family));
    keys
}

/// What the server knows an account by.
fn identity(account: &AccountSpec) -> String {
    if account.client_id.is_empty() {
        account.user.to_lowercase()
    } else {
        account.client_id.clone()
    }
}

/// The key that all accounts of a site share.
#[must_use]
pub fn of_site(tenant: &TenantName, site: &SiteSpec, family: &str) -> KeyName {
    KeyName::new(Scope::Site, format!("{tenant}/{}", site.kind()), family)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use calgrant_domain::{
        BudgetKey, Credential, DisabledAccounts, Limits, MailboxAccess, OnpremSite,
        OnpremWritePath, Organisation, Purpose, SecretRef, SharedLimits,
    };

    use super::*;

    fn account(name: &str, user: &str) -> AccountSpec {
        AccountSpec {
            name: name.parse().unwrap(),
            purposes: vec![Purpose::Grantor],
            client_id: String::new(),
            user: user.to_owned(),
            credential: Credential::Secret(SecretRef::Env("SECRET".to_owned())),
            limits: Limits {
                in_flight: 10,
                windows: Vec::new(),
                server_time: None,
            },
            workers: 10,
            expires: None,
        }
    }

    #[test]
    fn on_premises_the_name_in_the_directory_tells_accounts_apart() {
        let site = SiteSpec {
            organisation: Organisation::Onprem(OnpremSite {
                write_path: OnpremWritePath::Powershell,
                ews: None,
                powershell: None,
                access: MailboxAccess::Impersonation,
                budget_key: BudgetKey::Caller,
                token: None,
                ldap_url: String::new(),
                ldap_base: None,
                disabled_accounts: DisabledAccounts::Refuse,
                ca_file: None,
            }),
            park_first: Duration::ZERO,
            park_limit: Duration::ZERO,
            shared: SharedLimits::default(),
            accounts: vec![
                account("sa-1", "UNI\\sa-1"),
                account("sa-2", "UNI\\SA-1"),
                account("sa-3", "UNI\\sa-3"),
            ],
            setup: None,
        };
        let tenant = "uni".parse().unwrap();
        let keys = |at: usize| -> Vec<String> {
            let keys = of_account(&tenant, &site, &site.accounts[at], EXCHANGE);
            keys.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            keys(0),
            [
                "account:uni/onprem/sa-1/exchange",
                "app:uni/onprem/uni\\sa-1/exchange",
                "site:uni/onprem/exchange"
            ]
        );
        assert_eq!(keys(1)[1], keys(0)[1], "one and the same to the server");
        assert_eq!(
            keys(2),
            [
                "account:uni/onprem/sa-3/exchange",
                "site:uni/onprem/exchange"
            ]
        );
    }
}
