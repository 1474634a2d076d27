//! The budgets that accounts have where the tenant file says nothing, and what a preflight says of the budget an account has.

use std::time::Duration;

use crate::{
    AccountSpec, BudgetKey, CallWindow, Finding, Limits, MailboxAccess, OnpremSite,
    OnpremWritePath, ServerTime, SiteKind,
};

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

/// What a server's throttling policy lets an account do; `None`: without limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThrottlingPolicy {
    /// What it is called.
    pub name: String,
    /// Requests over EWS at the same moment.
    pub ews_connections: Option<u64>,
    /// Server time that EWS may use at once.
    pub ews_burst: Option<Duration>,
    /// What of it comes back in an hour.
    pub ews_recharge_per_hour: Option<Duration>,
    /// Sessions of PowerShell at the same moment.
    pub powershell_sessions: Option<u64>,
}

/// Whether an account is held to no more than the server's policy lets it do.
pub fn compared(site: &OnpremSite, account: &AccountSpec, policy: &ThrottlingPolicy) -> Finding {
    let by_ews = site.write_path == OnpremWritePath::Ews;
    let charged = by_ews
        && (site.access == MailboxAccess::FullAccess || site.budget_key == BudgetKey::Caller);
    let (connections, what) = if by_ews {
        (policy.ews_connections, "connections")
    } else {
        (policy.powershell_sessions, "sessions")
    };
    let limits = &account.limits;
    let mut over = Vec::new();
    if connections.is_some_and(|most| u64::from(limits.in_flight) > most) {
        over.push("max_in_flight");
    }
    let more = |ours: Option<Duration>, theirs: Option<Duration>| {
        theirs.is_some_and(|theirs| ours.is_none_or(|ours| ours > theirs))
    };
    let ours = limits.server_time;
    if charged
        && (more(ours.map(|time| time.burst), policy.ews_burst)
            || more(
                ours.map(|time| time.recharge_per_hour),
                policy.ews_recharge_per_hour,
            ))
    {
        over.push("server_time");
    }
    let number =
        |most: Option<u64>| most.map_or("any number of".to_owned(), |most| most.to_string());
    let seconds = |time: Option<Duration>| {
        time.map_or("any".to_owned(), |time| {
            format!("{} s of", time.as_secs_f64())
        })
    };
    let mut lets = format!(
        "the server's policy {} lets it have {} {what}",
        policy.name,
        number(connections)
    );
    if charged {
        lets.push_str(&format!(
            ", {} server time and {} it more an hour",
            seconds(policy.ews_burst),
            seconds(policy.ews_recharge_per_hour)
        ));
    }
    let why = format!("{lets}; it is held to {}", told(SiteKind::Onprem, limits));
    if over.is_empty() {
        return Finding::yes(CAPABILITY, why);
    }
    let todo = format!(
        "lower {} in the tenant file, or give the account a policy that allows it",
        over.join(" and ")
    );
    Finding::no(CAPABILITY, why, todo)
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
    fn what_is_over_the_servers_policy_is_named() {
        let policy = ThrottlingPolicy {
            name: "grantors".to_owned(),
            ews_connections: Some(27),
            ews_burst: Some(Duration::from_secs(300)),
            ews_recharge_per_hour: Some(Duration::from_secs(900)),
            powershell_sessions: Some(18),
        };
        let limits = |in_flight: u32, burst: Option<u64>| Limits {
            in_flight,
            windows: Vec::new(),
            server_time: burst.map(|secs| ServerTime {
                burst: Duration::from_secs(secs),
                ..DEFAULT_SERVER_TIME
            }),
        };
        let site = |write_path, budget_key| OnpremSite {
            write_path,
            ews: None,
            powershell: None,
            access: MailboxAccess::Impersonation,
            budget_key,
            token: None,
            ldap_url: "ldaps://dc1.uni.example".to_owned(),
            ldap_base: None,
            disabled_accounts: crate::DisabledAccounts::Refuse,
            ca_file: None,
        };
        use BudgetKey::{Caller, Target};
        use OnpremWritePath::{Ews, Powershell};
        for (path, key, limits, over) in [
            (Ews, Caller, limits(27, Some(300)), ""),
            (Ews, Caller, limits(28, Some(300)), "max_in_flight"),
            (Ews, Caller, limits(27, Some(301)), "server_time"),
            // Without a limit is more than any.
            (Ews, Caller, limits(27, None), "server_time"),
            (
                Ews,
                Caller,
                limits(30, None),
                "max_in_flight and server_time",
            ),
            // It isn't charged.
            (Ews, Target, limits(27, None), ""),
            (Powershell, Caller, limits(18, None), ""),
            (Powershell, Caller, limits(19, None), "max_in_flight"),
        ] {
            let found = compared(&site(path, key), &account(limits.clone()), &policy);
            let wanted = if over.is_empty() { Held::Yes } else { Held::No };
            assert_eq!(found.held, wanted, "{limits:?} {found:?}");
            assert!(found.todo.contains(over), "{found:?}");
        }
        let free = ThrottlingPolicy {
            name: "free".to_owned(),
            ..ThrottlingPolicy::default()
        };
        let found = compared(&site(Ews, Caller), &account(limits(100, None)), &free);
        assert_eq!(found.held, Held::Yes, "{found:?}");
        assert!(found.why.contains("any number of connections"), "{found:?}");
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
