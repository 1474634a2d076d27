//! Every change of an operation, numbered in the transaction of the change.

use calgrant_domain::{Counts, OperationId, OperationState, Outcome};
use time::OffsetDateTime;
use tokio_postgres::GenericClient;

use crate::{
    Store, StoreError,
    operations::counts,
    row::{count, parsed},
};

/// Changes kept of each operation.
const KEPT: i64 = 2000;

/// Takes the next number, moves the operation on if nothing is outstanding, and records how it stands. Locks its row.
pub(crate) async fn changed(
    client: &impl GenericClient,
    id: OperationId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let row = client
        .query_one(
            "UPDATE operation SET sequence = sequence + 1 WHERE id = $1 RETURNING *",
            &[&id.as_uuid()],
        )
        .await?;
    let counts: Counts = counts(&row)?;
    let before: OperationState = parsed(&row, "state")?;
    let state = before.after(&counts);
    if state.is_final()
        && row
            .try_get::<_, Option<OffsetDateTime>>("ended_at")?
            .is_none()
    {
        client
            .execute(
                "UPDATE operation SET state = $2, ended_at = $3, waiting_for = '' WHERE id = $1",
                &[&id.as_uuid(), &state.as_str(), &now],
            )
            .await?;
        client
            .execute(
                "DELETE FROM operation_exclusion WHERE operation_id = $1",
                &[&id.as_uuid()],
            )
            .await?;
    }
    let sequence: i64 = row.try_get("sequence")?;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let numbers: Vec<i64> = std::iter::once(counts.accepted)
        .chain(Outcome::ALL.iter().map(|outcome| counts.of(*outcome)))
        .map(number)
        .collect();
    client.execute("INSERT INTO operation_event (operation_id, sequence, at, state, counts, waiting_for) VALUES ($1, $2, $3, $4, $5, $6)",
        &[&id.as_uuid(), &sequence, &now, &state.as_str(), &numbers, &row.try_get::<_, &str>("waiting_for")?]).await?;
    if sequence % 256 == 0 {
        client
            .execute(
                "DELETE FROM operation_event WHERE operation_id = $1 AND sequence <= $2",
                &[&id.as_uuid(), &(sequence - KEPT)],
            )
            .await?;
    }
    Ok(())
}

/// How an operation stood after a change.
#[derive(Debug, Clone)]
pub struct Event {
    /// Number of the change.
    pub sequence: u64,
    /// Its state then.
    pub state: OperationState,
    /// Its counts then.
    pub counts: Counts,
    /// What it waited for then.
    pub waiting_for: String,
}

impl Store {
    /// Changes after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// The next one has been pruned; Postgres is away.
    pub async fn events(
        &self,
        id: OperationId,
        after: u64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self.connection().await?.query("SELECT sequence, state, counts, waiting_for FROM operation_event WHERE operation_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3", &[&id.as_uuid(), &after, &limit]).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let numbers: Vec<i64> = row.try_get("counts")?;
            let mut numbers = numbers
                .into_iter()
                .map(|number| u64::try_from(number).unwrap_or(0));
            let mut counts = Counts::accepting(numbers.next().unwrap_or(0));
            for (outcome, number) in Outcome::ALL.iter().zip(numbers) {
                counts.add(*outcome, number);
            }
            events.push(Event {
                sequence: count(&row, "sequence")?,
                state: parsed(&row, "state")?,
                counts,
                waiting_for: row.try_get("waiting_for")?,
            });
        }
        match events.first() {
            Some(first) if i64::try_from(first.sequence).unwrap_or(0) > after + 1 => {
                Err(StoreError::Pruned)
            }
            _ => Ok(events),
        }
    }
}
