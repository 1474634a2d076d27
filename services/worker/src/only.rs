//! Which accounts a worker serves: all, or only some. It reads no other's secrets.

use std::str::FromStr;

use calgrant_domain::{AccountName, BadInput, SiteKind, TenantName};

use crate::ledger::AccountKey;

/// A part of the fleet: `uni`, `uni/online` or `uni/online/sa-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    tenant: TenantName,
    site: Option<SiteKind>,
    account: Option<AccountName>,
}

/// The parts that are served; everything if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only(Vec<Part>);

impl FromStr for Part {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let bad = |why: &str| {
            let form = "write tenant, tenant/site or tenant/site/account, such as uni/online/sa-1";
            BadInput::new("only", raw, format!("{why}; {form}"))
        };
        let mut words = raw.trim().split('/');
        let part = Self {
            tenant: words
                .next()
                .unwrap_or_default()
                .parse()
                .map_err(|_| bad("no name of a tenant"))?,
            site: words
                .next()
                .map(|site| site.parse().map_err(|_| bad("a site is online or onprem")))
                .transpose()?,
            account: words
                .next()
                .map(|account| account.parse().map_err(|_| bad("no name of an account")))
                .transpose()?,
        };
        match words.next() {
            None => Ok(part),
            Some(_) => Err(bad("too many parts")),
        }
    }
}

impl Only {
    /// These parts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Whether this account is served.
    #[must_use]
    pub fn serves(&self, key: &AccountKey) -> bool {
        let within = |part: &Part| {
            part.tenant == key.tenant
                && part.site.is_none_or(|site| site == key.site)
                && part
                    .account
                    .as_ref()
                    .is_none_or(|name| *name == key.account)
        };
        self.0.is_empty() || self.0.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str, site: SiteKind, account: &str) -> AccountKey {
        AccountKey {
            tenant: tenant.parse().unwrap(),
            site,
            account: account.parse().unwrap(),
        }
    }

    #[test]
    fn parts_reach_as_far_as_they_say() {
        let only = |parts: &[&str]| {
            let parts = parts.iter().map(|part| part.parse().unwrap());
            Only::new(parts.collect())
        };
        let (online, onprem) = (SiteKind::Online, SiteKind::Onprem);
        for (parts, account, served) in [
            (&[][..], key("uni", online, "sa-1"), true),
            (&["uni"], key("uni", onprem, "sa-1"), true),
            (&["uni"], key("college", onprem, "sa-1"), false),
            (&["uni/online"], key("uni", onprem, "sa-1"), false),
            (&["uni/online/sa-1"], key("uni", online, "sa-1"), true),
            (&["uni/online/sa-1"], key("uni", online, "sa-2"), false),
            (
                &["uni/online/sa-1", "college"],
                key("college", online, "sa-2"),
                true,
            ),
        ] {
            assert_eq!(
                only(parts).serves(&account),
                served,
                "{parts:?} {account:?}"
            );
        }
    }

    #[test]
    fn what_is_no_part_is_refused_with_what_to_write() {
        for raw in ["", "Uni", "uni/cloud", "uni/online/", "uni/online/sa-1/x"] {
            let bad = raw.parse::<Part>().unwrap_err();
            assert!(bad.why.contains("uni/online/sa-1"), "{raw}: {bad}");
        }
    }
}
