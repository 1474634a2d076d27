//! Throttle budgets: what an account may start now.
//!
//! * [`account`]: the decision, pure; time is an argument.
//! * [`gate`]: the same, awaited; the clock is handed in.

pub mod account;
pub mod gate;

pub use account::{Budget, Moment, Verdict};
pub use gate::{Gate, Permits};
