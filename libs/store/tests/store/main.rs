//! The store on a real Postgres: a module per aggregate, and one for what several processes do at the same time.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod accepting;
mod access;
mod begins;
mod cancelling;
mod contention;
mod counts;
mod dead_letters;
mod events;
mod fleet;
mod inbox;
mod keeping;
mod listing;
mod lists;
mod mailbox_log;
mod migrating;
mod operating;
mod plans;
mod ready;
mod results;
mod retention;
mod setups;
mod taking_back;
mod tls;
mod world;
