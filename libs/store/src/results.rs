//! Results: what workers read becomes what happened, with its counts, in one transaction.
//!
//! A batch takes a handful of statements, whatever its size: lock the operations, lock the jobs, decide, store what was decided.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use calgrant_domain::{
    Calendar, Detail, JobId, MailboxId, Next, Observed, OperationId, Outcome, Phase, Reading,
    Reason, Waiting,
    reading::{Answers, Ended, Known, Report, heed},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::{
    Store, StoreError, brakes, coverage,
    error::retrying,
    mailbox_log,
    place::Place,
    pool::{rows, run},
    row::{AIM, aim, before, duration, long, parsed, small},
    settled,
    standing::{lock, save},
};

/// What a worker reported.
#[derive(Debug, Clone)]
pub struct ReportedResult {
    /// The job.
    pub job: JobId,
    /// Its operation.
    pub operation: OperationId,
    /// Which handing out it answers, as the job carried it.
    pub delivery: u32,
    /// What was read; `None` when no worker took it in time.
    pub report: Option<Report>,
    /// The calendar, if it was found.
    pub calendar: Option<Calendar>,
    /// Who did it.
    pub account: String,
    /// Calls it took.
    pub calls: u32,
    /// When it was read.
    pub read_at: OffsetDateTime,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is recorded, or its job had gone on without it.
    Recorded,
    /// The operation has no such job.
    Unknown,
}

/// A job while results are applied to it.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) operation: OperationId,
    pub(crate) tenant: String,
    pub(crate) mailbox: MailboxId,
    pub(crate) trustee: String,
    /// Its operation's; nil for one that is about a trustee.
    pub(crate) delegation: uuid::Uuid,
    /// The operation that its own one undoes.
    pub(crate) undoes_operation: Option<uuid::Uuid>,
    /// When it was handed out last.
    pub(crate) published_at: Option<OffsetDateTime>,
    pub(crate) known: Known,
    pub(crate) delivery: u32,
    pub(crate) answered: u32,
    pub(crate) not_before: OffsetDateTime,
    /// Why it waits, if it does by what was applied.
    pub(crate) waiting: Option<Waiting>,
    pub(crate) ended: Option<Ended>,
    /// The server's words and who heard them; `None`: what is stored stays.
    pub(crate) told: Option<(Detail, String)>,
    /// Calls that the results took, beyond those counted before.
    pub(crate) calls: u32,
    /// What ended it saw, and when.
    pub(crate) seen: Option<(Observed, OffsetDateTime)>,
    pub(crate) changed: bool,
}

impl Store {
    /// Applies results together: all or none. In the order given. `roll` in `[0, 1)` spreads retries.
    ///
    /// # Errors
    /// Postgres is away, or what is stored can't be read: then apply them one by one.
    pub async fn apply(
        &self,
        results: &[ReportedResult],
        roll: f64,
        now: OffsetDateTime,
    ) -> Result<Vec<Applied>, StoreError> {
        retrying(|| self.apply_once(results, roll, now)).await
    }

