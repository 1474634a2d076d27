//! The on-premises site of a tenant: its accounts, what they may do, and what they are throttled by.

mod account;
mod balance;
mod change;
mod key;
mod policy;
mod site;
mod spec;

pub(crate) use account::{Account, Rights, Unwelcome};
pub(crate) use balance::Overload;
pub(crate) use change::change;
pub(crate) use key::{Key, SiteClock, Work};
pub(crate) use policy::DEFAULT as DEFAULT_POLICY;
pub(crate) use site::{Identified, Site, sign_in};

pub use policy::{Amount, PolicySpec};
pub use spec::{AccountSpec, BudgetOf, OnPremSpec};
