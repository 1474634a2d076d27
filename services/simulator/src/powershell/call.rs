//! One HTTP request to PowerShell remoting, from its arrival to its answer.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, header};

use crate::door::{self, Front};
use crate::ews::page;
use crate::faults::About;
use crate::onprem::{Site, sign_in};
use crate::powershell::session::{Session, load_quota};
use crate::powershell::wsman::{Ask, KIND, SHELL, code, envelope, faulted, read, schema};
use crate::reply::Reply;
use crate::world::World;

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unauthorised(world: &World, reason: &str) -> Reply {
    door::unauthorised(world, Front::PowerShell, reason)
}

pub(crate) async fn handle(
    State(world): State<Arc<World>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    world.judge.onprem_round_trip("powershell");
    if let Some(reply) = world.outage() {
        return page(reply);
    }
    let header = text(&headers, header::AUTHORIZATION);
    let (tenant, account) = match sign_in(&world, &extensions, header) {
        Ok(signed_in) => signed_in,
        Err(reason) => return unauthorised(&world, reason),
    };
    let Some(site) = &tenant.site else {
        return unauthorised(&world, "no site");
    };
    let kind = text(&headers, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.to_lowercase().starts_with("application/soap+xml") {
        world.judge.refused("415 PowerShell");
        return Reply::text(
            415,
            "text/html",
            "Content-Type must be application/soap+xml",
        );
    }
    let asked = str::from_utf8(&body)
        .map_err(|_| schema("The body isn't UTF-8."))
        .and_then(read);
    let ask = match asked {
        Ok(ask) => ask,
        Err(wrong) => {
            world
                .judge
                .refused("PowerShell: no request of WS-Management");
            return faulted(&site.server, "", &wrong);
        }
    };
    let session = Session {
        world: &world,
        tenant: &tenant,
        account: &account,
        site,
        now: world.clock.now(),
    };
    let label = session.label(&ask);
    let about = About {
        kind: &label,
        app: &account.name,
    };
    if let Some(fault) = early_fault(&world, site, &ask, about) {
        return fault;
    }
    let reply = match session.answer(&ask).await {
        Ok((action, body)) => Reply::text(200, KIND, envelope(&action, &ask.message, &body)),
        Err(wrong) => {
            if wrong.code != code::TIMED_OUT {
                world
                    .judge
                    .refused(&format!("PowerShell fault {}", wrong.code));
            }
            faulted(&site.server, &ask.message, &wrong)
        }
    };
    if world.fault("lost_reply", about) {
        return Reply::broken();
    }
    if world.fault("error_after_effect", about) {
        return page(Reply::failed(world.dice.below(4)));
    }
    world.arrives(reply, about)
}

fn early_fault(world: &World, site: &Site, ask: &Ask, about: About<'_>) -> Option<Reply> {
    for (name, way) in [
        ("unavailable_503", 2),
        ("server_error_500", 0),
        ("gateway_timeout_504", 3),
    ] {
        if world.fault(name, about) {
            return Some(page(Reply::failed(way)));
        }
    }
    if world.fault("connection_reset", about) {
        return Some(Reply::broken());
    }
    if world.fault("token_expired_401", about) {
        return Some(unauthorised(world, "injected"));
    }
    let starts = ask.action == format!("{SHELL}/Command");
    if starts && world.fault("throttle_429", about) {
        let quota = load_quota(1, 1, 1 + world.dice.below(3));
        return Some(faulted(&site.server, &ask.message, &quota));
    }
    None
}