    async fn apply_once(
        &self,
        results: &[ReportedResult],
        roll: f64,
        now: OffsetDateTime,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let operations: BTreeSet<_> = results
            .iter()
            .map(|result| result.operation.as_uuid())
            .collect();
        let operations: Vec<_> = operations.into_iter().collect();
        let mut standings = lock(&transaction, &operations).await?;
        let mut jobs = lock_jobs(&transaction, results, &operations, now).await?;
        let outrun = coverage::outrun(&transaction, &jobs).await?;

        let mut applied = Vec::with_capacity(results.len());
        let mut calendars = BTreeMap::new();
        for result in results {
            let known = jobs
                .get_mut(&result.job)
                .filter(|job| job.operation == result.operation);
            let Some(job) = known else {
                applied.push(Applied::Unknown);
                continue;
            };
            applied.push(Applied::Recorded);
            if let Some(calendar) = &result.calendar {
                calendars.insert((job.tenant.clone(), job.mailbox.as_uuid()), calendar);
            }
            job.apply(result, outrun.contains(&result.job), roll, now);
        }
        coverage::overtaken(&transaction, &mut jobs).await?;
        jobs.retain(|_, job| job.changed);
        let mut touched: BTreeMap<OperationId, BTreeMap<Outcome, u64>> = BTreeMap::new();
        for job in jobs.values() {
            if let Some(standing) = standings.get_mut(&job.operation) {
                standing.calls += u64::from(job.calls);
            }
            if let Some(end) = &job.ended {
                *touched
                    .entry(job.operation)
                    .or_default()
                    .entry(end.outcome)
                    .or_default() += 1;
            }
        }
        settled::store_jobs(&transaction, &jobs, now).await?;
        settled::store_calendars(&transaction, &calendars).await?;
        let changes = mailbox_log::changes(&transaction, &jobs).await?;
        settled::store_access(&transaction, &jobs).await?;
        coverage::store(&transaction, &jobs).await?;
        // What ended nothing is no change that anybody watches; its calls are counted all the same.
        let quiet: Vec<_> = standings
            .iter()
            .filter(|(id, _)| !touched.contains_key(id))
            .map(|(id, standing)| (id.as_uuid(), long(standing.calls)))
            .collect();
        count_calls(&transaction, &quiet).await?;
        standings.retain(|id, _| touched.contains_key(id));
        for (id, standing) in &mut standings {
            for (outcome, more) in touched.get(id).into_iter().flatten() {
                standing.counts.add(*outcome, *more);
            }
        }
        brakes::failed(&transaction, &jobs, &mut standings).await?;
        save(&transaction, standings, now).await?;
        // Last, for whoever takes the next numbers waits for this commit.
        mailbox_log::append(&transaction, &changes, now).await?;
        transaction.commit().await?;
        Ok(applied)
    }
}

/// Stores how many calls operations made that are locked.
async fn count_calls(
    transaction: &Transaction<'_>,
    calls: &[(uuid::Uuid, i64)],
) -> Result<(), StoreError> {
    if calls.is_empty() {
        return Ok(());
    }
    let (ids, calls): (Vec<_>, Vec<_>) = calls.iter().copied().unzip();
    let sql = "UPDATE operation SET calls = page.calls FROM unnest($1::uuid[], $2::bigint[]) AS page (id, calls)
        WHERE operation.id = page.id AND operation.calls <> page.calls";
    run(transaction, sql, &[&ids, &calls]).await?;
    Ok(())
}

/// Locks the jobs, in the order of their ids whatever order the results are in.
async fn lock_jobs(
    transaction: &Transaction<'_>,
    results: &[ReportedResult],
    operations: &[uuid::Uuid],
    now: OffsetDateTime,
) -> Result<HashMap<JobId, Settling>, StoreError> {
    let ids: Vec<_> = results.iter().map(|result| result.job.as_uuid()).collect();
    let sql = format!(
        "SELECT j.id, j.operation_id, j.tenant, j.mailbox, j.trustee, {AIM}, j.validate_only, j.state, j.phase, j.delivery, j.answered,
            j.not_before, j.published_at, j.attempts, j.parks, j.proofs, j.begun_at, j.before_rights, j.accepted_at, j.outcome, o.delegation_id,
            o.undoes AS undoes_operation, s.park_first_millis, s.park_limit_millis
         FROM job j JOIN operation o ON o.id = j.operation_id LEFT JOIN site s ON s.tenant = j.tenant AND s.kind = j.site
         WHERE j.id = ANY($1) AND j.operation_id = ANY($2) ORDER BY j.id FOR UPDATE OF j"
    );
    let found = rows(transaction, &sql, &[&ids, &operations]).await?;
    found
        .iter()
        .map(|row| Ok((JobId::from_uuid(row.try_get("id")?), read(row, now)?)))
        .collect()
}

