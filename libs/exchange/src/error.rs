//! What a failed call means: each row of the servers' error catalogues is classed once, by the adapter.

use std::time::Duration;

use calgrant_domain::{Detail, Reason};

/// Whom a "slow down" concerns: every call charged to it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This account (its app registration).
    Account,
    /// Every account of the site.
    Site,
    /// The mailbox that was asked about, whichever account asks.
    Mailbox,
}

/// What we do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The server wasn't available or answered nonsense: try again, an attempt is used up.
    Retry,
    /// Slow down: nothing was executed, no attempt is used up.
    WaitUntil {
        /// Who waits.
        scope: Scope,
        /// The server's own delay; `None` if it named none.
        after: Option<Duration>,
    },
    /// More calls under way than the account may have: nothing was executed, no attempt is used up, and fewer at
    /// once will do. Concerns the account.
    TooManyAtOnce {
        /// The server's own delay; `None` if it named none.
        after: Option<Duration>,
    },
    /// The token was refused: sign in again, once, and repeat the call.
    SignInAgain,
    /// The mailbox isn't ready.
    Park,
    /// Trying again can't help.
    GiveUp(Reason),
    /// A person must act on the account: stop using it.
    PauseAccount,
    /// Asked for the trustee's entry, or to change it: there is none.
    NoEntry,
    /// Asked to add an entry: there is one already.
    EntryExists,
    /// The folder that was named isn't there: look it up again.
    FolderGone,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {}", detail.server_code, detail.server_text)]
pub struct CallError {
    /// What we do next.
    pub meaning: Meaning,
    /// The server's own code, text and request id.
    pub detail: Detail,
    /// The request went out, and no whole answer came back: the connection was lost, or the wait for it ran
    /// out. The server may go on working on it, so the call keeps its permits for a while.
    pub unanswered: bool,
}

impl CallError {
    /// An error of this meaning, with the server's code and text.
    pub fn new(meaning: Meaning, code: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            meaning,
            detail: Detail {
                server_code: code.into(),
                server_text: text.into(),
                request_id: String::new(),
            },
            unanswered: false,
        }
    }
}

/// A server's text as it is kept and shown: at most 300 characters, on one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    const SHOWN: usize = 300;
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    if line.chars().count() <= SHOWN {
        return line.to_owned();
    }
    line.chars().take(SHOWN - 1).chain(['…']).collect()
}
