//! The one point where the order of writes is decided.

use calgrant_domain::{Begin, BeginRefusal, Observed, OperationId, OperationState};
use time::OffsetDateTime;
use tokio_postgres::Transaction;

use crate::{
    Store, StoreError,
    row::{before, parsed, rights},
};

/// What a worker asks.
pub type BeginAsked = Begin;

impl Store {
    /// Decides for each mailbox whether it may be written, and records its before-image if none is recorded. Returns after the
    /// commit, in the order asked, with the first before-image of each.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn begin(
        &self,
        begins: &[BeginAsked],
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Observed, BeginRefusal>>, StoreError> {
        // Two batches lock their jobs in the same order, whatever order they ask in.
        let mut order: Vec<usize> = (0..begins.len()).collect();
        order.sort_by_key(|at| begins[*at].job);
        let mut answers: Vec<_> = begins.iter().map(|_| Err(BeginRefusal::Ended)).collect();
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        for at in order {
            answers[at] = one(&transaction, &begins[at], now).await?;
        }
        transaction.commit().await?;
        Ok(answers)
    }
}

async fn one(
    transaction: &Transaction<'_>,
    begin: &Begin,
    now: OffsetDateTime,
) -> Result<Result<Observed, BeginRefusal>, StoreError> {
    let row = transaction.query_opt("SELECT j.*, o.state AS operation_state FROM job j JOIN operation o ON o.id = j.operation_id WHERE j.id = $1 FOR UPDATE OF j", &[&begin.job.as_uuid()]).await?;
    let Some(row) = row else {
        return Ok(Err(BeginRefusal::Ended));
    };
    let known = before(&row)?;
    let ended = row.try_get::<_, &str>("state")? == "ended" || row.try_get("validate_only")?;
    let operation_over = !matches!(
        parsed(&row, "operation_state")?,
        OperationState::Listing | OperationState::Running
    );
    if ended || (known.is_none() && operation_over) {
        return Ok(Err(BeginRefusal::Ended));
    }
    let (tenant, trustee): (&str, &str) = (row.try_get("tenant")?, row.try_get("trustee")?);
    let (mailbox, operation): (uuid::Uuid, uuid::Uuid) =
        (row.try_get("mailbox")?, row.try_get("operation_id")?);
    // Made first, so that two operations wait for each other here.
    transaction.execute("INSERT INTO begun (tenant, mailbox, trustee, operation_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", &[&tenant, &mailbox, &trustee, &operation]).await?;
    let last: uuid::Uuid = transaction.query_one("SELECT operation_id FROM begun WHERE tenant = $1 AND mailbox = $2 AND trustee = $3 FOR UPDATE", &[&tenant, &mailbox, &trustee]).await?.try_get(0)?;
    if OperationId::from_uuid(last) > OperationId::from_uuid(operation) {
        return Ok(Err(BeginRefusal::Superseded));
    }
    let unsettled = transaction.query_opt("SELECT 1 FROM job WHERE tenant = $1 AND mailbox = $2 AND trustee = $3 AND id <> $4 AND begun_at IS NOT NULL AND state <> 'ended' LIMIT 1", &[&tenant, &mailbox, &trustee, &begin.job.as_uuid()]).await?;
    if unsettled.is_some() {
        return Ok(Err(BeginRefusal::Unsettled));
    }
    if let Some(first) = known {
        return Ok(Ok(first));
    }
    transaction.execute("UPDATE begun SET operation_id = $4 WHERE tenant = $1 AND mailbox = $2 AND trustee = $3", &[&tenant, &mailbox, &trustee, &operation]).await?;
    transaction
        .execute(
            "UPDATE job SET begun_at = $2, before_rights = $3 WHERE id = $1",
            &[&begin.job.as_uuid(), &now, &rights(begin.before)],
        )
        .await?;
    Ok(Ok(begin.before))
}
