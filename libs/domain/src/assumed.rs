//! The budgets that accounts have where the tenant file says nothing, and what a preflight says of the budget an account has.

use std::time::Duration;

use crate::{AccountSpec, CallWindow, Finding, Limits, ServerTime, SiteKind};

/// Calls in flight of an account online.
pub const DEFAULT_IN_FLIGHT: u32 = 4;
/// As Exchange's documentation advises for EWS; a server lets an account have 27 connections, or 18 sessions of PowerShell.
pub const DEFAULT_IN_FLIGHT_ONPREM: u32 = 10;
/// `EWSMaxBurst` and `EWSRechargeRate` of a server's default throttling policy.
pub const DEFAULT_SERVER_TIME: ServerTime = ServerTime {
    burst: Duration::from_secs(300),
    recharge_per_hour: Duration::from_secs(900),
    floor: Duration::ZERO,
};

/// The capability under which the budget is told.
const CAPABILITY: &str = "budget policy found";

/// Which limits an account is held to, and where each is from. A number that is also the default may have been written all the same: a
/// tenant doesn't keep which.
pub fn assumed(kind: SiteKind, account: &AccountSpec) -> Finding {
    let limits = told(kind, &account.limits);
    match kind {
        SiteKind::Online => Finding::yes(CAPABILITY, limits),
        SiteKind::Onprem => Finding {
            todo: format!(
                "compare with what Get-ThrottlingPolicyAssociation and Get-ThrottlingPolicy say of {}",
                account.user
            ),
            ..Finding::unknown(
                CAPABILITY,
                format!("the server's policy wasn't read; {limits}"),
            )
        },
    }
}

fn told(kind: SiteKind, limits: &Limits) -> String {
    let in_flight = match kind {
        SiteKind::Online => DEFAULT_IN_FLIGHT,
        SiteKind::Onprem => DEFAULT_IN_FLIGHT_ONPREM,
    };
    let mut parts = vec![format!(
        "{} calls in flight ({})",
        limits.in_flight,
        source(limits.in_flight == in_flight)
    )];
    parts.extend(limits.windows.iter().map(|CallWindow { calls, length }| {
        let secs = length.as_secs_f64();
        format!("{calls} calls in {secs} s ({})", source(false))
    }));
    if let Some(time) = limits.server_time {
        parts.push(format!(
            "{} s of server time and {} s more an hour ({})",
            time.burst.as_secs_f64(),
            time.recharge_per_hour.as_secs_f64(),
            source(time == DEFAULT_SERVER_TIME)
        ));
    }
    parts.join(", ")
}

fn source(is_default: bool) -> &'static str {
    if is_default {
        "the default"
    } else {
        "told by the tenant file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Held, account::sample};

    fn account(limits: Limits) -> AccountSpec {
        AccountSpec { limits, ..sample() }
    }

    #[test]
    fn each_limit_is_told_with_where_it_is_from() {
        let window = CallWindow {
            calls: 600,
            length: Duration::from_secs(10),
        };
        let scarce = ServerTime {
            burst: Duration::from_secs(60),
            ..DEFAULT_SERVER_TIME
        };
        for (kind, in_flight, windows, server_time, why) in [
            (
                SiteKind::Online,
                4,
                vec![],
                None,
                "4 calls in flight (the default)",
            ),
            (
                SiteKind::Online,
                10,
                vec![window],
                None,
                "10 calls in flight (told by the tenant file), 600 calls in 10 s (told by the tenant file)",
            ),
            (
                SiteKind::Onprem,
                10,
                vec![],
                Some(DEFAULT_SERVER_TIME),
                "the server's policy wasn't read; 10 calls in flight (the default), \
                 300 s of server time and 900 s more an hour (the default)",
            ),
            (
                SiteKind::Onprem,
                4,
                vec![],
                Some(scarce),
                "the server's policy wasn't read; 4 calls in flight (told by the tenant file), \
                 60 s of server time and 900 s more an hour (told by the tenant file)",
            ),
        ] {
            let limits = Limits {
                in_flight,
                windows,
                server_time,
            };
            let found = assumed(kind, &account(limits));
            assert_eq!(found.why, why);
            let wanted = match kind {
                SiteKind::Online => Held::Yes,
                SiteKind::Onprem => Held::Unknown,
            };
            assert_eq!(found.held, wanted, "{why}");
            assert_eq!(found.todo.contains("UNI\\sa-1"), wanted == Held::Unknown);
        }
    }
}
