//! The database, looked into from outside, and its clock.

use std::time::Duration;

use anyhow::Context;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::TaskTracker;

/// How long a look may take, for it may be held up or away.
const LOOK: Duration = Duration::from_secs(2);

/// Where it is, without a proxy in between.
#[derive(Clone)]
pub(crate) struct Database(pub(crate) String);

impl Database {
    async fn connect(&self) -> anyhow::Result<Client> {
        let config: Config = self.0.parse()?;
        let (client, connection) = config.connect(NoTls).await?;
        // It ends when the client is dropped.
        TaskTracker::new().spawn(connection);
        Ok(client)
    }

    /// Puts a clock in front of the server's own, which can be set. To be called before any service connects.
    pub(crate) async fn prepare_clock(&self) -> anyhow::Result<()> {
        let name: Config = self.0.parse()?;
        let name = name.get_dbname().context("the URL names no database")?;
        let sql = format!(
            "CREATE TABLE chaos_clock (millis bigint NOT NULL);
             INSERT INTO chaos_clock VALUES (0);
             CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
                'SELECT pg_catalog.clock_timestamp() + (SELECT millis FROM public.chaos_clock) * interval ''1 millisecond''';
             ALTER DATABASE {name} SET search_path = public, pg_catalog;"
        );
        self.connect().await?.batch_execute(&sql).await?;
        Ok(())
    }

    /// Sets that clock to so many milliseconds before or after the true time.
    pub(crate) async fn set_clock(&self, millis: i64) -> anyhow::Result<()> {
        let client = self.connect().await?;
        let sql = "UPDATE public.chaos_clock SET millis = $1";
        client.execute(sql, &[&millis]).await?;
        Ok(())
    }

    /// Whether it takes connections.
    pub(crate) async fn answers(&self) -> bool {
        let asked = tokio::time::timeout(LOOK, self.connect()).await;
        matches!(asked, Ok(Ok(_)))
    }

    /// Jobs whose write has begun and that have not ended; 0 while it is away.
    pub(crate) async fn writes_under_way(&self) -> u64 {
        self.count("SELECT count(*) FROM job WHERE begun_at IS NOT NULL AND state <> 'ended'")
            .await
            .unwrap_or(0)
    }

    /// Reads that showed an entry as it was before our write.
    pub(crate) async fn stale_reads(&self) -> anyhow::Result<u64> {
        self.count("SELECT coalesce(sum(proofs), 0)::bigint FROM job")
            .await
    }

    async fn count(&self, sql: &str) -> anyhow::Result<u64> {
        let asked = async {
            let row = self.connect().await?.query_one(sql, &[]).await?;
            Ok(u64::try_from(row.get::<_, i64>(0))?)
        };
        tokio::time::timeout(LOOK, asked).await?
    }
}
