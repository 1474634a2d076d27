//! Passwords of accounts that set-up made, and credentials that accounts sign in with: when they expire.

use std::collections::HashMap;

use calgrant_domain::{
    AlertKind, SiteKind, TenantName,
    expiry::{expires_at, is_soon},
    setup::{Setting, password::expires_soon},
};
use time::OffsetDateTime;

use crate::{
    Store, StoreError,
    alerts::{self, NewAlert},
    pool::rows,
    row::parsed,
    site_setups,
};

impl Store {
    /// Raises alerts about passwords that expire soon, and ends those about passwords that were renewed. Answers how many expire
    /// soon.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn warn_of_expiry(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        let mut connection = self.connection().await?;
        let sql = "SELECT tenant, kind FROM site_setup WHERE password_days IS NOT NULL ORDER BY tenant, kind";
        let sites = connection.query(sql, &[]).await?;
        let mut soon = 0;
        for row in sites {
            let (tenant, site): (TenantName, SiteKind) =
                (parsed(&row, "tenant")?, parsed(&row, "kind")?);
            let spec = site_setups::read(&**connection, tenant.as_str(), site).await?;
            let Some((spec, days)) =
                spec.and_then(|spec| Some((spec.clone(), spec.password_days?)))
            else {
                continue;
            };
            let setting = Setting { tenant, site, spec };
            let names: HashMap<String, u32> = setting
                .spec
                .numbers()
                .map(|number| (setting.secret_name(number), number))
                .collect();
            let wanted: Vec<&String> = names.keys().collect();
            let sql = "SELECT name, settled_at FROM sealed_secret WHERE name = ANY($1) AND settled_at IS NOT NULL";
            let kept = connection.query(sql, &[&wanted]).await?;
            let transaction = connection.transaction().await?;
            let mut raised = Vec::new();
            for row in kept {
                let name: String = row.try_get("name")?;
                let Some(number) = names.get(&name) else {
                    continue;
                };
                let subject = format!("{} at {site}", setting.spec.name.of(*number));
                let (tenant, kind) = (setting.tenant.as_str(), AlertKind::PasswordExpires);
                let Some(expires) = expires_soon(row.try_get("settled_at")?, days, now) else {
                    alerts::end(&transaction, tenant, kind, &subject, now).await?;
                    continue;
                };
                let text = format!(
                    "the password of {} expires on {}: renew it with calgrant setup rotate --tenant {tenant} --site {site} --account {number}",
                    setting.spec.name.of(*number),
                    expires.date()
                );
                raised.push(NewAlert::about(tenant, kind, &subject, text));
            }
            soon += raised.len();
            alerts::raise(&transaction, &raised, now).await?;
            transaction.commit().await?;
        }
        Ok(soon)
    }

    /// Records when the certificate expires that an account signs in with; `None`: it has another credential.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn certificate_expires(
        &self,
        tenant: &str,
        site: &str,
        account: &str,
        expires: Option<OffsetDateTime>,
    ) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        if let Some(expires) = expires {
            let sql = "INSERT INTO certificate_expiry (tenant, site, account, expires_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT (tenant, site, account) DO UPDATE SET expires_at = EXCLUDED.expires_at
                WHERE certificate_expiry.expires_at <> EXCLUDED.expires_at";
            connection
                .execute(sql, &[&tenant, &site, &account, &expires])
                .await?;
        } else {
            let sql =
                "DELETE FROM certificate_expiry WHERE tenant = $1 AND site = $2 AND account = $3";
            connection.execute(sql, &[&tenant, &site, &account]).await?;
        }
        Ok(())
    }

    /// Raises alerts about credentials that expire soon, and ends those about what was renewed or is used no more. Answers how many
    /// expire soon.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn warn_of_credentials(&self, now: OffsetDateTime) -> Result<usize, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        // What was read of a certificate is of no more account when the account signs in with a secret.
        let sql = "SELECT a.tenant, a.site, a.name, a.credential[1] AS credential, a.expires_on, c.expires_at FROM account a
            LEFT JOIN certificate_expiry c ON c.tenant = a.tenant AND c.site = a.site AND c.account = a.name AND a.credential[1] = 'certificate'
            WHERE a.expires_on IS NOT NULL OR c.expires_at IS NOT NULL ORDER BY a.tenant, a.site, a.name";
        let mut soon = Vec::new();
        let kind = AlertKind::CredentialExpires;
        for row in rows(&transaction, sql, &[]).await? {
            let at = expires_at(row.try_get("expires_on")?, row.try_get("expires_at")?);
            let Some(at) = at.filter(|at| is_soon(*at, now)) else {
                continue;
            };
            let (name, site): (&str, &str) = (row.try_get("name")?, row.try_get("site")?);
            let credential: &str = row.try_get("credential")?;
            let subject = format!("{name} at {site}");
            let text = format!(
                "the {credential} of {subject} expires on {}: make a new one, put it where the old one is, and change expires in the tenant file if it is there; work goes on meanwhile",
                at.date()
            );
            soon.push(NewAlert::about(
                row.try_get("tenant")?,
                kind,
                &subject,
                text,
            ));
        }
        let sql = "SELECT tenant, subject FROM alert WHERE kind = $1 AND ended_at IS NULL";
        for row in rows(&transaction, sql, &[&kind.as_str()]).await? {
            let (tenant, subject): (&str, &str) = (row.try_get("tenant")?, row.try_get("subject")?);
            let still = |new: &NewAlert| new.tenant == tenant && new.subject == subject;
            if !soon.iter().any(still) {
                alerts::end(&transaction, tenant, kind, subject, now).await?;
            }
        }
        alerts::raise(&transaction, &soon, now).await?;
        transaction.commit().await?;
        Ok(soon.len())
    }
}
