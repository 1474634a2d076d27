//! The Exchange fronts: Admin API v2.0, `InvokeCommand`, and its `$batch`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde_json::{Value, json};

use crate::anchor;
use crate::cmdlet::{self, Command};
use crate::query::Params;
use crate::reply::{Content, Reply, error_in_200, proxy_error};
use crate::tenant::App;
use crate::world::{Audience, Token, World};

const BATCH: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Admin API v2.0; the endpoint decides which cmdlets it takes.
    Admin,
    /// `InvokeCommand`.
    Invoke,
}

/// One cmdlet call, from outside or from a batch.
struct Call {
    front: Front,
    tenant: String,
    endpoint: String,
    /// The URL without its query, for links.
    url: String,
    params: Params,
    headers: HeaderMap,
    body: Value,
}

/// A call that has been let in; it counts as under way until this goes.
struct Flight(Arc<App>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.limiter.release();
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
        ("v2.0", _) => Front::Admin,
        ("beta", "InvokeCommand" | "$batch") => Front::Invoke,
        _ => return Reply::error(405, "MethodNotAllowed", "this endpoint isn't served"),
    };
    world
        .judge
        .exchange_round_trip(match (front, endpoint.as_str()) {
            (Front::Admin, _) => "admin_api",
            (Front::Invoke, "$batch") => "invoke_batch",
            (Front::Invoke, _) => "invoke_command",
        });
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
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let base = format!("http://{host}/adminapi/{version}/{tenant}/");
    if endpoint == "$batch" {
        return batch(&world, &tenant, &base, &headers, &body).await;
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
    let work = Arc::clone(&world);
    // it goes on when the client has hung up
    let started = begin(&world, &call);
    let task = world
        .tasks
        .spawn(async move { finish(&work, call, started).await });
    task.await
        .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"))
}

async fn batch(
    world: &Arc<World>,
    tenant: &str,
    base: &str,
    headers: &HeaderMap,
    body: &Value,
) -> Reply {
    let bad = |text: &str| Reply::error(400, "BadRequest", text);
    if let Err(refusal) = authorise(world, tenant, headers, Front::Invoke) {
        return refusal;
    }
    let Some(requests) = body["requests"].as_array() else {
        return bad("requests is missing");
    };
    if requests.is_empty() || requests.len() > BATCH {
        return bad("a batch takes 1 to 10 requests");
    }
    let mut calls = Vec::new();
    for request in requests {
        let (Some(id), Some(url)) = (request["id"].as_str(), request["url"].as_str()) else {
            return bad("each request needs an id and a url");
        };
        if calls.iter().any(|(other, _): &(Value, Call)| other == id) {
            return bad("the ids of the requests aren't unique");
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if path != format!("{base}InvokeCommand") || request["method"] != "POST" {
            return bad("each url must be the absolute one of InvokeCommand, and the method POST");
        }
        calls.push((
            id.into(),
            Call {
                front: Front::Invoke,
                tenant: tenant.to_owned(),
                endpoint: "InvokeCommand".to_owned(),
                url: path.to_owned(),
                params: Params::parse(query),
                headers: inner_headers(&request["headers"]),
                body: request["body"].clone(),
            },
        ));
    }
    // they arrive together: all are judged before the first is carried out
    let started: Vec<_> = calls.iter().map(|(_, call)| begin(world, call)).collect();
    let tasks: Vec<_> = calls
        .into_iter()
        .zip(started)
        .map(|((id, call), started)| {
            let work = Arc::clone(world);
            (
                id,
                world
                    .tasks
                    .spawn(async move { finish(&work, call, started).await }),
            )
        })
        .collect();
    let mut responses = Vec::new();
    for (id, task) in tasks {
        let reply = task
            .await
            .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"));
        if matches!(reply.content, Content::Broken) {
            return Reply::broken();
        }
        let with_status = !world.fault("missing_batch_status");
        responses.push(reply.into_batch_item(&id, with_status));
    }
    world.dice.shuffle(&mut responses);
    Reply::json(200, json!({"responses": responses}))
}

fn inner_headers(headers: &Value) -> HeaderMap {
    let pairs = headers.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| {
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::from_str(value.as_str()?).ok()?,
            ))
        })
        .collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn authorise(
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
        Front::Invoke => "Exchange.ManageAsApp",
    };
    if !token.app.roles.contains(role) {
        world.judge.refused("missing role");
        return Err(Reply::forbidden(&format!("The role {role} is missing.")));
    }
    Ok(token)
}

/// Judges a call at the moment it arrives; `Err` is its answer.
fn begin(world: &World, call: &Call) -> Result<(Token, Flight), Reply> {
    let token = authorise(world, &call.tenant, &call.headers, call.front)?;
    let app = &token.app;
    let name = call.body["CmdletInput"]["CmdletName"]
        .as_str()
        .unwrap_or("(no cmdlet)");
    world.judge.call(name, &app.client_id);
    let now = world.clock.now();
    if let Err(refusal) = app.limiter.admit(now) {
        world
            .judge
            .violation(&app.client_id, &refusal.limit, now.as_millis());
        return Err(Reply::throttled(Some(refusal.retry_after)));
    }
    Ok((token.clone(), Flight(Arc::clone(app))))
}

async fn finish(world: &World, call: Call, started: Result<(Token, Flight), Reply>) -> Reply {
    let (token, flight) = match started {
        Ok(started) => started,
        Err(refusal) => return refusal,
    };
    tokio::time::sleep(world.latency()).await;
    if let Some(fault) = world.early_fault().or_else(|| exchange_fault(world)) {
        return fault;
    }
    let mut reply = execute(world, &token, &call);
    drop(flight);
    if let Content::Json(body) = &mut reply.content
        && reply.status == 200
        && body["value"]
            .as_array()
            .is_some_and(|value| value.len() == 1)
        && world.fault("unwrapped_single")
        && let Some(single) = body["value"].as_array_mut().and_then(Vec::pop)
    {
        *body = single;
    }
    if world.fault("lost_reply") {
        return if world.dice.happens(0.5) {
            Reply::broken()
        } else {
            Reply::error(502, "BadGateway", "The connection to the backend was lost.")
        };
    }
    reply
        .with("rate-limit-limit", "30000")
        .with("odata-version", "4.0")
}

fn exchange_fault(world: &World) -> Option<Reply> {
    if world.fault("proxy_error_json") {
        return Some(proxy_error());
    }
    if world.fault("nul_403") {
        return Some(Reply::forbidden(
            "The cmdlet isn't available on this server.",
        ));
    }
    world.fault("error_in_200").then(error_in_200)
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
        if token.tenant.without_admin_api || !world.dials().admin_api_available {
            return Reply::error(
                404,
                "ResourceNotFound",
                "The Admin API isn't available in this organization.",
            );
        }
        let cmdlets: &[&str] = match call.endpoint.as_str() {
            "Mailbox" => &["get-mailbox"],
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
        token,
        front: call.front,
        url: &call.url,
        query: &call.params,
        page: page
            .and_then(|size| size.parse().ok())
            .unwrap_or(1000)
            .clamp(1, 1000),
        body: &call.body,
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
