//! What errors of cmdlets and of sessions mean: the catalogue. Pure.

use std::time::Duration;

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, Meaning, Scope, one_line};

use super::{Nonsense, pipeline::ErrorRecord, wsman::Fault};
use crate::transport::http::bounded;

/// What an error is about: the same one means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A mailbox as a whole.
    Mailbox,
    /// A folder that was found before.
    Folder,
}

/// Sessions are refused for this long, after which ones that were left behind may have ended.
const SHELLS_WAIT: Duration = Duration::from_secs(30);

/// Exceptions by their short names.
pub(super) const CATALOGUE: &[(&str, Meaning)] = &[
    (
        "UserAlreadyExistsInPermissionEntryException",
        Meaning::EntryExists,
    ),
    ("UserNotFoundInPermissionEntryException", Meaning::NoEntry),
    (
        "ManagementObjectAmbiguousException",
        Meaning::GiveUp(Reason::Ambiguous),
    ),
    (
        "InvalidInternalUserIdException",
        Meaning::GiveUp(Reason::TrusteeRefused),
    ),
    (
        "InvalidExternalUserIdException",
        Meaning::GiveUp(Reason::TrusteeRefused),
    ),
    (
        "CannotChangePermissionsOnFolderException",
        Meaning::GiveUp(Reason::FolderRefused),
    ),
    (
        "CannotRemoveSpecialUserException",
        Meaning::GiveUp(Reason::Rejected),
    ),
    (
        "OperationRequiresWriteScopeException",
        Meaning::GiveUp(Reason::OutOfWriteScope),
    ),
    // Being moved.
    ("MailboxInTransitException", Meaning::Park),
    ("MailboxInSiteFailoverException", Meaning::Retry),
    ("MailboxOfflineException", Meaning::Retry),
    ("MailboxUnavailableException", Meaning::Retry),
    ("ServerBusyException", Meaning::Retry),
    ("TransientException", Meaning::Retry),
    ("BackendCommunicationException", Meaning::Retry),
    ("CmdletProxyNotAvailableFailure", Meaning::Retry),
    ("DataSourceOperationException", Meaning::Retry),
    ("PipelineStoppedException", Meaning::Retry),
    // The cmdlet, or a parameter of it, isn't in the account's role.
    ("CommandNotFoundException", Meaning::PauseAccount),
    ("ParameterBindingException", Meaning::PauseAccount),
    ("RemotePowerShellNotEnabledException", Meaning::PauseAccount),
    ("CmdletAccessDeniedException", Meaning::PauseAccount),
    // We speak what such sessions don't.
    ("ScriptRequiresException", Meaning::GiveUp(Reason::Rejected)),
];

/// Classes the error of a cmdlet.
pub(super) fn record(error: &ErrorRecord, asked: Asked) -> CallError {
    let text = error.text.to_lowercase();
    let row = CATALOGUE.iter().find(|(known, _)| *known == error.reason);
    let meaning = if let Some(meaning) = by_text(&error.text) {
        meaning
    } else if text.contains("sharing policy") {
        Meaning::GiveUp(Reason::SharingPolicy)
    } else if text.contains("write scope") {
        Meaning::GiveUp(Reason::OutOfWriteScope)
    } else if error.reason == "ManagementObjectNotFoundException" {
        match asked {
            Asked::Mailbox => Meaning::Park,
            // The folder, or its mailbox: finding the folder again tells which.
            Asked::Folder => Meaning::FolderGone,
        }
    } else if let Some((_, meaning)) = row {
        meaning.clone()
    } else if error.reason.ends_with("TransientException") {
        Meaning::Retry
    } else {
        Meaning::GiveUp(Reason::Rejected)
    };
    let code = if error.reason.is_empty() {
        "cmdlet_error".to_owned()
    } else {
        error.reason.chars().take(80).collect()
    };
    let mut classed = CallError::new(meaning, code, one_line(&error.text));
    classed.detail.request_id = error.request_id.chars().take(80).collect();
    classed
}

/// Classes a refusal by `WSMan`.
pub(super) fn fault(fault: &Fault) -> CallError {
    let meaning = by_text(&fault.text).unwrap_or(match fault.code.as_str() {
        // Access is denied: remote PowerShell isn't allowed, or there is no role. Or another kind of session lives at
        // this address.
        "5" | "AccessDenied" | "2150858811" => Meaning::PauseAccount,
        // No such shell (any more), and all else that a new session may mend.
        _ => Meaning::Retry,
    });
    CallError::new(meaning, fault.code.clone(), one_line(&fault.text))
}

