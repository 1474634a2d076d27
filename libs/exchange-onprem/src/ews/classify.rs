//! What a fault means for what was asked. Pure.

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, Meaning, Scope, one_line};

use super::{
    catalogue::{Class, class},
    response::Fault,
};

/// What the fault is about: the same code means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Which folder is the calendar.
    Calendar,
    /// A folder that was found before.
    Folder,
    /// Several mailboxes at once: no fault is any one's.
    Several,
}

/// Classes a fault. `acting` says whether the request acted for the mailbox's owner.
pub(crate) fn classify(fault: &Fault, asked: Asked, acting: bool, request_id: &str) -> CallError {
    // An inner code says more.
    let known = class(&fault.inner).or_else(|| class(&fault.code));
    let meaning = match known {
        Some(Class::SlowDown) => Meaning::WaitUntil {
            scope: Scope::Account,
            after: fault.back_off,
        },
        Some(Class::TooManyAtOnce) => Meaning::TooManyAtOnce {
            after: fault.back_off,
        },
        Some(Class::Retry | Class::Conflict) => Meaning::Retry,
        Some(Class::PauseAccount) => Meaning::PauseAccount,
        Some(Class::Disabled) if !acting => Meaning::PauseAccount,
        _ if asked == Asked::Several => Meaning::Retry,
        Some(Class::Park) => Meaning::Park,
        Some(Class::NoFolder) if asked == Asked::Folder => Meaning::FolderGone,
        Some(Class::NoFolder) => Meaning::GiveUp(Reason::NoCalendar),
        Some(Class::OutOfScope) => Meaning::GiveUp(Reason::OutOfWriteScope),
        Some(Class::GiveUp(reason)) => Meaning::GiveUp(reason),
        Some(Class::Disabled) | None => Meaning::GiveUp(Reason::Rejected),
    };
    let code = if fault.inner.is_empty() {
        fault.code.clone()
    } else {
        format!("{}/{}", fault.code, fault.inner)
    };
    let mut error = CallError::new(meaning, code, one_line(&fault.text));
    error.detail.request_id = request_id.to_owned();
    error
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
