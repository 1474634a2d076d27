//! Every change of what is known of a tenant's mailboxes, for those who wait for them: numbered in the transaction of the
//! change, so the order of numbers is that of commits, and whoever has seen a number has seen all before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use calgrant_domain::{
    AccessChange, JobId, MailboxId, Observed, OperationId, Reason, TenantName,
    access::{AccessBefore, worth_telling},
    outcome::optional,
    reading::Ended,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    place::{Key, columns, key, place},
    pool::{rows, run},
    results::Settling,
    row::{count, long, parsed},
};

/// Serialises the announcements of one tenant.
const ANNOUNCE_LOCK: i32 = 0x616e;

/// A change that is stored.
#[derive(Debug, Clone)]
pub struct MailboxChange {
    /// Its number among those of its tenant, from 1; 0 for what is known at the beginning.
    pub sequence: u64,
    /// When it was recorded.
    pub at: OffsetDateTime,
    /// What.
    pub kind: AccessChange,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its address, or the name it was listed by.
    pub address: String,
    /// Whose right.
    pub trustee: String,
    /// The right that was read last; empty if none.
    pub role: String,
    /// Why.
    pub reason: Option<Reason>,
    /// The operation that changed it.
    pub operation: OperationId,
}

/// A change that has no number yet.
#[derive(Debug)]
pub(crate) struct Unnumbered {
    tenant: String,
    kind: AccessChange,
    mailbox: Uuid,
    name: String,
    trustee: String,
    role: String,
    reason: &'static str,
    operation: Uuid,
}

/// What of these jobs' endings is worth telling. To be asked before what is known is overwritten.
pub(crate) async fn changes(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
) -> Result<Vec<Unnumbered>, StoreError> {
    // Of two operations in one batch the later one knows better.
    let mut latest: BTreeMap<Key, (&Settling, AccessChange)> = BTreeMap::new();
    for job in jobs.values().filter(|job| !job.known.validate_only) {
        let entry = matches!(job.seen, Some((Observed::Present(_), _)));
        let Some(kind) = job
            .ended
            .as_ref()
            .and_then(|end| AccessChange::of(end.outcome, entry))
        else {
            continue;
        };
        let key = (
            job.tenant.clone(),
            job.mailbox.as_uuid(),
            job.trustee.clone(),
        );
        match latest.get(&key) {
            Some((other, _)) if other.operation > job.operation => {}
            _ => {
                latest.insert(key, (job, kind));
            }
        }
    }
    if latest.is_empty() {
        return Ok(Vec::new());
    }
    let before = before(transaction, latest.keys()).await?;
    let operations = latest
        .values()
        .map(|(job, _)| job.operation.as_uuid())
        .collect();
    let asked_for = confined(transaction, operations).await?;
    let mut changes = Vec::new();
    for (key, (job, kind)) in latest {
        let (known, by) = before
            .get(&key)
            .map_or((None, None), |(known, by)| (Some(known), Some(*by)));
        let operation = job.operation.as_uuid();
        if by.is_some_and(|by| by > operation) {
            continue;
        }
        let role = match job.seen {
            Some((Observed::Present(rights), _)) => rights.to_string(),
            _ => String::new(),
        };
        let reason = job.reason();
        if worth_telling(kind, &role, reason, known, asked_for.contains(&operation)) {
            let (tenant, mailbox, trustee) = key;
            changes.push(Unnumbered {
                tenant,
                kind,
                mailbox,
                name: String::new(),
                trustee,
                role,
                reason,
                operation,
            });
        }
    }
    Ok(changes)
}

/// What somebody asked for by name, and the listing found unsuitable.
pub(crate) async fn refused(
    transaction: &Transaction<'_>,
    operation: OperationId,
    trustee: &str,
    unsuitable: Vec<(MailboxId, &str, Ended)>,
) -> Result<Vec<Unnumbered>, StoreError> {
    if unsuitable.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        "SELECT tenant FROM operation WHERE id = $1 AND confined_to <> '{}' AND NOT validate_only";
    let found = rows(transaction, sql, &[&operation.as_uuid()]).await?;
    let Some(row) = found.first() else {
        return Ok(Vec::new());
    };
    let tenant: String = row.try_get("tenant")?;
    let changes = unsuitable
        .into_iter()
        .map(|(mailbox, name, end)| Unnumbered {
            tenant: tenant.clone(),
            kind: AccessChange::Failed,
            mailbox: mailbox.as_uuid(),
            name: name.to_owned(),
            trustee: trustee.to_owned(),
            role: String::new(),
            reason: end.reason.map_or("", Reason::as_str),
            operation: operation.as_uuid(),
        });
    Ok(changes.collect())
}

