//! A job as a worker receives it, and the point where the order of writes is decided.

use crate::{
    Address, Aim, Calendar, JobId, MailboxId, Observed, OperationId, SiteKind, TenantName,
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
    /// What it is to bring about.
    pub aim: Aim,
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
        /// Another job's write to this mailbox isn't settled yet, or the operation waits for a person: try again shortly.
        Unsettled = "unsettled",
        /// Another delegation wants the right that would be taken away.
        Kept = "kept",
        /// Another operation has written since the one that is to be undone.
        Overtaken = "overtaken",
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
    /// Whether its operation waits for a person.
    pub held: bool,
    /// Whether it has begun before.
    pub begun: bool,
    /// Whether it takes away or puts back: then it must have read after everything that was written before.
    pub takes_back: bool,
    /// The job whose change it undoes.
    pub undoes: Option<JobId>,
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
    /// Whether that was after the job that asks had been handed out, so that it may have read too early.
    pub settled_late: bool,
    /// The job whose change it undid.
    pub undoes: Option<JobId>,
    /// The job that changed our entry last, if one did: this one, or one before it where this one changed nothing.
    pub changed_by: Option<JobId>,
    /// Whether it took away or put back what another delegation than the asker's had given: that says nothing about what
    /// the asker's wants.
    pub for_another: bool,
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
    if asks.held && !asks.begun {
        return Err(BeginRefusal::Unsettled);
    }
    match last {
        Some(last) if last.job == asks.job => Ok(()),
        Some(last) if last.operation > asks.operation && !last.for_another => {
            Err(BeginRefusal::Superseded)
        }
        Some(last) if !last.settled => Err(BeginRefusal::Unsettled),
        Some(last) if last.settled_late => Err(BeginRefusal::Unsettled),
        // Undone once already, or for the first time.
        Some(last) if asks.undoes.is_some() => {
            let expected = asks.undoes == last.changed_by || asks.undoes == last.undoes;
            if expected {
                Ok(())
            } else {
                Err(BeginRefusal::Overtaken)
            }
        }
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
            held: false,
            begun: false,
            takes_back: false,
            undoes: None,
        };
        let last = |job, operation, settled| LastBegun {
            job: JobId::from_uuid(id(job)),
            operation: OperationId::from_uuid(id(operation)),
            settled,
            settled_late: false,
            undoes: None,
            changed_by: Some(JobId::from_uuid(id(job))),
            for_another: false,
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
        let held = Beginner { held: true, ..asks };
        assert_eq!(may_begin(&held, None), Err(BeginRefusal::Unsettled));
        let half_done = Beginner {
            begun: true,
            ..held
        };
        assert_eq!(may_begin(&half_done, Some(&last(5, 50, false))), Ok(()));
        // A later revocation of what another delegation gave doesn't decide about this one.
        let another = |settled| LastBegun {
            for_another: true,
            ..last(6, 60, settled)
        };
        assert_eq!(may_begin(&asks, Some(&another(true))), Ok(()));
        assert_eq!(
            may_begin(&asks, Some(&another(false))),
            Err(BeginRefusal::Unsettled)
        );
    }

    #[test]
    fn who_takes_back_has_read_everything_and_undoes_only_the_last_change() {
        let id = |number| JobId::from_uuid(uuid::Uuid::from_u128(number));
        let operation = |number| OperationId::from_uuid(uuid::Uuid::from_u128(number));
        let revokes = Beginner {
            job: id(5),
            operation: operation(50),
            ended: false,
            operation_over: false,
            held: false,
            begun: false,
            takes_back: true,
            undoes: None,
        };
        let undoes = Beginner {
            undoes: Some(id(3)),
            ..revokes
        };
        let last = |job, settled_late, undoes| LastBegun {
            job: id(job),
            operation: operation(40),
            settled: true,
            settled_late,
            undoes,
            changed_by: Some(id(job)),
            for_another: false,
        };
        for (asks, last, want) in [
            (revokes, last(4, false, None), Ok(())),
            (revokes, last(4, true, None), Err(BeginRefusal::Unsettled)),
            (undoes, last(3, false, None), Ok(())),
            (undoes, last(3, true, None), Err(BeginRefusal::Unsettled)),
            (undoes, last(4, false, None), Err(BeginRefusal::Overtaken)),
            // An undoing of the same before it, which may have failed.
            (undoes, last(4, false, Some(id(3))), Ok(())),
            (
                undoes,
                last(4, false, Some(id(2))),
                Err(BeginRefusal::Overtaken),
            ),
        ] {
            assert_eq!(may_begin(&asks, Some(&last)), want, "{last:?}");
        }
    }
}
