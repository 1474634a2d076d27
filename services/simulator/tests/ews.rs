//! EWS as a client meets it: who may see and change what, and what comes back.

mod premises;
mod rig;

use premises::{
    DAVE, EVA, FULL, IMP, by_address, calendar_of, custom, entry, everybody, get_folder, open,
    strangers, update_folder,
};
use serde_json::json;

const GROUP: &str = "delegates@school.example";

#[tokio::test]
async fn several_calendars_in_one_request_each_with_its_own_answer() {
    let rig = open().await;
    let addresses = [
        "ada.lovelace@school.example",
        "bob@school.example",
        "nobody@school.example",
        "cloud@school.example",
        "news@school.example",
        "rector@school.example",
        "a.l@school.example",
    ];
    let ids: Vec<String> = addresses
        .iter()
        .map(|address| calendar_of(address))
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = rig.ews(FULL, &get_folder(&ids)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.codes(),
        [
            "NoError",
            "NoError",
            "ErrorNonExistentMailbox",
            "ErrorNonExistentMailbox",
            "ErrorNonExistentMailbox",
            "ErrorAccessDenied",
            "NoError",
        ]
    );
    assert_eq!(answer.all("t:DisplayName")[0], "Agenda");
    assert!(
        answer
            .text
            .contains("ServerVersionInfo MajorVersion=\"15\"")
    );
    // it has no mailbox of its own
    let own = get_folder(&["<t:DistinguishedFolderId Id=\"calendar\"/>"]);
    assert_eq!(
        rig.ews(FULL, &own).await.codes(),
        ["ErrorMissingEmailAddress"]
    );
    assert_eq!(rig.ews(EVA, &own).await.codes(), ["NoError"]);
}

#[tokio::test]
async fn a_list_shows_levels_settings_and_who_is_unknown() {
    let rig = open().await;
    let answer = rig.calendar(FULL, "ada@school.example").await;
    // the user principal name isn't an address of hers
    assert_eq!(answer.codes(), ["ErrorNonExistentMailbox"]);
    let answer = rig.calendar(FULL, "ada.lovelace@school.example").await;
    assert_eq!(
        answer.all("t:CalendarPermissionLevel"),
        [
            "FreeBusyTimeOnly",
            "None",
            "Custom",
            "Editor",
            "FreeBusyTimeOnly"
        ]
    );
    assert_eq!(
        answer.all("t:ReadItems"),
        ["TimeOnly", "None", "FullDetails", "FullDetails", "TimeOnly"]
    );
    assert_eq!(answer.all("t:UnknownEntry"), ["NT:S-1-5-21-1-2-3-500"]);
    assert_eq!(
        answer.all("t:ExternalUserIdentity"),
        ["pat@partner.example"]
    );
    assert!(
        answer
            .all("t:SID")
            .iter()
            .all(|sid| sid.starts_with("S-1-5-21-"))
    );
    assert_eq!(answer.all("t:DistinguishedUser"), ["Default", "Anonymous"]);
}

#[tokio::test]
async fn a_written_list_replaces_the_one_there_is() {
    let rig = open().await;
    let before = rig.calendar(FULL, "bob@school.example").await;
    let list = everybody("FreeBusyTimeAndSubjectAndLocation")
        + &strangers("None")
        + &by_address(GROUP, "Author")
        + &by_address("dave@school.example", "Editor");
    let answer = rig.set(FULL, &before.folder_id(), &list).await;
    assert_eq!(answer.codes(), ["NoError"], "{}", answer.text);
    assert_ne!(answer.folder_id(), before.folder_id());
    let expected = [
        ("Default".to_owned(), 0x1800),
        ("Anonymous".to_owned(), 0),
        (GROUP.to_owned(), 7195),
        ("dave@school.example".to_owned(), 7291),
    ];
    assert_eq!(rig.list("bob@school.example").await, expected);
    // what isn't sent is gone, and nobody in general may do anything any more
    let answer = rig
        .set(FULL, &answer.folder_id(), &by_address(GROUP, "Author"))
        .await;
    assert_eq!(answer.codes(), ["NoError"]);
    let expected = [
        ("Default".to_owned(), 0),
        ("Anonymous".to_owned(), 0),
        (GROUP.to_owned(), 7195),
    ];
    assert_eq!(rig.list("bob@school.example").await, expected);
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["foreign_entries_changed"], 1);
    assert_eq!(report["managed_entries_changed"], 1);
    assert_eq!(report["writes_by_app"]["sa-full@school.example"], 4);
    assert_eq!(report["calls"]["EWS UpdateFolder"], 2);
}

