//! The simulator's own API, under `/_simulator/`: the verdict, the dials, and changes to what it holds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::App;
use crate::application::Assignment;
use crate::dials::Dials;
use crate::identity::Registered;
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::proof;
use crate::query::Params;
use crate::replica::Shows;
use crate::reply::Reply;
use crate::scenario::{AssignmentSpec, JoinRestriction};
use crate::tenant::Object;
use crate::user::Side;
use crate::world::{Outage, World};

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/_simulator/healthz", get(|| async { "ok" }))
        .route("/_simulator/certificate", get(certificate))
        .route("/_simulator/report", get(report))
        .route("/_simulator/changes", get(changes))
        .route("/_simulator/mark", post(mark))
        .route("/_simulator/clock", post(clock))
        .route("/_simulator/dials", get(dials).put(turn))
        .route("/_simulator/outage", put(outage))
        .route("/_simulator/apps/{client_id}", put(change_app))
        .route(
            "/_simulator/device_codes/{user_code}",
            post(crate::device::enter),
        )
        .route("/_simulator/accounts/{name}", put(crate::onprem::change))
        .route("/_simulator/tenants/{tenant}", put(change_tenant))
        .route("/_simulator/mailboxes/{address}", put(change_mailbox))
        .route("/_simulator/groups/{address}", put(change_group))
        .route(
            "/_simulator/mailboxes/{address}/permissions",
            get(proof::calendars),
        )
        .route("/_simulator/created", get(crate::created::created))
        .route("/_simulator/sign-in", post(crate::password::try_it))
        .route("/_simulator/permissions", get(proof::permissions))
        .route("/_simulator/proof", get(proof::proof))
        .route("/_simulator/expectation", get(proof::expectation))
}

/// Refuses a request for a reason that names the field.
pub(crate) fn bad(reason: &str) -> Reply {
    Reply::error(400, "BadRequest", reason)
}

/// Reads the body of a change.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))
}

/// The parameters of one of the simulator's own queries; any other name is refused.
pub(crate) fn query(query: Option<String>, known: &[&str]) -> Result<Params, Reply> {
    let params = Params::parse(&query.unwrap_or_default());
    if let Some(name) = params.names().find(|name| !known.contains(name)) {
        let known = known.join(", ");
        return Err(bad(&format!(
            "no parameter is called {name}; there are {known}"
        )));
    }
    Ok(params)
}

/// A number of a query.
pub(crate) fn number(params: &Params, name: &str, default: usize) -> Result<usize, Reply> {
    params.get(name).map_or(Ok(default), |text| {
        text.parse()
            .map_err(|_| bad(&format!("{name}: {text} isn't a number")))
    })
}

fn apps(world: &World) -> impl Iterator<Item = &Arc<App>> {
    world.tenants.iter().flat_map(|tenant| tenant.apps.values())
}

async fn certificate(State(world): State<Arc<World>>) -> Reply {
    match &world.certificate {
        Some(pem) => Reply::text(200, "application/x-pem-file", pem.as_str()),
        None => Reply::error(404, "NoTls", "the scenario has no https"),
    }
}

