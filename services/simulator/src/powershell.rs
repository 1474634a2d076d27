//! PowerShell remoting to the site, as Exchange has it: WS-Management around PSRP around the cmdlets.
//!
//! A session is without a language: it takes pipelines of commands with named parameters, and no scripts.

mod clixml;
mod command;
mod outbox;
mod pipeline;
mod psrp;
mod record;
mod shell;
mod wsman;

pub(crate) use shell::Shells;
pub(crate) use wsman::handle;