#[tokio::test]
async fn what_is_rebuilt_to_the_letter_changes_nothing() {
    let rig = open().await;
    let before = rig.list("ada@school.example").await;
    let read = rig.calendar(FULL, "ada.lovelace@school.example").await;
    let bob = &read.all("t:SID")[0];
    let author = [
        "true",
        "false",
        "false",
        "true",
        "true",
        "Owned",
        "Owned",
        "FullDetails",
    ];
    let pat = "<t:PrimarySmtpAddress>pat@partner.example</t:PrimarySmtpAddress><t:ExternalUserIdentity>pat@partner.example</t:ExternalUserIdentity>";
    let list = everybody("FreeBusyTimeOnly")
        + &strangers("None")
        + &custom(&format!("<t:SID>{bob}</t:SID>"), author)
        + &by_address("dave@school.example", "Editor")
        + &entry(pat, "FreeBusyTimeOnly")
        + &by_address(GROUP, "Author");
    let answer = rig.set(FULL, &read.folder_id(), &list).await;
    assert_eq!(answer.codes(), ["NoError"], "{}", answer.text);
    let mut expected = before.clone();
    expected.retain(|(who, _)| !who.starts_with("NT:"));
    expected.push((GROUP.to_owned(), 7195));
    assert_eq!(rig.list("ada@school.example").await, expected);
    // the one nobody knows any more is gone, as can't be helped
    let report = rig.get("/_simulator/report").await;
    assert_eq!(report["foreign_entries_changed"], 1);
}

#[tokio::test]
async fn what_a_list_may_not_hold_is_refused_and_changes_nothing() {
    let rig = open().await;
    let before = rig.list("bob@school.example").await;
    let id = rig.calendar(FULL, "bob@school.example").await.folder_id();
    let author = [
        "true",
        "false",
        "false",
        "true",
        "false",
        "Owned",
        "Owned",
        "FullDetails",
    ];
    let dave = "<t:PrimarySmtpAddress>dave@school.example</t:PrimarySmtpAddress>";
    let with_level = custom(dave, author).replace("Custom", "Author");
    let half = custom(dave, author).replace("<t:EditItems>Owned</t:EditItems>", "");
    let both = "<t:PrimarySmtpAddress>dave@school.example</t:PrimarySmtpAddress><t:DistinguishedUser>Default</t:DistinguishedUser>";
    let nobodys = "<t:SID>S-1-5-21-9-9-9-1100</t:SID>";
    let stranger = "<t:ExternalUserIdentity>x@else.example</t:ExternalUserIdentity>";
    for (list, code) in [
        (with_level, "ErrorInvalidPermissionSettings"),
        (half, "ErrorInvalidPermissionSettings"),
        (entry(both, "Author"), "ErrorInvalidUserInfo"),
        (entry("", "Author"), "ErrorMissingUserIdInformation"),
        (
            entry("<t:DisplayName>Dave</t:DisplayName>", "Author"),
            "ErrorMissingUserIdInformation",
        ),
        (entry(nobodys, "Author"), "ErrorInvalidUserSid"),
        (
            entry(stranger, "Reviewer"),
            "ErrorPermissionNotAllowedByPolicy",
        ),
        (
            by_address("nobody@school.example", "Author"),
            "ErrorInvalidUserInfo",
        ),
        (
            by_address("news@school.example", "Author"),
            "ErrorInvalidUserInfo",
        ),
        (
            by_address("cloud@school.example", "Author"),
            "ErrorInvalidUserInfo",
        ),
        (
            by_address(GROUP, "Author") + &by_address("DELEGATES@school.example", "Editor"),
            "ErrorDuplicateUserIdsSpecified",
        ),
    ] {
        let answer = rig.set(FULL, &id, &list).await;
        assert_eq!(
            (answer.status, answer.codes()),
            (200, vec![code.to_owned()]),
            "{list}"
        );
    }
    let unknown = update_folder(&[(&id, "")]).replace(
        "</t:PermissionSet>",
        "<t:UnknownEntries><t:UnknownEntry>x</t:UnknownEntry></t:UnknownEntries></t:PermissionSet>",
    );
    let plain = update_folder(&[(&id, "")])
        .replace("CalendarFolder", "Folder")
        .replace("CalendarPermissions", "Permissions");
    let top = "<t:DistinguishedFolderId Id=\"msgfolderroot\"><t:Mailbox><t:EmailAddress>bob@school.example</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>";
    for (request, code) in [
        (unknown, "ErrorCannotSetPermissionUnknownEntries"),
        (plain, "ErrorCannotSetNonCalendarPermissionOnCalendarFolder"),
        (
            update_folder(&[(top, "")]),
            "ErrorCannotSetCalendarPermissionOnNonCalendarFolder",
        ),
    ] {
        assert_eq!(rig.ews(FULL, &request).await.codes(), [code]);
    }
    assert_eq!(rig.list("bob@school.example").await, before);
    assert_eq!(rig.get("/_simulator/report").await["writes"], 0);
}

