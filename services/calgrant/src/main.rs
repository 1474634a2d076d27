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
mod setup;
mod setup_by_token;
mod tenant_file;
mod trying;
mod windows;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

/// A call to Exchange is many small pieces of JSON or XML on both sides: with this one they cost a tenth less processor time in all
/// (`cargo xtask bench pipeline`), and no more than a tenth more memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    calgrant_runtime::tls::install_crypto();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit::explain(&error.into()),
    };
    let code = match runtime.block_on(cli::run(cli::Cli::parse())) {
        Ok(code) => code,
        Err(error) => exit::explain(&error),
    };
    // What is to end in order has ended. The rest ends with the process: taken down before that, lapin's thread for a connection that
    // broke just now would panic about its task.
    std::mem::forget(runtime);
    code
}
