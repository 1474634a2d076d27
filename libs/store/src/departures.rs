//! Listings that compare: who is selected anew is given the right, and who isn't any more has departed.

use std::{collections::HashSet, sync::LazyLock};

use calgrant_domain::{
    AlertKind, DelegationId, Joiners, Keeping, KeptRun, Leavers, Listed, MailboxId, OperationId,
    OperationKind, TenantName,
    alert::departed,
    keep::{Compared, DEPART_AGAIN, Verdict, compared},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Page, StoreError,
    alerts::{self, NewAlert},
    backs,
    keeping::by_itself,
    pool::{rows, run},
    row::{count, long, parsed},
    tenants::{self, KEEPING},
};

/// A listing that compares.
#[derive(Debug)]
pub(crate) struct Comparing {
    operation: OperationId,
    tenant: TenantName,
    delegation: Uuid,
    keeping: Keeping,
}

/// Of coverage `c`, what an operation $1 of the tenant $2 that lists a delegation $3 didn't come across. What was covered since it was
/// accepted is not its matter.
const UNSEEN: &str = "c.tenant = $2 AND c.delegation_id = $3 AND c.operation_id < $1
    AND NOT EXISTS (SELECT 1 FROM operation_seen s WHERE s.operation_id = $1 AND s.mailbox = c.mailbox)";

static MISSING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT count(*) AS missing FROM coverage c WHERE {UNSEEN} AND c.state = 'wanted' AND c.selected AND c.missing_since IS NULL"
    )
});
static DEPARTED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT c.mailbox, c.departed_at IS NULL OR c.departed_at < $4 AS untried FROM coverage c
         WHERE {UNSEEN} AND c.state = 'wanted' AND c.selected AND c.missing_since IS NOT NULL"
    )
});
static MARK: LazyLock<String> = LazyLock::new(|| {
    format!("UPDATE coverage c SET missing_since = $4 WHERE {UNSEEN} AND c.missing_since IS NULL")
});

/// What is known of an operation as a listing that compares; `None` if it isn't one.
pub(crate) async fn comparing(
    transaction: &Transaction<'_>,
    operation: OperationId,
) -> Result<Option<Comparing>, StoreError> {
    let sql = format!(
        "SELECT o.tenant, o.delegation_id, {KEEPING} FROM operation o JOIN tenant t ON t.name = o.tenant WHERE o.id = $1 AND o.keeping = 'list'"
    );
    let found = rows(transaction, &sql, &[&operation.as_uuid()]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Comparing {
            operation,
            tenant: parsed(row, "tenant")?,
            delegation: row.try_get("delegation_id")?,
            keeping: tenants::keeping(row)?,
        })
    };
    found.first().map(read).transpose()
}

impl Comparing {
    /// Remembers whom a page shows, and answers who of them joined: they suit, aren't excluded, and aren't covered. Whoever was
    /// revoked and has been selected ever since is no joiner.
    pub(crate) async fn joiners(
        &self,
        transaction: &Transaction<'_>,
        page: &Page,
        excluded: &HashSet<MailboxId>,
    ) -> Result<Vec<Listed>, StoreError> {
        let selected = || {
            let listed = page.listed.iter();
            listed.filter(|listed| !excluded.contains(&listed.id))
        };
        let ids: Vec<_> = selected().map(|listed| listed.id.as_uuid()).collect();
        let sql = "INSERT INTO operation_seen (operation_id, mailbox) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING";
        run(transaction, sql, &[&self.operation.as_uuid(), &ids]).await?;
        if self.keeping.joiners == Joiners::Ignore {
            return Ok(Vec::new());
        }
        let found = rows(
            transaction,
            "SELECT mailbox FROM coverage WHERE tenant = $1 AND mailbox = ANY($2) AND trustee = $3 AND delegation_id = $4
                AND (state <> 'released' OR missing_since IS NULL)",
            &[&self.tenant.as_str(), &ids, &page.trustee, &self.delegation],
        )
        .await?;
        let known: HashSet<Uuid> = found
            .iter()
            .map(|row| row.try_get("mailbox"))
            .collect::<Result<_, _>>()?;
        let joined =
            |listed: &&Listed| listed.what.is_ok() && !known.contains(&listed.id.as_uuid());
        Ok(selected().filter(joined).cloned().collect())
    }

