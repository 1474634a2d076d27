//! The adapter before what a real server answered: each exchange with the outcome a person would expect.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod play;

use std::collections::HashMap;

use calgrant_domain::{AccessRole, Address, Calendar, Observed};
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError};
use calgrant_exchange_onprem::{Access, EwsCalendars, Server, SignIn};
use calgrant_runtime::clock;
use play::{Play, reply};

struct Exchange {
    status: u16,
    body: String,
    unasked: Option<String>,
}

fn recorded() -> HashMap<String, Exchange> {
    let text = include_str!("../testdata/recorded.txt");
    let mut parts: Vec<(String, &str)> = Vec::new();
    let mut exchanges = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, part)) = line.strip_prefix('=').and_then(|line| line.split_once(' ')) {
            parts.push((format!("{{{name}}}"), part));
            continue;
        }
        let fields: Vec<_> = line
            .split('|')
            .map(|field| {
                let whole = |text: String, (name, part): &(String, &str)| text.replace(name, part);
                parts.iter().fold(field.to_owned(), whole)
            })
            .collect();
        let exchange = Exchange {
            status: fields[1].parse().unwrap(),
            body: fields[2].clone(),
            unasked: fields.get(3).cloned(),
        };
        exchanges.insert(fields[0].split('-').next().unwrap().to_owned(), exchange);
    }
    exchanges
}

fn played(exchange: &Exchange) -> Vec<u8> {
    let unasked = exchange
        .unasked
        .as_ref()
        .map(|body| reply(200, "", body))
        .unwrap_or_default();
    [reply(exchange.status, "", &exchange.body), unasked].concat()
}

fn ews(url: &str, access: Access) -> EwsCalendars {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server {
        url: url.to_owned(),
        ca_pem: None,
    };
    let sign_in = SignIn::Basic {
        user: "svc-agenda@uni.example".into(),
        password: "hush".into(),
    };
    EwsCalendars::new(&server, sign_in, access, clock::now).unwrap()
}

fn trustee() -> Address {
    "sa-mytt@uni.example".parse().unwrap()
}

fn calls(count: usize, ask: impl Fn(usize) -> Ask) -> Vec<CalendarCall> {
    let call = |at| CalendarCall {
        mailbox: format!("m{at}@uni.example").parse().unwrap(),
        ask: ask(at),
    };
    (0..count).map(call).collect()
}

/// Ids of the folders in a body.
fn folders(body: &str) -> Vec<String> {
    let parts = body.split("FolderId Id=\"").skip(1);
    parts
        .map(|part| part.split('"').next().unwrap().to_owned())
        .collect()
}

fn said(answer: Result<Answer, CallError>) -> String {
    match answer {
        Ok(Answer::Calendar(calendar)) => calendar.path,
        Ok(Answer::Entry { seen, .. }) => match seen {
            Observed::Absent => "absent".into(),
            Observed::Present(rights) => rights.to_string(),
        },
        Ok(Answer::Accepted) => "accepted".into(),
        Err(error) => format!("{:?} {}", error.meaning, error.detail.server_code),
    }
}

const MISSING: &str = "Park ErrorCannotFindUser";
const NO_CALENDAR: &str = "GiveUp(NoCalendar) no_calendar_folder";
const DENIED: &str = "GiveUp(OutOfWriteScope) ErrorAccessDenied";

/// Which folder is the calendar.
#[tokio::test]
async fn calendars_are_found_by_their_type() {
    let recorded = recorded();
    for (name, want) in [
        ("01", vec!["\\Calendar"]),
        ("02", vec!["\\Agenda"]),
        ("03", vec!["\\Kalender"]),
        (
            "04",
            vec![
                "\\Agenda",
                "\\Kalender",
                MISSING,
                "\\Calendrier",
                "\\Calendar",
            ],
        ),
        // Whoever may see the folder finds it, without any right to change it.
        ("05", vec!["\\Agenda", "\\Kalender", "\\Calendar"]),
        // A fault of several mailboxes is none of theirs.
        ("08", vec!["Retry soap_server", "Retry soap_server"]),
        (
            "10",
            vec![
                "GiveUp(NoCalendar) ErrorInvalidId",
                "GiveUp(NoCalendar) ErrorInvalidId",
            ],
        ),
        ("11", vec![DENIED]),
        ("73", vec!["Retry soap_server"]),
        ("74", vec!["Retry soap_server"]),
        ("75", vec!["Retry soap_server"]),
        ("76", vec!["Retry soap_server"]),
        ("77", vec!["GiveUp(Rejected) soap_client"]),
        ("78", vec!["\\"]),
        ("79", vec!["PauseAccount HTTP 405"]),
        ("80", vec!["Retry HTTP 404"]),
        ("81", vec!["\\"]),
        ("82", vec!["\\"]),
        ("83", vec!["\\"]),
        // The client asked for the top of the mailbox first.
        ("e02", vec![NO_CALENDAR]),
        ("e08", vec![MISSING]),
        ("e09", vec![DENIED]),
        ("e10", vec![NO_CALENDAR]),
    ] {
        let play = Play::start(vec![played(&recorded[name])]);
        let ews = ews(&play.url, Access::Full);
        let performed = ews.perform(calls(want.len(), |_| Ask::FindCalendar)).await;
        let answers: Vec<_> = performed.answers.into_iter().map(said).collect();
        assert_eq!(answers, want, "{name}");
        assert_eq!(performed.round_trips, 1, "{name}");
        assert!(performed.sent_after.is_some());
    }
}

