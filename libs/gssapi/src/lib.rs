//! Kerberos by the system's GSSAPI library (MIT's `libgssapi_krb5.so.2`): tickets for a password, contexts between two sides,
//! messages sealed in them.
//!
//! The library is loaded when it is first used. Nothing of it is needed to build, and a process that never signs in by Kerberos
//! starts without it. It reads `/etc/krb5.conf`, or what `KRB5_CONFIG` names, and finds a realm's KDC there or by DNS.
//!
//! Calls that get tickets go over the network and block: they belong on a thread that may wait.

mod library;

pub use library::{Context, Credential, Sealed};

/// Why something didn't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The library isn't there, or isn't MIT's.
    #[error(
        "the system's Kerberos library can't be loaded: install it (Debian: libgssapi-krb5-2): {0}"
    )]
    NoLibrary(String),
    /// The library, a KDC or the other side says no.
    #[error("{text}")]
    Refused {
        /// What GSSAPI calls it (RFC 2744 3.9.1): the routine's error in bits 16 to 23.
        major: u32,
        /// What Kerberos calls it: a number of `krb5.h`, such as -1765328360; 0 where it says nothing.
        minor: i32,
        /// Both in words.
        text: String,
    },
    /// A name or a path that the library can't be given.
    #[error("{0}")]
    Unfit(&'static str),
}

impl Failure {
    /// Whether a ticket or a context has run out.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        const CREDENTIALS_EXPIRED: u32 = 11 << 16;
        const CONTEXT_EXPIRED: u32 = 12 << 16;
        const TICKET_EXPIRED: i32 = -1_765_328_352;
        match self {
            Self::Refused { major, minor, .. } => {
                [CREDENTIALS_EXPIRED, CONTEXT_EXPIRED].contains(&(major & 0x00FF_0000))
                    || *minor == TICKET_EXPIRED
            }
            Self::NoLibrary(_) | Self::Unfit(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_known_by_either_number() {
        let refused = |major, minor| Failure::Refused {
            major,
            minor,
            text: String::new(),
        };
        for (failure, expired) in [
            (refused(11 << 16, 0), true),
            (refused(12 << 16, 0), true),
            (refused(13 << 16, -1_765_328_352), true),
            (refused(13 << 16, -1_765_328_360), false),
            (Failure::Unfit("a name"), false),
        ] {
            assert_eq!(failure.is_expired(), expired, "{failure:?}");
        }
    }
}
