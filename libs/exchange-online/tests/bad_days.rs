//! What goes wrong on the way, and what the adapter makes of it.

mod rig;

use std::time::Duration;

use calgrant_domain::{AccessRole, Observed, WritePath};
use calgrant_exchange::{
    Answer, Ask, Calendars, CallError, Directory, ListingError, Meaning, Scope, Selection,
    conformance::World,
};
use calgrant_exchange_online::Secret;
use futures::future::join_all;
use rig::{BY_SECRET, READER, Rig};
use serde_json::json;

const READ: &str = "Get-MailboxFolderPermission";
const FIND: &str = "Get-MailboxFolderStatistics";
const ADD: &str = "Add-MailboxFolderPermission";

#[tokio::test]
async fn however_many_ask_at_once_one_signs_in() {
    let rig = Rig::new(WritePath::Auto).await;
    let all = join_all((0..30).map(|_| rig.calendars.sign_in())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.report().await["token_requests"], 1);
    // Still good at 70 %, asked for again at 90 %, by one.
    rig.advance(2520).await;
    rig.calendars.sign_in().await.unwrap();
    assert_eq!(rig.report().await["token_requests"], 1);
    rig.advance(720).await;
    let all = join_all((0..30).map(|_| rig.calendars.sign_in())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(rig.report().await["token_requests"], 2);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_a_good_token() {
    let rig = Rig::new(WritePath::Auto).await;
    rig.calendars.sign_in().await.unwrap();
    rig.put("dials", json!({"faults": {"token_unavailable_503": 1.0}}))
        .await;
    rig.advance(3300).await;
    for _ in 0..5 {
        rig.calendar(&rig.free()).await;
    }
    // One try, then a pause before the next.
    assert_eq!(rig.report().await["token_requests"], 2);
    rig.advance(400).await;
    let error = rig.calendars.sign_in().await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Retry);
    rig.put("dials", json!({"faults": {}})).await;
    rig.calendars.sign_in().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_pauses_the_account_until_it_is_right() {
    let rig = Rig::with(WritePath::Auto, BY_SECRET, Secret::Client("wrong".into())).await;
    let all = join_all((0..10).map(|_| rig.calendars.sign_in())).await;
    for refused in all {
        let error = refused.unwrap_err();
        assert_eq!(error.meaning, Meaning::PauseAccount);
        assert_eq!(error.detail.server_code, "AADSTS7000215");
        assert!(!error.detail.request_id.is_empty());
    }
    // Those who waited share the answer.
    assert_eq!(rig.report().await["token_requests"], 1);
    let performed = rig.perform(&[(&rig.free(), Ask::FindCalendar)]).await;
    assert_eq!((performed.round_trips, performed.sent_after), (0, None));
    assert!(!performed.abandoned());
    let app = format!("apps/{BY_SECRET}");
    rig.put(&app, json!({"secret": "wrong"})).await;
    rig.calendars.sign_in().await.unwrap();
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_told_and_replaced() {
    for path in [WritePath::AdminApi, WritePath::InvokeCommand] {
        let rig = Rig::new(path).await;
        let (one, other) = (rig.free(), rig.free());
        let calendar = rig.calendar(&one).await;
        // The server's clock is an hour ahead: our token seems good, and isn't.
        rig.advance_server(3700).await;
        let read = Ask::Read {
            calendar: calendar.clone(),
            trustee: rig.trustee(),
        };
        let answers = if path == WritePath::InvokeCommand {
            let asks = [(&one, read.clone()), (&other, Ask::FindCalendar)];
            rig.perform(&asks).await.answers
        } else {
            vec![rig.one(&one, read.clone()).await]
        };
        for answer in answers {
            assert_eq!(answer.unwrap_err().meaning, Meaning::SignInAgain);
        }
        assert!(rig.one(&one, read).await.is_ok());
        assert_eq!(rig.report().await["token_requests"], 2);
    }
}

#[tokio::test]
async fn throttling_is_a_wait_with_the_servers_delay_or_none() {
    for path in [WritePath::AdminApi, WritePath::InvokeCommand] {
        let rig = Rig::new(path).await;
        let mailbox = rig.free();
        let calendar = rig.calendar(&mailbox).await;
        let read = Ask::Read {
            calendar,
            trustee: rig.trustee(),
        };
        for (fault, named) in [("throttle_429", true), ("throttle_no_retry_after", false)] {
            rig.fault(fault, Some(READ)).await;
            let error = rig.one(&mailbox, read.clone()).await.unwrap_err();
            let Meaning::WaitUntil {
                scope: Scope::Account,
                after,
            } = error.meaning
            else {
                panic!("{error:?}");
            };
            assert_eq!(after.is_some(), named);
            assert!(!error.detail.request_id.is_empty() && !error.unanswered);
            // In a batch, it is one call that waits.
            rig.fault(fault, Some(READ)).await;
            let asks = [(&mailbox, read.clone()), (&mailbox, Ask::FindCalendar)];
            let performed = rig.perform(&asks).await;
            let waits = |answer: &Result<Answer, CallError>| matches!(answer, Err(error) if matches!(error.meaning, Meaning::WaitUntil { .. }));
            assert!(waits(&performed.answers[0]));
            assert!(performed.answers[1].is_ok());
        }
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_told_from_one_that_was_refused() {
    for path in [WritePath::AdminApi, WritePath::InvokeCommand] {
        for (fault, lost) in [
            ("connection_reset", true),
            ("half_response", true),
            ("server_error_500", false),
            ("unavailable_503", false),
        ] {
            let rig = Rig::new(path).await;
            let (mailbox, other) = (rig.free(), rig.free());
            let calendar = rig.calendar(&mailbox).await;
            let add = Ask::Add {
                calendar: calendar.clone(),
                trustee: rig.trustee(),
                role: AccessRole::AUTHOR,
            };
            rig.fault(fault, Some(ADD)).await;
            let performed = rig.perform(&[(&mailbox, add.clone())]).await;
            assert_eq!(performed.abandoned(), lost, "{fault}");
            assert!(performed.sent_after.is_some());
            let error = performed.answers[0].as_ref().unwrap_err();
            assert_eq!(error.meaning, Meaning::Retry, "{fault}");
            // Whether it was done is found out by reading, and nothing else is.
            let read = Ask::Read {
                calendar,
                trustee: rig.trustee(),
            };
            let Ok(Answer::Entry { seen, .. }) = rig.one(&mailbox, read).await else {
                panic!("no answer");
            };
            assert_eq!(seen, rig.truth(&mailbox).await, "{fault}");
            assert_eq!(
                seen != Observed::Absent,
                fault == "half_response",
                "{fault}"
            );
            if path == WritePath::InvokeCommand && fault == "connection_reset" {
                // All calls of a batch share its fate.
                rig.fault(fault, Some(FIND)).await;
                let asks = [(&mailbox, Ask::FindCalendar), (&other, Ask::FindCalendar)];
                let performed = rig.perform(&asks).await;
                let unanswered = performed.answers.iter();
                assert!(
                    unanswered
                        .into_iter()
                        .all(|answer| answer.as_ref().is_err_and(|error| error.unanswered))
                );
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_has_received_nothing() {
    let rig = Rig::new(WritePath::Auto).await;
    rig.calendars.sign_in().await.unwrap();
    let mailbox = rig.free();
    let Rig {
        running, calendars, ..
    } = rig;
    running.stop().await;
    let call = calgrant_exchange::CalendarCall {
        mailbox,
        ask: Ask::FindCalendar,
    };
    // The first may find a connection that was open; the second finds none.
    calendars.perform(vec![call.clone()]).await;
    let performed = calendars.perform(vec![call]).await;
    let error = performed.answers[0].as_ref().unwrap_err();
    assert_eq!(
        (&error.meaning, error.detail.server_code.as_str()),
        (&Meaning::Retry, "connect")
    );
    assert!(!performed.abandoned());
    assert_eq!((performed.round_trips, performed.sent_after), (0, None));
}

#[tokio::test]
async fn errors_in_every_disguise() {
    for path in [WritePath::AdminApi, WritePath::InvokeCommand] {
        let rig = Rig::new(path).await;
        let mailbox = rig.free();
        let calendar = rig.calendar(&mailbox).await;
        let read = Ask::Read {
            calendar: calendar.clone(),
            trustee: rig.trustee(),
        };
        let add = Ask::Add {
            calendar,
            trustee: rig.trustee(),
            role: AccessRole::AUTHOR,
        };
        for (fault, want) in [
            ("error_in_200", Meaning::Retry),
            ("proxy_error_json", Meaning::Retry),
            ("transient_400", Meaning::Retry),
            ("nul_403", Meaning::PauseAccount),
        ] {
            rig.fault(fault, Some(FIND)).await;
            let error = rig.one(&mailbox, Ask::FindCalendar).await.unwrap_err();
            assert_eq!(error.meaning, want, "{fault}: {error:?}");
            assert!(!error.detail.request_id.is_empty(), "{fault}");
        }
        // A success that says nothing is one.
        rig.fault("empty_success", Some(ADD)).await;
        assert_eq!(rig.one(&mailbox, add.clone()).await, Ok(Answer::Accepted));
        // An object that came without its wrapping.
        rig.fault("unwrapped_single", Some(READ)).await;
        let seen = rig.one(&mailbox, read.clone()).await;
        let entry = |seen| Answer::Entry {
            seen,
            delegate: false,
        };
        let author = || entry(Observed::Present(AccessRole::AUTHOR.rights()));
        assert_eq!(seen, Ok(author()));
        // The error behind the proxy is the one that counts.
        for fault in ["proxy_error_json", "error_in_200"] {
            rig.fault(fault, Some(ADD)).await;
            let error = rig.one(&mailbox, add.clone()).await.unwrap_err();
            assert_eq!(error.meaning, Meaning::EntryExists, "{fault}: {error:?}");
        }
        // A batch that leaves a status out.
        rig.fault("missing_batch_status", None).await;
        let asks = [(&mailbox, read), (&mailbox, add)];
        let answers = rig.perform(&asks).await.answers;
        assert_eq!(answers[0], Ok(author()));
        assert_eq!(
            answers[1].as_ref().unwrap_err().meaning,
            Meaning::EntryExists
        );
    }
}

#[tokio::test]
async fn a_server_that_takes_smaller_batches_gets_smaller_ones() {
    let rig = Rig::new(WritePath::InvokeCommand).await;
    rig.put("dials", json!({"batch_max": 3})).await;
    assert_eq!(rig.calendars.round_size(), 10);
    for (round, sizes) in [(10, 5), (5, 2), (2, 2)] {
        let mailboxes: Vec<_> = (0..round).map(|_| rig.free()).collect();
        let asks: Vec<_> = mailboxes
            .iter()
            .map(|mailbox| (mailbox, Ask::FindCalendar))
            .collect();
        let performed = rig.perform(&asks).await;
        assert!(performed.answers.iter().all(Result::is_ok), "{round}");
        assert_eq!(rig.calendars.round_size(), sizes);
    }
    let report = rig.report().await;
    assert_eq!(report["calls"][FIND], 17, "{report}");
}

#[tokio::test]
async fn a_listing_that_took_too_long_starts_again() {
    let rig = Rig::new(WritePath::Auto).await;
    for expected in rig.selections() {
        let first = rig.directory.page(&expected.selection, None).await.unwrap();
        let Some(next) = first.next else { continue };
        rig.advance(301).await;
        let expired = rig.directory.page(&expected.selection, Some(&next)).await;
        assert_eq!(
            expired,
            Err(ListingError::Expired),
            "{:?}",
            expected.selection
        );
    }
}

#[tokio::test]
async fn a_list_of_names_gets_through_a_few_at_a_time() {
    let rig = Rig::new(WritePath::Auto).await;
    let limits = json!({"graph_limits": {"windows": [[5, 10]]}});
    rig.put(&format!("apps/{READER}"), limits).await;
    let mut left: Vec<_> = (0..12).map(|_| rig.free()).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        let found = rig.directory.look_up(&left).await.unwrap();
        assert!(!found.resolved.is_empty());
        left.retain(|name| !found.resolved.iter().any(|one| one.asked == *name));
        match found.rest {
            Some(error) => {
                let Meaning::WaitUntil { after, .. } = error.meaning else {
                    panic!("{error:?}");
                };
                let wait = after.unwrap_or(Duration::from_secs(10));
                rig.advance(u32::try_from(wait.as_secs()).unwrap()).await;
            }
            None => assert!(left.is_empty()),
        }
        rounds += 1;
    }
    assert_eq!(rounds, 3);
}

#[tokio::test]
async fn members_that_are_hidden_take_a_permission_that_is_named() {
    let rig = Rig::new(WritePath::Auto).await;
    let hidden = Selection::Group("hidden@uni.example".parse().unwrap());
    let Err(ListingError::Call(error)) = rig.directory.page(&hidden, None).await else {
        panic!("it was listed");
    };
    assert_eq!(error.meaning, Meaning::PauseAccount);
    assert!(error.detail.server_text.contains("Member.Read.Hidden"));
    let roles = json!({"roles": ["User.Read.All", "GroupMember.Read.All", "Member.Read.Hidden"]});
    rig.put(&format!("apps/{READER}"), roles).await;
    let page = rig.directory.page(&hidden, None).await.unwrap();
    assert_eq!(page.listed.len(), 1);
}

#[tokio::test]
async fn a_missing_role_pauses_the_account() {
    let rig = Rig::new(WritePath::InvokeCommand).await;
    let mailbox = rig.free();
    rig.put(&format!("apps/{BY_SECRET}"), json!({"cmdlets": [READ]}))
        .await;
    let error = rig.one(&mailbox, Ask::FindCalendar).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::PauseAccount);
    assert_eq!(error.detail.server_code, "2000003");
}
