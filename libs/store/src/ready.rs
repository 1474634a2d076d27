//! From rows to the broker: ready jobs are claimed in windows, and come back if they can't be published.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use calgrant_domain::{
    Calendar, Job, JobId, Lane, MailboxId, OperationId,
    draw::{Offer, draw, quota, room as room_in},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    error::retrying,
    pool::{rows, run},
    row::{aim, long, parsed, small},
};

/// A job to publish.
#[derive(Debug, Clone)]
pub struct ReadyJob {
    /// What to publish.
    pub job: Job,
    /// Where.
    pub lane: Lane,
    /// Trace of the request.
    pub traceparent: String,
}

/// Serialises the claims of one tenant's lane, so that two never fill a window twice.
const CLAIM_LOCK: i32 = 0x6a6f;
/// Jobs taken back in one transaction.
const OVERDUE_PAGE: i64 = 5000;

impl Store {
    /// Claims ready jobs, `limit` in all: for each tenant and lane what its window of `window` has room for, drawn evenly
    /// from its operations. Interactive ones first; then all tenants alike. What is claimed is remembered under `claim` until
    /// [`Self::settle_claim`].
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_ready(
        &self,
        limit: u32,
        window: u32,
        claim: Uuid,
        now: OffsetDateTime,
    ) -> Result<Vec<ReadyJob>, StoreError> {
        let lanes = self.lanes(now).await?;
        let mut claimed = Vec::new();
        for lane in [Lane::Interactive, Lane::Bulk] {
            let mut tenants: Vec<_> = lanes
                .iter()
                .filter(|((of, _), _)| *of == lane)
                .map(|((_, tenant), waiting)| (tenant.as_str(), waiting))
                .collect();
            // Equal shares; what some don't need is shared again by those who could use more.
            loop {
                let left = (limit as usize).saturating_sub(claimed.len());
                if left == 0 || tenants.is_empty() {
                    break;
                }
                let share = (left / tenants.len()).max(1);
                let mut wanting_more = Vec::new();
                for (tenant, waiting) in tenants {
                    let room = share.min((limit as usize).saturating_sub(claimed.len()));
                    let lane = Asked {
                        tenant,
                        lane,
                        waiting,
                    };
                    let jobs =
                        retrying(|| self.claim_lane(&lane, room, window, claim, now)).await?;
                    if !jobs.is_empty() && jobs.len() == room {
                        wanting_more.push((tenant, waiting));
                    }
                    claimed.extend(jobs);
                }
                tenants = wanting_more;
            }
        }
        Ok(claimed)
    }

    /// Operations that have something ready, by lane and tenant.
    async fn lanes(
        &self,
        now: OffsetDateTime,
    ) -> Result<BTreeMap<(Lane, String), Waiting>, StoreError> {
        // Of what a brake has stopped, only what has begun. Of what is listed from records nothing before it is known how much it is.
        let sql = "SELECT tenant, lane, id, keeping = 'verify' AS in_background FROM operation o
            WHERE state IN ('listing', 'running', 'cancelling') AND (kind = 'delegate' OR state <> 'listing') AND CASE WHEN hold = ''
                THEN (SELECT id FROM job WHERE operation_id = o.id AND state = 'ready' AND not_before <= $1
                    AND not_before > CASE WHEN o.held_back > 0 THEN 'epoch' ELSE '-infinity' END::timestamptz ORDER BY not_before, id LIMIT 1)
                ELSE (SELECT id FROM job WHERE operation_id = o.id AND state = 'ready' AND begun_at IS NOT NULL AND not_before <= $1
                    ORDER BY not_before, id LIMIT 1) END IS NOT NULL";
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(sql).await?;
        let mut lanes: BTreeMap<_, Waiting> = BTreeMap::new();
        for row in connection.query(&statement, &[&now]).await? {
            let lane = (parsed(&row, "lane")?, row.try_get("tenant")?);
            let waiting = lanes.entry(lane).or_default();
            let of = if row.try_get("in_background")? {
                &mut waiting.background
            } else {
                &mut waiting.operations
            };
            of.push(row.try_get("id")?);
        }
        Ok(lanes)
    }

