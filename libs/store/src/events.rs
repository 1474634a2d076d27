//! Every change of an operation, for those who watch.

use calgrant_domain::{Counts, OperationId, OperationState, Outcome};

use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};

use crate::{
    Store, StoreError,
    row::{count, parsed},
};

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
    /// The next one has been pruned, or none was ever given that number; Postgres is away.
    pub async fn events(
        &self,
        id: OperationId,
        after: u64,
        limit: i64,
    ) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let connection = self.connection().await?;
        // In one look, so that a change isn't missing of which the operation speaks already.
        let sql = "SELECT o.sequence AS latest, e.sequence, e.state, e.counts, e.waiting_for
            FROM operation o LEFT JOIN operation_event e ON e.operation_id = o.id AND e.sequence > $2 WHERE o.id = $1 ORDER BY e.sequence LIMIT $3";
        let statement = connection.prepare_cached(sql).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&id.as_uuid(), &after, &limit];
        let rows = connection.query(&statement, &parameters).await?;
        let latest: Option<i64> = rows.first().map(|row| row.try_get("latest")).transpose()?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            if row.try_get::<_, Option<i64>>("sequence")?.is_none() {
                break;
            }
            events.push(Event {
                sequence: count(&row, "sequence")?,
                state: parsed(&row, "state")?,
                counts: counts(&row)?,
                waiting_for: row.try_get("waiting_for")?,
            });
        }
        match events.first() {
            Some(first) if i64::try_from(first.sequence).unwrap_or(0) > after + 1 => {
                Err(StoreError::Pruned)
            }
            None if latest.is_some_and(|latest| latest != after) => Err(StoreError::Pruned),
            _ => Ok(events),
        }
    }

    /// How far an operation had come after `since`, every two seconds, as long as changes are kept. In order.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn course(
        &self,
        id: OperationId,
        since: OffsetDateTime,
    ) -> Result<Vec<(OffsetDateTime, Counts)>, StoreError> {
        let sql = "SELECT DISTINCT ON (floor(extract(epoch FROM at) / 2)) at, counts FROM operation_event WHERE operation_id = $1 AND at > $2
            ORDER BY floor(extract(epoch FROM at) / 2), sequence";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let rows = connection
            .query(&statement, &[&id.as_uuid(), &since])
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("at")?, counts(row)?)))
            .collect()
    }
}

fn counts(row: &Row) -> Result<Counts, StoreError> {
    let numbers: Vec<i64> = row.try_get("counts")?;
    let mut numbers = numbers
        .into_iter()
        .map(|number| u64::try_from(number).unwrap_or(0));
    let mut counts = Counts::accepting(numbers.next().unwrap_or(0));
    for (outcome, number) in Outcome::ALL.iter().zip(numbers) {
        counts.add(*outcome, number);
    }
    Ok(counts)
}
