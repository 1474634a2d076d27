//! The catalogue, row by row.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::body::Body;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: Some(status),
        body: Body::read(body.into()),
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
    classify(reply(status, body), asked).unwrap_err().meaning
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
        // Errors inside a success, or where a batch left the status out.
        (200, code("ServiceUnavailable"), Asked::Folder, Retry),
        (200, code("Unauthorized"), Asked::Folder, SignInAgain),
        (200, code("Forbidden"), Asked::Folder, PauseAccount),
        (
            200,
            code("TooManyRequests"),
            Asked::Folder,
            wait(Scope::Account),
        ),
        (
            200,
            code("Strange"),
            Asked::Folder,
            GiveUp(Reason::Rejected),
        ),
        (
            429,
            code("ApplicationThrottled"),
            Asked::Directory,
            wait(Scope::Account),
        ),
        (
            400,
            code("activityLimitReached"),
            Asked::Directory,
            wait(Scope::Account),
        ),
        // Conflicts, moves, members.
        (
            409,
            code("Request_MultipleObjectsWithSameKeyValue"),
            Asked::Directory,
            Retry,
        ),
        (412, String::new(), Asked::Directory, Retry),
        (424, code("FailedDependency"), Asked::Directory, Retry),
        (
            400,
            code("MailboxNotEnabledForRESTAPI"),
            Asked::Mailbox,
            Park,
        ),
        (
            500,
            cmdlet("MailboxInTransitException", "x"),
            Asked::Folder,
            Park,
        ),
        (404, code("ErrorNonExistentMailbox"), Asked::Mailbox, Park),
        (
            400,
            cmdlet("MemberAlreadyExistsException", "x"),
            Asked::Directory,
            EntryExists,
        ),
        // The interface isn't there, or something stands between.
        (405, String::new(), Asked::Folder, PauseAccount),
        (501, String::new(), Asked::Folder, PauseAccount),
        (404, String::new(), Asked::Folder, Retry),
        (404, "<html>".into(), Asked::Folder, Retry),
        (302, String::new(), Asked::Folder, Retry),
        (
            404,
            code("ResourceNotFound"),
            Asked::Folder,
            GiveUp(Reason::Rejected),
        ),
        (
            403,
            code("ErrorAccessDenied"),
            Asked::Directory,
            PauseAccount,
        ),
        (403, "ServerBusyException".into(), Asked::Folder, Retry),
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
            classify(reply, Asked::Folder).unwrap_err().meaning,
            Meaning::WaitUntil {
                scope,
                after: Some(Duration::from_secs(7))
            }
        );
    }
}

#[test]
fn a_named_delay_makes_a_wait_of_what_is_transient() {
    for body in [
        cmdlet("ServerBusyException", "x"),
        code("CmdletProxyNotAvailableFailure"),
    ] {
        let reply = Reply {
            retry_after: Some(Duration::from_secs(7)),
            ..reply(400, &body)
        };
        assert!(matches!(
            classify(reply, Asked::Folder).unwrap_err().meaning,
            Meaning::WaitUntil { .. }
        ));
    }
}

#[test]
fn a_batch_may_leave_the_status_out() {
    let without = |body: &str| Reply {
        status: None,
        ..reply(0, body)
    };
    let failed = without(&cmdlet("UserNotFoundInPermissionEntryException", "x"));
    let error = classify(failed, Asked::Folder).unwrap_err();
    assert_eq!(error.meaning, Meaning::NoEntry);
    assert!(classify(without(r#"{"value":[]}"#), Asked::Folder).is_ok());
    assert!(classify(without(""), Asked::Folder).is_ok());
}

#[test]
fn a_cmdlet_that_failed_is_no_missing_endpoint() {
    for (status, body, want) in [
        (404, String::new(), true),
        (403, "\0".into(), true),
        (403, code("Forbidden"), true),
        (404, code("ResourceNotFound"), true),
        (405, "<html>".into(), true),
        (404, cmdlet("ManagementObjectNotFoundException", "x"), false),
        (403, cmdlet("XException", "write scope"), false),
        (404, code("MailboxNotEnabledForRESTAPI"), false),
        (403, code("ServerBusyException"), false),
        (400, String::new(), false),
        (500, String::new(), false),
    ] {
        assert_eq!(
            is_no_endpoint(&reply(status, &body)),
            want,
            "{status} {body}"
        );
    }
}

#[test]
fn a_batch_that_is_too_large_is_no_failed_call() {
    for (status, body, want) in [
        (400, code("BadRequest"), true),
        (413, String::new(), true),
        (404, String::new(), true),
        (400, code("ServerBusyException"), false),
        (400, code("TooManyRequests"), false),
        (400, code("ErrorIncorrectRoutingHint"), false),
        (200, String::new(), false),
        (429, String::new(), false),
        (503, String::new(), false),
    ] {
        assert_eq!(is_no_batch(&reply(status, &body)), want, "{status} {body}");
    }
}

#[test]
fn no_row_is_there_twice() {
    let mut names: Vec<_> = CATALOGUE.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), CATALOGUE.len());
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    assert!(classify(reply(200, "\u{FEFF}{\"value\":[]}"), Asked::Folder).is_ok());
}

#[test]
fn links_to_further_pages() {
    for (page, want) in [
        (json!({"@odata.nextLink": "https://x"}), Some("https://x")),
        (json!({"@odata.nextLink": ""}), None),
        (json!({"@odata.nextLink": null}), None),
        (json!({}), None),
        (json!([]), None),
    ] {
        assert_eq!(next_link(&page), want, "{page}");
    }
}

#[test]
fn code_text_and_request_id_are_kept() {
    let error = classify(
        reply(404, &cmdlet("AException", &"é|".repeat(400))),
        Asked::Folder,
    )
    .unwrap_err();
    assert_eq!(error.detail.server_code, "AException");
    assert_eq!(error.detail.server_text.chars().count(), 300);
    let error = classify(reply(404, &code("X")), Asked::Directory).unwrap_err();
    assert_eq!(error.detail.request_id, "r-1");
    let refused = Reply {
        diagnostics: "2000003;reason=\"not in role\"".into(),
        request_id: "r-2".into(),
        ..reply(403, "\0")
    };
    let error = classify(refused, Asked::Folder).unwrap_err();
    assert_eq!(error.detail.server_code, "2000003");
    assert!(error.detail.server_text.contains("not in role"));
    assert_eq!(error.detail.request_id, "r-2");
}

#[test]
fn success_needs_no_value() {
    assert_eq!(classify(reply(204, ""), Asked::Folder), Ok(Value::Null));
    assert!(rows(json!({"value": [], "@adminapi.warnings": []})).is_empty());
    assert!(
        rows(json!({"@adminapi.warnings": [], "adminapi.warnings@odata.type": "x"})).is_empty()
    );
    assert_eq!(rows(json!({"User": "a"})).len(), 1);
    assert_eq!(rows(json!({"value": [{}, {}]})).len(), 2);
}
