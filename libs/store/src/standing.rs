//! How an operation stands: locked, changed by its holder, and saved with the next number of its changes.

use std::{collections::BTreeMap, sync::LazyLock};

use calgrant_domain::{Counts, OperationId, OperationState, Outcome};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    StoreError,
    pool::{rows, run},
    row::{count, long, parsed},
};

/// Changes kept of each operation, and how many more before older ones go.
const KEPT: u64 = 2000;
const SLACK: u64 = 256;

/// The part of an operation's row that changes.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) state: OperationState,
    pub(crate) counts: Counts,
    /// Number of the latest change; saving takes the next.
    pub(crate) sequence: u64,
    pub(crate) failure: String,
    pub(crate) failure_text: String,
    pub(crate) waiting_for: String,
    pub(crate) merged_lines: u64,
    pub(crate) excluded: u64,
    pub(crate) calls: u64,
    pub(crate) ended_at: Option<OffsetDateTime>,
    pub(crate) listing_owner: Option<String>,
    pub(crate) listing_until: Option<OffsetDateTime>,
    /// Jobs that have not begun are still to be ended.
    pub(crate) ending: bool,
}

/// The columns of the outcomes are named by their own words.
fn outcomes(each: impl Fn(&str) -> String) -> String {
    let each: Vec<_> = Outcome::ALL
        .iter()
        .map(|outcome| each(outcome.as_str()))
        .collect();
    each.join(", ")
}

static LOCK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, state, accepted, {}, sequence, failure, failure_text, waiting_for, merged_lines, excluded, calls, ended_at,
            listing_owner, listing_until, ending
         FROM operation WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        outcomes(str::to_owned)
    )
});

/// One statement, whatever the number of operations: their rows, and the event of each.
static SAVE: LazyLock<String> = LazyLock::new(|| {
    let first = 15;
    let arrays: Vec<_> = (first..first + Outcome::ALL.len())
        .map(|number| format!("${number}::bigint[]"))
        .collect();
    let (names, set, listed) = (
        outcomes(str::to_owned),
        outcomes(|word| format!("{word} = page.{word}")),
        outcomes(|word| format!("page.{word}")),
    );
    format!(
        "WITH page AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
                $9::timestamptz[], $10::text[], $11::timestamptz[], $12::bool[], $13::bigint[], $14::bigint[], {})
            AS page (id, state, sequence, failure, failure_text, waiting_for, merged_lines, excluded, ended_at, listing_owner, listing_until,
                ending, accepted, calls, {names})
         ), saved AS (
            UPDATE operation SET state = page.state, sequence = page.sequence, failure = page.failure, failure_text = page.failure_text,
                waiting_for = page.waiting_for, merged_lines = page.merged_lines, excluded = page.excluded, ended_at = page.ended_at,
                listing_owner = page.listing_owner, listing_until = page.listing_until, ending = page.ending, accepted = page.accepted,
                calls = page.calls, {set}
            FROM page WHERE operation.id = page.id
         )
         INSERT INTO operation_event (operation_id, sequence, at, state, counts, waiting_for)
         SELECT page.id, page.sequence, ${}::timestamptz, page.state, ARRAY[page.accepted, {listed}], page.waiting_for FROM page",
        arrays.join(", "),
        first + Outcome::ALL.len()
    )
});

/// Locks operations, in the order of their ids: before any of their jobs, as everybody does.
pub(crate) async fn lock(
    transaction: &Transaction<'_>,
    ids: &[Uuid],
) -> Result<BTreeMap<OperationId, Standing>, StoreError> {
    let found = rows(transaction, &LOCK, &[&ids]).await?;
    found
        .iter()
        .map(|row| Ok((OperationId::from_uuid(row.try_get("id")?), read(row)?)))
        .collect()
}

/// Locks one operation.
pub(crate) async fn lock_one(
    transaction: &Transaction<'_>,
    id: OperationId,
) -> Result<Standing, StoreError> {
    lock(transaction, &[id.as_uuid()])
        .await?
        .remove(&id)
        .ok_or(StoreError::NotFound("operation"))
}

