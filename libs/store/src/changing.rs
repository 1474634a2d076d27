//! Changing one account of a tenant that is stored, and nothing else of it.

use calgrant_domain::{AccountName, CallWindow, SiteKind, TenantName};
use time::OffsetDateTime;

use crate::{
    Store, StoreError,
    row::{int, millis},
    tenants::bump_fleet,
};

/// What to change of an account. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// Mailboxes worked on at the same moment.
    pub workers: Option<u32>,
    /// Calls under way at the same moment.
    pub in_flight: Option<u32>,
    /// Calls per sliding window.
    pub windows: Option<Vec<CallWindow>>,
}

impl Store {
    /// Changes an account; its tenant then has this `etag`.
    ///
    /// # Errors
    /// There is no such account; Postgres is away.
    pub async fn change_account(
        &self,
        tenant: &TenantName,
        site: SiteKind,
        account: &AccountName,
        change: &AccountChange,
        etag: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        // Locked first, as by those who apply the whole tenant.
        transaction
            .execute(
                "UPDATE tenant SET etag = $2, updated_at = $3 WHERE name = $1",
                &[&tenant.as_str(), &etag, &now],
            )
            .await?;
        let calls: Option<Vec<i32>> = change
            .windows
            .as_ref()
            .map(|windows| windows.iter().map(|window| int(window.calls)).collect());
        let lengths: Option<Vec<i64>> = change
            .windows
            .as_ref()
            .map(|windows| windows.iter().map(|window| millis(window.length)).collect());
        let changed = transaction
            .execute(
                "UPDATE account SET workers = COALESCE($4, workers), in_flight = COALESCE($5, in_flight),
                    window_calls = COALESCE($6, window_calls), window_millis = COALESCE($7, window_millis)
                 WHERE tenant = $1 AND site = $2 AND name = $3",
                &[
                    &tenant.as_str(),
                    &site.as_str(),
                    &account.as_str(),
                    &change.workers.map(int),
                    &change.in_flight.map(int),
                    &calls,
                    &lengths,
                ],
            )
            .await?;
        if changed == 0 {
            return Err(StoreError::NotFound("account"));
        }
        bump_fleet(&*transaction).await?;
        Ok(transaction.commit().await?)
    }
}
