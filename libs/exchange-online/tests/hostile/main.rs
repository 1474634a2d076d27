//! Answers the simulator doesn't give: a server written here says what it likes.

mod server;

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use calgrant_domain::{Reason, WritePath};
use calgrant_exchange::{
    Answer, Ask, CalendarCall, Calendars, Directory, ListingError, Meaning, Selection,
};
use serde_json::{Value, json};
use server::{Server, TENANT, addressed, find, folder, group, json_of, text_of};

#[tokio::test]
async fn what_is_no_answer_is_tried_again_and_no_token_follows_a_redirect() {
    type Case = (fn(&str) -> Response, &'static str);
    let cases: [Case; 5] = [
        (
            |_| {
                text_of(
                    200,
                    &[("content-type", "text/html")],
                    "<html>sign in</html>",
                )
            },
            "not_json",
        ),
        (
            |here| text_of(302, &[("location", &format!("{here}/elsewhere"))], ""),
            "HTTP 302",
        ),
        (
            |here| text_of(307, &[("location", &format!("{here}/elsewhere"))], ""),
            "HTTP 307",
        ),
        (
            |_| {
                text_of(
                    502,
                    &[("content-type", "text/html")],
                    "<html>Bad Gateway</html>",
                )
            },
            "HTTP 502",
        ),
        // It says that it is packed, and isn't.
        (
            |_| text_of(200, &[("content-encoding", "gzip")], "{}"),
            "connection",
        ),
    ];
    for (says, code) in cases {
        let server = Server::new(move |here, _| says(here)).await;
        let error = server.find().await.unwrap_err();
        assert_eq!(
            (&error.meaning, error.detail.server_code.as_str()),
            (&Meaning::Retry, code)
        );
        assert_eq!(server.asked().len(), 1, "{code}");
        assert!(!error.detail.server_text.contains("u0@"), "{error:?}");
    }
}

#[tokio::test]
async fn a_refusal_by_role_is_a_nul_byte_that_says_it_is_packed() {
    let server = Server::new(|_, _| {
        let headers = [
            ("content-encoding", "gzip"),
            ("request-id", "r-1"),
            (
                "x-ms-diagnostics",
                "2000003;reason=\"The cmdlet is not in the role\"",
            ),
        ];
        text_of(403, &headers, "\0")
    })
    .await;
    let error = server.find().await.unwrap_err();
    assert_eq!(error.meaning, Meaning::PauseAccount);
    assert_eq!(error.detail.server_code, "2000003");
    assert_eq!(error.detail.request_id, "r-1");
}

#[tokio::test]
async fn requests_are_written_as_the_reference_says() {
    let server =
        Server::new(|_, _| json_of(200, &json!({"value": [folder("Calendar", "/Agenda")]}))).await;
    let calendars = server.calendars(WritePath::AdminApi);
    let Ok(Answer::Calendar(calendar)) = find(&calendars, 1).await.answers.remove(0) else {
        panic!("not found");
    };
    let read = CalendarCall {
        mailbox: addressed(0),
        ask: Ask::Read {
            calendar,
            trustee: addressed(1),
        },
    };
    calendars.perform(vec![read]).await;
    let asked = server.asked();
    assert_eq!(
        asked[0].url,
        format!("/adminapi/beta/{TENANT}/InvokeCommand")
    );
    assert_eq!(
        asked[1].url,
        format!("/adminapi/v2.0/{TENANT}/MailboxFolderPermission")
    );
    assert_eq!(
        asked[1].body,
        json!({"CmdletInput": {"CmdletName": "Get-MailboxFolderPermission", "Parameters":
            {"Identity": "u0@uni.example:\\Agenda", "User": "u1@uni.example", "ResultSize": "Unlimited"}}})
    );
    for one in &asked {
        for (name, value) in [
            ("authorization", "Bearer a-token"),
            ("content-type", "application/json; charset=utf-8"),
            ("accept", "application/json"),
            ("accept-language", "en-US"),
            ("x-anchormailbox", "UPN:u0@uni.example"),
            ("prefer", "odata.maxpagesize=1000"),
        ] {
            assert_eq!(one.headers[name], value, "{name}");
        }
        // Watching the body takes nothing from it.
        assert!(one.headers.contains_key("content-length"));
        assert!(one.headers.contains_key("client-request-id"));
    }
}

#[tokio::test]
async fn answers_in_several_pages_are_followed_as_far_as_is_needed() {
    let server = Server::new(|here, asked| {
        let page = asked.url.split("page=").nth(1).unwrap_or("0");
        let next = |page| format!("{here}/adminapi/beta/{TENANT}/InvokeCommand?page={page}");
        let rows = |kind| json!([folder(kind, "/Kalender")]);
        json_of(
            200,
            &match page {
                "0" => json!({"value": [], "@odata.nextLink": next(1)}),
                "1" => json!({"value": rows("User Created"), "@odata.nextLink": next(2)}),
                _ => json!({"value": rows("Calendar"), "@odata.nextLink": next(3)}),
            },
        )
    })
    .await;
    let calendars = server.calendars(WritePath::InvokeCommand);
    let performed = find(&calendars, 1).await;
    assert!(performed.answers[0].is_ok(), "{performed:?}");
    assert_eq!(performed.round_trips, 3);
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.body == asked[0].body));
}

