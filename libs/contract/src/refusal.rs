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

/// What was sent is wrong: every fault with its field, its value and what to do.
pub fn bad_input(faults: &[BadInput]) -> Status {
    let mut details = info("BAD_INPUT");
    for fault in faults {
        let shown = if fault.value.is_empty() {
            fault.why.clone()
        } else {
            format!("{:?}: {}", fault.value, fault.why)
        };
        details.add_bad_request_violation(&fault.field, shown);
    }
    let mut text = faults
        .iter()
        .take(10)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    if faults.len() > 10 {
        text.push_str(&format!(
            "\nand {} more; see the details",
            faults.len() - 10
        ));
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
}
