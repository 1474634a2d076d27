//! Whose an entry is, and how it is written back.

use std::{fmt, str::FromStr};

use super::{Flags, Level};
use crate::{Address, BadInput};

/// A security identifier, `S-1-5-21-…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sid(String);

impl Sid {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sid {
    type Err = BadInput;

    /// `S-1-` and 2 to 16 numbers joined by hyphens.
    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let numbers = raw.strip_prefix("S-1-").map(|rest| rest.split('-'));
        let good = numbers.is_some_and(|numbers| {
            (2..=16).contains(&numbers.clone().count())
                && numbers.into_iter().all(|number| {
                    (1..=15).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
                })
        });
        if good {
            Ok(Self(raw.to_owned()))
        } else {
            Err(BadInput::new("", raw, "not a security identifier"))
        }
    }
}

/// Whose an entry is, as a read says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Everybody of the organisation who has no entry.
    Default,
    /// Everybody else.
    Anonymous,
    /// A user or a group of the directory.
    Principal {
        /// Its security identifier, where the server tells it.
        sid: Option<Sid>,
        /// Its primary address, where it has one; in the letters the server keeps it in.
        address: Option<String>,
        /// What it is called. Names are not unique.
        name: String,
    },
    /// Somebody of another organisation.
    External {
        /// The server's own name for it.
        identity: String,
        /// Its address, where the server tells it.
        address: Option<String>,
        /// What it is called.
        name: String,
    },
    /// The server doesn't say.
    Unnamed,
}

/// Whose an entry is, as it is written: the least that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenIdentity {
    /// Everybody of the organisation who has no entry.
    Default,
    /// Everybody else.
    Anonymous,
    /// By security identifier, which needs no look-up of an address that may be hidden.
    Sid(Sid),
    /// By address.
    Address(String),
    /// Somebody of another organisation.
    External {
        /// The server's own name for it.
        identity: String,
        /// Its address.
        address: String,
    },
}

impl Identity {
    /// Whether this is the principal of that address. An external user isn't, whatever its address.
    pub fn is(&self, of: &Address) -> bool {
        matches!(self, Self::Principal { address: Some(address), .. } if address.to_lowercase() == of.as_str())
    }

    /// Whether both are seen to be the same principal: by security identifier, or by address.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Default, Self::Default) | (Self::Anonymous, Self::Anonymous) => true,
            (
                Self::Principal { sid, address, .. },
                Self::Principal {
                    sid: other_sid,
                    address: other_address,
                    ..
                },
            ) => {
                let same_sid = sid.is_some() && sid == other_sid;
                let same_address = match (address, other_address) {
                    (Some(one), Some(other)) => one.to_lowercase() == other.to_lowercase(),
                    _ => false,
                };
                same_sid || same_address
            }
            (
                Self::External { identity, .. },
                Self::External {
                    identity: other_identity,
                    ..
                },
            ) => identity == other_identity,
            _ => false,
        }
    }

    /// As it is written; `None` if nothing names it well enough.
    pub fn written(&self) -> Option<WrittenIdentity> {
        match self {
            Self::Default => Some(WrittenIdentity::Default),
            Self::Anonymous => Some(WrittenIdentity::Anonymous),
            Self::Principal { sid: Some(sid), .. } => Some(WrittenIdentity::Sid(sid.clone())),
            Self::Principal { address, .. } => address.clone().map(WrittenIdentity::Address),
            Self::External {
                identity,
                address: Some(address),
                ..
            } => Some(WrittenIdentity::External {
                identity: identity.clone(),
                address: address.clone(),
            }),
            Self::External { address: None, .. } | Self::Unnamed => None,
        }
    }
}

impl fmt::Display for Identity {
    /// For people who know the mailbox, and for records: says which entry it is without anybody's address or name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = |address: &str| match address.rsplit_once('@') {
            Some((_, domain)) => format!("somebody of {domain}"),
            None => "somebody".to_owned(),
        };
        match self {
            Self::Default => f.write_str("Default"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Principal { sid: Some(sid), .. } => f.write_str(sid.as_str()),
            Self::Principal { address, .. } => {
                f.write_str(&domain(address.as_deref().unwrap_or("")))
            }
            Self::External {
                address: Some(address),
                ..
            } => write!(f, "{}, external", domain(address)),
            Self::External { identity, .. } => f.write_str(identity),
            Self::Unnamed => f.write_str("an entry without a name"),
        }
    }
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub identity: Identity,
    /// What it allows.
    pub flags: Flags,
}

/// An entry's rights as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// By name alone: servers refuse flags beside a name.
    Level(Level),
    /// Every flag, as `Custom`.
    Flags(Flags),
}

impl Written {
    /// By name where a name says exactly this; in full otherwise, also for the variants that a name covers without
    /// saying which it is.
    pub fn of(flags: Flags) -> Self {
        let level = flags.level();
        if level.flags() == Some(flags) {
            Self::Level(level)
        } else {
            Self::Flags(flags)
        }
    }
}

/// An entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenEntry {
    /// Whose.
    pub identity: WrittenIdentity,
    /// What it allows.
    pub rights: Written,
}