#[tokio::test]
async fn links_that_lead_elsewhere_are_not_followed() {
    for link in [
        format!("https://evil.example/adminapi/beta/{TENANT}/InvokeCommand"),
        "{here}/adminapi/beta/99999999-2222-3333-4444-555555555555/InvokeCommand".to_owned(),
        "{here}/elsewhere".to_owned(),
    ] {
        let server = Server::new(move |here, _| {
            let link = link.replace("{here}", here);
            json_of(200, &json!({"value": [], "@odata.nextLink": link}))
        })
        .await;
        let error = server.find().await.unwrap_err();
        assert_eq!(error.meaning, Meaning::GiveUp(Reason::Rejected));
        assert_eq!(error.detail.server_code, "foreign_link");
        assert_eq!(server.asked().len(), 1);
        let all = Selection::All {
            types: vec![calgrant_domain::MailboxType::User],
        };
        let listed = server.directory().page(&all, None).await;
        assert!(
            matches!(listed, Err(ListingError::Call(error)) if error.detail.server_code == "foreign_link")
        );
    }
}

#[tokio::test]
async fn pages_without_end_have_one() {
    let server = Server::new(|here, _| {
        let link = format!("{here}/adminapi/beta/{TENANT}/InvokeCommand");
        json_of(200, &json!({"value": [], "@odata.nextLink": link}))
    })
    .await;
    let error = server.find().await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Retry);
    assert_eq!(error.detail.server_code, "too_many_pages");
    assert_eq!(server.asked().len(), 20);
    let circle = Server::new(|here, asked| {
        if asked.url.contains("filter") {
            return json_of(200, &json!({"value": [{"id": "x"}]}));
        }
        json_of(
            200,
            &json!({"value": [], "@odata.nextLink": format!("{here}{}", asked.url)}),
        )
    })
    .await;
    let listed = circle.directory().page(&group(), None).await;
    assert!(
        matches!(&listed, Err(ListingError::Call(error)) if error.detail.server_code == "circular_link"),
        "{listed:?}"
    );
}

#[tokio::test]
async fn a_batch_is_told_apart_by_ids_alone() {
    let server = Server::new(|_, asked| {
        let requests = asked.body["requests"].as_array().unwrap().clone();
        let path = |id: &str| format!("/Calendar of {id}");
        let responses: Vec<Value> = requests
            .iter()
            .rev()
            .filter(|request| request["id"] != "1")
            .map(|request| {
                let id = request["id"].as_str().unwrap();
                json!({"id": id, "body": {"value": [folder("Calendar", &path(id))]}})
            })
            .collect();
        let mut response = json_of(200, &json!({"responses": responses}));
        response
            .headers_mut()
            .insert("request-id", "outer".parse().unwrap());
        response
    })
    .await;
    let performed = find(&server.calendars(WritePath::InvokeCommand), 3).await;
    assert!(performed.abandoned());
    for (at, answer) in performed.answers.iter().enumerate() {
        match (at, answer) {
            (1, Err(error)) => assert!(error.unanswered && error.meaning == Meaning::Retry),
            (at, Ok(Answer::Calendar(found))) => {
                assert_eq!(found.path, format!("\\Calendar of {at}"));
            }
            other => panic!("{other:?}"),
        }
    }
    let inner = &server.asked()[0].body["requests"][2];
    assert!(inner["url"].as_str().unwrap().starts_with("http://"));
    assert_eq!(inner["headers"]["Authorization"], "Bearer a-token");
    assert_eq!(inner["headers"]["X-AnchorMailbox"], "UPN:u2@uni.example");
    assert_eq!(inner["headers"]["Accept"], "application/json");
}

