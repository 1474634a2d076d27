//! Forgetting what is old, in small pieces: each is a transaction of its own that locks little and not for long. Several
//! processes may forget at the same time; what one has locked the others pass by.

use calgrant_domain::{
    OperationId,
    retention::{Trace, is_needed, look_again},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    pool::{rows, run},
    row::{jobs_of, long},
};

/// Operations whose changes go in one piece: some 2,000 rows each at the most.
const OPERATIONS: i64 = 5;

/// A piece of what was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows that are gone.
    pub rows: u64,
    /// Whether there may be more to forget.
    pub more: bool,
}

impl Forgotten {
    /// Of a piece of at most `limit` rows.
    pub(crate) fn of(rows: u64, limit: u32) -> Self {
        Self {
            rows,
            more: rows >= u64::from(limit),
        }
    }
}

/// An operation whose history is looked through.
struct Old {
    id: OperationId,
    /// The last job that was looked at.
    to: Uuid,
}

impl Store {
    /// Forgets at most `limit` ids of requests from before `before`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_requests(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM request WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM request WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.forget(sql, before, limit).await
    }

    /// Forgets the numbered changes of some operations that ended before `before`: of each all, so that there is no gap for
    /// those who watch.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_changes(&self, before: OffsetDateTime) -> Result<Forgotten, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let old = rows(
            &transaction,
            "WITH old AS (SELECT id FROM operation WHERE changes_kept AND ended_at < $1 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE operation SET changes_kept = false FROM old WHERE operation.id = old.id RETURNING operation.id",
            &[&before, &OPERATIONS],
        )
        .await?;
        let ids = old
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<Vec<Uuid>, _>>()?;
        let sql = "DELETE FROM operation_event WHERE operation_id = ANY($1)";
        let gone = run(&transaction, sql, &[&ids]).await?;
        transaction.commit().await?;
        Ok(Forgotten {
            rows: gone,
            more: i64::try_from(ids.len()).unwrap_or(0) >= OPERATIONS,
        })
    }

    /// Looks through at most `limit` jobs of an operation that ended before `before`, and forgets those of them that nothing
    /// which stands rests on; the operation too, with the last of its jobs.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_history(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let Some(old) = lock_old(&transaction, before).await? else {
            return Ok(Forgotten {
                rows: 0,
                more: false,
            });
        };
        let page = jobs(&transaction, &old, limit).await?;
        let mut gone = Vec::with_capacity(page.len());
        for row in &page {
            if !is_needed(trace(row)?) {
                gone.push(row.try_get::<_, Uuid>("id")?);
            }
        }
        let sql = "DELETE FROM job WHERE id = ANY($1)";
        let mut forgotten = run(&transaction, sql, &[&gone]).await?;
        let full = page.len() >= limit as usize;
        let last: Option<Uuid> = page.last().map(|row| row.try_get("id")).transpose()?;
        if !full && is_empty(&transaction, old.id).await? {
            forgotten += forget_operation(&transaction, old.id).await?;
        } else {
            let to = last.filter(|_| full);
            let from = (!full).then(|| look_again(before));
            let sql = "UPDATE operation SET forgotten = forgotten + $2, forgotten_to = $3, forget_from = COALESCE($4, forget_from) WHERE id = $1";
            let more = long(forgotten);
            run(&transaction, sql, &[&old.id.as_uuid(), &more, &to, &from]).await?;
        }
        transaction.commit().await?;
        Ok(Forgotten {
            rows: forgotten,
            more: true,
        })
    }

    pub(crate) async fn forget(
        &self,
        sql: &str,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let rows = connection
            .execute(&statement, &[&before, &i64::from(limit)])
            .await?;
        Ok(Forgotten::of(rows, limit))
    }
}

/// The operation that ended first, or whose turn it is again, of those that nobody else looks through: what is to be covered by
/// it is covered, and it is not being undone.
async fn lock_old(
    transaction: &Transaction<'_>,
    before: OffsetDateTime,
) -> Result<Option<Old>, StoreError> {
    let found = rows(
        transaction,
        "SELECT id, forgotten_to FROM operation o
         WHERE ended_at IS NOT NULL AND COALESCE(forget_from, ended_at) < $1 AND (covered OR kind <> 'delegate')
            AND NOT EXISTS (SELECT 1 FROM operation u WHERE u.tenant = o.tenant AND u.state IN ('listing', 'running', 'cancelling') AND u.undoes = o.id)
         ORDER BY COALESCE(forget_from, ended_at) LIMIT 1 FOR UPDATE OF o SKIP LOCKED",
        &[&before],
    )
    .await?;
    let read = |row: &Row| -> Result<Old, StoreError> {
        Ok(Old {
            id: OperationId::from_uuid(row.try_get("id")?),
            to: row
                .try_get::<_, Option<Uuid>>("forgotten_to")?
                .unwrap_or(Uuid::nil()),
        })
    };
    found.first().map(read).transpose()
}

/// The next of its jobs, and what of each is still there.
async fn jobs(
    transaction: &Transaction<'_>,
    old: &Old,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let (first, last) = jobs_of(old.id);
    rows(
        transaction,
        "SELECT j.id, j.begun_at IS NOT NULL AS begun, COALESCE(b.job_id = j.id, false) AS began_last, COALESCE(b.known_of = j.id, false) AS known,
            COALESCE(b.ours <> '', false) AS stands, COALESCE(b.ours_by = j.id, false) AS left_it,
            EXISTS (SELECT 1 FROM coverage c WHERE c.tenant = j.tenant AND c.mailbox = j.mailbox AND c.trustee = j.trustee AND c.state <> 'released'
                AND (c.since = j.operation_id OR c.operation_id = j.operation_id)) AS covers
         FROM job j LEFT JOIN begun b ON b.tenant = j.tenant AND b.mailbox = j.mailbox AND b.trustee = j.trustee
         WHERE j.id >= $2 AND j.id <= $3 AND j.id > $4 AND j.operation_id = $1 ORDER BY j.id LIMIT $5",
        &[&old.id.as_uuid(), &first, &last, &old.to, &i64::from(limit)],
    )
    .await
}

fn trace(row: &Row) -> Result<Trace, StoreError> {
    Ok(Trace {
        begun: row.try_get("begun")?,
        began_last: row.try_get("began_last")?,
        known: row.try_get("known")?,
        stands: row.try_get("stands")?,
        left_it: row.try_get("left_it")?,
        covers: row.try_get("covers")?,
    })
}

async fn is_empty(transaction: &Transaction<'_>, id: OperationId) -> Result<bool, StoreError> {
    let (first, last) = jobs_of(id);
    let sql = "SELECT 1 FROM job WHERE id >= $2 AND id <= $3 AND operation_id = $1 LIMIT 1";
    let found = rows(transaction, sql, &[&id.as_uuid(), &first, &last]).await?;
    Ok(found.is_empty())
}

/// Forgets an operation without jobs, and what is recorded of it alone.
async fn forget_operation(
    transaction: &Transaction<'_>,
    id: OperationId,
) -> Result<u64, StoreError> {
    for sql in [
        "DELETE FROM operation_event WHERE operation_id = $1",
        "DELETE FROM operation_failure WHERE operation_id = $1",
        "DELETE FROM operation_release WHERE operation_id = $1",
    ] {
        run(transaction, sql, &[&id.as_uuid()]).await?;
    }
    run(
        transaction,
        "DELETE FROM operation WHERE id = $1",
        &[&id.as_uuid()],
    )
    .await
}