/// Saves operations that are locked: each takes the next number, moves on if nothing is outstanding, and records how
/// it stands for those who watch.
pub(crate) async fn save(
    transaction: &Transaction<'_>,
    mut standings: BTreeMap<OperationId, Standing>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if standings.is_empty() {
        return Ok(());
    }
    let mut ended = Vec::new();
    for (id, standing) in &mut standings {
        standing.sequence += 1;
        standing.state = standing
            .state
            .after(&standing.counts, !standing.failure.is_empty());
        if standing.state.is_final() && standing.ended_at.is_none() {
            standing.ended_at = Some(now);
            standing.waiting_for.clear();
            ended.push(id.as_uuid());
        }
    }
    let ids: Vec<_> = standings.keys().map(OperationId::as_uuid).collect();
    let all: Vec<_> = standings.values().collect();
    fn each<'s, T>(all: &[&'s Standing], of: impl Fn(&'s Standing) -> T) -> Vec<T> {
        all.iter().map(|standing| of(standing)).collect()
    }
    let states = each(&all, |standing| standing.state.as_str());
    let sequences = each(&all, |standing| long(standing.sequence));
    let failures = each(&all, |standing| standing.failure.as_str());
    let texts = each(&all, |standing| standing.failure_text.as_str());
    let waiting = each(&all, |standing| standing.waiting_for.as_str());
    let merged = each(&all, |standing| long(standing.merged_lines));
    let excluded = each(&all, |standing| long(standing.excluded));
    let ends = each(&all, |standing| standing.ended_at);
    let owners = each(&all, |standing| standing.listing_owner.as_deref());
    let until = each(&all, |standing| standing.listing_until);
    let ending = each(&all, |standing| standing.ending);
    let accepted = each(&all, |standing| long(standing.counts.accepted));
    let calls = each(&all, |standing| long(standing.calls));
    let counts: Vec<Vec<i64>> = Outcome::ALL
        .iter()
        .map(|outcome| each(&all, |standing| long(standing.counts.of(*outcome))))
        .collect();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
        &ids, &states, &sequences, &failures, &texts, &waiting, &merged, &excluded, &ends, &owners,
        &until, &ending, &accepted, &calls,
    ];
    parameters.extend(counts.iter().map(|count| count as &(dyn ToSql + Sync)));
    parameters.push(&now);
    run(transaction, &SAVE, &parameters).await?;
    if !ended.is_empty() {
        let sql = "DELETE FROM operation_exclusion WHERE operation_id = ANY($1)";
        run(transaction, sql, &[&ended]).await?;
    }
    for (id, standing) in &standings {
        if standing.sequence % SLACK == 0 && standing.sequence > KEPT {
            let sql = "DELETE FROM operation_event WHERE operation_id = $1 AND sequence <= $2";
            let up_to = long(standing.sequence - KEPT);
            run(transaction, sql, &[&id.as_uuid(), &up_to]).await?;
        }
    }
    Ok(())
}

/// Saves one operation.
pub(crate) async fn save_one(
    transaction: &Transaction<'_>,
    id: OperationId,
    standing: Standing,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    save(transaction, BTreeMap::from([(id, standing)]), now).await
}

/// The counts of an operation's row.
pub(crate) fn counts(row: &Row) -> Result<Counts, StoreError> {
    let mut counts = Counts::accepting(count(row, "accepted")?);
    for outcome in Outcome::ALL {
        counts.add(*outcome, count(row, outcome.as_str())?);
    }
    Ok(counts)
}

fn read(row: &Row) -> Result<Standing, StoreError> {
    Ok(Standing {
        state: parsed(row, "state")?,
        counts: counts(row)?,
        sequence: count(row, "sequence")?,
        failure: row.try_get("failure")?,
        failure_text: row.try_get("failure_text")?,
        waiting_for: row.try_get("waiting_for")?,
        merged_lines: count(row, "merged_lines")?,
        excluded: count(row, "excluded")?,
        calls: count(row, "calls")?,
        ended_at: row.try_get("ended_at")?,
        listing_owner: row.try_get("listing_owner")?,
        listing_until: row.try_get("listing_until")?,
        ending: row.try_get("ending")?,
    })
}
