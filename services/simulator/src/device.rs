//! People who sign in with another device (RFC 8628, as Entra does it): a code is shown here and entered there, and meanwhile the token
//! endpoint is asked. The person is the simulator's own API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::admin::{bad, read};
use crate::app::App;
use crate::query::base;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::token::{Issued, Refusal, application, audience, organisation, refuse};
use crate::world::World;

/// How long a code can be entered.
const LIFE: Duration = Duration::from_secs(900);
/// How long there is between two questions, at the least.
const INTERVAL: Duration = Duration::from_secs(1);

/// Who is signing in, or has.
#[derive(Debug, Default)]
pub(crate) struct Devices(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the code that the device has.
    waiting: HashMap<String, Waiting>,
    /// By refresh token.
    signed_in: HashMap<String, Person>,
}

#[derive(Debug)]
struct Waiting {
    /// What the person enters.
    user_code: String,
    client_id: String,
    expires: Duration,
    asked: Option<Duration>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone)]
enum Answer {
    /// By this person.
    Approved(String),
    Declined,
}

#[derive(Debug, Clone)]
struct Person {
    name: String,
    client_id: String,
}

impl Devices {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a device asks with.
#[derive(Deserialize)]
pub(crate) struct Asked {
    client_id: String,
    scope: String,
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(crate) async fn begin(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    Form(asked): Form<Asked>,
) -> Reply {
    world.judge.front("token");
    if let Some(reply) = world.outage() {
        return reply;
    }
    let begun = organisation(&world, &tenant).and_then(|tenant| {
        audience(&asked.scope)?;
        application(tenant, &asked.client_id).map(|app| app.client_id.clone())
    });
    let client_id = match begun {
        Ok(client_id) => client_id,
        Err(refusal) => return refusal.into(),
    };
    let device_code = Uuid::new_v4().simple().to_string();
    let user_code = Uuid::new_v4().simple().to_string()[..9].to_uppercase();
    let page = format!("{}/_simulator/device_codes", base(&headers));
    let waiting = Waiting {
        user_code: user_code.clone(),
        client_id,
        expires: world.clock.now() + LIFE,
        asked: None,
        answer: None,
    };
    let mut known = world.devices.known();
    known.waiting.insert(device_code.clone(), waiting);
    Reply::json(
        200,
        json!({
            "device_code": device_code, "user_code": user_code, "verification_uri": page,
            "expires_in": LIFE.as_secs(), "interval": INTERVAL.as_secs(),
            "message": format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."),
        }),
    )
}

/// A device asks whether the person has signed in.
pub(crate) fn by_code(
    world: &World,
    tenant: &Arc<Tenant>,
    client_id: &str,
    scope: &str,
    device_code: &str,
) -> Result<Issued, Refusal> {
    let now = world.clock.now();
    let person = {
        let mut known = world.devices.known();
        let waiting = known.waiting.get_mut(device_code);
        let waiting = waiting.filter(|waiting| waiting.client_id.eq_ignore_ascii_case(client_id));
        let Some(waiting) = waiting else {
            let text = "The device_code isn't known.";
            return Err(refuse(400, "bad_verification_code", 70018, text));
        };
        if waiting.expires <= now {
            let text = "The device_code has expired.";
            return Err(refuse(400, "expired_token", 70020, text));
        }
        let before = waiting.asked.replace(now);
        if before.is_some_and(|before| now < before + INTERVAL) {
            return Err(refuse(400, "slow_down", 70016, "Asked too often."));
        }
        match waiting.answer.clone() {
            None => {
                let text =
                    "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
                return Err(refuse(400, "authorization_pending", 70016, text));
            }
            Some(Answer::Declined) => {
                let text = "User declined to sign in.";
                return Err(refuse(400, "authorization_declined", 65004, text));
            }
            Some(Answer::Approved(name)) => {
                known.waiting.remove(device_code);
                Person {
                    name,
                    client_id: client_id.to_lowercase(),
                }
            }
        }
    };
    issue(world, tenant, person, scope)
}

/// Who has signed in asks for a token of another API.
pub(crate) fn by_refresh(
    world: &World,
    tenant: &Arc<Tenant>,
    client_id: &str,
    scope: &str,
    token: &str,
) -> Result<Issued, Refusal> {
    let person = world.devices.known().signed_in.get(token).cloned();
    let person = person.filter(|person| person.client_id.eq_ignore_ascii_case(client_id));
    let person = person.ok_or_else(|| {
        let text = "The refresh token has expired or is invalid.";
        refuse(400, "invalid_grant", 700_082, text)
    })?;
    issue(world, tenant, person, scope)
}

fn issue(
    world: &World,
    tenant: &Arc<Tenant>,
    person: Person,
    scope: &str,
) -> Result<Issued, Refusal> {
    let app: &Arc<App> = application(tenant, &person.client_id)?;
    if !app.public {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refuse(401, "invalid_client", 7_000_218, text));
    }
    let (access, life) = world.issue(tenant, app, audience(scope)?, Some(&person.name));
    let stays = scope.split_whitespace().any(|one| one == "offline_access");
    let refresh = stays.then(|| {
        let token = format!("0.{}", Uuid::new_v4().simple());
        let mut known = world.devices.known();
        known.signed_in.insert(token.clone(), person);
        token
    });
    Ok(Issued {
        access,
        life,
        refresh,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entered {
    user: String,
    approve: bool,
}

/// `POST /_simulator/device_codes/{user_code}`: a person enters a code.
pub(crate) async fn enter(
    State(world): State<Arc<World>>,
    Path(user_code): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let entered: Entered = read(&body)?;
    if !entered.user.contains('@') {
        return Err(bad(&format!(
            "user: {:?} isn't a user principal name",
            entered.user
        )));
    }
    let mut known = world.devices.known();
    let mut waiting = known.waiting.values_mut();
    let found = waiting.find(|waiting| waiting.user_code.eq_ignore_ascii_case(&user_code));
    let waiting = found.ok_or_else(|| Reply::error(404, "NoSuchCode", &user_code))?;
    waiting.answer = Some(if entered.approve {
        Answer::Approved(entered.user)
    } else {
        Answer::Declined
    });
    Ok(Reply::json(200, json!({})))
}
