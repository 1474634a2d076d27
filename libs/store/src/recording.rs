//! What a listing found, as jobs. A page that is recorded again changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use calgrant_domain::{
    JobId, Listed, MailboxId, OperationId, Outcome, SiteKind, reading::unsuitable,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Store, StoreError, departures,
    error::retrying,
    listing::held,
    mailbox_log,
    pool::{rows, run},
    standing::{Standing, save_one},
};

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where.
    pub site: SiteKind,
    /// Who receives the right there: its primary address.
    pub trustee: String,
    /// Recipients.
    pub listed: Vec<Listed>,
}

/// What of a page is new.
#[derive(Default)]
struct News<'p> {
    /// Mailboxes without a job so far, with all their lines, in the order of job ids.
    jobs: BTreeMap<JobId, (&'p Listed, Vec<i32>)>,
    /// Jobs that are there, and are named by more lines than was known.
    lines: BTreeMap<JobId, Vec<i32>>,
    /// Lines that say again what another says.
    merged: u64,
}

impl Store {
    /// Records a page as jobs. Harmless to repeat.
    ///
    /// # Errors
    /// The claim is lost, which a cancellation does too; Postgres is away.
    pub async fn record_jobs(
        &self,
        operation: OperationId,
        owner: &str,
        hold: std::time::Duration,
        page: &Page,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        retrying(|| self.record_once(operation, owner, hold, page, now)).await
    }

    async fn record_once(
        &self,
        operation: OperationId,
        owner: &str,
        hold: std::time::Duration,
        page: &Page,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let mut standing = held(&transaction, operation, owner).await?;
        standing.listing_until = Some(now + hold);
        standing.waits_for("");
        record(&transaction, operation, standing, page, now).await?;
        Ok(transaction.commit().await?)
    }
}

/// Records a page of an operation that is locked, and saves how that stands.
pub(crate) async fn record(
    transaction: &Transaction<'_>,
    operation: OperationId,
    mut standing: Standing,
    page: &Page,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (excluded, first_met) = exclusions(transaction, operation, &page.listed).await?;
    let joiners = match departures::comparing(transaction, operation).await? {
        Some(comparing) => Some(comparing.joiners(transaction, page, &excluded).await?),
        None => None,
    };
    let listed = joiners.as_deref().unwrap_or(&page.listed);
    let recorded = lines_recorded(transaction, operation, listed).await?;
    let news = news(operation, listed, &excluded, &recorded);
    let back = held_back(&mut standing, &news);
    insert(transaction, operation, page, &news, &back, now).await?;
    for (listed, _) in news.jobs.values() {
        if let Err(reason) = listed.what {
            standing.counts.add(unsuitable(reason).outcome, 1);
        }
    }
    standing.counts.accepted += u64::try_from(news.jobs.len()).unwrap_or(0);
    standing.merged_lines += news.merged;
    standing.excluded += first_met;
    record_names(transaction, operation, page).await?;
    save_one(transaction, operation, standing, now).await?;
    let unsuitable = news.jobs.values().filter_map(|(listed, _)| {
        let reason = *listed.what.as_ref().err()?;
        Some((listed.id, listed.name.as_str(), unsuitable(reason)))
    });
    let unsuitable = unsuitable.collect();
    let changes = mailbox_log::refused(transaction, operation, &page.trustee, unsuitable);
    // Last, for whoever takes the next numbers waits for this commit.
    mailbox_log::append(transaction, &changes.await?, now).await
}