#[tokio::test]
async fn a_change_needs_the_change_key_of_now() {
    let rig = open().await;
    let list = everybody("None") + &strangers("None");
    let first = rig.calendar(FULL, "bob@school.example").await.folder_id();
    assert_eq!(rig.set(FULL, &first, &list).await.codes(), ["NoError"]);
    let key = first.find(" ChangeKey").unwrap();
    let without = format!("{}/>", &first[..key]);
    let garbled = format!("{} ChangeKey=\"AAAA\"/>", &first[..key]);
    let by_name = calendar_of("bob@school.example");
    for (id, code) in [
        (&first, "ErrorIrresolvableConflict"),
        (&without, "ErrorChangeKeyRequiredForWriteOperations"),
        (&garbled, "ErrorInvalidChangeKey"),
        (&by_name, "ErrorChangeKeyRequiredForWriteOperations"),
    ] {
        assert_eq!(rig.set(FULL, id, &list).await.codes(), [code]);
    }
    assert_eq!(
        rig.put("/_simulator/dials", json!({"change_keys_ignored": true}))
            .await,
        200
    );
    for id in [&first, &without, &garbled, &by_name] {
        assert_eq!(rig.set(FULL, id, &list).await.codes(), ["NoError"]);
    }
    let bad = "<t:FolderId Id=\"AAMkAA==\"/>";
    assert_eq!(
        rig.ews(FULL, &get_folder(&[bad])).await.codes(),
        ["ErrorInvalidIdMalformed"]
    );
}

#[tokio::test]
async fn only_an_owner_sets_rights_and_only_who_sees_a_calendar_reads_them() {
    let rig = open().await;
    let stranger = rig.calendar(EVA, "bob@school.example").await;
    assert_eq!(stranger.codes(), ["ErrorAccessDenied"]);
    assert_eq!(
        rig.put("/_simulator/dials", json!({"hides_folders": true}))
            .await,
        200
    );
    let stranger = rig.calendar(EVA, "bob@school.example").await;
    assert_eq!(stranger.codes(), ["ErrorFolderNotFound"]);
    // an editor sees, and doesn't own
    let seen = rig.calendar(DAVE, "ada.lovelace@school.example").await;
    assert_eq!(seen.codes(), ["NoError"]);
    let list = by_address("dave@school.example", "Owner");
    let answer = rig.set(DAVE, &seen.folder_id(), &list).await;
    assert_eq!(answer.codes(), ["ErrorAccessDenied"]);
    // everybody owns the own calendar
    let own = rig.calendar(DAVE, "dave@school.example").await;
    let answer = rig.set(DAVE, &own.folder_id(), &list).await;
    assert_eq!(answer.codes(), ["NoError"]);
}

#[tokio::test]
async fn several_changes_in_one_request_each_end_by_themselves() {
    let rig = open().await;
    let ids = ["bob@school.example", "dave@school.example"];
    let mut changes = Vec::new();
    for address in ids {
        changes.push(rig.calendar(FULL, address).await.folder_id());
    }
    let list = everybody("FreeBusyTimeOnly") + &by_address(GROUP, "Author");
    let missing = calendar_of("nobody@school.example");
    let request = update_folder(&[
        (&changes[0], &list),
        (&missing, &list),
        (&changes[1], &list),
    ]);
    let answer = rig.ews(FULL, &request).await;
    assert_eq!(
        answer.codes(),
        ["NoError", "ErrorNonExistentMailbox", "NoError"]
    );
}

