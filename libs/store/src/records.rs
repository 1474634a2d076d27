//! The mailboxes of operations that take away, put back or verify, listed from the records: by the immutable key each had when
//! something was given there, never by who has its address today.

use std::collections::{BTreeMap, HashMap};

use calgrant_domain::{
    AccessRole, Aim, JobId, MailboxId, Observed, OperationId, OperationKind, OperationState,
    Outcome, Reason, outcome::optional,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    back_jobs::{BackJob, What, insert},
    brakes, coverage,
    error::retrying,
    last_begun::{Last, last_begun},
    place::{Key, columns, key, place},
    pool::{rows, run},
    row::{AIM, aim, before, jobs_of, parsed},
    standing::{Standing, lock_one, save_one},
};

/// Mailboxes listed in one transaction.
const PAGE: i64 = 1000;

/// What is to be listed.
pub(crate) struct Listed {
    pub(crate) id: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) tenant: String,
    /// Nil for one that is about a trustee.
    pub(crate) delegation: Uuid,
    pub(crate) trustee: String,
    pub(crate) undoes: Option<OperationId>,
    pub(crate) repair: bool,
    pub(crate) named: bool,
    pub(crate) validate_only: bool,
    listed_to: Uuid,
}

/// Which mailboxes a delegation covers, or several to a trustee: condition over coverage `c`, with the tenant, the
/// delegation, the trustee and the operation as $1 to $4.
pub(crate) const SCOPE: &str = "c.tenant = $1 AND (c.delegation_id = $2 OR $2 = '00000000-0000-0000-0000-000000000000' AND c.trustee = $3)
    AND c.state <> 'released' AND c.operation_id < $4";

impl Store {
    /// Lists what waits to be listed from the records. Answers of how many operations something was listed.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn list_from_records(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        // Not before everything is covered that was given: a right could seem to be wanted by nobody.
        let sql = "SELECT id FROM operation o WHERE state = 'listing' AND kind <> 'delegate' AND NOT EXISTS (SELECT 1 FROM operation u
                WHERE u.tenant = o.tenant AND u.kind = 'delegate' AND NOT u.covered AND u.ended_at IS NOT NULL AND u.created_at < o.created_at)
            ORDER BY id LIMIT 20";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let found = connection.query(&statement, &[]).await?;
        drop(connection);
        let (mut listed, mut failed) = (0, None);
        for row in found {
            let id = OperationId::from_uuid(row.try_get("id")?);
            // One that can't be listed is in nobody's way.
            match self.list(id, now).await {
                Ok(()) => listed += 1,
                Err(cause) => failed = failed.or(Some(cause)),
            }
        }
        failed.map_or(Ok(listed), Err)
    }

    async fn list(&self, id: OperationId, now: OffsetDateTime) -> Result<(), StoreError> {
        while retrying(|| self.list_page(id, now)).await? {}
        Ok(())
    }

    /// Lists a page. Answers whether there is more.
    async fn list_page(&self, id: OperationId, now: OffsetDateTime) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = lock_one(&transaction, id).await?;
        if standing.state != OperationState::Listing || standing.kind == OperationKind::Delegate {
            return Ok(false);
        }
        let listed = read_listed(&transaction, id).await?;
        let (mut jobs, next) = match listed.undoes {
            Some(undoes) => undone(&transaction, &listed, undoes).await?,
            None if listed.named => (crate::named::jobs(&transaction, &listed).await?, None),
            None => covered(&transaction, &listed).await?,
        };
        if listed.validate_only {
            keep(&transaction, &listed, &mut jobs).await?;
        }
        insert(&transaction, &listed, &mut standing, &jobs, now).await?;
        let sql = "UPDATE operation SET listed_to = $2 WHERE id = $1";
        run(&transaction, sql, &[&id.as_uuid(), &next]).await?;
        if next.is_none() {
            finish(&transaction, &listed, &mut standing).await?;
        }
        save_one(&transaction, id, standing, now).await?;
        transaction.commit().await?;
        Ok(next.is_some())
    }
}

async fn finish(
    transaction: &Transaction<'_>,
    listed: &Listed,
    standing: &mut Standing,
) -> Result<(), StoreError> {
    standing.state = OperationState::Running;
    standing.listing_until = None;
    if listed.validate_only {
        return Ok(());
    }
    if let Some(undoes) = listed.undoes {
        wishes_undone(transaction, listed, undoes).await?;
    }
    brakes::revokes(transaction, listed.id, standing).await
}

