//! Messages that could not be handled, kept for a person. A job among them is set aside with its message: it is neither
//! published again nor ended until the message is replayed or discarded.

use calgrant_domain::{DeadCause, DeadLetterId, JobId, OperationId};
use time::{Duration, OffsetDateTime};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    error::retrying,
    pool::{rows, run},
    row::{count, int, parsed, small},
};

/// Until when a job is set aside: longer than anybody waits.
const FOR_EVER: Duration = Duration::days(36_500);

/// A message to keep.
#[derive(Debug, Clone)]
pub struct NewDeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The same for the same putting aside of the same message.
    pub number: String,
    /// The queue it was taken from.
    pub queue: String,
    /// Why.
    pub cause: DeadCause,
    /// Why, for people.
    pub reason: String,
    /// The version of who put it aside.
    pub by_version: u32,
    /// What it is, for people.
    pub about: String,
    /// Whose; empty if that can't be told.
    pub tenant: String,
    /// Its operation, if that can be told.
    pub operation: Option<OperationId>,
    /// Its job, if that can be told.
    pub job: Option<JobId>,
    /// Whether it is the job itself, and not what was said of it.
    pub is_job: bool,
    /// The message's own id.
    pub message_id: String,
    /// What the body is.
    pub content_type: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: Vec<u8>,
    /// When it was put aside.
    pub at: OffsetDateTime,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterState {
    /// It waits.
    Waiting,
    /// It was replayed.
    Replayed,
    /// It was discarded.
    Discarded,
}

impl DeadLetterState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// A message that is kept.
#[derive(Debug, Clone)]
pub struct DeadLetterView {
    /// Its id.
    pub id: DeadLetterId,
    /// The queue it was taken from.
    pub queue: String,
    /// Why.
    pub cause: DeadCause,
    /// Why, for people.
    pub reason: String,
    /// What it is, for people.
    pub about: String,
    /// Whose; empty if that can't be told.
    pub tenant: String,
    /// Its operation.
    pub operation: Option<OperationId>,
    /// Its job.
    pub job: Option<JobId>,
    /// The message's own id.
    pub message_id: String,
    /// What the body is.
    pub content_type: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: Vec<u8>,
    /// When it was put aside.
    pub dead_at: OffsetDateTime,
    /// How it stands.
    pub state: DeadLetterState,
    /// Who replayed or discarded it.
    pub resolved_by: String,
    /// When.
    pub resolved_at: Option<OffsetDateTime>,
    /// Reference to a ticket.
    pub ticket: String,
}

/// Which of them: all conditions hold together.
#[derive(Debug, Clone, Default, Hash)]
pub struct DeadLetterFilter {
    /// By id; any if empty.
    pub ids: Vec<DeadLetterId>,
    /// By queue.
    pub queue: Option<String>,
    /// By cause.
    pub cause: Option<DeadCause>,
    /// By tenant.
    pub tenant: Option<String>,
    /// By operation.
    pub operation: Option<OperationId>,
    /// By who put it aside: only what is older than this version.
    pub before_version: Option<u32>,
}

const COLUMNS: &str = "id, queue, cause, reason, about, tenant, operation_id, job_id, message_id, content_type, headers, body, dead_at, state, resolved_by,
    resolved_at, ticket";

const MATCHES: &str = "(cardinality($1::uuid[]) = 0 OR id = ANY($1)) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR cause = $3)
    AND ($4::text IS NULL OR tenant = $4) AND ($5::uuid IS NULL OR operation_id = $5) AND ($6::int IS NULL OR by_version < $6)";

/// A filter's conditions, as parameters.
struct Conditions<'f> {
    ids: Vec<Uuid>,
    queue: Option<&'f str>,
    cause: Option<&'static str>,
    tenant: Option<&'f str>,
    operation: Option<Uuid>,
    before_version: Option<i32>,
}

impl<'f> Conditions<'f> {
    fn of(filter: &'f DeadLetterFilter) -> Self {
        Self {
            ids: filter.ids.iter().map(DeadLetterId::as_uuid).collect(),
            queue: filter.queue.as_deref(),
            cause: filter.cause.map(DeadCause::as_str),
            tenant: filter.tenant.as_deref(),
            operation: filter.operation.map(|id| id.as_uuid()),
            before_version: filter.before_version.map(int),
        }
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.ids,
            &self.queue,
            &self.cause,
            &self.tenant,
            &self.operation,
            &self.before_version,
        ]
    }
}

