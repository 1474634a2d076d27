//! The token endpoint: client credentials by secret or by signed assertion, and people with other devices (`device`).

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::clock::Clock;
use crate::device;
use crate::faults::About;
use crate::password::check;
use crate::query::base;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::world::{Audience, World};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    client_id: String,
    scope: String,
    grant_type: String,
    client_secret: Option<String>,
    client_assertion_type: Option<String>,
    client_assertion: Option<String>,
    username: Option<String>,
    password: Option<String>,
    device_code: Option<String>,
    refresh_token: Option<String>,
}

/// What is given out.
pub(crate) struct Issued {
    pub(crate) access: String,
    /// How many seconds it lives.
    pub(crate) life: u64,
    /// With which another may be asked for.
    pub(crate) refresh: Option<String>,
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    Form(request): Form<Request>,
) -> Reply {
    world.judge.token_request();
    world.judge.front("token");
    if let Some(reply) = world.outage() {
        return reply;
    }
    let about = About {
        kind: "token",
        app: &request.client_id,
    };
    if world.fault("token_unavailable_503", about) {
        return Reply::unavailable();
    }
    if world.fault("token_throttled_429", about) {
        return Reply::throttled(Some(1 + world.dice.below(3)));
    }
    world.work(about).await;
    let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", base(&headers));
    match issue(&world, &tenant, &endpoint, &request) {
        Ok(Issued {
            access,
            life,
            refresh,
        }) => {
            let mut body = json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": access});
            if let Some(refresh) = refresh {
                body["refresh_token"] = refresh.into();
            }
            Reply::json(200, body).with("cache-control", "no-store, no-cache")
        }
        Err(refusal) => {
            world.judge.refused(&format!("AADSTS{}", refusal.code));
            refusal.into()
        }
    }
}

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`: where libraries look before they ask for a token.
pub(crate) async fn discovery(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let Some(tenant) = world.tenant(&name) else {
        return refuse(
            400,
            "invalid_tenant",
            90002,
            format!("Tenant '{name}' not found."),
        )
        .into();
    };
    let (base, id) = (base(&headers), &tenant.id);
    Reply::json(
        200,
        json!({
            "issuer": format!("{base}/{id}/v2.0"),
            "token_endpoint": format!("{base}/{name}/oauth2/v2.0/token"),
            "device_authorization_endpoint": format!("{base}/{name}/oauth2/v2.0/devicecode"),
            "authorization_endpoint": format!("{base}/{name}/oauth2/v2.0/authorize"),
            "jwks_uri": format!("{base}/{name}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }),
    )
}

/// Why nothing is.
pub(crate) struct Refusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

pub(crate) fn refuse(
    status: u16,
    error: &'static str,
    code: u32,
    text: impl Into<String>,
) -> Refusal {
    Refusal {
        status,
        error,
        code,
        text: text.into(),
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let timestamp = Clock::utc()
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap_or_default();
        Self::json(
            refusal.status,
            json!({
                "error": refusal.error,
                "error_description": format!(
                    "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                    refusal.code, refusal.text
                ),
                "error_codes": [refusal.code],
                "timestamp": timestamp,
                "trace_id": trace.to_string(),
                "correlation_id": correlation.to_string(),
                "error_uri": format!("https://login.microsoftonline.com/error?code={}", refusal.code),
            }),
        )
    }
}

fn issue(
    world: &World,
    tenant: &str,
    endpoint: &str,
    request: &Request,
) -> Result<Issued, Refusal> {
    let tenant = organisation(world, tenant)?;
    let (client_id, scope) = (&request.client_id, &request.scope);
    match request.grant_type.as_str() {
        "client_credentials" => {}
        "password" => return by_password(world, tenant, request),
        DEVICE_CODE => {
            let code = request.device_code.as_deref().unwrap_or_default();
            return device::by_code(world, tenant, client_id, scope, code);
        }
        "refresh_token" => {
            let token = request.refresh_token.as_deref().unwrap_or_default();
            return device::by_refresh(world, tenant, client_id, scope, token);
        }
        other => {
            let text = format!("The app requested an unsupported grant type '{other}'.");
            return Err(refuse(400, "unsupported_grant_type", 70003, text));
        }
    }
    let app = application(tenant, client_id)?;
    if scope.contains(' ') {
        return Err(no_scope(scope));
    }
    let audience = audience(scope)?;
    match (&request.client_secret, &request.client_assertion) {
        (Some(secret), None) => {
            let known = app.registration();
            if known.secret.as_ref() == Some(secret) && known.secret_expired {
                let text = format!(
                    "The provided client secret keys for app '{}' are expired.",
                    app.client_id
                );
                return Err(refuse(401, "invalid_client", 7_000_222, text));
            }
            if known.secret.as_ref() != Some(secret) {
                let text = format!(
                    "Invalid client secret provided for app '{}'.",
                    app.client_id
                );
                return Err(refuse(401, "invalid_client", 7_000_215, text));
            }
        }
        (None, Some(assertion)) => {
            if request.client_assertion_type.as_deref() != Some(ASSERTION_TYPE) {
                return Err(refuse(
                    400,
                    "invalid_request",
                    900_144,
                    "client_assertion_type is missing or unknown.",
                ));
            }
            verify(world, app, endpoint, assertion).map_err(|(code, reason)| {
                let text = format!("The client assertion is not valid: {reason}.");
                refuse(401, "invalid_client", code, text)
            })?;
        }
        _ => {
            let text =
                "The request body must contain either 'client_assertion' or 'client_secret'.";
            return Err(refuse(401, "invalid_client", 7_000_218, text));
        }
    }
    let (access, life) = world.issue(tenant, app, audience, None);
    Ok(Issued {
        access,
        life,
        refresh: None,
    })
}

/// The tenant whose endpoint is asked.
pub(crate) fn organisation<'w>(world: &'w World, name: &str) -> Result<&'w Arc<Tenant>, Refusal> {
    if !name.contains('.') && Uuid::parse_str(name).is_err() {
        let text = format!(
            "Specified tenant identifier '{name}' is neither a valid DNS name, nor a valid external domain."
        );
        return Err(refuse(400, "invalid_request", 900_023, text));
    }
    world.tenant(name).ok_or_else(|| {
        let text = format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID."
        );
        refuse(400, "invalid_request", 90002, text)
    })
}

/// The app that is asked for.
pub(crate) fn application<'t>(
    tenant: &'t Tenant,
    client_id: &str,
) -> Result<&'t Arc<App>, Refusal> {
    let app = tenant.apps.get(&client_id.to_lowercase());
    app.ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'.",
            tenant.domain
        );
        refuse(400, "unauthorized_client", 700_016, text)
    })
}

/// Whom a token is asked for, besides what people are asked for with it.
pub(crate) fn audience(scope: &str) -> Result<Audience, Refusal> {
    let mut apis = scope
        .split_whitespace()
        .filter(|one| !["openid", "profile", "offline_access"].contains(one));
    match (apis.next(), apis.next()) {
        (Some("https://graph.microsoft.com/.default"), None) => Ok(Audience::Graph),
        (Some("https://outlook.office365.com/.default"), None) => Ok(Audience::Exchange),
        _ => Err(no_scope(scope)),
    }
}

fn no_scope(scope: &str) -> Refusal {
    let text = format!(
        "The provided request must include a valid 'scope' input parameter, not '{scope}'."
    );
    refuse(400, "invalid_scope", 70011, text)
}

/// A user signs in by password. The token is one of a person's, which no front here takes: it proves the password alone.
fn by_password(world: &World, tenant: &Tenant, request: &Request) -> Result<Issued, Refusal> {
    application(tenant, &request.client_id)?;
    let (Some(name), Some(password)) = (&request.username, &request.password) else {
        let text = "The request body must contain the following parameter: 'username', 'password'.";
        return Err(refuse(400, "invalid_request", 900_144, text));
    };
    check(tenant, name, password)
        .map_err(|why| refuse(400, "invalid_grant", why.code(), why.text()))?;
    Ok(Issued {
        access: URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes()),
        life: world.dials().token_life_secs,
        refresh: None,
    })
}

/// Checks a signed assertion; the error is Entra's code, and what is wrong.
fn verify(
    world: &World,
    app: &App,
    endpoint: &str,
    assertion: &str,
) -> Result<(), (u32, &'static str)> {
    const SIGNATURE: u32 = 700_027;
    let claims = signed_claims(app, assertion).map_err(|reason| (SIGNATURE, reason))?;
    if claims["aud"] != endpoint {
        return Err((700_023, "aud isn't the token endpoint"));
    }
    if claims["iss"] != app.client_id.as_str() || claims["sub"] != app.client_id.as_str() {
        return Err((700_021, "iss and sub aren't the client id"));
    }
    let now = Clock::utc().unix_timestamp();
    let expires = claims["exp"].as_i64().ok_or((700_024, "exp is missing"))?;
    if expires <= now {
        return Err((700_024, "it has expired"));
    }
    if claims["nbf"].as_i64().is_some_and(|from| from > now + 300) {
        return Err((700_024, "it isn't valid yet"));
    }
    let id = claims["jti"]
        .as_str()
        .ok_or((SIGNATURE, "jti is missing"))?;
    if !world.first_use(&format!("{}/{id}", app.client_id), expires, now) {
        return Err((SIGNATURE, "its jti was used before"));
    }
    Ok(())
}

/// The claims of an assertion that the app's certificate signed, by PS256 or the older RS256.
fn signed_claims(app: &App, assertion: &str) -> Result<Value, &'static str> {
    let registered = app
        .registration()
        .certificate
        .ok_or("no certificate is registered")?;
    let (signed, signature) = assertion.rsplit_once('.').ok_or("it isn't a JWT")?;
    let (head, claims) = signed.split_once('.').ok_or("it isn't a JWT")?;
    let (head, claims) = (part(head)?, part(claims)?);
    let algorithm = match head["alg"].as_str() {
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err("alg is neither PS256 nor RS256"),
    };
    let known = if head["x5t#S256"].is_null() {
        head["x5t"] == registered.sha1.as_str()
    } else {
        head["x5t#S256"] == registered.thumbprint.as_str()
    };
    if !known {
        return Err("neither x5t#S256 nor x5t is a registered certificate's");
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| "the signature isn't base64url")?;
    UnparsedPublicKey::new(algorithm, &registered.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the signature doesn't fit")?;
    Ok(claims)
}

fn part(text: &str) -> Result<Value, &'static str> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a part isn't base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "a part isn't JSON")
}