/// What is known of these rights, and which operation knows it. Locked in the order in which they are overwritten.
async fn before(
    transaction: &Transaction<'_>,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Key, (AccessBefore, Uuid)>, StoreError> {
    let (tenants, mailboxes, trustees) = columns(keys.map(place));
    let found = rows(
        transaction,
        "SELECT a.tenant, a.mailbox, a.trustee, a.state, a.role, a.reason, a.operation_id
         FROM (SELECT page.tenant, page.mailbox, page.trustee FROM unnest($1::text[], $2::uuid[], $3::text[]) AS page (tenant, mailbox, trustee)
            ORDER BY page.tenant, page.mailbox, page.trustee) AS page
         CROSS JOIN LATERAL (SELECT tenant, mailbox, trustee, state, role, reason, operation_id FROM access
            WHERE access.tenant = page.tenant AND access.mailbox = page.mailbox AND access.trustee = page.trustee FOR UPDATE) a",
        &[&tenants, &mailboxes, &trustees],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let known = AccessBefore {
                granted: row.try_get::<_, &str>("state")? == "granted",
                role: row.try_get("role")?,
                reason: row.try_get("reason")?,
            };
            Ok((key(row)?, (known, row.try_get("operation_id")?)))
        })
        .collect()
}

/// Those of these operations that are confined to mailboxes somebody named.
async fn confined(
    transaction: &Transaction<'_>,
    operations: BTreeSet<Uuid>,
) -> Result<BTreeSet<Uuid>, StoreError> {
    let operations: Vec<_> = operations.into_iter().collect();
    let sql = "SELECT id FROM operation WHERE id = ANY($1) AND confined_to <> '{}'";
    let found = rows(transaction, sql, &[&operations]).await?;
    found.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Stores changes under the next numbers of their tenants.
pub(crate) async fn append(
    transaction: &Transaction<'_>,
    changes: &[Unnumbered],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut by_tenant: BTreeMap<&str, Vec<&Unnumbered>> = BTreeMap::new();
    for change in changes {
        by_tenant.entry(&change.tenant).or_default().push(change);
    }
    for (tenant, changes) in by_tenant {
        let more = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO mailbox_log_head (tenant, sequence) VALUES ($1, $2)
            ON CONFLICT (tenant) DO UPDATE SET sequence = mailbox_log_head.sequence + EXCLUDED.sequence RETURNING sequence";
        let taken = rows(transaction, sql, &[&tenant, &more]).await?;
        let last: i64 = match taken.first() {
            Some(row) => row.try_get("sequence")?,
            None => return Err(StoreError::NotFound("tenant")),
        };
        fn each<'c, T>(all: &[&'c Unnumbered], of: impl Fn(&'c Unnumbered) -> T) -> Vec<T> {
            all.iter().map(|change| of(change)).collect()
        }
        let kinds = each(&changes, |change| change.kind.as_str());
        let mailboxes = each(&changes, |change| change.mailbox);
        let names = each(&changes, |change| change.name.as_str());
        let trustees = each(&changes, |change| change.trustee.as_str());
        let roles = each(&changes, |change| change.role.as_str());
        let reasons = each(&changes, |change| change.reason);
        let operations = each(&changes, |change| change.operation);
        run(
            transaction,
            "INSERT INTO mailbox_log (tenant, sequence, at, kind, mailbox, address, trustee, role, reason, operation_id)
             SELECT $1, $2 + page.position, $3, page.kind, page.mailbox,
                COALESCE((SELECT m.address FROM mailbox m WHERE m.tenant = $1 AND m.id = page.mailbox), page.name), page.trustee, page.role, page.reason, page.operation
             FROM unnest($4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::uuid[]) WITH ORDINALITY
                AS page (kind, mailbox, name, trustee, role, reason, operation, position)",
            &[&tenant, &(last - more), &now, &kinds, &mailboxes, &names, &trustees, &roles, &reasons, &operations],
        )
        .await?;
    }
    Ok(())
}

const COLUMNS: &str = "sequence, at, kind, mailbox, address, trustee, role, reason, operation_id";

impl Store {
    /// Changes after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// The next one has been pruned, or none was ever given that number; Postgres is away.
    pub async fn mailbox_changes(
        &self,
        tenant: &TenantName,
        after: u64,
        limit: i64,
    ) -> Result<Vec<MailboxChange>, StoreError> {
        let head = self.mailbox_log_head(tenant).await?;
        if head == after {
            return Ok(Vec::new());
        }
        let connection = self.connection().await?;
        let statement = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM mailbox_log WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"))
            .await?;
        let found = connection
            .query(&statement, &[&tenant.as_str(), &long(after), &limit])
            .await?;
        let changes = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        match changes.first() {
            Some(first) if first.sequence == after + 1 => Ok(changes),
            _ => Err(StoreError::Pruned),
        }
    }

