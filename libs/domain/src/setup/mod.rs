//! Set-up: the service accounts that the calendar product signs in with, their licences and mailboxes, and the delegation group
//! with them as members. A sequence of steps that is safe to repeat.
//!
//! * [`spec`]: what is wanted, as a tenant's file says it.
//! * [`step`]: the steps that follow from it, in their order.
//! * [`found`]: what was found, and what a step did before.
//! * [`mod@decide`]: what to do next about a step.
//! * [`action`]: the changes there are.
//! * [`mod@assume`]: what would be found if the steps before were done.
//! * [`licence`]: which plans of a product are switched off.
//! * [`script`]: the same as PowerShell that a person can read and run.

pub mod action;
pub mod assume;
pub mod decide;
pub mod found;
pub mod licence;
pub mod password;
pub mod script;
pub mod spec;
pub mod step;
#[cfg(test)]
mod world_tests;

pub use action::Action;
pub use assume::assume;
pub use decide::{Decision, decide};
pub use found::{ActionEnd, Found, Last, PasswordKept, Past, StepRecord, StepState, TrusteeSeen};
pub use spec::{
    AddressPattern, HandOver, ManagedBy, ManagedParts, SecretObject, Setting, SetupSpec,
};
pub use step::{SetupAim, SetupState, Step, needs, standing, steps};
