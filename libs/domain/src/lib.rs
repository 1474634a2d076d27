//! What Calgrant talks about: ids, names, rights, delegations, operations, jobs and their moves.
//!
//! Values and pure functions only. Nothing here does I/O, waits, reads a clock, or knows how a value
//! is written on a wire or in a database.

pub mod access;
pub mod account;
pub mod address;
pub mod bad_input;
pub mod counts;
pub mod decide;
pub mod delays;
pub mod delegation;
pub mod id;
pub mod job;
pub mod mailbox;
pub mod name;
pub mod operation;
pub mod outcome;
pub mod reading;
pub mod rights;
pub mod tenant;

pub use access::{Access, AccessState};
pub use account::{AccountName, AccountSpec, AccountState, CallWindow, Credential, Purpose, SecretRef};
pub use address::Address;
pub use bad_input::BadInput;
pub use counts::Counts;
pub use decide::{Decision, Observed, decide};
pub use delegation::{DelegationSpec, Policy, Selector, Trustee};
pub use id::{DelegationId, JobId, ListId, MailboxId, OperationId};
pub use job::{Job, Phase, WaitReason};
pub use mailbox::{Calendar, Listed, Mailbox, Unsuitable};
pub use name::TenantName;
pub use operation::{Lane, Operation, OperationKind, OperationState};
pub use outcome::{Detail, Outcome, Reason};
pub use reading::{Reading, Verdict};
pub use rights::{AccessRole, Rights};
pub use tenant::{MailboxType, SiteKind, SiteSpec, TenantSpec, WritePath};
