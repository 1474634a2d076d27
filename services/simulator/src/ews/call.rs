//! One HTTP request to EWS, from its arrival to its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, header};

use crate::calendar::Principal;
use crate::door::{self, Front};
use crate::ews::access::Session;
use crate::ews::envelope::{self, Request};
use crate::ews::error::EwsError;
use crate::faults::About;
use crate::onprem::{Account, BudgetOf, Key, Overload, Site, SiteClock, Work, sign_in};
use crate::reply::{Content, Reply};
use crate::tenant::{Object, Tenant};
use crate::world::World;

const XML: &str = "text/xml; charset=utf-8";
/// How long the parts of one request are worked on, in the site's time.
const BATCH_LIMIT: Duration = Duration::from_secs(60);

/// `GET` on the endpoint.
pub(crate) async fn get() -> Reply {
    Reply::text(405, "text/html", "EWS takes POST.").with("allow", "POST")
}

fn soap(status: u16, text: String) -> Reply {
    Reply::text(status, XML, text)
}

fn fault(error: &EwsError) -> Reply {
    soap(500, envelope::faulted(&error.fault()))
}

/// What everybody is answered during an outage. Servers on premises don't know 429: they say that they are busy.
fn outage(world: &World) -> Option<Reply> {
    let reply = world.outage()?;
    if reply.status != 429 {
        return Some(page(reply));
    }
    let told = reply
        .headers
        .iter()
        .find(|(name, _)| *name == "retry-after");
    let secs = told.and_then(|(_, secs)| secs.parse().ok());
    Some(fault(&EwsError::busy(secs.map(Duration::from_secs))))
}

/// What a server answers that has nothing of SOAP left: the status stays, and a page says it.
pub(crate) fn page(mut reply: Reply) -> Reply {
    if reply.status == 429 {
        reply = Reply::unavailable();
    }
    if !matches!(reply.content, Content::Broken) {
        let text = format!("<html><body><h1>{}</h1></body></html>", reply.status);
        reply.content = Content::Text("text/html", text);
    }
    reply
}

/// What somebody is answered who can't sign in.
fn unauthorised(world: &World, reason: &str) -> Reply {
    door::unauthorised(world, Front::Ews, reason)
}

