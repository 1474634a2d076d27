//! Onboarding events: which were acted on, and for each mailbox the latest of them. What to do is decided in `libs/domain`; here it
//! is decided once, in one transaction, for whoever asks.

use calgrant_domain::{
    Address, DelegationId, EventKind, EventMoment, EventVerdict, MailboxId, OperationId,
    TenantName,
    brake::{REVOKED_FREELY, revokes_many},
    event::{ACTING, BURST, CALLER, EventKnown, Latest, judge},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    error::retrying,
    pool::{rows, run},
    row::{count, parsed},
};

/// Events of one tenant are decided one after the other.
const EVENT_LOCK: i32 = 0x6576;

/// An event to decide on. It names an address, a key, or both.
#[derive(Debug, Clone)]
pub struct IncomingEvent {
    /// Which, what and when.
    pub moment: EventMoment,
    /// Whose.
    pub tenant: TenantName,
    /// An address of the mailbox.
    pub address: Option<Address>,
    /// Its key.
    pub mailbox: Option<MailboxId>,
    /// The delegation that is meant.
    pub delegation: Option<DelegationId>,
    /// A person looked at it.
    pub approved: bool,
}

/// What to do about an event.
#[derive(Debug, Clone)]
pub struct EventDecision {
    /// What.
    pub verdict: EventVerdict,
    /// The mailbox's address; `None` if it is known by no address.
    pub address: Option<String>,
    /// The delegations it concerns.
    pub delegations: Vec<DelegationId>,
    /// What earlier events of this mailbox began and is still under way.
    pub overruled: Vec<OperationId>,
    /// Leavers of the tenant within the last hour, this one included.
    pub leavers: u64,
}

/// A row by one of the mailbox's names.
struct Subject {
    latest: Latest,
    operations: Vec<Uuid>,
}

impl Store {
    /// Decides what to do about an event, and remembers that.
    ///
    /// # Errors
    /// There is no such tenant or delegation; Postgres is away.
    pub async fn accept_event(
        &self,
        event: &IncomingEvent,
        now: OffsetDateTime,
    ) -> Result<EventDecision, StoreError> {
        retrying(|| self.accept_event_once(event, now)).await
    }

    async fn accept_event_once(
        &self,
        event: &IncomingEvent,
        now: OffsetDateTime,
    ) -> Result<EventDecision, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let tenant = event.tenant.as_str();
        let sql = "SELECT 1 FROM tenant WHERE name = $1";
        if rows(&transaction, sql, &[&tenant]).await?.is_empty() {
            return Err(StoreError::NotFound("tenant"));
        }
        let sql = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
        rows(&transaction, sql, &[&EVENT_LOCK, &tenant]).await?;
        let (address, mailbox) = names(&transaction, event).await?;
        let mut subjects: Vec<String> = address.iter().cloned().collect();
        subjects.extend(mailbox.map(|id| id.to_string()));
        // An earlier event may have named it by another name, before it was known that they are of one mailbox.
        let sql = "SELECT name FROM mailbox_name WHERE tenant = $1 AND mailbox = $2";
        let key = mailbox.map(|id| id.as_uuid());
        for row in rows(&transaction, sql, &[&tenant, &key]).await? {
            subjects.push(row.try_get("name")?);
        }
        subjects.sort();
        subjects.dedup();
        let standing = standing(&transaction, tenant, &subjects).await?;
        let known = known(&transaction, &event.moment).await?;
        let latest: Vec<_> = standing
            .iter()
            .map(|subject| subject.latest.clone())
            .collect();
        let mut decision = EventDecision {
            verdict: judge(&event.moment, known, &latest, now),
            address,
            delegations: Vec::new(),
            overruled: Vec::new(),
            leavers: 0,
        };
        let new = known == EventKnown::New;
        if decision.verdict == EventVerdict::Act && event.moment.kind == EventKind::Left && new {
            let (leavers, too_many) = leavers(&transaction, tenant, now).await?;
            decision.leavers = leavers;
            if too_many && !event.approved {
                decision.verdict = EventVerdict::Brake;
            }
        }
        if decision.verdict == EventVerdict::Act {
            decision.delegations = delegations(&transaction, event, mailbox).await?;
            decision.overruled = overruled(&transaction, event, &standing).await?;
        }
        remember(&transaction, event, &subjects, &decision, now).await?;
        transaction.commit().await?;
        Ok(decision)
    }

    /// Remembers that an event was acted on, and what came of it. Answers whether a later one was acted on meanwhile.
    ///
    /// # Errors
    /// There is no such event; Postgres is away.
    pub async fn finish_event(
        &self,
        source: &str,
        id: &str,
        operations: &[OperationId],
    ) -> Result<bool, StoreError> {
        let operations: Vec<_> = operations.iter().map(OperationId::as_uuid).collect();
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql =
            "SELECT tenant, subjects FROM event_inbox WHERE source = $1 AND id = $2 FOR UPDATE";
        let found = transaction.query_opt(sql, &[&source, &id]).await?;
        let event = found.ok_or(StoreError::NotFound("event"))?;
        let (tenant, subjects): (String, Vec<String>) =
            (event.try_get("tenant")?, event.try_get("subjects")?);
        let sql = "UPDATE event_inbox SET acting_until = NULL, operations = $3 WHERE source = $1 AND id = $2";
        run(&transaction, sql, &[&source, &id, &operations]).await?;
        // What came of an overtaken one is remembered too: it is to be cancelled by whoever comes next, if it isn't now.
        let sql = "UPDATE event_subject SET operations = ARRAY(SELECT DISTINCT unnest(operations || $3::uuid[])),
                acting_until = CASE WHEN source = $4 AND id = $5 THEN NULL ELSE acting_until END
            WHERE tenant = $1 AND subject = ANY($2) RETURNING source = $4 AND id = $5 AS ours";
        let touched = rows(
            &transaction,
            sql,
            &[&tenant, &subjects, &operations, &source, &id],
        )
        .await?;
        transaction.commit().await?;
        Ok(!touched.iter().all(|row| row.get("ours")))
    }

    /// Forgets at most `limit` events that were received before `before` and are over, and at most as many of the mailboxes
    /// whose latest event that was.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_events(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "DELETE FROM event_inbox WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM event_inbox WHERE received_at < $1 AND acting_until IS NULL LIMIT $2 FOR UPDATE SKIP LOCKED))";
        let events = self.forget(sql, before, limit).await?;
        let sql = "DELETE FROM event_subject WHERE ctid = ANY(ARRAY(
            SELECT s.ctid FROM event_subject s WHERE at < $1 AND acting_until IS NULL
                AND NOT EXISTS (SELECT 1 FROM event_inbox i WHERE i.source = s.source AND i.id = s.id) LIMIT $2 FOR UPDATE SKIP LOCKED))";
        let subjects = self.forget(sql, before, limit).await?;
        Ok(Forgotten {
            rows: events.rows,
            more: events.more || subjects.more,
        })
    }
}

