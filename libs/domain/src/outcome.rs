//! How a job ended, and why.

use std::{fmt, str::FromStr};

use crate::BadInput;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant),+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it, the same everywhere.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::BadInput;

            fn from_str(raw: &str) -> Result<Self, Self::Err> {
                let word = raw.trim().to_ascii_lowercase();
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    crate::BadInput::new("", raw, format!("use one of {}", all.join(", ")))
                })
            }
        }
    };
}
pub(crate) use words;

words!(
    /// How one mailbox of an operation ended. In an operation that only validates, what would be done.
    Outcome {
        /// The trustee had no entry and now has one, proven by reading it back.
        Added = "added",
        /// The trustee's entry was raised (or lowered, where asked for) and read back.
        Updated = "updated",
        /// The entry was as wanted; nothing was written.
        Unchanged = "unchanged",
        /// The entry allows more than wanted and was left alone.
        LeftHigher = "left_higher",
        /// Not tried, or not allowed: the recipient, the trustee or the folder doesn't suit.
        Refused = "refused",
        /// Tried, and it didn't work.
        Failed = "failed",
        /// Ended by a request to cancel before anything was written.
        Cancelled = "cancelled",
        /// Written, but no read has shown it yet; every re-read was still the old list.
        Unconfirmed = "unconfirmed",
        /// Our entry was taken away, proven by reading the list again.
        Removed = "removed",
        /// Our entry was put back to what it was before, proven by reading it.
        Restored = "restored",
        /// The entry is not what we left there: it was left alone.
        LeftChangedSince = "left_changed_since",
        /// Another delegation wants the right: nothing was taken away.
        KeptBy = "kept_by",
        /// The entry is what it was when it was last known.
        Verified = "verified",
        /// The entry differs from what was last known; nothing was written.
        Drifted = "drifted",
        /// The entry had lost the right, and was given it again, proven by reading it.
        Repaired = "repaired",
    }
);

words!(
    /// Why a job ended as it did, typed: programs branch on it.
    Reason {
        /// The directory knows no recipient of that name.
        NotFound = "not_found",
        /// The recipient is a contact, a group, a device: it has no calendar.
        NotAMailbox = "not_a_mailbox",
        /// The recipient is of a type the delegation doesn't select (shared, room, equipment).
        TypeNotSelected = "type_not_selected",
        /// The mailbox is in the tenant's other Exchange organisation.
        OtherSite = "other_site",
        /// The account of the mailbox is disabled, and the site's settings leave those out.
        AccountDisabled = "account_disabled",
        /// The user has no mailbox licence.
        Unlicensed = "unlicensed",
        /// Exchange still doesn't know the mailbox after the longest wait for it.
        NotProvisioned = "not_provisioned",
        /// The mailbox has no folder of type Calendar.
        NoCalendar = "no_calendar",
        /// Exchange finds several objects by the mailbox's name.
        Ambiguous = "ambiguous",
        /// The account's role doesn't cover this mailbox.
        OutOfWriteScope = "out_of_write_scope",
        /// Exchange doesn't accept the trustee on a folder.
        TrusteeRefused = "trustee_refused",
        /// Exchange takes the trustee for an external user, and the sharing policy forbids it.
        SharingPolicy = "sharing_policy",
        /// The folder accepts no permissions.
        FolderRefused = "folder_refused",
        /// The trustee's entry is a delegate's, and changing it would take the delegation away.
        DelegateEntry = "delegate_entry",
        /// The list can only be written as a whole, and holds entries of others that can't be written back as they are.
        ListNotRebuildable = "list_not_rebuildable",
        /// A later operation has already begun to change this mailbox for this trustee.
        Superseded = "superseded",
        /// Every read after the write showed the old list: the write may or may not show later.
        ReadsLag = "reads_lag",
        /// The entry was changed by somebody else right after our write.
        ChangedByOthers = "changed_by_others",
        /// The server was not available, or failed, in every attempt.
        Unavailable = "unavailable",
        /// The server refused in a way that trying again can't help.
        Rejected = "rejected",
        /// Somebody cancelled the operation.
        CancelRequested = "cancel_requested",
        /// The operation itself failed, so this mailbox was not reached.
        OperationFailed = "operation_failed",
        /// Its message couldn't be handled, and a person discarded it.
        Discarded = "discarded",
        /// The entry is gone that was there when it was last known.
        RemovedSince = "removed_since",
        /// There is an entry where there was none when it was last known.
        AddedSince = "added_since",
        /// The entry allows more than when it was last known.
        RaisedSince = "raised_since",
        /// The entry allows less than when it was last known.
        LoweredSince = "lowered_since",
        /// The entry allows something else than when it was last known.
        ReplacedSince = "replaced_since",
        /// Another delegation wants the right.
        Kept = "kept",
        /// Another operation has changed the entry since the one that was to be undone.
        ChangedByLater = "changed_by_later",
        /// No record says that the right was given here by us.
        NotGrantedHere = "not_granted_here",
        /// The address leads to another mailbox than the one on record.
        MailboxReplaced = "mailbox_replaced",
    }
);

