//! Jobs as people see them.

use calgrant_domain::{
    DelegationId, Detail, JobId, MailboxId, Observed, OperationId, Outcome, Reason, SiteKind,
    outcome::optional,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    row::{before, jobs_of, parsed, small},
};

/// One mailbox of an operation.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The name it was listed by.
    pub name: String,
    /// Its site.
    pub site: SiteKind,
    /// ready, published or ended.
    pub state: String,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Option<Reason>,
    /// The server's own words.
    pub detail: Detail,
    /// The entry before our first write, if there was one.
    pub before: Option<Observed>,
    /// Attempts used up.
    pub attempts: u32,
    /// Why it waits; empty if it doesn't.
    pub waiting: String,
    /// Until when.
    pub not_before: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Who did it.
    pub account: String,
    /// Lines that name it.
    pub lines: Vec<u32>,
    /// The delegation that wants the right it was to take away.
    pub kept_by: Option<DelegationId>,
}

impl Store {
    /// Jobs of an operation after `after`, by id.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn jobs(
        &self,
        operation: OperationId,
        outcomes: &[Outcome],
        outstanding_only: bool,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<JobView>, StoreError> {
        let words: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        let (first, last) = jobs_of(operation);
        let rows = self
            .connection()
            .await?
            .query(
                "SELECT id, mailbox, name, site, state, outcome, reason, server_code, server_text, request_id, begun_at, before_rights, attempts, waiting,
                    not_before, ended_at, account, lines, kept_by
                 FROM job WHERE id >= $6 AND id <= $7 AND operation_id = $1 AND id > $2
                    AND (cardinality($3::text[]) = 0 OR outcome = ANY($3)) AND (NOT $4 OR state || '' <> 'ended') ORDER BY id LIMIT $5",
                &[
                    &operation.as_uuid(), &after.unwrap_or(Uuid::nil()), &words, &outstanding_only, &limit, &first, &last,
                ],
            )
            .await?;
        rows.iter().map(view).collect()
    }
}

fn view(row: &Row) -> Result<JobView, StoreError> {
    let lines: Vec<i32> = row.try_get("lines")?;
    Ok(JobView {
        id: JobId::from_uuid(row.try_get("id")?),
        mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
        name: row.try_get("name")?,
        site: parsed(row, "site")?,
        state: row.try_get("state")?,
        outcome: optional(row.try_get("outcome")?)?,
        reason: optional(row.try_get("reason")?)?,
        detail: Detail {
            server_code: row.try_get("server_code")?,
            server_text: row.try_get("server_text")?,
            request_id: row.try_get("request_id")?,
        },
        before: before(row)?,
        attempts: small(row, "attempts")?,
        waiting: row.try_get("waiting")?,
        not_before: row.try_get("not_before")?,
        ended_at: row.try_get("ended_at")?,
        account: row.try_get("account")?,
        lines: lines
            .into_iter()
            .map(|line| u32::try_from(line).unwrap_or(0))
            .collect(),
        kept_by: row
            .try_get::<_, Option<Uuid>>("kept_by")?
            .map(DelegationId::from_uuid),
    })
}
