//! Days on which not all goes well: lists that can't be rebuilt, servers that are busy, answers that are lost.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod rig;

use std::time::Duration;

use calgrant_domain::{AccessRole, Calendar, Observed, Reason};
use calgrant_exchange::{Answer, Ask, CallError, Meaning, Scope, conformance::World};
use calgrant_exchange_onprem::{Access, EitherCalendars, EwsCalendars, PowerShellCalendars};
use calgrant_runtime::clock;
use rig::{Rig, TRUSTEE, address, basic, server};

fn ews(url: &str) -> EwsCalendars {
    let server = server(url, "/EWS/Exchange.asmx");
    let sign_in = basic("sa-full", "full:secret");
    EwsCalendars::new(&server, sign_in, Access::Full, clock::now).unwrap()
}

fn powershell(url: &str, account: &str, password: &str, sessions: usize) -> PowerShellCalendars {
    let server = server(url, "/PowerShell/");
    PowerShellCalendars::new(&server, basic(account, password), sessions, clock::now).unwrap()
}

async fn by_ews() -> Rig {
    Rig::new(|url| Box::new(ews(url))).await
}

fn add(calendar: &Calendar) -> Ask {
    Ask::Add {
        calendar: calendar.clone(),
        trustee: address(TRUSTEE),
        role: AccessRole::AUTHOR,
    }
}

fn meaning(answer: Result<Answer, CallError>) -> Meaning {
    answer.unwrap_err().meaning
}

#[tokio::test]
async fn a_list_with_an_orphan_is_refused_by_name_and_left_as_it_is() {
    let rig = by_ews().await;
    for (mailbox, named) in [
        ("orphan@uni.example", "S-1-5-21-1-2-3-500"),
        ("external@uni.example", "Member@local"),
    ] {
        let before = rig.list(mailbox).await;
        let calendar = rig.calendar(&address(mailbox)).await;
        let error = rig
            .one(&address(mailbox), add(&calendar))
            .await
            .unwrap_err();
        assert_eq!(error.meaning, Meaning::GiveUp(Reason::ListNotRebuildable));
        assert!(error.detail.server_text.contains(named), "{error}");
        assert_eq!(rig.list(mailbox).await, before);
    }
    assert_eq!(rig.foreign_changes().await, 0);
}

#[tokio::test]
async fn such_a_list_is_changed_entry_by_entry_where_there_is_powershell() {
    let rig = Rig::new(|url| {
        Box::new(EitherCalendars::new(
            ews(url),
            powershell(url, "sa-full", "full:secret", 1),
        ))
    })
    .await;
    for mailbox in ["orphan@uni.example", "external@uni.example"] {
        let calendar = rig.calendar(&address(mailbox)).await;
        let answer = rig.one(&address(mailbox), add(&calendar)).await;
        assert_eq!(answer.unwrap(), Answer::Accepted, "{mailbox}");
        let read = Ask::Read {
            calendar,
            trustee: address(TRUSTEE),
        };
        let seen = Observed::Present(AccessRole::AUTHOR.rights());
        let held = Answer::Entry {
            seen,
            delegate: false,
        };
        assert_eq!(rig.one(&address(mailbox), read).await.unwrap(), held);
    }
    assert_eq!(rig.foreign_changes().await, 0);
    rig.calendars.sign_out().await;
}

#[tokio::test]
async fn somebody_edits_between_read_and_write() {
    let rig = by_ews().await;
    let mailbox = rig.free();
    let calendar = rig.calendar(&mailbox).await;
    rig.fault("user_edits_between", 1).await;
    let mut performed = rig.perform(&[(&mailbox, add(&calendar))]).await;
    // Read; refused, since somebody added the trustee meanwhile; read again: there is an entry to decide about anew.
    assert_eq!(meaning(performed.answers.remove(0)), Meaning::EntryExists);
    assert_eq!(performed.round_trips, 3);
    let set = Ask::Set {
        calendar,
        trustee: address(TRUSTEE),
        role: AccessRole::AUTHOR,
    };
    assert_eq!(rig.one(&mailbox, set).await, Ok(Answer::Accepted));
    // What they gave everybody meanwhile is theirs to give.
    assert_eq!(rig.foreign_changes().await, 0);
}

#[tokio::test]
async fn faults_of_ews_mean_what_they_say() {
    let rig = by_ews().await;
    let mailbox = rig.free();
    let calendar = rig.calendar(&mailbox).await;
    let read = Ask::Read {
        calendar,
        trustee: address(TRUSTEE),
    };
    for (fault, want) in [
        ("unavailable_503", "site"),
        ("server_error_500", "retry"),
        ("connection_reset", "unanswered"),
        ("lost_reply", "unanswered"),
        ("half_response", "unanswered"),
        ("html_error_page", "retry"),
        ("throttle_429", "account with a delay"),
        ("throttle_no_retry_after", "account"),
        ("hidden_server_busy", "account"),
        ("mailbox_move_in_progress", "park"),
        ("token_expired_401", "again"),
    ] {
        rig.fault(fault, 1).await;
        let error = rig.one(&mailbox, read.clone()).await.unwrap_err();
        let good = match want {
            "site" => matches!(
                error.meaning,
                Meaning::Retry
                    | Meaning::WaitUntil {
                        scope: Scope::Site,
                        ..
                    }
            ),
            "retry" => error.meaning == Meaning::Retry && !error.unanswered,
            "unanswered" => error.meaning == Meaning::Retry && error.unanswered,
            "account with a delay" => {
                matches!(error.meaning, Meaning::WaitUntil { scope: Scope::Account, after: Some(after) } if after >= Duration::from_secs(1))
            }
            "account" => matches!(
                error.meaning,
                Meaning::WaitUntil {
                    scope: Scope::Account,
                    ..
                }
            ),
            "park" => error.meaning == Meaning::Park,
            _ => error.meaning == Meaning::SignInAgain,
        };
        assert!(good, "{fault}: {error:?}");
        assert!(!error.detail.server_code.is_empty());
        // The next is answered as if nothing had been.
        assert!(
            rig.one(&mailbox, read.clone()).await.is_ok(),
            "after {fault}"
        );
    }
}

