//! Tenants with their sites and accounts.

use std::time::Duration;

use calgrant_domain::{
    AccountSpec, BadInput, CallWindow, Credential, Keeping, Limits, SecretRef, ServerTime,
    SharedLimits, SiteSpec, TenantName, TenantSpec,
};
use time::OffsetDateTime;
use tokio_postgres::{GenericClient, Row};

use crate::{
    Store, StoreError, organisations,
    row::{duration, int, millis, parsed, parsed_all, small},
    site_setups,
};

/// A tenant as it is stored.
#[derive(Debug, Clone)]
pub struct StoredTenant {
    /// What was applied.
    pub spec: TenantSpec,
    /// Changes with every change.
    pub etag: String,
    /// When it was last applied.
    pub updated_at: OffsetDateTime,
}

/// The columns of a tenant's row that [`keeping`] reads.
pub(crate) const KEEPING: &str = "verify_every_millis, drift, list_every_millis, joiners, leavers, watch_every_millis, group_members, group_owners";

impl Store {
    /// Stores a tenant as a whole. With `etag` only if the stored one has it (empty: any). Accounts that Calgrant
    /// paused are tried again.
    ///
    /// # Errors
    /// It has changed meanwhile; Postgres is away.
    pub async fn apply_tenant(
        &self,
        tenant: &TenantSpec,
        expected: &str,
        etag: &str,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let name = tenant.name.as_str();
        let stored = transaction
            .query_opt(
                "SELECT etag FROM tenant WHERE name = $1 FOR UPDATE",
                &[&name],
            )
            .await?;
        let stored = stored
            .map(|row| row.get::<_, String>("etag"))
            .unwrap_or_default();
        if !expected.is_empty() && stored != expected {
            return Err(StoreError::Changed);
        }
        let keeping = &tenant.keeping;
        let members: Vec<_> = keeping
            .group_members
            .iter()
            .map(ToString::to_string)
            .collect();
        transaction.execute("INSERT INTO tenant (name, display_name, etag, updated_at, verify_every_millis, drift, list_every_millis, joiners, leavers,
                watch_every_millis, group_members, group_owners)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            ON CONFLICT (name) DO UPDATE SET display_name = EXCLUDED.display_name, etag = EXCLUDED.etag, updated_at = EXCLUDED.updated_at,
                verify_every_millis = EXCLUDED.verify_every_millis, drift = EXCLUDED.drift, list_every_millis = EXCLUDED.list_every_millis,
                joiners = EXCLUDED.joiners, leavers = EXCLUDED.leavers, watch_every_millis = EXCLUDED.watch_every_millis,
                group_members = EXCLUDED.group_members, group_owners = EXCLUDED.group_owners",
            &[&name, &tenant.display_name, &etag, &now, &every_column(keeping.verify_every), &keeping.drift.as_str(), &every_column(keeping.list_every),
                &keeping.joiners.as_str(), &keeping.leavers.as_str(), &every_column(keeping.watch_every), &members, &keeping.group_owners]).await?;
        transaction
            .execute("DELETE FROM site WHERE tenant = $1", &[&name])
            .await?;
        transaction
            .execute("DELETE FROM account_pause WHERE tenant = $1", &[&name])
            .await?;
        for (position, site) in (0i32..).zip(&tenant.sites) {
            insert_site(&*transaction, name, position, site).await?;
        }
        bump_fleet(&*transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Tenants after `after` by name, at most `limit`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn tenants(&self, after: &str, limit: i64) -> Result<Vec<StoredTenant>, StoreError> {
        let connection = self.connection().await?;
        let rows = connection
            .query(
                &format!("SELECT name, display_name, etag, updated_at, {KEEPING} FROM tenant WHERE name > $1 ORDER BY name LIMIT $2"),
                &[&after, &limit],
            )
            .await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            out.push(read_tenant(&**connection, &row).await?);
        }
        Ok(out)
    }

