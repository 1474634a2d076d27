//! The faults a call can meet, and how often.

use std::sync::PoisonError;

use crate::limiter::Limiter;
use crate::reply::Reply;
use crate::world::World;

/// What a fault can be aimed by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) kind: &'a str,
    /// The client id of the caller; empty while it isn't known.
    pub(crate) app: &'a str,
}

impl<'a> About<'a> {
    pub(crate) fn anybody(kind: &'a str) -> Self {
        Self { kind, app: "" }
    }
}

impl World {
    /// A reply as it arrives: half of it, where that fault happens.
    pub(crate) fn arrives(&self, reply: Reply, call: About<'_>) -> Reply {
        if self.fault("half_response", call) {
            reply.half()
        } else {
            reply
        }
    }

    /// Rolls the dice for a fault of such a call, and counts it when it happens.
    pub(crate) fn fault(&self, name: &str, call: About<'_>) -> bool {
        let fault = {
            let dials = self.dials();
            let Some(fault) = dials.faults.get(name) else {
                return false;
            };
            if fault
                .only
                .as_ref()
                .is_some_and(|only| !call.kind.contains(only.as_str()))
            {
                return false;
            }
            let other = |app: &String| !app.eq_ignore_ascii_case(call.app);
            if fault.app.as_ref().is_some_and(other) {
                return false;
            }
            fault.clone()
        };
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        let count = happened.entry(name.to_owned()).or_default();
        if fault.times.is_some_and(|most| *count >= most) || !self.dice.happens(fault.rate) {
            return false;
        }
        *count += 1;
        drop(happened);
        self.judge.injected(name);
        true
    }

    /// An outage, or a fault that keeps the call from being carried out.
    pub(crate) fn early_fault(&self, account: &Limiter, call: About<'_>) -> Option<Reply> {
        if let Some(reply) = self.outage() {
            return Some(reply);
        }
        if self.fault("throttle_429", call) {
            let secs = 1 + self.dice.below(3);
            account.meter().told(self.clock.now(), secs);
            return Some(Reply::throttled(Some(secs)));
        }
        if self.fault("throttle_no_retry_after", call) {
            return Some(Reply::throttled(None));
        }
        if self.fault("unavailable_503", call) {
            return Some(Reply::unavailable());
        }
        if self.fault("connection_reset", call) {
            return Some(Reply::broken());
        }
        if self.fault("server_error_500", call) {
            return Some(Reply::failed(0));
        }
        if self.fault("gateway_timeout_504", call) {
            return Some(Reply::failed(3));
        }
        if self.fault("token_expired_401", call) {
            let text = "Lifetime validation failed, the token is expired.";
            return Some(Reply::error(401, "InvalidAuthenticationToken", text));
        }
        None
    }
}
