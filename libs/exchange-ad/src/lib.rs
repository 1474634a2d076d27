//! The adapter for Active Directory: the directory's port of `calgrant-exchange` over LDAP, for organisations whose
//! Exchange stands on their own premises.
//!
//! [`ActiveDirectory`] lists mailboxes by group, organisational unit or altogether, looks names up and checks trustees. It
//! reads, and never writes.
//!
//! * [`connect`]: made from a site and an account as they are registered.
//! * `session`: one connection, protected and signed in. `kept`: connections between calls. A listing's pages come from
//!   one connection, because a server's place in a search belongs to it; when that is lost, the listing has expired.
//! * `listing`: pages of a listing. Nested groups are followed by the server where it can, else by `walk`.
//! * `classify`, `sign_in`, `tls`: what refusals mean. An account that was refused isn't tried again for a while, so
//!   that nobody's retries lock it.
//! * `dn`, `filter`, `range`, `recipient`, `trustee`: the rules, as functions over values.

mod classify;
pub mod connect;
mod directory;
mod dn;
mod entry;
mod filter;
mod kept;
mod listing;
mod range;
mod recipient;
mod session;
mod settings;
mod sign_in;
mod tls;
mod trustee;
mod walk;

pub use directory::ActiveDirectory;
pub use settings::{Nesting, Settings, SettingsError};

/// The clock, handed in.
pub type Now = fn() -> time::OffsetDateTime;
