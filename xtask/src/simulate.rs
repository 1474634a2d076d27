//! `cargo xtask simulate`: budgets in virtual time. Builds the world in release and runs it; what it prints is one line of JSON.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::cargo;

/// Handed on as they are: `cargo xtask simulate --help` lists them.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `--tenants`, `--accounts`, `--mailboxes`, `--replicas`, `--seed`, `--seeds`, `--json` and more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Success if nothing was violated.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut command = cargo([
        "run",
        "--quiet",
        "--release",
        "--package",
        "calgrant-world",
        "--bin",
        "simulate",
        "--",
    ]);
    let status = command
        .args(&args.arguments)
        .status()
        .context("could not run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
