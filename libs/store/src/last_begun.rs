//! Who began last to write to a mailbox for a trustee, and what we left there.

use std::collections::HashMap;

use calgrant_domain::{
    JobId, LastBegun, Observed, OperationId, Outcome, job::Beginner, outcome::optional,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    StoreError,
    place::{Key, key},
    pool::rows,
    row::{AIM, aim, entry},
};

/// The last job that began, as far as those after it are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    stands: LastBegun,
    ended_at: Option<OffsetDateTime>,
    /// Of its operation, if it took away or put back for one.
    took_for: Option<Uuid>,
    /// What we left as the trustee's entry; `None`: nothing ever.
    pub(crate) ours: Option<Ours>,
}

/// What we left as a trustee's entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours {
    pub(crate) entry: Observed,
    /// The job that left it.
    pub(crate) by: Option<Uuid>,
}

impl Last {
    /// As a job sees it that was handed out at this time for this delegation, and has read `before` since. `takes_back`: it takes
    /// away or puts back.
    pub(crate) fn as_seen_by(
        &self,
        delegation: Uuid,
        published_at: Option<OffsetDateTime>,
        before: Observed,
        takes_back: bool,
    ) -> LastBegun {
        // Who gives a right and has read just what the last one is known to have left hasn't missed it.
        let left = self
            .ours
            .filter(|ours| ours.by == Some(self.stands.job.as_uuid()));
        let missed = takes_back || left.is_none_or(|ours| !ours.entry.same_as(before));
        let late = match (self.ended_at, published_at) {
            (Some(ended), Some(published)) => ended >= published && missed,
            _ => false,
        };
        let another = |took_for: Uuid| !took_for.is_nil() && took_for != delegation;
        LastBegun {
            settled_late: late,
            for_another: self.took_for.is_some_and(another),
            changed_by: self.ours.and_then(|ours| ours.by).map(JobId::from_uuid),
            ..self.stands
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.stands.settled
    }

    /// A job that has begun just now.
    pub(crate) fn unsettled(beginner: &Beginner, ours: Option<Ours>) -> Self {
        Self {
            stands: LastBegun {
                job: beginner.job,
                operation: beginner.operation,
                settled: false,
                settled_late: false,
                undoes: beginner.undoes,
                changed_by: None,
                for_another: false,
            },
            ended_at: None,
            took_for: None,
            ours,
        }
    }
}

/// Reads rows of `begun`, and the jobs they name.
pub(crate) async fn last_begun(
    transaction: &Transaction<'_>,
    found: &[Row],
) -> Result<HashMap<Key, Last>, StoreError> {
    let ids: Vec<Uuid> = found
        .iter()
        .map(|row| row.try_get("job_id"))
        .collect::<Result<_, _>>()?;
    let sql = format!(
        "SELECT j.id, j.state, j.ended_at, j.begun_at, j.outcome, j.reason, j.undoes, {AIM}, o.delegation_id
         FROM job j JOIN operation o ON o.id = j.operation_id WHERE j.id = ANY($1)"
    );
    let jobs: HashMap<Uuid, Row> = rows(transaction, &sql, &[&ids])
        .await?
        .into_iter()
        .map(|row| Ok((row.try_get("id")?, row)))
        .collect::<Result<_, StoreError>>()?;
    let mut last = HashMap::with_capacity(found.len());
    for row in found {
        let id: Uuid = row.try_get("job_id")?;
        last.insert(key(row)?, read(row, jobs.get(&id))?);
    }
    Ok(last)
}

/// A row of `begun` (its `operation_id`, `job_id`, `ours`, `ours_by` and `known_of`) and its job, which history may have lost.
fn read(row: &Row, job: Option<&Row>) -> Result<Last, StoreError> {
    let id: Uuid = row.try_get("job_id")?;
    let stored = match row.try_get::<_, Option<&str>>("ours")? {
        None => None,
        Some(_) => Some(Ours {
            entry: entry(row, "ours")?,
            by: row.try_get("ours_by")?,
        }),
    };
    let mut last = Last {
        stands: LastBegun {
            job: JobId::from_uuid(id),
            operation: OperationId::from_uuid(row.try_get("operation_id")?),
            settled: true,
            settled_late: false,
            undoes: None,
            changed_by: None,
            for_another: false,
        },
        ended_at: None,
        took_for: None,
        ours: stored,
    };
    let Some(job) = job else { return Ok(last) };
    let begun = job
        .try_get::<_, Option<OffsetDateTime>>("begun_at")?
        .is_some();
    // Who only asked stands there too, but has nothing to settle.
    last.stands.settled = job.try_get::<_, &str>("state")? == "ended" || !begun;
    last.stands.undoes = job
        .try_get::<_, Option<Uuid>>("undoes")?
        .map(JobId::from_uuid);
    last.ended_at = job.try_get("ended_at")?;
    let (aim, outcome) = (aim(job)?, optional::<Outcome>(job.try_get("outcome")?)?);
    if aim.always_begins() {
        last.took_for = Some(job.try_get("delegation_id")?);
    }
    let known = row.try_get::<_, Option<Uuid>>("known_of")? == Some(id);
    let told = outcome.filter(|_| begun && !known);
    let reason = optional(job.try_get("reason")?)?;
    if let Some((outcome, entry)) =
        told.and_then(|outcome| Some((outcome, aim.left(outcome, reason)?)))
    {
        let before = last.ours.and_then(|ours| ours.by);
        let by = if outcome == Outcome::Unchanged {
            before
        } else {
            Some(id)
        };
        last.ours = Some(Ours { entry, by });
    }
    Ok(last)
}
