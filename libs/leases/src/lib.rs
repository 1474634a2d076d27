//! Budgets as a service uses them: leased from status, asked and awaited. What may start is decided in `calgrant-budget`; here
//! are the waiting, the renewing, and the words on the wire.

mod breaches;
mod budgets;
pub mod keys;
mod permits;
mod renewing;
pub mod wire;

pub use budgets::{Account, Budgets};
pub use permits::Permits;
pub use renewing::Renewing;
