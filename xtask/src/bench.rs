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
    let release = target().join("release");
    eprintln!("bench: building in release");
    // What budgets cost is measured against an executable without any.
    let unbudgeted = release.join("calgrant-unbudgeted");
    if args.what.first().is_some_and(|what| what == "budgets") {
        build(&[
            "--package",
            "calgrant-leases",
            "--features",
            "calgrant-leases/unbudgeted",
        ])?;
        std::fs::copy(release.join("calgrant"), &unbudgeted)?;
    }
    build(&["--package", "calgrant-bench"])?;
    let servers = Servers::start(Wanted {
        management: true,
        directory: false,
        fsync: true,
    })?;
    let mut command = std::process::Command::new(release.join("calgrant-bench"));
    command
        .arg("--program")
        .arg(release.join("calgrant"))
        .arg("--unbudgeted")
        .arg(unbudgeted)
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

/// The executable in release, and what `more` says.
fn build(more: &[&str]) -> Result<()> {
    let mut command = cargo(["build", "--release", "--package", "calgrant"]);
    let built = run(command.args(more))?;
    ensure!(built.success(), "the build failed");
    Ok(())
}
