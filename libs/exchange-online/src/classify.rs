//! What an answer means: the servers' error catalogue, classed in one place. Pure.

use calgrant_domain::{Detail, Reason};
use calgrant_exchange::{CallError, Meaning, Scope, one_line};
use serde_json::Value;

use crate::{
    fault::{Fault, fault},
    http::Reply,
};

/// What was asked about: the same error means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A mailbox as a whole.
    Mailbox,
    /// A folder that was found before.
    Folder,
    /// The directory, or several things at once.
    Directory,
}

/// Texts that mean "not now" at any status.
const TRANSIENT: &[&str] = &[
    "CmdletProxyNotAvailableFailure",
    "ServerBusyException",
    "TransientException",
    "BackendCommunicationException",
];

/// What an exception or a code means, whatever the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    SlowDown,
    SignInAgain,
    NotAllowed,
    Retry,
    Park,
    NotFound,
    EntryExists,
    NoEntry,
    GiveUp(Reason),
}

/// The catalogue of exceptions and codes.
const CATALOGUE: &[(&str, Class)] = &[
    // Throttled: nothing was executed.
    ("TooManyRequests", Class::SlowDown),
    ("ApplicationThrottled", Class::SlowDown),
    ("activityLimitReached", Class::SlowDown),
    ("ErrorExceededConnectionCount", Class::SlowDown),
    // The token.
    ("InvalidAuthenticationToken", Class::SignInAgain),
    ("ExpiredAuthenticationToken", Class::SignInAgain),
    ("Unauthorized", Class::SignInAgain),
    // The account's rights.
    ("Authorization_RequestDenied", Class::NotAllowed),
    ("ErrorAccessDenied", Class::NotAllowed),
    ("Forbidden", Class::NotAllowed),
    // The server's troubles, and conflicts with others' writes.
    ("ServiceUnavailable", Class::Retry),
    ("InternalServerError", Class::Retry),
    ("BadGateway", Class::Retry),
    ("GatewayTimeout", Class::Retry),
    ("ErrorServerBusy", Class::Retry),
    ("Request_MultipleObjectsWithSameKeyValue", Class::Retry),
    // A mailbox that isn't ready: just licensed, or being moved.
    ("MailboxNotEnabledForRESTAPI", Class::Park),
    ("ErrorInvalidUser", Class::Park),
    ("ErrorNonExistentMailbox", Class::Park),
    ("ErrorMailboxMoveInProgress", Class::Park),
    ("MailboxInTransitException", Class::Park),
    // Cmdlets.
    ("ManagementObjectNotFoundException", Class::NotFound),
    (
        "UserAlreadyExistsInPermissionEntryException",
        Class::EntryExists,
    ),
    ("MemberAlreadyExistsException", Class::EntryExists),
    ("UserNotFoundInPermissionEntryException", Class::NoEntry),
    (
        "ManagementObjectAmbiguousException",
        Class::GiveUp(Reason::Ambiguous),
    ),
    (
        "InvalidInternalUserIdException",
        Class::GiveUp(Reason::TrusteeRefused),
    ),
    (
        "InvalidExternalUserIdException",
        Class::GiveUp(Reason::TrusteeRefused),
    ),
    (
        "CannotChangePermissionsOnFolderException",
        Class::GiveUp(Reason::FolderRefused),
    ),
    (
        "CannotRemoveSpecialUserException",
        Class::GiveUp(Reason::Rejected),
    ),
    (
        "OperationRequiresWriteScopeException",
        Class::GiveUp(Reason::OutOfWriteScope),
    ),
    ("ErrorIncorrectRoutingHint", Class::GiveUp(Reason::Rejected)),
];

/// Whether an exception or a code has a row of its own.
pub(crate) fn is_catalogued(name: &str) -> bool {
    row(name).is_some() || TRANSIENT.iter().any(|word| name.contains(word))
}

fn row(name: &str) -> Option<Class> {
    let row = CATALOGUE.iter().find(|(known, _)| *known == name);
    row.map(|(_, class)| *class)
}

/// Reads an answer: the value, or what its failure means.
pub(crate) fn classify(reply: Reply, asked: Asked) -> Result<Value, CallError> {
    match failure(&reply, asked) {
        Some(error) => Err(error),
        None => Ok(reply.body.into_value()),
    }
}

/// What the failure means that an answer tells of; `None` if it tells of none.
pub(crate) fn failure(reply: &Reply, asked: Asked) -> Option<CallError> {
    let fault = reply.body.json().and_then(fault);
    let good = reply.status.is_none_or(|s| (200..300).contains(&s));
    if good && fault.is_none() {
        if reply.body.json().is_some() || reply.body.is_empty() {
            return None;
        }
        let mut error = CallError::new(Meaning::Retry, "not_json", "the answer is not JSON");
        error.detail.request_id.clone_from(&reply.request_id);
        return Some(error);
    }
    let said_why = fault.is_some();
    let fault = fault.unwrap_or_default();
    // An error inside a success: the status says nothing about it.
    let status = reply.status.filter(|_| !good);
    let meaning = meaning(reply, status, &fault, said_why, asked);
    let server_code = match (fault.code.is_empty(), reply.diagnostics.split_once(';')) {
        (false, _) => fault.code,
        (true, Some((code, _))) => code.trim().to_owned(),
        (true, None) => format!("HTTP {}", reply.status.unwrap_or(200)),
    };
    let text = if fault.text.is_empty() {
        &reply.diagnostics
    } else {
        &fault.text
    };
    let request_id = if reply.request_id.is_empty() {
        fault.request_id
    } else {
        reply.request_id.clone()
    };
    Some(CallError {
        meaning,
        detail: Detail {
            server_code,
            server_text: one_line(text),
            request_id,
        },
        unanswered: false,
    })
}

