//! The door of servers on premises: who signs in for a connection (Kerberos by Negotiate, NTLM), and bodies that are sealed in
//! what Kerberos has agreed on. Names and passwords that come with each request are looked at behind it.

mod multipart;
mod ntlm;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use calgrant_gssapi::{Context, Credential};

use crate::ews::page;
use crate::onprem::{Identified, Site};
use crate::reply::{Hangup, Reply};
use crate::wire::Cutter;
use crate::world::World;

/// The largest body that is read, in bytes.
const LARGEST: usize = 4 << 20;
const NTLM_MARK: &[u8] = b"NTLMSSP\0";

/// What stands behind the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Ews,
    PowerShell,
}

/// How far a connection has come with signing in.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Kerberos hasn't agreed yet.
    begun: Option<Context>,
    /// Kerberos has.
    agreed: Option<multipart::Agreed>,
    /// NTLM's challenge was sent.
    challenged: Option<ntlm::Challenged>,
    /// Whose requests come on it.
    who: Option<Identified>,
}

/// The keys of a keytab.
pub(crate) fn keys(path: &Path) -> anyhow::Result<Arc<Credential>> {
    let keys = Credential::of_keytab(path)
        .with_context(|| format!("the keytab {} can't be used", path.display()))?;
    Ok(Arc::new(keys))
}

/// What somebody is answered who can't sign in.
pub(crate) fn unauthorised(world: &World, front: Front, reason: &str) -> Reply {
    world.judge.refused(&format!("401 on premises: {reason}"));
    let mut reply = Reply::text(401, "text/html", "");
    if world.keys.is_some() {
        reply = reply.with("www-authenticate", kerberos(world, front));
    }
    if front == Front::Ews {
        reply = reply.with("www-authenticate", "NTLM");
    }
    if any_site(world, |site| !site.without_basic) {
        reply = reply.with("www-authenticate", "Basic realm=\"exchange\"");
    }
    reply
}

fn any_site(world: &World, is_so: impl Fn(&Site) -> bool) -> bool {
    let mut sites = world
        .tenants
        .iter()
        .filter_map(|tenant| tenant.site.as_ref());
    sites.any(is_so)
}

/// The name by which Kerberos is taken: the servers are the same for all tenants.
fn kerberos(world: &World, front: Front) -> &'static str {
    if front == Front::PowerShell && any_site(world, |site| site.kerberos_by_name) {
        "Kerberos"
    } else {
        "Negotiate"
    }
}

/// Lets a request in, as whose it is, and seals its answer if it came sealed.
pub(crate) async fn pass(
    State(world): State<Arc<World>>,
    ConnectInfo(line): ConnectInfo<Cutter>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_ascii_lowercase();
    let front = if path.starts_with("/powershell") {
        Front::PowerShell
    } else {
        Front::Ews
    };
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return Reply::text(413, "text/html", "the body is too long").into_response();
    };
    let said = match negotiated(&world, &line, front, &parts.headers) {
        Ok(said) => said,
        Err(refused) => return refused.into_response(),
    };
    if front == Front::PowerShell && said.proof.is_some() && body.is_empty() {
        return said.with(Reply::text(200, "text/html", "").into_response());
    }
    let plain = match opened(&world, &line, front, &parts.headers, &body) {
        Ok(plain) => plain,
        Err(refused) => return said.with(refused.into_response()),
    };
    let sealed = plain.is_some();
    if sealed {
        let kind = HeaderValue::from_static("application/soap+xml;charset=UTF-8");
        parts.headers.insert(header::CONTENT_TYPE, kind);
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let named = !said.signed_in && parts.headers.contains_key(header::AUTHORIZATION);
    let who = whose(&line, said.signed_in).filter(|_| !named);
    if let Some(who) = who {
        parts.extensions.insert(who);
    }
    let body = Body::from(plain.map_or(body, Bytes::from));
    let response = next.run(Request::from_parts(parts, body)).await;
    let response = said.with(response);
    if sealed {
        return seal(&line, response).await;
    }
    response
}

/// What came of a request's header.
#[derive(Debug, Default)]
struct Said {
    /// It has signed the connection in.
    signed_in: bool,
    /// What proves the server to the client.
    proof: Option<HeaderValue>,
}

impl Said {
    fn with(&self, mut response: Response) -> Response {
        if let Some(proof) = &self.proof {
            let headers = response.headers_mut();
            headers.append(header::WWW_AUTHENTICATE, proof.clone());
        }
        response
    }
}

/// Takes what a request's header says to sign its connection in; other headers say nothing to the door.
fn negotiated(
    world: &World,
    line: &Cutter,
    front: Front,
    headers: &HeaderMap,
) -> Result<Said, Reply> {
    let text = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = text.and_then(|text| text.split_once(' ')) else {
        return Ok(Said::default());
    };
    let known = ["Negotiate", "Kerberos", "NTLM"];
    let Some(scheme) = known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))
    else {
        return Ok(Said::default());
    };
    if let Some(reply) = world.outage() {
        return Err(page(reply));
    }
    let refused = |reason: &str| unauthorised(world, front, reason);
    let token = STANDARD
        .decode(token.trim())
        .map_err(|_| refused("unreadable credentials"))?;
    match (token.starts_with(NTLM_MARK), front, &world.keys) {
        (true, Front::Ews, _) => by_ntlm(world, line, scheme, &token),
        (false, _, Some(keys)) if *scheme == kerberos(world, front) => {
            by_kerberos(world, line, front, keys, &token)
        }
        _ => Err(refused("unknown authentication scheme")),
    }
}

