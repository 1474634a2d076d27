//! What goes wrong with Kerberos, and what to do about it: each number classed once. Pure.

use calgrant_exchange::{CallError, Meaning, one_line};
use calgrant_gssapi::Failure;

/// What was being done: the same number means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The account's initial ticket was asked for, with its password.
    Account,
    /// A ticket for the server was asked for.
    Service,
    /// The server's answer was read.
    Server,
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A person must act: the next try would end the same way, or lock the account.
    Person,
    /// It may be better the next time.
    Passing,
}

struct Row {
    /// Kerberos' number (`krb5.h`).
    number: i32,
    /// A word for programs.
    code: &'static str,
    class: Class,
    /// What to do.
    advice: &'static str,
}

const fn row(number: i32, code: &'static str, class: Class, advice: &'static str) -> Row {
    Row {
        number,
        code,
        class,
        advice,
    }
}

const WRONG_PASSWORD: &str = "kerberos_wrong_password";
const PASSWORD_ADVICE: &str = "the password of the account is wrong: correct the secret; nothing more is tried with this one, so that the account isn't locked";
const SKEW: &str = "kerberos_clock_skew";
const SKEW_ADVICE: &str = "the clocks of this machine and of the domain differ by more than five minutes: set them by NTP";
const SETTINGS: &str = "kerberos_settings";
const SETTINGS_ADVICE: &str =
    "Kerberos' settings can't be used: correct /etc/krb5.conf, or what KRB5_CONFIG names";
const NO_CONTROLLER: &str = "kerberos_no_kdc";

const CATALOGUE: &[Row] = &[
    row(
        -1_765_328_378,
        "kerberos_no_such_account",
        Class::Person,
        "the realm has no account of this name: write it as name@realm, such as sa-1@uni.example",
    ),
    row(
        -1_765_328_360,
        WRONG_PASSWORD,
        Class::Person,
        PASSWORD_ADVICE,
    ),
    row(
        -1_765_328_174,
        WRONG_PASSWORD,
        Class::Person,
        PASSWORD_ADVICE,
    ),
    row(
        -1_765_328_366,
        "kerberos_account_locked",
        Class::Person,
        "the account is locked or disabled: find who uses an old password, then unlock it (Unlock-ADAccount), or enable it",
    ),
    row(
        -1_765_328_361,
        "kerberos_password_expired",
        Class::Person,
        "the password of the account has expired: set a new one that doesn't expire, and change the secret",
    ),
    row(
        -1_765_328_383,
        "kerberos_account_expired",
        Class::Person,
        "the account has expired: move its end date",
    ),
    row(
        -1_765_328_372,
        "kerberos_policy",
        Class::Person,
        "the domain's policy keeps the account out: look at its logon hours and workstations",
    ),
    row(
        -1_765_328_370,
        "kerberos_encryption",
        Class::Person,
        "the account and this machine have no kind of encryption in common: allow AES for the account, and set its password anew",
    ),
    row(
        -1_765_328_377,
        "kerberos_unknown_service",
        Class::Person,
        "the domain knows no service of this name: write the URL with the server's full name, or register it (setspn -S HTTP/mail.uni.example …)",
    ),
    row(-1_765_328_347, SKEW, Class::Person, SKEW_ADVICE),
    row(-1_765_328_351, SKEW, Class::Person, SKEW_ADVICE),
    row(
        -1_765_328_352,
        "kerberos_ticket_expired",
        Class::Passing,
        "the ticket has run out, and so has the one that was got in its place: look at the clocks",
    ),
    row(
        -1_765_328_343,
        "kerberos_wrong_key",
        Class::Person,
        "the server's key isn't the one that the domain knows for its name: is HTTP/… registered for another account than the one it runs as (setspn -Q)?",
    ),
    row(
        -1_765_328_228,
        NO_CONTROLLER,
        Class::Passing,
        "no domain controller of the realm answers for Kerberos: look at port 88, and at [realms] in /etc/krb5.conf",
    ),
    row(
        -1_765_328_230,
        NO_CONTROLLER,
        Class::Passing,
        "no domain controller of the realm is found: DNS must tell of _kerberos._udp.uni.example, or [realms] in /etc/krb5.conf; is the part after the @ the realm?",
    ),
    row(
        -1_765_328_164,
        NO_CONTROLLER,
        Class::Passing,
        "the name of the domain controller in [realms] of /etc/krb5.conf isn't found by DNS",
    ),
    row(-1_765_328_249, SETTINGS, Class::Person, SETTINGS_ADVICE),
    row(-1_765_328_248, SETTINGS, Class::Person, SETTINGS_ADVICE),
    row(-1_765_328_160, SETTINGS, Class::Person, SETTINGS_ADVICE),
];

