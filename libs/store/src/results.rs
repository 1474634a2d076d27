//! Results: what workers read becomes what happened, with its counts, in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use calgrant_domain::{
    Calendar, JobId, Next, Observed, OperationId, Outcome, Phase, Reading, Waiting,
    reading::{Ended, Known, Report},
    settle,
};
use time::OffsetDateTime;
use tokio_postgres::{Row, Transaction};

use crate::{
    Store, StoreError,
    events::changed,
    row::{before, duration, int, parsed, small},
};

/// What a worker reported.
#[derive(Debug, Clone)]
pub struct ReportedResult {
    /// The job.
    pub job: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// What was read; `None` when no worker took it in time.
    pub report: Option<Report>,
    /// The calendar, if it was found.
    pub calendar: Option<Calendar>,
    /// Who did it.
    pub account: String,
    /// Calls it took.
    pub calls: u32,
    /// When it was read.
    pub read_at: OffsetDateTime,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is recorded, or its job had ended already.
    Recorded,
    /// No job of this id is known.
    Unknown,
}

impl Store {
    /// Applies results together: all or none. In the order given. `roll` in `[0, 1)` spreads retries.
    ///
    /// # Errors
    /// Postgres is away, or what is stored can't be read: then apply them one by one.
    pub async fn apply(
        &self,
        results: &[ReportedResult],
        roll: f64,
        now: OffsetDateTime,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        // Operations before jobs, both in the order of ids: as a cancellation locks them.
        let operations: BTreeSet<_> = results
            .iter()
            .map(|result| result.operation.as_uuid())
            .collect();
        let operations: Vec<_> = operations.into_iter().collect();
        transaction
            .query(
                "SELECT id FROM operation WHERE id = ANY($1) ORDER BY id FOR UPDATE",
                &[&operations],
            )
            .await?;
        let mut applied = Vec::with_capacity(results.len());
        let mut ended: BTreeMap<OperationId, BTreeMap<Outcome, i64>> = BTreeMap::new();
        for result in results {
            let row = transaction.query_opt("SELECT j.*, s.park_first_millis, s.park_limit_millis FROM job j LEFT JOIN site s ON s.tenant = j.tenant AND s.kind = j.site WHERE j.id = $1 FOR UPDATE OF j", &[&result.job.as_uuid()]).await?;
            let Some(row) = row else {
                applied.push(Applied::Unknown);
                continue;
            };
            applied.push(Applied::Recorded);
            if row.try_get::<_, &str>("state")? == "ended" {
                // The first final outcome stands, whoever speaks later.
                continue;
            }
            if let Some(outcome) = record(&transaction, &row, result, roll, now).await? {
                *ended
                    .entry(OperationId::from_uuid(row.try_get("operation_id")?))
                    .or_default()
                    .entry(outcome)
                    .or_default() += 1;
            }
        }
        for (operation, outcomes) in ended {
            for (outcome, more) in outcomes {
                // The column is named by the outcome's own word.
                transaction
                    .execute(
                        &format!("UPDATE operation SET {outcome} = {outcome} + $2 WHERE id = $1"),
                        &[&operation.as_uuid(), &more],
                    )
                    .await?;
            }
            changed(&*transaction, operation, now).await?;
        }
        transaction.commit().await?;
        Ok(applied)
    }
}

