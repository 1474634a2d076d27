//! Cmdlets: what is asked of a mailbox as a cmdlet call, and its rows as an answer. Pure.

use calgrant_domain::{AccessRole, Address, Calendar, Observed, Reason, Rights};
use calgrant_exchange::{Answer, Ask, CalendarCall, CallError, Meaning};
use serde_json::{Value, json};

use crate::{
    classify::{Asked, rows},
    wire::{FolderRow, OneOrMany, PermissionRow},
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
///
/// # Errors
/// The folder isn't named: half a name means the top of the mailbox to a cmdlet, and nobody asked for that.
pub(crate) fn command(call: &CalendarCall, path: Path) -> Result<(&'static str, Value), CallError> {
    let (name, parameters) = match &call.ask {
        Ask::FindCalendar => (
            "Get-MailboxFolderStatistics",
            json!({"Identity": call.mailbox.as_str(), "FolderScope": "Calendar", "ResultSize": "Unlimited"}),
        ),
        Ask::Read { calendar, trustee } => (
            "Get-MailboxFolderPermission",
            json!({"Identity": folder(call, calendar, path)?, "User": trustee.as_str(), "ResultSize": "Unlimited"}),
        ),
        Ask::Add {
            calendar,
            trustee,
            role,
        } => (
            "Add-MailboxFolderPermission",
            write(&folder(call, calendar, path)?, trustee, *role, path),
        ),
        Ask::Set {
            calendar,
            trustee,
            role,
        } => (
            "Set-MailboxFolderPermission",
            write(&folder(call, calendar, path)?, trustee, *role, path),
        ),
        Ask::Remove { calendar, trustee } => {
            let mut parameters =
                json!({"Identity": folder(call, calendar, path)?, "User": trustee.as_str()});
            // The Admin API takes the two parameters only, and doesn't ask.
            if path == Path::InvokeCommand {
                parameters["Confirm"] = json!(false);
            }
            ("Remove-MailboxFolderPermission", parameters)
        }
    };
    Ok((name, envelope(name, &parameters)))
}

/// Says nothing of flags or notification: to name `SendNotificationToUser` at all would strip a delegate's flags.
fn write(folder: &str, trustee: &Address, role: AccessRole, path: Path) -> Value {
    json!({"Identity": folder, "User": trustee.as_str(), "AccessRights": access(role, path)})
}

fn folder(call: &CalendarCall, calendar: &Calendar, path: Path) -> Result<String, CallError> {
    let (name, whole) = match path {
        Path::AdminApi => (
            &calendar.path,
            calendar.path.len() > 1 && calendar.path.starts_with('\\'),
        ),
        Path::InvokeCommand => (
            &calendar.folder_id,
            !calendar.folder_id.is_empty() && !calendar.folder_id.starts_with('\\'),
        ),
    };
    if whole {
        return Ok(format!("{}:{name}", call.mailbox));
    }
    Err(CallError::new(
        Meaning::FolderGone,
        "no_folder_name",
        format!("{name:?} names no folder, so nothing was asked"),
    ))
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
        (Ask::Read { .. }, Ok(value)) => entry(rows(value)),
        (Ask::Read { .. }, Err(error)) if error.meaning == Meaning::NoEntry => Ok(Answer::Entry {
            seen: Observed::Absent,
            delegate: false,
        }),
        (_, Ok(_)) => Ok(Answer::Accepted),
        (_, Err(error)) => Err(error),
    }
}

fn nonsense(what: &str) -> CallError {
    CallError::new(Meaning::Retry, "unexpected_answer", what)
}

/// Whether an answer needs no further pages.
pub(crate) fn is_whole(ask: &Ask, rows: &[Value]) -> bool {
    match ask {
        Ask::FindCalendar => rows.iter().any(is_calendar),
        Ask::Read { .. } => !rows.is_empty(),
        _ => true,
    }
}

fn is_calendar(row: &Value) -> bool {
    row["FolderType"]
        .as_str()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("Calendar"))
}

fn calendar(rows: Vec<Value>) -> Result<Calendar, CallError> {
    let mut found = Vec::new();
    for row in rows.into_iter().filter(is_calendar) {
        let row: FolderRow = serde_json::from_value(row).map_err(|e| nonsense(&e.to_string()))?;
        found.push(row);
    }
    match <[FolderRow; 1]>::try_from(found) {
        Ok([row]) if row.folder_id.is_empty() || row.folder_path.trim_matches('/').is_empty() => {
            Err(nonsense("the calendar folder has no id or no path"))
        }
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

fn entry(rows: Vec<Value>) -> Result<Answer, CallError> {
    let (mut each, mut names, mut others, mut delegate) = (Vec::new(), Vec::new(), false, false);
    for row in rows {
        let row: PermissionRow =
            serde_json::from_value(row).map_err(|e| nonsense(&e.to_string()))?;
        // A display name; some servers send it as an object.
        let user = row
            .user
            .as_str()
            .or_else(|| row.user["DisplayName"].as_str());
        if user.is_some_and(|user| {
            ["Default", "Anonymous"]
                .iter()
                .any(|special| special.eq_ignore_ascii_case(user))
        }) {
            others = true;
            continue;
        }
        let held: Vec<String> = row.access_rights.words().map(str::to_owned).collect();
        each.push(rights(&held)?);
        names.extend(held);
        delegate |= row
            .sharing_permission_flags
            .iter()
            .flat_map(OneOrMany::words)
            .any(|flag| !flag.eq_ignore_ascii_case("None"));
    }
    // The trustee's entry was asked for. A whole list means that the server didn't heed it, and display names
    // don't tell whose entry is whose.
    if others && !each.is_empty() {
        return Err(nonsense(
            "the answer holds other entries than the trustee's",
        ));
    }
    // Twins occur after migrations: the broadest counts, or what they allow together.
    let broadest = each
        .iter()
        .find(|one| each.iter().all(|other| one.includes(*other)));
    let seen = match broadest {
        _ if each.is_empty() => Observed::Absent,
        Some(broadest) => Observed::Present(*broadest),
        None => Observed::Present(rights(&names)?),
    };
    Ok(Answer::Entry { seen, delegate })
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
