//! The truth about permissions, for whoever wants to prove a run from outside.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};

use crate::admin::{bad, number, query};
use crate::calendar::{Acl, Folder, Mailbox, Principal, mask_of};
use crate::reply::Reply;
use crate::rights;
use crate::tenant::Tenant;
use crate::user::User;
use crate::world::World;

const LISTED: usize = 100;

fn unknown(what: &str, name: &str) -> Reply {
    Reply::error(404, "NotKnown", &format!("{what}: {name} isn't known"))
}

fn find<'a>(world: &'a World, address: &str) -> Result<(&'a Tenant, &'a Mailbox), Reply> {
    let now = world.clock.now();
    world
        .tenants
        .iter()
        .find_map(|tenant| Some((&**tenant, tenant.mailbox(address, now)?.1)))
        .ok_or_else(|| Reply::error(404, "NoSuchMailbox", address))
}

fn entries(tenant: &Tenant, acl: &Acl) -> Vec<Value> {
    let entry = |(who, mask): &(Principal, u32)| json!({"principal": tenant.address(who), "rights": rights::names(*mask)});
    acl.iter().map(entry).collect()
}

/// The folder a delegation is about.
fn main_calendar(folders: &[Folder]) -> Option<&Folder> {
    folders.first().filter(|folder| !folder.is_root())
}

/// The true list of the default calendar, whatever reads show; or what reads show now.
pub(crate) async fn permissions(
    State(world): State<Arc<World>>,
    RawQuery(text): RawQuery,
) -> Result<Reply, Reply> {
    let params = query(text, &["mailbox", "shown"])?;
    let truly = match params.get("shown") {
        None | Some("false") => true,
        Some("true") => false,
        Some(other) => return Err(bad(&format!("shown: {other} is neither true nor false"))),
    };
    let address = params
        .get("mailbox")
        .ok_or_else(|| bad("mailbox: it is missing"))?;
    let (tenant, mailbox) = find(&world, address)?;
    let folders = mailbox.folders();
    let list = main_calendar(&folders).map(|folder| {
        let list = if truly {
            folder.acl()
        } else {
            folder.shown(world.clock.now())
        };
        entries(tenant, list)
    });
    Ok(Reply::json(200, json!(list.unwrap_or_default())))
}

/// The true lists of every folder of a mailbox.
pub(crate) async fn calendars(
    State(world): State<Arc<World>>,
    Path(address): Path<String>,
) -> Result<Reply, Reply> {
    let (tenant, mailbox) = find(&world, &address)?;
    let folders = mailbox.folders();
    let shown = folders.iter().enumerate().map(|(number, folder)| {
        let rows: Vec<Value> = folder
            .acl()
            .iter()
            .map(|(who, mask)| {
                json!({
                    "principal": tenant.address(who), "rights": rights::names(*mask), "mask": mask,
                    "flags": rights::flag_names(*mask),
                })
            })
            .collect();
        let main = number == 0 && !folder.is_root();
        json!({"folder": folder.path, "default": main, "entries": rows})
    });
    let shown: Vec<Value> = shown.collect();
    Ok(Reply::json(
        200,
        json!({"guid": mailbox.guid.to_string(), "folders": shown}),
    ))
}

/// What keeps a user's mailbox from being delegated, or `mailbox`.
pub(crate) fn state(user: &User, now: Duration) -> &'static str {
    match &user.mailbox {
        None => "missing",
        Some(mailbox) if mailbox.is_there(now) => "mailbox",
        Some(mailbox) if mailbox.is_coming() => "not_provisioned_yet",
        Some(_) if !user.is_licensed() => "unlicensed",
        Some(_) => "never_provisioned",
    }
}

/// Whom a question is about.
struct Selection<'a> {
    tenant: &'a Tenant,
    users: Vec<usize>,
    trustee: Principal,
}

fn selection<'a>(world: &'a World, params: &crate::query::Params) -> Result<Selection<'a>, Reply> {
    let named = params.get("tenant");
    let tenants = world
        .tenants
        .iter()
        .filter(|tenant| named.is_none_or(|name| tenant.id == name || tenant.domain == name));
    let mut last = bad("name what to look at: group, unit, ou, or all=true");
    for tenant in tenants {
        let users = match members(tenant, params) {
            Some(Ok(users)) => users,
            Some(Err(refusal)) => {
                last = refusal;
                continue;
            }
            None => continue,
        };
        let trustee = match params.get("trustee") {
            None => tenant.managed().into_iter().next(),
            Some(name) => tenant.principal(name),
        };
        let name = params.get("trustee").unwrap_or("the managed one");
        let trustee = trustee.ok_or_else(|| unknown("trustee", name))?;
        return Ok(Selection {
            tenant,
            users,
            trustee,
        });
    }
    Err(last)
}

