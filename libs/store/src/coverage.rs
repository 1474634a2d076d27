//! Which mailboxes delegations cover: who wants a right that is there. A right is taken away only where nobody else wants it.

use std::collections::{BTreeMap, HashMap, HashSet};

use calgrant_domain::{
    AccessRole, Aim, JobId, Observed, OperationId, Outcome, Reason, reading::unsuitable,
};
use deadpool_postgres::Transaction;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    place::{Key, columns, key, place},
    pool::{rows, run},
    results::Settling,
    row::{entry_text, jobs_of, parsed},
};

/// A delegation that wants a right, or is about to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanting {
    pub(crate) delegation: Uuid,
    /// Since when.
    pub(crate) operation: OperationId,
    pub(crate) role: AccessRole,
}

/// The first of those who would be left with less than they want, by the word of an operation for a delegation; for all,
/// where it is nil. What was asked for later stands, whoever asked.
pub(crate) fn deprived(
    aim: &Aim,
    delegation: Uuid,
    operation: OperationId,
    others: &[Wanting],
) -> Option<Uuid> {
    let stays = |wanting: &&Wanting| {
        let own = delegation.is_nil() || wanting.delegation == delegation;
        (!own || wanting.operation > operation) && aim.deprives(wanting.role)
    };
    others.iter().find(stays).map(|other| other.delegation)
}

/// Who wants the rights at these keys: delegations that cover them, and jobs that are still to give one.
pub(crate) async fn wanting(
    transaction: &Transaction<'_>,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Key, Vec<Wanting>>, StoreError> {
    let (tenants, mailboxes, trustees) = columns(keys.map(place));
    if tenants.is_empty() {
        return Ok(HashMap::new());
    }
    // In one look: a job that ends becomes a coverage in the same moment.
    let found = rows(
        transaction,
        "WITH page AS (SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]) AS page (tenant, mailbox, trustee))
         SELECT c.tenant, c.mailbox, c.trustee, c.delegation_id, c.operation_id, c.role FROM page CROSS JOIN LATERAL (
            SELECT tenant, mailbox, trustee, delegation_id, operation_id, role, state FROM coverage
            WHERE coverage.tenant = page.tenant AND coverage.mailbox = page.mailbox AND coverage.trustee = page.trustee OFFSET 0) c
         WHERE c.state = 'wanted'
         UNION ALL
         SELECT j.tenant, j.mailbox, j.trustee, o.delegation_id, o.id, j.role FROM page CROSS JOIN LATERAL (
            SELECT tenant, mailbox, trustee, operation_id, role, aim, validate_only FROM job
            WHERE job.tenant = page.tenant AND job.mailbox = page.mailbox AND job.state <> 'ended' OFFSET 0) j
            JOIN operation o ON o.id = j.operation_id
         WHERE j.trustee = page.trustee AND j.aim = 'grant' AND NOT j.validate_only",
        &[&tenants, &mailboxes, &trustees],
    )
    .await?;
    let mut wanting: HashMap<Key, Vec<Wanting>> = HashMap::new();
    for row in &found {
        wanting.entry(key(row)?).or_default().push(Wanting {
            delegation: row.try_get("delegation_id")?,
            operation: OperationId::from_uuid(row.try_get("operation_id")?),
            role: parsed(row, "role")?,
        });
    }
    Ok(wanting)
}

/// From now on a delegation doesn't want these any more, by the word of an operation; every delegation, where it is nil.
pub(crate) async fn leave(
    transaction: &Transaction<'_>,
    going: &[(&Key, OperationId, Uuid)],
) -> Result<(), StoreError> {
    if going.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(going.iter().map(|(key, ..)| place(key)));
    let (operations, delegations): (Vec<_>, Vec<_>) = going
        .iter()
        .map(|(_, operation, delegation)| (operation.as_uuid(), *delegation))
        .unzip();
    run(
        transaction,
        "UPDATE coverage c SET state = 'leaving', operation_id = page.operation_id
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[]) AS page (tenant, mailbox, trustee, operation_id, delegation_id)
         WHERE c.tenant = page.tenant AND c.mailbox = page.mailbox AND c.trustee = page.trustee AND c.operation_id < page.operation_id
            AND (c.delegation_id = page.delegation_id OR page.delegation_id = '00000000-0000-0000-0000-000000000000') AND c.state || '' <> 'released'",
        &[&tenants, &mailboxes, &trustees, &operations, &delegations],
    )
    .await?;
    Ok(())
}

