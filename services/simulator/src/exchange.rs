//! The Exchange fronts: Admin API v2.0 and `InvokeCommand`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, header};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::admission::admit;
use crate::anchor;
use crate::clock::Clock;
use crate::cmdlet::{self, Command};
use crate::exchange_batch;
use crate::faults::About;
use crate::limiter::Flight;
use crate::query::{Params, base};
use crate::replica::Place;
use crate::reply::{Content, Reply, error_in_200, proxied, transient_400};
use crate::user::Side;
use crate::world::{Audience, Token, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Admin API v2.0; the endpoint decides which cmdlets it takes.
    Admin,
    /// `InvokeCommand`.
    Invoke,
    /// PowerShell remoting to the on-premises site.
    Shell,
}

impl Front {
    /// Whose mailboxes it serves.
    pub(crate) fn side(self) -> Side {
        match self {
            Self::Admin | Self::Invoke => Side::Online,
            Self::Shell => Side::OnPremises,
        }
    }
}

/// One cmdlet call, from outside or from a batch.
pub(crate) struct Call {
    pub(crate) front: Front,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    /// The URL without its query, for links.
    pub(crate) url: String,
    pub(crate) params: Params,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn cmdlet(&self) -> &str {
        let name = self.body["CmdletInput"]["CmdletName"].as_str();
        name.unwrap_or("(no cmdlet)")
    }
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    Path((version, tenant, endpoint)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let front = match (version.as_str(), endpoint.as_str()) {
        ("v2.0", "$batch") => {
            return Reply::error(404, "ResourceNotFound", "There is no such endpoint.");
        }
        ("v2.0", _) => Front::Admin,
        ("beta", "InvokeCommand" | "$batch") => Front::Invoke,
        _ => return Reply::error(405, "MethodNotAllowed", "this endpoint isn't served"),
    };
    world
        .judge
        .exchange_round_trip(match (front, endpoint.as_str()) {
            (Front::Admin, _) => "admin_api",
            (Front::Invoke, "$batch") => "invoke_batch",
            (Front::Invoke | Front::Shell, _) => "invoke_command",
        });
    if let Some(reply) = world.outage() {
        return reply;
    }
    let json_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    if !json_type {
        return Reply::error(
            415,
            "UnsupportedMediaType",
            "Content-Type must be application/json",
        );
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return Reply::error(400, "BadRequest", "the body isn't JSON");
    };
    let base = format!("{}/adminapi/{version}/{tenant}/", base(&headers));
    if endpoint == "$batch" {
        let reply = exchange_batch::run(&world, &tenant, &base, &headers, &body).await;
        return world.arrives(reply, About::anybody("$batch"));
    }
    let url = format!("{base}{endpoint}");
    let params = Params::parse(uri.query().unwrap_or_default());
    let call = Call {
        front,
        tenant,
        endpoint,
        url,
        params,
        headers,
        body,
    };
    let started = begin(&world, &call);
    let kind = call.cmdlet().to_owned();
    let app = caller(&started);
    let work = Arc::clone(&world);
    let reply = world
        .to_its_end(async move { finish(&work, call, started).await })
        .await
        .unwrap_or_else(|| Reply::error(500, "InternalServerError", "the simulator failed"));
    let about = About {
        kind: &kind,
        app: &app,
    };
    world.arrives(reply, about)
}

/// `GET …/v1.0/<tenant>/EXOModuleFile`: the cmdlets this principal may run.
pub(crate) async fn module_file(
    State(world): State<Arc<World>>,
    Path((version, tenant, endpoint)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Reply {
    world.judge.exchange_round_trip("module_file");
    if let Some(reply) = world.outage() {
        return reply;
    }
    if version != "v1.0" || endpoint != "EXOModuleFile" {
        return Reply::error(405, "MethodNotAllowed", "this endpoint takes POST");
    }
    let token = match authorise(&world, &tenant, &headers, Front::Invoke) {
        Ok(token) => token,
        Err(refusal) => return refusal,
    };
    let flight = match admit(&world, &token, Audience::Exchange, MODULE_FILE, None) {
        Ok(flight) => flight,
        Err(refusal) => return headed(&world, &token, refusal),
    };
    let work = Arc::clone(&world);
    let task = world.tasks.spawn(async move {
        let about = About {
            kind: MODULE_FILE,
            app: &token.app.client_id,
        };
        work.work(about).await;
        drop(flight);
        if let Some(fault) = work.early_fault(&token.app.exchange, about) {
            return fault;
        }
        let cmdlets = cmdlet::exported(&token.app.cmdlets()).join(",");
        let body = json!({"value": [{"exportedCmdlets": cmdlets}]});
        headed(&work, &token, Reply::json(200, body))
    });
    task.await.unwrap_or_else(|_| Reply::failed(0))
}

const MODULE_FILE: &str = "EXOModuleFile";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(crate) fn authorise(
    world: &World,
    tenant: &str,
    headers: &HeaderMap,
    front: Front,
) -> Result<Token, Reply> {
    let token = world
        .authorise(text(headers, "authorization"), Audience::Exchange)
        .map_err(|reason| {
            world.judge.refused("InvalidAuthenticationToken");
            Reply::error(401, "InvalidAuthenticationToken", reason)
        })?;
    if world
        .tenant(tenant)
        .is_none_or(|known| known.id != token.tenant.id)
    {
        world.judge.refused("other tenant");
        return Err(Reply::forbidden("The token is for another tenant."));
    }
    let role = match front {
        Front::Admin => "Exchange.ManageAsAppV2",
        Front::Invoke | Front::Shell => "Exchange.ManageAsApp",
    };
    if !token.app.has_role(role) {
        world.judge.refused("missing role");
        return Err(Reply::forbidden(&format!("The role {role} is missing.")));
    }
    Ok(token)
}

/// The client id of the caller, when the call got in.
pub(crate) fn caller(started: &Result<(Token, Flight), Reply>) -> String {
    let caller = started
        .as_ref()
        .map(|(token, _)| token.app.client_id.clone());
    caller.unwrap_or_default()
}

/// Judges a call at the moment it arrives; `Err` is its answer.
pub(crate) fn begin(world: &World, call: &Call) -> Result<(Token, Flight), Reply> {
    let token = authorise(world, &call.tenant, &call.headers, call.front)?;
    let identity = call.body["CmdletInput"]["Parameters"]["Identity"].as_str();
    let mailbox = identity.map(|identity| identity.split(':').next().unwrap_or(identity));
    let target = mailbox.and_then(|mailbox| token.tenant.user(mailbox));
    match admit(world, &token, Audience::Exchange, call.cmdlet(), target) {
        Ok(flight) => Ok((token, flight)),
        Err(refusal) => Err(headed(world, &token, refusal)),
    }
}

pub(crate) async fn finish(
    world: &World,
    call: Call,
    started: Result<(Token, Flight), Reply>,
) -> Reply {
    let (token, flight) = match started {
        Ok(started) => started,
        Err(refusal) => return refusal,
    };
    let kind = call.cmdlet();
    let about = About {
        kind,
        app: &token.app.client_id,
    };
    world.work(about).await;
    if let Some(fault) = world.early_fault(&token.app.exchange, about) {
        return fault;
    }
    if world.fault("transient_400", about) {
        return transient_400();
    }
    if world.fault("nul_403", about) {
        return Reply::forbidden("The cmdlet isn't available on this server.");
    }
    let reply = execute(world, &token, &call);
    drop(flight);
    let reply = bent(world, about, reply);
    if world.fault("lost_reply", about) {
        return Reply::broken();
    }
    if world.fault("error_after_effect", about) {
        return Reply::failed(world.dice.below(4));
    }
    headed(world, &token, reply).with("odata-version", "4.0")
}

/// What an answer looks like on its bad days; what was done stays done.
fn bent(world: &World, about: About<'_>, mut reply: Reply) -> Reply {
    let read = about
        .kind
        .get(..4)
        .is_some_and(|verb| verb.eq_ignore_ascii_case("get-"));
    let failed = reply.status >= 400;
    if (read || failed) && world.fault("proxy_error_json", about) {
        return proxied(&reply);
    }
    if (read || failed) && world.fault("error_in_200", about) {
        return error_in_200(reply);
    }
    let Content::Json(body) = &mut reply.content else {
        return reply;
    };
    if failed {
        return reply;
    }
    let Some(value) = body["value"].as_array_mut() else {
        return reply;
    };
    if value.len() == 1 && world.fault("unwrapped_single", about) {
        if let Some(single) = value.pop() {
            *body = single;
        }
    } else if !read && world.fault("empty_success", about) {
        *body = json!({});
    }
    reply
}

/// Says what is left of the app's first window, or what the real service said once, and how many calls are under way.
fn headed(world: &World, token: &Token, reply: Reply) -> Reply {
    let (window, in_flight) = {
        let mut meter = token.app.exchange.meter();
        (meter.window(world.clock.now()), meter.in_flight())
    };
    let all_in_flight = token.tenant.exchange.meter().in_flight();
    let (limit, left, secs) = window.unwrap_or((30_000, 29_997, 16));
    let reset = Clock::utc() + Duration::from_secs(secs);
    let reset = reset.format(&Rfc3339).unwrap_or_default();
    reply
        .with("rate-limit-limit", limit.to_string())
        .with("rate-limit-remaining", left.to_string())
        .with("rate-limit-reset", reset)
        .with("x-concurrencycount", in_flight.to_string())
        .with(
            "x-combinedapponlyconcurrencycount",
            all_in_flight.to_string(),
        )
}

fn execute(world: &World, token: &Token, call: &Call) -> Reply {
    if let Some(anchor) = text(&call.headers, "x-anchormailbox")
        && !anchor::is_readable(anchor)
    {
        world.judge.refused("ErrorIncorrectRoutingHint");
        return Reply::error(
            400,
            "ErrorIncorrectRoutingHint",
            "The routing hint in X-AnchorMailbox can't be read.",
        );
    }
    if call.front == Front::Admin {
        if token.tenant.without_admin_api.load(Ordering::Relaxed)
            || !world.dials().admin_api_available
        {
            return Reply::error(
                404,
                "ResourceNotFound",
                "The Admin API isn't available in this organization.",
            );
        }
        let cmdlets: &[&str] = match call.endpoint.as_str() {
            "OrganizationConfig" => &["get-organizationconfig"],
            "AcceptedDomain" => &["get-accepteddomain"],
            "Mailbox" => &["get-mailbox"],
            "DistributionGroupMember" => &["get-distributiongroupmember"],
            "DynamicDistributionGroupMember" => &["get-dynamicdistributiongroupmember"],
            "MailboxFolderPermission" => &[
                "get-mailboxfolderpermission",
                "add-mailboxfolderpermission",
                "set-mailboxfolderpermission",
                "remove-mailboxfolderpermission",
            ],
            _ => return Reply::error(404, "ResourceNotFound", "There is no such endpoint."),
        };
        let name = call.body["CmdletInput"]["CmdletName"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        if !cmdlets.contains(&name.as_str()) {
            world.judge.refused("wrong endpoint");
            return Reply::error(
                400,
                "BadRequest",
                &format!("{name} isn't a cmdlet of this endpoint."),
            );
        }
    }
    let prefer = text(&call.headers, "prefer").unwrap_or_default();
    let page = prefer
        .split([';', ','])
        .find_map(|part| part.trim().strip_prefix("odata.maxpagesize="));
    let command = Command {
        world,
        tenant: &token.tenant,
        app: &token.app,
        front: call.front,
        url: &call.url,
        query: &call.params,
        page: page
            .and_then(|size| size.parse().ok())
            .unwrap_or(1000)
            .clamp(1, 1000),
        body: &call.body,
        place: Place::Exchange,
        key: None,
    };
    let reply = cmdlet::run(&command);
    if reply.status >= 400 {
        world.judge.refused(&format!(
            "{} {}",
            reply.status,
            call.body["CmdletInput"]["CmdletName"]
                .as_str()
                .unwrap_or("?")
        ));
    }
    reply
}
