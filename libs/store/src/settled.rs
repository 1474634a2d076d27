//! What results changed, written in bulk: jobs, calendars, and what is known of trustees' rights.

use std::collections::{BTreeMap, HashMap};

use calgrant_domain::{Aim, Calendar, Detail, JobId, Observed, Outcome};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    StoreError,
    place::{Place, columns},
    pool::run,
    results::Settling,
    row::int,
};

pub(crate) async fn store_jobs(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    fn each<'j, T>(jobs: &'j HashMap<JobId, Settling>, of: impl Fn(&'j Settling) -> T) -> Vec<T> {
        jobs.values().map(of).collect()
    }
    let ids: Vec<_> = jobs.keys().map(JobId::as_uuid).collect();
    let outcomes = each(jobs, |job| {
        job.ended.as_ref().map_or("", |end| end.outcome.as_str())
    });
    let reasons = each(jobs, Settling::reason);
    let not_before = each(jobs, |job| job.not_before);
    let waiting = each(jobs, |job| match (&job.ended, job.waiting) {
        (None, Some(why)) => why.as_str(),
        _ => "",
    });
    let phases = each(jobs, |job| job.known.phase.as_str());
    let answered = each(jobs, |job| int(job.answered));
    let attempts = each(jobs, |job| int(job.known.attempts));
    let parks = each(jobs, |job| int(job.known.parks));
    let proofs = each(jobs, |job| int(job.known.proofs));
    fn told<'j>(
        jobs: &'j HashMap<JobId, Settling>,
        of: impl Fn(&'j Detail) -> &'j str,
    ) -> Vec<Option<&'j str>> {
        each(jobs, |job| job.told.as_ref().map(|(detail, _)| of(detail)))
    }
    let codes = told(jobs, |detail| &detail.server_code);
    let texts = told(jobs, |detail| &detail.server_text);
    let requests = told(jobs, |detail| &detail.request_id);
    let accounts = each(jobs, |job| {
        job.told.as_ref().map(|(_, account)| account.as_str())
    });
    let calls = each(jobs, |job| int(job.calls));
    run(
        transaction,
        "UPDATE job SET state = CASE WHEN page.outcome = '' THEN 'ready' ELSE 'ended' END, outcome = page.outcome, reason = page.reason,
            ended_at = CASE WHEN page.outcome = '' THEN NULL ELSE $16::timestamptz END, not_before = page.not_before, waiting = page.waiting,
            phase = page.phase, answered = page.answered, attempts = page.attempts, parks = page.parks, proofs = page.proofs,
            server_code = COALESCE(page.server_code, job.server_code), server_text = COALESCE(page.server_text, job.server_text),
            request_id = COALESCE(page.request_id, job.request_id), account = COALESCE(page.account, job.account), calls = job.calls + page.calls
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::int[], $8::int[], $9::int[], $10::int[],
                $11::text[], $12::text[], $13::text[], $14::text[], $15::int[])
            AS page (id, outcome, reason, not_before, waiting, phase, answered, attempts, parks, proofs, server_code, server_text, request_id, account, calls)
         WHERE job.id = page.id",
        &[
            &ids, &outcomes, &reasons, &not_before, &waiting, &phases, &answered, &attempts, &parks, &proofs, &codes, &texts, &requests, &accounts,
            &calls, &now,
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn store_calendars(
    transaction: &Transaction<'_>,
    calendars: &BTreeMap<(String, Uuid), &Calendar>,
) -> Result<(), StoreError> {
    if calendars.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes): (Vec<_>, Vec<_>) = calendars
        .keys()
        .map(|(tenant, mailbox)| (tenant.as_str(), *mailbox))
        .unzip();
    let (folders, paths): (Vec<_>, Vec<_>) = calendars
        .values()
        .map(|calendar| (calendar.folder_id.as_str(), calendar.path.as_str()))
        .unzip();
    // Locked in the order of keys, as listings do.
    run(
        transaction,
        "WITH page AS (
            SELECT m.tenant, m.id, found.folder_id, found.folder_path
            FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) AS found (tenant, id, folder_id, folder_path)
            CROSS JOIN LATERAL (SELECT mailbox.tenant, mailbox.id FROM mailbox WHERE mailbox.tenant = found.tenant AND mailbox.id = found.id
                AND (mailbox.folder_id, mailbox.folder_path) IS DISTINCT FROM (found.folder_id, found.folder_path) FOR UPDATE) m
         )
         UPDATE mailbox SET folder_id = page.folder_id, folder_path = page.folder_path FROM page
         WHERE mailbox.tenant = page.tenant AND mailbox.id = page.id",
        &[&tenants, &mailboxes, &folders, &paths],
    )
    .await?;
    Ok(())
}

