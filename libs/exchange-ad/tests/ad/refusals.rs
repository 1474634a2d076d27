//! What goes wrong, and what is said then.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use calgrant_exchange::{CallError, Directory, Meaning};
use calgrant_exchange_ad::ActiveDirectory;
use calgrant_runtime::clock;
use serde_json::json;
use time::OffsetDateTime;
use tokio::net::TcpListener;

use crate::rig::{Part, named};

const PASSWORD: &str = "Right-enough-1";

/// The call was refused with this code, and a text that says all of this.
#[track_caller]
fn said(answer: Result<(), CallError>, meaning: &Meaning, code: &str, words: &[&str]) {
    let error = answer.expect_err(code);
    assert_eq!(
        (&error.meaning, error.detail.server_code.as_str()),
        (meaning, code),
        "{error}"
    );
    for word in words {
        assert!(
            error.detail.server_text.contains(word),
            "{error} doesn't say {word:?}"
        );
    }
    assert!(!error.to_string().contains(PASSWORD));
}

#[tokio::test]
async fn either_way_to_a_protected_connection_works() {
    let Some(part) = Part::new() else { return };
    let host = named("CALGRANT_TEST_AD_HOST");
    for url in [
        format!("ldaps://{host}"),
        format!("ldap://{host}"),
        format!("ldaps://{host}:3269/"),
        format!("ldap://{host}:3268"),
    ] {
        part.reach(|settings| settings.url.clone_from(&url))
            .sign_in()
            .await
            .expect(&url);
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    let Some(part) = Part::new() else { return };
    let host = named("CALGRANT_TEST_AD_HOST");
    let other = named("CALGRANT_TEST_AD_OTHER_HOST");
    let stranger = rcgen::generate_simple_self_signed(vec![host.clone()])
        .unwrap()
        .cert
        .pem();
    for scheme in ["ldap", "ldaps"] {
        let of_the_system = part.reach(|it| {
            it.url = format!("{scheme}://{host}");
            it.ca_pem = None;
        });
        let anothers = part.reach(|it| {
            it.url = format!("{scheme}://{host}");
            it.ca_pem = Some(stranger.clone());
        });
        for directory in [of_the_system, anothers] {
            let answer = directory.sign_in().await;
            said(
                answer,
                &Meaning::PauseAccount,
                "certificate_not_trusted",
                &[&host, "authority"],
            );
        }
        let elsewhere = part.reach(|it| it.url = format!("{scheme}://{other}"));
        let answer = elsewhere.sign_in().await;
        said(
            answer,
            &Meaning::PauseAccount,
            "certificate_wrong_name",
            &[&other],
        );
    }
}

#[tokio::test]
async fn a_server_that_is_down_or_silent_is_tried_again() {
    let Some(part) = Part::new() else { return };
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["ldap", "ldaps"] {
        let down = part.reach(|it| it.url = format!("{scheme}://{closed}"));
        said(
            down.sign_in().await,
            &Meaning::Retry,
            "not_reached",
            &["127.0.0.1"],
        );
        let quiet = part.reach(|it| {
            it.url = format!("{scheme}://{}", silent.local_addr().unwrap());
            it.answer_limit = Duration::from_millis(200);
        });
        said(
            quiet.sign_in().await,
            &Meaning::Retry,
            "no_answer",
            &["0.2 s"],
        );
    }
    let nowhere = part.reach(|it| it.url = "ldaps://no-such-host.invalid".into());
    said(
        nowhere.sign_in().await,
        &Meaning::Retry,
        "not_reached",
        &["no-such-host.invalid"],
    );
}

#[tokio::test]
async fn what_speaks_no_ldap_is_told_from_what_does() {
    use tokio::io::AsyncWriteExt;
    let Some(part) = Part::new() else { return };
    for (scheme, code, meaning) in [
        ("ldaps", "no_tls", Meaning::PauseAccount),
        ("ldap", "no_answer", Meaning::Retry),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let directory = part.reach(|it| {
            it.url = url;
            it.answer_limit = Duration::from_secs(1);
        });
        let talk = async {
            let (mut client, _) = listener.accept().await.unwrap();
            client
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            client
        };
        let (answer, _open) = tokio::join!(directory.sign_in(), talk);
        let error = answer.expect_err("not a domain controller");
        assert_eq!(
            (error.meaning, error.detail.server_code.as_str()),
            (meaning, code)
        );
    }
}

/// A clock that can be put forward. One for each test that needs it.
macro_rules! clock {
    () => {{
        static AHEAD: AtomicI64 = AtomicI64::new(0);
        fn now() -> OffsetDateTime {
            clock::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed).try_into().unwrap())
        }
        (now as calgrant_exchange_ad::Now, &AHEAD)
    }};
}

