//! Refusals: one way from a fault to a gRPC status with `google.rpc` details.

use std::{collections::HashMap, time::Duration};

use calgrant_domain::BadInput;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every [`tonic_types::ErrorInfo`] of ours.
pub const DOMAIN: &str = "calgrant";

fn info(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

/// Bytes of faults that an answer holds: a refusal travels in HTTP headers, of which Java's gRPC takes 8 KiB by default, and
/// the message and the details, in Base64, both hold the text.
const ROOM: usize = 1500;

/// What was sent is wrong: every fault with its field, its value and what to do; as many as an answer can hold, and
/// how many more there are.
pub fn bad_input(faults: &[BadInput]) -> Status {
    bad_input_and_more(faults, 0)
}

/// The same, with so many more faults that were counted and not kept.
pub fn bad_input_and_more(faults: &[BadInput], more: usize) -> Status {
    let mut details = info("BAD_INPUT");
    let (mut text, mut named) = (String::new(), 0);
    for fault in faults {
        let line = fault.to_string();
        if named > 0 && text.len() + line.len() > ROOM {
            break;
        }
        if named > 0 {
            text.push('\n');
        }
        text.push_str(&line);
        let shown = if fault.value.is_empty() {
            fault.why.clone()
        } else {
            format!("{:?}: {}", fault.value, fault.why)
        };
        details.add_bad_request_violation(&fault.field, shown);
        named += 1;
    }
    let left = faults.len() - named + more;
    if left > 0 {
        let more = format!("and {left} further faults, for which an answer has no room");
        text.push_str(&format!("\n{more}"));
        let last = faults.last().map(|fault| fault.field.as_str());
        let outer = last
            .and_then(|field| field.split('[').next())
            .unwrap_or_default();
        details.add_bad_request_violation(outer, more);
    }
    Status::with_error_details(Code::InvalidArgument, text, details)
}

/// There is nothing of this name: `field` holds `value`.
pub fn not_found(field: &str, value: &str, why: &str) -> Status {
    let mut details = info("NOT_FOUND");
    details.add_bad_request_violation(field, format!("{value:?}: {why}"));
    Status::with_error_details(
        Code::NotFound,
        format!("{field}: {value:?}: {why}"),
        details,
    )
}

/// The same `request_id` came with another request.
pub fn reused_request_id(request_id: &str, operation: &str) -> Status {
    let why = format!(
        "another request was sent with it, which became {operation}; use a new request_id for a new request"
    );
    let mut details = info("REQUEST_ID_REUSED");
    details.add_bad_request_violation("request_id", format!("{request_id:?}: {why}"));
    Status::with_error_details(
        Code::AlreadyExists,
        format!("request_id: {request_id:?}: {why}"),
        details,
    )
}

/// It doesn't fit the present state; `reason` is in capitals with underscores.
pub fn precondition(reason: &str, why: &str) -> Status {
    Status::with_error_details(Code::FailedPrecondition, why, info(reason))
}

/// What was read before has changed meanwhile.
pub fn aborted(why: &str) -> Status {
    Status::with_error_details(Code::Aborted, why, info("CHANGED_MEANWHILE"))
}

/// The number to resume from has been pruned.
pub fn out_of_range(field: &str, why: &str) -> Status {
    let mut details = info("PRUNED");
    details.add_bad_request_violation(field, why);
    Status::with_error_details(Code::OutOfRange, format!("{field}: {why}"), details)
}

/// Something we depend on is away; it is worth trying again after `retry`.
pub fn unavailable(why: &str, retry: Duration) -> Status {
    let mut details = info("UNAVAILABLE");
    details.set_retry_info(Some(retry));
    Status::with_error_details(Code::Unavailable, why, details)
}

/// The method isn't served here.
pub fn unimplemented(why: &str) -> Status {
    Status::with_error_details(Code::Unimplemented, why, info("NOT_SERVED_HERE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_in_the_details() {
        let status = bad_input(&[
            BadInput::new("role", "Autor", "use Author"),
            BadInput::missing("tenant", "name it"),
        ]);
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|violation| violation.field.clone())
            .collect();
        assert_eq!(fields, ["role", "tenant"]);
        assert_eq!(details.error_info().unwrap().domain, DOMAIN);
        assert!(status.message().contains("use Author"));
    }

    #[test]
    fn what_has_no_room_in_headers_is_counted() {
        let faults: Vec<_> = (1..=1000)
            .map(|line| BadInput::new(format!("lines[{line}]"), "x", "write it as local@domain"))
            .collect();
        let status = bad_input(&faults);
        let headers = status.clone().into_http::<()>().headers().clone();
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(size < 8192, "{size}");
        let violations = status.get_error_details().bad_request().unwrap().clone();
        let last = violations.field_violations.last().unwrap();
        assert_eq!(last.field, "lines");
        let named = violations.field_violations.len() - 1;
        assert!(named > 20, "{named}");
        assert!(last.description.contains(&(1000 - named).to_string()));
    }
}
