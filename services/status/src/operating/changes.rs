//! What operators send, checked.

use std::time::Duration;

use calgrant_contract::pb::fleet::v1 as pb;
use calgrant_domain::{AccountName, BadInput, CallWindow, SiteKind, TenantName};
use calgrant_store::AccountChange;

const MOST_WORKERS: u32 = 1000;
const MOST_IN_FLIGHT: u32 = 10_000;
const LONGEST_WINDOW: Duration = Duration::from_secs(86_400);
const LONGEST_REASON: usize = 200;
const MOST_MAILBOXES: u64 = 10_000_000;

/// Which account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tenant: TenantName,
    pub(crate) site: SiteKind,
    pub(crate) account: AccountName,
}

/// Reads which account is meant.
pub(crate) fn place(tenant: &str, site: i32, account: &str) -> Result<Place, Vec<BadInput>> {
    let mut faults = Vec::new();
    let tenant = tenant
        .parse()
        .map_err(|bad: BadInput| faults.push(bad.within("tenant")))
        .ok();
    let site = calgrant_contract::fleet::site_kind("site", site)
        .map_err(|bad| faults.push(bad))
        .ok();
    let account = account
        .parse()
        .map_err(|bad: BadInput| faults.push(bad.within("account")))
        .ok();
    match (tenant, site, account) {
        (Some(tenant), Some(site), Some(account)) => Ok(Place {
            tenant,
            site,
            account,
        }),
        _ => Err(faults),
    }
}

/// Reads a number of workers.
pub(crate) fn scale(request: &pb::ScaleAccountRequest) -> Result<AccountChange, Vec<BadInput>> {
    let workers = request.workers;
    if !(1..=MOST_WORKERS).contains(&workers) {
        return Err(vec![BadInput::new(
            "workers",
            workers,
            "1 to 1,000 mailboxes at the same moment; to stop an account, pause it",
        )]);
    }
    Ok(AccountChange {
        workers: Some(workers),
        ..AccountChange::default()
    })
}

/// Reads a budget.
pub(crate) fn budget(
    request: &pb::SetAccountBudgetRequest,
) -> Result<AccountChange, Vec<BadInput>> {
    let mut faults = Vec::new();
    if let Some(most) = request.max_in_flight
        && !(1..=MOST_IN_FLIGHT).contains(&most)
    {
        faults.push(BadInput::new(
            "max_in_flight",
            most,
            "1 to 10,000 calls at the same moment; to stop an account, pause it",
        ));
    }
    let mut windows: Vec<CallWindow> = Vec::with_capacity(request.windows.len());
    for (at, window) in request.windows.iter().enumerate() {
        let length = Duration::from_millis(window.millis);
        let said = format!("{}/{}", window.calls, length.as_secs_f64());
        let field = format!("windows[{at}]");
        if window.calls == 0 || length.is_zero() || length > LONGEST_WINDOW {
            let why = "at least 1 call in more than 0 seconds and up to a day, such as 100/10; to stop an account, pause it";
            faults.push(BadInput::new(field, said, why));
        } else if windows.iter().any(|other| other.length == length) {
            faults.push(BadInput::new(
                field,
                said,
                "another window has the same length: leave one of them out",
            ));
        } else {
            windows.push(CallWindow {
                calls: window.calls,
                length,
            });
        }
    }
    if request.clear_windows && !request.windows.is_empty() {
        faults.push(BadInput::new(
            "clear_windows",
            true,
            "either windows or none: those given replace what is set anyway",
        ));
    }
    if request.max_in_flight.is_none() && request.windows.is_empty() && !request.clear_windows {
        faults.push(BadInput::missing(
            "max_in_flight",
            "say what to change: max_in_flight, windows or clear_windows",
        ));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(AccountChange {
        workers: None,
        in_flight: request.max_in_flight,
        windows: (request.clear_windows || !windows.is_empty()).then_some(windows),
    })
}

/// Reads why an account is stopped.
pub(crate) fn reason(raw: &str) -> Result<String, Vec<BadInput>> {
    let reason = raw.trim();
    if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let why = "up to 200 printable characters";
        return Err(vec![BadInput::new("reason", raw, why)]);
    }
    Ok(reason.to_owned())
}