/// Which of these jobs, that would end because the right is there, may have read it before it was taken away.
pub(crate) async fn outrun(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
) -> Result<HashSet<JobId>, StoreError> {
    let granting: Vec<_> = jobs
        .iter()
        .filter(|(_, job)| matches!(job.known.aim, Aim::Grant { .. }))
        .filter(|(_, job)| {
            job.ended.is_none() && job.known.before.is_none() && !job.known.validate_only
        })
        .collect();
    if granting.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<_> = granting.iter().map(|(id, _)| id.as_uuid()).collect();
    let (tenants, mailboxes, trustees) = columns(granting.iter().map(|(_, job)| job.place()));
    let published: Vec<_> = granting.iter().map(|(_, job)| job.published_at).collect();
    let found = rows(
        transaction,
        "SELECT page.id FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[]) AS page (id, tenant, mailbox, trustee, published_at)
            JOIN begun b USING (tenant, mailbox, trustee) JOIN job j ON j.id = b.job_id
         WHERE j.aim = 'put_back' AND j.begun_at IS NOT NULL AND (j.state <> 'ended' OR j.ended_at >= page.published_at)",
        &[&ids, &tenants, &mailboxes, &trustees, &published],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok(JobId::from_uuid(row.try_get("id")?)))
        .collect()
}

/// A job that looked whether an entry is still there, and found something else, may have been overtaken by an operation that was
/// accepted after it: then that one decides what is to be there.
pub(crate) async fn overtaken(
    transaction: &Transaction<'_>,
    jobs: &mut HashMap<JobId, Settling>,
) -> Result<(), StoreError> {
    let differing: Vec<_> = jobs
        .iter()
        .filter(|(_, job)| job.changed)
        .filter(|(_, job)| {
            let ended = job.ended.as_ref();
            ended.is_some_and(|end| end.outcome == Outcome::Drifted)
        })
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = differing.iter().map(|(id, _)| id.as_uuid()).collect();
    let (tenants, mailboxes, trustees) = columns(differing.iter().map(|(_, job)| job.place()));
    let (delegations, operations): (Vec<_>, Vec<_>) = differing
        .iter()
        .map(|(_, job)| (job.delegation, job.operation.as_uuid()))
        .unzip();
    let found = rows(
        transaction,
        "SELECT page.id FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[])
            AS page (id, tenant, mailbox, trustee, delegation_id, operation_id)
         JOIN coverage c USING (tenant, mailbox, trustee, delegation_id) WHERE c.operation_id > page.operation_id",
        &[&ids, &tenants, &mailboxes, &trustees, &delegations, &operations],
    )
    .await?;
    for row in &found {
        if let Some(job) = jobs.get_mut(&JobId::from_uuid(row.try_get("id")?)) {
            job.ended = Some(unsuitable(Reason::Superseded));
        }
    }
    Ok(())
}

/// Keeps what jobs that ended mean for coverage, and what they left as ours.
pub(crate) async fn store(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
) -> Result<(), StoreError> {
    let ended: BTreeMap<JobId, (&Settling, Outcome)> = jobs
        .iter()
        .filter(|(_, job)| !job.known.validate_only)
        .filter_map(|(id, job)| Some((*id, (job, job.ended.as_ref()?.outcome))))
        .collect();
    // First, as whoever begins does.
    left(transaction, &ended).await?;
    cover(transaction, &ended).await?;
    release(transaction, &ended).await?;
    give_again(transaction, &ended).await?;
    repaired(transaction, &ended).await
}

type EndedJobs<'j> = BTreeMap<JobId, (&'j Settling, Outcome)>;