    async fn claim_lane(
        &self,
        asked: &Asked<'_>,
        room: usize,
        window: u32,
        claim: Uuid,
        now: OffsetDateTime,
    ) -> Result<Vec<ReadyJob>, StoreError> {
        let Asked {
            tenant,
            lane,
            waiting,
        } = *asked;
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext($2 || '/' || $3)) AS ours";
        let locked = rows(&transaction, sql, &[&CLAIM_LOCK, &tenant, &lane.as_str()]).await?;
        if !locked.iter().any(|row| row.get("ours")) {
            return Ok(Vec::new());
        }
        let (offers, room) = offers(&transaction, tenant, lane, waiting, room, window, now).await?;
        let chosen = draw(&offers, room, now.nanosecond());
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        // Locked in the order of their ids, as everybody does.
        let ids: BTreeSet<_> = chosen.iter().map(JobId::as_uuid).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        // Whoever holds a job at this moment is ending or beginning it: it is left for another time.
        let found = rows(
            &transaction,
            "WITH page AS (
                SELECT j.id, o.traceparent, m.folder_id, m.folder_path FROM unnest($1::uuid[]) AS chosen (id)
                    CROSS JOIN LATERAL (SELECT job.id, job.operation_id, job.tenant, job.mailbox FROM job
                        WHERE job.id = chosen.id AND job.state || '' = 'ready' AND job.not_before <= $2 FOR UPDATE SKIP LOCKED) j
                    CROSS JOIN LATERAL (SELECT operation.traceparent FROM operation WHERE operation.id = j.operation_id OFFSET 0) o
                    LEFT JOIN LATERAL (SELECT mailbox.folder_id, mailbox.folder_path FROM mailbox
                        WHERE mailbox.tenant = j.tenant AND mailbox.id = j.mailbox OFFSET 0) m ON true
             )
             UPDATE job SET state = 'published', published_at = $2, waiting = '', delivery = delivery + 1 FROM page WHERE job.id = page.id
             RETURNING job.id, job.operation_id, job.tenant, job.site, job.lane, job.mailbox, job.address, job.licensed, job.trustee, job.aim, job.role,
                job.lower_higher, job.left_rights, job.to_rights, job.repair, job.validate_only, job.phase, job.delivery, page.traceparent, page.folder_id, page.folder_path",
            &[&ids, &now],
        )
        .await?;
        let claimed: Vec<Uuid> = found
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<_, _>>()?;
        if !claimed.is_empty() {
            let sql = "INSERT INTO claim (id, claimed_at, jobs) VALUES ($1, $2, $3)";
            run(&transaction, sql, &[&claim, &now, &claimed]).await?;
        }
        transaction.commit().await?;
        found.iter().map(read).collect()
    }

    /// All of a claim is published, or given back.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn settle_claim(&self, claim: Uuid) -> Result<(), StoreError> {
        let client = self.connection().await?;
        client
            .execute("DELETE FROM claim WHERE id = $1", &[&claim])
            .await?;
        Ok(())
    }

    /// Makes jobs ready again whose claim wasn't settled within `limit`: who claimed them may have died before they were
    /// published. If they were, that is a harmless repeat. Answers how many.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn take_back_unsettled(
        &self,
        limit: Duration,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        retrying(|| self.take_back_unsettled_once(limit, now)).await
    }

    async fn take_back_unsettled_once(
        &self,
        limit: Duration,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let sql = "WITH old AS (DELETE FROM claim WHERE claimed_at < $1 RETURNING claimed_at, jobs),
                named AS (SELECT unnest(jobs) AS id, claimed_at FROM old),
                page AS (SELECT j.id FROM job j JOIN named ON named.id = j.id AND named.claimed_at = j.published_at
                    WHERE j.state || '' = 'published' ORDER BY j.id FOR UPDATE OF j)
            UPDATE job SET state = 'ready', not_before = $2 FROM page WHERE job.id = page.id";
        let client = self.connection().await?;
        Ok(client.execute(sql, &[&(now - limit), &now]).await?)
    }

    /// Puts jobs back that could not be published.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn give_back(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        retrying(|| self.give_back_once(jobs)).await
    }

    async fn give_back_once(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        let ids: Vec<_> = jobs.iter().map(JobId::as_uuid).collect();
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        run(
            &transaction,
            "WITH page AS (SELECT id FROM job WHERE id = ANY($1) AND state || '' = 'published' ORDER BY id FOR UPDATE)
             UPDATE job SET state = 'ready' FROM page WHERE job.id = page.id",
            &[&ids],
        )
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Makes jobs ready again that were published longer ago than `limit`: their message is lost, or will be a harmless repeat.
    /// Answers how many; there may be more.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn take_back_overdue(
        &self,
        limit: Duration,
        now: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let sql = "UPDATE job SET state = 'ready', not_before = $2
            WHERE id IN (SELECT id FROM job WHERE state = 'published' AND published_at < $1 LIMIT $3 FOR UPDATE SKIP LOCKED)";
        let client = self.connection().await?;
        Ok(client
            .execute(sql, &[&(now - limit), &now, &OVERDUE_PAGE])
            .await?)
    }
}

/// Operations of a lane of a tenant that have something ready.
#[derive(Debug, Default)]
struct Waiting {
    operations: Vec<Uuid>,
    /// Those that wait until the others have nothing left.
    background: Vec<Uuid>,
}

/// A lane of a tenant, and what waits there.
struct Asked<'a> {
    tenant: &'a str,
    lane: Lane,
    waiting: &'a Waiting,
}

