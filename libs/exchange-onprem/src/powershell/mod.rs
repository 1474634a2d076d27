//! Remote PowerShell: one cmdlet at a time, by `PSRP` over `WSMan` (MS-PSRP, MS-WSMV), as much of it as that takes.
//!
//! * `wsman`: envelopes, and what answers say. `fragment`, `message`: how PSRP's messages are cut up and put together.
//! * `clixml`: serialised objects. `pipeline`: a command as a message, and what comes of it.
//! * `shell`: a session at the server. `sessions`: those of an account, kept, counted and closed.
//! * `secure`: the key of a session, and what is sealed with it.
//! * `command`: the calendars' questions as cmdlets, and their rows as answers. `classify`: what errors mean.
//! * `administration`: users, mailboxes and groups, for set-up.
//!
//! Sessions are in no-language mode: there are commands with named parameters, and nothing else.

mod administration;
mod calendars;
mod classify;
mod clixml;
mod command;
mod fragment;
#[cfg(test)]
mod fuzz_tests;
mod message;
mod pipeline;
mod secure;
mod sessions;
mod shell;
mod wsman;

pub use administration::PowerShellAdministration;
pub use calendars::PowerShellCalendars;

/// An answer that isn't one, or not to what was asked: why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Nonsense(String);

impl Nonsense {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
