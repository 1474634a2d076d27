//! Sign-in by Kerberos, at the KDC of a real domain controller (Samba) and the simulator's servers.

#![cfg(feature = "kerberos")]
#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use calgrant_domain::{AccessRole, Address, Calendar, Observed};
use calgrant_exchange::{Answer, Ask, Calendars, CallError, Meaning, conformance::asking};
use calgrant_exchange_onprem::{Access, EwsCalendars, PowerShellCalendars, Server, SignIn};
use calgrant_runtime::{clock, waiting::until_ok};
use calgrant_simulator::{Config, Running, Scenario, start};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

const ACCOUNTS: [&str; 3] = ["sa-full", "sa-changed", "sa-guessed"];

/// A variable that `cargo xtask test` sets where there is a domain controller.
fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

/// What a test that needs a domain is left out without.
fn has_domain() -> bool {
    let there = std::env::var_os("CALGRANT_TEST_KERBEROS_KEYTAB").is_some();
    if !there {
        eprintln!("CALGRANT_TEST_KERBEROS_KEYTAB is not set: there is no Active Directory here");
    }
    there
}

fn address(local: &str) -> Address {
    format!("{local}@calgrant.test").parse().unwrap()
}

/// A school whose servers take Kerberos alone, in the domain of the tests.
fn scenario(onprem: &str) -> String {
    let keytab = named("CALGRANT_TEST_KERBEROS_KEYTAB");
    let mut text = format!(
        r#"
seed = 7
https = "127.0.0.1:0"
keytab = {keytab:?}
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "calgrant.test"
managed = ["delegates@calgrant.test"]
[tenant.onprem]
domain = "CALGRANT"
without_basic = true
{onprem}
"#
    );
    for account in ACCOUNTS {
        text += &format!(
            r#"
[[tenant.onprem.account]]
user = "{account}@calgrant.test"
password = "not asked for"
full_access = ["*"]
cmdlets = [
    "Get-Mailbox", "Get-MailboxFolderStatistics", "Get-MailboxFolderPermission", "Add-MailboxFolderPermission",
    "Set-MailboxFolderPermission", "Remove-MailboxFolderPermission",
]
[[tenant.user]]
upn = "{account}@calgrant.test"
kind = "none"
"#
        );
    }
    for user in ["ada", "bob", "eva"] {
        text += &format!(
            "\n[[tenant.user]]\nupn = \"{user}@calgrant.test\"\non_premises = true\n\
             [[tenant.user.calendar]]\npath = \"Kalender\"\n"
        );
    }
    text + "\n[[tenant.group]]\nname = \"Delegates\"\nmail = \"delegates@calgrant.test\"\nmembers = [\"ada@calgrant.test\"]\n"
}

struct School {
    running: Running,
    http: String,
    https: String,
}

impl School {
    async fn new(onprem: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scenario = Scenario::from_toml(&scenario(onprem)).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let https = running.https.unwrap();
        Self {
            http: format!("http://localhost:{}", running.address.port()),
            https: format!("https://localhost:{}", https.port()),
            running,
        }
    }

    fn server(&self, base: &str, path: &str) -> Server {
        Server {
            url: format!("{base}{path}"),
            ca_pem: self.running.certificate().map(str::to_owned),
        }
    }

    fn powershell(&self, base: &str, sign_in: SignIn) -> PowerShellCalendars {
        let server = self.server(base, "/PowerShell/");
        PowerShellCalendars::new(&server, sign_in, 2, clock::now).unwrap()
    }