impl Settling {
    /// Where the right is that it is about.
    pub(crate) fn place(&self) -> Place<'_> {
        (&self.tenant, self.mailbox.as_uuid(), &self.trustee)
    }

    /// Applies one result. The first final outcome stands, whoever speaks later. `outrun`: what it read may have been taken
    /// away meanwhile.
    fn apply(&mut self, result: &ReportedResult, outrun: bool, roll: f64, now: OffsetDateTime) {
        if self.ended.is_some() {
            return;
        }
        let present = result.delivery == self.delivery && self.answered < result.delivery;
        let answers = if present {
            Answers::Present
        } else {
            Answers::Earlier
        };
        let reading = result.report.as_ref().map(|report| &report.reading);
        let Some(mut next) = heed(&self.known, answers, reading, roll) else {
            return;
        };
        if outrun && matches!(&next, Next::End(end) if is_there(end.outcome)) {
            if answers == Answers::Earlier {
                return;
            }
            next = Next::Again {
                after: OUTRUN_WAIT,
                why: Waiting::Throttled,
                phase: self.known.phase,
            };
        }
        self.changed = true;
        self.answered = self.answered.max(result.delivery);
        if let Some(report) = &result.report {
            self.told = Some((report.detail.clone(), result.account.clone()));
            self.calls = self.calls.saturating_add(result.calls);
        }
        match next {
            Next::End(end) => {
                self.seen = match reading {
                    Some(Reading::Seen(seen) | Reading::Wrote(seen)) => {
                        Some((*seen, result.read_at))
                    }
                    _ => None,
                };
                self.ended = Some(end);
            }
            Next::Again { after, why, phase } => {
                self.not_before = now + after;
                self.waiting = Some(why);
                self.known.phase = phase;
                match why {
                    Waiting::Retry => self.known.attempts += 1,
                    Waiting::Parked => self.known.parks += 1,
                    Waiting::Proof => self.known.proofs += 1,
                    Waiting::Returned | Waiting::Throttled | Waiting::SetAside => {}
                }
            }
        }
    }

    /// Why it ended, as a word; empty if it simply worked.
    pub(crate) fn reason(&self) -> &'static str {
        self.ended
            .as_ref()
            .and_then(|end| end.reason)
            .map_or("", Reason::as_str)
    }
}

/// Wait before an entry is read again that may have been taken away meanwhile.
const OUTRUN_WAIT: Duration = Duration::from_secs(1);

/// Whether a job ended because it saw the right.
fn is_there(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Unchanged | Outcome::LeftHigher)
}

fn read(row: &Row, now: OffsetDateTime) -> Result<Settling, StoreError> {
    let accepted_at: OffsetDateTime = row.try_get("accepted_at")?;
    // Without its site the mailbox isn't waited for any longer.
    let park = |column: &str| -> Result<Duration, StoreError> {
        Ok(duration(
            row.try_get::<_, Option<i64>>(column)?.unwrap_or(0),
        ))
    };
    let ended = match row.try_get::<_, &str>("state")? {
        "ended" => Some(Ended {
            outcome: parsed(row, "outcome")?,
            reason: None,
        }),
        _ => None,
    };
    Ok(Settling {
        operation: OperationId::from_uuid(row.try_get("operation_id")?),
        tenant: row.try_get("tenant")?,
        mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
        trustee: row.try_get("trustee")?,
        delegation: row.try_get("delegation_id")?,
        undoes_operation: row.try_get("undoes_operation")?,
        published_at: row.try_get("published_at")?,
        known: Known {
            aim: aim(row)?,
            validate_only: row.try_get("validate_only")?,
            before: before(row)?,
            attempts: small(row, "attempts")?,
            parks: small(row, "parks")?,
            proofs: small(row, "proofs")?,
            age: Duration::try_from(now - accepted_at).unwrap_or_default(),
            park_first: park("park_first_millis")?,
            park_limit: park("park_limit_millis")?,
            phase: parsed::<Phase>(row, "phase")?,
        },
        delivery: small(row, "delivery")?,
        answered: small(row, "answered")?,
        not_before: row.try_get("not_before")?,
        waiting: None,
        ended,
        told: None,
        calls: 0,
        seen: None,
        changed: false,
    })
}
