//! The one point where the order of writes is decided.
//!
//! A batch takes a handful of statements, whatever its size: lock the jobs, lock who began last on their mailboxes, see who
//! else wants what would be taken away, decide, store what was decided.

use std::collections::{BTreeMap, HashMap};

use calgrant_domain::{
    Aim, Begin, BeginRefusal, JobId, Observed, OperationId, OperationState,
    job::{Beginner, may_begin, may_write},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    coverage::{self, Wanting},
    error::retrying,
    last_begun::{Last, Ours, last_begun},
    place::{Key, columns, key, place},
    pool::{rows, run},
    row::{AIM, aim, before, entry_text, parsed, rights},
};

/// A job that asks, as it is stored.
struct Asking {
    beginner: Beginner,
    key: Key,
    aim: Aim,
    before: Option<Observed>,
    /// Its operation's; nil for one that is about a trustee.
    delegation: Uuid,
    published_at: Option<OffsetDateTime>,
}

impl Asking {
    /// Whether less is left than was there.
    fn takes_away(&self) -> bool {
        match self.aim {
            Aim::PutBack {
                to: Observed::Absent,
                ..
            } => true,
            Aim::PutBack {
                left: Observed::Present(left),
                to: Observed::Present(to),
            } => !to.includes(left),
            _ => false,
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
        let taken = asking
            .values()
            .filter(|asks| asks.takes_away() && !asks.beginner.begun)
            .map(|asks| &asks.key);
        let wanting = coverage::wanting(&transaction, taken).await?;
        let decided = decide(begins, &asking, last, &wanting);
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
    let sql = format!(
        "SELECT j.id, j.operation_id, j.tenant, j.mailbox, j.trustee, j.state, j.validate_only, j.begun_at, j.before_rights, j.undoes, j.published_at,
            {AIM}, o.state AS operation_state, o.hold, o.delegation_id
         FROM job j JOIN operation o ON o.id = j.operation_id WHERE j.id = ANY($1) ORDER BY j.id FOR UPDATE OF j"
    );
    let found = rows(transaction, &sql, &[&ids]).await?;
    found.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(JobId, Asking), StoreError> {
    let job = JobId::from_uuid(row.try_get("id")?);
    let (before, aim) = (before(row)?, aim(row)?);
    let operation_state: OperationState = parsed(row, "operation_state")?;
    let undoes = row.try_get::<_, Option<Uuid>>("undoes")?;
    let asking = Asking {
        beginner: Beginner {
            job,
            operation: OperationId::from_uuid(row.try_get("operation_id")?),
            ended: row.try_get::<_, &str>("state")? == "ended" || row.try_get("validate_only")?,
            operation_over: !matches!(
                operation_state,
                OperationState::Listing | OperationState::Running
            ),
            held: !row.try_get::<_, &str>("hold")?.is_empty(),
            begun: before.is_some(),
            takes_back: aim.always_begins(),
            undoes: undoes.map(JobId::from_uuid),
        },
        key: key(row)?,
        aim,
        before,
        delegation: row.try_get("delegation_id")?,
        published_at: row.try_get("published_at")?,
    };
    Ok((job, asking))
}

/// Locks who began last on each mailbox, in the order of keys. Where nobody has, a job that asks stands there from now on, so
/// that two that ask at the same time wait for each other here.
async fn lock_last(
    transaction: &Transaction<'_>,
    asking: &BTreeMap<JobId, Asking>,
) -> Result<HashMap<Key, Last>, StoreError> {
    let mut keys: BTreeMap<&Key, &Beginner> = BTreeMap::new();
    for asks in asking.values() {
        let waits = asks.beginner.held && !asks.beginner.begun;
        if !waits && may_write(&asks.beginner).is_ok() {
            keys.entry(&asks.key).or_insert(&asks.beginner);
        }
    }
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, mailboxes, trustees) = columns(keys.keys().map(|key| place(key)));
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
         RETURNING tenant, mailbox, trustee, operation_id, job_id, ours, ours_by, known_of",
        &[&tenants, &mailboxes, &trustees, &operations, &jobs],
    )
    .await?;
    // Looked at after the locks: whoever began just before us has committed by now.
    last_begun(transaction, &found).await
}

/// What was decided, and what is to be stored of it.
#[derive(Default)]
struct Decided {
    answers: Vec<Result<Observed, BeginRefusal>>,
    /// With what was read before, and what stood as ours.
    begun: BTreeMap<JobId, (Observed, Option<Ours>)>,
    /// What we left is not what the job was told: it is told anew.
    left: BTreeMap<JobId, Observed>,
    /// What was to be taken away is wanted by another delegation.
    kept: BTreeMap<JobId, Uuid>,
}

/// Decides one after the other, in the order of jobs: two of one mailbox in a batch are as two batches.
fn decide(
    begins: &[Begin],
    asking: &BTreeMap<JobId, Asking>,
    mut last: HashMap<Key, Last>,
    wanting: &HashMap<Key, Vec<Wanting>>,
) -> Decided {
    let mut order: Vec<usize> = (0..begins.len()).collect();
    order.sort_by_key(|at| begins[*at].job);
    let mut decided = Decided {
        answers: vec![Err(BeginRefusal::Ended); begins.len()],
        ..Decided::default()
    };
    for at in order {
        let Some(asks) = asking.get(&begins[at].job) else {
            continue;
        };
        let beginner = asks.beginner;
        let before_it = last.get(&asks.key);
        let stands = before_it.map(|last| {
            last.as_seen_by(
                asks.delegation,
                asks.published_at,
                begins[at].before,
                beginner.takes_back,
            )
        });
        let ours = before_it.and_then(|last| last.ours);
        let may = may_begin(&beginner, stands.as_ref())
            .and_then(|()| may_take(asks, ours, wanting, &mut decided));
        decided.answers[at] = may.map(|()| {
            last.insert(asks.key.clone(), Last::unsettled(&beginner, ours));
            let first = decided
                .begun
                .entry(beginner.job)
                .or_insert((begins[at].before, ours));
            asks.before.unwrap_or(first.0)
        });
    }
    decided
        .begun
        .retain(|job, _| asking.get(job).is_some_and(|asks| asks.before.is_none()));
    decided
}

/// Whether a job may take away, or put back, as far as what is on record and the wishes of others go.
fn may_take(
    asks: &Asking,
    ours: Option<Ours>,
    wanting: &HashMap<Key, Vec<Wanting>>,
    decided: &mut Decided,
) -> Result<(), BeginRefusal> {
    let Aim::PutBack { left, .. } = asks.aim else {
        return Ok(());
    };
    if asks.beginner.begun || decided.begun.contains_key(&asks.beginner.job) {
        return Ok(());
    }
    // What is undone is what one job left; what is revoked is what we left last, as it stands now.
    let stands = ours.map_or(Observed::Absent, |ours| ours.entry);
    if asks.beginner.undoes.is_none() && !stands.same_as(left) {
        decided.left.insert(asks.beginner.job, stands);
        return Err(BeginRefusal::Unsettled);
    }
    let others = wanting
        .get(&asks.key)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match coverage::deprived(&asks.aim, asks.delegation, asks.beginner.operation, others) {
        Some(other) => {
            decided.kept.insert(asks.beginner.job, other);
            Err(BeginRefusal::Kept)
        }
        None => Ok(()),
    }
}

async fn store(
    transaction: &Transaction<'_>,
    asking: &BTreeMap<JobId, Asking>,
    decided: &Decided,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if !decided.left.is_empty() {
        let ids: Vec<_> = decided.left.keys().map(JobId::as_uuid).collect();
        let left: Vec<_> = decided
            .left
            .values()
            .map(|left| entry_text(*left))
            .collect();
        let sql = "UPDATE job SET left_rights = page.left_rights FROM unnest($1::uuid[], $2::text[]) AS page (id, left_rights) WHERE job.id = page.id";
        run(transaction, sql, &[&ids, &left]).await?;
    }
    if !decided.kept.is_empty() {
        let ids: Vec<_> = decided.kept.keys().map(JobId::as_uuid).collect();
        let by: Vec<_> = decided.kept.values().copied().collect();
        let sql = "UPDATE job SET kept_by = page.kept_by FROM unnest($1::uuid[], $2::uuid[]) AS page (id, kept_by) WHERE job.id = page.id";
        run(transaction, sql, &[&ids, &by]).await?;
    }
    let goes = decided.begun.keys().chain(decided.kept.keys());
    let going: Vec<_> = goes
        .filter_map(|job| asking.get(job))
        .filter(|asks| asks.takes_away())
        .map(|asks| (&asks.key, asks.beginner.operation, asks.delegation))
        .collect();
    coverage::leave(transaction, &going).await?;
    if decided.begun.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = decided.begun.keys().map(JobId::as_uuid).collect();
    let before: Vec<_> = decided
        .begun
        .values()
        .map(|(seen, _)| rights(*seen))
        .collect();
    run(
        transaction,
        "UPDATE job SET begun_at = $3, before_rights = page.before_rights
         FROM unnest($1::uuid[], $2::text[]) AS page (id, before_rights) WHERE job.id = page.id",
        &[&ids, &before, &now],
    )
    .await?;
    let begun: Vec<_> = decided
        .begun
        .iter()
        .filter_map(|(job, (_, stood))| Some((asking.get(job)?, stood)))
        .collect();
    let (tenants, mailboxes, trustees) = columns(begun.iter().map(|(asks, _)| place(&asks.key)));
    let (mut operations, mut jobs) = (Vec::new(), Vec::new());
    let (mut ours, mut ours_by) = (Vec::new(), Vec::new());
    for (asks, stood) in begun {
        operations.push(asks.beginner.operation.as_uuid());
        jobs.push(asks.beginner.job.as_uuid());
        ours.push(stood.map(|ours| entry_text(ours.entry)));
        ours_by.push(stood.and_then(|ours| ours.by));
    }
    // What stood as ours is carried on until it is known what this one left.
    run(
        transaction,
        "UPDATE begun SET operation_id = page.operation_id, job_id = page.job_id, ours = page.ours, ours_by = page.ours_by, known_of = NULL
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[])
            AS page (tenant, mailbox, trustee, operation_id, job_id, ours, ours_by)
         WHERE begun.tenant = page.tenant AND begun.mailbox = page.mailbox AND begun.trustee = page.trustee
            AND (begun.job_id <> page.job_id OR begun.ours IS DISTINCT FROM page.ours)",
        &[&tenants, &mailboxes, &trustees, &operations, &jobs, &ours, &ours_by],
    )
    .await?;
    Ok(())
}
