//! Delegations: whose calendars, for whom, with which right.

use crate::{AccessRole, Address, ListId, MailboxType, SiteKind, TenantName, outcome::words};

words!(
    /// When a delegation acts.
    Policy {
        /// When it is run.
        Once = "once",
        /// When it is run, for those whom onboarding events tell of, and by itself as the tenant's file says.
        Keep = "keep",
    }
);

/// A run that is confined to some mailboxes: somebody joined, or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    /// The mailboxes. Not empty.
    pub mailboxes: Vec<Address>,
    /// Whether the selector isn't asked; exclusions win all the same.
    pub beyond_selector: bool,
    /// Whether those that the directory doesn't know yet are waited for.
    pub awaits: bool,
}

/// Which mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Members of this group, nested ones included.
    Group(Address),
    /// Everything below this organisational unit, by the distinguished name that is synchronised from on premises.
    OrganizationalUnit(String),
    /// What lies in this organisational unit itself, not what lies in units inside it.
    OrganizationalUnitOneLevel(String),
    /// Members of the administrative unit of this name.
    AdministrativeUnit(String),
    /// Every mailbox of the site.
    All,
    /// An uploaded list.
    List(ListId),
}

/// Who receives the right at one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trustee {
    /// The site.
    pub site: SiteKind,
    /// A mail-enabled security group, or a single mailbox.
    pub address: Address,
}

/// The wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationSpec {
    /// Whose mailboxes.
    pub tenant: TenantName,
    /// Which of them.
    pub selector: Selector,
    /// Members of these groups are left out, whatever else selects them.
    pub exclude_groups: Vec<Address>,
    /// These mailboxes are left out.
    pub exclude_mailboxes: Vec<Address>,
    /// Types of mailboxes, where the listing tells; a person's by default.
    pub mailbox_types: Vec<MailboxType>,
    /// One trustee for every site it is meant for. Not empty.
    pub trustees: Vec<Trustee>,
    /// The right.
    pub role: AccessRole,
    /// Whether an entry that allows more is lowered to `role`.
    pub lower_higher: bool,
    /// When it acts.
    pub policy: Policy,
}