/// The directory, for this account of the part.
fn account(
    part: &Part,
    name: &str,
    password: &str,
    now: calgrant_exchange_ad::Now,
) -> ActiveDirectory {
    let mut settings = part.settings();
    settings.bind_name = format!("{}@calgrant.test", part.account(name));
    settings.password = password.into();
    ActiveDirectory::new(settings, now).expect("settings that are right")
}

#[tokio::test]
async fn each_refusal_of_an_account_is_told_from_the_others_and_stops_it() {
    let Some(mut part) = Part::new() else { return };
    let states = ["good", "disabled", "expired", "mustchange", "locked"];
    for name in states {
        let upn = json!(format!("{}@calgrant.test", part.account(name)));
        part.person(
            name,
            "",
            &[
                ("userAccountControl", json!("546")),
                ("userPrincipalName", upn),
            ],
        );
    }
    part.make();
    let dn = |name: &str| part.dn(&format!("CN={name}"));
    part.order(&json!({
        "passwords": states.iter().map(|name| (dn(name), PASSWORD)).collect::<std::collections::BTreeMap<_, _>>(),
        "change": {
            dn("good"): {"userAccountControl": "512"},
            // Giving it a password has enabled it.
            dn("disabled"): {"userAccountControl": "514"},
            dn("expired"): {"userAccountControl": "512", "accountExpires": "116444736000000000"},
            dn("mustchange"): {"userAccountControl": "512"},
            dn("locked"): {"userAccountControl": "512"},
        },
        "must_change": [dn("mustchange")],
        "lock": [dn("locked")],
    }));
    account(&part, "good", PASSWORD, clock::now)
        .sign_in()
        .await
        .expect("nothing is wrong with it");
    for (name, password, code, word) in [
        ("good", "wrong", "wrong_name_or_password", "data 52e"),
        ("nobody", PASSWORD, "wrong_name_or_password", "correct"),
    ] {
        let directory = account(&part, name, password, clock::now);
        for _ in 0..2 {
            said(
                directory.sign_in().await,
                &Meaning::PauseAccount,
                code,
                &[word],
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_until_the_account_is_locked() {
    let Some(mut part) = Part::new() else { return };
    let upn = json!(format!("{}@calgrant.test", part.account("reader")));
    let dn = part.person(
        "reader",
        "",
        &[
            ("userAccountControl", json!("546")),
            ("userPrincipalName", upn),
        ],
    );
    part.make();
    part.order(
        &json!({"passwords": {&dn: PASSWORD}, "change": {&dn: {"userAccountControl": "512"}}}),
    );
    let tries = || {
        part.order(&json!({"read": [[&dn, "badPwdCount"]]}))[0]
            .clone()
            .unwrap_or("0".into())
    };
    let (now, ahead) = clock!();
    let directory = account(&part, "reader", "wrong", now);
    // However many ask at once, and again and again.
    for _ in 0..3 {
        let answers = futures::future::join_all((0..5).map(|_| directory.sign_in())).await;
        for answer in answers {
            said(
                answer,
                &Meaning::PauseAccount,
                "wrong_name_or_password",
                &["30 minutes"],
            );
        }
    }
    assert_eq!(tries(), "1");
    ahead.store(29 * 60, Ordering::Relaxed);
    assert!(directory.sign_in().await.is_err());
    assert_eq!(tries(), "1");
    ahead.store(31 * 60, Ordering::Relaxed);
    assert!(directory.sign_in().await.is_err());
    assert_eq!(tries(), "2");
}

#[tokio::test]
async fn an_account_that_is_unlocked_goes_on() {
    let Some(mut part) = Part::new() else { return };
    let upn = json!(format!("{}@calgrant.test", part.account("reader")));
    let dn = part.person(
        "reader",
        "",
        &[
            ("userAccountControl", json!("546")),
            ("userPrincipalName", upn),
        ],
    );
    part.make();
    part.order(&json!({"passwords": {&dn: PASSWORD},
        "change": {&dn: {"userAccountControl": "512"}}, "lock": [&dn]}));
    let (now, ahead) = clock!();
    let directory = account(&part, "reader", PASSWORD, now);
    said(
        directory.sign_in().await,
        &Meaning::PauseAccount,
        "account_locked",
        &["Unlock-ADAccount"],
    );
    part.order(&json!({"change": {&dn: {"lockoutTime": "0"}}}));
    said(
        directory.sign_in().await,
        &Meaning::PauseAccount,
        "account_locked",
        &["5 minutes"],
    );
    ahead.store(5 * 60 + 1, Ordering::Relaxed);
    directory.sign_in().await.expect("it is unlocked");
}
