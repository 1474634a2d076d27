//! The whole set in one process, for tests: every service's `run`, on a database, a vhost and a simulated school of the
//! test's own.

mod house;
mod setup;
mod wish;

pub use house::{House, Service};
pub use setup::{GRANTORS, Setup, TENANT};
pub use wish::{group, list, wish};