    /// Compares a listing that is complete with what is covered, and begins what follows. Answers whether it counts.
    pub(crate) async fn finish(
        &self,
        transaction: &Transaction<'_>,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let (operation, tenant) = (self.operation.as_uuid(), self.tenant.as_str());
        // Who is there again isn't missing any more, and who was only named before is selected now. Who was released stays marked until the
        // right is given again.
        run(
            transaction,
            "UPDATE coverage c SET missing_since = NULL, departed_at = NULL, selected = true FROM operation_seen s
             WHERE s.operation_id = $1 AND c.tenant = $2 AND c.mailbox = s.mailbox AND c.delegation_id = $3
                AND (c.missing_since IS NOT NULL OR NOT c.selected) AND c.state <> 'released'",
            &[&operation, &tenant, &self.delegation],
        )
        .await?;
        let again = now - DEPART_AGAIN;
        let gone = rows(
            transaction,
            &DEPARTED,
            &[&operation, &tenant, &self.delegation, &again],
        )
        .await?;
        let mut untried: Vec<Uuid> = Vec::new();
        for row in &gone {
            if row.try_get("untried")? {
                untried.push(row.try_get("mailbox")?);
            }
        }
        let leavers = self.keeping.leavers;
        let counted = match leavers {
            Leavers::Revoke => untried.len(),
            Leavers::Report | Leavers::Ignore => gone.len(),
        };
        let seen = Compared {
            seen: self.seen(transaction).await?,
            missing: self.missing(transaction).await?,
            departed: u64::try_from(counted).unwrap_or(u64::MAX),
            departing: self.is_departing(transaction).await?,
        };
        let Verdict::Counts { report, revoke } = compared(&seen, leavers) else {
            return Ok(false);
        };
        run(
            transaction,
            &MARK,
            &[&operation, &tenant, &self.delegation, &now],
        )
        .await?;
        let leave = if revoke {
            Some(self.leave(transaction, &untried, now).await?.as_uuid())
        } else {
            None
        };
        self.tell(transaction, report.then_some(seen.departed), now)
            .await?;
        let missing = long(
            seen.missing
                .saturating_add(u64::try_from(gone.len()).unwrap_or(0)),
        );
        let unconfirmed = seen.missing > 0 && leavers != Leavers::Ignore;
        let sql = "UPDATE kept SET missing = $2, unconfirmed = $3, leave_id = COALESCE($4, leave_id) WHERE delegation_id = $1";
        run(
            transaction,
            sql,
            &[&self.delegation, &missing, &unconfirmed, &leave],
        )
        .await?;
        Ok(true)
    }

    async fn seen(&self, transaction: &Transaction<'_>) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) AS seen FROM operation_seen WHERE operation_id = $1";
        let row = transaction
            .query_one(sql, &[&self.operation.as_uuid()])
            .await?;
        count(&row, "seen")
    }

    async fn missing(&self, transaction: &Transaction<'_>) -> Result<u64, StoreError> {
        let found = rows(
            transaction,
            &MISSING,
            &[
                &self.operation.as_uuid(),
                &self.tenant.as_str(),
                &self.delegation,
            ],
        )
        .await?;
        found.first().map_or(Ok(0), |row| count(row, "missing"))
    }

    /// Whether an earlier operation that takes away from leavers isn't over.
    async fn is_departing(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM kept k JOIN operation o ON o.id = k.leave_id WHERE k.delegation_id = $1 AND o.ended_at IS NULL";
        Ok(!rows(transaction, sql, &[&self.delegation])
            .await?
            .is_empty())
    }

    /// Begins an operation that takes our entry away from these; the brakes look at it as at any other.
    async fn leave(
        &self,
        transaction: &Transaction<'_>,
        mailboxes: &[Uuid],
        now: OffsetDateTime,
    ) -> Result<OperationId, StoreError> {
        let kind = OperationKind::Revoke;
        let new = by_itself(&self.tenant, self.delegation, kind, mailboxes, now);
        backs::insert(transaction, &new, Some(KeptRun::Leave)).await?;
        let sql = "UPDATE coverage SET departed_at = $4 WHERE tenant = $1 AND delegation_id = $2 AND mailbox = ANY($3) AND state = 'wanted'";
        run(
            transaction,
            sql,
            &[&self.tenant.as_str(), &self.delegation, &mailboxes, &now],
        )
        .await?;
        Ok(new.id)
    }

    /// Says how many departed and are left their entries, or that nobody did.
    async fn tell(
        &self,
        transaction: &Transaction<'_>,
        left: Option<u64>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let (tenant, kind) = (self.tenant.as_str(), AlertKind::Leavers);
        let subject = DelegationId::from_uuid(self.delegation).to_string();
        let Some(left) = left else {
            return alerts::end(transaction, tenant, kind, &subject, now).await;
        };
        let sql = "SELECT count(*) AS covered FROM coverage WHERE delegation_id = $1 AND state = 'wanted'";
        let row = transaction.query_one(sql, &[&self.delegation]).await?;
        let alert = NewAlert {
            tenant: tenant.to_owned(),
            kind,
            subject,
            text: departed(left, count(&row, "covered")?),
            delegation: Some(self.delegation),
            operation: Some(self.operation.as_uuid()),
        };
        alerts::raise(transaction, &[alert], now).await
    }
}
