//! Why a domain controller refuses to let an account in. It answers every case with the same result code, 49, and says
//! which it is in a number inside its text. Pure.

use std::time::Duration;

use calgrant_exchange::{CallError, Meaning};

/// For how long a refusal is believed before the account is tried again, where trying can do no harm.
const A_WHILE: Duration = Duration::from_secs(300);
/// As long where trying counts towards locking the account: domains count over half an hour or so, and allow more than two.
const LONG: Duration = Duration::from_secs(1800);

/// A cause, as far as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInFailure {
    WrongNameOrPassword,
    NoSuchAccount,
    OutsideHours,
    OtherWorkstation,
    LogonType,
    PasswordExpired,
    PasswordMustChange,
    Disabled,
    AccountExpired,
    Locked,
    Unknown,
}

const ALL: &[SignInFailure] = &[
    SignInFailure::WrongNameOrPassword,
    SignInFailure::NoSuchAccount,
    SignInFailure::OutsideHours,
    SignInFailure::OtherWorkstation,
    SignInFailure::LogonType,
    SignInFailure::PasswordExpired,
    SignInFailure::PasswordMustChange,
    SignInFailure::Disabled,
    SignInFailure::AccountExpired,
    SignInFailure::Locked,
    SignInFailure::Unknown,
];

impl SignInFailure {
    /// Reads the number after the word `data`, which is hexadecimal.
    pub(crate) fn read(text: &str) -> Self {
        let after = text.split_once("data ").map_or("", |(_, after)| after);
        let code: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
        match code.to_ascii_lowercase().as_str() {
            "52e" => Self::WrongNameOrPassword,
            "525" => Self::NoSuchAccount,
            "530" => Self::OutsideHours,
            "531" => Self::OtherWorkstation,
            "534" | "569" => Self::LogonType,
            "532" => Self::PasswordExpired,
            "773" => Self::PasswordMustChange,
            "533" => Self::Disabled,
            "701" => Self::AccountExpired,
            "775" => Self::Locked,
            _ => Self::Unknown,
        }
    }

    /// The cause of an error made by [`Self::error`]; `None` for any other.
    pub(crate) fn of(error: &CallError) -> Option<Self> {
        let code = error.detail.server_code.as_str();
        ALL.iter().copied().find(|why| why.code() == code)
    }

    /// A word for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::WrongNameOrPassword => "wrong_name_or_password",
            Self::NoSuchAccount => "no_such_account",
            Self::OutsideHours => "outside_logon_hours",
            Self::OtherWorkstation => "workstation_not_allowed",
            Self::LogonType => "logon_type_not_allowed",
            Self::PasswordExpired => "password_expired",
            Self::PasswordMustChange => "password_must_change",
            Self::Disabled => "account_disabled",
            Self::AccountExpired => "account_expired",
            Self::Locked => "account_locked",
            Self::Unknown => "sign_in_refused",
        }
    }

    /// What is wrong and what to do.
    fn advice(self) -> &'static str {
        match self {
            Self::WrongNameOrPassword => {
                "the name or the password of the account is wrong: correct the credential (write the name as reader@uni.example)"
            }
            Self::NoSuchAccount => {
                "the domain has no account of this name: correct it, written as reader@uni.example"
            }
            Self::OutsideHours => "the account may not sign in at this hour: widen its logon hours",
            Self::OtherWorkstation => {
                "the account may not sign in from this machine: widen the list of its workstations"
            }
            Self::LogonType => "the account may not sign in over the network: grant it that right",
            Self::PasswordExpired => {
                "the password of the account has expired: set a new one that doesn't expire, and change the credential"
            }
            Self::PasswordMustChange => {
                "the account must change its password first: take 'must change password at next logon' off"
            }
            Self::Disabled => "the account is disabled: enable it",
            Self::AccountExpired => "the account has expired: move its end date",
            Self::Locked => {
                "the account is locked after wrong passwords: find who uses an old one, then unlock it (Unlock-ADAccount)"
            }
            Self::Unknown => "the domain controller refused to let the account in",
        }
    }

    /// For how long the account isn't tried again with the same credential.
    pub(crate) fn hold(self) -> Duration {
        match self {
            Self::WrongNameOrPassword | Self::NoSuchAccount | Self::Unknown => LONG,
            _ => A_WHILE,
        }
    }

    /// As the outcome of a call: the account is stopped.
    pub(crate) fn error(self, text: &str) -> CallError {
        let text = format!(
            "{}; the same credential is tried again in {} minutes, another one at once (the server: {})",
            self.advice(),
            self.hold().as_secs() / 60,
            text.trim_end_matches('\0')
        );
        CallError::new(Meaning::PauseAccount, self.code(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number() {
        use SignInFailure as Why;
        for (number, want) in [
            ("52e", Why::WrongNameOrPassword),
            ("525", Why::NoSuchAccount),
            ("530", Why::OutsideHours),
            ("531", Why::OtherWorkstation),
            ("532", Why::PasswordExpired),
            ("533", Why::Disabled),
            ("534", Why::LogonType),
            ("701", Why::AccountExpired),
            ("773", Why::PasswordMustChange),
            ("775", Why::Locked),
            ("57", Why::Unknown),
        ] {
            let text = format!(
                "80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data {number}, v2580\0"
            );
            assert_eq!(Why::read(&text), want, "{number}");
            let error = want.error(&text);
            assert_eq!(error.meaning, Meaning::PauseAccount);
            assert_eq!(SignInFailure::of(&error), Some(want));
            assert!(error.detail.server_text.contains(number));
            assert!(!error.detail.server_text.contains('\0'));
        }
        for other in ["", "data", "data ", "invalid credentials", "data 52E, v1"] {
            let why = Why::read(other);
            assert_eq!(why == Why::WrongNameOrPassword, other.contains("52E"));
        }
    }

    #[test]
    fn a_wrong_password_is_tried_twice_an_hour_at_most() {
        assert!(SignInFailure::WrongNameOrPassword.hold() >= Duration::from_secs(1800));
        assert!(SignInFailure::Locked.hold() >= Duration::from_secs(60));
    }
}
