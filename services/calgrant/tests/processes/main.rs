//! The executable, as its users meet it: services as processes, which are killed; commands and their exit codes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't have what it needs has failed"
)]

mod applying_roles;
mod checking;
mod commands;
mod dying;
mod forgetting;
mod killing;
mod operating;
mod python;
mod restoring;
mod rolling;
mod secrecy;
mod set;
mod setting_up;
mod taking_back;
