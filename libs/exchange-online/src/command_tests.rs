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
        command(&add, Path::InvokeCommand).unwrap().1,
        json!({"CmdletInput": {"CmdletName": "Add-MailboxFolderPermission", "Parameters":
            {"Identity": "ada@uni.example:LgA=", "User": "team@uni.example", "AccessRights": ["Author"]}}})
    );
    assert_eq!(
        command(&add, Path::AdminApi).unwrap().1,
        json!({"CmdletInput": {"CmdletName": "Add-MailboxFolderPermission", "Parameters":
            {"Identity": "ada@uni.example:\\Kalender", "User": "team@uni.example", "AccessRights": "Author"}}})
    );
    let remove = call(Ask::Remove {
        calendar: folder(),
        trustee,
    });
    let (_, body) = command(&remove, Path::InvokeCommand).unwrap();
    assert_eq!(body["CmdletInput"]["Parameters"]["Confirm"], false);
}

#[test]
fn half_a_name_is_never_sent() {
    // To a cmdlet it would mean the top of the mailbox.
    for (folder_id, path) in [("", ""), ("", "\\"), ("\\x", "Kalender")] {
        let call = call(Ask::Remove {
            calendar: Calendar {
                folder_id: folder_id.into(),
                path: path.into(),
            },
            trustee: "team@uni.example".parse().unwrap(),
        });
        for interface in [Path::AdminApi, Path::InvokeCommand] {
            let error = command(&call, interface).unwrap_err();
            assert_eq!(error.meaning, Meaning::FolderGone, "{folder_id} {path}");
        }
    }
}

#[test]
fn nothing_is_said_of_flags_and_nobody_is_notified() {
    for path in [Path::AdminApi, Path::InvokeCommand] {
        let (_, body) = command(
            &call(Ask::Set {
                calendar: folder(),
                trustee: "team@uni.example".parse().unwrap(),
                role: "Editor".parse().unwrap(),
            }),
            path,
        )
        .unwrap();
        let body = body.to_string();
        assert!(!body.contains("SendNotification") && !body.contains("SharingPermissionFlags"));
    }
}

#[test]
fn the_calendar_is_found_by_its_type() {
    let row = |kind: &str, path: &str| json!({"FolderType": kind, "FolderId": "id", "FolderPath": path, "X@odata.type": "y"});
    let find = |rows: &[Value]| answer(&Ask::FindCalendar, Ok(json!({"value": rows})));
    assert_eq!(
        find(&[
            row("User Created", "/Kalender/Uni"),
            row("BirthdayCalendar", "/Kalender/Birthdays"),
            json!({"Name": "no type at all"}),
            row("calendar", "/Lehre\u{F022}Plan")
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
    for nameless in [
        row("Calendar", ""),
        row("Calendar", "/"),
        json!({"FolderType": "Calendar", "FolderPath": "/Kalender"}),
    ] {
        assert_eq!(find(&[nameless]).unwrap_err().meaning, Meaning::Retry);
    }
}

#[test]
fn entries() {
    let read = Ask::Read {
        calendar: folder(),
        trustee: "team@uni.example".parse().unwrap(),
    };
    let absent = || {
        Ok(Answer::Entry {
            seen: Observed::Absent,
            delegate: false,
        })
    };
    let present = |raw: &str, delegate| {
        Ok(Answer::Entry {
            seen: Observed::Present(raw.parse().unwrap()),
            delegate,
        })
    };
    let twins = |one: &str, other: &str| json!({"value": [{"User": "Team", "AccessRights": [one]}, {"User": "Team", "AccessRights": [other]}]});
    let flags = |flags: Value| json!({"value": [{"User": "Team", "AccessRights": ["Editor"], "SharingPermissionFlags": flags}]});
    for (rows, want) in [
        (json!({"value": []}), absent()),
        (
            json!({"User": "Team", "AccessRights": ["Author"]}),
            present("Author", false),
        ),
        (
            json!({"value": [{"User": {"DisplayName": "Team"}, "AccessRights": "createitems , READITEMS"}]}),
            present("ReadItems,CreateItems", false),
        ),
        (
            json!({"value": [{"User": "Team", "AccessRights": ["FolderVisible", "DeleteOwnedItems", "EditOwnedItems", "ReadItems", "CreateItems"]}]}),
            present("Author", false),
        ),
        (
            json!({"value": [{"User": "Team", "AccessRights": []}]}),
            present("None", false),
        ),
        (twins("Reviewer", "Editor"), present("Editor", false)),
        (
            twins("Reviewer", "Contributor"),
            present("Reviewer,Contributor", false),
        ),
        (
            flags(json!("Delegate, CanViewPrivateItems")),
            present("Editor", true),
        ),
        (flags(json!(["Delegate"])), present("Editor", true)),
        (flags(json!("None")), present("Editor", false)),
        (flags(json!([])), present("Editor", false)),
        (flags(json!(null)), present("Editor", false)),
        (
            json!({"value": [{"User": "Default", "AccessRights": ["AvailabilityOnly"]}]}),
            absent(),
        ),
    ] {
        assert_eq!(answer(&read, Ok(rows.clone())), want, "{rows}");
    }
    let none = CallError::new(Meaning::NoEntry, "", "");
    assert_eq!(answer(&read, Err(none)), absent());
    let unknown = json!({"value": [{"AccessRights": ["Wizard"]}]});
    assert!(answer(&read, Ok(unknown)).is_err());
}

#[test]
fn a_whole_list_where_one_entry_was_asked_for_tells_nothing() {
    let read = Ask::Read {
        calendar: folder(),
        trustee: "team@uni.example".parse().unwrap(),
    };
    let list = json!({"value": [
        {"User": "Default", "AccessRights": ["AvailabilityOnly"]},
        {"User": "Susan", "AccessRights": ["Owner"]},
    ]});
    assert_eq!(answer(&read, Ok(list)).unwrap_err().meaning, Meaning::Retry);
}
