//! The catalogue, row by row.

use std::time::Duration;

use serde_json::json;

use super::*;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: Some(status),
        body: body.into(),
        ..Reply::default()
    }
}

fn cmdlet(exception: &str, text: &str) -> String {
    let message = format!("Ex1|Microsoft.Exchange.Management.{exception}|{text}");
    json!({"error": {"code": "NotFound", "message": "Error executing cmdlet",
        "details": [{"code": "Client", "target": "", "message": message}]}})
    .to_string()
}

fn code(code: &str) -> String {
    json!({"error": {"code": code, "message": "no", "innerError": {"request-id": "r-1"}}})
        .to_string()
}

fn meaning_of(status: u16, body: &str, asked: Asked) -> Meaning {
    classify(&reply(status, body), asked).unwrap_err().meaning
}

#[test]
fn table() {
    use Meaning::{
        EntryExists, FolderGone, GiveUp, NoEntry, Park, PauseAccount, Retry, SignInAgain,
    };
    let wait = |scope| Meaning::WaitUntil { scope, after: None };
    let not_found = cmdlet("ManagementObjectNotFoundException", "x");
    for (status, body, asked, want) in [
        (404, not_found.clone(), Asked::Mailbox, Park),
        (500, not_found.clone(), Asked::Mailbox, Park),
        (404, not_found, Asked::Folder, FolderGone),
        (
            400,
            cmdlet("ManagementObjectAmbiguousException", "x"),
            Asked::Folder,
            GiveUp(Reason::Ambiguous),
        ),
        (
            400,
            cmdlet("InvalidInternalUserIdException", "x"),
            Asked::Folder,
            GiveUp(Reason::TrusteeRefused),
        ),
        (
            400,
            cmdlet("InvalidExternalUserIdException", "x"),
            Asked::Folder,
            GiveUp(Reason::TrusteeRefused),
        ),
        (
            400,
            cmdlet("XException", "The Sharing policy doesn't allow you to"),
            Asked::Folder,
            GiveUp(Reason::SharingPolicy),
        ),
        (
            403,
            cmdlet("XException", "it's out of the current user's write scope"),
            Asked::Folder,
            GiveUp(Reason::OutOfWriteScope),
        ),
        (
            400,
            cmdlet("CannotChangePermissionsOnFolderException", "x"),
            Asked::Folder,
            GiveUp(Reason::FolderRefused),
        ),
        (
            400,
            cmdlet("CannotRemoveSpecialUserException", "x"),
            Asked::Folder,
            GiveUp(Reason::Rejected),
        ),
        (
            400,
            cmdlet("UserAlreadyExistsInPermissionEntryException", "x"),
            Asked::Folder,
            EntryExists,
        ),
        (
            404,
            cmdlet("UserNotFoundInPermissionEntryException", "x"),
            Asked::Folder,
            NoEntry,
        ),
        (
            200,
            cmdlet("UserNotFoundInPermissionEntryException", "x"),
            Asked::Folder,
            NoEntry,
        ),
        (
            400,
            code("ErrorIncorrectRoutingHint"),
            Asked::Mailbox,
            GiveUp(Reason::Rejected),
        ),
        (
            404,
            code("MailboxNotEnabledForRESTAPI"),
            Asked::Mailbox,
            Park,
        ),
        (
            403,
            code("MailboxNotEnabledForRESTAPI"),
            Asked::Mailbox,
            Park,
        ),
        (404, code("ErrorInvalidUser"), Asked::Mailbox, Park),
        (
            404,
            code("Request_ResourceNotFound"),
            Asked::Directory,
            GiveUp(Reason::Rejected),
        ),
        (
            403,
            code("Authorization_RequestDenied"),
            Asked::Directory,
            PauseAccount,
        ),
        (403, "\0".into(), Asked::Folder, PauseAccount),
        (403, String::new(), Asked::Folder, PauseAccount),
        (
            401,
            code("InvalidAuthenticationToken"),
            Asked::Directory,
            SignInAgain,
        ),
        (401, String::new(), Asked::Folder, SignInAgain),
        (429, String::new(), Asked::Folder, wait(Scope::Account)),
        (
            400,
            cmdlet("ServerBusyException", "x"),
            Asked::Folder,
            Retry,
        ),
        (
            400,
            code("CmdletProxyNotAvailableFailure"),
            Asked::Folder,
            Retry,
        ),
        (
            404,
            cmdlet("StoreTransientException", "x"),
            Asked::Folder,
            Retry,
        ),
        (
            400,
            cmdlet("BackendCommunicationException", "x"),
            Asked::Folder,
            Retry,
        ),
        (500, String::new(), Asked::Folder, Retry),
        (502, "<html>".into(), Asked::Folder, Retry),
        (503, String::new(), Asked::Folder, Retry),
        (504, String::new(), Asked::Folder, Retry),
        (200, "<html>".into(), Asked::Folder, Retry),
        (418, String::new(), Asked::Folder, GiveUp(Reason::Rejected)),
    ] {
        assert_eq!(meaning_of(status, &body, asked), want, "{status} {body}");
    }
}

#[test]
fn slow_downs_carry_the_servers_delay() {
    for (status, scope) in [(429, Scope::Account), (503, Scope::Site)] {
        let reply = Reply {
            retry_after: Some(Duration::from_secs(7)),
            ..reply(status, "")
        };
        assert_eq!(
            classify(&reply, Asked::Folder).unwrap_err().meaning,
            Meaning::WaitUntil {
                scope,
                after: Some(Duration::from_secs(7))
            }
        );
    }
}

#[test]
fn proxied_exceptions_are_json_in_the_message() {
    let message = json!({"ClassName": "Microsoft.Exchange.Configuration.CmdletProxyException",
        "Message": "Error on proxy command 'Set-X' to server A: Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException: no"});
    let body = json!({"error": {"code": "BadRequest", "message": "Error executing cmdlet",
        "details": [{"message": message.to_string()}]}});
    assert_eq!(
        meaning_of(400, &body.to_string(), Asked::Mailbox),
        Meaning::Park
    );
}

#[test]
fn code_text_and_request_id_are_kept() {
    let error = classify(
        &reply(404, &cmdlet("AException", &"é|".repeat(400))),
        Asked::Folder,
    )
    .unwrap_err();
    assert_eq!(error.detail.server_code, "AException");
    assert_eq!(error.detail.server_text.chars().count(), 300);
    let error = classify(&reply(404, &code("X")), Asked::Directory).unwrap_err();
    assert_eq!(error.detail.request_id, "r-1");
    let refused = Reply {
        diagnostics: "2000003;reason=\"not in role\"".into(),
        request_id: "r-2".into(),
        ..reply(403, "\0")
    };
    let error = classify(&refused, Asked::Folder).unwrap_err();
    assert_eq!(error.detail.server_code, "2000003");
    assert!(error.detail.server_text.contains("not in role"));
    assert_eq!(error.detail.request_id, "r-2");
}

#[test]
fn success_needs_no_value() {
    assert_eq!(classify(&reply(204, ""), Asked::Folder), Ok(Value::Null));
    assert!(rows(json!({"value": [], "@adminapi.warnings": []})).is_empty());
    assert!(
        rows(json!({"@adminapi.warnings": [], "adminapi.warnings@odata.type": "x"})).is_empty()
    );
    assert_eq!(rows(json!({"User": "a"})).len(), 1);
    assert_eq!(rows(json!({"value": [{}, {}]})).len(), 2);
}
