//! What operators see and do: accounts with what is left of their budgets, why a site isn't going faster, what may be planned.
//!
//! [`scene`] loads what is stored; everything else is a function of that.

pub(crate) mod capacity;
pub(crate) mod changes;
pub(crate) mod course;
pub(crate) mod gauges;
pub(crate) mod held_up;
pub(crate) mod key_view;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod scene;
pub(crate) mod shown;
pub(crate) mod site_view;
#[cfg(test)]
mod tests;
