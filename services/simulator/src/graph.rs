//! The Graph front: users, groups, administrative units and `$batch`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::{Value, json};

use crate::directory::{self, Select, Sort};
use crate::graph_batch;
use crate::query::{BadPage, Params, decode, page_token, read_page_token};
use crate::reply::Reply;
use crate::tenant::Object;
use crate::world::{Audience, Token, World};

const PARAMETERS: [&str; 5] = ["$top", "$skiptoken", "$select", "$filter", "$count"];

/// One GET, from outside or from a batch.
pub(crate) struct Ask {
    pub(crate) token: Token,
    /// Scheme and host for links.
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) params: Params,
    pub(crate) eventual: bool,
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    world.judge.graph_round_trip();
    let work = Arc::clone(&world);
    let task = world
        .tasks
        .spawn(async move { answer(&work, &method, &uri, &headers, &body).await });
    task.await
        .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"))
}

async fn answer(
    world: &Arc<World>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let base = format!("http://{}", text(header::HOST.as_str()).unwrap_or_default());
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
    if method != Method::GET {
        return Reply::error(405, "Request_BadRequest", "this resource is read only");
    }
    world.judge.front("graph");
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
        },
    )
    .await
}

pub(crate) async fn one(world: &World, ask: Ask) -> Reply {
    let segments: Vec<String> = ask
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, false))
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let kind = match segments.as_slice() {
        [first, _, rest @ ..] if *first != "directory" && !rest.is_empty() => {
            format!("GET {first}/…/{}", rest.join("/"))
        }
        [first, _] if *first != "directory" => format!("GET {first}/…"),
        ["directory", "administrativeUnits", _, rest @ ..] => {
            format!("GET administrativeUnits/…/{}", rest.join("/"))
        }
        other => format!("GET {}", other.join("/")),
    };
    world.judge.call(&kind, &ask.token.app.client_id);
    if let Some(fault) = world.early_fault() {
        return fault;
    }
    tokio::time::sleep(world.latency()).await;
    let reply = route(world, &ask, &segments).unwrap_or_else(|refusal| refusal);
    if reply.status == 403 || reply.status == 400 {
        world.judge.refused(&format!("{} {kind}", reply.status));
    }
    reply
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
    match segments {
        ["users"] => {
            ask.role("User.Read.All")?;
            let select = ask.select(Sort::User)?;
            match ask.filtered(Sort::User)? {
                Some(found) => ask.objects(world, &found, &select),
                None => ask.list(world, tenant.users.len(), |at| {
                    directory::user(tenant, at, &select)
                }),
            }
        }
        ["users", id] => {
            ask.role("User.Read.All")?;
            let known = tenant.user(id).filter(|at| {
                let spec = &tenant.users[*at].spec;
                spec.upn.eq_ignore_ascii_case(id) || spec.id.to_string().eq_ignore_ascii_case(id)
            });
            let at = known.ok_or_else(|| missing(id))?;
            Ok(Reply::json(
                200,
                directory::user(tenant, at, &ask.select(Sort::User)?),
            ))
        }
        ["groups"] => {
            ask.role("GroupMember.Read.All")?;
            let select = ask.select(Sort::Group)?;
            match ask.filtered(Sort::Group)? {
                Some(found) => ask.objects(world, &found, &select),
                None => ask.list(world, tenant.groups.len(), |at| {
                    directory::group(tenant, at, &select)
                }),
            }
        }
        ["groups", id] => {
            ask.role("GroupMember.Read.All")?;
            Ok(Reply::json(
                200,
                directory::group(tenant, ask.group(id)?, &ask.select(Sort::Group)?),
            ))
        }
        ["groups", id, "transitiveMembers"] => {
            ask.role("GroupMember.Read.All")?;
            let members = tenant.transitive(ask.group(id)?);
            ask.objects(world, &members.all, &ask.select(Sort::Any)?)
        }
        ["groups", id, "transitiveMembers", "microsoft.graph.user"] => {
            ask.role("GroupMember.Read.All")?;
            ask.role("User.Read.All")?;
            if !ask.advanced() {
                return Err(Reply::error(
                    400,
                    "Request_UnsupportedQuery",
                    "The specified cast needs the header 'ConsistencyLevel: eventual' and $count=true.",
                ));
            }
            let members = tenant.transitive(ask.group(id)?);
            let select = ask.select(Sort::User)?;
            ask.list(world, members.users.len(), |at| {
                directory::user(tenant, members.users[at], &select)
            })
        }
        ["directory", "administrativeUnits"] => {
            ask.role("AdministrativeUnit.Read.All")?;
            let select = ask.select(Sort::Unit)?;
            let name = match ask.params.get("$filter") {
                None => None,
                Some(filter) => Some(
                    filter
                        .strip_prefix("displayName")
                        .and_then(directory::quoted)
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
        [
            "directory",
            "administrativeUnits",
            id,
            "members",
            "microsoft.graph.user",
        ] => {
            ask.role("AdministrativeUnit.Read.All")?;
            ask.role("User.Read.All")?;
            let unit = tenant
                .units
                .iter()
                .find(|unit| unit.id.to_string().eq_ignore_ascii_case(id))
                .ok_or_else(|| missing(id))?;
            let select = ask.select(Sort::User)?;
            ask.list(world, unit.members.len(), |at| {
                directory::user(tenant, unit.members[at], &select)
            })
        }
        _ => Err(Reply::error(
            400,
            "BadRequest",
            &format!(
                "Resource not found for the segment '{}'.",
                segments.join("/")
            ),
        )),
    }
}

fn missing(id: &str) -> Reply {
    let text = format!(
        "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
    );
    Reply::error(404, "Request_ResourceNotFound", &text)
}

impl Ask {
    fn role(&self, role: &str) -> Result<(), Reply> {
        if self.token.app.roles.contains(role) {
            return Ok(());
        }
        Err(Reply::error(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        ))
    }

    fn advanced(&self) -> bool {
        self.eventual && self.params.get("$count") == Some("true")
    }

    fn select(&self, sort: Sort) -> Result<Select, Reply> {
        Select::parse(self.params.get("$select"), sort)
    }

    fn group(&self, id: &str) -> Result<usize, Reply> {
        match self.token.tenant.object(id) {
            Some(Object::Group(at)) if !id.contains('@') => Ok(at),
            _ => Err(missing(id)),
        }
    }

    fn filtered(&self, sort: Sort) -> Result<Option<Vec<Object>>, Reply> {
        let filter = self.params.get("$filter");
        filter
            .map(|text| directory::filter(&self.token.tenant, sort, text, self.advanced()))
            .transpose()
    }

    fn objects(&self, world: &World, found: &[Object], select: &Select) -> Result<Reply, Reply> {
        self.list(world, found.len(), |at| {
            directory::member(&self.token.tenant, found[at], select)
        })
    }

    /// One page of a collection.
    fn list(
        &self,
        world: &World,
        total: usize,
        show: impl Fn(usize) -> Value,
    ) -> Result<Reply, Reply> {
        let bad = |code: &str, text: &str| Reply::error(400, code, text);
        let top = match self.params.get("$top") {
            None => 100,
            Some(text) => text
                .parse()
                .ok()
                .filter(|top| (1..=999).contains(top))
                .ok_or_else(|| {
                    bad(
                        "Request_UnsupportedQuery",
                        "Invalid page size specified: it must be between 1 and 999.",
                    )
                })?,
        };
        let now = world.clock.now();
        let fingerprint = self
            .params
            .fingerprint(&format!("{}{}", self.token.tenant.id, self.path));
        let offset = match self.params.get("$skiptoken") {
            None => 0,
            Some(token) => {
                let life = Duration::from_secs(world.dials().next_link_life_secs);
                read_page_token(token, now, life, fingerprint).map_err(|reason| match reason {
                    BadPage::Foreign => bad(
                        "Request_BadRequest",
                        "The specified skip token isn't valid for this query.",
                    ),
                    BadPage::Expired => bad(
                        "Directory_ExpiredPageToken",
                        "The specified page token has expired.",
                    ),
                })?
            }
        };
        let end = (offset + top).min(total);
        let value: Vec<Value> = (offset.min(end)..end).map(show).collect();
        let mut body = json!({
            "@odata.context": format!("{}/v1.0/$metadata#{}", self.base, self.path.trim_start_matches('/')),
            "value": value,
        });
        if self.advanced() {
            body["@odata.count"] = total.into();
        }
        if end < total {
            let query = self.params.with_token(&page_token(end, now, fingerprint));
            body["@odata.nextLink"] = format!("{}/v1.0{}?{query}", self.base, self.path).into();
        }
        Ok(Reply::json(200, body))
    }
}