#[tokio::test]
async fn impersonation_ends_where_its_scope_ends() {
    let rig = open().await;
    let own = get_folder(&["<t:DistinguishedFolderId Id=\"calendar\"/>"]);
    let act_as = |name: &str, who: &str| {
        format!(
            "<t:ExchangeImpersonation><t:ConnectingSID><t:{name}>{who}</t:{name}></t:ConnectingSID></t:ExchangeImpersonation>"
        )
    };
    for (sort, who) in [
        ("PrimarySmtpAddress", "ada.lovelace@school.example"),
        ("SmtpAddress", "a.l@school.example"),
        ("PrincipalName", "ada@school.example"),
    ] {
        let answer = rig.ews_with(IMP, &act_as(sort, who), &own).await;
        assert_eq!(answer.codes(), ["NoError"], "{}", answer.text);
        assert_eq!(answer.all("t:DisplayName")[0], "Agenda");
    }
    for (login, sort, who, code) in [
        (
            IMP,
            "SmtpAddress",
            "dave@school.example",
            "ErrorImpersonateUserDenied",
        ),
        (
            IMP,
            "SmtpAddress",
            "rector@school.example",
            "ErrorImpersonateUserDenied",
        ),
        (
            IMP,
            "SmtpAddress",
            "nobody@school.example",
            "ErrorNonExistentMailbox",
        ),
        (
            IMP,
            "PrincipalName",
            "a.l@school.example",
            "ErrorInvalidUserPrincipalName",
        ),
        (IMP, "SID", "S-1-5-21-1-1-1-1", "ErrorInvalidUserSid"),
        (
            FULL,
            "SmtpAddress",
            "ada.lovelace@school.example",
            "ErrorImpersonationDenied",
        ),
    ] {
        let answer = rig.ews_with(login, &act_as(sort, who), &own).await;
        assert_eq!((answer.status, answer.fault().as_str()), (500, code));
    }
    // who impersonates Bob has no more rights than he has
    let header = act_as("SmtpAddress", "bob@school.example");
    let other = get_folder(&[&calendar_of("dave@school.example")]);
    assert_eq!(
        rig.ews_with(IMP, &header, &other).await.codes(),
        ["ErrorAccessDenied"]
    );
}

#[tokio::test]
async fn folders_and_events_are_found_below_others() {
    let rig = open().await;
    let below = |traversal: &str, id: &str| {
        format!(
            "<m:FindFolder Traversal=\"{traversal}\"><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape>\
             <m:ParentFolderIds>{id}</m:ParentFolderIds></m:FindFolder>"
        )
    };
    let calendar = calendar_of("ada.lovelace@school.example");
    let top = calendar.replace("Id=\"calendar\"", "Id=\"msgfolderroot\"");
    for (traversal, id, names) in [
        ("Deep", &top, &["Agenda", "Projekt"][..]),
        ("Shallow", &top, &["Agenda"]),
        ("Shallow", &calendar, &["Projekt"]),
    ] {
        let answer = rig.ews(FULL, &below(traversal, id)).await;
        assert_eq!(answer.all("t:DisplayName"), names, "{}", answer.text);
    }
    assert_eq!(
        rig.ews(EVA, &below("Deep", &top)).await.codes(),
        ["ErrorAccessDenied"]
    );
    assert_eq!(
        rig.ews(EVA, &event("eva@school.example")).await.codes(),
        ["NoError"]
    );
    let find = |day: &str| {
        format!(
            "<m:FindItem Traversal=\"Shallow\"><m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape>\
             <m:CalendarView StartDate=\"2026-12-{day}T00:00:00Z\" EndDate=\"2026-12-{day}T23:59:59Z\"/>\
             <m:ParentFolderIds><t:DistinguishedFolderId Id=\"calendar\"/></m:ParentFolderIds></m:FindItem>"
        )
    };
    assert_eq!(
        rig.ews(EVA, &find("01")).await.all("t:Subject"),
        ["Algebra"]
    );
    assert_eq!(rig.ews(EVA, &find("02")).await.all("t:Subject").len(), 0);
}

