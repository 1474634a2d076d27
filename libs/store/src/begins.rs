//! The one point where the order of writes is decided.
//!
//! A batch takes a handful of statements, whatever its size: lock the jobs, lock who began last on their mailboxes, decide,
//! store what was decided.

use std::collections::{BTreeMap, HashMap};

use calgrant_domain::{
    AccessRole, Begin, BeginRefusal, JobId, LastBegun, Observed, OperationId, OperationState,
    Outcome,
    job::{Beginner, may_begin, may_write},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    error::retrying,
    pool::{rows, run},
    row::{before, parsed, rights},
};

/// A mailbox and a trustee of a tenant: two writes to the same one are never under way together.
type Key = (String, Uuid, String);

/// A job that asks, as it is stored.
struct Asking {
    beginner: Beginner,
    key: Key,
    before: Option<Observed>,
    /// When it was handed out: what it has read was read after that.
    handed_out: Option<OffsetDateTime>,
}

/// Who began last, and what is there since.
struct Last {
    stands: LastBegun,
    /// When it ended, and the right that it proved; of one that ended otherwise nothing is known.
    left: Option<(OffsetDateTime, Option<AccessRole>)>,
}

impl Last {
    /// As it stands for a job that read `before` after it was handed out. What was read before the last one had ended may be
    /// what that one changed: then it is as if it hadn't ended, until the reader is handed out again.
    fn seen_by(&self, asks: &Asking, before: Observed) -> LastBegun {
        let overtaken = self.left.as_ref().is_some_and(|(ended_at, proved)| {
            let known = matches!((before, proved), (Observed::Present(held), Some(role)) if held.same_as(role.rights()));
            !known && asks.handed_out.is_some_and(|handed_out| handed_out < *ended_at)
        });
        LastBegun {
            settled: self.stands.settled && !overtaken,
            ..self.stands
        }
    }
}

impl Store {
    /// Decides for each mailbox whether it may be written, and records its before-image if none is recorded. Returns after the
    /// commit, in the order asked, with the first before-image of each.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn begin(
        &self,
        begins: &[Begin],
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Observed, BeginRefusal>>, StoreError> {
        retrying(|| self.begin_once(begins, now)).await
    }

    async fn begin_once(
        &self,
        begins: &[Begin],
        now: OffsetDateTime,
    ) -> Result<Vec<Result<Observed, BeginRefusal>>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let asking = lock_jobs(&transaction, begins).await?;
        let last = lock_last(&transaction, &asking).await?;
        let decided = decide(begins, &asking, last);
        store(&transaction, &asking, &decided, now).await?;
        transaction.commit().await?;
        Ok(decided.answers)
    }
}

/// Locks the jobs, in the order of their ids whatever order was asked in.
async fn lock_jobs(
    transaction: &Transaction<'_>,
    begins: &[Begin],
) -> Result<BTreeMap<JobId, Asking>, StoreError> {
    let ids: Vec<_> = begins.iter().map(|begin| begin.job.as_uuid()).collect();
    let found = rows(
        transaction,
        "SELECT j.id, j.operation_id, j.tenant, j.mailbox, j.trustee, j.state, j.validate_only, j.begun_at, j.before_rights, j.published_at, o.state AS operation_state
         FROM job j JOIN operation o ON o.id = j.operation_id WHERE j.id = ANY($1) ORDER BY j.id FOR UPDATE OF j",
        &[&ids],
    )
    .await?;
    found.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(JobId, Asking), StoreError> {
    let job = JobId::from_uuid(row.try_get("id")?);
    let before = before(row)?;
    let operation_state: OperationState = parsed(row, "operation_state")?;
    let asking = Asking {
        beginner: Beginner {
            job,
            operation: OperationId::from_uuid(row.try_get("operation_id")?),
            ended: row.try_get::<_, &str>("state")? == "ended" || row.try_get("validate_only")?,
            operation_over: !matches!(
                operation_state,
                OperationState::Listing | OperationState::Running
            ),
            begun: before.is_some(),
        },
        key: (
            row.try_get("tenant")?,
            row.try_get("mailbox")?,
            row.try_get("trustee")?,
        ),
        before,
        handed_out: row.try_get("published_at")?,
    };
    Ok((job, asking))
}

/// Locks who began last on each mailbox, in the order of keys. Where nobody has, a job that asks stands there from now on, so
/// that two that ask at the same time wait for each other here: nothing can refuse it any more.
async fn lock_last(
    transaction: &Transaction<'_>,
    asking: &BTreeMap<JobId, Asking>,
) -> Result<HashMap<Key, Last>, StoreError> {
    let mut keys: BTreeMap<&Key, &Beginner> = BTreeMap::new();
    for asks in asking.values() {
        if may_write(&asks.beginner).is_ok() {
            keys.entry(&asks.key).or_insert(&asks.beginner);
        }
    }
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, (mailboxes, trustees)): (Vec<_>, (Vec<_>, Vec<_>)) = keys
        .keys()
        .map(|(tenant, mailbox, trustee)| (tenant.as_str(), (*mailbox, trustee.as_str())))
        .unzip();
    let (operations, jobs): (Vec<_>, Vec<_>) = keys
        .values()
        .map(|first| (first.operation.as_uuid(), first.job.as_uuid()))
        .unzip();
    let found = rows(
        transaction,
        "INSERT INTO begun (tenant, mailbox, trustee, operation_id, job_id)
         SELECT page.tenant, page.mailbox, page.trustee, page.operation_id, page.job_id
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[]) AS page (tenant, mailbox, trustee, operation_id, job_id)
         ORDER BY page.tenant, page.mailbox, page.trustee
         ON CONFLICT (tenant, mailbox, trustee) DO UPDATE SET job_id = begun.job_id
         RETURNING tenant, mailbox, trustee, operation_id, job_id",
        &[&tenants, &mailboxes, &trustees, &operations, &jobs],
    )
    .await?;
    let mut last = HashMap::with_capacity(found.len());
    for row in &found {
        let key: Key = (
            row.try_get("tenant")?,
            row.try_get("mailbox")?,
            row.try_get("trustee")?,
        );
        let stands = LastBegun {
            job: JobId::from_uuid(row.try_get("job_id")?),
            operation: OperationId::from_uuid(row.try_get("operation_id")?),
            settled: true,
        };
        last.insert(key, Last { stands, left: None });
    }
    // Looked at after the locks: whoever began just before us has committed by now.
    let others: Vec<_> = last
        .values()
        .map(|last| last.stands.job)
        .filter(|job| asking.get(job).is_none_or(|asks| asks.beginner.begun))
        .map(|job| job.as_uuid())
        .collect();
    if !others.is_empty() {
        let sql = "SELECT id, state, outcome, role, ended_at FROM job WHERE id = ANY($1)";
        let found = rows(transaction, sql, &[&others]).await?;
        let found: HashMap<JobId, &Row> = found
            .iter()
            .map(|row| Ok((JobId::from_uuid(row.try_get("id")?), row)))
            .collect::<Result<_, StoreError>>()?;
        for last in last.values_mut() {
            if let Some(row) = found.get(&last.stands.job) {
                last.stands.settled = row.try_get::<_, &str>("state")? == "ended";
                last.left = left(row)?;
            }
        }
    }
    Ok(last)
}

