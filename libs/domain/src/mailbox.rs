//! Mailboxes and what a listing says of them.

use crate::{Address, MailboxId, MailboxType, Reason};

/// A mailbox that a job can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Its immutable key.
    pub id: MailboxId,
    /// Its user principal name or primary address: how cmdlets name it.
    pub address: Address,
    /// Every other name it is known by, primary first.
    pub aliases: Vec<Address>,
    /// Its type, where the listing tells.
    pub kind: Option<MailboxType>,
    /// Whether the directory shows a licence with a mailbox; `None` where the listing doesn't say. Decides
    /// between waiting for a mailbox that isn't there and refusing it.
    pub licensed: Option<bool>,
}

/// One recipient of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The mailbox, or the best that is known of a recipient that doesn't suit.
    pub id: MailboxId,
    /// What it is called; an address where it has one.
    pub name: String,
    /// The mailbox, or why it doesn't suit.
    pub what: Result<Mailbox, Reason>,
    /// Lines of the uploaded list that name it, from 1; empty for other selectors.
    pub lines: Vec<u32>,
}

/// A mailbox's main calendar folder. Its name is localised, so it is found by type, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// The folder's id, as `Get-MailboxFolderStatistics` gives it; what InvokeCommand takes.
    pub folder_id: String,
    /// Its path such as `\Kalender`; what the Admin API takes.
    pub path: String,
}
