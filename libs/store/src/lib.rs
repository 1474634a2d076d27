//! The database, used by status alone: one module of SQL per aggregate. SQL locks, loads and stores; what to do is
//! decided in `libs/domain`.

mod access;
mod accounts;
mod backlog;
mod begins;
mod budgets;
mod cancelled;
mod cancelling;
mod changing;
mod delegations;
mod error;
mod events;
mod held_up;
mod jobs;
mod listing;
mod lists;
mod operations;
mod pool;
mod ready;
mod recording;
mod results;
mod row;
mod settled;
mod standing;
mod stands;
mod tenants;
mod tls;

pub use access::Access;
pub use accounts::Pause;
pub use backlog::Backlog;
pub use budgets::{DatabaseClock, StoredKey};
pub use changing::AccountChange;
pub use delegations::StoredDelegation;
pub use error::StoreError;
pub use events::Event;
pub use held_up::HeldUp;
pub use jobs::JobView;
pub use listing::Claim;
pub use lists::{ListName, Repeat};
pub use operations::{Accepted, NewOperation, OperationView};
pub use pool::Store;
pub use ready::ReadyJob;
pub use recording::Page;
pub use results::{Applied, ReportedResult};
pub use stands::Stopped;
pub use tenants::StoredTenant;
