//! Set-ups at a simulated organisation, cut off wherever the journal is written.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod clocks;
mod cutting;
mod journal;
mod plans;
mod world;
