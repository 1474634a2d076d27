//! Operations that wait for a person: what they wait for is stored, numbered and seen by those who watch.

use std::collections::BTreeMap;

use calgrant_domain::{OperationId, OperationState, SiteKind, TenantName};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    error::retrying,
    standing::{lock, save},
};

/// A site whose accounts can all do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUp {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Why, and what to do. The same as long as it is the same.
    pub text: String,
}

impl Store {
    /// Says of every running operation what it waits for: the texts of those sites where it has jobs left; nothing, if there
    /// are none. Only what differs is changed. Answers of how many.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn hold_up(&self, sites: &[HeldUp], now: OffsetDateTime) -> Result<u64, StoreError> {
        let tenants: Vec<_> = sites.iter().map(|site| site.tenant.as_str()).collect();
        let kinds: Vec<_> = sites.iter().map(|site| site.site.as_str()).collect();
        let sql = "SELECT o.id, o.waiting_for, ARRAY(
                SELECT s.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS s (tenant, site, number) WHERE s.tenant = o.tenant
                    AND (EXISTS (SELECT 1 FROM job WHERE operation_id = o.id AND state = 'ready' AND site = s.site)
                        OR EXISTS (SELECT 1 FROM job WHERE tenant = o.tenant AND lane = o.lane AND operation_id = o.id AND state = 'published' AND site = s.site))
                ORDER BY s.number) AS held
            FROM operation o WHERE o.state IN ('running', 'cancelling') AND o.hold = '' AND (o.waiting_for <> '' OR o.tenant = ANY($1))";
        let found = self
            .connection()
            .await?
            .query(sql, &[&tenants, &kinds])
            .await?;
        let mut wanted = BTreeMap::new();
        for row in found {
            let held: Vec<i64> = row.try_get("held")?;
            let texts: Vec<_> = held
                .iter()
                .filter_map(|number| sites.get(usize::try_from(number - 1).ok()?))
                .map(|site| site.text.as_str())
                .collect();
            let text = texts.join("; ");
            if text != row.try_get::<_, &str>("waiting_for")? {
                wanted.insert(row.try_get::<_, Uuid>("id")?, text);
            }
        }
        if wanted.is_empty() {
            return Ok(0);
        }
        retrying(|| self.say(&wanted, now)).await
    }

    async fn say(
        &self,
        wanted: &BTreeMap<Uuid, String>,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let ids: Vec<_> = wanted.keys().copied().collect();
        let mut standings = lock(&transaction, &ids).await?;
        standings.retain(|id: &OperationId, standing| {
            let goes_on = matches!(
                standing.state,
                OperationState::Running | OperationState::Cancelling
            ) && standing.hold.is_none();
            let Some(text) = wanted.get(&id.as_uuid()).filter(|_| goes_on) else {
                return false;
            };
            let differs = standing.waiting_for != *text;
            standing.waiting_for.clone_from(text);
            differs
        });
        let changed = u64::try_from(standings.len()).unwrap_or(u64::MAX);
        save(&transaction, standings, now).await?;
        transaction.commit().await?;
        Ok(changed)
    }
}
