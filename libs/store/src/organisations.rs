//! How the Exchange organisations of sites are reached.

use calgrant_domain::{
    BadInput, Interface, OnlineSite, OnpremSite, Organisation, SignInKind, SiteKind, TokenIssuer,
    WritePath,
};
use tokio_postgres::{GenericClient, Row};

use crate::{StoreError, row::parsed};

/// Columns of `site` that only Exchange Online fills: directory, the three URLs, write path.
pub(crate) fn online_columns(organisation: &Organisation) -> [&str; 5] {
    match organisation {
        Organisation::Online(site) => [
            &site.directory_id,
            &site.login_url,
            &site.graph_url,
            &site.admin_url,
            site.write_path.as_str(),
        ],
        Organisation::Onprem(_) => ["", "", "", "", WritePath::Auto.as_str()],
    }
}

const COLUMNS: &str = "write_path, ews_url, ews_sign_in, powershell_url, powershell_sign_in, access, budget_key, token_url, token_scope, ldap_url, ldap_base, disabled_accounts, ca_file";

/// Stores what isn't in `site`, whose row is there.
pub(crate) async fn insert(
    client: &impl GenericClient,
    tenant: &str,
    organisation: &Organisation,
) -> Result<(), StoreError> {
    let Organisation::Onprem(site) = organisation else {
        return Ok(());
    };
    let parts = |interface: Option<&Interface>| match interface {
        Some(interface) => (interface.url.clone(), interface.sign_in),
        None => (String::new(), SignInKind::Basic),
    };
    let ((ews, ews_sign_in), (powershell, powershell_sign_in)) =
        (parts(site.ews.as_ref()), parts(site.powershell.as_ref()));
    let (token_url, token_scope) = match &site.token {
        Some(issuer) => (issuer.url.as_str(), issuer.scope.as_str()),
        None => ("", ""),
    };
    client
        .execute(
            &format!("INSERT INTO onprem_site (tenant, kind, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"),
            &[
                &tenant,
                &SiteKind::Onprem.as_str(),
                &site.write_path.as_str(),
                &ews,
                &ews_sign_in.as_str(),
                &powershell,
                &powershell_sign_in.as_str(),
                &site.access.as_str(),
                &site.budget_key.as_str(),
                &token_url,
                &token_scope,
                &site.ldap_url,
                &site.ldap_base,
                &site.disabled_accounts.as_str(),
                &site.ca_file,
            ],
        )
        .await?;
    Ok(())
}

/// What a row of `site` is about.
pub(crate) async fn read(
    client: &impl GenericClient,
    tenant: &str,
    site: &Row,
) -> Result<Organisation, StoreError> {
    if parsed::<SiteKind>(site, "kind")? == SiteKind::Online {
        return Ok(Organisation::Online(OnlineSite {
            directory_id: site.try_get("directory_id")?,
            login_url: site.try_get("login_url")?,
            graph_url: site.try_get("graph_url")?,
            admin_url: site.try_get("admin_url")?,
            write_path: parsed(site, "write_path")?,
        }));
    }
    let sql = format!("SELECT {COLUMNS} FROM onprem_site WHERE tenant = $1 AND kind = $2");
    let row = client
        .query_opt(&sql, &[&tenant, &SiteKind::Onprem.as_str()])
        .await?
        .ok_or_else(|| BadInput::missing("onprem", "how the site is reached isn't stored"))?;
    onprem(&row).map(Organisation::Onprem)
}

fn onprem(row: &Row) -> Result<OnpremSite, StoreError> {
    let interface = |url: &str, sign_in: &str| -> Result<Option<Interface>, StoreError> {
        let url: String = row.try_get(url)?;
        let sign_in = parsed(row, sign_in)?;
        Ok((!url.is_empty()).then_some(Interface { url, sign_in }))
    };
    let token_url: String = row.try_get("token_url")?;
    Ok(OnpremSite {
        write_path: parsed(row, "write_path")?,
        ews: interface("ews_url", "ews_sign_in")?,
        powershell: interface("powershell_url", "powershell_sign_in")?,
        access: parsed(row, "access")?,
        budget_key: parsed(row, "budget_key")?,
        token: if token_url.is_empty() {
            None
        } else {
            Some(TokenIssuer {
                url: token_url,
                scope: row.try_get("token_scope")?,
            })
        },
        ldap_url: row.try_get("ldap_url")?,
        ldap_base: row.try_get("ldap_base")?,
        disabled_accounts: parsed(row, "disabled_accounts")?,
        ca_file: row.try_get("ca_file")?,
    })
}
