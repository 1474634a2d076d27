//! Mailboxes that a request names, found in the records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use calgrant_domain::{Aim, MailboxId, Observed, OperationKind, Outcome, Reason, SiteKind};
use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    StoreError,
    back_jobs::{BackJob, What},
    pool::rows,
    records::{COVERED, Listed, SCOPE, of_coverage},
    row::parsed,
};

/// Jobs for the mailboxes that an operation's request names.
pub(crate) async fn jobs(
    transaction: &Transaction<'_>,
    listed: &Listed,
) -> Result<Vec<BackJob>, StoreError> {
    let candidates = candidates(transaction, listed).await?;
    let all: BTreeSet<Uuid> = candidates.values().flatten().copied().collect();
    let all: Vec<Uuid> = all.into_iter().collect();
    let covered = covered(transaction, listed, &all).await?;
    let mut chosen = BTreeMap::new();
    let mut jobs = Vec::new();
    for (name, candidates) in &candidates {
        let within: Vec<_> = candidates
            .iter()
            .filter(|mailbox| covered.contains_key(mailbox))
            .collect();
        match (within.as_slice(), candidates.iter().next()) {
            ([one], _) => {
                chosen.insert(**one, name);
            }
            ([], Some(one)) if candidates.len() == 1 => {
                jobs.push(uncovered(transaction, listed, name, *one).await?);
            }
            ([], _) => jobs.push(ended(name, unknown(name), Reason::NotGrantedHere)),
            // It was one mailbox's address, and then another's.
            _ => jobs.push(ended(name, unknown(name), Reason::Ambiguous)),
        }
    }
    let rows: Vec<_> = covered
        .into_iter()
        .filter(|(mailbox, _)| chosen.contains_key(mailbox))
        .map(|(_, row)| row)
        .collect();
    jobs.extend(of_coverage(transaction, listed, &rows).await?);
    Ok(jobs)
}

/// Which mailboxes each name may mean: the one that had this address when it was listed last, and those that are covered
/// under it.
async fn candidates(
    transaction: &Transaction<'_>,
    listed: &Listed,
) -> Result<BTreeMap<String, BTreeSet<Uuid>>, StoreError> {
    let found = rows(
        transaction,
        "SELECT n.name, f.mailbox FROM operation_name n LEFT JOIN LATERAL (
            SELECT mailbox FROM mailbox_name m WHERE m.tenant = $2 AND m.name = n.name
            UNION SELECT mailbox FROM coverage c WHERE c.tenant = $2 AND c.address = n.name AND c.state <> 'released') f ON true
         WHERE n.operation_id = $1",
        &[&listed.id.as_uuid(), &listed.tenant],
    )
    .await?;
    let mut candidates: BTreeMap<String, BTreeSet<Uuid>> = BTreeMap::new();
    for row in &found {
        let name: String = row.try_get("name")?;
        let by_key = name.parse::<MailboxId>().ok().map(|id| id.as_uuid());
        let mailbox = by_key.or(row.try_get("mailbox")?);
        candidates.entry(name).or_default().extend(mailbox);
    }
    Ok(candidates)
}

async fn covered(
    transaction: &Transaction<'_>,
    listed: &Listed,
    mailboxes: &[Uuid],
) -> Result<HashMap<Uuid, Row>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT ON (c.mailbox) {COVERED} WHERE {SCOPE} AND c.mailbox = ANY($5) ORDER BY c.mailbox, c.operation_id DESC"
    );
    let found = rows(
        transaction,
        &sql,
        &[
            &listed.tenant,
            &listed.delegation,
            &listed.trustee,
            &listed.id.as_uuid(),
            &mailboxes,
        ],
    )
    .await?;
    found
        .into_iter()
        .map(|row| Ok((row.try_get("mailbox")?, row)))
        .collect()
}

/// A mailbox that is known, and of which no record says that it is covered. If an operation that was accepted before is
/// still to give something there, or may be, this one must stand in its way.
async fn uncovered(
    transaction: &Transaction<'_>,
    listed: &Listed,
    name: &str,
    mailbox: Uuid,
) -> Result<BackJob, StoreError> {
    if listed.kind == OperationKind::Verify {
        return Ok(ended(name, mailbox, Reason::NotGrantedHere));
    }
    let found = rows(
        transaction,
        "SELECT m.address, m.site, j.trustee FROM mailbox m JOIN operation o ON o.tenant = m.tenant CROSS JOIN LATERAL (
            SELECT trustee FROM job WHERE operation_id = o.id AND site = m.site AND ($4 = '' OR trustee = $4) AND state <> 'ended' LIMIT 1) j
         WHERE m.tenant = $1 AND m.id = $2 AND o.kind = 'delegate' AND o.ended_at IS NULL AND NOT o.validate_only AND o.id < $5
            AND (o.delegation_id = $3 OR $4 <> '') LIMIT 1",
        &[
            &listed.tenant,
            &mailbox,
            &listed.delegation,
            &listed.trustee,
            &listed.id.as_uuid(),
        ],
    )
    .await?;
    let Some(row) = found.first() else {
        return Ok(ended(name, mailbox, Reason::NotGrantedHere));
    };
    Ok(BackJob {
        mailbox: MailboxId::from_uuid(mailbox),
        site: parsed(row, "site")?,
        trustee: row.try_get("trustee")?,
        name: name.to_owned(),
        address: row.try_get("address")?,
        what: What::Do {
            aim: Aim::PutBack {
                left: Observed::Absent,
                to: Observed::Absent,
            },
            undoes: None,
        },
    })
}

fn unknown(name: &str) -> Uuid {
    MailboxId::of_unknown("", name).as_uuid()
}

fn ended(name: &str, mailbox: Uuid, reason: Reason) -> BackJob {
    BackJob {
        mailbox: MailboxId::from_uuid(mailbox),
        site: SiteKind::Online,
        trustee: String::new(),
        name: name.to_owned(),
        address: String::new(),
        what: What::Ended(Outcome::Refused, reason, None),
    }
}
