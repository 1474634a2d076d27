//! Delegations that are kept: what is due is begun, by whichever replica looks first.

use std::{sync::LazyLock, time::Duration};

use calgrant_domain::{
    DelegationId, Drift, Keeping, KeptRun, Lane, MailboxId, OperationId, OperationKind, TenantName,
    keep::{CALLER, Look, is_listing_due, look},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    NewBack, Store, StoreError, backs,
    error::retrying,
    pool::{rows, run},
    row::{count, long, parsed},
    standing::{lock_one, save_one},
    tenants::{self, KEEPING},
};

/// How often it is counted what a delegation covers; more often where its mailboxes are looked at in a shorter time than that.
const MEASURE: Duration = Duration::from_secs(60);

/// How a delegation is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub delegation: DelegationId,
    /// Mailboxes it covers.
    pub mailboxes: u64,
    /// When the entry was read last at the mailbox where that is longest ago; `None` if it covers none.
    pub oldest_verified_at: Option<OffsetDateTime>,
    /// The last operation that looked at some of its mailboxes.
    pub verify: Option<OperationId>,
    /// When the last listing began.
    pub listed_at: Option<OffsetDateTime>,
    /// The operation that listed.
    pub list: Option<OperationId>,
    /// Covered mailboxes that were missing from the last complete listing.
    pub missing: u64,
    /// The last operation that takes away what leavers have.
    pub leave: Option<OperationId>,
}

/// What was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Begun {
    /// Operations that look at mailboxes.
    pub verify: u64,
    /// Operations that list.
    pub list: u64,
}

/// A delegation's row, with what its tenant wants.
struct Due {
    delegation: Uuid,
    tenant: TenantName,
    keeping: Keeping,
    paced_to: OffsetDateTime,
    looking: bool,
    listed_at: OffsetDateTime,
    unconfirmed: bool,
    mailboxes: u64,
    measured_at: Option<OffsetDateTime>,
}

static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "k.delegation_id, k.tenant, k.paced_to, k.listed_at, k.unconfirmed, k.mailboxes, k.measured_at, {KEEPING},
        EXISTS (SELECT 1 FROM operation o WHERE o.id = k.verify_id AND o.ended_at IS NULL) AS looking
        FROM kept k JOIN tenant t ON t.name = k.tenant"
    )
});

impl Due {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            delegation: row.try_get("delegation_id")?,
            tenant: parsed(row, "tenant")?,
            keeping: tenants::keeping(row)?,
            paced_to: row.try_get("paced_to")?,
            looking: row.try_get("looking")?,
            listed_at: row.try_get("listed_at")?,
            unconfirmed: row.try_get("unconfirmed")?,
            mailboxes: count(row, "mailboxes")?,
            measured_at: row.try_get("measured_at")?,
        })
    }

    fn is_measure_due(&self, now: OffsetDateTime) -> bool {
        let every = self
            .keeping
            .verify_every
            .map_or(MEASURE, |every| MEASURE.min(every / 4));
        self.measured_at
            .is_none_or(|measured| now >= measured + every)
    }

    fn look(&self, now: OffsetDateTime) -> Option<Look> {
        let every = self.keeping.verify_every.filter(|_| !self.looking)?;
        look(self.mailboxes, self.paced_to, every, now)
    }

    fn is_listing_due(&self, now: OffsetDateTime) -> bool {
        let due = |every| is_listing_due(self.listed_at, every, self.unconfirmed, now);
        self.keeping.list_every.is_some_and(due)
    }
}

