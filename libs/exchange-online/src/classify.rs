//! What an answer means: the servers' error catalogue, classed in one place. Pure.

use calgrant_domain::{Detail, Reason};
use calgrant_exchange::{CallError, Meaning, Scope};
use serde_json::Value;

use crate::http::Reply;

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

/// What the body says went wrong.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// The exception's last segment, else the error's code.
    pub(crate) code: String,
    /// Whether a cmdlet ran and threw: the endpoint itself is there.
    pub(crate) from_cmdlet: bool,
    text: String,
    request_id: String,
}

/// Reads an answer: the value, or what its failure means.
pub(crate) fn classify(reply: &Reply, asked: Asked) -> Result<Value, CallError> {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let fault = body.as_ref().and_then(fault);
    let good = reply.status.is_none_or(|s| (200..300).contains(&s));
    match (good, &fault, body) {
        (true, None, Some(value)) => return Ok(value),
        (true, None, None) if reply.body.is_empty() => return Ok(Value::Null),
        (true, None, None) => {
            return Err(CallError {
                meaning: Meaning::Retry,
                detail: Detail {
                    request_id: reply.request_id.clone(),
                    ..CallError::new(Meaning::Retry, "not_json", "the answer is not JSON").detail
                },
            });
        }
        _ => {}
    }
    let fault = fault.unwrap_or_default();
    let status = reply.status.unwrap_or(400);
    let meaning = meaning(reply, status, &fault, asked);
    let server_code = match (fault.code.is_empty(), reply.diagnostics.split_once(';')) {
        (false, _) => fault.code,
        (true, Some((code, _))) => code.trim().to_owned(),
        (true, None) => format!("HTTP {status}"),
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
    Err(CallError {
        meaning,
        detail: Detail {
            server_code,
            server_text: shortened(text),
            request_id,
        },
    })
}

fn meaning(reply: &Reply, status: u16, fault: &Fault, asked: Asked) -> Meaning {
    let slow_down = |scope| Meaning::WaitUntil {
        scope,
        after: reply.retry_after,
    };
    let code = fault.code.as_str();
    if status == 429
        || matches!(
            code,
            "TooManyRequests" | "ApplicationThrottled" | "activityLimitReached"
        )
    {
        return slow_down(Scope::Account);
    }
    if status == 401 || code == "InvalidAuthenticationToken" {
        return Meaning::SignInAgain;
    }
    if status == 503 && reply.retry_after.is_some() {
        return slow_down(Scope::Site);
    }
    let body = String::from_utf8_lossy(&reply.body);
    if TRANSIENT.iter().any(|word| body.contains(word)) {
        return Meaning::Retry;
    }
    if let Some(known) = known(fault, asked) {
        return known;
    }
    match status {
        500.. | 408 | 300..=399 => Meaning::Retry,
        403 => Meaning::PauseAccount,
        _ => Meaning::GiveUp(Reason::Rejected),
    }
}

/// The catalogue of exceptions and codes.
fn known(fault: &Fault, asked: Asked) -> Option<Meaning> {
    let text = fault.text.to_lowercase();
    if text.contains("sharing policy") {
        return Some(Meaning::GiveUp(Reason::SharingPolicy));
    }
    if text.contains("write scope") {
        return Some(Meaning::GiveUp(Reason::OutOfWriteScope));
    }
    Some(match fault.code.as_str() {
        "UserAlreadyExistsInPermissionEntryException" => Meaning::EntryExists,
        "UserNotFoundInPermissionEntryException" => Meaning::NoEntry,
        "ManagementObjectNotFoundException" => match asked {
            // The folder, or its mailbox: finding the folder again tells which.
            Asked::Folder => Meaning::FolderGone,
            Asked::Mailbox => Meaning::Park,
            Asked::Directory => Meaning::GiveUp(Reason::Rejected),
        },
        "ManagementObjectAmbiguousException" => Meaning::GiveUp(Reason::Ambiguous),
        "InvalidInternalUserIdException" | "InvalidExternalUserIdException" => {
            Meaning::GiveUp(Reason::TrusteeRefused)
        }
        "CannotChangePermissionsOnFolderException" => Meaning::GiveUp(Reason::FolderRefused),
        "CannotRemoveSpecialUserException" | "ErrorIncorrectRoutingHint" => {
            Meaning::GiveUp(Reason::Rejected)
        }
        "MailboxNotEnabledForRESTAPI" | "ErrorInvalidUser" => Meaning::Park,
        _ => return None,
    })
}

/// Reads the `error` of a body, if it has one.
pub(crate) fn fault(body: &Value) -> Option<Fault> {
    let error = body.get("error").filter(|error| !error.is_null())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(code) = error.as_str() {
        return Some(Fault {
            code: code.to_owned(),
            text: text(&body["error_description"]),
            ..Fault::default()
        });
    }
    let inner = error
        .get("innererror")
        .or_else(|| error.get("innerError"))
        .unwrap_or(&Value::Null);
    let mut fault = Fault {
        code: text(&error["code"]),
        text: text(&error["message"]),
        request_id: text(&inner["request-id"]),
        from_cmdlet: false,
    };
    let deeper = [
        &error["details"][0]["message"],
        &inner["internalexception"]["message"],
    ];
    if let Some(message) = deeper
        .into_iter()
        .find_map(|m| m.as_str().filter(|m| !m.is_empty()))
    {
        fault.text = message.to_owned();
        fault.from_cmdlet = true;
    }
    let message = fault.text.clone();
    if let Some((exception, text)) = exception(&message) {
        fault.code = exception;
        fault.text = text;
        fault.from_cmdlet = true;
    }
    Some(fault)
}

/// Splits `id|type|text`, or decodes a proxied exception, which is JSON. Gives the type's last segment.
fn exception(message: &str) -> Option<(String, String)> {
    if message.starts_with('{') {
        let value: Value = serde_json::from_str(message).ok()?;
        let text = value["Message"].as_str().unwrap_or_default();
        if let Some(inner) = exception(text) {
            return Some(inner);
        }
        // The exception that matters is named inside the proxy's text.
        let inner = text
            .split(|c: char| !c.is_alphanumeric() && c != '.')
            .filter_map(|word| word.rsplit('.').next())
            .find(|word| word.len() > "Exception".len() && word.ends_with("Exception"));
        let outer = value["ClassName"].as_str().unwrap_or_default();
        let name = inner.or_else(|| outer.rsplit('.').next())?;
        return Some((name.to_owned(), text.to_owned()));
    }
    let mut parts = message.splitn(3, '|');
    let (_id, kind, text) = (parts.next()?, parts.next()?, parts.next()?);
    let name = kind.trim().rsplit('.').next()?;
    name.ends_with("Exception")
        .then(|| (name.to_owned(), text.to_owned()))
}

/// At most 300 characters, on one line.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 300;
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    if line.chars().count() <= SHOWN {
        return line.to_owned();
    }
    line.chars().take(SHOWN - 1).chain(['…']).collect()
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

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
