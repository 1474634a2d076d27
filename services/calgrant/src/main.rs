//! The one executable: a subcommand per service, `up` for all of them, and the operator's commands.

mod access;
mod accounts;
mod alerts;
mod apply;
mod back;
mod check;
mod cli;
mod dead_letters;
mod delegate;
mod delegations;
mod events;
mod exit;
mod front;
mod how;
mod mailboxes;
mod operations;
mod output;
mod plan;
mod progress;
mod services;
mod tenant_file;
mod trying;
mod windows;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    calgrant_runtime::tls::install_crypto();
    match cli::run(cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => exit::explain(&error),
    }
}
