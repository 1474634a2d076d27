//! For tests: what a true test needs of its own, thrown away with it. A database, a vhost of RabbitMQ, a simulated
//! school; and waiting for something to come about.
//!
//! The servers themselves are those that `cargo xtask test` starts and names in the environment.

mod database;
mod judge;
mod pages;
mod proxy;
pub mod sample;
mod school;
mod vhost;
mod waiting;

pub use database::Database;
pub use pages::mailboxes;
pub use proxy::{Proxy, server_of};
pub use school::School;
pub use vhost::Vhost;
pub use waiting::{eventually, eventually_within, pass};

/// A variable that `cargo xtask test` sets.
///
/// # Panics
/// It is not set.
#[must_use]
pub fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run `cargo xtask test`, which starts the servers and sets it"
        )
    })
}
