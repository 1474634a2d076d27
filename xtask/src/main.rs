//! `cargo xtask …`: what a developer does with this workspace, in one place.
//!
//! It depends on none of our crates: it builds `calgrant` and runs it as processes, the way a user does.

mod bench;
mod chaos;
mod check;
mod clock;
mod demo;
mod http;
mod process;
mod python;
mod servers;
mod signals;
mod simulate;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tests, checks and demonstrations of Calgrant.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Delegate a whole school's calendars on a simulated Exchange, and prove the result.
    Demo(demo::Args),
    /// Build and run every test, on private Postgres and RabbitMQ servers that are stopped at the end.
    Test(test::Args),
    /// Format, lints, documentation, licences and contracts, without changing anything.
    Check,
    /// Measure the whole set in release: `bench scale`.
    Bench(bench::Args),
    /// Start private Postgres and RabbitMQ servers, print their addresses, stop them on Ctrl-C.
    Servers(servers::Args),
    /// Kill anything at any time, by a seeded plan, and prove that nothing is lost.
    Chaos(chaos::Args),
    /// Run the budgets' code in a seeded world in virtual time, and print one line of JSON.
    Simulate(simulate::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match signals::listen().and_then(|()| run(args.task)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref::<signals::Interrupted>() {
                Some(interrupted) => ExitCode::from(interrupted.exit_code()),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Demo(args) => demo::run_all(&args),
        Task::Test(args) => test::run_all(&args),
        Task::Check => check::run_all(),
        Task::Bench(args) => bench::run_all(&args),
        Task::Servers(args) => servers::run(&args),
        Task::Chaos(args) => chaos::run_all(&args),
        Task::Simulate(args) => simulate::run(&args),
    }
}
