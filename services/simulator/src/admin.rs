//! The simulator's own API, under `/_simulator/`: the verdict, the dials and the truth.

use std::sync::{Arc, PoisonError};

use axum::extract::{Path, Query, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::calendar::{Mailbox, mask_of};
use crate::dials::Dials;
use crate::limits::Limits;
use crate::reply::Reply;
use crate::rights;
use crate::tenant::{Object, Tenant};
use crate::world::World;

const LISTED: usize = 100;

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/_simulator/healthz", get(|| async { "ok" }))
        .route("/_simulator/report", get(report))
        .route("/_simulator/mark", post(mark))
        .route("/_simulator/dials", get(dials).put(turn))
        .route("/_simulator/outage", put(outage))
        .route("/_simulator/apps/{client_id}", put(change_app))
        .route("/_simulator/permissions", get(permissions))
        .route("/_simulator/proof", get(proof))
}

async fn report(State(world): State<Arc<World>>) -> Reply {
    Reply::json(200, world.judge.report())
}

async fn mark(State(world): State<Arc<World>>) -> Reply {
    world.judge.mark();
    Reply::json(200, json!({}))
}

async fn dials(State(world): State<Arc<World>>) -> Json<Dials> {
    Json(world.dials())
}

/// Changes the dials that are named; the others stay.
async fn turn(State(world): State<Arc<World>>, Json(change): Json<Value>) -> Reply {
    let bad = |text: &str| Reply::error(400, "BadDials", text);
    let Ok(mut all) = serde_json::to_value(world.dials()) else {
        return bad("the dials can't be written");
    };
    let (Some(all), Some(change)) = (all.as_object_mut(), change.as_object()) else {
        return bad("dials are a JSON object");
    };
    all.extend(change.clone());
    let dials: Dials = match serde_json::from_value(Value::Object(all.clone())) {
        Ok(dials) => dials,
        Err(error) => return bad(&error.to_string()),
    };
    let mistakes = dials.mistakes();
    if !mistakes.is_empty() {
        return bad(&mistakes.join("; "));
    }
    world.turn(dials.clone());
    Reply::json(200, json!(dials))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    on: bool,
}

async fn outage(State(world): State<Arc<World>>, Json(outage): Json<Outage>) -> Reply {
    world.set_outage(outage.on);
    Reply::json(200, json!({"on": outage.on}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppChange {
    secret: Option<String>,
    limits: Option<Limits>,
}

async fn change_app(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    Json(change): Json<AppChange>,
) -> Reply {
    let Some(app) = world
        .tenants
        .iter()
        .find_map(|tenant| tenant.apps.get(&id.to_lowercase()))
    else {
        return Reply::error(404, "NoSuchApp", &id);
    };
    if let Some(secret) = change.secret {
        *app.secret.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret);
    }
    if let Some(limits) = change.limits {
        app.limiter.replace(limits);
    }
    Reply::json(200, json!({}))
}

#[derive(Deserialize)]
struct MailboxQuery {
    mailbox: String,
}

/// The true list of the default calendar, whatever reads show.
async fn permissions(State(world): State<Arc<World>>, Query(query): Query<MailboxQuery>) -> Reply {
    let now = world.clock.now();
    let found = world
        .tenants
        .iter()
        .find_map(|tenant| Some((tenant, tenant.mailbox(&query.mailbox, now)?.1)));
    let Some((tenant, mailbox)) = found else {
        return Reply::error(404, "NoSuchMailbox", &query.mailbox);
    };
    let folders = mailbox.folders();
    let acl = folders
        .first()
        .map(|folder| folder.acl().as_slice())
        .unwrap_or_default();
    let list: Vec<Value> = acl
        .iter()
        .map(
            |(who, mask)| json!({"principal": tenant.address(who), "rights": rights::names(*mask)}),
        )
        .collect();
    Reply::json(200, json!(list))
}

#[derive(Deserialize)]
struct ProofQuery {
    group: String,
    trustee: String,
}

/// How far the mailboxes of a group have the trustee's entry.
async fn proof(State(world): State<Arc<World>>, Query(query): Query<ProofQuery>) -> Reply {
    let found = world
        .tenants
        .iter()
        .find_map(|tenant| match tenant.object(&query.group)? {
            Object::Group(group) => Some((tenant, group, tenant.principal(&query.trustee)?)),
            _ => None,
        });
    let Some((tenant, group, trustee)) = found else {
        return Reply::error(404, "NoSuchGroup", "the group or the trustee isn't known");
    };
    let (mut mailboxes, mut at_least, mut exactly, mut without) = (0_u64, 0_u64, 0_u64, Vec::new());
    for (mail, mailbox) in members(tenant, group, &world) {
        let mask = mailbox
            .folders()
            .first()
            .and_then(|folder| mask_of(folder.acl(), &trustee))
            .unwrap_or(0);
        mailboxes += 1;
        exactly += u64::from(rights::exactly_author(mask));
        if rights::at_least_author(mask) {
            at_least += 1;
        } else if without.len() < LISTED {
            without.push(mail);
        }
    }
    Reply::json(
        200,
        json!({"mailboxes": mailboxes, "with_at_least_author": at_least, "exactly_author": exactly, "without": without}),
    )
}

fn members<'a>(
    tenant: &'a Tenant,
    group: usize,
    world: &World,
) -> impl Iterator<Item = (&'a str, &'a Mailbox)> {
    let now = world.clock.now();
    tenant.transitive(group).users.iter().filter_map(move |at| {
        let user = &tenant.users[*at];
        let mailbox = user
            .mailbox
            .as_ref()
            .filter(|mailbox| mailbox.is_there(now))?;
        Some((user.mail.as_str(), mailbox))
    })
}