fn event(owner: &str) -> String {
    format!(
        "<m:CreateItem SendMeetingInvitations=\"SendToNone\"><m:SavedItemFolderId>{}</m:SavedItemFolderId><m:Items>\
         <t:CalendarItem><t:Subject>Algebra</t:Subject><t:Start>2026-12-01T09:00:00Z</t:Start>\
         <t:End>2026-12-01T10:00:00Z</t:End></t:CalendarItem></m:Items></m:CreateItem>",
        calendar_of(owner)
    )
}

#[tokio::test]
async fn members_work_in_a_calendar_by_the_right_of_their_group() {
    let rig = open().await;
    let bob = "bob@school.example";
    assert_eq!(
        rig.ews(EVA, &event(bob)).await.codes(),
        ["ErrorAccessDenied"]
    );
    let id = rig.calendar(FULL, bob).await.folder_id();
    let list = everybody("FreeBusyTimeOnly") + &strangers("None") + &by_address(GROUP, "Author");
    assert_eq!(rig.set(FULL, &id, &list).await.codes(), ["NoError"]);
    let made = rig.ews(EVA, &event(bob)).await;
    assert_eq!(made.codes(), ["NoError"], "{}", made.text);
    let start = made.text.find("<t:ItemId ").unwrap();
    let item = &made.text[start..=start + made.text[start..].find("/>").unwrap() + 1];
    let get = format!(
        "<m:GetItem><m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape><m:ItemIds>{item}</m:ItemIds></m:GetItem>"
    );
    assert_eq!(rig.ews(EVA, &get).await.all("t:Subject"), ["Algebra"]);
    let delete = format!(
        "<m:DeleteItem DeleteType=\"HardDelete\" SendMeetingCancellations=\"SendToNone\"><m:ItemIds>{item}</m:ItemIds></m:DeleteItem>"
    );
    // a member of a nested security group is an Author too, and the event isn't its own
    assert_eq!(rig.ews(IMP, &get).await.codes(), ["NoError"]);
    assert_eq!(rig.ews(IMP, &delete).await.codes(), ["ErrorAccessDenied"]);
    assert_eq!(rig.ews(DAVE, &get).await.codes(), ["ErrorAccessDenied"]);
    assert_eq!(rig.ews(EVA, &delete).await.codes(), ["NoError"]);
    assert_eq!(rig.ews(EVA, &get).await.codes(), ["ErrorItemNotFound"]);
}

#[tokio::test]
async fn names_are_found_by_address_and_by_how_they_begin() {
    let rig = open().await;
    let ask = |entry: &str| {
        format!(
            "<m:ResolveNames ReturnFullContactData=\"false\" SearchScope=\"ActiveDirectory\"><m:UnresolvedEntry>{entry}</m:UnresolvedEntry></m:ResolveNames>"
        )
    };
    for (entry, code, sorts) in [
        ("smtp:a.l@school.example", "NoError", &["Mailbox"][..]),
        ("delegates@", "NoError", &["PublicDL"]),
        ("E", "NoError", &["Mailbox"]),
        // a security group without mail has no address to be found by
        ("ne", "NoError", &["PublicDL"]),
        ("nobody", "ErrorNameResolutionNoResults", &[]),
    ] {
        let answer = rig.ews(EVA, &ask(entry)).await;
        assert_eq!(answer.codes(), [code], "{entry}");
        assert_eq!(answer.all("t:MailboxType"), sorts);
    }
    assert_eq!(
        rig.ews(EVA, &ask("d")).await.codes(),
        ["ErrorNameResolutionMultipleResults"]
    );
    assert_eq!(
        rig.ews(FULL, &ask("d")).await.codes(),
        ["ErrorNameResolutionNoMailbox"]
    );
    let expand = "<m:ExpandDL><m:Mailbox><t:EmailAddress>teachers@school.example</t:EmailAddress></m:Mailbox></m:ExpandDL>";
    assert_eq!(rig.ews(EVA, expand).await.all("t:EmailAddress").len(), 3);
}