impl Store {
    /// Begins what is due by itself at `now` for delegations that are kept. Several processes may ask at the same time.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn keep(&self, now: OffsetDateTime) -> Result<Begun, StoreError> {
        let connection = self.connection().await?;
        let sql = "INSERT INTO kept (delegation_id, tenant, paced_to, listed_at) SELECT id, tenant, created_at, created_at FROM delegation d
            WHERE policy = 'keep' AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.delegation_id = d.id) ON CONFLICT DO NOTHING";
        connection.execute(sql, &[]).await?;
        let sql = format!("SELECT {} ORDER BY k.delegation_id", *COLUMNS);
        let found = connection.query(&sql, &[]).await?;
        drop(connection);
        let (mut begun, mut failed) = (Begun::default(), None);
        for row in &found {
            let kept = Due::read(row)?;
            let due = kept.is_measure_due(now) || kept.look(now).is_some();
            if !due && !kept.is_listing_due(now) {
                continue;
            }
            // One that can't be kept is in nobody's way.
            match retrying(|| self.keep_one(kept.delegation, now)).await {
                Ok(of_one) => {
                    begun.verify += of_one.verify;
                    begun.list += of_one.list;
                }
                Err(cause) => failed = failed.or(Some(cause)),
            }
        }
        failed.map_or(Ok(begun), Err)
    }

    async fn keep_one(&self, delegation: Uuid, now: OffsetDateTime) -> Result<Begun, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = format!(
            "SELECT {} WHERE k.delegation_id = $1 FOR UPDATE OF k SKIP LOCKED",
            *COLUMNS
        );
        let found = rows(&transaction, &sql, &[&delegation]).await?;
        let Some(row) = found.first() else {
            return Ok(Begun::default());
        };
        let mut kept = Due::read(row)?;
        if kept.is_measure_due(now) {
            kept.mailboxes = measure(&transaction, &kept, now).await?;
        }
        let mut begun = Begun::default();
        if let Some(look) = kept.look(now) {
            begun.verify += u64::from(begin_look(&transaction, &kept, look, now).await?);
        }
        if kept.is_listing_due(now) && may_list(&transaction, &kept).await? {
            begin_listing(&transaction, &kept, now).await?;
            begun.list += 1;
        }
        transaction.commit().await?;
        Ok(begun)
    }

    /// How these delegations are kept; those that aren't, or not yet, are left out.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn kept(&self, delegations: &[DelegationId]) -> Result<Vec<Kept>, StoreError> {
        let ids: Vec<_> = delegations.iter().map(DelegationId::as_uuid).collect();
        let sql = "SELECT delegation_id, mailboxes, oldest_verified_at, verify_id, listed_at, list_id, missing, leave_id FROM kept
            WHERE delegation_id = ANY($1)";
        let found = self.connection().await?.query(sql, &[&ids]).await?;
        let operation = |row: &Row, column: &str| -> Result<_, StoreError> {
            let id: Option<Uuid> = row.try_get(column)?;
            Ok(id.map(OperationId::from_uuid))
        };
        found
            .iter()
            .map(|row| {
                let list = operation(row, "list_id")?;
                let listed_at: OffsetDateTime = row.try_get("listed_at")?;
                Ok(Kept {
                    delegation: DelegationId::from_uuid(row.try_get("delegation_id")?),
                    mailboxes: count(row, "mailboxes")?,
                    oldest_verified_at: row.try_get("oldest_verified_at")?,
                    verify: operation(row, "verify_id")?,
                    // Before that it only says from when on it is counted.
                    listed_at: list.map(|_| listed_at),
                    list,
                    missing: count(row, "missing")?,
                    leave: operation(row, "leave_id")?,
                })
            })
            .collect()
    }

    /// When the entry was read last at that mailbox of each tenant's kept delegations where that is longest ago.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn oldest_verifications(
        &self,
    ) -> Result<Vec<(TenantName, OffsetDateTime)>, StoreError> {
        let sql = "SELECT tenant, min(oldest_verified_at) AS oldest FROM kept WHERE oldest_verified_at IS NOT NULL GROUP BY tenant ORDER BY tenant";
        let found = self.connection().await?.query(sql, &[]).await?;
        found
            .iter()
            .map(|row| Ok((parsed(row, "tenant")?, row.try_get("oldest")?)))
            .collect()
    }
}

/// Counts what a delegation covers. Answers how many mailboxes.
async fn measure(
    transaction: &Transaction<'_>,
    kept: &Due,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    // Where no read has shown the entry yet, it counts from when it was asked for.
    let found = rows(
        transaction,
        "UPDATE kept SET mailboxes = found.mailboxes, oldest_verified_at = found.oldest, measured_at = $2
         FROM (SELECT count(*) AS mailboxes, min(COALESCE(a.verified_at, o.created_at)) AS oldest
            FROM coverage c LEFT JOIN access a USING (tenant, mailbox, trustee) LEFT JOIN operation o ON o.id = c.since
            WHERE c.delegation_id = $1 AND c.state = 'wanted') found
         WHERE delegation_id = $1 RETURNING kept.mailboxes",
        &[&kept.delegation, &now],
    )
    .await?;
    found.first().map_or(Ok(0), |row| count(row, "mailboxes"))
}

