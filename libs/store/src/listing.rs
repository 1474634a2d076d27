//! Claims on listings, exclusions, and how a listing ends.

use std::time::Duration;

use calgrant_domain::{Confined, MailboxId, OperationFailure, OperationId, OperationState};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::{
    Store, StoreError, StoredDelegation,
    cancelling::start_ending,
    delegations, departures,
    error::retrying,
    row::parsed_all,
    standing::{Standing, lock, lock_one, save_one},
};

/// An operation to list.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which.
    pub operation: OperationId,
    /// What.
    pub delegation: StoredDelegation,
    /// Trace of the request.
    pub traceparent: String,
    /// The mailboxes it is confined to, if it is.
    pub confined: Option<Confined>,
    /// When it was accepted.
    pub accepted_at: OffsetDateTime,
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
        let sql = "SELECT id, delegation_id, traceparent, created_at, confined_to, beyond_selector, awaits FROM operation
            WHERE state IN ('accepted', 'listing') AND kind = 'delegate' AND (listing_until IS NULL OR listing_until < $1)
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(row) = transaction.query_opt(sql, &[&now]).await? else {
            return Ok(None);
        };
        let operation = OperationId::from_uuid(row.try_get("id")?);
        let mut standing = lock_one(&transaction, operation).await?;
        standing.listing_owner = Some(owner.to_owned());
        standing.listing_until = Some(now + hold);
        if standing.state == OperationState::Accepted {
            standing.state = OperationState::Listing;
            save_one(&transaction, operation, standing, now).await?;
        } else {
            // Another lister, and nothing that a watcher would see.
            prolong(&transaction, operation, &standing).await?;
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
            confined: confined(&row)?,
            accepted_at: row.try_get("created_at")?,
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
        let mut standing = held(&transaction, operation, owner).await?;
        standing.listing_until = Some(now + hold);
        match waiting_for {
            Some(text) if standing.waits_for(text) => {
                save_one(&transaction, operation, standing, now).await?;
            }
            _ => prolong(&transaction, operation, &standing).await?,
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
        let next = retrying(|| self.finish_once(operation, owner, failure, now)).await?;
        self.end_from(operation, next, now).await
    }

    /// Answers after which job there is more to end, if there is.
    async fn finish_once(
        &self,
        operation: OperationId,
        owner: &str,
        failure: Option<(OperationFailure, &str)>,
        now: OffsetDateTime,
    ) -> Result<Option<uuid::Uuid>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = held(&transaction, operation, owner).await?;
        standing.waits_for("");
        standing.listing_owner = None;
        standing.listing_until = None;
        let empty = (
            OperationFailure::EmptySelection,
            "the selector chose no mailbox: check it, and its exclusions",
        );
        // One that is confined to a mailbox which is not selected has nothing to do, and that is no failure; nor has one that
        // compares where nobody joined.
        let nothing = match departures::comparing(&transaction, operation).await? {
            Some(comparing) => failure.is_none() && !comparing.finish(&transaction, now).await?,
            None => standing.counts.accepted == 0 && !is_confined(&transaction, operation).await?,
        };
        let failure = failure.or(nothing.then_some(empty));
        let next = if let Some((failure, text)) = failure {
            standing.failure = failure.as_str().to_owned();
            text.clone_into(&mut standing.failure_text);
            // What has begun is still finished and proven: only then has the operation failed.
            start_ending(&transaction, operation, &mut standing, now).await?
        } else {
            standing.state = OperationState::Running;
            None
        };
        save_one(&transaction, operation, standing, now).await?;
        transaction.commit().await?;
        Ok(next)
    }
}

fn confined(row: &Row) -> Result<Option<Confined>, StoreError> {
    let mailboxes = parsed_all(row, "confined_to")?;
    Ok((!mailboxes.is_empty()).then_some(Confined {
        mailboxes,
        beyond_selector: row.try_get("beyond_selector")?,
        awaits: row.try_get("awaits")?,
    }))
}

async fn is_confined(
    transaction: &Transaction<'_>,
    operation: OperationId,
) -> Result<bool, StoreError> {
    let sql = "SELECT confined_to <> '{}' AS confined FROM operation WHERE id = $1";
    let row = transaction.query_one(sql, &[&operation.as_uuid()]).await?;
    Ok(row.try_get("confined")?)
}

/// Locks the operation and checks the claim.
pub(crate) async fn held(
    transaction: &Transaction<'_>,
    operation: OperationId,
    owner: &str,
) -> Result<Standing, StoreError> {
    lock(transaction, &[operation.as_uuid()])
        .await?
        .remove(&operation)
        .filter(|standing| {
            standing.state == OperationState::Listing
                && standing.listing_owner.as_deref() == Some(owner)
        })
        .ok_or(StoreError::ClaimLost)
}

/// Stores who lists, and until when.
async fn prolong(
    transaction: &Transaction<'_>,
    operation: OperationId,
    standing: &Standing,
) -> Result<(), StoreError> {
    let sql = "UPDATE operation SET listing_owner = $2, listing_until = $3 WHERE id = $1";
    transaction
        .execute(
            sql,
            &[
                &operation.as_uuid(),
                &standing.listing_owner,
                &standing.listing_until,
            ],
        )
        .await?;
    Ok(())
}
