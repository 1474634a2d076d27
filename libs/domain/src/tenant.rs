//! Tenants and their sites.

use crate::{Keeping, SiteKind, SiteSpec, TenantName, outcome::words};

words!(
    /// Kinds of mailboxes, where a listing tells them apart.
    MailboxType {
        /// A person's.
        User = "user",
        /// A shared one.
        Shared = "shared",
        /// A room's.
        Room = "room",
        /// A piece of equipment's.
        Equipment = "equipment",
    }
);

/// One institution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    /// Its name.
    pub name: TenantName,
    /// What people call it.
    pub display_name: String,
    /// Its Exchange organisations: one or two, each kind once.
    pub sites: Vec<SiteSpec>,
    /// What is done by itself for its delegations that are kept.
    pub keeping: Keeping,
}

impl TenantSpec {
    /// Its site of this kind.
    pub fn site(&self, kind: SiteKind) -> Option<&SiteSpec> {
        self.sites.iter().find(|site| site.kind() == kind)
    }
}