async fn read_listed(transaction: &Transaction<'_>, id: OperationId) -> Result<Listed, StoreError> {
    let sql = "SELECT tenant, kind, delegation_id, trustee, undoes, repair, named, validate_only, listed_to FROM operation WHERE id = $1";
    let found = rows(transaction, sql, &[&id.as_uuid()]).await?;
    let row = found.first().ok_or(StoreError::NotFound("operation"))?;
    Ok(Listed {
        id,
        kind: parsed(row, "kind")?,
        tenant: row.try_get("tenant")?,
        delegation: row.try_get("delegation_id")?,
        trustee: row.try_get("trustee")?,
        undoes: row
            .try_get::<_, Option<Uuid>>("undoes")?
            .map(OperationId::from_uuid),
        repair: row.try_get("repair")?,
        named: row.try_get("named")?,
        validate_only: row.try_get("validate_only")?,
        listed_to: row
            .try_get::<_, Option<Uuid>>("listed_to")?
            .unwrap_or(Uuid::nil()),
    })
}

/// A page of what is covered; and after which mailbox the next one begins.
async fn covered(
    transaction: &Transaction<'_>,
    listed: &Listed,
) -> Result<(Vec<BackJob>, Option<Uuid>), StoreError> {
    let sql = format!(
        "SELECT DISTINCT ON (c.mailbox) {COVERED} WHERE {SCOPE} AND c.mailbox > $5 ORDER BY c.mailbox, c.operation_id DESC LIMIT $6"
    );
    let found = rows(
        transaction,
        &sql,
        &[
            &listed.tenant,
            &listed.delegation,
            &listed.trustee,
            &listed.id.as_uuid(),
            &listed.listed_to,
            &PAGE,
        ],
    )
    .await?;
    let full = i64::try_from(found.len()).unwrap_or(0) >= PAGE;
    let last: Option<Uuid> = found.last().map(|row| row.try_get("mailbox")).transpose()?;
    let jobs = of_coverage(transaction, listed, &found).await?;
    Ok((jobs, last.filter(|_| full)))
}

/// What a job is made of, over coverage `c`.
pub(crate) const COVERED: &str = "c.tenant, c.mailbox, c.trustee, c.site, c.state, c.role, c.lower_higher, c.rights, c.address AS name,
    COALESCE(m.address, c.address) AS address FROM coverage c LEFT JOIN mailbox m ON m.tenant = c.tenant AND m.id = c.mailbox";

/// Jobs for what is covered.
pub(crate) async fn of_coverage(
    transaction: &Transaction<'_>,
    listed: &Listed,
    found: &[Row],
) -> Result<Vec<BackJob>, StoreError> {
    let last = match listed.kind {
        OperationKind::Verify => HashMap::new(),
        _ => {
            let keys: Vec<Key> = found.iter().map(key).collect::<Result<_, _>>()?;
            begun(transaction, &keys).await?
        }
    };
    let mut jobs = Vec::with_capacity(found.len());
    for row in found {
        let key = key(row)?;
        let what = match listed.kind {
            OperationKind::Verify if row.try_get::<_, &str>("state")? != "wanted" => continue,
            OperationKind::Verify => What::Do {
                aim: Aim::Verify {
                    expected: parsed(row, "rights")?,
                    role: parsed::<AccessRole>(row, "role")?,
                    lower_higher: row.try_get("lower_higher")?,
                    repair: listed.repair,
                },
                undoes: None,
            },
            _ => revoked(last.get(&key)),
        };
        jobs.push(BackJob {
            mailbox: MailboxId::from_uuid(key.1),
            trustee: key.2,
            site: parsed(row, "site")?,
            name: row.try_get("name")?,
            address: row.try_get("address")?,
            what,
        });
    }
    Ok(jobs)
}

/// What is done to revoke where this was begun last.
pub(crate) fn revoked(last: Option<&Last>) -> What {
    match last {
        // Who is at it may leave something yet; that is known when this one begins.
        Some(last) if last.ours.is_some() || !last.is_settled() => What::Do {
            aim: Aim::PutBack {
                left: last.ours.map_or(Observed::Absent, |ours| ours.entry),
                to: Observed::Absent,
            },
            undoes: None,
        },
        _ => What::Ended(Outcome::Refused, Reason::NotGrantedHere, None),
    }
}

/// Who began last at these keys.
pub(crate) async fn begun(
    transaction: &Transaction<'_>,
    keys: &[Key],
) -> Result<HashMap<Key, Last>, StoreError> {
    let (tenants, mailboxes, trustees) = columns(keys.iter().map(place));
    let found = rows(
        transaction,
        "SELECT b.tenant, b.mailbox, b.trustee, b.operation_id, b.job_id, b.ours, b.ours_by, b.known_of FROM unnest($1::text[], $2::uuid[], $3::text[]) AS page (tenant, mailbox, trustee) JOIN begun b USING (tenant, mailbox, trustee)",
        &[&tenants, &mailboxes, &trustees],
    )
    .await?;
    last_begun(transaction, &found).await
}