/// Which of these are excluded; and how many of them the listing hadn't come across before.
async fn exclusions(
    transaction: &Transaction<'_>,
    operation: OperationId,
    listed: &[Listed],
) -> Result<(HashSet<MailboxId>, u64), StoreError> {
    let ids: Vec<_> = listed.iter().map(|listed| listed.id.as_uuid()).collect();
    let sql =
        "SELECT mailbox FROM operation_exclusion WHERE operation_id = $1 AND mailbox = ANY($2)";
    let found = rows(transaction, sql, &[&operation.as_uuid(), &ids]).await?;
    if found.is_empty() {
        return Ok((HashSet::new(), 0));
    }
    let sql = "UPDATE operation_exclusion SET met = true WHERE operation_id = $1 AND mailbox = ANY($2) AND NOT met";
    let first_met = run(transaction, sql, &[&operation.as_uuid(), &ids]).await?;
    let excluded = found
        .iter()
        .map(|row| Ok(MailboxId::from_uuid(row.try_get("mailbox")?)))
        .collect::<Result<_, StoreError>>()?;
    Ok((excluded, first_met))
}

/// Jobs of these that are there already, with their lines.
async fn lines_recorded(
    transaction: &Transaction<'_>,
    operation: OperationId,
    listed: &[Listed],
) -> Result<HashMap<JobId, Vec<i32>>, StoreError> {
    let ids: Vec<_> = listed
        .iter()
        .map(|listed| JobId::of(operation, listed.id).as_uuid())
        .collect();
    let sql = "SELECT id, lines FROM job WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    rows(transaction, sql, &[&ids])
        .await?
        .iter()
        .map(|row| Ok((JobId::from_uuid(row.try_get("id")?), row.try_get("lines")?)))
        .collect()
}

fn news<'p>(
    operation: OperationId,
    listed: &'p [Listed],
    excluded: &HashSet<MailboxId>,
    recorded: &HashMap<JobId, Vec<i32>>,
) -> News<'p> {
    let mut news = News::default();
    for listed in listed
        .iter()
        .filter(|listed| !excluded.contains(&listed.id))
    {
        let job = JobId::of(operation, listed.id);
        let lines = match recorded.get(&job) {
            Some(known) => news.lines.entry(job).or_insert_with(|| known.clone()),
            None => &mut news.jobs.entry(job).or_insert((listed, Vec::new())).1,
        };
        let repeats = |lines: &[i32]| u64::try_from(lines.len().max(1) - 1).unwrap_or(0);
        let before = repeats(lines);
        lines.extend(listed.lines.iter().map(|line| crate::row::int(*line)));
        lines.sort_unstable();
        lines.dedup();
        news.merged += repeats(lines) - before;
    }
    news.lines
        .retain(|job, lines| recorded.get(job) != Some(lines));
    news
}

/// Which jobs of a page wait until those that are tried first are done.
fn held_back(standing: &mut Standing, news: &News<'_>) -> HashSet<JobId> {
    let mut back = HashSet::new();
    if standing.canary == 0 {
        return back;
    }
    for (job, (listed, _)) in &news.jobs {
        if listed.what.is_err() {
            continue;
        }
        if standing.tried_first < standing.canary {
            standing.tried_first += 1;
        } else {
            standing.held_back += 1;
            back.insert(*job);
        }
    }
    back
}

/// Arrays don't nest in `unnest`: lines travel as text.
fn text(lines: &[i32]) -> String {
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    lines.join(",")
}

