//! Tenants and their sites.

use std::time::Duration;

use crate::{AccountSpec, Keeping, SharedLimits, TenantName, outcome::words};

words!(
    /// Which Exchange organisation of a tenant.
    SiteKind {
        /// Exchange Online.
        Online = "online",
        /// Exchange Server.
        Onprem = "onprem",
    }
);

words!(
    /// Which of Exchange Online's interfaces changes permissions.
    WritePath {
        /// The Admin API where the organisation has it, else InvokeCommand.
        Auto = "auto",
        /// Admin API v2.0.
        AdminApi = "admin_api",
        /// InvokeCommand, several mailboxes in one round trip.
        InvokeCommand = "invoke_command",
    }
);

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

/// One Exchange organisation of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteSpec {
    /// Which.
    pub kind: SiteKind,
    /// The directory's (Entra tenant's) GUID.
    pub directory_id: String,
    /// Base URL of the token endpoint, `https://login.microsoftonline.com` by default.
    pub login_url: String,
    /// Base URL of Microsoft Graph, `https://graph.microsoft.com` by default.
    pub graph_url: String,
    /// Base URL of the administrative interfaces, `https://outlook.office365.com` by default.
    pub admin_url: String,
    /// Which interface changes permissions.
    pub write_path: WritePath,
    /// First wait for a mailbox that isn't ready; doubles up to an hour. 5 minutes by default.
    pub park_first: Duration,
    /// Longest wait for it, from acceptance. 24 hours by default.
    pub park_limit: Duration,
    /// What Exchange lets all its accounts do together.
    pub shared: SharedLimits,
    /// Service accounts of the site.
    pub accounts: Vec<AccountSpec>,
}

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
        self.sites.iter().find(|site| site.kind == kind)
    }
}