    /// The number of a tenant's latest change; 0 if there was none.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn mailbox_log_head(&self, tenant: &TenantName) -> Result<u64, StoreError> {
        let connection = self.connection().await?;
        let sql = "SELECT sequence FROM mailbox_log_head WHERE tenant = $1";
        let statement = connection.prepare_cached(sql).await?;
        let found = connection
            .query_opt(&statement, &[&tenant.as_str()])
            .await?;
        found.map_or(Ok(0), |row| count(&row, "sequence"))
    }

    /// What is known of a tenant's mailboxes after this one (its key, then the trustee), in that order, at most `limit`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn mailboxes_known(
        &self,
        tenant: &TenantName,
        after: Option<(MailboxId, &str)>,
        limit: i64,
    ) -> Result<Vec<MailboxChange>, StoreError> {
        let (mailbox, trustee) =
            after.map_or((Uuid::nil(), ""), |(id, trustee)| (id.as_uuid(), trustee));
        let found = self.connection().await?.query(
            "SELECT 0::bigint AS sequence, COALESCE(a.verified_at, o.ended_at, o.created_at, now()) AS at,
                CASE WHEN a.state = 'granted' THEN 'granted' WHEN a.reason = '' THEN 'revoked' ELSE 'failed' END AS kind,
                a.mailbox, COALESCE(m.address, '') AS address, a.trustee, a.role, a.reason, a.operation_id
             FROM access a LEFT JOIN mailbox m ON m.tenant = a.tenant AND m.id = a.mailbox LEFT JOIN operation o ON o.id = a.operation_id
             WHERE a.tenant = $1 AND (a.mailbox, a.trustee) > ($2, $3) ORDER BY a.mailbox, a.trustee LIMIT $4",
            &[&tenant.as_str(), &mailbox, &trustee, &limit],
        ).await?;
        found.iter().map(read).collect()
    }

    /// Tenants with changes that have not been announced.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn unannounced(&self) -> Result<Vec<TenantName>, StoreError> {
        let sql = "SELECT tenant FROM mailbox_log_head WHERE announced < sequence ORDER BY tenant";
        let found = self.connection().await?.query(sql, &[]).await?;
        found.iter().map(|row| parsed(row, "tenant")).collect()
    }

    /// Hands the changes to `announce` that come after those announced, at most `limit`; it answers the number of the last one that is
    /// out. Answers how many there were: none while another process announces for this tenant. What was announced and not recorded is
    /// announced again.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn announce<F: Future<Output = Option<u64>>>(
        &self,
        tenant: &TenantName,
        limit: i64,
        announce: impl FnOnce(Vec<MailboxChange>) -> F,
    ) -> Result<usize, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext($2)) AS ours";
        let locked = rows(&transaction, sql, &[&ANNOUNCE_LOCK, &tenant.as_str()]).await?;
        if !locked.iter().any(|row| row.get("ours")) {
            return Ok(0);
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM mailbox_log WHERE tenant = $1 AND sequence > (SELECT announced FROM mailbox_log_head WHERE tenant = $1) ORDER BY sequence LIMIT $2"
        );
        let found = rows(&transaction, &sql, &[&tenant.as_str(), &limit]).await?;
        let changes = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let number = changes.len();
        if let Some(last) = announce(changes).await {
            let sql = "UPDATE mailbox_log_head SET announced = $2 WHERE tenant = $1";
            run(&transaction, sql, &[&tenant.as_str(), &long(last)]).await?;
        }
        transaction.commit().await?;
        Ok(number)
    }

    /// Forgets all changes of each tenant but the latest `keep`, at most `limit` at once; of `announced_only`, none that has not
    /// been announced. The oldest go first, so that there is no gap for those who watch.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_mailbox_changes(
        &self,
        keep: u64,
        announced_only: bool,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM mailbox_log WHERE ctid = ANY(ARRAY(
            SELECT old.at FROM mailbox_log_head h CROSS JOIN LATERAL (
                SELECT l.ctid AS at FROM mailbox_log l WHERE l.tenant = h.tenant AND l.sequence <= h.sequence - $1 AND (NOT $2 OR l.sequence <= h.announced)
                ORDER BY l.sequence LIMIT $3) old
            LIMIT $3))";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let (keep, most) = (long(keep), i64::from(limit));
        let rows = connection
            .execute(&statement, &[&keep, &announced_only, &most])
            .await?;
        Ok(Forgotten::of(rows, limit))
    }
}

fn read(row: &Row) -> Result<MailboxChange, StoreError> {
    Ok(MailboxChange {
        sequence: count(row, "sequence")?,
        at: row.try_get("at")?,
        kind: parsed(row, "kind")?,
        mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
        address: row.try_get("address")?,
        trustee: row.try_get("trustee")?,
        role: row.try_get("role")?,
        reason: optional(row.try_get("reason")?)?,
        operation: OperationId::from_uuid(row.try_get("operation_id")?),
    })
}
