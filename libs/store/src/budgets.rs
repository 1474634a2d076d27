//! What is known of budget keys and their leases: locked, loaded and stored together. What it means is decided elsewhere;
//! here it is JSON, as text: there is a lot of it, and only who decides takes it apart.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};

use crate::{
    Store, StoreError,
    error::retrying,
    pool::{rows, run},
};

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name.
    pub name: String,
    /// Its state without leases; `None` for a key that is new.
    pub state: Option<String>,
    /// Its leases, by replica.
    pub leases: BTreeMap<String, String>,
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Its name.
    pub name: String,
    /// Its state from now on.
    pub state: String,
    /// Leases that changed, by replica; `None` for one that is over.
    pub leases: BTreeMap<String, Option<String>>,
}

/// What the database's clock says. It is read after the keys are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseClock {
    /// The time of day.
    pub now: OffsetDateTime,
    /// When the server was started: another one after every failover.
    pub started: OffsetDateTime,
    /// Grows with every known step of the clock.
    pub era: i64,
}

impl Store {
    /// Locks these keys in the order of their names, hands them to `decide` with the clock, and stores what it made of them.
    /// Returns after the commit. `decide` may run again if Postgres makes the transaction give way.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn with_budget_keys<T>(
        &self,
        names: &[String],
        mut decide: impl FnMut(&[StoredKey], DatabaseClock) -> (T, Vec<KeyChange>),
    ) -> Result<T, StoreError> {
        // An FnMut can't be lent to a future that may be made again.
        let decide = std::sync::Mutex::new(&mut decide);
        retrying(|| async {
            let mut connection = self.connection().await?;
            let transaction = connection.transaction().await?;
            let named: [&(dyn ToSql + Sync); 1] = [&names];
            let mut locked = rows(&transaction, LOCK, &named).await?;
            if locked.len() < names.len() {
                run(&transaction, "INSERT INTO budget_key (name) SELECT unnest($1::text[]) ORDER BY 1 ON CONFLICT DO NOTHING", &named).await?;
                locked = rows(&transaction, LOCK, &named).await?;
            }
            let mut keys = Vec::with_capacity(locked.len());
            for row in &locked {
                keys.push(StoredKey {
                    name: row.try_get("name")?,
                    state: row.try_get("state")?,
                    leases: BTreeMap::new(),
                });
            }
            // Sent together, read after the lock: others wait for these keys.
            let (leases, clock) = futures::try_join!(
                rows(&transaction, LEASES, &named),
                rows(&transaction, CLOCK, &[])
            )?;
            for row in leases {
                let key: &str = row.try_get("key")?;
                if let Ok(at) = keys.binary_search_by(|known| known.name.as_str().cmp(key)) {
                    keys[at].leases.insert(row.try_get("replica")?, row.try_get("state")?);
                }
            }
            let clock = read_clock(clock.first())?;
            let (answer, changes) = {
                let mut decide = decide.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                decide(&keys, clock)
            };
            store(&transaction, &changes).await?;
            transaction.commit().await?;
            Ok(answer)
        })
        .await
    }

    /// What is known of these keys, by name, and what time it is; nothing is locked. Keys that nobody has used are left out.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn budget_keys(
        &self,
        names: &[String],
    ) -> Result<(Vec<StoredKey>, DatabaseClock), StoreError> {
        let connection = self.connection().await?;
        let found = connection
            .query("SELECT k.name, k.state::text AS state, l.replica, l.state::text AS lease FROM budget_key k LEFT JOIN budget_lease l ON l.key = k.name WHERE k.name = ANY($1) ORDER BY k.name", &[&names])
            .await?;
        let clock = connection.query(CLOCK, &[]).await?;
        let clock = read_clock(clock.first())?;
        let mut keys: Vec<StoredKey> = Vec::new();
        for row in &found {
            let name: String = row.try_get("name")?;
            if keys.last().is_none_or(|last| last.name != name) {
                keys.push(StoredKey {
                    name,
                    state: row.try_get("state")?,
                    leases: BTreeMap::new(),
                });
            }
            if let (Some(last), Some(replica)) = (
                keys.last_mut(),
                row.try_get::<_, Option<String>>("replica")?,
            ) {
                last.leases.insert(replica, row.try_get("lease")?);
            }
        }
        Ok((keys, clock))
    }

    /// The database's clock was set: whoever grants leases must know.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn begin_budget_era(&self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        connection
            .execute("UPDATE budget_era SET era = era + 1", &[])
            .await?;
        Ok(())
    }
}

const LOCK: &str = "SELECT name, state::text AS state FROM budget_key WHERE name = ANY($1) ORDER BY name FOR UPDATE";

const LEASES: &str =
    "SELECT key, replica, state::text AS state FROM budget_lease WHERE key = ANY($1)";

const CLOCK: &str =
    "SELECT clock_timestamp() AS now, pg_postmaster_start_time() AS started, era FROM budget_era";

fn read_clock(row: Option<&Row>) -> Result<DatabaseClock, StoreError> {
    let row = row.ok_or(StoreError::NotFound("era of budgets"))?;
    Ok(DatabaseClock {
        now: row.try_get("now")?,
        started: row.try_get("started")?,
        era: row.try_get("era")?,
    })
}

/// Stores what has become of keys.
async fn store(
    transaction: &deadpool_postgres::Transaction<'_>,
    changes: &[KeyChange],
) -> Result<(), StoreError> {
    let (mut names, mut states) = (Vec::new(), Vec::new());
    let (mut keys, mut replicas, mut leases) = (Vec::new(), Vec::new(), Vec::new());
    let (mut gone_keys, mut gone_replicas) = (Vec::new(), Vec::new());
    for change in changes {
        names.push(&change.name);
        states.push(&change.state);
        for (replica, lease) in &change.leases {
            if let Some(lease) = lease {
                keys.push(&change.name);
                replicas.push(replica);
                leases.push(lease);
            } else {
                gone_keys.push(&change.name);
                gone_replicas.push(replica);
            }
        }
    }
    if !names.is_empty() {
        run(transaction, "UPDATE budget_key k SET state = new.state::jsonb FROM unnest($1::text[], $2::text[]) AS new (name, state) WHERE k.name = new.name", &[&names, &states]).await?;
    }
    if !keys.is_empty() {
        run(transaction, "INSERT INTO budget_lease (key, replica, state) SELECT key, replica, state::jsonb FROM unnest($1::text[], $2::text[], $3::text[]) AS new (key, replica, state) ON CONFLICT (key, replica) DO UPDATE SET state = EXCLUDED.state", &[&keys, &replicas, &leases]).await?;
    }
    if !gone_keys.is_empty() {
        run(transaction, "DELETE FROM budget_lease l USING unnest($1::text[], $2::text[]) AS gone (key, replica) WHERE l.key = gone.key AND l.replica = gone.replica", &[&gone_keys, &gone_replicas]).await?;
    }
    Ok(())
}
