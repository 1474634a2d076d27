//! Runs of set-ups: accepted once, claimed by whoever carries one out, with a record of each step.

use std::time::Duration;

use calgrant_domain::{
    AlertKind, SetupAim, SetupId, SiteKind, Step, TenantName,
    setup::{Last, SetupState, StepRecord},
};
use deadpool_postgres::Transaction;
use time::OffsetDateTime;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::{
    Forgotten, Store, StoreError,
    alerts::{self, NewAlert},
    error::retrying,
    pool::{rows, run},
    row::parsed,
};

/// A set-up to accept.
#[derive(Debug, Clone)]
pub struct NewSetup {
    /// Its id.
    pub id: SetupId,
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// What it is to bring about.
    pub aim: SetupAim,
    /// It is only looked.
    pub validate_only: bool,
    /// Whoever asks carries it out.
    pub by_caller: bool,
    /// Who asks.
    pub caller: String,
    /// What makes a repeat harmless; empty: nothing does.
    pub request_id: String,
    /// What two equal requests have in common.
    pub canonical: String,
    /// Reference to a ticket.
    pub ticket: String,
    /// When.
    pub at: OffsetDateTime,
}

/// A set-up as it stands.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// Its id.
    pub id: SetupId,
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// What it is to bring about.
    pub aim: SetupAim,
    /// It is only looked.
    pub validate_only: bool,
    /// Whoever asked carries it out.
    pub by_caller: bool,
    /// Where it stands.
    pub state: SetupState,
    /// Why nothing of it can be done.
    pub note: String,
    /// Who asked.
    pub requested_by: String,
    /// Reference to a ticket.
    pub ticket: String,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Its steps in their order, each with when it last changed.
    pub steps: Vec<(Step, StepRecord, OffsetDateTime)>,
}

/// A set-up that is claimed.
#[derive(Debug, Clone)]
pub struct ClaimedSetup {
    /// What it is.
    pub setup: SetupView,
    /// Which claim.
    pub claim: Uuid,
}

/// How a claim is given back.
#[derive(Debug, Clone)]
pub struct SetupRelease {
    /// Where the set-up stands.
    pub state: SetupState,
    /// When it is due again, unless it has ended.
    pub not_before: OffsetDateTime,
    /// Why nothing of it can be done.
    pub note: String,
}

const COLUMNS: &str = "id, tenant, site, aim, validate_only, by_caller, state, note, requested_by, ticket, created_at, ended_at";

impl Store {
    /// Accepts a set-up, or finds the one of the same request, or the unfinished one that is about the same; that one is due at
    /// once then. Returns after the commit.
    ///
    /// # Errors
    /// The `request_id` was used for another; the site has an unfinished one with another aim; Postgres is away.
    pub async fn accept_setup(&self, new: &NewSetup) -> Result<SetupId, StoreError> {
        retrying(|| self.accept_setup_once(new)).await
    }