/// What was given, or was there, is wanted.
async fn cover(transaction: &Transaction<'_>, ended: &EndedJobs<'_>) -> Result<(), StoreError> {
    // Of two operations of one delegation in a batch, the later one.
    let mut wanted = BTreeMap::new();
    for (id, (job, outcome)) in ended {
        let Aim::Grant { role, .. } = job.known.aim else {
            continue;
        };
        if is_covered(*outcome) {
            let key = (job.place(), job.delegation);
            let seen = match job.seen {
                Some((Observed::Present(rights), _)) => rights,
                _ => role.rights(),
            };
            let later = wanted.insert(key, (*id, job.operation, seen));
            if let Some(other) = later.filter(|(_, operation, _)| *operation > job.operation) {
                wanted.insert(key, other);
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = wanted.values().map(|(id, ..)| id.as_uuid()).collect();
    let seen: Vec<_> = wanted.values().map(|(.., seen)| seen.to_string()).collect();
    let sql = format!(
        "INSERT INTO coverage {COLUMNS} SELECT j.tenant, j.mailbox, j.trustee, o.delegation_id, j.site, j.address, j.role, j.lower_higher, page.rights,
            'wanted', o.id, o.id, NOT o.beyond_selector
         FROM unnest($1::uuid[], $2::text[]) AS page (id, rights)
         CROSS JOIN LATERAL (SELECT tenant, mailbox, trustee, operation_id, site, address, role, lower_higher FROM job WHERE job.id = page.id OFFSET 0) j
         JOIN operation o ON o.id = j.operation_id
         ORDER BY j.tenant, j.mailbox, j.trustee, o.delegation_id {UPSERT}"
    );
    run(transaction, &sql, &[&ids, &seen]).await?;
    Ok(())
}

const COLUMNS: &str = "(tenant, mailbox, trustee, delegation_id, site, address, role, lower_higher, rights, state, since, operation_id, selected)";
/// An operation that came later has the last word.
const UPSERT: &str = "ON CONFLICT (tenant, mailbox, trustee, delegation_id) DO UPDATE SET address = EXCLUDED.address, role = EXCLUDED.role,
    lower_higher = EXCLUDED.lower_higher, rights = EXCLUDED.rights, state = 'wanted', operation_id = EXCLUDED.operation_id,
    since = CASE WHEN coverage.state = 'wanted' THEN coverage.since ELSE EXCLUDED.since END, missing_since = NULL, departed_at = NULL,
    selected = EXCLUDED.selected OR coverage.state = 'wanted' AND coverage.selected
    WHERE coverage.operation_id < EXCLUDED.operation_id";

/// Whether the right is there, or will show, so that the delegation covers the mailbox.
fn is_covered(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Added
            | Outcome::Updated
            | Outcome::Unchanged
            | Outcome::LeftHigher
            | Outcome::Unconfirmed
    )
}

fn is_settled_back(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Removed
            | Outcome::Restored
            | Outcome::Unchanged
            | Outcome::KeptBy
            | Outcome::LeftChangedSince
    )
}

/// Jobs that put back, and of which that is settled: where, and what `pick` takes of each.
fn settled_back<'j>(
    ended: &EndedJobs<'j>,
    pick: impl Fn(&Settling) -> Option<Uuid>,
) -> Vec<(&'j Settling, Uuid)> {
    let settled = ended
        .values()
        .filter(|(job, outcome)| job.known.aim.always_begins() && is_settled_back(*outcome));
    settled
        .filter_map(|(job, _)| Some((*job, pick(job)?)))
        .collect()
}

/// What was taken away, or is left to others, is wanted no more.
async fn release(transaction: &Transaction<'_>, ended: &EndedJobs<'_>) -> Result<(), StoreError> {
    let back = settled_back(ended, |job| Some(job.operation.as_uuid()));
    if back.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(back.iter().map(|(job, _)| job.place()));
    let operations: Vec<_> = back.iter().map(|(_, operation)| *operation).collect();
    // One by one: statistics from before a large revocation say that next to nothing is leaving, and all that is would be read first.
    run(
        transaction,
        "WITH page AS (
            SELECT c.tenant, c.mailbox, c.trustee, c.delegation_id
            FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[]) AS ended (tenant, mailbox, trustee, operation_id)
            CROSS JOIN LATERAL (SELECT coverage.tenant, coverage.mailbox, coverage.trustee, coverage.delegation_id FROM coverage
                WHERE coverage.tenant = ended.tenant AND coverage.mailbox = ended.mailbox AND coverage.trustee = ended.trustee
                    AND coverage.operation_id = ended.operation_id AND coverage.state = 'leaving' FOR UPDATE) c
         )
         UPDATE coverage SET state = 'released' FROM page WHERE coverage.tenant = page.tenant AND coverage.mailbox = page.mailbox
            AND coverage.trustee = page.trustee AND coverage.delegation_id = page.delegation_id",
        &[&tenants, &mailboxes, &trustees, &operations],
    )
    .await?;
    Ok(())
}

/// What an undone operation had taken away is wanted again by whoever had wanted it.
async fn give_again(
    transaction: &Transaction<'_>,
    ended: &EndedJobs<'_>,
) -> Result<(), StoreError> {
    let back = settled_back(ended, |job| {
        let there = job
            .ended
            .as_ref()
            .is_some_and(|end| matches!(end.outcome, Outcome::Restored | Outcome::Unchanged));
        job.undoes_operation.filter(|_| there)
    });
    if back.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(back.iter().map(|(job, _)| job.place()));
    let (operations, undone): (Vec<_>, Vec<_>) = back
        .iter()
        .map(|(job, undone)| (job.operation.as_uuid(), *undone))
        .unzip();
    run(
        transaction,
        "UPDATE coverage c SET state = 'wanted', operation_id = page.operation_id
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[]) AS page (tenant, mailbox, trustee, operation_id, undone)
         WHERE c.tenant = page.tenant AND c.mailbox = page.mailbox AND c.trustee = page.trustee AND c.operation_id = page.undone
            AND c.state <> 'wanted'",
        &[&tenants, &mailboxes, &trustees, &operations, &undone],
    )
    .await?;
    Ok(())
}