/// The mailbox's address and key, as far as they are said or known.
async fn names(
    transaction: &Transaction<'_>,
    event: &IncomingEvent,
) -> Result<(Option<String>, Option<MailboxId>), StoreError> {
    let tenant = event.tenant.as_str();
    let address = event.address.as_ref().map(ToString::to_string);
    let key = event.mailbox.map(|id| id.as_uuid());
    let sql = "SELECT COALESCE($3, (SELECT mailbox FROM mailbox_name WHERE tenant = $1 AND name = $2)) AS key,
        COALESCE($2, (SELECT address FROM mailbox WHERE tenant = $1 AND id = $3)) AS address";
    let found = transaction
        .query_one(sql, &[&tenant, &address, &key])
        .await?;
    let key: Option<Uuid> = found.try_get("key")?;
    Ok((found.try_get("address")?, key.map(MailboxId::from_uuid)))
}

async fn standing(
    transaction: &Transaction<'_>,
    tenant: &str,
    subjects: &[String],
) -> Result<Vec<Subject>, StoreError> {
    let sql = "SELECT at, kind, source, id, acting_until, operations FROM event_subject WHERE tenant = $1 AND subject = ANY($2) ORDER BY subject FOR UPDATE";
    let found = rows(transaction, sql, &[&tenant, &subjects]).await?;
    found
        .iter()
        .map(|row| {
            Ok(Subject {
                latest: Latest {
                    moment: EventMoment {
                        at: row.try_get("at")?,
                        kind: parsed(row, "kind")?,
                        source: row.try_get("source")?,
                        id: row.try_get("id")?,
                    },
                    acting_until: row.try_get("acting_until")?,
                },
                operations: row.try_get("operations")?,
            })
        })
        .collect()
}

async fn known(
    transaction: &Transaction<'_>,
    moment: &EventMoment,
) -> Result<EventKnown, StoreError> {
    let sql = "SELECT acting_until FROM event_inbox WHERE source = $1 AND id = $2 FOR UPDATE";
    let found = rows(transaction, sql, &[&moment.source, &moment.id]).await?;
    Ok(match found.first() {
        None => EventKnown::New,
        Some(row) => row
            .try_get::<_, Option<OffsetDateTime>>("acting_until")?
            .map_or(EventKnown::Over, EventKnown::Acting),
    })
}

/// How many left within the last hour, one more included, and whether those are too many.
async fn leavers(
    transaction: &Transaction<'_>,
    tenant: &str,
    now: OffsetDateTime,
) -> Result<(u64, bool), StoreError> {
    let sql = "SELECT count(*) AS leavers FROM event_inbox WHERE tenant = $1 AND kind = 'left' AND verdict = 'act' AND received_at > $2";
    let row = transaction
        .query_one(sql, &[&tenant, &(now - BURST)])
        .await?;
    let leavers = count(&row, "leavers")? + 1;
    if leavers <= REVOKED_FREELY {
        return Ok((leavers, false));
    }
    let sql = "SELECT count(*) AS granted FROM access WHERE tenant = $1 AND state = 'granted'";
    let row = transaction.query_one(sql, &[&tenant]).await?;
    Ok((leavers, revokes_many(leavers, count(&row, "granted")?)))
}

