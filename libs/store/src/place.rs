//! Where a right is, or isn't: a mailbox and a trustee of a tenant.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::StoreError;

/// Tenant, mailbox and trustee. Two writes to the same one are never under way together.
pub(crate) type Key = (String, Uuid, String);

/// The same, borrowed.
pub(crate) type Place<'k> = (&'k str, Uuid, &'k str);

/// A key, borrowed.
pub(crate) fn place(key: &Key) -> Place<'_> {
    (&key.0, key.1, &key.2)
}

/// The columns `tenant`, `mailbox` and `trustee` of a row.
pub(crate) fn key(row: &Row) -> Result<Key, StoreError> {
    Ok((
        row.try_get("tenant")?,
        row.try_get("mailbox")?,
        row.try_get("trustee")?,
    ))
}

/// Tenants, mailboxes and trustees, for `unnest`.
pub(crate) fn columns<'k>(
    places: impl IntoIterator<Item = Place<'k>>,
) -> (Vec<&'k str>, Vec<Uuid>, Vec<&'k str>) {
    let (mut tenants, mut mailboxes, mut trustees) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, mailbox, trustee) in places {
        tenants.push(tenant);
        mailboxes.push(mailbox);
        trustees.push(trustee);
    }
    (tenants, mailboxes, trustees)
}
