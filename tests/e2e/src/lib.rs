//! The whole set in one process, for tests: every service's `run`, on a database, a vhost and a simulated school of the
//! test's own.

mod house;
mod judge;
mod refused;
mod setup;
mod wish;

pub use house::{House, Service};
pub use refused::Refused;
pub use setup::{GRANTORS, Setup, TENANT, grantor_secret};
pub use wish::{group, list, run, wish};
