//! A database of a test's own, cloned from one that is migrated once.

use std::{path::Path, process::Command};

use calgrant_store::Store;
use tokio_postgres::{Client, Config, NoTls};

use crate::named;

/// Tests that make the template wait for each other: the number is ours alone.
const TEMPLATE_LOCK: i64 = 0x63_61_6c_74;

/// A migrated, empty database. Gone when dropped.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// Postgres isn't there, or refuses.
    pub async fn new() -> Self {
        let admin = admin().await;
        let template = template(&admin).await;
        let name = format!("calgrant_test_{}", uuid::Uuid::new_v4().simple());
        execute(
            &admin,
            &format!("CREATE DATABASE {name} TEMPLATE {template}"),
        )
        .await;
        Self {
            url: url_of(&name),
            name,
        }
    }

    /// Makes one without any table: what is migrated in it is the test's affair.
    ///
    /// # Panics
    /// Postgres isn't there, or refuses.
    pub async fn empty() -> Self {
        let name = format!("calgrant_test_{}", uuid::Uuid::new_v4().simple());
        execute(&admin().await, &format!("CREATE DATABASE {name}")).await;
        Self {
            url: url_of(&name),
            name,
        }
    }

    /// Does to its schema what a later version may do, whoever works with it meanwhile: every table gets a column more, and a
    /// migration that isn't known today is said to have done that.
    ///
    /// # Panics
    /// Postgres refuses, or others are in the way for long.
    pub async fn migrate_further(&self) {
        let client = self.client().await;
        let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND relname <> 'refinery_schema_history' ORDER BY relname";
        let tables = client
            .query(sql, &[])
            .await
            .unwrap_or_else(|cause| panic!("looking for tables: {cause}"));
        execute(&client, "SET lock_timeout = '1s'").await;
        for row in tables {
            let table: String = row.get(0);
            let sql =
                format!("ALTER TABLE {table} ADD COLUMN added_later text NOT NULL DEFAULT 'x'");
            // Who doesn't get the lock gives way and comes again, as status does.
            let mut refused = None;
            for _ in 0..60 {
                refused = client.batch_execute(&sql).await.err();
                if refused.is_none() {
                    break;
                }
            }
            assert!(refused.is_none(), "{sql}: {refused:?}");
        }
        let later = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (9999, 'later', '', '0')";
        execute(&client, later).await;
    }

    /// Dumps it into a file by `pg_dump`, whatever goes on in it.
    ///
    /// # Panics
    /// There is no `pg_dump`, or it fails.
    pub fn dump(&self, file: &Path) {
        let file = file.to_string_lossy();
        run("pg_dump", &["--format=custom", "--file", &file, &self.url]);
    }

    /// Puts it back to a dump: everything since is lost. Ends every connection.
    ///
    /// # Panics
    /// Postgres isn't there, or `pg_restore` isn't or fails.
    pub async fn put_back(&self, file: &Path) {
        let (admin, name) = (admin().await, &self.name);
        execute(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        execute(&admin, &format!("CREATE DATABASE {name}")).await;
        let file = file.to_string_lossy();
        run(
            "pg_restore",
            &[
                "--no-owner",
                "--exit-on-error",
                "--dbname",
                &self.url,
                &file,
            ],
        );
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The store on it.
    ///
    /// # Panics
    /// Never: the URL was made here.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(&self.url, None).unwrap_or_else(|cause| panic!("{cause}"))
    }

    /// A connection to it, to look behind the doors.
    ///
    /// # Panics
    /// Postgres isn't there.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// Ends every other connection to it, as a restart of the server would.
    ///
    /// # Panics
    /// Postgres isn't there.
    pub async fn cut(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        admin()
            .await
            .execute(sql, &[&self.name])
            .await
            .unwrap_or_else(|cause| panic!("cutting connections: {cause}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A runtime of its own: the test's may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async { execute(&admin().await, &sql).await });
            }
        });
        let _panicked = dropped.join();
    }
}

/// Runs a program of Postgres's.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|cause| panic!("{program}: {cause}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

/// The migrated database that others are cloned from; made by whoever comes first.
async fn template(admin: &Client) -> String {
    // A schema that differs is another template: tests of two versions may share a server.
    let name = format!("calgrant_template_{:016x}", Store::schema());
    execute(admin, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let known = admin
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
        .await
        .unwrap_or_else(|cause| panic!("looking for {name}: {cause}"));
    if known.is_none() {
        let raw = format!("{name}_making");
        execute(
            admin,
            &format!("DROP DATABASE IF EXISTS {raw} WITH (FORCE)"),
        )
        .await;
        execute(admin, &format!("CREATE DATABASE {raw}")).await;
        let store = Store::new(&url_of(&raw), None).unwrap_or_else(|cause| panic!("{cause}"));
        store
            .migrate()
            .await
            .unwrap_or_else(|cause| panic!("migrating {raw}: {cause}"));
        drop(store);
        // Under its final name only when it is whole. Connections of the pool may be just ending.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{raw}'"
        );
        execute(admin, &end).await;
        execute(admin, &format!("ALTER DATABASE {raw} RENAME TO {name}")).await;
    }
    execute(
        admin,
        &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"),
    )
    .await;
    name
}

async fn admin() -> Client {
    connect(&named("DATABASE_URL")).await
}

async fn connect(url: &str) -> Client {
    let config: Config = url
        .parse()
        .unwrap_or_else(|cause| panic!("DATABASE_URL: {cause}"));
    let (client, connection) = config
        .connect(NoTls)
        .await
        .unwrap_or_else(|cause| panic!("Postgres doesn't answer: {cause}"));
    // It ends when the client is dropped.
    tokio_util::task::TaskTracker::new().spawn(connection);
    client
}

async fn execute(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|cause| panic!("{sql}: {cause}"));
}

/// The server's URL with another database.
fn url_of(database: &str) -> String {
    let base = named("DATABASE_URL");
    let (address, query) = base.split_once('?').unwrap_or((&base, ""));
    let at = address.find("://").map_or(0, |at| at + 3);
    let end = address[at..]
        .find('/')
        .map_or(address.len(), |slash| at + slash);
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    format!("{}/{database}{query}", &address[..end])
}
