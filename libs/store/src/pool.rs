//! The pool, migrations, and what may go wrong.

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio_postgres::NoTls;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// One process migrates at a time: the number is ours alone.
const MIGRATION_LOCK: i64 = 0x63_61_6c_67;

/// Why the store couldn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres is away, or the connection broke: try again.
    #[error("Postgres: {0}")]
    Away(String),
    /// Postgres refused: a fault of ours.
    #[error("Postgres refused: {0}")]
    Refused(String),
    /// What is stored can't be read.
    #[error("what is stored can't be read: {0}")]
    Unreadable(#[from] calgrant_domain::BadInput),
    /// There is nothing of this name.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The claim on a listing is not the caller's any more, or the operation was cancelled.
    #[error("the listing is not the caller's any more")]
    ClaimLost,
    /// The `request_id` was used for another request, which became this operation.
    #[error("the request_id was used for {0}")]
    RequestIdReused(calgrant_domain::OperationId),
    /// What was read before has changed meanwhile.
    #[error("changed meanwhile")]
    Changed,
    /// The number to resume from has been pruned.
    #[error("pruned")]
    Pruned,
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = error
            .as_db_error()
            .map_or_else(|| error.to_string(), ToString::to_string);
        // Class 08 and 57P: connection trouble, shutting down; 40: try again.
        let passing = error.code().is_none_or(|code| {
            ["08", "57P", "40", "53"]
                .iter()
                .any(|class| code.code().starts_with(class))
        });
        if passing {
            Self::Away(text)
        } else {
            Self::Refused(text)
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Away(error.to_string())
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// A pool of connections to `url`, made when they are needed.
    ///
    /// # Errors
    /// It is no URL of Postgres.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let refused = |cause: String| StoreError::Refused(cause);
        let config: tokio_postgres::Config = url
            .parse()
            .map_err(|cause: tokio_postgres::Error| refused(cause.to_string()))?;
        let manager = Manager::from_config(
            config,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        // `Accepted` means committed to disk, whatever the server's default is.
        let durable = Hook::async_fn(|connection: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move {
                connection
                    .batch_execute("SET synchronous_commit = on")
                    .await
                    .map_err(HookError::Backend)
            })
        });
        let timeout = Some(Duration::from_secs(10));
        let pool = Pool::builder(manager)
            .max_size(16)
            .runtime(Runtime::Tokio1)
            .wait_timeout(timeout)
            .create_timeout(timeout)
            .post_create(durable)
            .build();
        Ok(Self {
            pool: pool.map_err(|cause| refused(cause.to_string()))?,
        })
    }

    /// Brings the schema up to date; several processes may ask at the same time.
    ///
    /// # Errors
    /// Postgres is away, or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        connection
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await?;
        let migrated = embedded::migrations::runner()
            .run_async(&mut **connection)
            .await;
        connection
            .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
            .await?;
        migrated
            .map(drop)
            .map_err(|cause| StoreError::Refused(cause.to_string()))
    }

    /// A number that differs when the migrations do.
    #[must_use]
    pub fn schema() -> u64 {
        embedded::migrations::runner()
            .get_migrations()
            .iter()
            .fold(0, |sum, migration| sum ^ migration.checksum())
    }

    /// Whether Postgres answers.
    ///
    /// # Errors
    /// It doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection().await?.simple_query("SELECT 1").await?;
        Ok(())
    }

    pub(crate) async fn connection(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }
}