fn by_kerberos(
    world: &World,
    line: &Cutter,
    front: Front,
    keys: &Arc<Credential>,
    token: &[u8],
) -> Result<Said, Reply> {
    let scheme = kerberos(world, front);
    let refused = |reason: &str| unauthorised(world, front, reason);
    let mut standing = line.standing();
    let fresh = || Context::of_service(Arc::clone(keys), line.binding().map(<[u8]>::to_vec));
    let mut context = standing.begun.take().unwrap_or_else(fresh);
    let answer = context.step(token).map_err(|failure| {
        tracing::debug!(%failure, "Kerberos is refused");
        refused("Kerberos: no good ticket")
    })?;
    let header = format!("{scheme} {}", STANDARD.encode(answer));
    if !context.is_complete() {
        standing.begun = Some(context);
        return Err(refused("Kerberos: not yet").with("www-authenticate", header));
    }
    let login = context.peer().unwrap_or_default().to_owned();
    let who = Identified::by_name(world, &login, |_| true).map_err(refused)?;
    *standing = Standing {
        agreed: Some(multipart::Agreed { context, scheme }),
        who: Some(who),
        ..Standing::default()
    };
    Ok(Said {
        signed_in: true,
        proof: HeaderValue::from_str(&header).ok(),
    })
}

fn by_ntlm(world: &World, line: &Cutter, scheme: &str, token: &[u8]) -> Result<Said, Reply> {
    let refused = |reason: &str| unauthorised(world, Front::Ews, reason);
    let mut standing = line.standing();
    if ntlm::is_first(token) {
        let site = world.tenants.iter().find_map(|tenant| tenant.site.as_ref());
        let site = site.ok_or_else(|| refused("no site"))?;
        let challenged = ntlm::Challenged::by(site, token);
        let challenged = challenged.ok_or_else(|| refused("NTLM: an unreadable message"))?;
        let header = format!("{scheme} {}", STANDARD.encode(&challenged.message));
        *standing = Standing {
            challenged: Some(challenged),
            ..Standing::default()
        };
        world.judge.refused("401 on premises: NTLM is challenged");
        return Err(Reply::text(401, "text/html", "").with("www-authenticate", header));
    }
    let challenged = standing.challenged.take();
    let challenged = challenged.ok_or_else(|| refused("NTLM: an answer without a challenge"))?;
    let answer = ntlm::Answer::read(token).ok_or_else(|| refused("NTLM: an unreadable message"))?;
    let proves = |password: &str| match answer.check(&challenged, password, line.binding()) {
        Ok(()) => true,
        Err(why) => {
            tracing::debug!(why, "NTLM is refused");
            false
        }
    };
    let who = Identified::by_name(world, &answer.login(), proves).map_err(refused)?;
    standing.who = Some(who);
    Ok(Said {
        signed_in: true,
        proof: None,
    })
}

/// Whose a request is that came on a connection, `now` meaning that it has itself signed in.
fn whose(line: &Cutter, now: bool) -> Option<Identified> {
    let standing = line.standing();
    let who = standing.who.as_ref()?;
    let site = who.tenant.site.as_ref()?;
    let lasts =
        !site.kerberos_each_request || standing.agreed.is_none() || line.binding().is_none();
    (now || lasts).then(|| who.clone())
}

/// A sealed body, opened; nothing if it isn't sealed.
fn opened(
    world: &World,
    line: &Cutter,
    front: Front,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Vec<u8>>, Reply> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut standing = line.standing();
    let refused = |why: &str| {
        world.judge.refused(&format!("sealing: {why}"));
        Reply::text(400, "text/html", why)
    };
    if kind.to_ascii_lowercase().starts_with("multipart/encrypted") {
        let agreed = standing.agreed.as_mut();
        let agreed = agreed.ok_or_else(|| refused("nobody has signed in by Kerberos"))?;
        return agreed.open(kind, body).map(Some).map_err(refused);
    }
    let must_be = front == Front::PowerShell && line.binding().is_none();
    if must_be && standing.agreed.is_some() && !body.is_empty() {
        return Err(refused("the body came in clear"));
    }
    Ok(None)
}

/// Seals an answer. What isn't SOAP comes from before the server, and stays as it is.
async fn seal(line: &Cutter, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let is_soap = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/soap+xml"));
    if !is_soap || parts.extensions.get::<Hangup>().is_some() {
        return Response::from_parts(parts, body);
    }
    let sealed = to_bytes(body, usize::MAX).await.ok().and_then(|plain| {
        let mut standing = line.standing();
        standing.agreed.as_mut()?.write(&plain).ok()
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    let Some((kind, sealed)) = sealed else {
        // It would have broken off in the middle.
        parts.extensions.insert(Hangup);
        return Response::from_parts(parts, Body::empty());
    };
    let kind = HeaderValue::from_static(kind);
    parts.headers.insert(header::CONTENT_TYPE, kind);
    Response::from_parts(parts, Body::from(sealed))
}