/// Begins an operation about those mailboxes whose last look is longest ago. Answers whether there are any.
async fn begin_look(
    transaction: &Transaction<'_>,
    kept: &Due,
    look: Look,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    // Where looking doesn't succeed, it was looked all the same: the others have their turn.
    let found = rows(
        transaction,
        "SELECT c.mailbox FROM coverage c LEFT JOIN access a USING (tenant, mailbox, trustee)
         WHERE c.delegation_id = $1 AND c.state = 'wanted'
         ORDER BY GREATEST(a.verified_at, c.looked_at) NULLS FIRST, c.mailbox LIMIT $2",
        &[&kept.delegation, &long(look.mailboxes)],
    )
    .await?;
    let mailboxes: Vec<Uuid> = found
        .iter()
        .map(|row| row.try_get("mailbox"))
        .collect::<Result<_, _>>()?;
    let id = if mailboxes.is_empty() {
        None
    } else {
        let repair = kept.keeping.drift == Drift::Repair;
        let new = by_itself(
            &kept.tenant,
            kept.delegation,
            OperationKind::Verify,
            &mailboxes,
            now,
        );
        let new = NewBack { repair, ..new };
        backs::insert(transaction, &new, Some(KeptRun::Verify)).await?;
        let sql = "UPDATE coverage SET looked_at = $3 WHERE delegation_id = $1 AND mailbox = ANY($2) AND state = 'wanted'";
        run(transaction, sql, &[&kept.delegation, &mailboxes, &now]).await?;
        Some(new.id.as_uuid())
    };
    let sql = "UPDATE kept SET paced_to = $2, verify_id = COALESCE($3, verify_id) WHERE delegation_id = $1";
    run(transaction, sql, &[&kept.delegation, &look.paced_to, &id]).await?;
    Ok(id.is_some())
}

/// An operation that nobody asked for, about these mailboxes.
pub(crate) fn by_itself(
    tenant: &TenantName,
    delegation: Uuid,
    kind: OperationKind,
    mailboxes: &[Uuid],
    now: OffsetDateTime,
) -> NewBack {
    NewBack {
        id: OperationId::new(now, Uuid::new_v4()),
        tenant: tenant.clone(),
        kind,
        delegation: Some(DelegationId::from_uuid(delegation)),
        trustee: None,
        undoes: None,
        repair: false,
        names: mailboxes
            .iter()
            .map(|mailbox| MailboxId::from_uuid(*mailbox).to_string())
            .collect(),
        lane: Lane::Bulk,
        validate_only: false,
        caller: CALLER.to_owned(),
        request_id: String::new(),
        canonical: String::new(),
        ticket: String::new(),
        traceparent: String::new(),
        at: now,
    }
}

/// Whether it may be listed anew: a run of the whole delegation is the last word about it, and is over.
async fn may_list(transaction: &Transaction<'_>, kept: &Due) -> Result<bool, StoreError> {
    let tenant = kept.tenant.as_str();
    let sql = "SELECT 1 FROM operation WHERE tenant = $1 AND delegation_id = $2 AND ended_at IS NULL AND NOT validate_only
        AND (kind = 'delegate' AND confined_to = '{}' OR kind IN ('revoke', 'undo') AND NOT named) LIMIT 1";
    if !rows(transaction, sql, &[&tenant, &kept.delegation])
        .await?
        .is_empty()
    {
        return Ok(false);
    }
    let last = rows(
        transaction,
        "SELECT o.kind = 'delegate' AND o.state = 'done' AS stands FROM operation o JOIN delegation d ON d.id = $2
         WHERE o.tenant = $1 AND o.keeping = '' AND NOT o.validate_only AND (
            o.kind = 'delegate' AND o.delegation_id = d.id AND o.confined_to = '{}' AND o.state <> 'failed'
            OR o.kind = 'revoke' AND NOT o.named AND (o.delegation_id = d.id OR o.trustee = ANY(d.trustee_addresses))
            OR o.kind = 'undo' AND EXISTS (SELECT 1 FROM operation u WHERE u.id = o.undoes AND u.kind = 'delegate' AND u.delegation_id = d.id
                AND u.confined_to = '{}'))
         ORDER BY o.id DESC LIMIT 1",
        &[&tenant, &kept.delegation],
    )
    .await?;
    Ok(last.iter().any(|row| row.get("stands")))
}

async fn begin_listing(
    transaction: &Transaction<'_>,
    kept: &Due,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let id = OperationId::new(now, Uuid::new_v4());
    run(
        transaction,
        "INSERT INTO operation (id, tenant, delegation_id, state, lane, validate_only, requested_by, ticket, traceparent, created_at, sequence, keeping)
         VALUES ($1, $2, $3, 'accepted', $4, false, $5, '', '', $6, 0, $7)",
        &[
            &id.as_uuid(),
            &kept.tenant.as_str(),
            &kept.delegation,
            &Lane::Bulk.as_str(),
            &CALLER,
            &now,
            &KeptRun::List.as_str(),
        ],
    )
    .await?;
    let standing = lock_one(transaction, id).await?;
    save_one(transaction, id, standing, now).await?;
    let sql = "UPDATE kept SET listed_at = $2, list_id = $3 WHERE delegation_id = $1";
    run(transaction, sql, &[&kept.delegation, &now, &id.as_uuid()]).await?;
    Ok(())
}
