//! The calendars' questions as cmdlets, and their rows as answers. Pure.

use calgrant_domain::{AccessRole, Calendar, Observed, Reason, Rights};
use calgrant_exchange::{Answer, Ask, CalendarCall, CallError, Meaning};

use super::{
    classify::{self, Asked},
    clixml::Value,
    pipeline::{Argument, Command, Output},
};

/// The cmdlet that answers a call.
///
/// # Errors
/// The folder isn't named: half a name means the top of the mailbox to a cmdlet, and nobody asked for that.
pub(super) fn command(call: &CalendarCall) -> Result<Command, CallError> {
    let text = |text: &str| Argument::Text(text.to_owned());
    let rights = |role: &AccessRole| {
        let names = role.rights().names();
        Argument::Texts(names.into_iter().map(str::to_owned).collect())
    };
    let folder = |calendar: &Calendar| folder(call, calendar);
    let (name, parameters) = match &call.ask {
        Ask::FindCalendar => (
            "Get-MailboxFolderStatistics",
            vec![
                ("Identity", text(call.mailbox.as_str())),
                ("FolderScope", text("Calendar")),
            ],
        ),
        Ask::Read { calendar, trustee } => (
            "Get-MailboxFolderPermission",
            vec![
                ("Identity", folder(calendar)?),
                ("User", text(trustee.as_str())),
            ],
        ),
        Ask::Add {
            calendar,
            trustee,
            role,
        } => (
            "Add-MailboxFolderPermission",
            vec![
                ("Identity", folder(calendar)?),
                ("User", text(trustee.as_str())),
                ("AccessRights", rights(role)),
            ],
        ),
        Ask::Set {
            calendar,
            trustee,
            role,
        } => (
            "Set-MailboxFolderPermission",
            vec![
                ("Identity", folder(calendar)?),
                ("User", text(trustee.as_str())),
                ("AccessRights", rights(role)),
            ],
        ),
        Ask::Remove { calendar, trustee } => (
            "Remove-MailboxFolderPermission",
            vec![
                ("Identity", folder(calendar)?),
                ("User", text(trustee.as_str())),
                ("Confirm", Argument::Switch(false)),
            ],
        ),
    };
    Ok(Command { name, parameters })
}

fn folder(call: &CalendarCall, calendar: &Calendar) -> Result<Argument, CallError> {
    let id = &calendar.folder_id;
    if id.is_empty() || id.starts_with('\\') {
        return Err(CallError::new(
            Meaning::FolderGone,
            "no_folder_name",
            "no folder is named, so nothing was asked",
        ));
    }
    Ok(Argument::Text(format!("{}:{id}", call.mailbox)))
}

/// The answer behind a command's output.
pub(super) fn answer(ask: &Ask, output: &Output) -> Result<Answer, CallError> {
    let asked = match ask {
        Ask::FindCalendar => Asked::Mailbox,
        _ => Asked::Folder,
    };
    if let Some(error) = output.errors.first() {
        let error = classify::record(error, asked);
        if error.meaning == Meaning::NoEntry && matches!(ask, Ask::Read { .. }) {
            return Ok(Answer::Entry {
                seen: Observed::Absent,
                delegate: false,
            });
        }
        return Err(error);
    }
    if output.ended != Some(true) {
        return Err(nonsense("the command didn't complete, and says no error"));
    }
    match ask {
        Ask::FindCalendar => calendar(&output.rows),
        Ask::Read { .. } => entry(&output.rows),
        _ => Ok(Answer::Accepted),
    }
}

fn nonsense(what: &str) -> CallError {
    CallError::new(Meaning::Retry, "unexpected_answer", what)
}

fn calendar(rows: &[Value]) -> Result<Answer, CallError> {
    let main = |row: &&Value| {
        row.member_text("FolderType")
            .is_some_and(|kind| kind.eq_ignore_ascii_case("Calendar"))
    };
    let found: Vec<_> = rows.iter().filter(main).collect();
    let [row] = found.as_slice() else {
        return Err(CallError::new(
            Meaning::GiveUp(Reason::NoCalendar),
            "no_calendar",
            format!("{} folders of type Calendar", found.len()),
        ));
    };
    let text = |name| row.member_text(name).unwrap_or_default();
    let (folder_id, path) = (text("FolderId"), text("FolderPath"));
    if folder_id.is_empty() || path.trim_matches('/').is_empty() {
        return Err(nonsense("the calendar folder has no id or no path"));
    }
    Ok(Answer::Calendar(Calendar {
        folder_id: folder_id.to_owned(),
        // A slash inside a folder's name is written as a private character.
        path: path.replace('/', "\\").replace('\u{F022}', "/"),
    }))
}

fn entry(rows: &[Value]) -> Result<Answer, CallError> {
    let (mut names, mut others, mut any, mut delegate) = (Vec::new(), false, false, false);
    for row in rows {
        // A display name, or an object that has one.
        let user = row.member("User");
        let user = user.and_then(|user| user.member_text("DisplayName").or_else(|| user.text()));
        let special = |name: &&str| user.is_some_and(|user| user.eq_ignore_ascii_case(name));
        if ["Default", "Anonymous"].iter().any(special) {
            others = true;
            continue;
        }
        any = true;
        names.extend(words(row, "AccessRights"));
        delegate |=
            words(row, "SharingPermissionFlags").any(|flag| !flag.eq_ignore_ascii_case("None"));
    }
    if others && any {
        return Err(nonsense(
            "the answer holds other entries than the trustee's",
        ));
    }
    let rights = Rights::from_names(names.iter().map(String::as_str)).map_err(|bad| {
        CallError::new(
            Meaning::GiveUp(Reason::Rejected),
            "unknown_right",
            bad.to_string(),
        )
    })?;
    Ok(Answer::Entry {
        seen: if any {
            Observed::Present(rights)
        } else {
            Observed::Absent
        },
        delegate,
    })
}

/// The words of a member, which may be one text with several of them.
fn words<'a>(row: &'a Value, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let texts = row.member(name).map(Value::texts).unwrap_or_default();
    texts.into_iter().flat_map(|text| {
        let each = text.split([',', '{', '}']).map(str::trim);
        let each: Vec<_> = each
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        each
    })
}
