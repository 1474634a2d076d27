//! The Graph front: users, groups, administrative units and `$batch`.

use std::sync::Arc;

use crate::admission::admit;
use crate::directory::{self, Sort};
use crate::directory_filter;
use crate::faults::About;
use crate::graph_ask::{Ask, missing};
use crate::graph_batch;
use crate::graph_change::{self, Asked};
use crate::query::{Params, base, decode};
use crate::replica::Place;
use crate::reply::Reply;
use crate::service_principal;
use crate::tenant::Object;
use crate::world::{Audience, World};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::json;

const PARAMETERS: [&str; 5] = ["$top", "$skiptoken", "$select", "$filter", "$count"];

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    world.judge.graph_round_trip();
    if let Some(reply) = world.outage() {
        return reply;
    }
    let half = world.fault("half_response", About::anybody("Graph"));
    let work = Arc::clone(&world);
    let reply = world
        .to_its_end(async move { answer(&work, &method, &uri, &headers, &body).await })
        .await
        .unwrap_or_else(|| Reply::error(500, "InternalServerError", "the simulator failed"));
    if half { reply.half() } else { reply }
}

async fn answer(
    world: &Arc<World>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let base = base(headers);
    let path = uri
        .path()
        .strip_prefix("/v1.0")
        .unwrap_or_default()
        .to_owned();
    let token = match world.authorise(text("authorization"), Audience::Graph) {
        Ok(token) => token,
        Err(reason) => {
            world.judge.refused("InvalidAuthenticationToken");
            return Reply::error(401, "InvalidAuthenticationToken", reason)
                .with("www-authenticate", "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\"");
        }
    };
    if path == "/$batch" {
        if method != Method::POST {
            return Reply::error(405, "Request_BadRequest", "$batch takes POST");
        }
        world.judge.front("graph_batch");
        return graph_batch::run(world, &token, &base, body).await;
    }
    world.judge.front("graph");
    let function = method == Method::POST && is_function(&path);
    if method != Method::GET && !function {
        let asked = Asked {
            token: &token,
            base: &base,
            method,
            path: &path,
            body,
        };
        return graph_change::run(world, asked).await;
    }
    let called_with = function.then(|| serde_json::from_slice(body));
    let Ok(called_with) = called_with.transpose() else {
        return Reply::error(400, "BadRequest", "the body isn't JSON");
    };
    let eventual = text("consistencylevel") == Some("eventual");
    let params = Params::parse(uri.query().unwrap_or_default());
    one(
        world,
        Ask {
            token,
            base,
            path,
            params,
            eventual,
            body: called_with,
            now: world.clock.now(),
        },
    )
    .await
}

/// Whether this is a function that changes nothing, though it is called by POST.
pub(crate) fn is_function(path: &str) -> bool {
    path.ends_with("/checkMemberGroups")
}

pub(crate) async fn one(world: &World, ask: Ask) -> Reply {
    let segments: Vec<String> = ask
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, false))
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = if ask.body.is_some() { "POST" } else { "GET" };
    let kind = match segments.as_slice() {
        [first, ..] if service_principal::is_meant(first) => format!("{method} servicePrincipals"),
        [first, _, rest @ ..] if *first != "directory" && !rest.is_empty() => {
            format!("{method} {first}/…/{}", rest.join("/"))
        }
        [first, _] if *first != "directory" => format!("{method} {first}/…"),
        ["directory", "administrativeUnits", _, rest @ ..] => {
            format!("{method} administrativeUnits/…/{}", rest.join("/"))
        }
        other => format!("{method} {}", other.join("/")),
    };
    let target = match segments.as_slice() {
        // what Outlook answers, not the directory
        ["users", id, "calendar", ..] => ask.token.tenant.user(id),
        _ => None,
    };
    let flight = match admit(world, &ask.token, Audience::Graph, &kind, target) {
        Ok(flight) => flight,
        Err(refusal) => return refusal,
    };
    let about = About {
        kind: &kind,
        app: &ask.token.app.client_id,
    };
    world.work(about).await;
    if let Some(fault) = world.early_fault(&ask.token.app.graph, about) {
        return fault;
    }
    let reply = route(world, &ask, &segments).unwrap_or_else(|refusal| refusal);
    drop(flight);
    if reply.status == 403 || reply.status == 400 {
        world.judge.refused(&format!("{} {kind}", reply.status));
    }
    headed(world, &ask, &segments, reply)
}

