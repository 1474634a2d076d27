//! `cargo xtask chaos`: builds the set, starts servers of its own, and has everything killed at any time.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::process::{run, run_serving};
use crate::servers::{OnCall, Servers, Wanted, prepare};
use crate::workspace::{cargo, target};

/// Handed on as they are: `cargo xtask chaos --help` lists them.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `--seed`, `--minutes`, `--json` and more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Success if every promise was kept.
pub(crate) fn run_all(args: &Args) -> Result<ExitCode> {
    let built = run(&mut cargo([
        "build",
        "--quiet",
        "--package",
        "calgrant",
        "--package",
        "calgrant-chaos",
    ]))?;
    ensure!(built.success(), "the build failed");
    let folder = target().join("debug");
    let mut command = Command::new(folder.join("calgrant-chaos"));
    command.args(&args.arguments);
    if args
        .arguments
        .iter()
        .any(|word| ["--help", "-h", "--plan"].contains(&word.as_str()))
    {
        return Ok(code(run(&mut command)?.success()));
    }
    prepare()?;
    let mut servers = Servers::start_own(Wanted {
        management: false,
        fsync: false,
        directory: false,
    })?;
    let on_call = OnCall::listen()?;
    command
        .arg("--program")
        .arg(folder.join("calgrant"))
        .arg("--servers")
        .arg(on_call.address().to_string())
        .envs(
            servers
                .addresses()
                .iter()
                .map(|(name, value)| (*name, value.clone())),
        );
    let ended = run_serving(&mut command, || on_call.serve(&mut servers))?;
    drop(servers);
    Ok(code(ended.success()))
}

fn code(success: bool) -> ExitCode {
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