/// Records one result. Answers the outcome if the job ended by it.
async fn record(
    transaction: &Transaction<'_>,
    row: &Row,
    result: &ReportedResult,
    roll: f64,
    now: OffsetDateTime,
) -> Result<Option<Outcome>, StoreError> {
    let id = result.job.as_uuid();
    if let Some(calendar) = &result.calendar {
        transaction
            .execute(
                "UPDATE mailbox SET folder_id = $3, folder_path = $4 WHERE tenant = $1 AND id = $2",
                &[
                    &row.try_get::<_, &str>("tenant")?,
                    &row.try_get::<_, uuid::Uuid>("mailbox")?,
                    &calendar.folder_id,
                    &calendar.path,
                ],
            )
            .await?;
    }
    let Some(report) = &result.report else {
        transaction.execute("UPDATE job SET state = 'ready', not_before = $2, waiting = 'returned' WHERE id = $1", &[&id, &now]).await?;
        return Ok(None);
    };
    let detail = &report.detail;
    match settle(&known(row, now)?, &report.reading, roll) {
        Next::End(Ended { outcome, reason }) => {
            transaction.execute("UPDATE job SET state = 'ended', outcome = $2, reason = $3, server_code = $4, server_text = $5, request_id = $6, account = $7, calls = calls + $8, ended_at = $9, waiting = '' WHERE id = $1",
                &[&id, &outcome.as_str(), &reason.map_or("", calgrant_domain::Reason::as_str), &detail.server_code, &detail.server_text, &detail.request_id, &result.account, &int(result.calls), &now]).await?;
            if !row.try_get::<_, bool>("validate_only")? {
                know(
                    transaction,
                    row,
                    result,
                    &report.reading,
                    outcome,
                    reason.map_or("", calgrant_domain::Reason::as_str),
                )
                .await?;
            }
            Ok(Some(outcome))
        }
        Next::Again { after, why, phase } => {
            let one = |is: Waiting| i32::from(why == is);
            let phase = if phase == Phase::Prove {
                Phase::Prove
            } else {
                Phase::Grant
            };
            transaction.execute("UPDATE job SET state = 'ready', not_before = $2, waiting = $3, phase = $4, attempts = attempts + $5, parks = parks + $6, proofs = proofs + $7,
                    server_code = $8, server_text = $9, request_id = $10, account = $11, calls = calls + $12 WHERE id = $1",
                &[&id, &(now + after), &why.as_str(), &phase.as_str(), &one(Waiting::Retry), &one(Waiting::Parked), &one(Waiting::Proof), &detail.server_code, &detail.server_text, &detail.request_id, &result.account, &int(result.calls)]).await?;
            Ok(None)
        }
    }
}

fn known(row: &Row, now: OffsetDateTime) -> Result<Known, StoreError> {
    let accepted_at: OffsetDateTime = row.try_get("accepted_at")?;
    Ok(Known {
        wanted: parsed(row, "role")?,
        lower_higher: row.try_get("lower_higher")?,
        validate_only: row.try_get("validate_only")?,
        before: before(row)?,
        attempts: small(row, "attempts")?,
        parks: small(row, "parks")?,
        proofs: small(row, "proofs")?,
        age: Duration::try_from(now - accepted_at).unwrap_or_default(),
        // Without its site the mailbox isn't waited for any longer.
        park_first: duration(
            row.try_get::<_, Option<i64>>("park_first_millis")?
                .unwrap_or(0),
        ),
        park_limit: duration(
            row.try_get::<_, Option<i64>>("park_limit_millis")?
                .unwrap_or(0),
        ),
    })
}

/// Keeps what is now known of the trustee's right to the mailbox.
async fn know(
    transaction: &Transaction<'_>,
    row: &Row,
    result: &ReportedResult,
    reading: &Reading,
    outcome: Outcome,
    reason: &str,
) -> Result<(), StoreError> {
    let granted = matches!(
        outcome,
        Outcome::Added | Outcome::Updated | Outcome::Unchanged | Outcome::LeftHigher
    );
    let (role, read_at) = match reading {
        Reading::Seen(Observed::Present(rights)) | Reading::Wrote(Observed::Present(rights)) => {
            (rights.to_string(), Some(result.read_at))
        }
        Reading::Seen(Observed::Absent) | Reading::Wrote(Observed::Absent) => {
            (String::new(), Some(result.read_at))
        }
        _ => (String::new(), None),
    };
    transaction.execute("INSERT INTO access (tenant, mailbox, trustee, state, role, verified_at, reason, operation_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, mailbox, trustee) DO UPDATE SET state = EXCLUDED.state, role = EXCLUDED.role, verified_at = COALESCE(EXCLUDED.verified_at, access.verified_at), reason = EXCLUDED.reason, operation_id = EXCLUDED.operation_id
        WHERE access.operation_id <= EXCLUDED.operation_id",
        &[&row.try_get::<_, &str>("tenant")?, &row.try_get::<_, uuid::Uuid>("mailbox")?, &row.try_get::<_, &str>("trustee")?, &if granted { "granted" } else { "not_granted" }, &role, &read_at, &reason, &row.try_get::<_, uuid::Uuid>("operation_id")?]).await?;
    Ok(())
}