/// Keeps what is now known of trustees' rights to mailboxes. What ended without having seen anything leaves what was seen
/// before, and says why.
pub(crate) async fn store_access(
    transaction: &Transaction<'_>,
    jobs: &HashMap<JobId, Settling>,
) -> Result<(), StoreError> {
    // Of two operations in one batch the later one knows better.
    let mut known: BTreeMap<Place<'_>, (&Settling, Outcome)> = BTreeMap::new();
    for job in jobs.values() {
        let Some(end) = &job.ended else { continue };
        // What is kept for another is known by that one's own jobs.
        if job.known.validate_only || end.outcome == Outcome::KeptBy {
            continue;
        }
        let key = job.place();
        match known.get(&key) {
            Some((other, _)) if other.operation > job.operation => {}
            _ => {
                known.insert(key, (job, end.outcome));
            }
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let (tenants, mailboxes, trustees) = columns(known.keys().copied());
    let (mut states, mut roles, mut verified) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reasons, mut operations) = (Vec::new(), Vec::new());
    for (job, outcome) in known.values() {
        let granted = match job.known.aim {
            Aim::Grant { .. } => matches!(
                outcome,
                Outcome::Added | Outcome::Updated | Outcome::Unchanged | Outcome::LeftHigher
            ),
            Aim::PutBack { .. } => matches!(job.seen, Some((Observed::Present(_), _))),
            Aim::Verify { role, .. } => job.seen.is_some_and(|(seen, _)| seen.allows(role)),
        };
        states.push(if granted { "granted" } else { "not_granted" });
        roles.push(match job.seen {
            Some((Observed::Present(rights), _)) => rights.to_string(),
            _ => String::new(),
        });
        verified.push(job.seen.map(|(_, at)| at));
        reasons.push(job.reason());
        operations.push(job.operation.as_uuid());
    }
    run(
        transaction,
        "INSERT INTO access (tenant, mailbox, trustee, state, role, verified_at, reason, operation_id)
         SELECT page.tenant, page.mailbox, page.trustee, page.state, page.role, page.verified_at, page.reason, page.operation_id
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::uuid[])
            AS page (tenant, mailbox, trustee, state, role, verified_at, reason, operation_id)
         ORDER BY page.tenant, page.mailbox, page.trustee
         ON CONFLICT (tenant, mailbox, trustee) DO UPDATE SET reason = EXCLUDED.reason, operation_id = EXCLUDED.operation_id,
            state = CASE WHEN EXCLUDED.verified_at IS NULL AND access.verified_at IS NOT NULL THEN access.state ELSE EXCLUDED.state END,
            role = CASE WHEN EXCLUDED.verified_at IS NULL THEN access.role ELSE EXCLUDED.role END,
            verified_at = COALESCE(EXCLUDED.verified_at, access.verified_at)
         WHERE access.operation_id <= EXCLUDED.operation_id",
        &[&tenants, &mailboxes, &trustees, &states, &roles, &verified, &reasons, &operations],
    )
    .await?;
    Ok(())
}
