//! Messages that could not be handled: why, and what a person can do.

use crate::outcome::words;

words!(
    /// Why a message is with the dead letters.
    DeadCause {
        /// It is not what its queue holds, or a part of it is missing or wrong.
        Malformed = "malformed",
        /// It speaks of something that isn't known here.
        Unknown = "unknown",
        /// The database refuses what it says.
        Refused = "refused",
        /// It was made by a newer version. It waits, and is replayed by itself after the upgrade.
        Newer = "newer",
        /// It was handed out again and again and nobody finished it: it ends whoever takes it.
        Crashes = "crashes",
        /// So many people left at once that a person must look at it.
        Brake = "brake",
        /// Nobody said why.
        Unsaid = "unsaid",
    }
);

impl DeadCause {
    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Malformed => {
                "correct its sender, have it send the message anew, and discard this one"
            }
            Self::Unknown => {
                "create what it names (a tenant, a delegation) and replay it; discard it if that is gone for good. Of jobs after the database was restored: run `calgrant verify --all`, and what was lost of them again, then discard it"
            }
            Self::Refused => "see the reason and the log of status; replay it when that is mended",
            Self::Newer => "upgrade this installation: it is replayed by itself then",
            Self::Crashes => {
                "send it with the log of the worker to support; replay it after an upgrade, or discard it"
            }
            Self::Brake => {
                "look whether so many people really left: replay those that did, discard the others"
            }
            Self::Unsaid => "replay it; if it comes back, send it to support",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_say_what_to_do() {
        for cause in DeadCause::ALL {
            assert_eq!(cause.as_str().parse::<DeadCause>().unwrap(), *cause);
            assert!(!cause.advice().is_empty());
        }
    }
}
