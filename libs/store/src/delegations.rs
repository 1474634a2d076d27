//! Delegations.

use calgrant_domain::{BadInput, DelegationId, DelegationSpec, Selector, TenantName, Trustee};
use time::OffsetDateTime;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::{
    Store, StoreError,
    row::{parsed, parsed_all},
};

/// A delegation as it is stored.
#[derive(Debug, Clone)]
pub struct StoredDelegation {
    /// Its id.
    pub id: DelegationId,
    /// The wish.
    pub spec: DelegationSpec,
    /// Who stored it.
    pub created_by: String,
    /// When.
    pub created_at: OffsetDateTime,
}

pub(crate) const COLUMNS: &str = "id, tenant, selector_kind, selector_value, exclude_groups, exclude_mailboxes, mailbox_types, trustee_sites, trustee_addresses, role, lower_higher, created_by, created_at, policy";

impl Store {
    /// Stores a delegation.
    ///
    /// # Errors
    /// There is no such tenant; Postgres is away.
    pub async fn create_delegation(&self, delegation: &StoredDelegation) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        insert(&**connection, delegation).await
    }

    /// One of them.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn delegation(
        &self,
        id: DelegationId,
    ) -> Result<Option<StoredDelegation>, StoreError> {
        let connection = self.connection().await?;
        let row = connection
            .query_opt(
                &format!("SELECT {COLUMNS} FROM delegation WHERE id = $1"),
                &[&id.as_uuid()],
            )
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Newest first, before `before`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn delegations(
        &self,
        tenant: &TenantName,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<StoredDelegation>, StoreError> {
        let before = before.unwrap_or(Uuid::max());
        let connection = self.connection().await?;
        let rows = connection.query(&format!("SELECT {COLUMNS} FROM delegation WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3"), &[&tenant.as_str(), &before, &limit]).await?;
        rows.iter().map(read).collect()
    }
}

pub(crate) async fn insert(
    client: &impl GenericClient,
    delegation: &StoredDelegation,
) -> Result<(), StoreError> {
    let spec = &delegation.spec;
    let (kind, value) = match &spec.selector {
        Selector::Group(group) => ("group", group.to_string()),
        Selector::OrganizationalUnit(dn) => ("organizational_unit", dn.clone()),
        // A kind of its own: who doesn't know it must not take it for the whole subtree.
        Selector::OrganizationalUnitOneLevel(dn) => ("organizational_unit_one_level", dn.clone()),
        Selector::AdministrativeUnit(name) => ("administrative_unit", name.clone()),
        Selector::All => ("all", String::new()),
        Selector::List(list) => ("mailbox_list", list.to_string()),
    };
    let text = |items: &[calgrant_domain::Address]| {
        items.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let types: Vec<&str> = spec
        .mailbox_types
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    let sites: Vec<&str> = spec
        .trustees
        .iter()
        .map(|trustee| trustee.site.as_str())
        .collect();
    let addresses: Vec<String> = spec
        .trustees
        .iter()
        .map(|trustee| trustee.address.to_string())
        .collect();
    let list = match &spec.selector {
        Selector::List(list) => Some(list.as_uuid()),
        _ => None,
    };
    // A list is held until this is stored, lest it be forgotten as one that nothing names.
    let stored = client.execute(&format!("INSERT INTO delegation ({COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
            WHERE $15::uuid IS NULL OR EXISTS (SELECT 1 FROM mailbox_list WHERE id = $15 AND tenant = $2 FOR KEY SHARE)"),
        &[&delegation.id.as_uuid(), &spec.tenant.as_str(), &kind, &value, &text(&spec.exclude_groups), &text(&spec.exclude_mailboxes), &types, &sites, &addresses, &spec.role.to_string(), &spec.lower_higher, &delegation.created_by, &delegation.created_at, &spec.policy.as_str(), &list]).await?;
    if stored == 0 {
        return Err(StoreError::NotFound("mailbox list"));
    }
    Ok(())
}

pub(crate) fn read(row: &Row) -> Result<StoredDelegation, StoreError> {
    let value: &str = row.try_get("selector_value")?;
    let within = |bad: BadInput| bad.within("selector_value");
    let selector = match row.try_get::<_, &str>("selector_kind")? {
        "group" => Selector::Group(value.parse().map_err(within)?),
        "organizational_unit" => Selector::OrganizationalUnit(value.to_owned()),
        "organizational_unit_one_level" => Selector::OrganizationalUnitOneLevel(value.to_owned()),
        "administrative_unit" => Selector::AdministrativeUnit(value.to_owned()),
        "all" => Selector::All,
        "mailbox_list" => Selector::List(value.parse().map_err(within)?),
        other => {
            return Err(BadInput::new("selector_kind", other, "not a kind that is known").into());
        }
    };
    let (sites, addresses) = (
        parsed_all(row, "trustee_sites")?,
        parsed_all(row, "trustee_addresses")?,
    );
    Ok(StoredDelegation {
        id: DelegationId::from_uuid(row.try_get("id")?),
        spec: DelegationSpec {
            tenant: parsed(row, "tenant")?,
            selector,
            exclude_groups: parsed_all(row, "exclude_groups")?,
            exclude_mailboxes: parsed_all(row, "exclude_mailboxes")?,
            mailbox_types: parsed_all(row, "mailbox_types")?,
            trustees: sites
                .into_iter()
                .zip(addresses)
                .map(|(site, address)| Trustee { site, address })
                .collect(),
            role: parsed(row, "role")?,
            lower_higher: row.try_get("lower_higher")?,
            policy: parsed(row, "policy")?,
        },
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
    })
}
