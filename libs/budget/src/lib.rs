//! Throttle budgets: what may start now, and how replicas share it. All of it is pure but [`gate`]: time is an argument, nothing waits.
//!
//! * [`key`]: budget keys, their limits, and the terms on which exactness rests.
//! * [`message`]: what a replica and the authority tell each other.
//! * [`authority`]: grants shares of a key to replicas; its state is what is stored.
//! * [`holder`]: a replica's leases, and whether a call may start.
//! * [`learning`]: how much the server really takes.
//! * [`chooser`]: what to start next, of two lanes and several operations.
//! * [`estimate`]: how long will it take, and what binds.
//! * [`clock_watch`]: whether the authority's clock was set.
//! * [`account`], [`gate`]: a budget that isn't shared, decided and awaited.

pub mod account;
pub mod authority;
pub mod chooser;
pub mod clock_watch;
pub mod estimate;
pub mod gate;
pub mod holder;
pub mod key;
pub mod learning;
pub mod message;

pub use account::{Budget, Moment, Verdict};
pub use authority::{KeyState, Reading};
pub use chooser::Chooser;
pub use clock_watch::ClockWatch;
pub use gate::{Gate, Permits};
pub use holder::{Answer, Breaches, Charge, Holder, Pace, Permit};
pub use key::{KeyLimits, KeyName, Operator, Scope, ServerTime, Stand, Terms, Window};
