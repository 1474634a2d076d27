//! Secrets that were sealed elsewhere. Nothing here can open them.

use calgrant_domain::SetupId;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Store, StoreError};

/// What is kept under a name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SealedSecret {
    /// What is in effect; `None` if nothing is.
    pub sealed: Option<Vec<u8>>,
    /// The set-up that made it.
    pub made_by: Option<SetupId>,
    /// What is about to come into effect.
    pub pending: Option<Vec<u8>>,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedSecret(…)")
    }
}

impl Store {
    /// What is kept under a name.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn sealed_secret(&self, name: &str) -> Result<SealedSecret, StoreError> {
        let connection = self.connection().await?;
        let sql = "SELECT sealed, made_by, pending FROM sealed_secret WHERE name = $1";
        let read = |row: Row| {
            Ok::<_, StoreError>(SealedSecret {
                sealed: row.try_get("sealed")?,
                made_by: row
                    .try_get::<_, Option<Uuid>>("made_by")?
                    .map(SetupId::from_uuid),
                pending: row.try_get("pending")?,
            })
        };
        let found = connection.query_opt(sql, &[&name]).await?;
        Ok(found.map(read).transpose()?.unwrap_or_default())
    }

    /// Keeps what is about to come into effect, unless something is already. Answers what is.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn keep_sealed(
        &self,
        name: &str,
        sealed: &[u8],
        made_by: SetupId,
        now: OffsetDateTime,
    ) -> Result<Vec<u8>, StoreError> {
        let sql = "INSERT INTO sealed_secret AS s (name, pending, pending_by, changed_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (name) DO UPDATE SET pending = COALESCE(s.pending, EXCLUDED.pending),
                pending_by = CASE WHEN s.pending IS NULL THEN EXCLUDED.pending_by ELSE s.pending_by END, changed_at = EXCLUDED.changed_at
            RETURNING pending";
        let row = self
            .connection()
            .await?
            .query_one(sql, &[&name, &sealed, &made_by.as_uuid(), &now])
            .await?;
        Ok(row.try_get("pending")?)
    }

    /// What was about to come into effect has. Nothing happens if nothing was.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn settle_sealed(&self, name: &str, now: OffsetDateTime) -> Result<(), StoreError> {
        let sql = "UPDATE sealed_secret SET sealed = pending, made_by = pending_by, pending = NULL, pending_by = NULL, changed_at = $2, settled_at = $2
            WHERE name = $1 AND pending IS NOT NULL";
        self.connection()
            .await?
            .execute(sql, &[&name, &now])
            .await?;
        Ok(())
    }
}
