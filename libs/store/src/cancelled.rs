//! Cancelled operations, whose messages may still be on the broker.

use std::{collections::HashSet, time::Duration};

use calgrant_domain::{JobId, OperationId};
use time::OffsetDateTime;

use crate::{Store, StoreError};

impl Store {
    /// Operations that are being cancelled, or were within the last `of_late`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn cancelled(
        &self,
        of_late: Duration,
        now: OffsetDateTime,
    ) -> Result<Vec<OperationId>, StoreError> {
        let connection = self.connection().await?;
        let statement = connection
            .prepare_cached("SELECT id FROM operation WHERE state IN ('cancelling', 'cancelled') AND (ended_at IS NULL OR ended_at > $1)")
            .await?;
        let rows = connection.query(&statement, &[&(now - of_late)]).await?;
        rows.iter()
            .map(|row| Ok(OperationId::from_uuid(row.try_get("id")?)))
            .collect()
    }

    /// Which of these jobs have ended, or aren't known. In the order given.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn ended(&self, jobs: &[JobId]) -> Result<Vec<bool>, StoreError> {
        let ids: Vec<_> = jobs.iter().map(JobId::as_uuid).collect();
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT id FROM job WHERE id = ANY($1) AND state || '' <> 'ended'",
                &[&ids],
            )
            .await?;
        let open: HashSet<uuid::Uuid> = rows
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<_, _>>()?;
        Ok(ids.iter().map(|id| !open.contains(id)).collect())
    }
}