#[tokio::test]
async fn where_there_are_no_batches_calls_go_one_by_one() {
    let server = Server::new(|_, asked| {
        if asked.url.contains("$batch") {
            return text_of(404, &[], "");
        }
        json_of(200, &folder("Calendar", "/Agenda"))
    })
    .await;
    let calendars = server.calendars(WritePath::InvokeCommand);
    for _ in 0..5 {
        let performed = find(&calendars, calendars.round_size()).await;
        assert!(performed.answers.iter().all(Result::is_ok));
    }
    assert_eq!(calendars.round_size(), 1);
}

#[tokio::test]
async fn an_entry_that_cannot_be_told_from_others_is_not_guessed() {
    let server = Server::new(|_, _| {
        json_of(
            200,
            &json!({"value": [
            {"User": "Default", "AccessRights": ["AvailabilityOnly"]},
            {"User": "Susan Grosso", "AccessRights": ["Owner"]}]}),
        )
    })
    .await;
    let read = CalendarCall {
        mailbox: addressed(0),
        ask: Ask::Read {
            calendar: calgrant_domain::Calendar {
                folder_id: "LgAA".into(),
                path: "\\Agenda".into(),
            },
            trustee: addressed(1),
        },
    };
    let calendars = server.calendars(WritePath::AdminApi);
    let answer = calendars.perform(vec![read]).await.answers.remove(0);
    assert_eq!(answer.unwrap_err().meaning, Meaning::Retry);
}

#[tokio::test]
async fn a_group_is_listed_by_type_where_it_has_to_be() {
    let server = Server::new(|_, asked| {
        let user = json!({"id": "6f1c2d3e-0000-4000-8000-000000000001", "userPrincipalName": "a@uni.example", "mail": "a@uni.example"});
        if asked.url.contains("filter") {
            json_of(200, &json!({"value": [{"id": "gid", "mail": "g@uni.example"}]}))
        } else if asked.url.contains("/transitiveMembers/microsoft.graph.user?") {
            assert_eq!(asked.headers["consistencylevel"], "eventual");
            assert!(asked.url.contains("$count=true"));
            json_of(200, &json!({"value": [user]}))
        } else {
            let text = "Unsupported or invalid query filter clause";
            json_of(400, &json!({"error": {"code": "Request_UnsupportedQuery", "message": text}}))
        }
    })
    .await;
    let page = server.directory().page(&group(), None).await.unwrap();
    assert_eq!(page.listed.len(), 1);
}

#[tokio::test]
async fn users_of_whom_only_the_id_is_shown_are_not_taken_for_people_without_a_mailbox() {
    let server = Server::new(|_, asked| {
        if asked.url.contains("filter") {
            return json_of(200, &json!({"value": [{"id": "gid"}]}));
        }
        json_of(
            200,
            &json!({"value": [
                {"@odata.type": "#microsoft.graph.device", "id": "d", "displayName": null},
                {"@odata.type": "#microsoft.graph.user", "id": "u", "userPrincipalName": null}]}),
        )
    })
    .await;
    let Err(ListingError::Call(error)) = server.directory().page(&group(), None).await else {
        panic!("it was listed");
    };
    assert_eq!(error.meaning, Meaning::PauseAccount);
    assert!(error.detail.server_text.contains("User.Read.All"));
}

#[tokio::test]
async fn a_name_the_directory_cannot_look_for_does_not_stop_the_others() {
    let server = Server::new(|_, asked| {
        let responses: Vec<Value> = asked.body["requests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|request| {
                let bad = json!({"error": {"code": "Request_BadRequest", "message": "Invalid filter clause"}});
                if request["id"] == "0" && request["url"].as_str().unwrap().starts_with("/users") {
                    json!({"id": "0", "status": 400, "body": bad})
                } else {
                    json!({"id": request["id"], "status": 200, "body": {"value": []}})
                }
            })
            .collect();
        json_of(200, &json!({"responses": responses}))
    })
    .await;
    let names = [addressed(0), addressed(1)];
    let found = server.directory().look_up(&names).await.unwrap();
    assert_eq!(found.rest, None);
    let what: Vec<_> = found
        .resolved
        .iter()
        .map(|one| (one.asked.clone(), one.listed.what.clone().unwrap_err()))
        .collect();
    assert!(what.contains(&(addressed(0), Reason::Rejected)));
    assert!(what.contains(&(addressed(1), Reason::NotFound)));
}

#[tokio::test]
async fn an_answer_deeper_than_any_is_nonsense_and_no_crash() {
    static DEEP: std::sync::LazyLock<Bytes> =
        std::sync::LazyLock::new(|| Bytes::from("[".repeat(100_000)));
    let server = Server::new(|_, _| DEEP.clone().into_response()).await;
    let error = server.find().await.unwrap_err();
    assert_eq!(error.detail.server_code, "not_json");
}
