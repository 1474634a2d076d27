//! Operations: accepting and reading.

use std::sync::LazyLock;

use calgrant_domain::{
    Confined, Counts, DelegationId, Hold, KeptRun, Lane, OperationId, OperationKind,
    OperationState, TenantName, outcome::optional,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError, StoredDelegation, delegations,
    error::retrying,
    row::{count, parsed},
    standing::{counts, lock_one, outcomes, save_one, shown},
};

/// An operation to accept.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub tenant: TenantName,
    /// What it runs.
    pub delegation: DelegationId,
    /// Stored with it, if it is new.
    pub new_delegation: Option<StoredDelegation>,
    /// Its lane.
    pub lane: Lane,
    /// Whether nothing is written.
    pub validate_only: bool,
    /// Who asks.
    pub caller: String,
    /// What makes a repeat harmless.
    pub request_id: String,
    /// What two equal requests have in common.
    pub canonical: String,
    /// Reference to a ticket.
    pub ticket: String,
    /// The mailboxes it is confined to, if it is.
    pub confined: Option<Confined>,
    /// Trace of the request.
    pub traceparent: String,
    /// So many mailboxes are tried first; 0: all at once.
    pub canary: u32,
    /// When.
    pub at: OffsetDateTime,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is committed.
    New(OperationId),
    /// The same request had been accepted before.
    Known(OperationId),
}

/// An operation as it stands.
#[derive(Debug, Clone)]
pub struct OperationView {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub tenant: TenantName,
    /// What it does.
    pub kind: OperationKind,
    /// What it runs; `None` for one that is about a trustee.
    pub delegation: Option<DelegationId>,
    /// The trustee it is about, if it is; else empty.
    pub trustee: String,
    /// The operation it undoes.
    pub undoes: Option<OperationId>,
    /// What stopped it.
    pub hold: Option<Hold>,
    /// Where it stands.
    pub state: OperationState,
    /// Its lane.
    pub lane: Lane,
    /// Whether nothing is written.
    pub validate_only: bool,
    /// Its counts.
    pub counts: Counts,
    /// Why it failed, as a word.
    pub failure: String,
    /// The same for people.
    pub failure_text: String,
    /// What it waits for.
    pub waiting_for: String,
    /// Who asked.
    pub requested_by: String,
    /// Reference to a ticket.
    pub ticket: String,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Number of its latest change.
    pub sequence: u64,
    /// Lines that name a mailbox another line names too.
    pub merged_lines: u64,
    /// Recipients left out.
    pub excluded: u64,
    /// Jobs that wait for a mailbox.
    pub parked: u64,
    /// Calls made to Exchange.
    pub calls: u64,
    /// The mailboxes it is confined to; empty if to none.
    pub confined_to: Vec<String>,
    /// Jobs of it that are not kept any more.
    pub forgotten: u64,
    /// What it does by itself, if nobody asked for it.
    pub kept: Option<KeptRun>,
}

static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "id, tenant, delegation_id, kind, trustee, undoes, hold, state, lane, validate_only, accepted, {},
    failure, failure_text, waiting_for, requested_by, ticket, created_at, ended_at, sequence, merged_lines, excluded, calls, confined_to, forgotten, keeping,
    CASE WHEN ended_at IS NULL THEN (SELECT count(*) FROM job WHERE operation_id = operation.id AND state = 'ready' AND waiting = 'parked') ELSE 0 END AS parked",
        outcomes(str::to_owned)
    )
});

impl Store {
    /// Accepts an operation, or finds the one of the same request. Returns after the commit.
    ///
    /// # Errors
    /// The `request_id` was used for another request; Postgres is away.
    pub async fn accept(&self, new: &NewOperation) -> Result<Accepted, StoreError> {
        retrying(|| self.accept_once(new)).await
    }