impl Store {
    /// Keeps a message, and sets its job aside. One that is kept already stays as it is; it waits again if it was resolved.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn keep_dead_letter(&self, letter: &NewDeadLetter) -> Result<(), StoreError> {
        retrying(|| self.keep_dead_letter_once(letter)).await
    }

    async fn keep_dead_letter_once(&self, letter: &NewDeadLetter) -> Result<(), StoreError> {
        let headers: Vec<_> = letter
            .headers
            .iter()
            .flat_map(|(name, value)| [plain(name), plain(value)])
            .collect();
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let first = run(
            &transaction,
            "INSERT INTO dead_letter (id, number, queue, cause, reason, by_version, about, tenant, operation_id, job_id, message_id, content_type, headers, body, dead_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (number) DO UPDATE SET state = 'waiting', dead_at = EXCLUDED.dead_at, resolved_by = '', resolved_at = NULL, ticket = ''
             WHERE dead_letter.state <> 'waiting'",
            &[
                &letter.id.as_uuid(), &plain(&letter.number), &plain(&letter.queue), &letter.cause.as_str(), &plain(&letter.reason), &int(letter.by_version),
                &plain(&letter.about), &plain(&letter.tenant), &letter.operation.map(|id| id.as_uuid()), &letter.job.map(|id| id.as_uuid()),
                &plain(&letter.message_id), &plain(&letter.content_type), &headers, &letter.body, &letter.at,
            ],
        )
        .await?;
        if first == 1 && letter.is_job {
            let sql = "UPDATE job SET state = 'ready', waiting = 'set_aside', not_before = $2 WHERE id = $1 AND state || '' = 'published'";
            let job = letter.job.map(|id| id.as_uuid());
            run(&transaction, sql, &[&job, &(letter.at + FOR_EVER)]).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Those of a state, newest first, before `before`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        state: DeadLetterState,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<DeadLetterView>, StoreError> {
        let (conditions, before, state) = (
            Conditions::of(filter),
            before.unwrap_or(Uuid::max()),
            state.as_str(),
        );
        let mut parameters = conditions.parameters();
        parameters.extend::<[&(dyn ToSql + Sync); 3]>([&state, &before, &limit]);
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letter WHERE {MATCHES} AND state = $7 AND id < $8 ORDER BY id DESC LIMIT $9"
        );
        let found = self.connection().await?.query(&sql, &parameters).await?;
        found.iter().map(view).collect()
    }

    /// Those that wait, oldest first, after `after`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn dead_letters_to_resolve(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: i64,
    ) -> Result<Vec<DeadLetterView>, StoreError> {
        let (conditions, after) = (
            Conditions::of(filter),
            after.map_or(Uuid::nil(), |id| id.as_uuid()),
        );
        let mut parameters = conditions.parameters();
        parameters.extend::<[&(dyn ToSql + Sync); 2]>([&after, &limit]);
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letter WHERE {MATCHES} AND state = 'waiting' AND id > $7 ORDER BY id LIMIT $8"
        );
        let found = self.connection().await?.query(&sql, &parameters).await?;
        found.iter().map(view).collect()
    }

    /// How many wait: of one operation, or of all.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn dead_letters_waiting(
        &self,
        operation: Option<OperationId>,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) AS waiting FROM dead_letter WHERE state = 'waiting' AND ($1::uuid IS NULL OR operation_id = $1)";
        let operation = operation.map(|id| id.as_uuid());
        let row = self
            .connection()
            .await?
            .query_one(sql, &[&operation])
            .await?;
        count(&row, "waiting")
    }

    /// How many wait, by cause.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn dead_letters_by_cause(&self) -> Result<Vec<(DeadCause, u64)>, StoreError> {
        let sql = "SELECT cause, count(*) AS waiting FROM dead_letter WHERE state = 'waiting' GROUP BY cause ORDER BY cause";
        let found = self.connection().await?.query(sql, &[]).await?;
        found
            .iter()
            .map(|row| Ok((parsed(row, "cause")?, count(row, "waiting")?)))
            .collect()
    }

    /// Records who replayed or discarded it. False if somebody did before.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
        by: &str,
        ticket: &str,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE dead_letter SET state = $2, resolved_by = $3, resolved_at = $4, ticket = $5 WHERE id = $1 AND state = 'waiting'";
        let client = self.connection().await?;
        let resolved = client
            .execute(sql, &[&id.as_uuid(), &state.as_str(), &by, &now, &ticket])
            .await?;
        Ok(resolved == 1)
    }

    /// Makes a job ready that was set aside. False if it isn't, or not any more.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn take_up_again(&self, job: JobId, now: OffsetDateTime) -> Result<bool, StoreError> {
        let sql = "UPDATE job SET waiting = '', not_before = $2 WHERE id = $1 AND state || '' = 'ready' AND waiting = 'set_aside'";
        let client = self.connection().await?;
        Ok(client.execute(sql, &[&job.as_uuid(), &now]).await? == 1)
    }

    /// Which handing out a result must answer to end a job that was set aside; `None` if it isn't.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn set_aside(&self, job: JobId) -> Result<Option<u32>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = "SELECT delivery FROM job WHERE id = $1 AND state || '' = 'ready' AND waiting = 'set_aside'";
        let found = rows(&transaction, sql, &[&job.as_uuid()]).await?;
        found.first().map(|row| small(row, "delivery")).transpose()
    }

    /// Forgets at most `limit` of those that were resolved before `before`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_dead_letters(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM dead_letter WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM dead_letter WHERE state <> 'waiting' AND resolved_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.forget(sql, before, limit).await
    }
}

/// Postgres stores no text with a zero character in it.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn view(row: &Row) -> Result<DeadLetterView, StoreError> {
    let headers: Vec<String> = row.try_get("headers")?;
    let pairs = headers.chunks_exact(2);
    Ok(DeadLetterView {
        id: DeadLetterId::from_uuid(row.try_get("id")?),
        queue: row.try_get("queue")?,
        cause: parsed(row, "cause")?,
        reason: row.try_get("reason")?,
        about: row.try_get("about")?,
        tenant: row.try_get("tenant")?,
        operation: row
            .try_get::<_, Option<Uuid>>("operation_id")?
            .map(OperationId::from_uuid),
        job: row
            .try_get::<_, Option<Uuid>>("job_id")?
            .map(JobId::from_uuid),
        message_id: row.try_get("message_id")?,
        content_type: row.try_get("content_type")?,
        headers: pairs
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect(),
        body: row.try_get("body")?,
        dead_at: row.try_get("dead_at")?,
        state: match row.try_get::<_, &str>("state")? {
            "replayed" => DeadLetterState::Replayed,
            "discarded" => DeadLetterState::Discarded,
            _ => DeadLetterState::Waiting,
        },
        resolved_by: row.try_get("resolved_by")?,
        resolved_at: row.try_get("resolved_at")?,
        ticket: row.try_get("ticket")?,
    })
}