/// What each operation of a lane offers, and how many jobs the window has room for, at most `room`.
async fn offers(
    transaction: &Transaction<'_>,
    tenant: &str,
    lane: Lane,
    waiting: &Waiting,
    room: usize,
    window: u32,
    now: OffsetDateTime,
) -> Result<(Vec<Offer>, usize), StoreError> {
    let published = rows(
        transaction,
        "SELECT p.operation_id, p.published, o.keeping = 'verify' AS in_background FROM (SELECT operation_id, count(*) AS published FROM
            (SELECT operation_id FROM job WHERE tenant = $1 AND lane = $2 AND state = 'published' ORDER BY operation_id OFFSET 0) each
            GROUP BY operation_id) p JOIN operation o ON o.id = p.operation_id",
        &[&tenant, &lane.as_str()],
    )
    .await?;
    let mut under_way = HashMap::new();
    let (mut others, mut background) = (0, 0);
    for row in &published {
        let count = usize::try_from(row.try_get::<_, i64>("published")?).unwrap_or(usize::MAX);
        under_way.insert(row.try_get::<_, Uuid>("operation_id")?, count);
        if row.try_get("in_background")? {
            background += count;
        } else {
            others += count;
        }
    }
    let in_background = waiting.operations.is_empty();
    let operations = if in_background {
        &waiting.background
    } else {
        &waiting.operations
    };
    let room = room.min(room_in(window as usize, others, background, in_background));
    if room == 0 {
        return Ok((Vec::new(), 0));
    }
    let mut offers: Vec<_> = operations
        .iter()
        .map(|operation| Offer {
            operation: OperationId::from_uuid(*operation),
            under_way: under_way.get(operation).copied().unwrap_or(0),
            ready: Vec::new(),
            more: true,
        })
        .collect();
    // Each time only as many of each as could be needed: 500 operations are not read a whole window deep.
    while let Some(each) = quota(&offers, room) {
        let open: Vec<_> = offers
            .iter()
            .filter(|offer| offer.more)
            .map(|offer| offer.operation.as_uuid())
            .collect();
        let depth = long(u64::try_from(each).unwrap_or(u64::MAX));
        let found = rows(
            transaction,
            "SELECT asked.id AS operation_id, ready.id FROM unnest($1::uuid[]) AS asked (id) JOIN operation o ON o.id = asked.id CROSS JOIN LATERAL (
                (SELECT id, not_before FROM job WHERE o.hold = '' AND operation_id = o.id AND state = 'ready' AND not_before <= $2
                    AND not_before > CASE WHEN o.held_back > 0 THEN 'epoch' ELSE '-infinity' END::timestamptz ORDER BY not_before, id LIMIT $3)
                UNION ALL
                (SELECT id, not_before FROM job WHERE o.hold <> '' AND operation_id = o.id AND state = 'ready' AND begun_at IS NOT NULL
                    AND not_before <= $2 ORDER BY not_before, id LIMIT $3)) ready
             ORDER BY asked.id, ready.not_before, ready.id",
            &[&open, &now, &depth],
        )
        .await?;
        let mut by_operation: HashMap<Uuid, Vec<JobId>> = HashMap::new();
        for row in &found {
            by_operation
                .entry(row.try_get("operation_id")?)
                .or_default()
                .push(JobId::from_uuid(row.try_get("id")?));
        }
        for offer in offers.iter_mut().filter(|offer| offer.more) {
            offer.ready = by_operation
                .remove(&offer.operation.as_uuid())
                .unwrap_or_default();
            offer.more = offer.ready.len() >= each;
        }
    }
    Ok((offers, room))
}

fn read(row: &Row) -> Result<ReadyJob, StoreError> {
    let calendar = match (
        row.try_get::<_, Option<String>>("folder_id")?,
        row.try_get::<_, Option<String>>("folder_path")?,
    ) {
        (Some(folder_id), Some(path)) => Some(Calendar { folder_id, path }),
        _ => None,
    };
    let job = Job {
        id: JobId::from_uuid(row.try_get("id")?),
        operation: OperationId::from_uuid(row.try_get("operation_id")?),
        tenant: parsed(row, "tenant")?,
        site: parsed(row, "site")?,
        mailbox: MailboxId::from_uuid(row.try_get("mailbox")?),
        address: parsed(row, "address")?,
        calendar,
        licensed: row.try_get("licensed")?,
        trustee: parsed(row, "trustee")?,
        aim: aim(row)?,
        validate_only: row.try_get("validate_only")?,
        phase: parsed(row, "phase")?,
        delivery: small(row, "delivery")?,
    };
    Ok(ReadyJob {
        lane: parsed(row, "lane")?,
        traceparent: row.try_get("traceparent")?,
        job,
    })
}