fn meaning(
    reply: &Reply,
    status: Option<u16>,
    fault: &Fault,
    said_why: bool,
    asked: Asked,
) -> Meaning {
    let slow_down = |scope| Meaning::WaitUntil {
        scope,
        after: reply.retry_after,
    };
    let class = row(&fault.code);
    if status == Some(429) || class == Some(Class::SlowDown) {
        return slow_down(Scope::Account);
    }
    if status == Some(401) || class == Some(Class::SignInAgain) {
        return Meaning::SignInAgain;
    }
    let named_a_delay = reply.retry_after.is_some();
    if status == Some(503) && named_a_delay {
        return slow_down(Scope::Site);
    }
    if is_transient(reply) {
        return if named_a_delay {
            slow_down(Scope::Site)
        } else {
            Meaning::Retry
        };
    }
    let text = fault.text.to_lowercase();
    if text.contains("sharing policy") {
        return Meaning::GiveUp(Reason::SharingPolicy);
    }
    if text.contains("write scope") {
        return Meaning::GiveUp(Reason::OutOfWriteScope);
    }
    match class {
        Some(Class::EntryExists) => Meaning::EntryExists,
        Some(Class::NoEntry) => Meaning::NoEntry,
        Some(Class::Park) => Meaning::Park,
        Some(Class::GiveUp(reason)) => Meaning::GiveUp(reason),
        Some(Class::NotFound) => match asked {
            // The folder, or its mailbox: finding the folder again tells which.
            Asked::Folder => Meaning::FolderGone,
            Asked::Mailbox => Meaning::Park,
            Asked::Directory => Meaning::GiveUp(Reason::Rejected),
        },
        Some(Class::NotAllowed) => Meaning::PauseAccount,
        Some(Class::Retry) => Meaning::Retry,
        Some(Class::SlowDown | Class::SignInAgain) | None => by_status(status, said_why),
    }
}

/// What a status means that comes without a word we know.
fn by_status(status: Option<u16>, said_why: bool) -> Meaning {
    match status {
        // The account's rights, or the interface isn't there: that is no mailbox's fault.
        Some(403 | 405 | 501) => Meaning::PauseAccount,
        Some(300..=399 | 408 | 409 | 412 | 424 | 425 | 500..) => Meaning::Retry,
        // Nobody says what wasn't found: something between us and the server.
        Some(404) if !said_why => Meaning::Retry,
        _ => Meaning::GiveUp(Reason::Rejected),
    }
}

fn is_transient(reply: &Reply) -> bool {
    let body = reply.body.text();
    TRANSIENT.iter().any(|word| body.contains(word))
}

/// Whether the endpoint isn't there for this account, as opposed to a cmdlet that failed.
pub(crate) fn is_no_endpoint(reply: &Reply) -> bool {
    if !matches!(reply.status, Some(403 | 404 | 405 | 501)) || is_transient(reply) {
        return false;
    }
    let fault = reply.body.json().and_then(fault);
    fault.is_none_or(|fault| {
        !fault.from_cmdlet && row(&fault.code).is_none_or(|class| class == Class::NotAllowed)
    })
}

/// Whether a batch was refused as a batch: its size, or that it is one. Nothing of it was executed.
pub(crate) fn is_no_batch(reply: &Reply) -> bool {
    matches!(reply.status, Some(400 | 404 | 405 | 413 | 501))
        && !is_transient(reply)
        && reply
            .body
            .json()
            .and_then(fault)
            .is_none_or(|fault| row(&fault.code).is_none())
}

/// The objects of an answer: `value`, or a single object that came un-wrapped.
pub(crate) fn rows(answer: Value) -> Vec<Value> {
    match answer {
        Value::Object(mut object) => match object.remove("value") {
            Some(Value::Array(rows)) => rows,
            Some(Value::Null) => Vec::new(),
            Some(single) => vec![single],
            None if object.keys().any(|key| {
                !key.starts_with('@') && !key.contains("@odata") && !key.starts_with("adminapi.")
            }) =>
            {
                vec![Value::Object(object)]
            }
            None => Vec::new(),
        },
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

/// The link to the next page of an answer, if it has one.
pub(crate) fn next_link(answer: &Value) -> Option<&str> {
    let link = answer.get("@odata.nextLink")?.as_str()?;
    (!link.is_empty()).then_some(link)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
