//! Cmdlets: what is asked of a mailbox as a cmdlet call, and its rows as an answer. Pure.

use calgrant_domain::{AccessRole, Address, Calendar, Observed, Reason, Rights};
use calgrant_exchange::{Answer, Ask, CalendarCall, CallError, Meaning};
use serde_json::{Value, json};

use crate::{
    classify::{Asked, rows},
    wire::{FolderRow, PermissionRow},
};

/// Which interface a cmdlet goes to; they name folders differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Admin API v2.0.
    AdminApi,
    /// InvokeCommand.
    InvokeCommand,
}

/// The name of the cmdlet and the body that calls it.
pub(crate) fn command(call: &CalendarCall, path: Path) -> (&'static str, Value) {
    let folder = |calendar: &Calendar| match path {
        Path::AdminApi => format!("{}:{}", call.mailbox, calendar.path),
        Path::InvokeCommand => format!("{}:{}", call.mailbox, calendar.folder_id),
    };
    let write = |calendar: &Calendar, trustee: &Address, role: AccessRole| json!({"Identity": folder(calendar), "User": trustee.as_str(), "AccessRights": access(role, path)});
    let (name, parameters) = match &call.ask {
        Ask::FindCalendar => (
            "Get-MailboxFolderStatistics",
            json!({"Identity": call.mailbox.as_str(), "FolderScope": "Calendar"}),
        ),
        Ask::Read { calendar, trustee } => (
            "Get-MailboxFolderPermission",
            json!({"Identity": folder(calendar), "User": trustee.as_str()}),
        ),
        Ask::Add {
            calendar,
            trustee,
            role,
        } => (
            "Add-MailboxFolderPermission",
            write(calendar, trustee, *role),
        ),
        Ask::Set {
            calendar,
            trustee,
            role,
        } => (
            "Set-MailboxFolderPermission",
            write(calendar, trustee, *role),
        ),
        Ask::Remove { calendar, trustee } => {
            let mut parameters = json!({"Identity": folder(calendar), "User": trustee.as_str()});
            // The Admin API takes the two parameters only, and doesn't ask.
            if path == Path::InvokeCommand {
                parameters["Confirm"] = json!(false);
            }
            ("Remove-MailboxFolderPermission", parameters)
        }
    };
    (name, envelope(name, &parameters))
}

/// The body of every cmdlet call.
pub(crate) fn envelope(name: &str, parameters: &Value) -> Value {
    json!({"CmdletInput": {"CmdletName": name, "Parameters": parameters}})
}

/// The Admin API documents a text; several rights need a list on either interface.
fn access(role: AccessRole, path: Path) -> Value {
    match (role.rights().names().as_slice(), path) {
        ([one], Path::AdminApi) => json!(one),
        (names, _) => json!(names),
    }
}

/// What its errors are about.
pub(crate) fn asked(ask: &Ask) -> Asked {
    match ask {
        Ask::FindCalendar => Asked::Mailbox,
        _ => Asked::Folder,
    }
}

/// The answer behind a cmdlet's output.
pub(crate) fn answer(ask: &Ask, output: Result<Value, CallError>) -> Result<Answer, CallError> {
    match (ask, output) {
        (Ask::FindCalendar, Ok(value)) => calendar(rows(value)).map(Answer::Calendar),
        (Ask::Read { .. }, Ok(value)) => entry(rows(value)).map(Answer::Entry),
        (Ask::Read { .. }, Err(error)) if error.meaning == Meaning::NoEntry => {
            Ok(Answer::Entry(Observed::Absent))
        }
        (_, Ok(_)) => Ok(Answer::Accepted),
        (_, Err(error)) => Err(error),
    }
}

fn nonsense(error: &serde_json::Error) -> CallError {
    CallError::new(Meaning::Retry, "unexpected_answer", error.to_string())
}

fn calendar(rows: Vec<Value>) -> Result<Calendar, CallError> {
    let mut found = Vec::new();
    for row in rows {
        let row: FolderRow = serde_json::from_value(row).map_err(|e| nonsense(&e))?;
        if row.folder_type == "Calendar" {
            found.push(row);
        }
    }
    match <[FolderRow; 1]>::try_from(found) {
        Ok([row]) => Ok(Calendar {
            folder_id: row.folder_id,
            // A slash inside a folder's name is written as a private character.
            path: row.folder_path.replace('/', "\\").replace('\u{F022}', "/"),
        }),
        Err(found) => Err(CallError::new(
            Meaning::GiveUp(Reason::NoCalendar),
            "no_calendar",
            format!("{} folders of type Calendar", found.len()),
        )),
    }
}

fn entry(rows: Vec<Value>) -> Result<Observed, CallError> {
    let (mut each, mut names) = (Vec::new(), Vec::new());
    for row in rows {
        let row: PermissionRow = serde_json::from_value(row).map_err(|e| nonsense(&e))?;
        if matches!(row.user.as_str(), Some("Default" | "Anonymous")) {
            continue;
        }
        let held: Vec<String> = row
            .access_rights
            .all()
            .into_iter()
            .flat_map(|name| name.split(','))
            .map(|name| name.trim().to_owned())
            .collect();
        each.push(rights(&held)?);
        names.extend(held);
    }
    if each.is_empty() {
        return Ok(Observed::Absent);
    }
    // Twins occur after migrations: the broadest counts, or what they allow together.
    let broadest = each
        .iter()
        .find(|one| each.iter().all(|other| one.includes(*other)));
    match broadest {
        Some(broadest) => Ok(Observed::Present(*broadest)),
        None => rights(&names).map(Observed::Present),
    }
}

fn rights(names: &[String]) -> Result<Rights, CallError> {
    Rights::from_names(names.iter().map(String::as_str)).map_err(|bad| {
        CallError::new(
            Meaning::GiveUp(Reason::Rejected),
            "unknown_right",
            bad.to_string(),
        )
    })
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
