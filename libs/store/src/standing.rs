//! How an operation stands: locked, changed by its holder, and saved with the next number of its changes.

use std::{collections::BTreeMap, sync::LazyLock};

use calgrant_domain::{
    Counts, Hold, OperationId, OperationKind, OperationState, Outcome, outcome::optional,
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    StoreError, alerts,
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
    /// What it does. Never changes.
    pub(crate) kind: OperationKind,
    /// So many mailboxes are tried first; 0: all at once.
    pub(crate) canary: u64,
    /// Of these, those that are listed.
    pub(crate) tried_first: u64,
    /// Jobs that wait for those.
    pub(crate) held_back: u64,
    /// What stopped it.
    pub(crate) hold: Option<Hold>,
}

impl Standing {
    /// Stops it until a person lets it go on. `why` goes on "a person: ".
    pub(crate) fn stop(&mut self, id: OperationId, hold: Hold, why: &str) {
        self.hold = Some(hold);
        self.waiting_for = format!(
            "a person: {why}; look at it, then `calgrant operations release {id}` or `calgrant operations cancel {id}`"
        );
    }

    /// Says what it waits for, unless that is a person. Answers whether that is new.
    pub(crate) fn waits_for(&mut self, text: &str) -> bool {
        let new = self.hold.is_none() && self.waiting_for != text;
        if new {
            text.clone_into(&mut self.waiting_for);
        }
        new
    }

    /// Where it stands, as it is told.
    pub(crate) fn shown(&self) -> OperationState {
        shown(self.state, self.hold)
    }
}

/// Where an operation stands, as it is told.
pub(crate) fn shown(state: OperationState, hold: Option<Hold>) -> OperationState {
    match (state, hold) {
        (OperationState::Listing | OperationState::Running, Some(_)) => OperationState::Held,
        _ => state,
    }
}

/// The columns of the outcomes are named by their own words.
pub(crate) fn outcomes(each: impl Fn(&str) -> String) -> String {
    let each: Vec<_> = Outcome::ALL
        .iter()
        .map(|outcome| each(outcome.as_str()))
        .collect();
    each.join(", ")
}

static LOCK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, state, accepted, {}, sequence, failure, failure_text, waiting_for, merged_lines, excluded, calls, ended_at,
            listing_owner, listing_until, ending, kind, canary, tried_first, held_back, hold
         FROM operation WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        outcomes(str::to_owned)
    )
});

/// One statement, whatever the number of operations: their rows, and the event of each.
static SAVE: LazyLock<String> = LazyLock::new(|| {
    let first = 20;
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
                $9::timestamptz[], $10::text[], $11::timestamptz[], $12::bool[], $13::bigint[], $14::bigint[], $15::text[], $16::bigint[], $17::bigint[],
                $18::bigint[], $19::text[], {})
            AS page (id, state, sequence, failure, failure_text, waiting_for, merged_lines, excluded, ended_at, listing_owner, listing_until,
                ending, accepted, calls, hold, canary, tried_first, held_back, shown, {names})
         ), saved AS (
            UPDATE operation SET state = page.state, sequence = page.sequence, failure = page.failure, failure_text = page.failure_text,
                waiting_for = page.waiting_for, merged_lines = page.merged_lines, excluded = page.excluded, ended_at = page.ended_at,
                listing_owner = page.listing_owner, listing_until = page.listing_until, ending = page.ending, accepted = page.accepted,
                calls = page.calls, hold = page.hold, canary = page.canary, tried_first = page.tried_first, held_back = page.held_back, {set}
            FROM page WHERE operation.id = page.id
         )
         INSERT INTO operation_event (operation_id, sequence, at, state, counts, waiting_for)
         SELECT page.id, page.sequence, ${}::timestamptz, page.shown, ARRAY[page.accepted, {listed}], page.waiting_for FROM page",
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
        let first_are_done =
            standing.held_back > 0 && standing.counts.outstanding() <= standing.held_back;
        if standing.state == OperationState::Running && standing.hold.is_none() && first_are_done {
            let why = format!(
                "the {} mailboxes to be tried first are done",
                standing.tried_first
            );
            standing.stop(*id, Hold::Canary, &why);
        }
        if standing.state.is_final() && standing.ended_at.is_none() {
            standing.ended_at = Some(now);
            standing.waiting_for.clear();
            standing.hold = None;
            ended.push(id.as_uuid());
        }
    }
    let ids: Vec<_> = standings.keys().map(OperationId::as_uuid).collect();
    let stopped = standings
        .iter()
        .filter(|(_, standing)| standing.hold.is_some());
    let mut to_tell: Vec<_> = stopped.map(|(id, _)| id.as_uuid()).collect();
    to_tell.extend(&ended);
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
    let holds = each(&all, |standing| standing.hold.map_or("", Hold::as_str));
    let canaries = each(&all, |standing| long(standing.canary));
    let tried_first = each(&all, |standing| long(standing.tried_first));
    let held_back = each(&all, |standing| long(standing.held_back));
    let shown = each(&all, |standing| standing.shown().as_str());
    let counts: Vec<Vec<i64>> = Outcome::ALL
        .iter()
        .map(|outcome| each(&all, |standing| long(standing.counts.of(*outcome))))
        .collect();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
        &ids,
        &states,
        &sequences,
        &failures,
        &texts,
        &waiting,
        &merged,
        &excluded,
        &ends,
        &owners,
        &until,
        &ending,
        &accepted,
        &calls,
        &holds,
        &canaries,
        &tried_first,
        &held_back,
        &shown,
    ];
    parameters.extend(counts.iter().map(|count| count as &(dyn ToSql + Sync)));
    parameters.push(&now);
    run(transaction, &SAVE, &parameters).await?;
    if !ended.is_empty() {
        for sql in [
            "DELETE FROM operation_exclusion WHERE operation_id = ANY($1)",
            "DELETE FROM operation_name WHERE operation_id = ANY($1)",
            "DELETE FROM operation_seen WHERE operation_id = ANY($1)",
        ] {
            run(transaction, sql, &[&ended]).await?;
        }
    }
    if !to_tell.is_empty() {
        alerts::of_runs(transaction, &to_tell, now).await?;
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
        kind: parsed(row, "kind")?,
        canary: count(row, "canary")?,
        tried_first: count(row, "tried_first")?,
        held_back: count(row, "held_back")?,
        hold: optional(row.try_get("hold")?)?,
    })
}
