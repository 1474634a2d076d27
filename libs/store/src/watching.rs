//! Delegation groups that are watched: which is to be looked at, and what is told of what was found.

use std::time::Duration;

use calgrant_domain::{Address, Concern, GroupSeen, SiteKind, TenantName, watch::concerns};
use time::OffsetDateTime;

use crate::{
    Store, StoreError,
    alerts::{self, NewAlert},
    error::retrying,
    pool::{rows, run},
    row::parsed,
    tenants::{self, KEEPING},
};

/// A delegation group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedGroup {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Its address.
    pub address: Address,
}

impl Store {
    /// Claims a group that is to be looked at: the trustee of a delegation that is kept. It has to be reported within `hold`, or
    /// somebody else looks.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_group(
        &self,
        hold: Duration,
        now: OffsetDateTime,
    ) -> Result<Option<WatchedGroup>, StoreError> {
        let connection = self.connection().await?;
        let sql = "INSERT INTO watched_group (tenant, site, address)
            SELECT DISTINCT d.tenant, t.site, t.address FROM delegation d, unnest(d.trustee_sites, d.trustee_addresses) AS t (site, address)
            WHERE d.policy = 'keep' AND NOT EXISTS (SELECT 1 FROM watched_group w WHERE w.tenant = d.tenant AND w.site = t.site AND w.address = t.address)
            ON CONFLICT DO NOTHING";
        connection.execute(sql, &[]).await?;
        let sql = "WITH due AS (
                SELECT w.tenant, w.site, w.address FROM watched_group w JOIN tenant t ON t.name = w.tenant
                    JOIN site s ON s.tenant = w.tenant AND s.kind = w.site
                WHERE t.watch_every_millis > 0 AND (w.claimed_until IS NULL OR w.claimed_until <= $1)
                    AND (w.looked_at IS NULL OR w.looked_at <= $1 - t.watch_every_millis * interval '1 millisecond')
                ORDER BY w.looked_at NULLS FIRST, w.tenant, w.site, w.address LIMIT 1 FOR UPDATE OF w SKIP LOCKED
            )
            UPDATE watched_group w SET claimed_until = $2 FROM due WHERE w.tenant = due.tenant AND w.site = due.site AND w.address = due.address
            RETURNING w.tenant, w.site, w.address";
        let found = connection.query_opt(sql, &[&now, &(now + hold)]).await?;
        let read = |row: tokio_postgres::Row| {
            Ok(WatchedGroup {
                tenant: parsed(&row, "tenant")?,
                site: parsed(&row, "site")?,
                address: parsed(&row, "address")?,
            })
        };
        found.map(read).transpose()
    }

    /// Raises alerts about what was found in a group, and ends those that aren't so any more. `None`: it is no group.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn report_group(
        &self,
        group: &WatchedGroup,
        seen: Option<&GroupSeen>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        retrying(|| self.report_group_once(group, seen, now)).await
    }

    async fn report_group_once(
        &self,
        group: &WatchedGroup,
        seen: Option<&GroupSeen>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let (tenant, address) = (group.tenant.as_str(), group.address.as_str());
        let subject = format!("{address} at {}", group.site);
        let sql = "UPDATE watched_group SET looked_at = $4, claimed_until = NULL WHERE tenant = $1 AND site = $2 AND address = $3";
        run(
            &transaction,
            sql,
            &[&tenant, &group.site.as_str(), &address, &now],
        )
        .await?;
        let sql = format!("SELECT {KEEPING} FROM tenant WHERE name = $1");
        let found = rows(&transaction, &sql, &[&tenant]).await?;
        if let (Some(seen), Some(row)) = (seen, found.first()) {
            let mut raised = Vec::new();
            for (kind, concern) in concerns(&group.address, seen, &tenants::keeping(row)?) {
                match concern {
                    Concern::Unknown => {}
                    Concern::None => alerts::end(&transaction, tenant, kind, &subject, now).await?,
                    Concern::Alert(text) => {
                        raised.push(NewAlert::about(tenant, kind, &subject, text));
                    }
                }
            }
            alerts::raise(&transaction, &raised, now).await?;
        }
        Ok(transaction.commit().await?)
    }
}