fn left(row: &Row) -> Result<Option<(OffsetDateTime, Option<AccessRole>)>, StoreError> {
    let Some(ended_at) = row.try_get("ended_at")? else {
        return Ok(None);
    };
    let outcome: Outcome = parsed(row, "outcome")?;
    let proved = matches!(
        outcome,
        Outcome::Added | Outcome::Updated | Outcome::Unchanged
    );
    let role = if proved {
        Some(parsed(row, "role")?)
    } else {
        None
    };
    Ok(Some((ended_at, role)))
}

/// What was decided, and what is to be stored of it.
struct Decided {
    answers: Vec<Result<Observed, BeginRefusal>>,
    begun: BTreeMap<JobId, Observed>,
}

/// Decides one after the other, in the order of jobs: two of one mailbox in a batch are as two batches.
fn decide(
    begins: &[Begin],
    asking: &BTreeMap<JobId, Asking>,
    mut last: HashMap<Key, Last>,
) -> Decided {
    let mut order: Vec<usize> = (0..begins.len()).collect();
    order.sort_by_key(|at| begins[*at].job);
    let mut answers = vec![Err(BeginRefusal::Ended); begins.len()];
    let mut begun: BTreeMap<JobId, Observed> = BTreeMap::new();
    for at in order {
        let Some(asks) = asking.get(&begins[at].job) else {
            continue;
        };
        let beginner = asks.beginner;
        let stands = last.get(&asks.key);
        let stands = stands.map(|last| last.seen_by(asks, begins[at].before));
        answers[at] = may_begin(&beginner, stands.as_ref()).map(|()| {
            let stands = LastBegun {
                job: beginner.job,
                operation: beginner.operation,
                settled: false,
            };
            last.insert(asks.key.clone(), Last { stands, left: None });
            let first = *begun.entry(beginner.job).or_insert(begins[at].before);
            asks.before.unwrap_or(first)
        });
    }
    begun.retain(|job, _| asking.get(job).is_some_and(|asks| asks.before.is_none()));
    Decided { answers, begun }
}

async fn store(
    transaction: &Transaction<'_>,
    asking: &BTreeMap<JobId, Asking>,
    decided: &Decided,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if decided.begun.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = decided.begun.keys().map(JobId::as_uuid).collect();
    let before: Vec<_> = decided.begun.values().map(|seen| rights(*seen)).collect();
    run(
        transaction,
        "UPDATE job SET begun_at = $3, before_rights = page.before_rights
         FROM unnest($1::uuid[], $2::text[]) AS page (id, before_rights) WHERE job.id = page.id",
        &[&ids, &before, &now],
    )
    .await?;
    let (mut tenants, mut mailboxes, mut trustees) = (Vec::new(), Vec::new(), Vec::new());
    let (mut operations, mut jobs) = (Vec::new(), Vec::new());
    for asks in decided.begun.keys().filter_map(|job| asking.get(job)) {
        let (tenant, mailbox, trustee) = &asks.key;
        tenants.push(tenant.as_str());
        mailboxes.push(*mailbox);
        trustees.push(trustee.as_str());
        operations.push(asks.beginner.operation.as_uuid());
        jobs.push(asks.beginner.job.as_uuid());
    }
    run(
        transaction,
        "UPDATE begun SET operation_id = page.operation_id, job_id = page.job_id
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[]) AS page (tenant, mailbox, trustee, operation_id, job_id)
         WHERE begun.tenant = page.tenant AND begun.mailbox = page.mailbox AND begun.trustee = page.trustee AND begun.job_id <> page.job_id",
        &[&tenants, &mailboxes, &trustees, &operations, &jobs],
    )
    .await?;
    Ok(())
}
