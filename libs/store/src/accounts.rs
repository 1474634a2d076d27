//! Accounts that are paused, and why.

use calgrant_domain::{AccountName, SiteKind, TenantName};
use time::OffsetDateTime;

use crate::{Store, StoreError, row::parsed, tenants::bump_fleet};

/// An account that is paused.
#[derive(Debug, Clone)]
pub struct Pause {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Which.
    pub account: AccountName,
    /// Why, and what to do.
    pub reason: String,
    /// Since when.
    pub paused_at: OffsetDateTime,
}

impl Store {
    /// Every pause.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        let rows = self.connection().await?.query("SELECT tenant, site, account, reason, paused_at FROM account_pause ORDER BY tenant, site, account", &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Pause {
                    tenant: parsed(row, "tenant")?,
                    site: parsed(row, "site")?,
                    account: parsed(row, "account")?,
                    reason: row.try_get("reason")?,
                    paused_at: row.try_get("paused_at")?,
                })
            })
            .collect()
    }

    /// Pauses an account, or lets it go on (`reason` is `None`). The first reason stands until then.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn pause(
        &self,
        tenant: &str,
        site: &str,
        account: &str,
        reason: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let changed = match reason {
            Some(reason) => transaction.execute("INSERT INTO account_pause (tenant, site, account, reason, paused_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING", &[&tenant, &site, &account, &reason, &now]).await?,
            None => transaction.execute("DELETE FROM account_pause WHERE tenant = $1 AND site = $2 AND account = $3", &[&tenant, &site, &account]).await?,
        };
        if changed > 0 {
            bump_fleet(&*transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}
