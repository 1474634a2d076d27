//! The registry of ids. An id is a type; its text form carries a prefix, so that it can't be mistaken for another.
//!
//! The time of acceptance is the first 48 bits (milliseconds since 1970) of an [`OperationId`], a
//! [`DelegationId`] and a [`JobId`]: history sorts and can be partitioned by id alone.

use std::{fmt, str::FromStr};

use time::OffsetDateTime;
use uuid::Uuid;

use crate::BadInput;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What its text form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id behind a bare UUID, as a database or a bus message holds it.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = BadInput;

            fn from_str(raw: &str) -> Result<Self, BadInput> {
                raw.trim()
                    .strip_prefix(concat!($prefix, "_"))
                    .and_then(|uuid| Uuid::try_parse(uuid).ok())
                    .map(Self)
                    .ok_or_else(|| BadInput::new("", raw, concat!("not an id of this kind: it looks like ", $prefix, "_ and 32 hexadecimal digits")))
            }
        }
    };
}

id!(
    /// A delegation: the standing wish.
    DelegationId, "dlg");
id!(
    /// One run of a delegation.
    OperationId, "op");
id!(
    /// One mailbox of an operation. Follows from both, see [`JobId::of`].
    JobId, "job");
id!(
    /// The immutable GUID of a mailbox. For Exchange Online the directory object's id
    /// (`ExternalDirectoryObjectId`), which every listing carries and which is never used again.
    MailboxId, "mbx");
id!(
    /// An uploaded list of mailbox names.
    ListId, "list");
id!(
    /// A message that could not be handled.
    DeadLetterId, "dead");
id!(
    /// Something that a person should know of.
    AlertId, "alert");
id!(
    /// One run of a site's set-up.
    SetupId, "set");

/// Milliseconds since 1970, as the first 48 bits of an id hold them.
fn millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0) & 0xFFFF_FFFF_FFFF
}

/// A version 7 UUID of the given moment; `random` fills the rest.
fn timed(at: OffsetDateTime, random: Uuid) -> Uuid {
    let mut bytes = *random.as_bytes();
    bytes[..6].copy_from_slice(&millis(at).to_be_bytes()[2..]);
    uuid::Builder::from_bytes(bytes)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

macro_rules! timed_id {
    ($name:ident) => {
        impl $name {
            /// A new id, accepted `at`. `random` is a fresh random UUID.
            pub fn new(at: OffsetDateTime, random: Uuid) -> Self {
                Self(timed(at, random))
            }
        }
    };
}
timed_id!(DelegationId);
timed_id!(OperationId);
timed_id!(ListId);
timed_id!(DeadLetterId);
timed_id!(AlertId);
timed_id!(SetupId);

impl JobId {
    /// The id of the job of `mailbox` in `operation`: the same whenever it is asked, so a repeated
    /// listing makes no second job. Starts with the operation's time of acceptance.
    pub fn of(operation: OperationId, mailbox: MailboxId) -> Self {
        let hash = Uuid::new_v5(&operation.0, mailbox.0.as_bytes());
        let mut bytes = *hash.as_bytes();
        bytes[..6].copy_from_slice(&operation.0.as_bytes()[..6]);
        Self(
            uuid::Builder::from_bytes(bytes)
                .with_version(uuid::Version::Custom)
                .with_variant(uuid::Variant::RFC4122)
                .into_uuid(),
        )
    }
}

impl MailboxId {
    /// The key of a recipient that has no GUID, because the directory doesn't know the name it was
    /// listed by: follows from site and name, so it too is reported once only.
    pub fn of_unknown(site: &str, name: &str) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_OID,
            format!("{site}\n{}", name.to_lowercase()).as_bytes(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(second: i64) -> OperationId {
        OperationId::new(
            OffsetDateTime::from_unix_timestamp(second).unwrap(),
            Uuid::from_u128(77),
        )
    }

    #[test]
    fn text_form_round_trips_and_refuses_other_kinds() {
        let id = operation(1_800_000_000);
        assert_eq!(id.to_string().parse::<OperationId>().unwrap(), id);
        assert!(id.to_string().starts_with("op_"));
        assert!(id.to_string().parse::<DelegationId>().is_err());
        assert!("op_nonsense".parse::<OperationId>().is_err());
    }

    #[test]
    fn job_ids_follow_from_operation_and_mailbox_and_carry_its_time() {
        let (op, mailbox) = (
            operation(1_800_000_000),
            MailboxId::from_uuid(Uuid::from_u128(5)),
        );
        assert_eq!(JobId::of(op, mailbox), JobId::of(op, mailbox));
        assert_ne!(
            JobId::of(op, mailbox),
            JobId::of(op, MailboxId::from_uuid(Uuid::from_u128(6)))
        );
        assert_ne!(
            JobId::of(op, mailbox),
            JobId::of(operation(1_800_000_001), mailbox)
        );
        assert_eq!(
            JobId::of(op, mailbox).as_uuid().as_bytes()[..6],
            op.as_uuid().as_bytes()[..6]
        );
    }

    #[test]
    fn later_operations_sort_later() {
        assert!(operation(1_800_000_000) < operation(1_800_000_001));
    }
}