/// Says what the call cost, and how near the app is to its first window when that is near.
fn headed(world: &World, ask: &Ask, segments: &[&str], reply: Reply) -> Reply {
    let base: u32 = match segments {
        ["users"] => 2,
        ["groups", _, "transitiveMembers", ..] => 5,
        ["groups", _, "members", ..] | ["subscribedSkus"] => 3,
        _ => 1,
    };
    let small_page = ask
        .params
        .get("$top")
        .is_some_and(|top| top.parse().is_ok_and(|top: u32| top < 20));
    let less = u32::from(ask.params.get("$select").is_some()) + u32::from(small_page);
    let reply = reply.with(
        "x-ms-resource-unit",
        base.saturating_sub(less).max(1).to_string(),
    );
    let window = ask.token.app.graph.meter().window(world.clock.now());
    match window {
        Some((calls, left, _)) if calls > 0 => {
            let used = f64::from(calls - left) / f64::from(calls);
            if used > 0.8 {
                return reply.with("x-ms-throttle-limit-percentage", format!("{used:.2}"));
            }
            reply
        }
        _ => reply,
    }
}

fn route(world: &World, ask: &Ask, segments: &[&str]) -> Result<Reply, Reply> {
    if let Some(name) = ask.params.names().find(|name| {
        !PARAMETERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }) {
        return Err(Reply::error(
            400,
            "Request_UnsupportedQuery",
            &format!("The query parameter '{name}' isn't supported here."),
        ));
    }
    let tenant = &ask.token.tenant;
    if let Some(body) = &ask.body {
        return match segments {
            ["users", id, "checkMemberGroups"] => ask.check_member_groups(id, body),
            _ => Err(no_such_segment(segments)),
        };
    }
    match segments {
        ["users"] => {
            ask.role("User.Read.All")?;
            let select = ask.select(Sort::User)?;
            if ask
                .params
                .get("$filter")
                .is_some_and(directory_filter::is_licence_filter)
            {
                ask.need_advanced("The filter on 'assignedPlans'")?;
                let licensed = tenant.users.starting_at(0);
                let found: Vec<usize> = licensed
                    .filter(|(at, user)| user.is_licensed() && ask.knows(Object::User(*at)))
                    .map(|(at, _)| at)
                    .collect();
                return ask.list(world, found.len(), |at| {
                    directory::user(tenant, found[at], &select)
                });
            }
            match ask.filtered(Sort::User)? {
                Some(found) => ask.objects(world, &found, &select),
                None => {
                    let counts = (tenant.users.seeds(), tenant.users.len());
                    let known = ask.known(counts, Object::User);
                    let count = known.as_ref().map_or(counts.1, Vec::len);
                    ask.list(world, count, |at| {
                        let at = known.as_ref().map_or(at, |known| known[at]);
                        directory::user(tenant, at, &select)
                    })
                }
            }
        }
        ["users", id] => {
            ask.role("User.Read.All")?;
            let at = ask.user(id)?;
            Ok(Reply::json(
                200,
                directory::user(tenant, at, &ask.select(Sort::User)?),
            ))
        }
        ["users", id, "calendar"] => ask.calendar(world, id),
        ["users", id, "calendar", "calendarPermissions"] => {
            ask.calendar_permissions(world, id, None)
        }
        ["users", id, "calendar", "calendarPermissions", one] => {
            ask.calendar_permissions(world, id, Some(one))
        }
        ["subscribedSkus"] => {
            ask.role("LicenseAssignment.Read.All")?;
            let body = json!({
                "@odata.context": format!("{}/v1.0/$metadata#subscribedSkus", ask.base),
                "value": graph_change::products(tenant),
            });
            Ok(Reply::json(200, body))
        }
        ["groups"] => {
            ask.role("GroupMember.Read.All")?;
            let select = ask.select(Sort::Group)?;
            match ask.filtered(Sort::Group)? {
                Some(found) => ask.objects(world, &found, &select),
                None => {
                    let counts = (tenant.groups.seeds(), tenant.groups.len());
                    let known = ask.known(counts, Object::Group);
                    let count = known.as_ref().map_or(counts.1, Vec::len);
                    ask.list(world, count, |at| {
                        let at = known.as_ref().map_or(at, |known| known[at]);
                        directory::group(tenant, at, &select)
                    })
                }
            }
        }
        ["groups", id] => {
            ask.role("GroupMember.Read.All")?;
            Ok(Reply::json(
                200,
                directory::group(tenant, ask.group(id)?, &ask.select(Sort::Group)?),
            ))
        }
        ["groups", id, "members"] => {
            let group = &tenant.groups[ask.group_members(id)?];
            let members = group.members_seen(Place::Graph, ask.now);
            ask.objects(world, &members, &ask.select(Sort::Any)?)
        }
        ["groups", id, "members", "microsoft.graph.user"] => {
            let group = ask.group_members(id)?;
            ask.role("User.Read.All")?;
            ask.need_advanced("The specified cast")?;
            let members = tenant.groups[group].members_seen(Place::Graph, ask.now);
            let users: Vec<usize> = members
                .iter()
                .filter_map(|member| match member {
                    Object::User(at) => Some(*at),
                    _ => None,
                })
                .collect();
            let select = ask.select(Sort::User)?;
            ask.list(world, users.len(), |at| {
                directory::user(tenant, users[at], &select)
            })
        }
        ["groups", id, "transitiveMembers"] => {
            let group = ask.group_members(id)?;
            let members = tenant.transitive_seen(group, Place::Graph, ask.now);
            ask.objects(world, &members.all, &ask.select(Sort::Any)?)
        }
        ["groups", id, "transitiveMembers", "microsoft.graph.user"] => {
            let group = ask.group_members(id)?;
            ask.role("User.Read.All")?;
            ask.need_advanced("The specified cast")?;
            let members = tenant.transitive_seen(group, Place::Graph, ask.now);
            let select = ask.select(Sort::User)?;
            ask.list(world, members.users.len(), |at| {
                directory::user(tenant, members.users[at], &select)
            })
        }
        [first, ..] if service_principal::is_meant(first) => {
            service_principal::answer(world, ask, segments)
        }
        ["directory", "administrativeUnits"] => {
            ask.role("AdministrativeUnit.Read.All")?;
            let select = ask.select(Sort::Unit)?;
            let name = match ask.params.get("$filter") {
                None => None,
                Some(filter) => Some(
                    filter
                        .strip_prefix("displayName")
                        .and_then(directory_filter::quoted)
                        .ok_or_else(|| {
                            Reply::error(
                                400,
                                "Request_UnsupportedQuery",
                                "Unsupported or invalid query filter clause.",
                            )
                        })?,
                ),
            };
            let found: Vec<usize> = (0..tenant.units.len())
                .filter(|at| {
                    name.as_ref()
                        .is_none_or(|name| tenant.units[*at].name.eq_ignore_ascii_case(name))
                })
                .collect();
            ask.list(world, found.len(), |at| {
                directory::unit(tenant, found[at], &select)
            })
        }
        ["directory", "administrativeUnits", id, "members", cast @ ..] => {
            let typed = match cast {
                [] => false,
                ["microsoft.graph.user"] => true,
                _ => return Err(no_such_segment(segments)),
            };
            ask.role("AdministrativeUnit.Read.All")?;
            ask.role("User.Read.All")?;
            let unit = tenant
                .units
                .iter()
                .find(|unit| unit.id.to_string().eq_ignore_ascii_case(id))
                .ok_or_else(|| missing(id))?;
            let select = ask.select(Sort::User)?;
            ask.list(world, unit.members.len(), |at| {
                let user = unit.members[at];
                if typed {
                    directory::user(tenant, user, &select)
                } else {
                    directory::member(tenant, Object::User(user), &select)
                }
            })
        }
        _ => Err(no_such_segment(segments)),
    }
}

/// There is nothing of this path.
pub(crate) fn no_such_segment(segments: &[&str]) -> Reply {
    let path = segments.join("/");
    let text = format!("Resource not found for the segment '{path}'.");
    Reply::error(400, "BadRequest", &text)
}
