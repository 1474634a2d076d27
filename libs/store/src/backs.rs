//! Accepting operations that take away, put back or verify: their mailboxes are known from the records.

use calgrant_domain::{
    Address, DelegationId, KeptRun, Lane, OperationId, OperationKind, TenantName,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Accepted, Store, StoreError,
    error::retrying,
    operations::Request,
    pool::{rows, run},
    standing::{lock_one, save_one},
};

/// An operation to accept.
#[derive(Debug, Clone)]
pub struct NewBack {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub tenant: TenantName,
    /// What it does: anything but delegating.
    pub kind: OperationKind,
    /// Whose grants; `None`: those of all delegations to the trustee.
    pub delegation: Option<DelegationId>,
    /// The trustee, where there is no delegation.
    pub trustee: Option<Address>,
    /// The operation it undoes.
    pub undoes: Option<OperationId>,
    /// Whether what is missing is given again.
    pub repair: bool,
    /// Only these mailboxes: addresses, or keys as text. All if empty.
    pub names: Vec<String>,
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
    /// Trace of the request.
    pub traceparent: String,
    /// When.
    pub at: OffsetDateTime,
}

impl Store {
    /// Accepts an operation whose mailboxes are listed from the records, or finds the one of the same request. Returns after
    /// the commit.
    ///
    /// # Errors
    /// The `request_id` was used for another request; Postgres is away.
    pub async fn accept_back(&self, new: &NewBack) -> Result<Accepted, StoreError> {
        retrying(|| self.accept_back_once(new)).await
    }

    async fn accept_back_once(&self, new: &NewBack) -> Result<Accepted, StoreError> {
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
        insert(&transaction, new, None).await?;
        transaction.commit().await?;
        Ok(Accepted::New(new.id))
    }

    /// Whether a request of this id has been accepted.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn has_request(
        &self,
        tenant: &TenantName,
        caller: &str,
        request_id: &str,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM request WHERE tenant = $1 AND caller = $2 AND request_id = $3";
        let connection = self.connection().await?;
        let found = connection
            .query_opt(sql, &[&tenant.as_str(), &caller, &request_id])
            .await?;
        Ok(found.is_some())
    }

    /// An operation that is still giving a delegation's right, or a trustee some right, if there is one.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn still_giving(
        &self,
        tenant: &TenantName,
        delegation: Option<DelegationId>,
        trustee: Option<&Address>,
    ) -> Result<Option<OperationId>, StoreError> {
        let sql = "SELECT o.id FROM operation o JOIN delegation d ON d.id = o.delegation_id
            WHERE o.tenant = $1 AND o.kind = 'delegate' AND o.ended_at IS NULL AND NOT o.validate_only
                AND (o.delegation_id = $2 OR $3 = ANY(d.trustee_addresses)) ORDER BY o.id DESC LIMIT 1";
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let delegation = delegation.map(|id| id.as_uuid());
        let trustee = trustee.map(Address::as_str);
        let found = rows(
            &transaction,
            sql,
            &[&tenant.as_str(), &delegation, &trustee],
        )
        .await?;
        found
            .first()
            .map(|row| Ok(OperationId::from_uuid(row.try_get("id")?)))
            .transpose()
    }
}

/// Stores an operation that is listed from the records; `keeping` says for what, if nobody asked for it.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    new: &NewBack,
    keeping: Option<KeptRun>,
) -> Result<(), StoreError> {
    // Listed to the end of time by nobody: no planner claims it.
    run(
        transaction,
        "INSERT INTO operation (id, tenant, kind, delegation_id, trustee, undoes, repair, named, state, listing_until, lane, validate_only,
            requested_by, ticket, traceparent, created_at, sequence, keeping)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'listing', '9999-01-01', $9, $10, $11, $12, $13, $14, 0, $15)",
        &[
            &new.id.as_uuid(),
            &new.tenant.as_str(),
            &new.kind.as_str(),
            &new.delegation.map_or(Uuid::nil(), |id| id.as_uuid()),
            &new.trustee.as_ref().map_or("", Address::as_str),
            &new.undoes.map(|id| id.as_uuid()),
            &new.repair,
            &!new.names.is_empty(),
            &new.lane.as_str(),
            &new.validate_only,
            &new.caller,
            &new.ticket,
            &new.traceparent,
            &new.at,
            &keeping.map_or("", KeptRun::as_str),
        ],
    )
    .await?;
    if !new.names.is_empty() {
        let sql = "INSERT INTO operation_name (operation_id, name) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING";
        run(transaction, sql, &[&new.id.as_uuid(), &new.names]).await?;
    }
    let standing = lock_one(transaction, new.id).await?;
    save_one(transaction, new.id, standing, new.at).await
}
