//! The pool, and migrations.

use std::{path::Path, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction,
};
use tokio_postgres::{NoTls, Row, types::ToSql};

use crate::{StoreError, schema, tls};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// One process migrates at a time: the number is ours alone.
const MIGRATION_LOCK: i64 = 0x63_61_6c_67;

/// What every connection is told. `Accepted` means committed to disk, whatever the server's default is. Plans are
/// made for the tables as they are, not as they were when a statement was first used: they grow from nothing to
/// millions of rows, faster than statistics follow. Where it matters a statement looks rows up one by one (`LATERAL`), which is planned the same
/// way whatever the statistics say; and a page of rows is looked up by an index, where Postgres would rather read a whole table of tens of
/// thousands for it. A transaction of a process that hangs doesn't hold its locks for ever.
///
/// Statistics that were made while nothing was ready say that an index of what is ready is empty, and that reading all of it costs
/// nothing. So a statement that looks jobs or coverage up by their keys says `state || ''`, for which no such index is taken; one that is about
/// what is ready says in which order, which one index alone has.
const SESSION: &str =
    "SET synchronous_commit = on; SET plan_cache_mode = force_custom_plan; SET jit = off; SET enable_seqscan = off;
    SET idle_in_transaction_session_timeout = '60s'";

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// A pool of connections to `url`, made when they are needed. With `sslmode=verify-full` (or `require`, which
    /// means the same here) they are encrypted, and the server proves its name by a certificate that the system's
    /// roots or those in `ca_file` (PEM) vouch for. Without `sslmode` they are plain.
    ///
    /// # Errors
    /// It is no URL of Postgres, or its `sslmode` is not offered; `ca_file` can't be used, or there is no use for it.
    pub fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, StoreError> {
        let refused = StoreError::Refused;
        let (url, encrypted) = tls::mode(url).map_err(refused)?;
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|cause: tokio_postgres::Error| refused(cause.to_string()))?;
        // A silent peer is noticed within a minute, also in the middle of a transaction.
        config
            .keepalives_idle(Duration::from_secs(20))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(60));
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = if encrypted {
            let connector = tls::connector(&mut config, ca_file).map_err(refused)?;
            Manager::from_config(config, connector, recycling)
        } else if ca_file.is_some() {
            let why = "a CA file is of no use without sslmode=verify-full in the URL";
            return Err(refused(why.to_owned()));
        } else {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
            Manager::from_config(config, NoTls, recycling)
        };
        let prepared = Hook::async_fn(|connection: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move {
                connection
                    .batch_execute(SESSION)
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
            .post_create(prepared)
            .build();
        Ok(Self {
            pool: pool.map_err(|cause| refused(cause.to_string()))?,
        })
    }

    /// Brings the schema up to date; several processes may ask at the same time. A schema that a later version has brought further
    /// is left as it is: this version works with it.
    ///
    /// # Errors
    /// What was migrated before is not what this version knows: that doesn't pass. Postgres is away, or a migration fails, or others
    /// are in its way: try again.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        connection
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await?;
        let migrated = schema::migrate(&mut connection, &embedded::migrations::runner()).await;
        connection
            .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
            .await?;
        migrated
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

/// Runs a statement that is prepared once on each connection.
pub(crate) async fn rows(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let statement = transaction.prepare_cached(sql).await?;
    Ok(transaction.query(&statement, parameters).await?)
}

/// The same for a statement without rows to answer. Answers how many it touched.
pub(crate) async fn run(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let statement = transaction.prepare_cached(sql).await?;
    Ok(transaction.execute(&statement, parameters).await?)
}
