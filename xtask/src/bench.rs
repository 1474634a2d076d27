//! `cargo xtask bench …`: builds everything in release, starts the servers with fsync on, and measures.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::process::run;
use crate::servers::{Servers, Wanted, prepare};
use crate::workspace::{cargo, target};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure, and its options: `scale`, `scale --help`, …
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "WHAT"
    )]
    what: Vec<String>,
}

/// The exit code is that of the measurement.
pub(crate) fn run_all(args: &Args) -> Result<ExitCode> {
    prepare()?;
    eprintln!("bench: building in release");
    let built = run(&mut cargo([
        "build",
        "--release",
        "--package",
        "calgrant",
        "--package",
        "calgrant-bench",
    ]))?;
    ensure!(built.success(), "the build failed");
    let servers = Servers::start(Wanted {
        management: true,
        directory: false,
        fsync: true,
    })?;
    let release = target().join("release");
    let mut command = std::process::Command::new(release.join("calgrant-bench"));
    command
        .arg("--program")
        .arg(release.join("calgrant"))
        .args(&args.what)
        .envs(
            servers
                .addresses()
                .iter()
                .map(|(name, value)| (*name, value)),
        );
    let measured = run(&mut command)?;
    drop(servers);
    Ok(if measured.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
