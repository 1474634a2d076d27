//! What is known of trustees' rights to mailboxes, by any of their names.

use calgrant_domain::{MailboxId, OperationId, Reason, SiteKind, TenantName, outcome::optional};
use time::OffsetDateTime;

use crate::{Store, StoreError};

/// What is known of one trustee's right to one mailbox.
#[derive(Debug, Clone)]
pub struct Access {
    /// The name asked for.
    pub name: String,
    /// The mailbox.
    pub mailbox: Option<MailboxId>,
    /// Where it lives.
    pub site: Option<SiteKind>,
    /// Whether the right was there when it was last read; `None` if nothing is known yet.
    pub granted: Option<bool>,
    /// Whether a job is on its way.
    pub pending: bool,
    /// The right last read.
    pub role: String,
    /// Whose right.
    pub trustee: String,
    /// When it was read.
    pub verified_at: Option<OffsetDateTime>,
    /// Why it is not granted.
    pub reason: Option<Reason>,
    /// The operation that knows.
    pub operation: Option<OperationId>,
}

impl Store {
    /// What is known of mailboxes of these names, in their order: at least one for each.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn access(
        &self,
        tenant: &TenantName,
        names: &[String],
    ) -> Result<Vec<Access>, StoreError> {
        let ids: Vec<Option<uuid::Uuid>> = names
            .iter()
            .map(|name| name.parse::<MailboxId>().ok().map(|id| id.as_uuid()))
            .collect();
        let plain: Vec<String> = names
            .iter()
            .map(|name| name.trim().to_lowercase())
            .collect();
        let rows = self.connection().await?.query("SELECT asked.position, found.mailbox, m.site, a.state, a.role, a.trustee, a.verified_at, a.reason, a.operation_id,
                EXISTS (SELECT 1 FROM job j JOIN operation o ON o.id = j.operation_id WHERE j.tenant = $1 AND j.mailbox = found.mailbox AND j.state <> 'ended' AND o.ended_at IS NULL AND NOT j.validate_only) AS pending
            FROM unnest($2::text[], $3::uuid[]) WITH ORDINALITY AS asked (name, id, position)
            LEFT JOIN LATERAL (SELECT coalesce(asked.id, (SELECT mailbox FROM mailbox_name n WHERE n.tenant = $1 AND n.name = asked.name)) AS mailbox) found ON true
            LEFT JOIN mailbox m ON m.tenant = $1 AND m.id = found.mailbox
            LEFT JOIN access a ON a.tenant = $1 AND a.mailbox = found.mailbox
            ORDER BY asked.position, a.trustee", &[&tenant.as_str(), &plain, &ids]).await?;
        rows.iter()
            .map(|row| {
                let position = usize::try_from(row.try_get::<_, i64>("position")?).unwrap_or(1) - 1;
                Ok(Access {
                    name: names.get(position).cloned().unwrap_or_default(),
                    mailbox: row
                        .try_get::<_, Option<uuid::Uuid>>("mailbox")?
                        .map(MailboxId::from_uuid),
                    site: row
                        .try_get::<_, Option<&str>>("site")?
                        .map(str::parse)
                        .transpose()?,
                    granted: row
                        .try_get::<_, Option<&str>>("state")?
                        .map(|state| state == "granted"),
                    pending: row.try_get("pending")?,
                    role: row
                        .try_get::<_, Option<String>>("role")?
                        .unwrap_or_default(),
                    trustee: row
                        .try_get::<_, Option<String>>("trustee")?
                        .unwrap_or_default(),
                    verified_at: row.try_get("verified_at")?,
                    reason: optional(
                        row.try_get::<_, Option<&str>>("reason")?
                            .unwrap_or_default(),
                    )?,
                    operation: row
                        .try_get::<_, Option<uuid::Uuid>>("operation_id")?
                        .map(OperationId::from_uuid),
                })
            })
            .collect()
    }
}
