//! Passwords of accounts that set-up made, and when they expire.

use std::collections::HashMap;

use calgrant_domain::{
    AlertKind, SiteKind, TenantName,
    setup::{Setting, password::expires_soon},
};
use time::OffsetDateTime;

use crate::{
    Store, StoreError,
    alerts::{self, NewAlert},
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
                let tenant = setting.tenant.as_str();
                let Some(expires) = expires_soon(row.try_get("settled_at")?, days, now) else {
                    let kind = AlertKind::PasswordExpires;
                    alerts::end(&transaction, tenant, kind, &subject, now).await?;
                    continue;
                };
                raised.push(NewAlert {
                    tenant: tenant.to_owned(),
                    kind: AlertKind::PasswordExpires,
                    text: format!(
                        "the password of {} expires on {}: renew it with calgrant setup rotate --tenant {tenant} --site {site} --account {number}",
                        setting.spec.name.of(*number),
                        expires.date()
                    ),
                    subject,
                    delegation: None,
                    operation: None,
                });
            }
            soon += raised.len();
            alerts::raise(&transaction, &raised, now).await?;
            transaction.commit().await?;
        }
        Ok(soon)
    }
}
