//! Jobs that are listed from the records, as they are stored.

use std::collections::BTreeMap;

use calgrant_domain::{Aim, JobId, MailboxId, Observed, Outcome, Reason, SiteKind};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    StoreError,
    pool::{rows, run},
    records::Listed,
    row::entry_text,
    standing::Standing,
};

/// A job to record.
#[derive(Debug)]
pub(crate) struct BackJob {
    pub(crate) mailbox: MailboxId,
    pub(crate) site: SiteKind,
    pub(crate) trustee: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) what: What,
}

/// What is to be done about it, or how it ended already; then perhaps the delegation that keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Do { aim: Aim, undoes: Option<JobId> },
    Ended(Outcome, Reason, Option<Uuid>),
}

/// Records jobs and counts them.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    listed: &Listed,
    standing: &mut Standing,
    jobs: &[BackJob],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let jobs: BTreeMap<JobId, &BackJob> = jobs
        .iter()
        .map(|job| (JobId::of(listed.id, job.mailbox), job))
        .collect();
    if jobs.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = jobs.keys().map(JobId::as_uuid).collect();
    fn each<'j, T>(jobs: &BTreeMap<JobId, &'j BackJob>, of: impl Fn(&'j BackJob) -> T) -> Vec<T> {
        jobs.values().map(|job| of(job)).collect()
    }
    let sites = each(&jobs, |job| job.site.as_str());
    let mailboxes = each(&jobs, |job| job.mailbox.as_uuid());
    let names = each(&jobs, |job| job.name.as_str());
    let addresses = each(&jobs, |job| job.address.as_str());
    let trustees = each(&jobs, |job| job.trustee.as_str());
    let outcomes = each(&jobs, |job| match job.what {
        What::Ended(outcome, ..) => outcome.as_str(),
        What::Do { .. } => "",
    });
    let reasons = each(&jobs, |job| match job.what {
        What::Ended(_, reason, _) => reason.as_str(),
        What::Do { .. } => "",
    });
    let kept_by = each(&jobs, |job| match job.what {
        What::Ended(.., by) => by,
        What::Do { .. } => None,
    });
    let undoes = each(&jobs, |job| match job.what {
        What::Do { undoes, .. } => undoes.map(|job| job.as_uuid()),
        What::Ended(..) => None,
    });
    let aims = each(&jobs, |job| stored(job.what));
    let kinds: Vec<_> = aims.iter().map(|aim| aim.kind).collect();
    let left: Vec<_> = aims.iter().map(|aim| aim.left.as_str()).collect();
    let to: Vec<_> = aims.iter().map(|aim| aim.to.as_str()).collect();
    let lower_higher: Vec<_> = aims.iter().map(|aim| aim.lower_higher).collect();
    let repair: Vec<_> = aims.iter().map(|aim| aim.repair).collect();
    let recorded = rows(
        transaction,
        "INSERT INTO job (id, operation_id, tenant, site, lane, mailbox, name, address, lines, trustee, role, lower_higher, validate_only,
            state, not_before, accepted_at, outcome, reason, ended_at, aim, left_rights, to_rights, repair, undoes, kept_by)
         SELECT page.id, o.id, o.tenant, page.site, o.lane, page.mailbox, page.name, page.address, '{}', page.trustee, '', page.lower_higher,
            o.validate_only, CASE WHEN page.outcome = '' THEN 'ready' ELSE 'ended' END, $2::timestamptz, $2::timestamptz, page.outcome, page.reason,
            CASE WHEN page.outcome = '' THEN NULL ELSE $2::timestamptz END, page.aim, page.left_rights, page.to_rights, page.repair,
            page.undoes, page.kept_by
         FROM operation o, unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                $12::text[], $13::text[], $14::bool[], $15::bool[], $16::uuid[], $17::uuid[])
            AS page (id, site, mailbox, name, address, trustee, outcome, reason, aim, left_rights, to_rights, lower_higher, repair, undoes, kept_by)
         WHERE o.id = $1 ON CONFLICT (id) DO NOTHING RETURNING job.id",
        &[
            &listed.id.as_uuid(), &now, &ids, &sites, &mailboxes, &names, &addresses, &trustees, &outcomes, &reasons, &kinds, &left, &to,
            &lower_higher, &repair, &undoes, &kept_by,
        ],
    )
    .await?;
    for row in &recorded {
        standing.counts.accepted += 1;
        let job = jobs.get(&JobId::from_uuid(row.try_get("id")?));
        if let Some(What::Ended(outcome, ..)) = job.map(|job| job.what) {
            standing.counts.add(outcome, 1);
        }
    }
    if listed.validate_only {
        return Ok(());
    }
    not_ours(transaction, listed, &jobs).await
}

/// Where nothing of ours is, a revocation has done its part.
async fn not_ours(
    transaction: &Transaction<'_>,
    listed: &Listed,
    jobs: &BTreeMap<JobId, &BackJob>,
) -> Result<(), StoreError> {
    let gone = |job: &&&BackJob| matches!(job.what, What::Ended(_, Reason::NotGrantedHere, _));
    let (mailboxes, trustees): (Vec<_>, Vec<_>) = jobs
        .values()
        .filter(gone)
        .map(|job| (job.mailbox.as_uuid(), job.trustee.as_str()))
        .unzip();
    if mailboxes.is_empty() || listed.kind != calgrant_domain::OperationKind::Revoke {
        return Ok(());
    }
    run(
        transaction,
        "UPDATE coverage c SET state = 'released', operation_id = $1 FROM unnest($4::uuid[], $5::text[]) AS page (mailbox, trustee)
         WHERE c.tenant = $2 AND c.mailbox = page.mailbox AND c.trustee = page.trustee AND c.operation_id < $1 AND c.state <> 'released'
            AND (c.delegation_id = $3 OR $3 = '00000000-0000-0000-0000-000000000000')",
        &[&listed.id.as_uuid(), &listed.tenant, &listed.delegation, &mailboxes, &trustees],
    )
    .await?;
    Ok(())
}

/// An aim in columns.
struct Stored {
    kind: &'static str,
    left: String,
    to: String,
    lower_higher: bool,
    repair: bool,
}

fn stored(what: What) -> Stored {
    let aim = match what {
        What::Do { aim, .. } => aim,
        // Nothing is done; it reads as what takes nothing away.
        What::Ended(..) => Aim::PutBack {
            left: Observed::Absent,
            to: Observed::Absent,
        },
    };
    match aim {
        Aim::PutBack { left, to } => Stored {
            kind: "put_back",
            left: entry_text(left),
            to: entry_text(to),
            lower_higher: false,
            repair: false,
        },
        Aim::Verify {
            expected,
            role,
            lower_higher,
            repair,
        } => Stored {
            kind: "verify",
            left: expected.to_string(),
            to: role.to_string(),
            lower_higher,
            repair,
        },
        Aim::Grant { role, lower_higher } => Stored {
            kind: "grant",
            left: String::new(),
            to: role.to_string(),
            lower_higher,
            repair: false,
        },
    }
}
