//! What waits at each site: from the counts of operations, so that a million jobs cost no more than one.

use std::sync::LazyLock;

use calgrant_domain::{SiteKind, TenantName};
use time::OffsetDateTime;

use crate::{
    Store, StoreError,
    row::{count, parsed},
    standing::outcomes,
};

/// Jobs of operation `o` that have not ended.
static OUTSTANDING: LazyLock<String> = LazyLock::new(|| {
    let ended = outcomes(|word| format!("o.{word}")).replace(", ", " + ");
    format!("(o.accepted - ({ended}))")
});

/// What waits at a site of a tenant. Only sites with operations that are not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Operations that are not over.
    pub operations: u64,
    /// Of these, those whose mailboxes are still being listed.
    pub listing: u64,
    /// Jobs that could be done now, those in workers' hands included. Of an operation on two sites, all of them for both.
    pub ready: u64,
    /// Since when the oldest of them has waited, or been in a worker's hands.
    pub oldest: Option<OffsetDateTime>,
}

impl Store {
    /// What waits at every site, or at those of one tenant.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn backlog(
        &self,
        tenant: Option<&TenantName>,
        now: OffsetDateTime,
    ) -> Result<Vec<Backlog>, StoreError> {
        // Jobs that wait for a later time are few, and found by the index. Those that wait for a person are nobody's work.
        let sql = &format!("WITH active AS (
                SELECT o.tenant, o.state, COALESCE(d.trustee_sites, (SELECT array_agg(kind) FROM site WHERE site.tenant = o.tenant)) AS trustee_sites,
                    CASE WHEN o.hold <> '' THEN 0 ELSE {OUTSTANDING} - o.held_back
                        - (SELECT count(*) FROM job WHERE operation_id = o.id AND state = 'ready' AND not_before > $2) END AS ready,
                    LEAST(
                        (SELECT CASE WHEN min(not_before) IS NOT NULL THEN GREATEST(min(not_before), o.created_at) END FROM job WHERE operation_id = o.id AND o.hold = '' AND state = 'ready' AND not_before <= $2),
                        (SELECT min(published_at) FROM job WHERE tenant = o.tenant AND lane = o.lane AND operation_id = o.id AND state = 'published')
                    ) AS oldest
                FROM operation o LEFT JOIN delegation d ON d.id = o.delegation_id
                WHERE o.state IN ('accepted', 'listing', 'running', 'cancelling') AND ($1::text IS NULL OR o.tenant = $1)
            )
            SELECT tenant, site, count(*) AS operations, count(*) FILTER (WHERE state IN ('accepted', 'listing')) AS listing,
                sum(GREATEST(ready, 0))::bigint AS ready, min(oldest) AS oldest
            FROM active CROSS JOIN LATERAL (SELECT DISTINCT unnest(trustee_sites) AS site) sites
            GROUP BY tenant, site ORDER BY tenant, site", OUTSTANDING = *OUTSTANDING);
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let rows = connection
            .query(&statement, &[&tenant.map(TenantName::as_str), &now])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Backlog {
                    tenant: parsed(row, "tenant")?,
                    site: parsed(row, "site")?,
                    operations: count(row, "operations")?,
                    listing: count(row, "listing")?,
                    ready: count(row, "ready")?,
                    oldest: row.try_get("oldest")?,
                })
            })
            .collect()
    }

    /// Jobs outstanding of each operation of a tenant that is being worked on.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn outstanding(
        &self,
        tenant: &TenantName,
    ) -> Result<Vec<(calgrant_domain::OperationId, u64)>, StoreError> {
        let sql = &format!(
            "SELECT o.id, GREATEST({} - o.held_back, 0) AS outstanding
            FROM operation o WHERE o.tenant = $1 AND o.state IN ('listing', 'running', 'cancelling') AND o.hold = '' AND o.keeping <> 'verify'",
            *OUTSTANDING
        );
        let connection = self.connection().await?;
        let rows = connection.query(sql, &[&tenant.as_str()]).await?;
        rows.iter()
            .map(|row| {
                let id = calgrant_domain::OperationId::from_uuid(row.try_get("id")?);
                Ok((id, count(row, "outstanding")?))
            })
            .collect()
    }
}
