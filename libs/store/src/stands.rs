//! What operators want of accounts.

use calgrant_domain::{AccountName, AccountStand, SiteKind, TenantName};
use time::OffsetDateTime;

use crate::{Store, StoreError, row::parsed, tenants::bump_fleet};

/// An account that an operator stopped.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// Which.
    pub account: AccountName,
    /// Paused, or draining.
    pub stand: AccountStand,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who.
    pub changed_by: String,
    /// Since when.
    pub changed_at: OffsetDateTime,
}

impl Store {
    /// Every account that an operator stopped.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn stopped(&self) -> Result<Vec<Stopped>, StoreError> {
        let rows = self.connection().await?.query("SELECT tenant, site, account, stand, reason, changed_by, changed_at FROM account_stand ORDER BY tenant, site, account", &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Stopped {
                    tenant: parsed(row, "tenant")?,
                    site: parsed(row, "site")?,
                    account: parsed(row, "account")?,
                    stand: parsed(row, "stand")?,
                    reason: row.try_get("reason")?,
                    changed_by: row.try_get("changed_by")?,
                    changed_at: row.try_get("changed_at")?,
                })
            })
            .collect()
    }

    /// Notes what an operator wants of an account; a working one is also tried again if the server had refused it.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn stand(&self, wanted: &Stopped) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let (tenant, site, account) = (
            wanted.tenant.as_str(),
            wanted.site.as_str(),
            wanted.account.as_str(),
        );
        if wanted.stand == AccountStand::Working {
            for table in ["account_stand", "account_pause"] {
                transaction
                    .execute(
                        &format!(
                            "DELETE FROM {table} WHERE tenant = $1 AND site = $2 AND account = $3"
                        ),
                        &[&tenant, &site, &account],
                    )
                    .await?;
            }
        } else {
            transaction
                .execute(
                    "INSERT INTO account_stand (tenant, site, account, stand, reason, changed_by, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
                     ON CONFLICT (tenant, site, account) DO UPDATE SET stand = EXCLUDED.stand, reason = EXCLUDED.reason, changed_by = EXCLUDED.changed_by, changed_at = EXCLUDED.changed_at",
                    &[
                        &tenant,
                        &site,
                        &account,
                        &wanted.stand.as_str(),
                        &wanted.reason,
                        &wanted.changed_by,
                        &wanted.changed_at,
                    ],
                )
                .await?;
        }
        bump_fleet(&*transaction).await?;
        Ok(transaction.commit().await?)
    }
}