async fn report(State(world): State<Arc<World>>) -> Reply {
    let mut report = world.judge.report(&world.tenants);
    report["peak_in_flight"] = apps(&world)
        .map(|app| {
            let (exchange, graph) = (app.exchange.meter().peak(), app.graph.meter().peak());
            let peaks = json!({"exchange": exchange, "graph": graph});
            (app.client_id.clone(), peaks)
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let now = world.clock.now();
    let show = |limiter: &Limiter| limiter.meter().show(now);
    report["accounts"] = apps(&world)
        .map(|app| {
            let shown = json!({"exchange": show(&app.exchange), "graph": show(&app.graph)});
            (app.client_id.clone(), shown)
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    report["tenants"] = world
        .tenants
        .iter()
        .map(|tenant| {
            let shown = json!({
                "exchange": show(&tenant.exchange), "graph": show(&tenant.graph),
                "mailboxes": tenant.exchange_targets.show(),
                "graph_mailboxes": tenant.graph_targets.show(),
            });
            (tenant.id.clone(), shown)
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    report["onprem"] = world
        .tenants
        .iter()
        .filter_map(|tenant| Some((tenant.id.clone(), tenant.site.as_ref()?.show(&world))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    Reply::json(200, report)
}

async fn changes(
    State(world): State<Arc<World>>,
    RawQuery(text): RawQuery,
) -> Result<Reply, Reply> {
    let params = query(text, &["foreign", "offset", "limit"])?;
    let (offset, limit) = (
        number(&params, "offset", 0)?,
        number(&params, "limit", 1000)?,
    );
    let foreign = params.get("foreign") == Some("true");
    Ok(Reply::json(
        200,
        world.judge.changed(&world.tenants, foreign, offset, limit),
    ))
}

async fn mark(State(world): State<Arc<World>>) -> Reply {
    world.judge.mark();
    let mark = |limiter: &Limiter| limiter.meter().mark(world.clock.now());
    for app in apps(&world) {
        mark(&app.exchange);
        mark(&app.graph);
    }
    for tenant in &world.tenants {
        mark(&tenant.exchange);
        mark(&tenant.graph);
        tenant.exchange_targets.mark();
        tenant.graph_targets.mark();
        if let Some(site) = &tenant.site {
            site.mark(&world);
        }
    }
    Reply::json(200, json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forward {
    advance_ms: u64,
}

async fn clock(State(world): State<Arc<World>>, body: Bytes) -> Result<Reply, Reply> {
    let forward: Forward = read(&body)?;
    world.clock.advance(forward.advance_ms);
    let now = world.clock.now();
    Ok(Reply::json(200, json!({"now_secs": now.as_secs_f64()})))
}

async fn dials(State(world): State<Arc<World>>) -> Json<Dials> {
    Json(Dials::clone(&world.dials()))
}

/// Changes the dials that are named; the others stay.
async fn turn(State(world): State<Arc<World>>, body: Bytes) -> Result<Reply, Reply> {
    let change: serde_json::Map<String, Value> = read(&body)?;
    let mut all = json!(*world.dials());
    for (name, value) in change {
        all[name] = value;
    }
    let dials: Dials = serde_json::from_value(all).map_err(|error| bad(&error.to_string()))?;
    let mistakes = dials.mistakes();
    if !mistakes.is_empty() {
        return Err(bad(&mistakes.join("; ")));
    }
    world.turn(dials.clone());
    Ok(Reply::json(200, json!(dials)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageChange {
    on: bool,
    #[serde(default)]
    mode: OutageMode,
    /// It ends by itself after so many seconds.
    secs: Option<u64>,
    /// With mode `429`: what clients are told.
    retry_after: Option<u64>,
}

#[derive(Default, Deserialize)]
enum OutageMode {
    #[default]
    #[serde(rename = "503")]
    Unavailable,
    #[serde(rename = "abort")]
    Abort,
    #[serde(rename = "429")]
    Throttled,
}

async fn outage(State(world): State<Arc<World>>, body: Bytes) -> Result<Reply, Reply> {
    let change: OutageChange = read(&body)?;
    let until = change.secs.map_or(Duration::MAX, |secs| {
        world.clock.now() + Duration::from_secs(secs)
    });
    let outage = match change.mode {
        OutageMode::Unavailable => Outage::Unavailable,
        OutageMode::Abort => Outage::Cut,
        OutageMode::Throttled => Outage::Throttled(change.retry_after),
    };
    world.set_outage(change.on.then_some((outage, until)));
    Ok(Reply::json(200, json!({"on": change.on})))
}

fn limits_are_right(limits: &[&Option<Limits>]) -> Result<(), Reply> {
    let given = limits.iter().filter_map(|limits| limits.as_ref());
    let mistakes: Vec<String> = given.flat_map(|given| given.mistakes("limits")).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(bad(&mistakes.join("; ")))
}

fn replace(world: &World, limiter: &Limiter, limits: Option<Limits>) {
    if let Some(limits) = limits {
        let mut meter = limiter.meter();
        meter.replace(world.clock.now(), limits);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppChange {
    secret: Option<String>,
    secret_expired: Option<bool>,
    certificate: Option<String>,
    roles: Option<HashSet<String>>,
    cmdlets: Option<Vec<String>>,
    management_roles: Option<Vec<String>>,
    assignments: Option<Vec<AssignmentSpec>>,
    limits: Option<Limits>,
    graph_limits: Option<Limits>,
}

async fn change_app(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let change: AppChange = read(&body)?;
    let mut tenants = world.tenants.iter();
    let client_id = id.to_lowercase();
    let found = tenants.find_map(|tenant| Some((tenant, tenant.apps.get(&client_id)?)));
    let (tenant, app) = found.ok_or_else(|| Reply::error(404, "NoSuchApp", &id))?;
    let mut registration = app.registration();
    if let Some(pem) = change.certificate {
        let certificate = Registered::from_pem(&pem);
        registration.certificate =
            Some(certificate.ok_or_else(|| bad("certificate: it isn't PEM with an RSA key"))?);
    }
    if let Some(secret) = change.secret {
        registration.secret = Some(secret);
    }
    if let Some(expired) = change.secret_expired {
        registration.secret_expired = expired;
    }
    if let Some(roles) = change.roles {
        registration.roles = roles;
    }
    if change.cmdlets.is_some() || change.management_roles.is_some() {
        let (cmdlets, roles) = (change.cmdlets, change.management_roles);
        registration.allow(&cmdlets.unwrap_or_default(), &roles.unwrap_or_default());
    }
    if let Some(assignments) = change.assignments {
        let assignments = Assignment::all(assignments, tenant);
        registration.assignments = assignments.map_err(|mistake| bad(&mistake))?;
    }
    limits_are_right(&[&change.limits, &change.graph_limits])?;
    app.register(registration);
    replace(&world, &app.exchange, change.limits);
    replace(&world, &app.graph, change.graph_limits);
    Ok(Reply::json(200, json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantChange {
    admin_api: Option<bool>,
    limits: Option<Limits>,
    graph_limits: Option<Limits>,
    mailbox_limits: Option<Limits>,
    graph_mailbox_limits: Option<Limits>,
}

async fn change_tenant(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let change: TenantChange = read(&body)?;
    let tenant = world
        .tenant(&name)
        .ok_or_else(|| Reply::error(404, "NoSuchTenant", &name))?;
    limits_are_right(&[
        &change.limits,
        &change.graph_limits,
        &change.mailbox_limits,
        &change.graph_mailbox_limits,
    ])?;
    if let Some(on) = change.admin_api {
        tenant.without_admin_api.store(!on, Ordering::Relaxed);
    }
    replace(&world, &tenant.exchange, change.limits);
    replace(&world, &tenant.graph, change.graph_limits);
    if let Some(limits) = change.mailbox_limits {
        tenant.exchange_targets.replace(&world.clock, limits);
    }
    if let Some(limits) = change.graph_mailbox_limits {
        tenant.graph_targets.replace(&world.clock, limits);
    }
    Ok(Reply::json(200, json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailboxChange {
    provisioned: Option<bool>,
    provision_in_secs: Option<u64>,
    licensed: Option<bool>,
    licence_expired: Option<bool>,
    deleted: Option<bool>,
    /// Where the mailbox lies from now on: `online` or `on_premises`.
    moved_to: Option<Side>,
}

/// Makes a mailbox come and go; a licence alone brings it back at once.
async fn change_mailbox(
    State(world): State<Arc<World>>,
    Path(address): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let change: MailboxChange = read(&body)?;
    let now = world.clock.now();
    let (tenant, at) = world
        .tenants
        .iter()
        .find_map(|tenant| Some((tenant, tenant.user(&address)?)))
        .ok_or_else(|| Reply::error(404, "NoSuchUser", &address))?;
    let user = &tenant.users[at];
    let mailbox = user
        .mailbox
        .as_ref()
        .ok_or_else(|| bad("this user was written as one without a mailbox (kind = \"none\")"))?;
    if let Some(licensed) = change.licensed {
        user.license(licensed);
        mailbox.provision(licensed.then_some(now));
    }
    if change.licence_expired == Some(true) {
        user.expire_licence();
    }
    if change.deleted == Some(true) {
        user.license(false);
        mailbox.provision(None);
    }
    if let Some(side) = change.moved_to {
        user.move_to(side);
    }
    if let Some(provisioned) = change.provisioned {
        mailbox.provision(provisioned.then_some(now));
    }
    if let Some(secs) = change.provision_in_secs {
        mailbox.provision(Some(now + Duration::from_secs(secs)));
    }
    let state = proof::state(user, now);
    Ok(Reply::json(
        200,
        json!({"address": user.mail, "state": state}),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupChange {
    /// Direct members that come, by any name a scenario has for them.
    #[serde(default)]
    add: Vec<String>,
    /// Direct members that go.
    #[serde(default)]
    remove: Vec<String>,
    /// Whether all go first.
    #[serde(default)]
    clear: bool,
    owners: Option<Vec<String>>,
    join: Option<JoinRestriction>,
}

/// Lets members of a group come and go, and changes who manages it. The group goes by its address.
async fn change_group(
    State(world): State<Arc<World>>,
    Path(address): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let change: GroupChange = read(&body)?;
    let (tenant, at) = world
        .tenants
        .iter()
        .find_map(|tenant| Some((tenant, tenant.group(&address)?)))
        .ok_or_else(|| Reply::error(404, "NoSuchGroup", &address))?;
    let objects = |names: &[String]| {
        let known = |name: &String| {
            let member = tenant.member(name);
            member.ok_or_else(|| bad(&format!("{name}: no such object")))
        };
        names.iter().map(known).collect::<Result<Vec<_>, _>>()
    };
    let (add, mut remove) = (objects(&change.add)?, objects(&change.remove)?);
    let mut members = tenant.groups[at].members().to_vec();
    if change.clear {
        remove.append(&mut members);
    }
    members.retain(|member| !remove.contains(member) && !add.contains(member));
    members.extend(add);
    let count = members.len();
    let joined: Vec<Object> = members.clone();
    tenant.set_members(at, members, Shows::ALWAYS);
    tenant.happens(Shows::ALWAYS);
    let mut settings = tenant.groups[at].settings().as_ref().clone();
    if let Some(owners) = change.owners {
        settings.owners = owners;
    }
    if let Some(join) = change.join {
        settings.join = join;
    }
    tenant.groups[at].set(settings, Shows::ALWAYS);
    if !tenant.groups[at].spec.licences.is_empty() {
        let lag = Duration::from_millis(world.dials().provisioning_lag_ms);
        for member in joined.iter().chain(&remove) {
            if let Object::User(user) = member {
                tenant.relicense(*user, world.clock.now(), lag);
            }
        }
    }
    Ok(Reply::json(200, json!({"members": count})))
}
