//! What sites are set up with.

use calgrant_domain::{
    BadInput, SetupSpec, SiteKind,
    setup::{HandOver, ManagedBy, ManagedParts},
};
use tokio_postgres::{GenericClient, Row};

use crate::{
    StoreError,
    row::{int, parsed, parsed_all, small},
};

const COLUMNS: &str = "account_count, without, name_pattern, display_name, usage_location, sku, organizational_unit, group_address, group_name, group_owners, managed, password_folder, kubernetes_secret, password_days";

/// Stores a site's, whose row is there.
pub(crate) async fn insert(
    client: &impl GenericClient,
    tenant: &str,
    site: SiteKind,
    spec: Option<&SetupSpec>,
) -> Result<(), StoreError> {
    let Some(spec) = spec else { return Ok(()) };
    let without: Vec<i32> = spec.without.iter().map(|number| int(*number)).collect();
    let owners: Vec<String> = spec.group_owners.iter().map(ToString::to_string).collect();
    let ManagedParts {
        accounts,
        licences,
        group,
        members,
    } = spec.managed;
    let (folder, object) = match &spec.hand_over {
        None => (None, None),
        Some(HandOver::Folder(path)) => (Some(path), None),
        Some(HandOver::Kubernetes(object)) => (None, Some(object.to_string())),
    };
    let managed = [accounts, licences, group, members].map(ManagedBy::as_str);
    client
        .execute(
            &format!("INSERT INTO site_setup (tenant, kind, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"),
            &[
                &tenant,
                &site.as_str(),
                &int(spec.count),
                &without,
                &spec.name.as_str(),
                &spec.display_name,
                &spec.usage_location,
                &spec.sku,
                &spec.organizational_unit,
                &spec.group.as_str(),
                &spec.group_name,
                &owners,
                &managed.as_slice(),
                &folder,
                &object,
                &spec.password_days.map(int),
            ],
        )
        .await?;
    Ok(())
}

/// Reads a site's.
pub(crate) async fn read(
    client: &impl GenericClient,
    tenant: &str,
    site: SiteKind,
) -> Result<Option<SetupSpec>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM site_setup WHERE tenant = $1 AND kind = $2");
    let row = client.query_opt(&sql, &[&tenant, &site.as_str()]).await?;
    row.map(|row| spec(&row)).transpose()
}

fn spec(row: &Row) -> Result<SetupSpec, StoreError> {
    let without: Vec<i32> = row.try_get("without")?;
    let folder: Option<String> = row.try_get("password_folder")?;
    let object: Option<String> = row.try_get("kubernetes_secret")?;
    let hand_over = match (folder, object) {
        (Some(path), _) => Some(HandOver::Folder(path)),
        (None, Some(object)) => Some(HandOver::Kubernetes(object.parse()?)),
        (None, None) => None,
    };
    let managed: Vec<ManagedBy> = parsed_all(row, "managed")?;
    let [accounts, licences, group, members] = managed[..] else {
        return Err(BadInput::missing("managed", "not in a form that is known").into());
    };
    Ok(SetupSpec {
        count: small(row, "account_count")?,
        without: without
            .into_iter()
            .filter_map(|number| u32::try_from(number).ok())
            .collect(),
        name: parsed(row, "name_pattern")?,
        display_name: row.try_get("display_name")?,
        usage_location: row.try_get("usage_location")?,
        sku: row.try_get("sku")?,
        organizational_unit: row.try_get("organizational_unit")?,
        group: parsed(row, "group_address")?,
        group_name: row.try_get("group_name")?,
        group_owners: parsed_all(row, "group_owners")?,
        managed: ManagedParts {
            accounts,
            licences,
            group,
            members,
        },
        hand_over,
        password_days: row
            .try_get::<_, Option<i32>>("password_days")?
            .and_then(|days| u32::try_from(days).ok()),
    })
}
