//! PowerShell remoting to the site, as Exchange has it: WS-Management around PSRP around the cmdlets.
//!
//! A session is without a language: it takes pipelines of commands with named parameters, and no scripts.

mod call;
mod clixml;
mod command;
mod feed;
mod outbox;
mod pipeline;
mod psrp;
mod record;
mod secret;
mod session;
mod shell;
mod wsman;

pub(crate) use call::handle;
pub(crate) use clixml::SECRET;
pub(crate) use secret::SessionKey;
pub(crate) use shell::Shells;
