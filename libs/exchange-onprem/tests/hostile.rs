//! Answers that are none: each an error with a name, and never the answer for another mailbox.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod play;

use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, Meaning};
use calgrant_exchange_onprem::{Access, EwsCalendars, PowerShellCalendars, Server, SignIn};
use calgrant_runtime::clock;
use play::{Play, reply};

/// Whether an error means what it should.
type Good = fn(&Meaning) -> bool;

fn settings(url: &str) -> (Server, SignIn) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server {
        url: url.to_owned(),
        ca_pem: None,
    };
    let sign_in = SignIn::Basic {
        user: "UNI\\sa-1".into(),
        password: "hush".into(),
    };
    (server, sign_in)
}

fn ews(url: &str) -> EwsCalendars {
    let (server, sign_in) = settings(url);
    EwsCalendars::new(&server, sign_in, Access::Full, clock::now).unwrap()
}

fn find(mailbox: &str) -> Vec<CalendarCall> {
    vec![CalendarCall {
        mailbox: mailbox.parse().unwrap(),
        ask: Ask::FindCalendar,
    }]
}

fn found(name: &str, operation: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><m:{operation}Response xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\" xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"><m:ResponseMessages><m:{operation}ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:CalendarFolder><t:FolderId Id=\"{name}\"/><t:DisplayName>{name}</t:DisplayName></t:CalendarFolder></m:Folders></m:{operation}ResponseMessage></m:ResponseMessages></m:{operation}Response></s:Body></s:Envelope>"
    )
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let good = found("Agenda", "GetFolder");
    let message = good
        .split("<m:ResponseMessages>")
        .nth(1)
        .unwrap()
        .split("</m:ResponseMessages>")
        .next()
        .unwrap()
        .to_owned();
    let fault = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode xmlns:a=\"http://schemas.microsoft.com/exchange/services/2006/types\">a:ErrorServerBusy</faultcode><faultstring>busy</faultstring><detail><e:ResponseCode xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">ErrorServerBusy</e:ResponseCode><t:MessageXml xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"><t:Value Name=\"BackOffMilliseconds\">2500</t:Value></t:MessageXml></detail></s:Fault></s:Body></s:Envelope>";
    for (status, headers, body, code) in [
        (200, "", "", "empty_answer"),
        (200, "", "\0", "nul_answer"),
        (
            200,
            "",
            "<html><body>Server Error in '/EWS' Application</body></html>",
            "html_page",
        ),
        (500, "", "<!DOCTYPE html><html></html>", "HTTP 500"),
        (200, "", "{\"error\":\"no\"}", "not_xml"),
        (200, "", "<a/>", "not_soap"),
        (200, "", &good[..good.len() - 20], "not_xml"),
        (200, "", &found("Agenda", "UpdateFolder"), "other_answer"),
        (200, "", &good.replace(&message, ""), "other_count"),
        (
            200,
            "",
            &good.replace(&message, &message.repeat(2)),
            "other_count",
        ),
        // The right words in the wrong namespace.
        (
            200,
            "",
            &good.replace("2006/messages", "2007/messages"),
            "other_answer",
        ),
        (
            200,
            "",
            &good.replace("2006/types", "2007/types"),
            "no_calendar_folder",
        ),
        (
            200,
            "client-request-id: 11111111-2222-3333-4444-555555555555\r\n",
            &good,
            "other_request",
        ),
        (
            302,
            "Location: /ews/genericerrorpage.htm\r\n",
            "",
            "HTTP 302",
        ),
        (403, "", "", "HTTP 403"),
        (503, "Retry-After: 7\r\n", "busy", "HTTP 503"),
        // A fault is one whatever the status.
        (200, "", fault, "ErrorServerBusy"),
        (500, "", fault, "ErrorServerBusy"),
        (
            500,
            "",
            "The referenced account is currently locked out and may not be logged on to.",
            "HTTP 500",
        ),
    ] {
        let play = Play::start(vec![reply(status, headers, body)]);
        let mut performed = ews(&play.url).perform(find("ada@uni.example")).await;
        let error = performed.answers.remove(0).unwrap_err();
        assert_eq!(error.detail.server_code, code, "{status} {body:.60}");
        assert!(!error.unanswered);
        match code {
            "ErrorServerBusy" => {
                assert!(format!("{:?}", error.meaning).contains("2.5s"), "{error:?}")
            }
            "HTTP 403" => assert_eq!(error.meaning, Meaning::PauseAccount),
            "HTTP 500" if body.contains("locked out") => {
                assert_eq!(error.meaning, Meaning::PauseAccount)
            }
            "no_calendar_folder" => {}
            _ => assert!(
                matches!(error.meaning, Meaning::Retry | Meaning::WaitUntil { .. }),
                "{error:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_no_answer() {
    // It says that more comes, and hangs up.
    let half =
        b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 900\r\n\r\n<s:Envelope".to_vec();
    for bytes in [Vec::new(), half] {
        let play = Play::closing(vec![bytes]);
        let mut performed = ews(&play.url).perform(find("ada@uni.example")).await;
        assert!(performed.answers.remove(0).unwrap_err().unanswered);
        assert_eq!(performed.round_trips, 1);
    }
}

#[tokio::test]
async fn once_a_server_names_the_request_it_must_always() {
    let good = |name: &'static str| {
        move |id: Option<&str>| {
            reply(
                200,
                &id.map(|id| format!("client-request-id: {id}\r\n"))
                    .unwrap_or_default(),
                &found(name, "GetFolder"),
            )
        }
    };
    let (one, two) = (good("one"), good("two"));
    let play = Play::answering(move |seen| {
        let id = seen
            .head
            .lines()
            .find_map(|line| line.strip_prefix("client-request-id: "));
        if seen.body.contains("one@") {
            one(id)
        } else {
            two(None)
        }
    });
    let ews = ews(&play.url);
    let mut performed = ews.perform(find("one@uni.example")).await;
    assert!(matches!(
        performed.answers.remove(0),
        Ok(Answer::Calendar(_))
    ));
    let mut performed = ews.perform(find("two@uni.example")).await;
    assert_eq!(
        performed.answers.remove(0).unwrap_err().detail.server_code,
        "other_request"
    );
}

#[tokio::test]
async fn sessions_that_cannot_be_had_are_named() {
    let fault = |code: &str, text: &str| {
        format!(
            "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body><s:Fault><s:Reason><s:Text>{text}</s:Text></s:Reason><s:Detail><f:WSManFault xmlns:f=\"http://schemas.microsoft.com/wbem/wsman/1/wsmanfault\" Code=\"{code}\"><f:Message>{text}</f:Message></f:WSManFault></s:Detail></s:Fault></s:Body></s:Envelope>"
        )
    };
    let pause: Good = |error| *error == Meaning::PauseAccount;
    let many: Good = |error| matches!(error, Meaning::TooManyAtOnce { after: Some(_) });
    let wait: Good = |error| matches!(error, Meaning::WaitUntil { after: Some(_), .. });
    let retry: Good = |error| *error == Meaning::Retry;
    let cases: [(u16, String, Good); 7] = [
        (500, fault("5", "Access is denied."), pause),
        (
            500,
            fault(
                "2150859174",
                "This user is allowed a maximum number of 18 concurrent shells, which has been exceeded.",
            ),
            many,
        ),
        (
            500,
            fault(
                "1",
                "The user load quota of 5 requests per 2 seconds has been exceeded. The next request from this user will not be approved for at least 1500 milliseconds.",
            ),
            wait,
        ),
        (500, fault("2150858811", "no such resource"), pause),
        (200, "<a/>".into(), retry),
        (200, String::new(), retry),
        (403, String::new(), pause),
    ];
    for (status, body, good) in cases {
        let play = Play::start(vec![reply(status, "", &body)]);
        let (server, sign_in) = settings(&play.url);
        let shells = PowerShellCalendars::new(&server, sign_in, 1, clock::now).unwrap();
        let error = shells.sign_in().await.unwrap_err();
        assert!(good(&error.meaning), "{body:.80}: {error:?}");
        assert!(!error.detail.server_code.is_empty());
        assert_eq!(shells.open_sessions(), 0);
        let performed = shells.perform(find("ada@uni.example")).await;
        assert!(performed.answers[0].is_err());
        assert_eq!(performed.sent_after, None);
    }
}