async fn insert(
    transaction: &Transaction<'_>,
    operation: OperationId,
    page: &Page,
    news: &News<'_>,
    back: &HashSet<JobId>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if !news.lines.is_empty() {
        let ids: Vec<_> = news.lines.keys().map(JobId::as_uuid).collect();
        let lines: Vec<_> = news.lines.values().map(|lines| text(lines)).collect();
        run(
            transaction,
            "UPDATE job SET lines = string_to_array(page.lines, ',')::int[] FROM unnest($1::uuid[], $2::text[]) AS page (id, lines) WHERE job.id = page.id",
            &[&ids, &lines],
        )
        .await?;
    }
    if news.jobs.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = news.jobs.keys().map(JobId::as_uuid).collect();
    let (mut mailboxes, mut names, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    let (mut licensed, mut outcomes, mut reasons, mut lines) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let waits: Vec<_> = news.jobs.keys().map(|job| back.contains(job)).collect();
    for (listed, its_lines) in news.jobs.values() {
        mailboxes.push(listed.id.as_uuid());
        names.push(listed.name.as_str());
        lines.push(text(its_lines));
        let suits = listed.what.as_ref();
        addresses.push(suits.map_or("", |mailbox| mailbox.address.as_str()));
        licensed.push(suits.ok().and_then(|mailbox| mailbox.licensed));
        let ended = suits.err().map(|reason| unsuitable(*reason).outcome);
        outcomes.push(ended.map_or("", Outcome::as_str));
        reasons.push(suits.err().map_or("", |reason| reason.as_str()));
    }
    run(
        transaction,
        "INSERT INTO job (id, operation_id, tenant, site, lane, mailbox, name, address, licensed, lines, trustee, role, lower_higher, validate_only,
            state, not_before, accepted_at, outcome, reason, ended_at)
         SELECT page.id, o.id, o.tenant, $2, o.lane, page.mailbox, page.name, page.address, page.licensed,
            string_to_array(page.lines, ',')::int[], $3, d.role, d.lower_higher, o.validate_only,
            CASE WHEN page.outcome = '' THEN 'ready' ELSE 'ended' END,
            CASE WHEN page.waits THEN 'epoch'::timestamptz ELSE $4::timestamptz END, $4::timestamptz, page.outcome, page.reason,
            CASE WHEN page.outcome = '' THEN NULL ELSE $4::timestamptz END
         FROM operation o JOIN delegation d ON d.id = o.delegation_id,
            unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::bool[], $10::text[], $11::text[], $12::text[], $13::bool[])
                AS page (id, mailbox, name, address, licensed, outcome, reason, lines, waits)
         WHERE o.id = $1",
        &[
            &operation.as_uuid(), &page.site.as_str(), &page.trustee, &now, &ids, &mailboxes, &names, &addresses, &licensed, &outcomes, &reasons, &lines,
            &waits,
        ],
    )
    .await?;
    Ok(())
}

/// Remembers mailboxes by all their names, in the order of keys. A reused address is a new mailbox's.
async fn record_names(
    transaction: &Transaction<'_>,
    operation: OperationId,
    page: &Page,
) -> Result<(), StoreError> {
    let mailboxes: BTreeMap<Uuid, _> = page
        .listed
        .iter()
        .filter_map(|listed| listed.what.as_ref().ok())
        .map(|mailbox| (mailbox.id.as_uuid(), mailbox))
        .collect();
    let ids: Vec<_> = mailboxes.keys().copied().collect();
    let addresses: Vec<_> = mailboxes
        .values()
        .map(|mailbox| mailbox.address.as_str())
        .collect();
    run(
        transaction,
        "INSERT INTO mailbox (tenant, id, site, address)
         SELECT o.tenant, page.id, $2, page.address FROM operation o, unnest($3::uuid[], $4::text[]) AS page (id, address) WHERE o.id = $1
         ORDER BY page.id ON CONFLICT (tenant, id) DO UPDATE SET address = EXCLUDED.address WHERE mailbox.address <> EXCLUDED.address",
        &[&operation.as_uuid(), &page.site.as_str(), &ids, &addresses],
    )
    .await?;
    let names: BTreeMap<&str, Uuid> = mailboxes
        .values()
        .flat_map(|mailbox| {
            mailbox
                .aliases
                .iter()
                .chain([&mailbox.address])
                .map(|name| (name.as_str(), mailbox.id.as_uuid()))
        })
        .collect();
    let (names, ids): (Vec<_>, Vec<_>) = names.into_iter().unzip();
    run(
        transaction,
        "INSERT INTO mailbox_name (tenant, name, mailbox)
         SELECT o.tenant, page.name, page.id FROM operation o, unnest($2::text[], $3::uuid[]) AS page (name, id) WHERE o.id = $1
         ORDER BY page.name ON CONFLICT (tenant, name) DO UPDATE SET mailbox = EXCLUDED.mailbox WHERE mailbox_name.mailbox <> EXCLUDED.mailbox",
        &[&operation.as_uuid(), &names, &ids],
    )
    .await?;
    Ok(())
}
