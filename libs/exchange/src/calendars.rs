//! The port to calendars' permission lists.

use std::time::Duration;

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
    Entry {
        /// What the entry holds.
        seen: Observed,
        /// It is a delegate's: it carries flags (delegate, private items) that no [`Ask::Set`] keeps. Whoever
        /// sets it takes them away, so it isn't set.
        delegate: bool,
    },
    /// To a write. Not proof: that is a read.
    Accepted,
}

/// Answers to a round, one for each call, in their order.
#[derive(Debug)]
pub struct Performed {
    /// One for each call. Those that got no answer at all say so: [`CallError::unanswered`].
    pub answers: Vec<Result<Answer, CallError>>,
    /// HTTP requests it took, or commands where a session takes several requests for one. One, as a rule; more where an
    /// answer had several pages, an interface was not there, or a list is read before it is written.
    pub round_trips: u32,
    /// From the start of [`Calendars::perform`] to the first byte of the last request it sent: not before
    /// then does the server count the calls. `None` if nothing was sent, or the clock was set back meanwhile.
    pub sent_after: Option<Duration>,
}

impl Performed {
    /// Whether some calls were sent and got no answer: the server may still be at work on them, so their permits
    /// are abandoned, not released.
    pub fn abandoned(&self) -> bool {
        self.answers
            .iter()
            .any(|answer| answer.as_ref().is_err_and(|error| error.unanswered))
    }
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

    /// The app roles that the account's tokens carry; `None` where tokens don't tell, or there are none.
    ///
    /// # Errors
    /// As [`Self::sign_in`].
    async fn app_roles(&self) -> Result<Option<Vec<String>>, CallError> {
        Ok(None)
    }

    /// Carries out calls, at most [`Self::round_size`] of them. Never repeats a call by itself.
    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed;

    /// Ends what is kept open at the server and hasn't been used for a while: others that use the account may need its place. To be
    /// called now and then, at any time.
    async fn rest(&self) {}

    /// Ends what is kept open at the server, after the last call. The server ends it too, later.
    async fn sign_out(&self) {}
}