    async fn accept_setup_once(&self, new: &NewSetup) -> Result<SetupId, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let (tenant, site) = (new.tenant.as_str(), new.site.as_str());
        let sql = "SELECT id, canonical FROM set_up WHERE tenant = $1 AND requested_by = $2 AND request_id = $3 AND request_id <> ''";
        let known = rows(&transaction, sql, &[&tenant, &new.caller, &new.request_id]).await?;
        if let Some(row) = known.first() {
            let id = SetupId::from_uuid(row.try_get("id")?);
            return if row.try_get::<_, &str>("canonical")? == new.canonical {
                Ok(id)
            } else {
                Err(StoreError::SetupRequestIdReused(id))
            };
        }
        let sql = "INSERT INTO set_up (id, tenant, site, aim, validate_only, by_caller, state, requested_by, request_id, canonical, ticket, created_at, not_before)
            VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $8, $9, $10, $11, $11) ON CONFLICT DO NOTHING";
        let inserted = run(
            &transaction,
            sql,
            &[
                &new.id.as_uuid(),
                &tenant,
                &site,
                &new.aim.to_string(),
                &new.validate_only,
                &new.by_caller,
                &new.caller,
                &new.request_id,
                &new.canonical,
                &new.ticket,
                &new.at,
            ],
        )
        .await?;
        let id = if inserted > 0 {
            new.id
        } else {
            join(&transaction, new).await?
        };
        transaction.commit().await?;
        Ok(id)
    }

    /// One of them, with its steps.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn setup(&self, id: SetupId) -> Result<Option<SetupView>, StoreError> {
        let connection = self.connection().await?;
        let sql = format!("SELECT {COLUMNS} FROM set_up WHERE id = $1");
        let Some(row) = connection.query_opt(&sql, &[&id.as_uuid()]).await? else {
            return Ok(None);
        };
        let steps = steps(&**connection, id).await?;
        Ok(Some(SetupView {
            steps,
            ..view(&row)?
        }))
    }

    /// Newest first, before `before`, without their steps; of all tenants if `tenant` is `None`.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn setups(
        &self,
        tenant: Option<&TenantName>,
        before: Option<SetupId>,
        limit: i64,
    ) -> Result<Vec<SetupView>, StoreError> {
        let before = before.map_or(Uuid::max(), |id| id.as_uuid());
        let sql = format!(
            "SELECT {COLUMNS} FROM set_up WHERE ($1::text IS NULL OR tenant = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        let connection = self.connection().await?;
        let tenant = tenant.map(TenantName::as_str);
        let found = connection.query(&sql, &[&tenant, &before, &limit]).await?;
        found.iter().map(view).collect()
    }

    /// Ends a set-up; one that has ended stays as it is.
    ///
    /// # Errors
    /// There is none of this id; Postgres is away.
    pub async fn cancel_setup(&self, id: SetupId, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = "UPDATE set_up SET state = 'cancelled', ended_at = $2, claim = NULL, claimed_until = NULL WHERE id = $1 AND ended_at IS NULL
            RETURNING tenant, site, validate_only, by_caller";
        let ended = rows(&transaction, sql, &[&id.as_uuid(), &now]).await?;
        if let Some(row) = ended.first() {
            tell_blocked(&transaction, row, None, now).await?;
            return Ok(transaction.commit().await?);
        }
        let sql = "SELECT id FROM set_up WHERE id = $1";
        if rows(&transaction, sql, &[&id.as_uuid()]).await?.is_empty() {
            return Err(StoreError::NotFound("set-up"));
        }
        Ok(())
    }

    /// Claims a set-up that is due and nobody carries out: this one, or any that api carries out.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn claim_setup(
        &self,
        id: Option<SetupId>,
        claim: Uuid,
        hold: Duration,
        now: OffsetDateTime,
    ) -> Result<Option<ClaimedSetup>, StoreError> {
        let connection = self.connection().await?;
        let sql = format!(
            "WITH due AS (
                SELECT id AS due_id FROM set_up WHERE ended_at IS NULL AND not_before <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)
                    AND (id = $4 OR ($4::uuid IS NULL AND NOT by_caller))
                ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED
            )
            UPDATE set_up SET claim = $2, claimed_until = $3, state = 'running' FROM due WHERE id = due.due_id RETURNING {COLUMNS}"
        );
        let wanted = id.map(|id| id.as_uuid());
        let found = connection
            .query_opt(&sql, &[&now, &claim, &(now + hold), &wanted])
            .await?;
        let Some(row) = found else { return Ok(None) };
        let setup = view(&row)?;
        let steps = steps(&**connection, setup.id).await?;
        Ok(Some(ClaimedSetup {
            setup: SetupView { steps, ..setup },
            claim,
        }))
    }

    /// Records steps, and renews the claim.
    ///
    /// # Errors
    /// The claim is another's by now, or the set-up has ended; Postgres is away.
    pub async fn record_steps(
        &self,
        id: SetupId,
        claim: Uuid,
        hold: Duration,
        steps: &[(Step, StepRecord)],
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let sql = "UPDATE set_up SET claimed_until = $3 WHERE id = $1 AND claim = $2 AND ended_at IS NULL";
        let held = run(&transaction, sql, &[&id.as_uuid(), &claim, &(now + hold)]).await?;
        if held == 0 {
            return Err(StoreError::ClaimLost);
        }
        let sql = "INSERT INTO set_up_step (set_up_id, step, position, state, says, script, action, action_end, action_at, since, not_before, changed_at, did)
            VALUES ($1, $2, (SELECT count(step)::integer FROM set_up_step WHERE set_up_id = $1), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            ON CONFLICT (set_up_id, step) DO UPDATE SET state = EXCLUDED.state, says = EXCLUDED.says, script = EXCLUDED.script, action = EXCLUDED.action,
                action_end = EXCLUDED.action_end, action_at = EXCLUDED.action_at, since = EXCLUDED.since, not_before = EXCLUDED.not_before,
                changed_at = EXCLUDED.changed_at, did = EXCLUDED.did";
        for (step, record) in steps {
            let last = record.last.as_ref();
            run(
                &transaction,
                sql,
                &[
                    &id.as_uuid(),
                    &step.to_string(),
                    &record.state.as_str(),
                    &record.says,
                    &record.script,
                    &last.map(|last| last.action.as_str()),
                    &last.map(|last| last.end.as_str()),
                    &last.map(|last| last.at),
                    &record.since,
                    &record.not_before,
                    &now,
                    &record.did,
                ],
            )
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// As [`Self::record_steps`].
    pub async fn release_setup(
        &self,
        id: SetupId,
        claim: Uuid,
        release: &SetupRelease,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await?;
        let ended_at = release.state.is_final().then_some(now);
        let sql = "UPDATE set_up SET state = $3, not_before = $4, note = $5, ended_at = $6, claim = NULL, claimed_until = NULL
            WHERE id = $1 AND claim = $2 AND ended_at IS NULL RETURNING tenant, site, validate_only, by_caller";
        let released = rows(
            &transaction,
            sql,
            &[
                &id.as_uuid(),
                &claim,
                &release.state.as_str(),
                &release.not_before,
                &release.note,
                &ended_at,
            ],
        )
        .await?;
        let Some(row) = released.first() else {
            return Err(StoreError::ClaimLost);
        };
        let why = if release.state == SetupState::Blocked {
            Some(why_blocked(&transaction, id, &release.note).await?)
        } else {
            None
        };
        tell_blocked(&transaction, row, why, now).await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets at most `limit` set-ups that ended before `before`, with their steps. The last of a site that was carried out is kept,
    /// and what came after it.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_setups(
        &self,
        before: OffsetDateTime,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let sql = "WITH old AS (
                SELECT s.id FROM set_up s WHERE s.ended_at < $1 AND (s.validate_only OR EXISTS (SELECT 1 FROM set_up later
                    WHERE later.tenant = s.tenant AND later.site = s.site AND NOT later.validate_only AND later.state = 'done' AND later.id > s.id))
                ORDER BY s.ended_at LIMIT $2 FOR UPDATE SKIP LOCKED),
            steps AS (DELETE FROM set_up_step WHERE set_up_id IN (SELECT id FROM old))
            DELETE FROM set_up WHERE id IN (SELECT id FROM old)";
        self.forget(sql, before, limit).await
    }
}

/// Why a set-up can't go on, for people; the same as long as it is the same.
async fn why_blocked(
    transaction: &Transaction<'_>,
    id: SetupId,
    note: &str,
) -> Result<String, StoreError> {
    let what = if note.is_empty() {
        let sql = "SELECT step FROM set_up_step WHERE set_up_id = $1 AND state = 'refused' ORDER BY position, step";
        let found = rows(transaction, sql, &[&id.as_uuid()]).await?;
        let steps: Vec<&str> = found
            .iter()
            .map(|row| row.try_get("step"))
            .collect::<Result<_, _>>()?;
        format!("a person must do something about {}", steps.join(", "))
    } else {
        note.to_owned()
    };
    Ok(format!("{what}; see calgrant setup show {id}"))
}

/// Raises the alert that a site's set-up can't go on, for this reason; or ends it. Of what is only looked at, and of what is carried
/// out by whoever asked, there is none: that is seen where it is asked for.
async fn tell_blocked(
    transaction: &Transaction<'_>,
    row: &Row,
    why: Option<String>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if row.try_get("validate_only")? || row.try_get("by_caller")? {
        return Ok(());
    }
    let tenant: &str = row.try_get("tenant")?;
    let subject = format!("set-up at {}", row.try_get::<_, &str>("site")?);
    let kind = AlertKind::SetupBlocked;
    let Some(text) = why else {
        return alerts::end(transaction, tenant, kind, &subject, now).await;
    };
    let alert = NewAlert::about(tenant, kind, &subject, text);
    alerts::raise(transaction, &[alert], now).await
}

/// The unfinished set-up of a site that is about the same: whatever of it waits is due at once.
async fn join(transaction: &Transaction<'_>, new: &NewSetup) -> Result<SetupId, StoreError> {
    let sql = "SELECT id, aim, by_caller FROM set_up WHERE tenant = $1 AND site = $2 AND ended_at IS NULL AND NOT validate_only FOR UPDATE";
    let found = rows(
        transaction,
        sql,
        &[&new.tenant.as_str(), &new.site.as_str()],
    )
    .await?;
    let Some(row) = found.first().filter(|_| !new.validate_only) else {
        // It has ended just now, or it was the request that was stored by another at the same moment.
        return Err(StoreError::Contended(
            "another set-up was in the way".into(),
        ));
    };
    let id = SetupId::from_uuid(row.try_get("id")?);
    let same = parsed::<SetupAim>(row, "aim")? == new.aim
        && row.try_get::<_, bool>("by_caller")? == new.by_caller;
    if !same {
        return Err(StoreError::SetupUnderWay(id));
    }
    let sql = "UPDATE set_up SET not_before = $2 WHERE id = $1";
    run(transaction, sql, &[&id.as_uuid(), &new.at]).await?;
    let sql = "UPDATE set_up_step SET not_before = NULL WHERE set_up_id = $1 AND state IN ('waiting', 'refused')";
    run(transaction, sql, &[&id.as_uuid()]).await?;
    Ok(id)
}

async fn steps(
    client: &impl GenericClient,
    id: SetupId,
) -> Result<Vec<(Step, StepRecord, OffsetDateTime)>, StoreError> {
    let sql = "SELECT step, state, says, script, action, action_end, action_at, since, not_before, changed_at, did FROM set_up_step
        WHERE set_up_id = $1 ORDER BY position, step";
    let found = client.query(sql, &[&id.as_uuid()]).await?;
    found.iter().map(step).collect()
}

fn step(row: &Row) -> Result<(Step, StepRecord, OffsetDateTime), StoreError> {
    let last = match row.try_get::<_, Option<String>>("action")? {
        None => None,
        Some(action) => Some(Last {
            action,
            end: parsed(row, "action_end")?,
            at: row.try_get("action_at")?,
        }),
    };
    let record = StepRecord {
        state: parsed(row, "state")?,
        says: row.try_get("says")?,
        script: row.try_get("script")?,
        did: row.try_get("did")?,
        last,
        since: row.try_get("since")?,
        not_before: row.try_get("not_before")?,
    };
    Ok((parsed(row, "step")?, record, row.try_get("changed_at")?))
}

fn view(row: &Row) -> Result<SetupView, StoreError> {
    Ok(SetupView {
        id: SetupId::from_uuid(row.try_get("id")?),
        tenant: parsed(row, "tenant")?,
        site: parsed(row, "site")?,
        aim: parsed(row, "aim")?,
        validate_only: row.try_get("validate_only")?,
        by_caller: row.try_get("by_caller")?,
        state: parsed(row, "state")?,
        note: row.try_get("note")?,
        requested_by: row.try_get("requested_by")?,
        ticket: row.try_get("ticket")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
        steps: Vec::new(),
    })
}
