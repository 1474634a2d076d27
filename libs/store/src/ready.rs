//! From rows to the broker: ready jobs are claimed in windows, and come back if they can't be published.

use std::time::Duration;

use calgrant_domain::{Calendar, Job, JobId, Lane, MailboxId, OperationId};
use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::{
    Store, StoreError,
    row::{parsed, small},
};

/// A job to publish.
#[derive(Debug, Clone)]
pub struct ReadyJob {
    /// What to publish.
    pub job: Job,
    /// Where.
    pub lane: Lane,
    /// Trace of the request.
    pub traceparent: String,
}

/// Serialises the claims of one tenant's lane, so that two never fill a window twice.
const CLAIM_LOCK: i32 = 0x6a6f;

impl Store {
    /// Claims ready jobs: for each tenant and lane what its window of `window` has room for, drawn evenly from its running
    /// operations, interactive ones first, `limit` in all.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_ready(
        &self,
        limit: u32,
        window: u32,
        now: OffsetDateTime,
    ) -> Result<Vec<ReadyJob>, StoreError> {
        let mut connection = self.connection().await?;
        let lanes = connection.query("SELECT DISTINCT tenant, lane FROM operation WHERE state IN ('listing', 'running', 'cancelling') ORDER BY lane DESC, tenant", &[]).await?;
        let mut claimed = Vec::new();
        for row in lanes {
            let left = i64::from(limit) - i64::try_from(claimed.len()).unwrap_or(i64::MAX);
            if left <= 0 {
                break;
            }
            let (tenant, lane): (String, String) = (row.try_get("tenant")?, row.try_get("lane")?);
            let transaction = connection.transaction().await?;
            let ours: bool = transaction
                .query_one(
                    "SELECT pg_try_advisory_xact_lock($1, hashtext($2 || '/' || $3))",
                    &[&CLAIM_LOCK, &tenant, &lane],
                )
                .await?
                .get(0);
            if !ours {
                continue;
            }
            let published: i64 = transaction.query_one("SELECT count(*) FROM job WHERE tenant = $1 AND lane = $2 AND state = 'published'", &[&tenant, &lane]).await?.get(0);
            let room = (i64::from(window) - published).min(left);
            if room <= 0 {
                continue;
            }
            // A rank within each operation, so that every one of them gives its first before any gives its second.
            let rows = transaction.query("WITH drawn AS (
                    SELECT ready.id, ready.rank FROM operation o CROSS JOIN LATERAL (
                        SELECT id, row_number() OVER (ORDER BY not_before, id) AS rank FROM (
                            SELECT id, not_before FROM job WHERE operation_id = o.id AND state = 'ready' AND not_before <= $3 ORDER BY not_before, id LIMIT $4 FOR UPDATE SKIP LOCKED) oldest
                    ) ready WHERE o.tenant = $1 AND o.lane = $2 AND o.state IN ('listing', 'running', 'cancelling') ORDER BY ready.rank LIMIT $4)
                UPDATE job SET state = 'published', published_at = $3, waiting = '', delivery = delivery + 1 FROM drawn WHERE job.id = drawn.id
                RETURNING job.*, (SELECT folder_id FROM mailbox m WHERE m.tenant = job.tenant AND m.id = job.mailbox) AS folder_id,
                    (SELECT folder_path FROM mailbox m WHERE m.tenant = job.tenant AND m.id = job.mailbox) AS folder_path,
                    (SELECT traceparent FROM operation o WHERE o.id = job.operation_id) AS traceparent",
                &[&tenant, &lane, &now, &room]).await?;
            transaction.commit().await?;
            for row in &rows {
                claimed.push(read(row)?);
            }
        }
        Ok(claimed)
    }

    /// Puts jobs back that could not be published.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn give_back(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        let ids: Vec<_> = jobs.iter().map(JobId::as_uuid).collect();
        self.connection()
            .await?
            .execute(
                "UPDATE job SET state = 'ready' WHERE id = ANY($1) AND state = 'published'",
                &[&ids],
            )
            .await?;
        Ok(())
    }

    /// Makes jobs ready again that were published longer ago than `limit`: their message is lost, or will be a harmless repeat.
    /// Answers how many.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn take_back_overdue(
        &self,
        limit: Duration,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        Ok(self.connection().await?.execute("UPDATE job SET state = 'ready', not_before = $2 WHERE id IN (SELECT id FROM job WHERE state = 'published' AND published_at < $1 LIMIT 5000 FOR UPDATE SKIP LOCKED)", &[&(now - limit), &now]).await?)
    }
}

fn read(row: &Row) -> Result<ReadyJob, StoreError> {
    let calendar = match (
        row.try_get::<_, Option<String>>("folder_id")?,
        row.try_get::<_, Option<String>>("folder_path")?,
    ) {
        (Some(folder_id), Some(path)) => Some(Calendar { folder_id, path }),
        _ => None,
    };
    let job = Job {
        id: JobId::from_uuid(row.try_get("id")?),
        operation: OperationId::from_uuid(row.try_get("operation_id")?),
        tenant: parsed(row, "tenant")?,
        site: parsed(row, "site")?,
        mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
        address: parsed(row, "address")?,
        calendar,
        licensed: row.try_get("licensed")?,
        trustee: parsed(row, "trustee")?,
        role: parsed(row, "role")?,
        lower_higher: row.try_get("lower_higher")?,
        validate_only: row.try_get("validate_only")?,
        phase: parsed(row, "phase")?,
        delivery: small(row, "delivery")?,
    };
    Ok(ReadyJob {
        lane: parsed(row, "lane")?,
        traceparent: row.try_get("traceparent")?,
        job,
    })
}
