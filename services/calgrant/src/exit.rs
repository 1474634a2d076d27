//! Exit codes that mean something, and errors for people.

use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Some mailboxes failed, were refused, are unconfirmed, or are not as they are on record.
pub(crate) const SOME_FAILED: u8 = 3;
/// The operation as a whole failed or was cancelled.
pub(crate) const OPERATION_FAILED: u8 = 4;
/// The operation waits for a person to release it.
pub(crate) const HELD: u8 = 6;
/// What was asked is wrong: the message names the field.
const BAD_INPUT: u8 = 2;
/// The api can't be reached, or something behind it is away: worth trying again.
const AWAY: u8 = 5;
/// Anything else.
const OTHER: u8 = 1;

/// Text for `--help`.
pub(crate) const HELP: &str = "Exit codes: 0 all granted (or the command did what it says), 1 internal error, 2 bad input, \
3 some mailboxes failed, were refused, are unconfirmed, differ from what is on record, or were left alone because they do, \
4 the operation failed or was cancelled, 5 the api is away, 6 the operation waits for a person.";

/// Says what went wrong on stderr, and with which code to exit.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    let Some(status) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Status>())
    else {
        eprintln!("calgrant: {error:#}");
        return ExitCode::from(if error.is::<crate::tenant_file::Faults>() {
            BAD_INPUT
        } else {
            OTHER
        });
    };
    let violations = status
        .get_error_details()
        .bad_request()
        .map(|bad| bad.field_violations.clone())
        .unwrap_or_default();
    if violations.is_empty() {
        eprintln!("calgrant: {}", status.message());
    }
    for violation in &violations {
        eprintln!("calgrant: {}: {}", violation.field, violation.description);
    }
    ExitCode::from(match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::Aborted => BAD_INPUT,
        Code::Unavailable | Code::DeadlineExceeded => AWAY,
        _ => OTHER,
    })
}
