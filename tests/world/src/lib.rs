//! A world in virtual time: the lease, holder, chooser and learning code of `calgrant-budget` among simulated replicas, clocks,
//! networks and servers. Seeded: the same seed is the same world, to the last event.
//!
//! * [`scenario`]: what there is, and what goes wrong; drawn from a seed or given.
//! * [`server`]: Exchange, which judges: it counts every call against the limits, with its own arithmetic.
//! * [`authority`]: who grants, with a clock that may be set.
//! * [`replica`]: who works, with a clock of its own.
//! * [`world`]: the events, in order of time.
//! * [`faults`]: what goes wrong, when.
//! * [`bug`]: mistakes that a test switches on, to see that the world finds them.

pub mod authority;
pub mod bug;
pub mod chance;
pub mod faults;
pub mod replica;
pub mod report;
pub mod scenario;
pub mod server;
pub mod world;

pub use bug::Bug;
pub use report::Report;
pub use scenario::Scenario;
pub use world::World;
