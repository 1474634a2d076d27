//! The adapter against a real Active Directory: Samba as a domain controller, whose schema has what Exchange adds to it.

mod conformance;
mod listings;
mod refusals;
mod rig;
mod single;
