//! Every call passes here as it arrives: it is counted, and takes its place under every limit it is charged to.

use crate::limiter::Flight;
use crate::meter::Refusal;
use crate::reply::Reply;
use crate::world::{Audience, Token, World};

/// Lets a call of this kind in. `target` is the user whose mailbox it is about.
///
/// # Errors
/// The answer of a call that is over a limit.
pub(crate) fn admit(
    world: &World,
    token: &Token,
    family: Audience,
    kind: &str,
    target: Option<usize>,
) -> Result<Flight, Reply> {
    let (app, tenant) = (&token.app, &token.tenant);
    world.judge.call(kind, &app.client_id);
    let (account, all, targets, caller) = match family {
        Audience::Exchange => (&app.exchange, &tenant.exchange, &tenant.exchange_targets, 0),
        Audience::Graph => (&app.graph, &tenant.graph, &tenant.graph_targets, app.number),
    };
    let target = target.and_then(|user| targets.of((user, caller), &world.clock));
    let keys = [account, all].map(std::sync::Arc::clone);
    Flight::start(&world.clock, keys.into_iter().chain(target)).map_err(|refusal| {
        if refusal.scope.starts_with("mailbox") {
            targets.note_refused();
        }
        let at_ms = world.clock.now().as_millis();
        world.judge.violation(&app.client_id, &refusal.limit, at_ms);
        refused(token, family, &refusal)
    })
}

/// 429, with the scope where the limit is one that is told of.
fn refused(token: &Token, family: Audience, refusal: &Refusal) -> Reply {
    let of_mailbox = refusal.scope.starts_with("mailbox");
    let reply = if of_mailbox && family == Audience::Graph {
        let text = "Application is over its MailboxConcurrency limit.";
        Reply::error(429, "ApplicationThrottled", text).retry_after(refusal.retry_after)
    } else {
        Reply::throttled(refusal.retry_after)
    };
    if refusal.hidden {
        return reply;
    }
    let (app, tenant) = (&token.app.client_id, &token.tenant.id);
    let scope = if of_mailbox {
        format!("Mailbox/ReadWrite/{app}/{tenant}")
    } else if refusal.scope.starts_with("tenant") {
        format!("Tenant/ReadWrite//{tenant}")
    } else {
        format!("Tenant_Application/ReadWrite/{app}/{tenant}")
    };
    reply.with("x-ms-throttle-scope", scope)
}
