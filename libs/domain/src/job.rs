//! A job as a worker receives it, and the point where the order of writes is decided.

use crate::{
    AccessRole, Address, Calendar, JobId, MailboxId, Observed, OperationId, SiteKind, TenantName,
    outcome::words,
};

words!(
    /// What is to be done next for a job.
    Phase {
        /// Read, compare, and write if needed.
        Grant = "grant",
        /// It was written; read until the change shows.
        Prove = "prove",
    }
);

/// One mailbox of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// How cmdlets name it.
    pub address: Address,
    /// Its calendar folder, when it is known from before.
    pub calendar: Option<Calendar>,
    /// Whether the directory shows a mailbox licence, where the listing said.
    pub licensed: Option<bool>,
    /// Who receives the right.
    pub trustee: Address,
    /// The right.
    pub role: AccessRole,
    /// Whether a higher right is lowered.
    pub lower_higher: bool,
    /// Only find out what would be done.
    pub validate_only: bool,
    /// What is next.
    pub phase: Phase,
    /// How often it was handed out already.
    pub delivery: u32,
}

/// What a worker asks before its first write to a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// The job.
    pub job: JobId,
    /// The trustee's entry as it was read just now.
    pub before: Observed,
}

words!(
    /// Why a job may not write.
    BeginRefusal {
        /// It has ended, by cancellation or otherwise: forget it.
        Ended = "ended",
        /// A job of a later operation has begun on the same mailbox and trustee: that one decides.
        Superseded = "superseded",
        /// Another job's write to this mailbox isn't settled yet: try again shortly.
        Unsettled = "unsettled",
    }
);