/// An answer can't be decrypted with the key that it should be: the password's, or the server's.
const BAD_INTEGRITY: i32 = -1_765_328_353;

/// Classes a failure. `who` is the account's principal or the server's service.
pub(super) fn classed(failure: &Failure, stage: Stage, who: &str) -> CallError {
    let Failure::Refused { minor, text, .. } = failure else {
        return CallError::new(
            Meaning::PauseAccount,
            "kerberos_library",
            one_line(&failure.to_string()),
        );
    };
    let known = CATALOGUE.iter().find(|row| row.number == *minor);
    let (code, class, advice) = match (known, stage) {
        (Some(row), _) => (row.code, row.class, row.advice),
        (None, Stage::Account) if *minor == BAD_INTEGRITY => {
            (WRONG_PASSWORD, Class::Person, PASSWORD_ADVICE)
        }
        // What isn't known may count towards locking the account.
        (None, Stage::Account) => (
            "kerberos_refused",
            Class::Person,
            "the domain gives the account no ticket",
        ),
        (None, Stage::Service) => (
            "kerberos_no_service_ticket",
            Class::Passing,
            "the domain gives no ticket for the server",
        ),
        (None, Stage::Server) => (
            "kerberos_server_not_proven",
            Class::Person,
            "who answers doesn't prove to be the server: somebody may stand between",
        ),
    };
    let meaning = match class {
        Class::Person => Meaning::PauseAccount,
        Class::Passing => Meaning::Retry,
    };
    let who = who.trim_end_matches('@');
    CallError::new(
        meaning,
        code,
        one_line(&format!("{advice} ({who}: {text})")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(minor: i32) -> Failure {
        Failure::Refused {
            major: 13 << 16,
            minor,
            text: "said so".into(),
        }
    }

    #[test]
    fn every_number_is_classed_once() {
        for (at, row) in CATALOGUE.iter().enumerate() {
            let before = &CATALOGUE[..at];
            assert!(
                !before.iter().any(|other| other.number == row.number),
                "{}",
                row.code
            );
            let error = classed(&refused(row.number), Stage::Account, "sa-1@UNI.EXAMPLE");
            assert_eq!(error.detail.server_code, row.code);
            let text = &error.detail.server_text;
            assert!(
                text.contains("sa-1@UNI.EXAMPLE") && text.contains("said so"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_stage_decides_where_numbers_do_not() {
        use Stage::{Account, Server, Service};
        for (minor, stage, code, meaning) in [
            (
                BAD_INTEGRITY,
                Account,
                "kerberos_wrong_password",
                Meaning::PauseAccount,
            ),
            (
                BAD_INTEGRITY,
                Server,
                "kerberos_server_not_proven",
                Meaning::PauseAccount,
            ),
            (1, Account, "kerberos_refused", Meaning::PauseAccount),
            (1, Service, "kerberos_no_service_ticket", Meaning::Retry),
            (-1_765_328_228, Service, "kerberos_no_kdc", Meaning::Retry),
        ] {
            let error = classed(&refused(minor), stage, "x");
            assert_eq!(
                (error.detail.server_code.as_str(), error.meaning),
                (code, meaning)
            );
        }
        let missing = classed(&Failure::NoLibrary("no file".into()), Account, "x");
        assert_eq!(missing.meaning, Meaning::PauseAccount);
        assert!(missing.detail.server_text.contains("libgssapi-krb5-2"));
    }
}