#[tokio::test]
async fn an_empty_address_is_never_sent() {
    // The server took one for the caller's own mailbox (exchange 12): the type of addresses has no empty one.
    let answered = &recorded()["12"].body;
    assert!(answered.contains("NoError"));
    for empty in ["", " ", "smtp:", "@", "nodomain"] {
        assert!(empty.parse::<Address>().is_err(), "{empty:?}");
    }
}

#[tokio::test]
async fn acting_for_others_is_refused_by_name() {
    let recorded = recorded();
    for (name, want) in [
        ("66", "GiveUp(OutOfWriteScope) ErrorImpersonateUserDenied"),
        ("67", MISSING),
        ("e12", "GiveUp(OutOfWriteScope) ErrorImpersonateUserDenied"),
    ] {
        let play = Play::start(vec![played(&recorded[name])]);
        let ews = ews(&play.url, Access::Impersonation);
        let mut performed = ews.perform(calls(1, |_| Ask::FindCalendar)).await;
        assert_eq!(said(performed.answers.remove(0)), want, "{name}");
        assert!(
            play.seen()[0]
                .body
                .contains("<t:ConnectingSID><t:PrimarySmtpAddress>m0@uni.example<")
        );
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_twice_and_never_again() {
    let recorded = recorded();
    for name in ["70", "71", "72", "e13"] {
        let play = Play::start((0..5).map(|_| played(&recorded[name])).collect());
        let ews = ews(&play.url, Access::Full);
        for want in [
            "SignInAgain HTTP 401",
            "PauseAccount HTTP 401",
            "PauseAccount HTTP 401",
        ] {
            let mut performed = ews.perform(calls(1, |_| Ask::FindCalendar)).await;
            assert_eq!(said(performed.answers.remove(0)), want, "{name}");
        }
        assert_eq!(play.seen().len(), 2, "{name}");
        assert!(ews.sign_in().await.is_err());
    }
}

/// What the trustee holds.
#[tokio::test]
async fn lists_are_read() {
    let recorded = recorded();
    for (name, want) in [
        ("06", vec!["absent"]),
        ("07", vec!["absent", MISSING, "absent"]),
        ("09", vec!["absent"]),
        ("21", vec!["absent"]),
        ("23", vec!["Author"]),
        ("25", vec!["Author"]),
        ("31", vec!["Author"]),
        ("33", vec!["absent"]),
        ("37", vec!["Author"]),
        ("42", vec!["Author", "Author"]),
        ("43", vec![DENIED]),
        ("46", vec!["absent"]),
        ("48", vec!["Author"]),
        ("51", vec!["absent"]),
        ("53", vec!["absent"]),
        ("57", vec!["absent"]),
        ("59", vec!["absent"]),
        ("62", vec!["Contributor"]),
        ("63", vec!["absent"]),
        ("65", vec!["Author"]),
        ("e03", vec!["absent"]),
        ("e05", vec!["absent"]),
        ("e07", vec!["absent"]),
        ("e11", vec!["absent"]),
    ] {
        let exchange = &recorded[name];
        let play = Play::start(vec![played(exchange)]);
        let ews = ews(&play.url, Access::Full);
        let mut ids = folders(&exchange.body);
        ids.resize(want.len(), "gone".into());
        if name == "07" {
            ids.swap(1, 2);
        }
        let performed = ews
            .perform(calls(want.len(), |at| Ask::Read {
                calendar: Calendar {
                    folder_id: ids[at].clone(),
                    path: String::new(),
                },
                trustee: trustee(),
            }))
            .await;
        let answers: Vec<_> = performed.answers.into_iter().map(said).collect();
        assert_eq!(answers, want, "{name}");
    }
}

/// The list of an untouched calendar is read, and then answered as recorded when it is written back with the trustee added.
#[tokio::test]
async fn lists_are_written() {
    let recorded = recorded();
    let rejected = "GiveUp(Rejected) soap_client";
    let accepted = [
        "20", "22", "24", "26", "27", "28", "29", "30", "32", "35", "44", "47", "50", "52", "55",
        "56", "61", "64",
    ];
    for (name, want) in accepted.iter().map(|name| (*name, "accepted")).chain([
        ("40", DENIED),
        // Four answers to one question.
        ("41", "Retry other_count"),
        ("45", DENIED),
        ("54", rejected),
        ("58", rejected),
        ("60", rejected),
        ("e04", rejected),
        ("e06", rejected),
    ]) {
        let before = &recorded["06"];
        let play = Play::start(vec![played(before), played(&recorded[name])]);
        let ews = ews(&play.url, Access::Full);
        let calendar = Calendar {
            folder_id: folders(&before.body)[0].clone(),
            path: String::new(),
        };
        let mut performed = ews
            .perform(calls(1, |_| Ask::Add {
                calendar: calendar.clone(),
                trustee: trustee(),
                role: AccessRole::AUTHOR,
            }))
            .await;
        assert_eq!(said(performed.answers.remove(0)), want, "{name}");
        assert_eq!(performed.round_trips, 2);
        let seen = play.seen();
        let body = &seen[1].body;
        // The version that was read; what has a name by its name, what has none in full; the trustee last.
        assert!(body.contains("ChangeKey=\"k"), "{body}");
        let default = "<t:UserId><t:DistinguishedUser>Default</t:DistinguishedUser></t:UserId>\
            <t:CanCreateItems>false</t:CanCreateItems><t:CanCreateSubFolders>false</t:CanCreateSubFolders>\
            <t:IsFolderOwner>false</t:IsFolderOwner><t:IsFolderVisible>true</t:IsFolderVisible>\
            <t:IsFolderContact>false</t:IsFolderContact><t:EditItems>None</t:EditItems><t:DeleteItems>None</t:DeleteItems>\
            <t:ReadItems>None</t:ReadItems><t:CalendarPermissionLevel>Custom</t:CalendarPermissionLevel>";
        let anonymous = "<t:UserId><t:DistinguishedUser>Anonymous</t:DistinguishedUser></t:UserId><t:CalendarPermissionLevel>None<";
        let ours = "<t:UserId><t:PrimarySmtpAddress>sa-mytt@uni.example</t:PrimarySmtpAddress></t:UserId><t:CalendarPermissionLevel>Author<";
        for part in [default, anonymous, ours] {
            assert!(body.contains(part), "{part}\n{body}");
        }
    }
}

/// A server that drops an entry says "no error" all the same (exchanges 47 and 48: Anonymous is dropped, Default changed).
#[tokio::test]
async fn entries_that_are_lost_are_noticed_by_the_read_after() {
    let recorded = recorded();
    let before = recorded["06"].body.clone();
    let id = folders(&before)[0].clone();
    let after = recorded["48"]
        .body
        .replace(&folders(&recorded["48"].body)[0], &id);
    let play = Play::start(vec![
        reply(200, "", &before),
        played(&recorded["20"]),
        reply(200, "", &after),
        reply(200, "", &after),
    ]);
    let ews = ews(&play.url, Access::Full);
    let calendar = Calendar {
        folder_id: id,
        path: String::new(),
    };
    let ask = |read| {
        let (calendar, trustee) = (calendar.clone(), trustee());
        if read {
            Ask::Read { calendar, trustee }
        } else {
            Ask::Add {
                calendar,
                trustee,
                role: AccessRole::AUTHOR,
            }
        }
    };
    for (read, want) in [
        (false, "accepted"),
        (true, "GiveUp(ChangedByOthers) others_entries_changed"),
        (true, "Author"),
    ] {
        let mut performed = ews.perform(calls(1, |_| ask(read))).await;
        assert_eq!(said(performed.answers.remove(0)), want);
    }
}

/// Exchange 84: what a server sends after a fault is never taken for the answer to the next request.
#[tokio::test]
async fn a_surplus_reply_is_no_answer_to_the_next_request() {
    let recorded = recorded();
    for fault in ["08", "54", "58", "60", "73", "77"] {
        let play = Play::start(vec![
            played(&recorded[fault]),
            played(&recorded["02"]),
            played(&recorded["03"]),
        ]);
        let ews = ews(&play.url, Access::Impersonation);
        for want in [None, Some("\\Agenda"), Some("\\Kalender")] {
            let mut performed = ews.perform(calls(1, |_| Ask::FindCalendar)).await;
            let said = said(performed.answers.remove(0));
            match want {
                None => assert!(said.contains("soap_"), "{said}"),
                Some(want) => assert_eq!(said, want, "after {fault}"),
            }
        }
        let connections: Vec<_> = play.seen().iter().map(|one| one.connection).collect();
        // A connection with a fault on it isn't used again; one without is.
        assert_eq!(connections, [0, 1, 1], "{fault}");
    }
}
