//! Alerts: what a person should know of. Of what is so for a while there is one, however often it is found.

use std::collections::BTreeMap;

use calgrant_domain::{
    AlertId, AlertKind, DelegationId, OperationId, Policy, TenantName,
    alert::{Run, Subject, of},
    outcome::optional,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    pool::{rows, run},
    row::{count, parsed},
};

/// An alert as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose.
    pub tenant: TenantName,
    /// What.
    pub kind: AlertKind,
    /// What it is about: an operation, a delegation or a group, as text.
    pub subject: String,
    /// For people.
    pub text: String,
    /// The delegation it is about.
    pub delegation: Option<DelegationId>,
    /// The operation that found it.
    pub operation: Option<OperationId>,
    /// When it was raised.
    pub raised_at: OffsetDateTime,
    /// When it was so last.
    pub last_at: OffsetDateTime,
    /// When it was found not to be so any more.
    pub ended_at: Option<OffsetDateTime>,
    /// Who has seen it; empty if nobody said so.
    pub acknowledged_by: String,
    /// When.
    pub acknowledged_at: Option<OffsetDateTime>,
    /// Reference to a ticket.
    pub ticket: String,
}

/// Alerts that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAlerts {
    /// Whose.
    pub tenant: TenantName,
    /// Of which kind.
    pub kind: AlertKind,
    /// How many.
    pub count: u64,
}

/// An alert to raise.
#[derive(Debug, Clone)]
pub(crate) struct NewAlert {
    pub(crate) tenant: String,
    pub(crate) kind: AlertKind,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) delegation: Option<Uuid>,
    pub(crate) operation: Option<Uuid>,
}

impl NewAlert {
    /// One that no delegation or operation is behind.
    pub(crate) fn about(tenant: &str, kind: AlertKind, subject: &str, text: String) -> Self {
        Self {
            tenant: tenant.to_owned(),
            kind,
            subject: subject.to_owned(),
            text,
            delegation: None,
            operation: None,
        }
    }
}

const COLUMNS: &str = "id, tenant, kind, subject, text, delegation_id, operation_id, raised_at, last_at, ended_at, acknowledged_by, acknowledged_at, ticket";

/// By $2, with the ticket $3, at $4: who was first stays.
const ACKNOWLEDGED: &str = "acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $2 ELSE acknowledged_by END,
    ticket = CASE WHEN acknowledged_at IS NULL THEN $3 ELSE ticket END, acknowledged_at = COALESCE(acknowledged_at, $4)";

impl Store {
    /// Newest first, before `before`; those that nobody has acknowledged, or `all`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn alerts(
        &self,
        tenant: Option<&TenantName>,
        kind: Option<AlertKind>,
        all: bool,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Alert>, StoreError> {
        let before = before.unwrap_or(Uuid::max());
        let sql = format!(
            "SELECT {COLUMNS} FROM alert WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR kind = $2)
                AND ($3 OR acknowledged_at IS NULL) AND id < $4 ORDER BY id DESC LIMIT $5"
        );
        let (tenant, kind) = (tenant.map(TenantName::as_str), kind.map(AlertKind::as_str));
        let connection = self.connection().await?;
        let found = connection
            .query(&sql, &[&tenant, &kind, &all, &before, &limit])
            .await?;
        found.iter().map(view).collect()
    }

    /// Records that a person has seen an alert. Who was first stays.
    ///
    /// # Errors
    /// There is none of this id; Postgres is away.
    pub async fn acknowledge(
        &self,
        id: AlertId,
        by: &str,
        ticket: &str,
        now: OffsetDateTime,
    ) -> Result<Alert, StoreError> {
        let sql = format!("UPDATE alert SET {ACKNOWLEDGED} WHERE id = $1 RETURNING {COLUMNS}");
        let connection = self.connection().await?;
        let found = connection
            .query_opt(&sql, &[&id.as_uuid(), &by, &ticket, &now])
            .await?;
        view(&found.ok_or(StoreError::NotFound("alert"))?)
    }

    /// How many nobody has acknowledged.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn open_alerts(&self) -> Result<Vec<OpenAlerts>, StoreError> {
        let sql = "SELECT tenant, kind, count(*) AS count FROM alert WHERE acknowledged_at IS NULL GROUP BY tenant, kind ORDER BY tenant, kind";
        let found = self.connection().await?.query(sql, &[]).await?;
        found
            .iter()
            .map(|row| {
                Ok(OpenAlerts {
                    tenant: parsed(row, "tenant")?,
                    kind: parsed(row, "kind")?,
                    count: count(row, "count")?,
                })
            })
            .collect()
    }

    /// Forgets what was acknowledged before `before` and isn't so any more, or can't pass.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_alerts(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM alert WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM alert WHERE acknowledged_at < $1 AND COALESCE(ended_at, last_at) < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.forget(sql, before, limit).await
    }
}

