//! The port to calendars' permission lists.

use async_trait::async_trait;
use calgrant_domain::{AccessRole, Address, Calendar, Observed};

use crate::CallError;

/// One call to the server: one permit of every budget it is charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarCall {
    /// The mailbox, by its address: also where the call is routed.
    pub mailbox: Address,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked about one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Which folder is the calendar? Found by its type.
    FindCalendar,
    /// What does the trustee's entry hold? Precise: the server resolves the trustee.
    Read {
        /// The folder.
        calendar: Calendar,
        /// Whose entry.
        trustee: Address,
    },
    /// Add an entry where there is none.
    Add {
        /// The folder.
        calendar: Calendar,
        /// Whose entry.
        trustee: Address,
        /// Its right.
        role: AccessRole,
    },
    /// Set the entry that is there.
    Set {
        /// The folder.
        calendar: Calendar,
        /// Whose entry.
        trustee: Address,
        /// Its right.
        role: AccessRole,
    },
    /// Remove the entry that is there.
    Remove {
        /// The folder.
        calendar: Calendar,
        /// Whose entry.
        trustee: Address,
    },
}

impl Ask {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Add { .. } | Self::Set { .. } | Self::Remove { .. }
        )
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::FindCalendar`].
    Calendar(Calendar),
    /// To [`Ask::Read`].
    Entry(Observed),
    /// To a write. Not proof: that is a read.
    Accepted,
}

/// Answers to a round, one for each call, in their order.
#[derive(Debug)]
pub struct Performed {
    /// One for each call.
    pub answers: Vec<Result<Answer, CallError>>,
    /// HTTP requests it took.
    pub round_trips: u32,
}

/// A grantor account's access to calendars.
#[async_trait]
pub trait Calendars: Send + Sync {
    /// How many calls one round may hold, at least 1. More than one where the protocol has batches.
    fn round_size(&self) -> usize;

    /// Signs in, or does nothing while the token is good. Done before permits are taken, so that a
    /// slow sign-in doesn't use up their time.
    ///
    /// # Errors
    /// [`crate::Meaning::PauseAccount`] where the credential is refused; transient failures as they are.
    async fn sign_in(&self) -> Result<(), CallError>;

    /// Carries out calls, at most [`Self::round_size`] of them. Never repeats a call by itself.
    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed;
}
