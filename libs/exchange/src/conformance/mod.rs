//! What every adapter must do, whatever it speaks: checks over the ports alone, for tests.
//!
//! An adapter's tests set a server up, describe it as a [`World`] and call [`calendars::all`] and
//! [`directory::all`]; of the port to administration as an [`administration::Office`]. A check that fails panics and says what was seen.

pub mod administration;
pub mod asking;
pub mod calendars;
pub mod directory;

use std::fmt::Debug;

use async_trait::async_trait;
use calgrant_domain::{AccessRole, Address, Observed, Reason, Rights};

use crate::{Calendars, Directory, Selection};

/// What state a mailbox is wanted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The trustee has no entry. The calendar has a name that isn't English, lies beside others, and others have
    /// entries on it. Each time another mailbox.
    Free,
    /// The trustee's entry holds these rights.
    Holds(Rights),
    /// The trustee is a delegate: Editor, with the flag.
    Delegate,
    /// Nobody has this address.
    Missing,
    /// There is a user, and no licence.
    Unlicensed,
    /// There is a licence, and no mailbox yet.
    NotProvisioned,
    /// There is a mailbox, and no calendar in it.
    NoCalendar,
    /// The account may read it, and not write to it.
    OutOfScope,
}

/// A selection, and what it must list.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What is selected.
    pub selection: Selection,
    /// Mailboxes, by the address they are worked with. Nothing else suits, and none is missing.
    pub suitable: Vec<Address>,
    /// Recipients that don't suit, and why. Others may be listed that don't suit either.
    pub unsuitable: Vec<Reason>,
}

/// Somebody's names: each is one of the same mailbox.
#[derive(Debug, Clone)]
pub struct Names {
    /// How the mailbox is worked with.
    pub address: Address,
    /// Everything else it is called.
    pub aliases: Vec<Address>,
}

/// The server behind an adapter, as its tests have set it up.
#[async_trait]
pub trait World: Send + Sync {
    /// The calendars' port.
    fn calendars(&self) -> &dyn Calendars;
    /// The directory's port.
    fn directory(&self) -> &dyn Directory;

    /// A mailbox in this state.
    fn mailbox(&self, state: State) -> Address;
    /// Who receives rights: a mail-enabled security group, of which another object shares the display name.
    fn trustee(&self) -> Address;
    /// An address that can't hold rights: that of a distribution group.
    fn powerless(&self) -> Address;
    /// An address nobody has.
    fn unknown(&self) -> Address;
    /// Whether entries carry a delegate's flags here, which setting them would take away.
    fn tells_delegates(&self) -> bool {
        true
    }
    /// Requests that a change takes: more than one where the server knows no smaller change than the whole list,
    /// which is read first.
    fn requests_of_a_change(&self) -> u32 {
        1
    }

    /// Selections of every kind there is, those with more than one page among them.
    fn selections(&self) -> Vec<Expected>;
    /// Selections of things that aren't there.
    fn missing_selections(&self) -> Vec<Selection>;
    /// A mailbox with several names, which every selection of mailboxes lists.
    fn names(&self) -> Names;

    /// The trustee's entry on the mailbox's main calendar, by the server's own account.
    async fn truth(&self, mailbox: &Address) -> Observed;
    /// Entries of others that were changed since the start, by the server's own account.
    async fn foreign_changes(&self) -> u64;
}

/// Every role Exchange names, `None` apart, and two sets of rights it has no name for: as they are written.
pub const ROLES: &[&str] = &[
    "AvailabilityOnly",
    "LimitedDetails",
    "Contributor",
    "Reviewer",
    "NonEditingAuthor",
    "Author",
    "PublishingAuthor",
    "Editor",
    "PublishingEditor",
    "Owner",
    "ReadItems,CreateItems,FolderVisible",
    "ReadItems,EditOwnedItems,EditAllItems,FolderVisible",
];

/// The place of these rights in [`ROLES`].
///
/// # Panics
/// They aren't there.
#[must_use]
pub fn place_of(rights: Rights) -> usize {
    let is = |role: &&str| role.parse::<Rights>().is_ok_and(|held| held == rights);
    match ROLES.iter().position(is) {
        Some(place) => place,
        None => panic!("{rights} isn't prepared"),
    }
}

fn roles() -> Vec<AccessRole> {
    ROLES.iter().map(|name| good(name.parse())).collect()
}

/// The value; anything else fails the check.
fn good<T, E: Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("it failed: {error:?}"),
    }
}