    async fn accept_once(&self, new: &NewOperation) -> Result<Accepted, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let request = Request {
            tenant: &new.tenant,
            caller: &new.caller,
            request_id: &new.request_id,
            canonical: &new.canonical,
            operation: new.id,
            at: new.at,
        };
        if let Some(known) = request.repeats(&transaction).await? {
            return Ok(Accepted::Known(known));
        }
        if let Some(delegation) = &new.new_delegation {
            delegations::insert(&*transaction, delegation).await?;
        }
        let confined = new.confined.as_ref();
        let confined_to = confined.map_or_else(Vec::new, |confined| {
            let mailboxes = confined.mailboxes.iter();
            mailboxes.map(ToString::to_string).collect()
        });
        let beyond_selector = confined.is_some_and(|confined| confined.beyond_selector);
        let awaits = confined.is_some_and(|confined| confined.awaits);
        transaction.execute("INSERT INTO operation (id, tenant, delegation_id, state, lane, validate_only, requested_by, ticket, traceparent, created_at, sequence, confined_to, beyond_selector, awaits, canary)
            VALUES ($1, $2, $3, 'accepted', $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13)",
            &[&new.id.as_uuid(), &new.tenant.as_str(), &new.delegation.as_uuid(), &new.lane.as_str(), &new.validate_only, &new.caller, &new.ticket, &new.traceparent, &new.at,
                &confined_to, &beyond_selector, &awaits, &i64::from(new.canary)]).await?;
        let standing = lock_one(&transaction, new.id).await?;
        save_one(&transaction, new.id, standing, new.at).await?;
        transaction.commit().await?;
        Ok(Accepted::New(new.id))
    }

    /// One of them.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, StoreError> {
        let connection = self.connection().await?;
        let row = connection
            .query_opt(
                &format!("SELECT {} FROM operation WHERE id = $1", *COLUMNS),
                &[&id.as_uuid()],
            )
            .await?;
        row.map(|row| view(&row)).transpose()
    }

    /// Newest first, before `before`; of all tenants if `tenant` is `None`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn operations(
        &self,
        tenant: Option<&TenantName>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<OperationView>, StoreError> {
        let before = before.unwrap_or(Uuid::max());
        let connection = self.connection().await?;
        let rows = connection.query(&format!("SELECT {} FROM operation WHERE ($1::text IS NULL OR tenant = $1) AND id < $2 ORDER BY id DESC LIMIT $3", *COLUMNS), &[&tenant.map(TenantName::as_str), &before, &limit]).await?;
        rows.iter().map(view).collect()
    }
}

/// A request that is to be answered once.
pub(crate) struct Request<'r> {
    pub(crate) tenant: &'r TenantName,
    pub(crate) caller: &'r str,
    pub(crate) request_id: &'r str,
    pub(crate) canonical: &'r str,
    pub(crate) operation: OperationId,
    pub(crate) at: OffsetDateTime,
}

impl Request<'_> {
    /// Which operation it became before, if it did; from now on it is `operation`'s.
    pub(crate) async fn repeats(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<OperationId>, StoreError> {
        let tenant = self.tenant.as_str();
        // Of two at once, the second waits here for the first.
        let first = transaction.execute("INSERT INTO request (tenant, caller, request_id, canonical, operation_id, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            &[&tenant, &self.caller, &self.request_id, &self.canonical, &self.operation.as_uuid(), &self.at]).await?;
        if first > 0 {
            return Ok(None);
        }
        let row = transaction.query_one("SELECT canonical, operation_id FROM request WHERE tenant = $1 AND caller = $2 AND request_id = $3",
            &[&tenant, &self.caller, &self.request_id]).await?;
        let known = OperationId::from_uuid(row.try_get("operation_id")?);
        if row.try_get::<_, &str>("canonical")? == self.canonical {
            Ok(Some(known))
        } else {
            Err(StoreError::RequestIdReused(known))
        }
    }
}

fn view(row: &Row) -> Result<OperationView, StoreError> {
    let hold = optional(row.try_get("hold")?)?;
    let delegation: Uuid = row.try_get("delegation_id")?;
    Ok(OperationView {
        id: OperationId::from_uuid(row.try_get("id")?),
        tenant: parsed(row, "tenant")?,
        kind: parsed(row, "kind")?,
        delegation: (!delegation.is_nil()).then(|| DelegationId::from_uuid(delegation)),
        trustee: row.try_get("trustee")?,
        undoes: row
            .try_get::<_, Option<Uuid>>("undoes")?
            .map(OperationId::from_uuid),
        hold,
        state: shown(parsed(row, "state")?, hold),
        lane: parsed(row, "lane")?,
        validate_only: row.try_get("validate_only")?,
        counts: counts(row)?,
        failure: row.try_get("failure")?,
        failure_text: row.try_get("failure_text")?,
        waiting_for: row.try_get("waiting_for")?,
        requested_by: row.try_get("requested_by")?,
        ticket: row.try_get("ticket")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
        sequence: count(row, "sequence")?,
        merged_lines: count(row, "merged_lines")?,
        excluded: count(row, "excluded")?,
        parked: count(row, "parked")?,
        calls: count(row, "calls")?,
        confined_to: row.try_get("confined_to")?,
        forgotten: count(row, "forgotten")?,
        kept: optional(row.try_get("keeping")?)?,
    })
}