/// A call that has been let in.
struct Started {
    tenant: Arc<Tenant>,
    account: Arc<Account>,
    request: Request,
    kind: String,
    acting: usize,
    clock: SiteClock,
    work: Work,
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    world.judge.onprem_round_trip("ews");
    if let Some(reply) = outage(&world) {
        return reply;
    }
    let started = match begin(&world, &extensions, &headers, &body) {
        Ok(started) => started,
        Err(refused) => return refused,
    };
    let (kind, app) = (started.kind.clone(), started.account.name.clone());
    let work = Arc::clone(&world);
    let reply = world
        .to_its_end(async move { finish(&work, started).await })
        .await
        .unwrap_or_else(|| Reply::text(500, "text/html", "the simulator failed"));
    let about = About {
        kind: &kind,
        app: &app,
    };
    world.arrives(reply, about)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Judges a call at the moment it arrives; `Err` is its answer.
fn begin(
    world: &World,
    extensions: &Extensions,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Started, Reply> {
    let (tenant, account) = sign_in(world, extensions, text(headers, header::AUTHORIZATION))
        .map_err(|reason| unauthorised(world, reason))?;
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.to_lowercase().starts_with("text/xml") {
        world.judge.refused("415 EWS");
        return Err(Reply::text(
            415,
            "text/html",
            "Content-Type must be text/xml",
        ));
    }
    let refused = |reason: &str, fault: &str| {
        world.judge.refused(&format!("EWS {reason}"));
        soap(500, envelope::faulted(fault))
    };
    let text =
        str::from_utf8(body).map_err(|_| Reply::text(400, "text/html", "the body isn't UTF-8"))?;
    let request = envelope::read(text.trim_start_matches('\u{feff}'))
        .map_err(|wrong| refused(wrong.reason, &wrong.fault))?;
    let kind = format!("EWS {}", request.operation.name);
    world.judge.call(&kind, &account.name);
    let Some(site) = &tenant.site else {
        return Err(unauthorised(world, "no site"));
    };
    let clock = site.clock(world);
    let acting = acting(world, &tenant, &account, &request);
    let key = match (&acting, site.impersonation_budget) {
        (Ok(acting), BudgetOf::Target) if request.acting_as.is_some() => {
            site.target(*acting, clock.now())
        }
        _ => Arc::clone(&account.ews),
    };
    let work = admit(world, site, &clock, &account, &key)?;
    let acting = acting.map_err(|error| refused(error.code, &error.fault()))?;
    Ok(Started {
        tenant,
        account,
        request,
        kind,
        acting,
        clock,
        work,
    })
}

fn admit(
    world: &World,
    site: &Site,
    clock: &SiteClock,
    account: &Account,
    key: &Arc<Key>,
) -> Result<Work, Reply> {
    Work::start(clock, key).map_err(|overload| {
        let (limit, overload) = match overload {
            Overload::Connections(most) => (format!("EWSMaxConcurrency: {most}"), overload),
            Overload::Busy(wait) => (
                "EWSCutoffBalance".to_owned(),
                Overload::Busy(clock.for_client(wait)),
            ),
        };
        let at_ms = world.clock.now().as_millis();
        world.judge.violation(&account.name, &limit, at_ms);
        let policy = &account.rights().policy.name;
        let error = EwsError::overload(overload, policy);
        world.judge.refused(&format!("EWS {}", error.code));
        fault(&error).with("x-feserver", site.server.clone())
    })
}

/// The user whose rights count.
fn acting(
    world: &World,
    tenant: &Tenant,
    account: &Account,
    request: &Request,
) -> Result<usize, EwsError> {
    let Some((sort, name)) = &request.acting_as else {
        return Ok(account.user);
    };
    let rights = account.rights();
    if rights.impersonation.is_empty() {
        return Err(EwsError::new(
            "ErrorImpersonationDenied",
            "The account does not have permission to impersonate users.",
        ));
    }
    let user = match sort.as_str() {
        "SID" => match tenant.by_sid(name) {
            Some(Principal::User(at)) => Some(at),
            _ => {
                return Err(EwsError::new(
                    "ErrorInvalidUserSid",
                    "The user SID is invalid or isn't known.",
                ));
            }
        },
        "PrincipalName" => {
            let is = |at: &usize| tenant.users[*at].spec.upn.eq_ignore_ascii_case(name);
            Some(tenant.user(name).filter(is).ok_or_else(|| {
                EwsError::new(
                    "ErrorInvalidUserPrincipalName",
                    "The user principal name (UPN) isn't valid.",
                )
            })?)
        }
        _ => match tenant.by_address(name) {
            Some(Object::User(at)) => Some(at),
            _ => None,
        },
    };
    let user = user.ok_or_else(|| EwsError::no_mailbox(name))?;
    if !rights.impersonation.holds(tenant, user) {
        return Err(EwsError::new(
            "ErrorImpersonateUserDenied",
            "The account does not have permission to impersonate the requested user.",
        ));
    }
    let here = tenant.users[user].mailbox_at(crate::user::Side::OnPremises);
    let there = here.is_some_and(|mailbox| mailbox.is_there(world.clock.now()));
    if there {
        Ok(user)
    } else {
        Err(EwsError::no_mailbox(name))
    }
}

/// An outage, or a fault that keeps the call from being carried out.
fn early_fault(world: &World, about: About<'_>) -> Option<Reply> {
    if let Some(reply) = outage(world) {
        return Some(reply);
    }
    if world.fault("throttle_429", about) {
        let wait = Duration::from_secs(1 + world.dice.below(3));
        return Some(fault(&EwsError::busy(Some(wait))));
    }
    if world.fault("throttle_no_retry_after", about) {
        return Some(fault(&EwsError::busy(None)));
    }
    if world.fault("unavailable_503", about) {
        return Some(page(Reply::unavailable()));
    }
    if world.fault("connection_reset", about) {
        return Some(Reply::broken());
    }
    if world.fault("server_error_500", about) {
        return Some(fault(&internal()));
    }
    if world.fault("gateway_timeout_504", about) {
        return Some(page(Reply::failed(3)));
    }
    if world.fault("token_expired_401", about) {
        return Some(unauthorised(world, "injected"));
    }
    if world.fault("html_error_page", about) {
        let text =
            "<html><head><title>Server Error in '/EWS' Application.</title></head><body/></html>";
        return Some(Reply::text(500, "text/html; charset=utf-8", text));
    }
    None
}

fn internal() -> EwsError {
    EwsError::new(
        "ErrorInternalServerError",
        "An internal server error occurred. The operation failed.",
    )
}

async fn finish(world: &World, call: Started) -> Reply {
    let dials = world.dials();
    let about = About {
        kind: &call.kind,
        app: &call.account.name,
    };
    let slow = if world.fault("slow_call", about) {
        dials.slow_call_ms
    } else {
        0
    };
    let jitter = world.dice.below(dials.latency_jitter_ms + 1);
    call.clock
        .pass(Duration::from_millis(dials.ews_latency_ms + jitter + slow))
        .await;
    if let Some(fault) = early_fault(world, about) {
        call.work.finish().await;
        return fault;
    }
    let session = Session {
        world,
        tenant: &call.tenant,
        account: &call.account,
        rights: call.account.rights(),
        acting: call.acting,
        impersonating: call.request.acting_as.is_some(),
        kind: &call.kind,
    };
    let operation = call.request.operation;
    let mut messages = String::new();
    let each = Duration::from_millis(dials.ews_item_latency_ms);
    for (number, part) in operation.parts(&call.request.body).iter().enumerate() {
        call.clock.pass(each).await;
        let over = if number == 0 {
            Ok(())
        } else {
            call.work.check()
        };
        let done = if let Err(wait) = over {
            Err(EwsError::busy(Some(call.clock.for_client(wait))))
        } else if call.work.lasted() > BATCH_LIMIT {
            Err(EwsError::new(
                "ErrorTimeoutExpired",
                "The operation has timed out.",
            ))
        } else if world.fault("hidden_server_busy", about) {
            Err(internal().value("InnerErrorResponseCode", "ErrorServerBusy"))
        } else {
            operation.run(&session, &call.request.body, part)
        };
        if let Err(error) = &done {
            world.judge.refused(&format!("EWS {}", error.code));
        }
        messages.push_str(&operation.message(&done));
    }
    call.work.finish().await;
    if world.fault("lost_reply", about) {
        return Reply::broken();
    }
    if operation.writes && world.fault("error_after_effect", about) {
        let error = EwsError::new(
            "ErrorInternalServerTransientError",
            "An internal server error occurred. Try again later.",
        );
        return fault(&error);
    }
    soap(200, envelope::answer(operation, &messages))
}