/// The delegations an event concerns.
async fn delegations(
    transaction: &Transaction<'_>,
    event: &IncomingEvent,
    mailbox: Option<MailboxId>,
) -> Result<Vec<DelegationId>, StoreError> {
    let tenant = event.tenant.as_str();
    let found = if let Some(named) = event.delegation {
        let sql = "SELECT id FROM delegation WHERE id = $1 AND tenant = $2";
        let found = rows(transaction, sql, &[&named.as_uuid(), &tenant]).await?;
        if found.is_empty() {
            return Err(StoreError::NotFound("delegation"));
        }
        found
    } else if event.moment.kind == EventKind::Left {
        let sql = "SELECT id FROM delegation WHERE tenant = $1 AND policy = 'keep'
            UNION SELECT delegation_id FROM coverage WHERE tenant = $1 AND mailbox = $2 AND state || '' <> 'released' ORDER BY id";
        rows(
            transaction,
            sql,
            &[&tenant, &mailbox.map(|id| id.as_uuid())],
        )
        .await?
    } else {
        let sql = "SELECT id FROM delegation WHERE tenant = $1 AND policy = 'keep' ORDER BY id";
        rows(transaction, sql, &[&tenant]).await?
    };
    found
        .iter()
        .map(|row| Ok(DelegationId::from_uuid(row.try_get("id")?)))
        .collect()
}

/// What earlier events of this mailbox began and is still under way.
async fn overruled(
    transaction: &Transaction<'_>,
    event: &IncomingEvent,
    standing: &[Subject],
) -> Result<Vec<OperationId>, StoreError> {
    let mut operations: Vec<_> = standing
        .iter()
        .flat_map(|subject| &subject.operations)
        .copied()
        .collect();
    // Whoever acted on it stopped in the middle: what it had asked for by then is found by its requests.
    let unfinished = standing.iter().map(|subject| &subject.latest);
    for latest in
        unfinished.filter(|latest| latest.acting_until.is_some() && latest.moment != event.moment)
    {
        let sql = "SELECT operation_id FROM request WHERE tenant = $1 AND caller = $2 AND starts_with(request_id, $3)";
        let prefix = latest.moment.request_prefix();
        let found = rows(
            transaction,
            sql,
            &[&event.tenant.as_str(), &CALLER, &prefix],
        )
        .await?;
        for row in found {
            operations.push(row.try_get("operation_id")?);
        }
    }
    let sql = "SELECT id FROM operation WHERE id = ANY($1) AND ended_at IS NULL ORDER BY id";
    let found = rows(transaction, sql, &[&operations]).await?;
    found
        .iter()
        .map(|row| Ok(OperationId::from_uuid(row.try_get("id")?)))
        .collect()
}

async fn remember(
    transaction: &Transaction<'_>,
    event: &IncomingEvent,
    subjects: &[String],
    decision: &EventDecision,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let acting_until = match decision.verdict {
        EventVerdict::Act => Some(now + ACTING),
        EventVerdict::Older => None,
        // It comes again, and is decided then.
        EventVerdict::Repeat | EventVerdict::Wait | EventVerdict::Brake => return Ok(()),
    };
    let (moment, tenant) = (&event.moment, event.tenant.as_str());
    run(
        transaction,
        "INSERT INTO event_inbox (source, id, tenant, kind, at, subjects, received_at, acting_until, verdict) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (source, id) DO UPDATE SET acting_until = EXCLUDED.acting_until, verdict = EXCLUDED.verdict, subjects = EXCLUDED.subjects",
        &[
            &moment.source, &moment.id, &tenant, &moment.kind.as_str(), &moment.at, &subjects, &now, &acting_until, &decision.verdict.as_str(),
        ],
    )
    .await?;
    if decision.verdict != EventVerdict::Act {
        return Ok(());
    }
    let under_way: Vec<_> = decision
        .overruled
        .iter()
        .map(OperationId::as_uuid)
        .collect();
    run(
        transaction,
        "INSERT INTO event_subject (tenant, subject, at, kind, source, id, acting_until, operations)
         SELECT $1, subject, $3, $4, $5, $6, $7, $8 FROM unnest($2::text[]) AS subject ORDER BY subject
         ON CONFLICT (tenant, subject) DO UPDATE SET at = EXCLUDED.at, kind = EXCLUDED.kind, source = EXCLUDED.source, id = EXCLUDED.id,
            acting_until = EXCLUDED.acting_until, operations = EXCLUDED.operations",
        &[
            &tenant, &subjects, &moment.at, &moment.kind.as_str(), &moment.source, &moment.id, &acting_until, &under_way,
        ],
    )
    .await?;
    Ok(())
}
