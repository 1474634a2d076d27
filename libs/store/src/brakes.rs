//! What stops an operation until a person lets it go on, and that person's word.

use std::collections::{BTreeMap, HashMap};

use calgrant_domain::{Hold, JobId, OperationId, OperationState, Outcome, brake};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Store, StoreError, alerts,
    error::retrying,
    pool::{rows, run},
    results::Settling,
    row::{count, jobs_of, long, parsed},
    standing::{Standing, lock_one, save_one},
};

/// Somebody's word that an operation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What had stopped it.
    pub hold: Hold,
    /// Who said so.
    pub released_by: String,
    /// Reference to a ticket.
    pub ticket: String,
    /// When.
    pub released_at: OffsetDateTime,
}

/// Counts failures by their reasons, and stops operations of which too many fail alike.
pub(crate) async fn failed(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
    standings: &mut BTreeMap<OperationId, Standing>,
) -> Result<(), StoreError> {
    let mut failures: BTreeMap<(Uuid, &str), u64> = BTreeMap::new();
    for job in jobs.values() {
        let failed = job
            .ended
            .as_ref()
            .is_some_and(|end| matches!(end.outcome, Outcome::Failed | Outcome::Unconfirmed));
        if failed {
            *failures
                .entry((job.operation.as_uuid(), job.reason()))
                .or_default() += 1;
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let (operations, reasons): (Vec<_>, Vec<_>) = failures.keys().copied().unzip();
    let more: Vec<_> = failures.values().map(|more| long(*more)).collect();
    let found = rows(
        transaction,
        "INSERT INTO operation_failure AS f (operation_id, reason, failed)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
         ON CONFLICT (operation_id, reason) DO UPDATE SET failed = f.failed + EXCLUDED.failed
         RETURNING f.operation_id, f.reason, f.failed, f.passed",
        &[&operations, &reasons, &more],
    )
    .await?;
    for row in &found {
        let id = OperationId::from_uuid(row.try_get("operation_id")?);
        let Some(standing) = standings.get_mut(&id) else {
            continue;
        };
        let goes = matches!(
            standing.state,
            OperationState::Listing | OperationState::Running
        );
        let (failed, passed) = (count(row, "failed")?, count(row, "passed")?);
        let accepted = standing.counts.accepted;
        if goes
            && standing.hold.is_none()
            && brake::fails_alike(failed - passed.min(failed), accepted)
        {
            let reason: &str = row.try_get("reason")?;
            let why =
                format!("{failed} of {accepted} mailboxes failed for the same reason, {reason}");
            standing.stop(id, Hold::FailsAlike, &why);
        }
    }
    Ok(())
}

/// What an operation takes away, what others of its tenant took away of late without a person's word, and what there is.
const TAKEN: &str = "SELECT (SELECT count(*) FROM job WHERE id >= $2 AND id <= $3 AND operation_id = $1 AND state <> 'ended' AND aim = 'put_back'
        AND left_rights <> '' AND NOT validate_only) AS taken,
    (SELECT COALESCE(sum(o.accepted - o.refused - o.failed - o.unchanged - o.cancelled - o.kept_by - o.left_changed_since - o.restored), 0)::bigint
        FROM operation o WHERE o.tenant = own.tenant AND o.id < own.id AND o.kind IN ('revoke', 'undo') AND o.state IN ('running', 'done')
            AND o.hold = '' AND NOT o.validate_only AND o.created_at > GREATEST(own.created_at - interval '1 hour', (SELECT max(r.released_at)
                FROM operation_release r JOIN operation released ON released.id = r.operation_id
                WHERE released.tenant = own.tenant AND r.hold = 'revokes_many'))) AS of_late,
    (SELECT count(*) FROM (SELECT DISTINCT c.mailbox, c.trustee FROM coverage c WHERE c.tenant = own.tenant AND c.state <> 'released') AS grants)
        AS grants
    FROM operation own WHERE own.id = $1";

/// Stops an operation whose mailboxes are all listed if it would take away too much, alone or with others of the last hour: a
/// burst of leavers is as bad as one large run. From a person's word on it is counted anew.
pub(crate) async fn revokes(
    transaction: &Transaction<'_>,
    id: OperationId,
    standing: &mut Standing,
) -> Result<(), StoreError> {
    let (first, last) = jobs_of(id);
    for row in &rows(transaction, TAKEN, &[&id.as_uuid(), &first, &last]).await? {
        let (taken, of_late) = (count(row, "taken")?, count(row, "of_late")?);
        // What others have taken away already was there too.
        let grants = count(row, "grants")? + of_late;
        if taken > 0 && brake::revokes_many(taken + of_late, grants) {
            let others = match of_late {
                0 => String::new(),
                some => format!(", after {some} within the last hour"),
            };
            let why = format!("it would take away {taken} of the tenant's {grants} grants{others}");
            standing.stop(id, Hold::RevokesMany, &why);
        }
    }
    Ok(())
}

impl Store {
    /// Lets an operation go on that a brake has stopped.
    ///
    /// # Errors
    /// There is none of this id; nothing has stopped it; Postgres is away.
    pub async fn release(
        &self,
        id: OperationId,
        by: &str,
        ticket: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        retrying(|| self.release_once(id, by, ticket, now)).await
    }

    async fn release_once(
        &self,
        id: OperationId,
        by: &str,
        ticket: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = lock_one(&transaction, id).await?;
        let Some(hold) = standing.hold.take() else {
            return Err(StoreError::NotHeld);
        };
        standing.waiting_for.clear();
        let sql = "INSERT INTO operation_release (operation_id, hold, released_by, ticket, released_at) VALUES ($1, $2, $3, $4, $5)";
        run(
            &transaction,
            sql,
            &[&id.as_uuid(), &hold.as_str(), &by, &ticket, &now],
        )
        .await?;
        match hold {
            Hold::RevokesMany => {}
            // What is known to fail is let pass; more of it isn't.
            Hold::FailsAlike => {
                let sql = "UPDATE operation_failure SET passed = failed WHERE operation_id = $1";
                run(&transaction, sql, &[&id.as_uuid()]).await?;
            }
            Hold::Canary => (standing.canary, standing.held_back) = (0, 0),
        }
        alerts::released(&transaction, id, by, ticket, now).await?;
        save_one(&transaction, id, standing, now).await?;
        Ok(transaction.commit().await?)
    }

    /// Who let an operation go on, oldest first.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn releases(&self, id: OperationId) -> Result<Vec<Release>, StoreError> {
        let sql = "SELECT hold, released_by, ticket, released_at FROM operation_release WHERE operation_id = $1 ORDER BY released_at";
        let found = self
            .connection()
            .await?
            .query(sql, &[&id.as_uuid()])
            .await?;
        found
            .iter()
            .map(|row| {
                Ok(Release {
                    hold: parsed(row, "hold")?,
                    released_by: row.try_get("released_by")?,
                    ticket: row.try_get("ticket")?,
                    released_at: row.try_get("released_at")?,
                })
            })
            .collect()
    }
}
