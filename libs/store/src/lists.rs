//! Uploaded lists of mailbox names.

use calgrant_domain::{Address, ListId, TenantName};
use futures::{SinkExt, Stream, StreamExt, pin_mut};
use time::OffsetDateTime;

use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    pool::{rows, run},
    row::parsed,
};

/// A name of a list, with all its lines.
#[derive(Debug, Clone)]
pub struct ListName {
    /// The name.
    pub address: Address,
    /// Its lines, from 1.
    pub lines: Vec<u32>,
}

/// A line that says again what another said.
#[derive(Debug, Clone, Copy)]
pub struct Repeat {
    /// The line.
    pub line: u32,
    /// The first line of that name.
    pub first_line: u32,
}

impl Store {
    /// Stores a list while it arrives: copied in, grouped by name. Nothing is stored if the stream ends with an error.
    /// Answers how many names there are, and up to 1,000 repeats.
    ///
    /// # Errors
    /// What the stream ends with; there is no such tenant; Postgres is away.
    pub async fn store_list<E: From<StoreError>>(
        &self,
        id: ListId,
        tenant: &TenantName,
        lines: impl Stream<Item = Result<Vec<(u32, String)>, E>>,
        now: OffsetDateTime,
    ) -> Result<(u64, Vec<Repeat>), E> {
        let away = |error: tokio_postgres::Error| E::from(StoreError::from(error));
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(away)?;
        if transaction
            .query_opt("SELECT 1 FROM tenant WHERE name = $1", &[&tenant.as_str()])
            .await
            .map_err(away)?
            .is_none()
        {
            return Err(StoreError::NotFound("tenant").into());
        }
        transaction.batch_execute("CREATE TEMPORARY TABLE upload (line int NOT NULL, address text NOT NULL) ON COMMIT DROP").await.map_err(away)?;
        let sink = transaction
            .copy_in::<_, bytes::Bytes>("COPY upload (line, address) FROM STDIN")
            .await
            .map_err(away)?;
        pin_mut!(sink, lines);
        while let Some(part) = lines.next().await {
            let mut text = String::new();
            for (line, address) in part? {
                // Addresses hold no tab, backslash or line break: they are parsed.
                text.push_str(&format!("{line}\t{address}\n"));
            }
            sink.send(bytes::Bytes::from(text)).await.map_err(away)?;
        }
        sink.finish().await.map_err(away)?;
        transaction
            .execute(
                "INSERT INTO mailbox_list (id, tenant, created_at) VALUES ($1, $2, $3)",
                &[&id.as_uuid(), &tenant.as_str(), &now],
            )
            .await
            .map_err(away)?;
        let names = transaction.execute("INSERT INTO mailbox_list_name (list_id, first_line, address, lines) SELECT $1, min(line), address, array_agg(line ORDER BY line) FROM upload GROUP BY address", &[&id.as_uuid()]).await.map_err(away)?;
        let rows = transaction.query("SELECT unnest(lines[2:]) AS line, first_line FROM mailbox_list_name WHERE list_id = $1 AND cardinality(lines) > 1 ORDER BY 1 LIMIT 1000", &[&id.as_uuid()]).await.map_err(away)?;
        transaction.commit().await.map_err(away)?;
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        Ok((
            names,
            rows.iter()
                .map(|row| Repeat {
                    line: number(row.get("line")),
                    first_line: number(row.get("first_line")),
                })
                .collect(),
        ))
    }

    /// Whether this tenant has this list.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn has_list(&self, id: ListId, tenant: &TenantName) -> Result<bool, StoreError> {
        Ok(self
            .connection()
            .await?
            .query_opt(
                "SELECT 1 FROM mailbox_list WHERE id = $1 AND tenant = $2",
                &[&id.as_uuid(), &tenant.as_str()],
            )
            .await?
            .is_some())
    }

    /// Forgets a list that was uploaded before `before` and that no delegation names.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_list(&self, before: OffsetDateTime) -> Result<Forgotten, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        // Whoever creates a delegation for it holds it until that is stored.
        let old = rows(
            &transaction,
            "SELECT id FROM mailbox_list l WHERE created_at < $1
                AND NOT EXISTS (SELECT 1 FROM delegation d WHERE d.tenant = l.tenant AND d.selector_kind = 'mailbox_list' AND d.selector_value = $2 || '_' || replace(l.id::text, '-', ''))
             ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[&before, &ListId::PREFIX],
        )
        .await?;
        let Some(row) = old.first() else {
            return Ok(Forgotten {
                rows: 0,
                more: false,
            });
        };
        let id: Uuid = row.try_get("id")?;
        let names = run(
            &transaction,
            "DELETE FROM mailbox_list_name WHERE list_id = $1",
            &[&id],
        )
        .await?;
        let lists = run(
            &transaction,
            "DELETE FROM mailbox_list WHERE id = $1",
            &[&id],
        )
        .await?;
        transaction.commit().await?;
        Ok(Forgotten {
            rows: names + lists,
            more: true,
        })
    }

    /// Names whose first line is after `after`, in its order.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn list_names(
        &self,
        id: ListId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<ListName>, StoreError> {
        let rows = self.connection().await?.query("SELECT address, lines FROM mailbox_list_name WHERE list_id = $1 AND first_line > $2 ORDER BY first_line LIMIT $3", &[&id.as_uuid(), &crate::row::int(after), &i64::from(limit)]).await?;
        rows.iter()
            .map(|row| {
                let lines: Vec<i32> = row.try_get("lines")?;
                Ok(ListName {
                    address: parsed(row, "address")?,
                    lines: lines
                        .into_iter()
                        .map(|line| u32::try_from(line).unwrap_or(0))
                        .collect(),
                })
            })
            .collect()
    }
}
