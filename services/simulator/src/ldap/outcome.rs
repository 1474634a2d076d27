//! How an operation ended, as Active Directory says it. The texts are from its answers, numbers of source lines and of
//! the version aside.

/// An outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    /// How much of a name that was asked for exists.
    pub(crate) matched: String,
    /// For people.
    pub(crate) text: String,
    /// Where else to ask.
    pub(crate) referrals: Vec<String>,
}

const SUCCESS: u8 = 0;
const OPERATIONS_ERROR: u8 = 1;
const PROTOCOL_ERROR: u8 = 2;
const SIZE_LIMIT_EXCEEDED: u8 = 4;
const AUTH_METHOD_NOT_SUPPORTED: u8 = 7;
const STRONGER_AUTH_REQUIRED: u8 = 8;
const REFERRAL: u8 = 10;
const UNAVAILABLE_CRITICAL_EXTENSION: u8 = 12;
const NO_SUCH_OBJECT: u8 = 32;
const INVALID_DN_SYNTAX: u8 = 34;
const INVALID_CREDENTIALS: u8 = 49;
const INSUFFICIENT_ACCESS_RIGHTS: u8 = 50;
const BUSY: u8 = 51;
const UNAVAILABLE: u8 = 52;

fn of(code: u8, text: impl Into<String>) -> Outcome {
    Outcome {
        code,
        text: text.into(),
        ..Outcome::default()
    }
}

fn commented(code: u8, number: &str, comment: &str) -> Outcome {
    let text = format!("{number}: LdapErr: DSID-0C090A5C, comment: {comment}, data 0, v4563\0");
    of(code, text)
}

impl Outcome {
    pub(crate) fn success() -> Self {
        of(SUCCESS, "")
    }

    /// `why` is one of the codes of failed sign-ins, such as `52e`.
    pub(crate) fn bad_credentials(why: &str) -> Self {
        let text = format!(
            "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {why}, v4563\0"
        );
        of(INVALID_CREDENTIALS, text)
    }

    pub(crate) fn unprotected() -> Self {
        let comment = "The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection";
        commented(STRONGER_AUTH_REQUIRED, "00002028", comment)
    }

    pub(crate) fn unknown_way_to_sign_in() -> Self {
        let comment = "Unknown authentication method";
        commented(AUTH_METHOD_NOT_SUPPORTED, "00002027", comment)
    }

    pub(crate) fn not_signed_in() -> Self {
        let comment = "In order to perform this operation a successful bind must be completed on the connection.";
        commented(OPERATIONS_ERROR, "000004DC", comment)
    }

    pub(crate) fn protected_already() -> Self {
        let comment = "TLS or SSL already in effect";
        commented(OPERATIONS_ERROR, "00000000", comment)
    }

    pub(crate) fn unknown_operation() -> Self {
        commented(PROTOCOL_ERROR, "0000203D", "Unknown extended request OID")
    }

    pub(crate) fn other_version() -> Self {
        commented(PROTOCOL_ERROR, "00002020", "Unsupported version")
    }

    /// What can't be read; the connection ends with it.
    pub(crate) fn malformed() -> Self {
        commented(PROTOCOL_ERROR, "00000057", "Error decoding ldap message")
    }

    pub(crate) fn bad_control() -> Self {
        let comment = "Error processing control";
        commented(UNAVAILABLE_CRITICAL_EXTENSION, "00000057", comment)
    }

    pub(crate) fn unknown_control() -> Self {
        let text = "00002040: SvcErr: DSID-031403B6, problem 5010 (UNAVAIL_EXTENSION), data 0\n\0";
        of(UNAVAILABLE_CRITICAL_EXTENSION, text)
    }

    pub(crate) fn too_many() -> Self {
        of(SIZE_LIMIT_EXCEEDED, "")
    }

    pub(crate) fn no_object(matched: &str) -> Self {
        Self {
            matched: matched.to_owned(),
            ..of(
                NO_SUCH_OBJECT,
                format!(
                    "0000208D: NameErr: DSID-0310028D, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'{matched}'\n\0"
                ),
            )
        }
    }

    pub(crate) fn no_name(name: &str) -> Self {
        let text = format!(
            "0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME), data 8349, best match of:\n\t'{name}'\n\0"
        );
        of(INVALID_DN_SYNTAX, text)
    }

    /// Another domain has it.
    pub(crate) fn elsewhere(domain: &str, name: &str) -> Self {
        Self {
            referrals: vec![format!("ldap://{domain}/{name}")],
            ..of(
                REFERRAL,
                format!(
                    "0000202B: RefErr: DSID-0310082F, data 0, 1 access points\n\tref 1: '{domain}'\n\0"
                ),
            )
        }
    }

    /// Values were asked for from behind the last one.
    pub(crate) fn beyond_the_values() -> Self {
        let text = "00002121: SvcErr: DSID-0314021C, problem 5012 (DIR_ERROR), data 0\n\0";
        of(OPERATIONS_ERROR, text)
    }

    pub(crate) fn read_only() -> Self {
        let text =
            "00002098: SecErr: DSID-031514A0, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n\0";
        of(INSUFFICIENT_ACCESS_RIGHTS, text)
    }

    pub(crate) fn busy() -> Self {
        of(
            BUSY,
            "000020D9: SvcErr: DSID-02080490, problem 5001 (BUSY), data 0\n\0",
        )
    }

    pub(crate) fn unavailable() -> Self {
        of(
            UNAVAILABLE,
            "0000200F: SvcErr: DSID-031A11E5, problem 5002 (UNAVAILABLE), data 0\n\0",
        )
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code == SUCCESS
    }
}
