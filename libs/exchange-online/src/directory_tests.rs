//! Links to further pages.

use super::*;

#[test]
fn links_stay_at_home() {
    let base = "https://graph.example";
    assert!(same_place(base, "https://graph.example:443/v1.0/users?$skiptoken=x").is_ok());
    for link in [
        "http://graph.example/x",
        "https://graph.example.evil/x",
        "https://graph.example:8443/x",
        "https://graph.example@evil/x",
        "/v1.0/users",
    ] {
        assert!(same_place(base, link).is_err(), "{link}");
    }
}

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
        (400, r#"{"error":{"code":"Request_BadRequest"}}"#, false),
        (429, "", false),
    ] {
        let reply = Reply {
            status: Some(status),
            body: body.into(),
            ..Reply::default()
        };
        assert_eq!(expired(&reply), want, "{status} {body}");
    }
}
