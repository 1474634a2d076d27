//! The executable, as its users meet it: services as processes, which are killed; commands and their exit codes.

mod commands;
mod killing;
mod python;
mod set;
