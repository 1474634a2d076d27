//! Ending what has not begun: by a cancellation, or because the operation can't be carried out.

use calgrant_domain::{OperationId, OperationState, Outcome, Reason};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    error::retrying,
    pool::rows,
    row::jobs_of,
    standing::{Standing, lock_one, save_one},
};

/// Jobs ended in one transaction: results of the operation wait no longer for it than that takes.
const PAGE: i64 = 5000;

impl Store {
    /// Cancels an operation: ends every job that has not begun, in pages. From the first page on nothing new begins.
    /// Harmless to repeat; what is left when it is interrupted, [`Store::finish_endings`] does.
    ///
    /// # Errors
    /// There is none of this id; Postgres is away.
    pub async fn cancel(&self, id: OperationId, now: OffsetDateTime) -> Result<(), StoreError> {
        let first = retrying(|| self.start_cancelling(id, now)).await?;
        self.end_from(id, first, now).await
    }

    /// Goes on with endings that were interrupted. Answers of how many operations.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn finish_endings(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        let sql = "SELECT id FROM operation WHERE ending ORDER BY id LIMIT 100";
        let rows = self.connection().await?.query(sql, &[]).await?;
        let mut finished = 0;
        for row in rows {
            let id = OperationId::from_uuid(row.try_get("id")?);
            self.end_from(id, Some(Uuid::nil()), now).await?;
            finished += 1;
        }
        Ok(finished)
    }

    async fn start_cancelling(
        &self,
        id: OperationId,
        now: OffsetDateTime,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = lock_one(&transaction, id).await?;
        if standing.state.is_final() || standing.state == OperationState::Cancelling {
            return Ok(None);
        }
        let next = start_ending(&transaction, id, &mut standing, now).await?;
        save_one(&transaction, id, standing, now).await?;
        transaction.commit().await?;
        Ok(next)
    }

    /// Ends page after page, from the job after `after`.
    pub(crate) async fn end_from(
        &self,
        id: OperationId,
        mut after: Option<Uuid>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        while let Some(from) = after {
            after = retrying(|| self.end_more(id, from, now)).await?;
        }
        Ok(())
    }

    async fn end_more(
        &self,
        id: OperationId,
        after: Uuid,
        now: OffsetDateTime,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = lock_one(&transaction, id).await?;
        if !standing.ending {
            return Ok(None);
        }
        let next = end_page(&transaction, id, &mut standing, after, now).await?;
        save_one(&transaction, id, standing, now).await?;
        transaction.commit().await?;
        Ok(next)
    }
}

/// Takes an operation that is locked to its end: nothing new begins, and a first page of jobs ends. Answers after which job
/// the next page begins, if there is one.
pub(crate) async fn start_ending(
    transaction: &Transaction<'_>,
    id: OperationId,
    standing: &mut Standing,
    now: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    standing.state = OperationState::Cancelling;
    standing.ending = true;
    standing.waiting_for.clear();
    standing.hold = None;
    standing.listing_owner = None;
    standing.listing_until = None;
    end_page(transaction, id, standing, Uuid::nil(), now).await
}

/// Ends a page of jobs that have not begun, and counts them.
async fn end_page(
    transaction: &Transaction<'_>,
    id: OperationId,
    standing: &mut Standing,
    after: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    let reason = if standing.failure.is_empty() {
        Reason::CancelRequested
    } else {
        Reason::OperationFailed
    };
    let (first, last) = jobs_of(id);
    // Locked in the order of ids, as begins and results are. What begins meanwhile is left out by the lock's second look.
    let ended = rows(
        transaction,
        "WITH page AS (SELECT id FROM job WHERE id >= $2 AND id <= $3 AND id > $4 AND operation_id = $1 AND state || '' <> 'ended' AND begun_at IS NULL
            ORDER BY id LIMIT $5 FOR UPDATE)
        UPDATE job SET state = 'ended', outcome = 'cancelled', reason = $6, waiting = '', ended_at = $7 FROM page WHERE job.id = page.id RETURNING job.id",
        &[&id.as_uuid(), &first, &last, &after, &PAGE, &reason.as_str(), &now],
    )
    .await?;
    standing
        .counts
        .add(Outcome::Cancelled, u64::try_from(ended.len()).unwrap_or(0));
    let full = i64::try_from(ended.len()).unwrap_or(0) >= PAGE;
    standing.ending = full;
    if !full {
        return Ok(None);
    }
    let ids: Vec<Uuid> = ended
        .iter()
        .map(|row| row.try_get("id"))
        .collect::<Result<_, _>>()?;
    Ok(ids.into_iter().max())
}
