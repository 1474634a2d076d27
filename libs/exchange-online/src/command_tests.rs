//! Bodies and rows.

use super::*;

fn call(ask: Ask) -> CalendarCall {
    CalendarCall {
        mailbox: "ada@uni.example".parse().unwrap(),
        ask,
    }
}

fn folder() -> Calendar {
    Calendar {
        folder_id: "LgA=".into(),
        path: "\\Kalender".into(),
    }
}

#[test]
fn bodies() {
    let trustee: Address = "team@uni.example".parse().unwrap();
    let add = call(Ask::Add {
        calendar: folder(),
        trustee: trustee.clone(),
        role: AccessRole::AUTHOR,
    });
    assert_eq!(
        command(&add, Path::InvokeCommand).1,
        json!({"CmdletInput": {"CmdletName": "Add-MailboxFolderPermission", "Parameters":
            {"Identity": "ada@uni.example:LgA=", "User": "team@uni.example", "AccessRights": ["Author"]}}})
    );
    assert_eq!(
        command(&add, Path::AdminApi).1,
        json!({"CmdletInput": {"CmdletName": "Add-MailboxFolderPermission", "Parameters":
            {"Identity": "ada@uni.example:\\Kalender", "User": "team@uni.example", "AccessRights": "Author"}}})
    );
    let remove = call(Ask::Remove {
        calendar: folder(),
        trustee,
    });
    let (_, body) = command(&remove, Path::InvokeCommand);
    assert_eq!(body["CmdletInput"]["Parameters"]["Confirm"], false);
}

#[test]
fn the_calendar_is_found_by_its_type() {
    let row = |kind: &str, path: &str| json!({"FolderType": kind, "FolderId": "id", "FolderPath": path, "X@odata.type": "y"});
    let find = |rows: &[Value]| answer(&Ask::FindCalendar, Ok(json!({"value": rows})));
    assert_eq!(
        find(&[
            row("User Created", "/Kalender/Uni"),
            row("Calendar", "/Lehre\u{F022}Plan")
        ]),
        Ok(Answer::Calendar(Calendar {
            folder_id: "id".into(),
            path: "\\Lehre/Plan".into()
        }))
    );
    for rows in [vec![], vec![row("Calendar", "/A"), row("Calendar", "/B")]] {
        assert_eq!(
            find(&rows).unwrap_err().meaning,
            Meaning::GiveUp(Reason::NoCalendar)
        );
    }
}

#[test]
fn entries() {
    let read = Ask::Read {
        calendar: folder(),
        trustee: "team@uni.example".parse().unwrap(),
    };
    let present = |raw: &str| Ok(Answer::Entry(Observed::Present(raw.parse().unwrap())));
    for (rows, want) in [
        (json!({"value": []}), Ok(Answer::Entry(Observed::Absent))),
        (
            json!({"User": "Team", "AccessRights": ["Author"]}),
            present("Author"),
        ),
        (
            json!({"value": [{"User": "Team", "AccessRights": "ReadItems, CreateItems"}]}),
            present("ReadItems,CreateItems"),
        ),
        (
            json!({"value": [{"User": "Team", "AccessRights": ["Reviewer"]}, {"User": "Team", "AccessRights": ["Editor"]}]}),
            present("Editor"),
        ),
        (
            json!({"value": [{"User": "Default", "AccessRights": ["AvailabilityOnly"]}]}),
            Ok(Answer::Entry(Observed::Absent)),
        ),
    ] {
        assert_eq!(answer(&read, Ok(rows.clone())), want, "{rows}");
    }
    let none = CallError::new(Meaning::NoEntry, "", "");
    assert_eq!(
        answer(&read, Err(none)),
        Ok(Answer::Entry(Observed::Absent))
    );
    assert!(answer(&read, Ok(json!({"value": [{"AccessRights": ["Wizard"]}]}))).is_err());
}