fn members(tenant: &Tenant, params: &crate::query::Params) -> Option<Result<Vec<usize>, Reply>> {
    if let Some(name) = params.get("group") {
        let group = tenant.group(name).or_else(|| {
            tenant
                .named(name)
                .into_iter()
                .find_map(|object| match object {
                    crate::tenant::Object::Group(at) => Some(at),
                    _ => None,
                })
        });
        let found = group.map(|group| tenant.transitive(group).users.clone());
        return Some(found.ok_or_else(|| unknown("group", name)));
    }
    if let Some(name) = params.get("unit") {
        let unit = tenant
            .units
            .iter()
            .find(|unit| unit.name.eq_ignore_ascii_case(name) || unit.id.to_string() == name);
        let found = unit.map(|unit| unit.members.clone());
        return Some(found.ok_or_else(|| unknown("unit", name)));
    }
    if let Some(name) = params.get("ou") {
        let suffix = format!(",{}", name.to_lowercase());
        let below = |user: &User| {
            let dn = user.spec.dn.as_deref();
            dn.is_some_and(|dn| dn.to_lowercase().ends_with(&suffix))
        };
        let users = (0..tenant.users.len()).filter(|at| below(&tenant.users[*at]));
        return Some(Ok(users.collect()));
    }
    (params.get("all") == Some("true")).then(|| Ok((0..tenant.users.len()).collect()))
}

const SELECTORS: [&str; 8] = [
    "tenant", "group", "unit", "ou", "all", "trustee", "offset", "limit",
];

/// How far the mailboxes of a group have the trustee's entry.
pub(crate) async fn proof(
    State(world): State<Arc<World>>,
    RawQuery(text): RawQuery,
) -> Result<Reply, Reply> {
    let params = query(text, &SELECTORS)?;
    let selected = selection(&world, &params)?;
    let (tenant, now) = (selected.tenant, world.clock.now());
    let (mut mailboxes, mut at_least, mut exactly, mut without) = (0_u64, 0_u64, 0_u64, Vec::new());
    for at in selected.users {
        let user = &tenant.users[at];
        let Some(mailbox) = user.mailbox.as_ref().filter(|it| it.is_there(now)) else {
            continue;
        };
        let folders = mailbox.folders();
        let mask = main_calendar(&folders)
            .and_then(|folder| mask_of(folder.acl(), &selected.trustee))
            .unwrap_or(0);
        mailboxes += 1;
        exactly += u64::from(rights::exactly_author(mask));
        if rights::at_least_author(mask) {
            at_least += 1;
        } else if without.len() < LISTED {
            without.push(user.mail.as_str());
        }
    }
    Ok(Reply::json(
        200,
        json!({"mailboxes": mailboxes, "with_at_least_author": at_least, "exactly_author": exactly, "without": without}),
    ))
}

/// Each member: its state, the trustee's entry at the start and now and how it came to that, and whether the rest is untouched.
pub(crate) async fn expectation(
    State(world): State<Arc<World>>,
    RawQuery(text): RawQuery,
) -> Result<Reply, Reply> {
    let params = query(text, &SELECTORS)?;
    let (offset, limit) = (
        number(&params, "offset", 0)?,
        number(&params, "limit", 1000)?,
    );
    let selected = selection(&world, &params)?;
    let (tenant, now) = (selected.tenant, world.clock.now());
    let total = selected.users.len();
    let page = selected.users.iter().skip(offset).take(limit);
    let rows: Vec<Value> = page
        .map(|at| row(tenant, &tenant.users[*at], &selected.trustee, now))
        .collect();
    let end = offset.saturating_add(limit);
    Ok(Reply::json(
        200,
        json!({
            "trustee": tenant.address(&selected.trustee), "total": total,
            "next_offset": (end < total).then_some(end), "members": rows,
        }),
    ))
}

fn row(tenant: &Tenant, user: &User, trustee: &Principal, now: Duration) -> Value {
    let mut row = json!({
        "address": user.mail, "upn": user.spec.upn, "object_id": user.spec.id.to_string(),
        "state": state(user, now),
    });
    let Some(mailbox) = &user.mailbox else {
        return row;
    };
    row["mailbox_guid"] = mailbox.guid.to_string().into();
    let folders = mailbox.folders();
    let Some(folder) = main_calendar(&folders) else {
        return row;
    };
    let show =
        |mask: Option<u32>| mask.map(|mask| json!({"rights": rights::names(mask), "mask": mask}));
    row["calendar"] = folder.path.as_str().into();
    row["before"] = show(mask_of(folder.seed(), trustee)).into();
    row["now"] = show(mask_of(folder.acl(), trustee)).into();
    let story = folder
        .story(trustee)
        .map(|step| json!({"from": show(step.from), "to": show(step.to), "by_user": step.by_user}));
    row["story"] = story.collect::<Vec<_>>().into();
    let managed = |who: &Principal| tenant.is_managed(who) || who == trustee;
    let others = |acl: &Acl| -> Vec<(Principal, u32)> {
        acl.iter()
            .filter(|(who, _)| !managed(who))
            .cloned()
            .collect()
    };
    row["others_unchanged"] = folders
        .iter()
        .all(|folder| others(folder.seed()) == others(folder.acl()))
        .into();
    row
}