impl Reason {
    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotFound => {
                "no recipient has this name: check its spelling, or whether the person has left"
            }
            Self::NotAMailbox => {
                "this recipient has no calendar: remove it from the list, or exclude it"
            }
            Self::TypeNotSelected => "add its type to the selector's mailbox_types if it is meant",
            Self::OtherSite => {
                "its mailbox lies at the tenant's other site: name a trustee there too, and it is worked on there"
            }
            Self::AccountDisabled => {
                "enable the account, or have the site's settings include disabled ones"
            }
            Self::Unlicensed => "assign a licence with an Exchange mailbox plan, then run again",
            Self::NotProvisioned => {
                "the mailbox never appeared: check its licence in the admin centre, then run again"
            }
            Self::NoCalendar => {
                "the mailbox has no calendar folder: open it once in Outlook, then run again"
            }
            Self::Ambiguous => {
                "two objects share this name: name the one that is meant by its key, or give one of them another address"
            }
            Self::OutOfWriteScope => {
                "widen the recipient write scope of the account's role to include this mailbox"
            }
            Self::TrusteeRefused => {
                "the trustee must be a mail-enabled security group or a mailbox of this organisation"
            }
            Self::SharingPolicy => {
                "the trustee resolves to an external address: use its address in this organisation"
            }
            Self::FolderRefused => "this folder takes no permissions: nothing can be granted here",
            Self::DelegateEntry => {
                "the trustee is this person's delegate: end that in Outlook first, or exclude the mailbox"
            }
            Self::ListNotRebuildable => {
                "remove the entries that are named, or let an account with remote PowerShell do this mailbox: it changes one entry alone"
            }
            Self::Superseded => "look at the later operation; it decides",
            Self::ReadsLag => {
                "Exchange still shows the old list: run again later, it writes only if needed"
            }
            Self::ChangedByOthers => {
                "somebody edited the list at the same time: look at it with the user, then run again"
            }
            Self::Unavailable => "Exchange did not answer properly: run again later",
            Self::Rejected => {
                "see the server's own code and text; its request id helps Microsoft's support"
            }
            Self::CancelRequested => "run again to include it",
            Self::OperationFailed => "see the operation's own error",
            Self::Discarded => {
                "its dead letter says why it couldn't be handled; run again after an upgrade"
            }
            Self::RemovedSince => {
                "somebody took the entry away: run the delegation again if the right is still wanted"
            }
            Self::AddedSince | Self::RaisedSince | Self::ReplacedSince => {
                "somebody changed the entry: look at it with the user; what others gave is theirs to take away"
            }
            Self::LoweredSince => {
                "somebody lowered the entry: run the delegation again if the right is still wanted"
            }
            Self::Kept => "revoke the delegation that kept it too, if nobody wants it any more",
            Self::ChangedByLater => "look at the later operation; undo that one first",
            Self::NotGrantedHere => {
                "it was there before, or was never given: remove it by hand if it should go"
            }
            Self::MailboxReplaced => {
                "the mailbox on record is gone, or has another address that no listing has seen yet: run its delegation again, then this"
            }
        }
    }
}

/// What is kept beside an outcome for people and for support: the server's own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail {
    /// The server's own code, such as `ManagementObjectNotFoundException`; empty if there is none.
    pub server_code: String,
    /// The server's text, shortened, without addresses of others; empty if there is none.
    pub server_text: String,
    /// The server's request id; empty if there is none.
    pub request_id: String,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (request {})",
            self.server_code, self.server_text, self.request_id
        )
    }
}

/// Parses an optional word: empty text is nothing.
///
/// # Errors
/// The text is neither empty nor one of the words.
pub fn optional<T: FromStr<Err = BadInput>>(raw: &str) -> Result<Option<T>, BadInput> {
    if raw.is_empty() {
        Ok(None)
    } else {
        raw.parse().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse::<Outcome>().unwrap(), *outcome);
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().unwrap(), *reason);
            assert!(!reason.advice().is_empty());
        }
        assert!("Granted".parse::<Outcome>().is_err());
        assert_eq!(optional::<Outcome>(""), Ok(None));
    }
}