/// A page of what an operation changed; and after which of its jobs the next one begins.
async fn undone(
    transaction: &Transaction<'_>,
    listed: &Listed,
    undoes: OperationId,
) -> Result<(Vec<BackJob>, Option<Uuid>), StoreError> {
    let (first, last) = jobs_of(undoes);
    let sql = format!(
        "SELECT j.id, j.mailbox, j.trustee, j.site, j.name, COALESCE(m.address, j.address) AS address, j.outcome, j.reason, j.begun_at, j.before_rights, {AIM}
         FROM job j LEFT JOIN mailbox m ON m.tenant = j.tenant AND m.id = j.mailbox
         WHERE j.id >= $2 AND j.id <= $3 AND j.id > $4 AND j.operation_id = $1 AND j.state = 'ended' AND j.begun_at IS NOT NULL ORDER BY j.id LIMIT $5"
    );
    let found = rows(
        transaction,
        &sql,
        &[&undoes.as_uuid(), &first, &last, &listed.listed_to, &PAGE],
    )
    .await?;
    let full = i64::try_from(found.len()).unwrap_or(0) >= PAGE;
    let next: Option<Uuid> = found.last().map(|row| row.try_get("id")).transpose()?;
    let mut jobs = Vec::new();
    for row in &found {
        let outcome: Option<Outcome> = optional(row.try_get("outcome")?)?;
        let reason: Option<Reason> = optional(row.try_get("reason")?)?;
        let left = outcome.map(|outcome| aim(row).map(|aim| aim.left(outcome, reason)));
        let (Some(left), Some(to)) = (left.transpose()?.flatten(), before(row)?) else {
            continue;
        };
        if left.same_as(to) {
            continue;
        }
        jobs.push(BackJob {
            mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
            trustee: row.try_get("trustee")?,
            site: parsed(row, "site")?,
            name: row.try_get("name")?,
            address: row.try_get("address")?,
            what: What::Do {
                aim: Aim::PutBack { left, to },
                undoes: Some(JobId::from_uuid(row.try_get("id")?)),
            },
        });
    }
    Ok((jobs, next.filter(|_| full)))
}

/// What an operation wished where it changed nothing, which no job of the undoing is about: what it wanted is wanted no
/// more, what it let go is wanted again.
async fn wishes_undone(
    transaction: &Transaction<'_>,
    listed: &Listed,
    undoes: OperationId,
) -> Result<(), StoreError> {
    let (first, last) = jobs_of(undoes);
    let (own_first, own_last) = jobs_of(listed.id);
    run(
        transaction,
        "UPDATE coverage c SET state = CASE WHEN u.kind = 'delegate' THEN 'released' ELSE 'wanted' END, operation_id = $1
         FROM operation u JOIN job j ON j.id >= $3 AND j.id <= $4 AND j.operation_id = u.id
         WHERE u.id = $2 AND c.tenant = j.tenant AND c.mailbox = j.mailbox AND c.trustee = j.trustee
            AND CASE WHEN u.kind = 'delegate' THEN c.delegation_id = u.delegation_id AND c.since = u.id AND c.state = 'wanted'
                ELSE c.operation_id = u.id AND c.state <> 'wanted' END
            AND NOT EXISTS (SELECT 1 FROM job own WHERE own.id >= $5 AND own.id <= $6 AND own.operation_id = $1 AND own.mailbox = c.mailbox)",
        &[
            &listed.id.as_uuid(),
            &undoes.as_uuid(),
            &first,
            &last,
            &own_first,
            &own_last,
        ],
    )
    .await?;
    Ok(())
}

/// In a plan, what others want is said from the start: it never begins.
async fn keep(
    transaction: &Transaction<'_>,
    listed: &Listed,
    jobs: &mut [BackJob],
) -> Result<(), StoreError> {
    let keys: BTreeMap<Key, usize> = jobs
        .iter()
        .enumerate()
        .filter(|(_, job)| matches!(&job.what, What::Do { aim, .. } if aim.always_begins()))
        .map(|(at, job)| {
            let key = (
                listed.tenant.clone(),
                job.mailbox.as_uuid(),
                job.trustee.clone(),
            );
            (key, at)
        })
        .collect();
    let wanting = coverage::wanting(transaction, keys.keys()).await?;
    for (key, at) in keys {
        let What::Do { aim, .. } = jobs[at].what else {
            continue;
        };
        let others = wanting.get(&key).map(Vec::as_slice).unwrap_or_default();
        if let Some(by) = coverage::deprived(&aim, listed.delegation, listed.id, others) {
            jobs[at].what = What::Ended(Outcome::KeptBy, Reason::Kept, Some(by));
        }
    }
    Ok(())
}
