//! Exchange Web Services: SOAP requests that read and write a calendar folder's whole permission list.

mod affinity;
mod calendars;
mod catalogue;
mod classify;
#[cfg(test)]
pub(crate) mod fuzz_tests;
mod member;
mod request;
mod response;
mod written;

pub use calendars::{Access, EwsCalendars};
pub use member::EwsMember;