    /// One tenant.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn tenant(&self, name: &TenantName) -> Result<Option<StoredTenant>, StoreError> {
        let connection = self.connection().await?;
        match connection
            .query_opt(
                &format!("SELECT name, display_name, etag, updated_at, {KEEPING} FROM tenant WHERE name = $1"),
                &[&name.as_str()],
            )
            .await?
        {
            None => Ok(None),
            Some(row) => read_tenant(&**connection, &row).await.map(Some),
        }
    }

    /// Changes whenever a tenant or the state of an account does.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn fleet_version(&self) -> Result<String, StoreError> {
        let row = self
            .connection()
            .await?
            .query_one("SELECT version FROM fleet_version", &[])
            .await?;
        Ok(row.try_get::<_, i64>("version")?.to_string())
    }
}

pub(crate) async fn bump_fleet(client: &impl GenericClient) -> Result<(), StoreError> {
    client
        .execute("UPDATE fleet_version SET version = version + 1", &[])
        .await?;
    Ok(())
}

async fn insert_site(
    client: &impl GenericClient,
    tenant: &str,
    position: i32,
    site: &SiteSpec,
) -> Result<(), StoreError> {
    let (calls, lengths) = window_columns(&site.shared.windows);
    let [directory_id, login_url, graph_url, admin_url, write_path] =
        organisations::online_columns(&site.organisation);
    let kind = site.kind().as_str();
    client.execute("INSERT INTO site (tenant, kind, position, directory_id, login_url, graph_url, admin_url, write_path, park_first_millis, park_limit_millis, in_flight, window_calls, window_millis)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[&tenant, &kind, &position, &directory_id, &login_url, &graph_url, &admin_url, &write_path, &millis(site.park_first), &millis(site.park_limit), &site.shared.in_flight.map(int), &calls, &lengths]).await?;
    organisations::insert(client, tenant, &site.organisation).await?;
    site_setups::insert(client, tenant, site.kind(), site.setup.as_ref()).await?;
    for (position, account) in (0i32..).zip(&site.accounts) {
        let purposes: Vec<&str> = account
            .purposes
            .iter()
            .map(|purpose| purpose.as_str())
            .collect();
        let (calls, lengths) = window_columns(&account.limits.windows);
        let server_time = account.limits.server_time.as_ref().map(|time| {
            [time.burst, time.recharge_per_hour, time.floor]
                .map(millis)
                .to_vec()
        });
        client.execute("INSERT INTO account (tenant, site, name, position, purposes, client_id, credential, in_flight, window_calls, window_millis, workers, server_time_millis, user_name)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            &[&tenant, &kind, &account.name.as_str(), &position, &purposes, &account.client_id, &credential_columns(&account.credential), &int(account.limits.in_flight), &calls, &lengths, &int(account.workers), &server_time, &account.user]).await?;
        // By itself, and only where it is told: whoever tells nothing of it needs no newer schema.
        if let Some(day) = account.expires {
            let sql =
                "UPDATE account SET expires_on = $4 WHERE tenant = $1 AND site = $2 AND name = $3";
            client
                .execute(sql, &[&tenant, &kind, &account.name.as_str(), &day])
                .await?;
        }
    }
    Ok(())
}

async fn read_tenant(client: &impl GenericClient, row: &Row) -> Result<StoredTenant, StoreError> {
    let name: TenantName = parsed(row, "name")?;
    let mut sites = Vec::new();
    for site in client.query("SELECT kind, directory_id, login_url, graph_url, admin_url, write_path, park_first_millis, park_limit_millis, in_flight, window_calls, window_millis FROM site WHERE tenant = $1 ORDER BY position", &[&name.as_str()]).await? {
        let setup = site_setups::read(client, name.as_str(), parsed(&site, "kind")?).await?;
        let accounts = client.query("SELECT name, purposes, client_id, credential, in_flight, window_calls, window_millis, workers, server_time_millis, user_name, expires_on FROM account WHERE tenant = $1 AND site = $2 ORDER BY position", &[&name.as_str(), &site.try_get::<_, &str>("kind")?]).await?;
        sites.push(SiteSpec {
            organisation: organisations::read(client, name.as_str(), &site).await?,
            park_first: duration(site.try_get("park_first_millis")?),
            park_limit: duration(site.try_get("park_limit_millis")?),
            shared: SharedLimits {
                in_flight: site.try_get::<_, Option<i32>>("in_flight")?.and_then(|most| u32::try_from(most).ok()),
                windows: windows(&site)?,
            },
            accounts: accounts.iter().map(account).collect::<Result<_, _>>()?,
            setup,
        });
    }
    Ok(StoredTenant {
        spec: TenantSpec {
            name,
            display_name: row.try_get("display_name")?,
            sites,
            keeping: keeping(row)?,
        },
        etag: row.try_get("etag")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// What a tenant wants to be done by itself, from [`KEEPING`].
pub(crate) fn keeping(row: &Row) -> Result<Keeping, StoreError> {
    let every = |column: &str| -> Result<Option<Duration>, StoreError> {
        let every = duration(row.try_get(column)?);
        Ok((!every.is_zero()).then_some(every))
    };
    Ok(Keeping {
        verify_every: every("verify_every_millis")?,
        drift: parsed(row, "drift")?,
        list_every: every("list_every_millis")?,
        joiners: parsed(row, "joiners")?,
        leavers: parsed(row, "leavers")?,
        watch_every: every("watch_every_millis")?,
        group_members: parsed_all(row, "group_members")?,
        group_owners: row.try_get("group_owners")?,
    })
}

fn every_column(every: Option<Duration>) -> i64 {
    every.map_or(0, millis)
}

fn account(row: &Row) -> Result<AccountSpec, StoreError> {
    let server_time: Option<Vec<i64>> = row.try_get("server_time_millis")?;
    Ok(AccountSpec {
        name: parsed(row, "name")?,
        purposes: parsed_all(row, "purposes")?,
        client_id: row.try_get("client_id")?,
        user: row.try_get("user_name")?,
        credential: credential(&row.try_get::<_, Vec<String>>("credential")?)?,
        limits: Limits {
            in_flight: small(row, "in_flight")?,
            windows: windows(row)?,
            server_time: server_time.as_deref().and_then(|millis| match *millis {
                [burst, recharge, floor] => Some(ServerTime {
                    burst: duration(burst),
                    recharge_per_hour: duration(recharge),
                    floor: duration(floor),
                }),
                _ => None,
            }),
        },
        workers: small(row, "workers")?,
        expires: row.try_get("expires_on")?,
    })
}

fn window_columns(windows: &[CallWindow]) -> (Vec<i32>, Vec<i64>) {
    windows
        .iter()
        .map(|window| (int(window.calls), millis(window.length)))
        .unzip()
}

fn windows(row: &Row) -> Result<Vec<CallWindow>, StoreError> {
    let (calls, lengths): (Vec<i32>, Vec<i64>) =
        (row.try_get("window_calls")?, row.try_get("window_millis")?);
    let windows = calls.iter().zip(lengths).map(|(calls, length)| CallWindow {
        calls: u32::try_from(*calls).unwrap_or(1),
        length: duration(length),
    });
    Ok(windows.collect())
}

fn credential_columns(credential: &Credential) -> Vec<String> {
    let at = |secret: &SecretRef| match secret {
        SecretRef::Env(name) => ["env".to_owned(), name.clone()],
        SecretRef::File(path) => ["file".to_owned(), path.clone()],
    };
    match credential {
        Credential::Secret(secret) => [vec!["secret".to_owned()], at(secret).to_vec()].concat(),
        Credential::Certificate { key, certificate } => [
            vec!["certificate".to_owned()],
            at(key).to_vec(),
            at(certificate).to_vec(),
        ]
        .concat(),
    }
}

fn credential(columns: &[String]) -> Result<Credential, StoreError> {
    let at = |kind: &str, name: &str| match kind {
        "env" => SecretRef::Env(name.to_owned()),
        _ => SecretRef::File(name.to_owned()),
    };
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    match columns[..] {
        ["secret", kind, name] => Ok(Credential::Secret(at(kind, name))),
        ["certificate", key_kind, key, kind, name] => Ok(Credential::Certificate {
            key: at(key_kind, key),
            certificate: at(kind, name),
        }),
        _ => Err(BadInput::missing("credential", "not in a form that is known").into()),
    }
}
