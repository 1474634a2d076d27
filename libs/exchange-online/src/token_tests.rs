//! What the token endpoint says.

use calgrant_exchange::Scope;

use super::*;
use crate::body::Body;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: Some(status),
        body: Body::read(body.into()),
        ..Reply::default()
    }
}

#[test]
fn answers() {
    let (token, life) = read(&reply(
        200,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#,
    ))
    .ok()
    .unwrap();
    assert_eq!(
        (token.expose_secret(), life),
        ("t", Duration::seconds(3599))
    );
    for life in ["\"60\"", "60"] {
        let body = format!(r#"{{"access_token":"t","expires_in":{life}}}"#);
        assert_eq!(
            read(&reply(200, &body)).ok().unwrap().1,
            Duration::seconds(60)
        );
    }
    let wait = Meaning::WaitUntil {
        scope: Scope::Account,
        after: None,
    };
    let refused = r#"{"error":"invalid_client","error_description":"AADSTS7000215: no","error_codes":[7000215],"trace_id":"tr"}"#;
    for (status, body, want, code) in [
        (401, refused, Meaning::PauseAccount, "AADSTS7000215"),
        (
            400,
            r#"{"error":"invalid_request"}"#,
            Meaning::PauseAccount,
            "invalid_request",
        ),
        (
            400,
            r#"{"error":"temporarily_unavailable"}"#,
            Meaning::Retry,
            "temporarily_unavailable",
        ),
        (429, "", wait, "HTTP 429"),
        (500, refused, Meaning::Retry, "invalid_client"),
        (503, "", Meaning::Retry, "HTTP 503"),
        (404, "<html>", Meaning::Retry, "HTTP 404"),
        (
            400,
            r#"{"error":"unauthorized_client","error_codes":[50196]}"#,
            Meaning::Retry,
            "unauthorized_client",
        ),
        (
            401,
            r#"{"error":"invalid_client","error_codes":[7000222]}"#,
            Meaning::PauseAccount,
            "AADSTS7000222",
        ),
        (
            400,
            r#"{"error":"unauthorized_client","error_codes":[700016]}"#,
            Meaning::PauseAccount,
            "AADSTS700016",
        ),
        (403, "<html>", Meaning::Retry, "HTTP 403"),
        (200, "{}", Meaning::Retry, "sign_in"),
    ] {
        let error = read(&reply(status, body)).err().unwrap();
        assert_eq!(
            (&error.meaning, error.detail.server_code.as_str()),
            (&want, code),
            "{status} {body}"
        );
    }
}
