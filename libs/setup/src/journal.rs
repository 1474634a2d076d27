//! What is kept of a set-up while it is carried out.

use async_trait::async_trait;
use calgrant_domain::{
    Step,
    setup::{PasswordKept, StepRecord},
};

/// Why the journal can't be kept: nothing is done without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The claim is another's by now, or the set-up has ended.
    #[error("the set-up is not ours any more")]
    Lost,
    /// Status doesn't answer.
    #[error("the journal can't be kept: {0}")]
    Away(String),
}

/// What is kept of an account's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Whether one is sealed, and in effect.
    pub state: PasswordKept,
    /// Whether that was made by this set-up.
    pub renewed: bool,
}

/// The journal of one set-up, which is claimed. What it answers is stored for good.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Records steps. Those that aren't named stay as they were.
    ///
    /// # Errors
    /// The claim was lost, or status is away.
    async fn record(&self, steps: &[(Step, StepRecord)]) -> Result<(), JournalError>;

    /// What is kept of a password.
    ///
    /// # Errors
    /// As [`Self::record`].
    async fn kept(&self, name: &str) -> Result<Kept, JournalError>;

    /// Keeps a sealed password that is about to be used, unless one is already. Answers the one that is.
    ///
    /// # Errors
    /// As [`Self::record`].
    async fn keep(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, JournalError>;

    /// The one that was about to be used is the account's.
    ///
    /// # Errors
    /// As [`Self::record`].
    async fn settle(&self, name: &str) -> Result<(), JournalError>;
}
