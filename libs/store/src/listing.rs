//! Claims on listings, exclusions, and the rows that a listing records.

use std::time::Duration;

use calgrant_domain::{
    JobId, Listed, MailboxId, OperationFailure, OperationId, OperationState, Outcome, SiteKind,
    reading::unsuitable,
};
use time::OffsetDateTime;
use tokio_postgres::Transaction;

use crate::{
    Store, StoreError, StoredDelegation, delegations, events::changed, operations::end_unbegun,
    row::parsed,
};

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where.
    pub site: SiteKind,
    /// Who receives the right there: its primary address.
    pub trustee: String,
    /// Recipients.
    pub listed: Vec<Listed>,
}

/// An operation to list.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which.
    pub operation: OperationId,
    /// What.
    pub delegation: StoredDelegation,
    /// Trace of the request.
    pub traceparent: String,
}

impl Store {
    /// Claims the oldest operation that nobody lists.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_listing(
        &self,
        owner: &str,
        hold: Duration,
        now: OffsetDateTime,
    ) -> Result<Option<Claim>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let row = transaction.query_opt("SELECT id, delegation_id, state, traceparent FROM operation WHERE state IN ('accepted', 'listing') AND (listing_until IS NULL OR listing_until < $1) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED", &[&now]).await?;
        let Some(row) = row else { return Ok(None) };
        let operation = OperationId::from_uuid(row.try_get("id")?);
        transaction.execute("UPDATE operation SET state = 'listing', listing_owner = $2, listing_until = $3 WHERE id = $1", &[&operation.as_uuid(), &owner, &(now + hold)]).await?;
        if parsed::<OperationState>(&row, "state")? == OperationState::Accepted {
            changed(&*transaction, operation, now).await?;
        }
        let delegation = transaction
            .query_one(
                &format!(
                    "SELECT {} FROM delegation WHERE id = $1",
                    delegations::COLUMNS
                ),
                &[&row.try_get::<_, uuid::Uuid>("delegation_id")?],
            )
            .await?;
        transaction.commit().await?;
        Ok(Some(Claim {
            operation,
            delegation: delegations::read(&delegation)?,
            traceparent: row.try_get("traceparent")?,
        }))
    }

    /// Prolongs a claim; with `waiting_for` also says what it waits for.
    ///
    /// # Errors
    /// The claim is lost; Postgres is away.
    pub async fn keep_listing(
        &self,
        operation: OperationId,
        owner: &str,
        hold: Duration,
        waiting_for: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        held(&transaction, operation, owner).await?;
        transaction
            .execute(
                "UPDATE operation SET listing_until = $2 WHERE id = $1",
                &[&operation.as_uuid(), &(now + hold)],
            )
            .await?;
        if let Some(text) = waiting_for {
            let differs = transaction
                .execute(
                    "UPDATE operation SET waiting_for = $2 WHERE id = $1 AND waiting_for <> $2",
                    &[&operation.as_uuid(), &text],
                )
                .await?;
            if differs > 0 {
                changed(&*transaction, operation, now).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    /// Leaves mailboxes out of what is recorded from now on.
    ///
    /// # Errors
    /// The claim is lost; Postgres is away.
    pub async fn record_exclusions(
        &self,
        operation: OperationId,
        owner: &str,
        mailboxes: &[MailboxId],
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        held(&transaction, operation, owner).await?;
        let ids: Vec<_> = mailboxes.iter().map(MailboxId::as_uuid).collect();
        transaction.execute("INSERT INTO operation_exclusion (operation_id, mailbox) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING", &[&operation.as_uuid(), &ids]).await?;
        Ok(transaction.commit().await?)
    }

    /// Records a page as jobs. Harmless to repeat.
    ///
    /// # Errors
    /// The claim is lost, which a cancellation does too; Postgres is away.
    pub async fn record_jobs(
        &self,
        operation: OperationId,
        owner: &str,
        hold: Duration,
        page: &Page,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        held(&transaction, operation, owner).await?;
        let Page {
            site,
            trustee,
            listed,
        } = page;
        // Excluded ones first: they are counted once, by leaving the table of exclusions' index to tell.
        let ids: Vec<_> = listed.iter().map(|listed| listed.id.as_uuid()).collect();
        let excluded: Vec<uuid::Uuid> = transaction.query("SELECT mailbox FROM operation_exclusion WHERE operation_id = $1 AND mailbox = ANY($2)", &[&operation.as_uuid(), &ids]).await?.iter().map(|row| row.get("mailbox")).collect();
        let excluded: std::collections::HashSet<_> = excluded.into_iter().collect();
        let (mut jobs, mut mailboxes, mut names, mut addresses, mut licensed) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut outcomes, mut reasons, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: std::collections::HashMap<MailboxId, usize> =
            std::collections::HashMap::new();
        for listed in listed
            .iter()
            .filter(|listed| !excluded.contains(&listed.id.as_uuid()))
        {
            if let Some(at) = seen.get(&listed.id) {
                let known: &mut Vec<String> = &mut lines[*at];
                known.extend(listed.lines.iter().map(ToString::to_string));
                continue;
            }
            seen.insert(listed.id, jobs.len());
            jobs.push(JobId::of(operation, listed.id).as_uuid());
            mailboxes.push(listed.id.as_uuid());
            names.push(listed.name.clone());
            lines.push(listed.lines.iter().map(ToString::to_string).collect());
            match &listed.what {
                Ok(mailbox) => {
                    addresses.push(mailbox.address.to_string());
                    licensed.push(mailbox.licensed);
                    outcomes.push(String::new());
                    reasons.push(String::new());
                }
                Err(reason) => {
                    let ended = unsuitable(*reason);
                    addresses.push(String::new());
                    licensed.push(None);
                    outcomes.push(ended.outcome.to_string());
                    reasons.push(reason.to_string());
                }
            }
        }
        let lines: Vec<String> = lines.iter().map(|lines| lines.join(",")).collect();
        let rows = transaction.query("INSERT INTO job (id, operation_id, tenant, site, lane, mailbox, name, address, licensed, lines, trustee, role, lower_higher, validate_only, state, not_before, accepted_at, outcome, reason, ended_at)
            SELECT page.id, o.id, o.tenant, $2, o.lane, page.mailbox, page.name, page.address, page.licensed,
                   CASE WHEN page.lines = '' THEN '{}'::int[] ELSE string_to_array(page.lines, ',')::int[] END,
                   $3, d.role, d.lower_higher, o.validate_only,
                   CASE WHEN page.outcome = '' THEN 'ready' ELSE 'ended' END, $4::timestamptz, $4::timestamptz, page.outcome, page.reason, CASE WHEN page.outcome = '' THEN NULL ELSE $4::timestamptz END
            FROM unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::bool[], $10::text[], $11::text[], $12::text[]) AS page (id, mailbox, name, address, licensed, outcome, reason, lines),
                 operation o JOIN delegation d ON d.id = o.delegation_id
            WHERE o.id = $1
            ON CONFLICT (id) DO UPDATE SET lines = ARRAY(SELECT DISTINCT unnest(job.lines || EXCLUDED.lines) ORDER BY 1) WHERE NOT job.lines @> EXCLUDED.lines
            RETURNING outcome, xmax = 0 AS new",
            &[&operation.as_uuid(), &site.as_str(), &trustee, &now, &jobs, &mailboxes, &names, &addresses, &licensed, &outcomes, &reasons, &lines]).await?;
        let new: Vec<&str> = rows
            .iter()
            .filter(|row| row.get("new"))
            .map(|row| row.get("outcome"))
            .collect();
        let of = |outcome: Outcome| {
            i64::try_from(
                new.iter()
                    .filter(|known| **known == outcome.as_str())
                    .count(),
            )
            .unwrap_or(0)
        };
        transaction.execute("UPDATE operation SET accepted = accepted + $2, refused = refused + $3, failed = failed + $4, listing_until = $5, waiting_for = '',
                excluded = (SELECT count(*) FROM operation_exclusion WHERE operation_id = $1),
                merged_lines = merged_lines + $6 WHERE id = $1",
            &[&operation.as_uuid(), &i64::try_from(new.len()).unwrap_or(0), &of(Outcome::Refused), &of(Outcome::Failed), &(now + hold), &i64::try_from(rows.len() - new.len()).unwrap_or(0)]).await?;
        record_names(&transaction, operation, *site, listed).await?;
        changed(&*transaction, operation, now).await?;
        Ok(transaction.commit().await?)
    }

    /// The listing is complete, or can't be done.
    ///
    /// # Errors
    /// The claim is lost; Postgres is away.
    pub async fn finish_listing(
        &self,
        operation: OperationId,
        owner: &str,
        failure: Option<(OperationFailure, &str)>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let accepted = held(&transaction, operation, owner).await?;
        let empty = (
            OperationFailure::EmptySelection,
            "the selector chose no mailbox: check it, and its exclusions",
        );
        match failure.or((accepted == 0).then_some(empty)) {
            None => {
                transaction.execute("UPDATE operation SET state = 'running', waiting_for = '', listing_owner = NULL, listing_until = NULL WHERE id = $1", &[&operation.as_uuid()]).await?;
            }
            Some((failure, text)) => {
                transaction.execute("UPDATE operation SET state = 'failed', failure = $2, failure_text = $3, waiting_for = '', listing_owner = NULL, listing_until = NULL WHERE id = $1", &[&operation.as_uuid(), &failure.as_str(), &text]).await?;
                end_unbegun(
                    &*transaction,
                    operation,
                    Outcome::Cancelled,
                    "operation_failed",
                    now,
                )
                .await?;
            }
        }
        changed(&*transaction, operation, now).await?;
        Ok(transaction.commit().await?)
    }
}

/// Locks the operation and checks the claim. Answers how many jobs it has.
async fn held(
    transaction: &Transaction<'_>,
    operation: OperationId,
    owner: &str,
) -> Result<i64, StoreError> {
    let row = transaction.query_opt("SELECT accepted FROM operation WHERE id = $1 AND state = 'listing' AND listing_owner = $2 FOR UPDATE", &[&operation.as_uuid(), &owner]).await?;
    Ok(row.ok_or(StoreError::ClaimLost)?.try_get("accepted")?)
}

/// Remembers mailboxes by all their names. A reused address is a new mailbox's.
async fn record_names(
    transaction: &Transaction<'_>,
    operation: OperationId,
    site: SiteKind,
    listed: &[Listed],
) -> Result<(), StoreError> {
    let mailboxes: std::collections::BTreeMap<_, _> = listed
        .iter()
        .filter_map(|listed| listed.what.as_ref().ok())
        .map(|mailbox| (mailbox.id.as_uuid(), mailbox))
        .collect();
    let ids: Vec<_> = mailboxes.keys().copied().collect();
    let addresses: Vec<_> = mailboxes
        .values()
        .map(|mailbox| mailbox.address.to_string())
        .collect();
    transaction.execute("INSERT INTO mailbox (tenant, id, site, address) SELECT o.tenant, page.id, $2, page.address FROM operation o, unnest($3::uuid[], $4::text[]) AS page (id, address) WHERE o.id = $1
        ORDER BY page.id ON CONFLICT (tenant, id) DO UPDATE SET address = EXCLUDED.address WHERE mailbox.address <> EXCLUDED.address", &[&operation.as_uuid(), &site.as_str(), &ids, &addresses]).await?;
    let names: std::collections::BTreeMap<String, _> = mailboxes
        .values()
        .flat_map(|mailbox| {
            mailbox
                .aliases
                .iter()
                .chain([&mailbox.address])
                .map(|name| (name.to_string(), mailbox.id.as_uuid()))
        })
        .collect();
    let (names, ids): (Vec<_>, Vec<_>) = names.into_iter().unzip();
    transaction.execute("INSERT INTO mailbox_name (tenant, name, mailbox) SELECT o.tenant, page.name, page.id FROM operation o, unnest($2::text[], $3::uuid[]) AS page (name, id) WHERE o.id = $1
        ORDER BY page.name ON CONFLICT (tenant, name) DO UPDATE SET mailbox = EXCLUDED.mailbox WHERE mailbox_name.mailbox <> EXCLUDED.mailbox", &[&operation.as_uuid(), &names, &ids]).await?;
    Ok(())
}
