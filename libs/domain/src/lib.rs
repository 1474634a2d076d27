//! What Calgrant talks about: ids, names, rights, delegations, operations, jobs and their moves.
//!
//! Values and pure functions only. Nothing here does I/O, waits, reads a clock, or knows how a value
//! is written on a wire or in a database.

pub mod access;
pub mod account;
pub mod address;
pub mod aim;
pub mod alert;
pub mod application;
pub mod assumed;
pub mod bad_input;
pub mod brake;
pub mod counts;
pub mod dead_letter;
pub mod decide;
pub mod delays;
pub mod delegation;
pub mod directory_object;
pub mod draw;
pub mod event;
pub mod expiry;
pub mod id;
pub mod job;
pub mod keep;
pub mod mailbox;
pub mod name;
pub mod operation;
pub mod outcome;
pub mod permission_list;
pub mod preflight;
pub mod reading;
pub mod retention;
pub mod rights;
pub mod setup;
pub mod site;
pub mod tenant;
pub mod watch;
pub mod whereabouts;

pub use access::AccessChange;
pub use account::{
    AccountName, AccountSpec, AccountStand, CallWindow, Credential, Limits, Purpose, SecretRef,
    ServerTime, SharedLimits,
};
pub use address::Address;
pub use aim::{Aim, Write};
pub use alert::AlertKind;
pub use application::{ApplicationScope, Authorization, Consent};
pub use assumed::ThrottlingPolicy;
pub use bad_input::BadInput;
pub use brake::Hold;
pub use counts::Counts;
pub use dead_letter::DeadCause;
pub use decide::{Decision, Observed, decide};
pub use delegation::{Confined, DelegationSpec, Policy, Selector, Trustee};
pub use directory_object::{
    GroupChange, GroupFound, GroupKind, GroupMemberFound, LicenceFound, MailboxFound, NewGroup,
    NewUser, Password, PlanFound, SkuFound, UserChange, UserFound,
};
pub use event::{EventKind, EventMoment, EventVerdict};
pub use id::{AlertId, DeadLetterId, DelegationId, JobId, ListId, MailboxId, OperationId, SetupId};
pub use job::{Begin, BeginRefusal, Beginner, Job, LastBegun, Phase};
pub use keep::{Drift, Joiners, Keeping, KeptRun, Leavers};
pub use mailbox::{Calendar, Listed, Mailbox};
pub use name::{Caller, TenantName};
pub use operation::{Lane, OperationFailure, OperationKind, OperationState};
pub use outcome::{Detail, Outcome, Reason};
pub use permission_list::{Change, PermissionList};
pub use preflight::{Finding, Held};
pub use reading::{Ended, Next, Reading, Waiting, settle};
pub use retention::{CutOffs, Kept, Retention};
pub use rights::{AccessRole, Rights};
pub use setup::{Setting, SetupAim, SetupSpec, Step};
pub use site::{
    BudgetKey, DisabledAccounts, Interface, MailboxAccess, OnlineSite, OnpremSite, OnpremWritePath,
    Organisation, SignInKind, SiteKind, SiteSpec, TokenIssuer, WritePath,
};
pub use tenant::{MailboxType, TenantSpec};
pub use watch::{Concern, GroupMember, GroupSeen, Joining, Managed};