/// Classes a text that came without a code.
pub(super) fn text(text: &str, code: &'static str) -> CallError {
    CallError::new(
        by_text(text).unwrap_or(Meaning::Retry),
        code,
        one_line(text),
    )
}

/// An answer that isn't one.
pub(super) fn nonsense(error: &Nonsense) -> CallError {
    CallError::new(
        Meaning::Retry,
        "unexpected_answer",
        one_line(&error.to_string()),
    )
}

/// What throttling says, wherever it says it.
fn by_text(text: &str) -> Option<Meaning> {
    let lower = text.to_lowercase();
    if lower.contains("maximum number of") && lower.contains("concurrent shells") {
        return Some(Meaning::TooManyAtOnce {
            after: Some(SHELLS_WAIT),
        });
    }
    if lower.contains("maximum number of") && lower.contains("concurrent operations") {
        return Some(Meaning::TooManyAtOnce { after: None });
    }
    if lower.contains("load quota") {
        let wait = lower
            .split_once("at least ")
            .and_then(|(_, rest)| rest.split_once(" millisecond"))
            .and_then(|(number, _)| number.trim().replace(',', "").parse().ok());
        return Some(Meaning::WaitUntil {
            scope: Scope::Account,
            after: wait.map(|ms| bounded(Duration::from_millis(ms))),
        });
    }
    if lower.contains("currently locked out") || lower.contains("password has expired") {
        return Some(Meaning::PauseAccount);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_is_classed_once() {
        for (at, (name, meaning)) in CATALOGUE.iter().enumerate() {
            assert!(
                !CATALOGUE[..at].iter().any(|(known, _)| known == name),
                "{name}"
            );
            let error = ErrorRecord {
                reason: (*name).to_owned(),
                text: "x".into(),
                request_id: "r".into(),
            };
            let classed = record(&error, Asked::Folder);
            assert_eq!(
                (&classed.meaning, classed.detail.server_code.as_str()),
                (meaning, *name)
            );
        }
    }

    #[test]
    fn texts_and_places_decide_where_names_do_not() {
        let account = |ms| Meaning::WaitUntil {
            scope: Scope::Account,
            after: ms,
        };
        for (reason, text, asked, want) in [
            (
                "ManagementObjectNotFoundException",
                "",
                Asked::Mailbox,
                Meaning::Park,
            ),
            (
                "ManagementObjectNotFoundException",
                "",
                Asked::Folder,
                Meaning::FolderGone,
            ),
            (
                "StorageTransientException",
                "",
                Asked::Folder,
                Meaning::Retry,
            ),
            (
                "Other",
                "isn't within your current write scope",
                Asked::Folder,
                Meaning::GiveUp(Reason::OutOfWriteScope),
            ),
            (
                "Other",
                "The Sharing policy doesn't allow",
                Asked::Folder,
                Meaning::GiveUp(Reason::SharingPolicy),
            ),
            (
                "Other",
                "no",
                Asked::Folder,
                Meaning::GiveUp(Reason::Rejected),
            ),
            ("", "", Asked::Folder, Meaning::GiveUp(Reason::Rejected)),
        ] {
            let error = ErrorRecord {
                reason: reason.into(),
                text: text.into(),
                request_id: String::new(),
            };
            let classed = record(&error, asked);
            assert_eq!(classed.meaning, want, "{reason} {text}");
            assert!(!classed.detail.server_code.is_empty());
        }
        let refused = |code: &str, text: &str| {
            fault(&Fault {
                code: code.into(),
                text: text.into(),
            })
            .meaning
        };
        assert_eq!(
            refused(
                "2150859173",
                "This user is allowed a maximum number of 18 concurrent shells, which has been exceeded."
            ),
            Meaning::TooManyAtOnce {
                after: Some(SHELLS_WAIT)
            }
        );
        assert_eq!(
            refused(
                "1",
                "The user load quota of 3 requests per 60 seconds has been exceeded. The next request from this user will not be approved for at least 41,500 milliseconds."
            ),
            account(Some(Duration::from_millis(41_500)))
        );
        assert_eq!(
            refused("1", "The user load quota is exceeded"),
            account(None)
        );
        assert_eq!(refused("5", "Access is denied."), Meaning::PauseAccount);
        assert_eq!(refused("2150858843", "no such shell"), Meaning::Retry);
    }
}