/// Reads how many mailboxes are planned, and within what time.
pub(crate) fn planned(
    request: &pb::PlanCapacityRequest,
    now: time::OffsetDateTime,
) -> Result<(u64, Option<Duration>), Vec<BadInput>> {
    let mut faults = Vec::new();
    if !(1..=MOST_MAILBOXES).contains(&request.mailboxes) {
        faults.push(BadInput::new(
            "mailboxes",
            request.mailboxes,
            "1 to 10,000,000 mailboxes",
        ));
    }
    let by = request.by.and_then(|by| {
        let by = time::OffsetDateTime::from_unix_timestamp(by.seconds).ok();
        let within = by.and_then(|by| Duration::try_from(by - now).ok());
        let within = within.filter(|within| !within.is_zero());
        if within.is_none() {
            let said = by.map_or_else(String::new, |by| by.to_string());
            faults.push(BadInput::new("by", said, "a time in the future is needed"));
        }
        within
    });
    if faults.is_empty() {
        Ok((request.mailboxes, by))
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(faults: Vec<BadInput>) -> Vec<(String, String)> {
        faults
            .into_iter()
            .map(|bad| (bad.field, bad.value))
            .collect()
    }

    #[test]
    fn every_fault_names_its_field_and_its_value() {
        let window = |calls, millis| pb::CallWindow { calls, millis };
        let request = pb::SetAccountBudgetRequest {
            max_in_flight: Some(0),
            windows: vec![
                window(0, 10_000),
                window(5, 1000),
                window(6, 1000),
                window(5, 86_400_001),
            ],
            clear_windows: true,
            ..pb::SetAccountBudgetRequest::default()
        };
        let said = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        assert_eq!(
            fields(budget(&request).unwrap_err()),
            [
                said("max_in_flight", "0"),
                said("windows[0]", "0/10"),
                said("windows[2]", "6/1"),
                said("windows[3]", "5/86400.001"),
                said("clear_windows", "true"),
            ]
        );
        let nothing = pb::SetAccountBudgetRequest::default();
        assert_eq!(
            fields(budget(&nothing).unwrap_err()),
            [said("max_in_flight", "")]
        );
        for workers in [0, 1001] {
            let request = pb::ScaleAccountRequest {
                workers,
                ..pb::ScaleAccountRequest::default()
            };
            let faults = fields(scale(&request).unwrap_err());
            assert_eq!(faults, [said("workers", &workers.to_string())]);
        }
        assert_eq!(fields(place("Uni", 9, "").unwrap_err()).len(), 3);
        assert!(reason(&"x".repeat(201)).is_err() && reason(" ok ").unwrap() == "ok");
    }

    #[test]
    fn what_is_left_out_stays() {
        let request = pb::SetAccountBudgetRequest {
            max_in_flight: Some(3),
            ..pb::SetAccountBudgetRequest::default()
        };
        let change = budget(&request).unwrap();
        assert_eq!(
            (change.in_flight, change.windows, change.workers),
            (Some(3), None, None)
        );
        let request = pb::SetAccountBudgetRequest {
            clear_windows: true,
            ..pb::SetAccountBudgetRequest::default()
        };
        assert_eq!(budget(&request).unwrap().windows, Some(Vec::new()));
    }

    #[test]
    fn a_time_that_is_past_is_refused() {
        let now = time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000);
        let by = |seconds| {
            let request = pb::PlanCapacityRequest {
                mailboxes: 5,
                by: Some(calgrant_contract::pb::Timestamp { seconds, nanos: 0 }),
                ..pb::PlanCapacityRequest::default()
            };
            planned(&request, now)
        };
        assert_eq!(by(1060).unwrap().1, Some(Duration::from_secs(60)));
        assert!(by(1000).is_err() && by(10).is_err());
    }
}
