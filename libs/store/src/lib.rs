//! The database, used by status alone: one module of SQL per aggregate. SQL locks, loads and stores; what to do is
//! decided in `libs/domain`.

mod access;
mod accounts;
mod begins;
mod cancelled;
mod delegations;
mod events;
mod jobs;
mod listing;
mod lists;
mod operations;
mod pool;
mod ready;
mod results;
mod row;
mod tenants;

pub use access::Access;
pub use accounts::Pause;
pub use begins::BeginAsked;
pub use delegations::StoredDelegation;
pub use events::Event;
pub use jobs::JobView;
pub use listing::{Claim, Page};
pub use lists::{ListName, Repeat};
pub use operations::{Accepted, NewOperation, OperationView};
pub use pool::{Store, StoreError};
pub use ready::ReadyJob;
pub use results::{Applied, ReportedResult};
pub use tenants::StoredTenant;
