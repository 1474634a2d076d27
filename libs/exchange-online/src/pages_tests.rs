//! Pages and their links.

use super::*;
use crate::body::Body;

#[test]
fn links_expire() {
    for (status, body, want) in [
        (404, "", true),
        (410, "", true),
        (
            400,
            r#"{"error":{"code":"Directory_ExpiredPageToken"}}"#,
            true,
        ),
        (400, r#"{"error":{"message":"Invalid $skiptoken"}}"#, true),
        // The server gave this link: if it takes it no more, it is over.
        (400, r#"{"error":{"code":"Request_BadRequest"}}"#, true),
        (400, r#"{"error":{"message":"ServerBusyException"}}"#, false),
        (503, "", false),
        (429, "", false),
    ] {
        let reply = Reply {
            status: Some(status),
            body: Body::read(body.into()),
            ..Reply::default()
        };
        assert_eq!(expired(&reply), want, "{status} {body}");
    }
}

#[test]
fn a_question_refused_for_its_form_is_asked_by_type() {
    for (status, body, want) in [
        (
            400,
            r#"{"error":{"code":"Request_UnsupportedQuery"}}"#,
            true,
        ),
        (404, r#"{"error":{"code":"ResourceNotFound"}}"#, true),
        (
            404,
            r#"{"error":{"code":"Request_ResourceNotFound"}}"#,
            false,
        ),
        (
            403,
            r#"{"error":{"code":"Authorization_RequestDenied"}}"#,
            false,
        ),
        (401, "", false),
        (200, "{}", false),
    ] {
        let reply = Reply {
            status: Some(status),
            body: Body::read(body.into()),
            ..Reply::default()
        };
        assert_eq!(is_unsupported(&reply), want, "{status} {body}");
    }
    assert_eq!(
        cast_to_users("https://g.example/v1.0/groups/x/transitiveMembers?$top=9").as_deref(),
        Some("https://g.example/v1.0/groups/x/transitiveMembers/microsoft.graph.user?$top=9")
    );
}