/// What was repaired is known anew.
async fn repaired(transaction: &Transaction<'_>, ended: &EndedJobs<'_>) -> Result<(), StoreError> {
    let repaired: Vec<_> = ended
        .values()
        .filter(|(_, outcome)| *outcome == Outcome::Repaired)
        .filter_map(|(job, _)| match job.seen {
            Some((Observed::Present(seen), _)) => Some((*job, seen)),
            _ => None,
        })
        .collect();
    if repaired.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(repaired.iter().map(|(job, _)| job.place()));
    let (delegations, rights): (Vec<_>, Vec<_>) = repaired
        .iter()
        .map(|(job, seen)| (job.delegation, seen.to_string()))
        .unzip();
    run(
        transaction,
        "UPDATE coverage c SET rights = page.rights FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::text[])
            AS page (tenant, mailbox, trustee, delegation_id, rights)
         WHERE c.tenant = page.tenant AND c.mailbox = page.mailbox AND c.trustee = page.trustee AND c.delegation_id = page.delegation_id",
        &[&tenants, &mailboxes, &trustees, &delegations, &rights],
    )
    .await?;
    Ok(())
}

/// What jobs that had begun left as our entry.
async fn left(transaction: &Transaction<'_>, ended: &EndedJobs<'_>) -> Result<(), StoreError> {
    let begun: Vec<_> = ended
        .iter()
        .filter(|(_, (job, _))| job.known.before.is_some())
        .collect();
    if begun.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(begun.iter().map(|(_, (job, _))| job.place()));
    let (mut ids, mut ours, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (id, (job, outcome)) in begun {
        let reason = job.ended.as_ref().and_then(|end| end.reason);
        let left = job.known.aim.left(*outcome, reason);
        ids.push(id.as_uuid());
        changed.push(left.is_some() && *outcome != Outcome::Unchanged);
        ours.push(left.map(entry_text));
    }
    run(
        transaction,
        "WITH page AS (
            SELECT b.tenant, b.mailbox, b.trustee, ended.job_id, ended.ours, ended.changed
            FROM unnest($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::bool[]) AS ended (tenant, mailbox, trustee, job_id, ours, changed)
            JOIN begun b USING (tenant, mailbox, trustee, job_id) ORDER BY b.tenant, b.mailbox, b.trustee FOR UPDATE OF b
         )
         UPDATE begun SET ours = COALESCE(page.ours, begun.ours), ours_by = CASE WHEN page.changed THEN page.job_id ELSE begun.ours_by END,
            known_of = page.job_id
         FROM page WHERE begun.tenant = page.tenant AND begun.mailbox = page.mailbox AND begun.trustee = page.trustee AND begun.job_id = page.job_id",
        &[&tenants, &mailboxes, &trustees, &ids, &ours, &changed],
    )
    .await?;
    Ok(())
}

impl Store {
    /// Covers what operations gave before it was kept as they went: those that are over and not covered, oldest first.
    /// Harmless to repeat. Answers of how many.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn cover(&self) -> Result<u64, StoreError> {
        let sql = "SELECT id FROM operation WHERE kind = 'delegate' AND NOT covered AND ended_at IS NOT NULL ORDER BY id LIMIT 100";
        let found = self.connection().await?.query(sql, &[]).await?;
        let mut covered = 0;
        for row in found {
            let id = OperationId::from_uuid(row.try_get("id")?);
            let (first, last) = jobs_of(id);
            let mut connection = self.connection().await?;
            let transaction = connection.transaction().await?;
            let sql = format!(
                "INSERT INTO coverage {COLUMNS} SELECT j.tenant, j.mailbox, j.trustee, o.delegation_id, j.site, j.address, j.role, j.lower_higher,
                    COALESCE(NULLIF(CASE WHEN a.operation_id = o.id THEN a.role ELSE '' END, ''), j.role), 'wanted', o.id, o.id, NOT o.beyond_selector
                 FROM job j JOIN operation o ON o.id = j.operation_id
                    LEFT JOIN access a ON a.tenant = j.tenant AND a.mailbox = j.mailbox AND a.trustee = j.trustee
                 WHERE j.id >= $2 AND j.id <= $3 AND o.id = $1 AND NOT j.validate_only
                    AND j.outcome IN ('added', 'updated', 'unchanged', 'left_higher', 'unconfirmed')
                 ORDER BY j.tenant, j.mailbox, j.trustee {UPSERT}"
            );
            run(&transaction, &sql, &[&id.as_uuid(), &first, &last]).await?;
            let sql = "UPDATE operation SET covered = true WHERE id = $1";
            run(&transaction, sql, &[&id.as_uuid()]).await?;
            transaction.commit().await?;
            covered += 1;
        }
        Ok(covered)
    }
}