/// Raises alerts. One that is so already is kept; if there is something new about it, it is to be acknowledged again.
pub(crate) async fn raise(
    transaction: &Transaction<'_>,
    alerts: &[NewAlert],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let alerts: BTreeMap<_, _> = alerts
        .iter()
        .map(|new| {
            (
                (new.tenant.as_str(), new.kind.as_str(), new.subject.as_str()),
                new,
            )
        })
        .collect();
    if alerts.is_empty() {
        return Ok(());
    }
    let (mut tenants, mut kinds, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, kind, subject) in alerts.keys() {
        tenants.push(*tenant);
        kinds.push(*kind);
        subjects.push(*subject);
    }
    let ids: Vec<_> = alerts
        .keys()
        .map(|_| AlertId::new(now, Uuid::new_v4()).as_uuid())
        .collect();
    let texts: Vec<_> = alerts.values().map(|new| new.text.as_str()).collect();
    let delegations: Vec<_> = alerts.values().map(|new| new.delegation).collect();
    let operations: Vec<_> = alerts.values().map(|new| new.operation).collect();
    run(
        transaction,
        "INSERT INTO alert AS a (id, tenant, kind, subject, text, delegation_id, operation_id, raised_at, last_at)
         SELECT page.id, page.tenant, page.kind, page.subject, page.text, page.delegation_id, page.operation_id, $8::timestamptz, $8::timestamptz FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[])
            AS page (id, tenant, kind, subject, text, delegation_id, operation_id)
         ON CONFLICT (tenant, kind, subject) WHERE ended_at IS NULL DO UPDATE SET last_at = EXCLUDED.last_at, text = EXCLUDED.text,
            operation_id = EXCLUDED.operation_id,
            acknowledged_by = CASE WHEN a.text = EXCLUDED.text THEN a.acknowledged_by ELSE '' END,
            acknowledged_at = CASE WHEN a.text = EXCLUDED.text THEN a.acknowledged_at END,
            ticket = CASE WHEN a.text = EXCLUDED.text THEN a.ticket ELSE '' END",
        &[&ids, &tenants, &kinds, &subjects, &texts, &delegations, &operations, &now],
    )
    .await?;
    Ok(())
}

/// What isn't so any more.
pub(crate) async fn end(
    transaction: &Transaction<'_>,
    tenant: &str,
    kind: AlertKind,
    subject: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let sql = "UPDATE alert SET ended_at = $4 WHERE tenant = $1 AND kind = $2 AND subject = $3 AND ended_at IS NULL";
    run(transaction, sql, &[&tenant, &kind.as_str(), &subject, &now]).await?;
    Ok(())
}

/// Raises what is to be said of operations that ended or are stopped, and ends what isn't so any more.
pub(crate) async fn of_runs(
    transaction: &Transaction<'_>,
    operations: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let found = rows(
        transaction,
        "SELECT o.id, o.tenant, o.kind, o.delegation_id, o.keeping, o.failure, o.failure_text, o.hold, o.waiting_for, o.accepted, o.drifted, o.repaired,
            o.kind = 'delegate' AND o.confined_to = '{}' AND o.state = 'done' AS was_listed, d.policy
         FROM operation o LEFT JOIN delegation d ON d.id = o.delegation_id WHERE o.id = ANY($1)",
        &[&operations],
    )
    .await?;
    let mut alerts = Vec::new();
    for row in &found {
        let seen = read(row)?;
        let (tenant, delegation): (String, Uuid) =
            (row.try_get("tenant")?, row.try_get("delegation_id")?);
        let of_delegation = DelegationId::from_uuid(delegation).to_string();
        let of_operation = seen.operation.to_string();
        if seen.hold.is_none() {
            end(transaction, &tenant, AlertKind::Held, &of_operation, now).await?;
        }
        if row.try_get("was_listed")? {
            for kind in [AlertKind::EmptySelection, AlertKind::ListingFailed] {
                end(transaction, &tenant, kind, &of_delegation, now).await?;
            }
        }
        if let Some((kind, subject, text)) = of(&seen) {
            alerts.push(NewAlert {
                tenant,
                kind,
                subject: match subject {
                    Subject::Operation => of_operation,
                    Subject::Delegation => of_delegation,
                },
                text,
                delegation: Some(delegation).filter(|id| !id.is_nil()),
                operation: Some(seen.operation.as_uuid()),
            });
        }
    }
    raise(transaction, &alerts, now).await
}

/// Whoever lets an operation go on has seen what stopped it.
pub(crate) async fn released(
    transaction: &Transaction<'_>,
    operation: OperationId,
    by: &str,
    ticket: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE alert SET ended_at = $4, {ACKNOWLEDGED}
        WHERE tenant = (SELECT tenant FROM operation WHERE id = $1) AND kind = 'held' AND operation_id = $1 AND ended_at IS NULL"
    );
    run(
        transaction,
        &sql,
        &[&operation.as_uuid(), &by, &ticket, &now],
    )
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<Run, StoreError> {
    Ok(Run {
        operation: OperationId::from_uuid(row.try_get("id")?),
        kept: optional(row.try_get("keeping")?)?,
        policy: optional::<Policy>(
            row.try_get::<_, Option<&str>>("policy")?
                .unwrap_or_default(),
        )?,
        failure: optional(row.try_get("failure")?)?,
        failure_text: row.try_get("failure_text")?,
        hold: optional(row.try_get("hold")?)?,
        waiting_for: row.try_get("waiting_for")?,
        mailboxes: count(row, "accepted")?,
        drifted: count(row, "drifted")?,
        repaired: count(row, "repaired")?,
    })
}

fn view(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: AlertId::from_uuid(row.try_get("id")?),
        tenant: parsed(row, "tenant")?,
        kind: parsed(row, "kind")?,
        subject: row.try_get("subject")?,
        text: row.try_get("text")?,
        delegation: row
            .try_get::<_, Option<Uuid>>("delegation_id")?
            .map(DelegationId::from_uuid),
        operation: row
            .try_get::<_, Option<Uuid>>("operation_id")?
            .map(OperationId::from_uuid),
        raised_at: row.try_get("raised_at")?,
        last_at: row.try_get("last_at")?,
        ended_at: row.try_get("ended_at")?,
        acknowledged_by: row.try_get("acknowledged_by")?,
        acknowledged_at: row.try_get("acknowledged_at")?,
        ticket: row.try_get("ticket")?,
    })
}
