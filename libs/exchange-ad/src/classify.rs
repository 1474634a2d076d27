//! What a domain controller's refusal means: each result code once. Pure.

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, Meaning, Scope};

use crate::sign_in::SignInFailure;

/// Result codes that are told apart elsewhere.
pub(crate) const NO_SUCH_OBJECT: u32 = 32;
pub(crate) const INVALID_DN: u32 = 34;
const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;

/// A refusal, as the server words it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The result code.
    pub(crate) code: u32,
    /// How much of the name that was asked for exists, if the server says.
    pub(crate) matched: String,
    /// The server's text.
    pub(crate) text: String,
    /// Where the server sends us instead.
    pub(crate) referrals: Vec<String>,
}

impl Verdict {
    /// Whether a question was too much for the server, which may answer it in smaller parts.
    pub(crate) fn is_too_much(&self) -> bool {
        // timeLimitExceeded, adminLimitExceeded, inappropriateMatching, unwillingToPerform
        matches!(self.code, 3 | 11 | 18 | 53)
    }

    /// Whether the place to go on from has been forgotten.
    pub(crate) fn is_expired_page(&self) -> bool {
        self.code == UNAVAILABLE_CRITICAL_EXTENSION
    }

    /// What comes of it.
    pub(crate) fn error(&self) -> CallError {
        let give_up = Meaning::GiveUp(Reason::Rejected);
        let (meaning, code, advice) = match self.code {
            49 => return SignInFailure::read(&self.text).error(&self.text),
            1 if self.wants_bind() => (
                Meaning::SignInAgain,
                "not_signed_in",
                "the connection isn't signed in any more",
            ),
            1 => (
                Meaning::Retry,
                "operationsError",
                "the domain controller failed",
            ),
            2 => (
                give_up,
                "protocolError",
                "the domain controller doesn't understand the question",
            ),
            3 => (
                Meaning::Retry,
                "timeLimitExceeded",
                "the search took longer than the domain controller allows",
            ),
            4 => (
                give_up,
                "sizeLimitExceeded",
                "the domain controller cuts answers off in spite of paging, so a listing would be incomplete: raise its MaxPageSize, or the limit of this account",
            ),
            8 | 13 => (
                Meaning::PauseAccount,
                "strongerAuthRequired",
                "the domain controller wants the connection protected before a password is sent: use ldaps://, or a port that takes StartTLS",
            ),
            10 => (
                give_up,
                "referral",
                "this is kept by another domain, whose controllers must be asked",
            ),
            11 => (
                give_up,
                "adminLimitExceeded",
                "the question is more than the domain controller answers",
            ),
            12 => (
                give_up,
                "unavailableCriticalExtension",
                "the domain controller doesn't page answers: it is no Active Directory",
            ),
            NO_SUCH_OBJECT => (
                Meaning::GiveUp(Reason::NotFound),
                "noSuchObject",
                "there is no such object",
            ),
            INVALID_DN => (
                give_up,
                "invalidDNSyntax",
                "that is not a distinguished name",
            ),
            48 => (
                Meaning::PauseAccount,
                "inappropriateAuthentication",
                "the domain controller doesn't let accounts sign in with a password: allow simple binds over TLS",
            ),
            50 => (
                Meaning::PauseAccount,
                "insufficientAccessRights",
                "the account may not read this part of the directory: grant it 'Read all properties' there",
            ),
            51 => (
                Meaning::WaitUntil {
                    scope: Scope::Account,
                    after: None,
                },
                "busy",
                "the domain controller is busy",
            ),
            52 => (
                Meaning::Retry,
                "unavailable",
                "the domain controller isn't available",
            ),
            53 => (
                give_up,
                "unwillingToPerform",
                "the domain controller won't do this",
            ),
            80 => (Meaning::Retry, "other", "the domain controller failed"),
            _ => (give_up, "refused", "the domain controller refused"),
        };
        let mut text = advice.to_owned();
        if !self.referrals.is_empty() {
            text.push_str(&format!(" ({})", self.referrals.join(", ")));
        }
        let own = self.text.trim_end_matches('\0');
        text.push_str(&format!(" (the server: {} {own})", self.code));
        CallError::new(meaning, code, text)
    }

    /// Whether the server wants to know first who asks. In Windows' number for it, or Samba's.
    fn wants_bind(&self) -> bool {
        ["000004DC", "00002020", "successful bind"]
            .iter()
            .any(|word| self.text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: u32, text: &str) -> Verdict {
        Verdict {
            code,
            text: text.to_owned(),
            ..Verdict::default()
        }
    }

    #[test]
    fn every_code() {
        let give_up = Meaning::GiveUp(Reason::Rejected);
        let wait = Meaning::WaitUntil {
            scope: Scope::Account,
            after: None,
        };
        for (code, text, want) in [
            (
                1,
                "000004DC: LdapErr: DSID-0C0909A2, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, v4563",
                Meaning::SignInAgain,
            ),
            (
                1,
                "00002020: Operation unavailable without authentication",
                Meaning::SignInAgain,
            ),
            (1, "00000057: LdapErr", Meaning::Retry),
            (3, "", Meaning::Retry),
            (4, "", give_up.clone()),
            (
                8,
                "00002028: LdapErr: DSID-0C090259, comment: The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection",
                Meaning::PauseAccount,
            ),
            (
                8,
                "BindSimple: Transport encryption required.",
                Meaning::PauseAccount,
            ),
            (10, "", give_up.clone()),
            (11, "", give_up.clone()),
            (12, "", give_up.clone()),
            (32, "", Meaning::GiveUp(Reason::NotFound)),
            (34, "", give_up.clone()),
            (
                49,
                "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 775, v1db1",
                Meaning::PauseAccount,
            ),
            (50, "", Meaning::PauseAccount),
            (51, "", wait),
            (52, "", Meaning::Retry),
            (53, "", give_up.clone()),
            (80, "", Meaning::Retry),
            (4711, "", give_up),
        ] {
            let error = verdict(code, text).error();
            assert_eq!(error.meaning, want, "{code} {text}");
            assert!(!error.detail.server_code.is_empty());
            assert!(error.detail.server_text.contains(text), "{code}");
            assert!(!error.unanswered);
        }
    }

    #[test]
    fn what_can_be_asked_in_parts() {
        for (code, want) in [
            (3, true),
            (11, true),
            (18, true),
            (4, false),
            (32, false),
            (51, false),
        ] {
            assert_eq!(verdict(code, "").is_too_much(), want, "{code}");
        }
        assert!(verdict(12, "").is_expired_page());
    }

    #[test]
    fn referrals_are_named() {
        let verdict = Verdict {
            referrals: vec!["ldap://other.example/DC=other".into()],
            ..verdict(10, "")
        };
        assert!(
            verdict
                .error()
                .detail
                .server_text
                .contains("ldap://other.example/DC=other")
        );
    }
}
