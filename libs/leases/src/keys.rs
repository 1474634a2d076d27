//! Which keys the calls of an account are charged to.

use calgrant_budget::{KeyName, Scope};
use calgrant_domain::{AccountSpec, SiteSpec, TenantName};

/// The family of Exchange's own interfaces.
pub const EXCHANGE: &str = "exchange";
/// The family of Microsoft Graph.
pub const GRAPH: &str = "graph";

/// The keys of an account's calls to a family of interfaces: its own, that of its app registration where other accounts of the site
/// use the same one, and the site's.
#[must_use]
pub fn of_account(
    tenant: &TenantName,
    site: &SiteSpec,
    account: &AccountSpec,
    family: &str,
) -> Vec<KeyName> {
    let mut keys = vec![KeyName::new(
        Scope::Account,
        format!("{tenant}/{}/{}", site.kind, account.name),
        family,
    )];
    let users = site
        .accounts
        .iter()
        .filter(|other| other.client_id == account.client_id);
    if users.count() > 1 {
        keys.push(KeyName::new(
            Scope::App,
            format!("{tenant}/{}/{}", site.kind, account.client_id),
            family,
        ));
    }
    keys.push(of_site(tenant, site, family));
    keys
}

/// The key that all accounts of a site share.
#[must_use]
pub fn of_site(tenant: &TenantName, site: &SiteSpec, family: &str) -> KeyName {
    KeyName::new(Scope::Site, format!("{tenant}/{}", site.kind), family)
}