#[tokio::test]
async fn too_many_calls_at_once_are_overload_by_concurrency() {
    let rig = Rig::new(|url| {
        let server = server(url, "/EWS/Exchange.asmx");
        let small = basic("sa-small", "small");
        Box::new(EwsCalendars::new(&server, small, Access::Full, clock::now).unwrap())
    })
    .await;
    let mailboxes: Vec<_> = (0..6).map(|_| rig.free()).collect();
    // Known to be good, so that the others need not stand in line.
    assert!(rig.one(&mailboxes[0], Ask::FindCalendar).await.is_ok());
    rig.put("dials", serde_json::json!({"latency_ms": 200}))
        .await;
    let one = |at: usize| rig.one(&mailboxes[at], Ask::FindCalendar);
    let all = futures::future::join_all((0..6).map(one)).await;
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty());
    for error in refused {
        assert!(
            matches!(error.meaning, Meaning::TooManyAtOnce { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_read_after() {
    let rig = by_ews().await;
    let mailbox = rig.free();
    let calendar = rig.calendar(&mailbox).await;
    rig.put("dials", serde_json::json!({"faults": {"lost_reply": {"rate": 1.0, "times": 1, "only": "ews_update_folder"}}}))
        .await;
    let answer = rig.one(&mailbox, add(&calendar)).await;
    if let Err(error) = &answer {
        assert!(error.unanswered, "{error:?}");
    }
    let read = Ask::Read {
        calendar,
        trustee: address(TRUSTEE),
    };
    assert!(matches!(
        rig.one(&mailbox, read).await,
        Ok(Answer::Entry {
            seen: Observed::Present(_),
            ..
        })
    ));
    assert_eq!(rig.foreign_changes().await, 0);
}

#[tokio::test]
async fn wrong_passwords_lock_nobody_out() {
    for powershell in [false, true] {
        let rig = Rig::new(|url| {
            let wrong = basic("sa-full", "wrong");
            if powershell {
                let server = server(url, "/PowerShell/");
                Box::new(PowerShellCalendars::new(&server, wrong, 3, clock::now).unwrap())
            } else {
                let server = server(url, "/EWS/Exchange.asmx");
                Box::new(EwsCalendars::new(&server, wrong, Access::Full, clock::now).unwrap())
            }
        })
        .await;
        let mailbox = rig.free();
        let one = || async { meaning(rig.one(&mailbox, Ask::FindCalendar).await) };
        let all = futures::future::join_all((0..12).map(|_| one())).await;
        assert!(all.contains(&Meaning::PauseAccount));
        let again = all
            .iter()
            .filter(|meaning| **meaning == Meaning::SignInAgain)
            .count();
        assert_eq!(again, 1, "{all:?}");
    }
}

#[tokio::test]
async fn sessions_are_kept_counted_and_closed() {
    let rig = Rig::new(|url| Box::new(powershell(url, "sa-full", "full:secret", 2))).await;
    let mailboxes: Vec<_> = (0..6).map(|_| rig.free()).collect();
    let asks: Vec<_> = mailboxes
        .iter()
        .map(|mailbox| (mailbox, Ask::FindCalendar))
        .collect();
    let performed = rig.perform(&asks).await;
    assert!(performed.answers.iter().all(Result::is_ok), "{performed:?}");
    assert_eq!(performed.round_trips, 6);
    let shells = |report: &serde_json::Value| report.to_string().contains("\"peak\":2");
    assert!(
        shells(&rig.get("report").await),
        "{}",
        rig.get("report").await
    );
    rig.calendars.sign_out().await;
    assert!(!rig.get("report").await.to_string().contains("\"open\":2"));
    // And opened anew when needed.
    assert!(rig.one(&mailboxes[0], Ask::FindCalendar).await.is_ok());
    rig.calendars.sign_out().await;
}

#[tokio::test]
async fn too_many_sessions_are_overload() {
    let rig = Rig::new(|url| Box::new(powershell(url, "sa-small", "small", 5))).await;
    let mailboxes: Vec<_> = (0..5).map(|_| rig.free()).collect();
    let asks: Vec<_> = mailboxes
        .iter()
        .map(|mailbox| (mailbox, Ask::FindCalendar))
        .collect();
    let performed = rig.perform(&asks).await;
    for answer in &performed.answers {
        match answer {
            Ok(Answer::Calendar(_)) => {}
            Err(error) => assert!(
                matches!(error.meaning, Meaning::TooManyAtOnce { .. }),
                "{error:?}"
            ),
            other => panic!("{other:?}"),
        }
    }
    assert!(performed.answers.iter().any(Result::is_ok), "{performed:?}");
    rig.calendars.sign_out().await;
}
