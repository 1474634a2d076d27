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

/// What is known of a job that asks to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginner {
    /// The job.
    pub job: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// Whether it has ended, or may never write.
    pub ended: bool,
    /// Whether its operation starts no writes any more.
    pub operation_over: bool,
    /// Whether it has begun before.
    pub begun: bool,
}

/// The last job that began to write to a mailbox for a trustee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastBegun {
    /// The job.
    pub job: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// Whether it has ended since.
    pub settled: bool,
}

/// Whether a job that asks may ever write, whoever began before.
///
/// # Errors
/// It may not.
pub fn may_write(asks: &Beginner) -> Result<(), BeginRefusal> {
    if asks.ended || (asks.operation_over && !asks.begun) {
        Err(BeginRefusal::Ended)
    } else {
        Ok(())
    }
}

/// Whether a job may write to its mailbox now. Later operations win; a write that is not settled is waited for.
///
/// # Errors
/// It may not.
pub fn may_begin(asks: &Beginner, last: Option<&LastBegun>) -> Result<(), BeginRefusal> {
    may_write(asks)?;
    match last {
        Some(last) if last.job == asks.job => Ok(()),
        Some(last) if last.operation > asks.operation => Err(BeginRefusal::Superseded),
        Some(last) if !last.settled => Err(BeginRefusal::Unsettled),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_operations_win_and_unsettled_writes_are_waited_for() {
        let id = uuid::Uuid::from_u128;
        let asks = Beginner {
            job: JobId::from_uuid(id(5)),
            operation: OperationId::from_uuid(id(50)),
            ended: false,
            operation_over: false,
            begun: false,
        };
        let last = |job, operation, settled| LastBegun {
            job: JobId::from_uuid(id(job)),
            operation: OperationId::from_uuid(id(operation)),
            settled,
        };
        for (last, want) in [
            (None, Ok(())),
            (Some(last(5, 50, false)), Ok(())),
            (Some(last(4, 40, true)), Ok(())),
            (Some(last(4, 40, false)), Err(BeginRefusal::Unsettled)),
            (Some(last(6, 60, true)), Err(BeginRefusal::Superseded)),
            (Some(last(6, 60, false)), Err(BeginRefusal::Superseded)),
        ] {
            assert_eq!(may_begin(&asks, last.as_ref()), want, "{last:?}");
        }
        let over = Beginner {
            operation_over: true,
            ..asks
        };
        assert_eq!(may_begin(&over, None), Err(BeginRefusal::Ended));
        let begun = Beginner {
            begun: true,
            ..over
        };
        assert_eq!(may_begin(&begun, Some(&last(5, 50, false))), Ok(()));
        let ended = Beginner {
            ended: true,
            ..begun
        };
        assert_eq!(may_begin(&ended, None), Err(BeginRefusal::Ended));
    }
}
