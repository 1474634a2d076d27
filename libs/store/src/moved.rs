//! Mailboxes of hybrid tenants that moved to the other site while they were waited for.

use calgrant_domain::{
    Address, Detail, JobId, Listed, OperationId, OperationState, Reading, Reason, SiteKind,
    TenantName, reading::Report,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Page, ReportedResult, Store, StoreError,
    error::retrying,
    pool::rows,
    recording::record,
    row::{parsed, small},
    standing::lock,
};

/// A mailbox that isn't there yet, or not any more, and hasn't been written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedJob {
    /// Its job.
    pub job: JobId,
    /// The operation.
    pub operation: OperationId,
    /// Whose.
    pub tenant: TenantName,
    /// Where it is waited for.
    pub site: SiteKind,
    /// By which address.
    pub address: Address,
    /// Who would receive the right at the other site.
    pub other_trustee: Address,
    /// How often it wasn't there.
    pub parks: u32,
}

impl Store {
    /// Up to `limit` of those that may have moved, after the job `after`, in the order of their ids.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn parked(&self, after: Uuid, limit: u32) -> Result<Vec<ParkedJob>, StoreError> {
        let sql = "SELECT j.id, j.operation_id, j.tenant, j.site, j.address, j.parks,
                d.trustee_addresses[CASE WHEN d.trustee_sites[1] = j.site THEN 2 ELSE 1 END] AS other_trustee
            FROM operation o JOIN delegation d ON d.id = o.delegation_id JOIN job j ON j.operation_id = o.id
            WHERE o.state IN ('listing', 'running') AND o.hold = '' AND o.kind = 'delegate' AND cardinality(d.trustee_sites) = 2
                AND j.state = 'ready' AND j.waiting = 'parked' AND j.begun_at IS NULL AND j.id > $1
            ORDER BY j.id LIMIT $2";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let found = connection
            .query(&statement, &[&after, &i64::from(limit)])
            .await?;
        found.iter().map(read).collect()
    }

    /// Records the mailbox as a job of the same operation at `page`'s site, where it lives now, and ends the one that waited.
    /// Answers whether it did: not if that has ended, or has begun to write. Harmless to repeat.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn record_moved(
        &self,
        operation: OperationId,
        job: JobId,
        page: &Page,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        if !retrying(|| self.record_moved_once(operation, job, page, now)).await? {
            return Ok(false);
        }
        let names = page
            .listed
            .iter()
            .map(|listed: &Listed| listed.name.as_str());
        let text = format!(
            "{} has moved to the {} site and is worked on there; an entry that it brought along for this site's trustee is stale",
            names.collect::<Vec<_>>().join(", "),
            page.site
        );
        let result = ReportedResult {
            job,
            operation,
            delivery: 0,
            report: Some(Report {
                reading: Reading::GaveUp(Reason::OtherSite),
                detail: Detail {
                    server_text: text,
                    ..Detail::default()
                },
            }),
            calendar: None,
            account: String::new(),
            calls: 0,
            read_at: now,
        };
        self.apply(&[result], 0.0, now).await?;
        Ok(true)
    }

    async fn record_moved_once(
        &self,
        operation: OperationId,
        job: JobId,
        page: &Page,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standings = lock(&transaction, &[operation.as_uuid()]).await?;
        let goes_on = |state| matches!(state, OperationState::Listing | OperationState::Running);
        let Some(standing) = standings
            .remove(&operation)
            .filter(|standing| goes_on(standing.state))
        else {
            return Ok(false);
        };
        // What has begun may have been written: it ends by being read.
        let waits = rows(
            &transaction,
            "SELECT 1 FROM job WHERE id = $1 AND operation_id = $2 AND state || '' <> 'ended' AND begun_at IS NULL FOR UPDATE",
            &[&job.as_uuid(), &operation.as_uuid()],
        )
        .await?;
        if waits.is_empty() {
            return Ok(false);
        }
        record(&transaction, operation, standing, page, now).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

fn read(row: &Row) -> Result<ParkedJob, StoreError> {
    Ok(ParkedJob {
        job: JobId::from_uuid(row.try_get("id")?),
        operation: OperationId::from_uuid(row.try_get("operation_id")?),
        tenant: parsed(row, "tenant")?,
        site: parsed(row, "site")?,
        address: parsed(row, "address")?,
        other_trustee: parsed(row, "other_trustee")?,
        parks: small(row, "parks")?,
    })
}