    fn ews(&self, sign_in: SignIn, now: fn() -> OffsetDateTime) -> EwsCalendars {
        let server = self.server(&self.https, "/EWS/Exchange.asmx");
        EwsCalendars::new(&server, sign_in, Access::Full, now).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/_simulator/{path}", self.running.url());
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}

/// An account of the domain, with its own password.
fn account(name: &str) -> SignIn {
    with_password(
        &format!("{name}@calgrant.test"),
        &named("CALGRANT_TEST_KERBEROS_PASSWORD"),
    )
}

fn with_password(user: &str, password: &str) -> SignIn {
    SignIn::Kerberos {
        user: user.to_owned(),
        password: password.into(),
    }
}

async fn found(calendars: &dyn Calendars, mailbox: &str) -> Result<Calendar, CallError> {
    let asked = asking::one(calendars, &address(mailbox), Ask::FindCalendar).await;
    match asked.1? {
        Answer::Calendar(calendar) => Ok(calendar),
        other => panic!("{other:?}"),
    }
}

/// Adds the trustee to a mailbox's calendar, and reads it back.
async fn granted(calendars: &dyn Calendars, mailbox: &str) {
    let (trustee, who) = (address("delegates"), address(mailbox));
    let calendar = found(calendars, mailbox).await.unwrap();
    let role = AccessRole::AUTHOR;
    let add = Ask::Add {
        calendar: calendar.clone(),
        trustee: trustee.clone(),
        role,
    };
    let added = asking::one(calendars, &who, add).await.1;
    assert_eq!(added, Ok(Answer::Accepted), "{mailbox}");
    let read = asking::one(calendars, &who, Ask::Read { calendar, trustee }).await;
    let entry = Answer::Entry {
        seen: Observed::Present(role.rights()),
        delegate: false,
    };
    assert_eq!(read.1, Ok(entry), "{mailbox}");
}

async fn refused(calendars: &dyn Calendars) -> (String, Meaning) {
    let error = found(calendars, "ada").await.unwrap_err();
    (error.detail.server_code, error.meaning)
}

#[test]
fn only_powershell_may_do_without_tls_and_names_have_a_realm() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = |url: &str| Server {
        url: url.to_owned(),
        ca_pem: None,
    };
    let (powershell, ews) = (
        server("http://mail.uni.example/PowerShell/"),
        server("http://mail.uni.example/EWS/Exchange.asmx"),
    );
    let made = |user: &str| {
        let sign_in = with_password(user, "secret");
        PowerShellCalendars::new(&powershell, sign_in, 2, clock::now)
    };
    assert!(made("sa-1@uni.example").is_ok());
    let nameless = made("UNI\\sa-1").err().map(|error| error.to_string());
    assert!(nameless.is_some_and(|why| why.contains("sa-1@uni.example")));
    let sign_in = with_password("sa-1@uni.example", "secret");
    let in_clear = EwsCalendars::new(&ews, sign_in, Access::Full, clock::now);
    assert!(
        in_clear
            .err()
            .is_some_and(|why| why.to_string().contains("in clear"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn powershell_is_sealed_over_http_and_plain_over_tls() {
    if !has_domain() {
        return;
    }
    for (onprem, refusals) in [("", 0), ("kerberos_by_name = true", 2)] {
        let school = School::new(onprem).await;
        for (base, mailbox) in [(&school.http, "ada"), (&school.https, "bob")] {
            let calendars = school.powershell(base, account("sa-full"));
            calendars.sign_in().await.unwrap();
            granted(&calendars, mailbox).await;
            calendars.sign_out().await;
            assert_eq!(calendars.open_sessions(), 0);
        }
        let report = school.get("report").await;
        assert_eq!(report["writes"], 2);
        // The server takes no body in clear on a connection that isn't TLS. By which name it takes Kerberos, it is asked once.
        let refused = report["refused"].as_object().unwrap();
        let refused: u64 = refused.values().filter_map(Value::as_u64).sum();
        assert_eq!(refused, refusals, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ews_signs_in_each_connection_or_each_request_as_the_server_wants() {
    if !has_domain() {
        return;
    }
    for onprem in ["", "kerberos_each_request = true"] {
        let school = School::new(onprem).await;
        let calendars = school.ews(account("sa-full"), clock::now);
        calendars.sign_in().await.unwrap();
        granted(&calendars, "ada").await;
        granted(&calendars, "bob").await;
        let report = school.get("report").await;
        assert_eq!(report["writes"], 2, "{onprem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_stops_the_account_before_the_domain_locks_it() {
    if !has_domain() {
        return;
    }
    let school = School::new("").await;
    let wrong = with_password("sa-guessed@calgrant.test", "wrong");
    let calendars = school.powershell(&school.http, wrong);
    // More often than the domain allows.
    for _ in 0..15 {
        let refused = refused(&calendars).await;
        assert_eq!(
            refused,
            ("kerberos_wrong_password".to_owned(), Meaning::PauseAccount)
        );
    }
    let right = school.powershell(&school.http, account("sa-guessed"));
    assert!(found(&right, "ada").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_says_what_it_is() {
    if !has_domain() {
        return;
    }
    let school = School::new("").await;
    let password = named("CALGRANT_TEST_KERBEROS_PASSWORD");
    // By its address, the server has no name that the domain knows.
    let by_address = school.running.url();
    let here = &school.http;
    for (base, user, code, meaning) in [
        (
            &by_address,
            "sa-full@calgrant.test",
            "kerberos_unknown_service",
            Meaning::PauseAccount,
        ),
        (
            here,
            "nobody@calgrant.test",
            "kerberos_no_such_account",
            Meaning::PauseAccount,
        ),
        (
            here,
            "sa-disabled@calgrant.test",
            "kerberos_account_locked",
            Meaning::PauseAccount,
        ),
        (here, "sa-full@away.test", "kerberos_no_kdc", Meaning::Retry),
        (
            here,
            "sa-full@nowhere.test",
            "kerberos_no_kdc",
            Meaning::Retry,
        ),
    ] {
        let calendars = school.powershell(base, with_password(user, &password));
        let refused = refused(&calendars).await;
        assert_eq!(refused, (code.to_owned(), meaning), "{user}");
    }
    // Somebody of the domain whom the server doesn't let in.
    let stranger = school.powershell(here, account("exchange"));
    assert_eq!(refused(&stranger).await.0, "HTTP 401");
}

/// By how many seconds the clock of a test is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn ahead() -> OffsetDateTime {
    clock::now() + Duration::from_secs(AHEAD.load(Ordering::SeqCst).unsigned_abs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_got_again_before_it_runs_out() {
    if !has_domain() {
        return;
    }
    let school = School::new("kerberos_each_request = true").await;
    let calendars = school.ews(account("sa-changed"), ahead);
    assert!(found(&calendars, "ada").await.is_ok());
    // The ticket that there is stays good, and another one would take another password.
    set_password("sa-changed", "Loopback-0nly-four");
    assert!(found(&calendars, "ada").await.is_ok());
    // Tickets live for ten hours.
    AHEAD.store(11 * 3600, Ordering::SeqCst);
    let refused = refused(&calendars).await;
    assert_eq!(refused.0, "kerberos_wrong_password");
    set_password("sa-changed", &named("CALGRANT_TEST_KERBEROS_PASSWORD"));
}

/// As the domain's administrator does it.
fn set_password(account: &str, password: &str) {
    let configuration = named("CALGRANT_TEST_AD_CONFIGURATION");
    let program = "import os, sys\n\
        from samba.auth import system_session\n\
        from samba.param import LoadParm\n\
        from samba.samdb import SamDB\n\
        settings = LoadParm()\n\
        settings.load(sys.argv[1])\n\
        path = os.path.join(os.path.dirname(sys.argv[1]), 'private/sam.ldb')\n\
        base = SamDB(url=path, session_info=system_session(), lp=settings)\n\
        base.setpassword(f'(sAMAccountName={sys.argv[2]})', sys.argv[3])\n";
    let python = Command::new("/usr/bin/python3")
        .args(["-c", program, &configuration, account, password])
        .env_remove("KRB5_CONFIG")
        .stdin(Stdio::null())
        .status();
    assert!(python.unwrap().success());
}

/// Waits until tickets that live for 124 seconds have run out: in its last two minutes the library takes one as if it had.
async fn until_they_run_out() {
    let over = clock::now() + Duration::from_secs(5);
    let look = || {
        std::future::ready(if clock::now() < over {
            Err("they are good yet")
        } else {
            Ok(())
        })
    };
    let stop = CancellationToken::new();
    assert!(until_ok("tickets run out", &stop, look).await.is_some());
}

const CHILD: &str = "CALGRANT_TEST_KERBEROS_CHILD";

/// In a process of its own, whose library asks for tickets that soon run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_has_run_out_is_got_again() {
    if !has_domain() {
        return;
    }
    if std::env::var_os(CHILD).is_none() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_ticket_that_has_run_out_is_got_again"])
            .env(CHILD, "1")
            .env("KRB5_CONFIG", named("CALGRANT_TEST_KERBEROS_SHORT"))
            .output();
        let child = child.unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        return;
    }
    let school = School::new("kerberos_each_request = true").await;
    // A clock that stands still doesn't see it coming.
    let calendars = school.ews(account("sa-full"), || OffsetDateTime::UNIX_EPOCH);
    found(&calendars, "ada").await.unwrap();
    until_they_run_out().await;
    found(&calendars, "ada").await.unwrap();
}
