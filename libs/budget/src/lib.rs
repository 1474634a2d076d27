//! Throttle budgets: what may start now, and how replicas share it. Pure: time is an argument, nothing waits.
//!
//! * [`key`]: budget keys, their limits, and the terms on which exactness rests.
//! * [`message`]: what a replica and the authority tell each other.
//! * [`authority`]: grants shares of a key to replicas; its state is what is stored.
//! * [`holder`]: a replica's leases, and whether a call may start.
//! * [`learning`]: how much the server really takes.
//! * [`chooser`]: what to start next, of two lanes and several operations.
//! * [`estimate`]: how long will it take, and what binds.
//! * [`clock_watch`]: whether the authority's clock was set.

pub mod authority;
pub mod chooser;
pub mod clock_watch;
pub mod estimate;
pub mod holder;
pub mod key;
pub mod learning;
pub mod message;

pub use authority::{KeyState, Lease, Reading};
pub use chooser::Chooser;
pub use clock_watch::ClockWatch;
pub use holder::{Answer, Charge, Holder, Pace, Permit};
pub use key::{KeyLimits, KeyName, Operator, Scope, ServerTime, Stand, Terms, Window};
pub use message::Breaches;

/// A moment, as the time since any fixed start by a clock that never goes back.
pub type Moment = std::time::Duration;
