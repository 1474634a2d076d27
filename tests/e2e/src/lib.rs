//! The whole set in one process, for tests: every service's `run`, on a database, a vhost and a simulated school of the
//! test's own.

mod events;
mod house;
mod judge;
mod publishing;
mod refused;
mod setup;
mod wish;

pub use events::{Identity, event};
pub use house::{ACCESS, House, IDENTITY, Service};
pub use publishing::publish;
pub use refused::Refused;
pub use setup::{GRANTORS, SECRETS_KEY, Setup, Sites, TENANT, grantor_secret};
pub use wish::{group, list, run, wish, wish_at};
