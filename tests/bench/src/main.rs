//! Measurements of the whole set: the executable's services as processes, real servers, the simulator as the judge.
//!
//! Started by `cargo xtask bench …`, which builds everything in release and starts the servers. The last line on stdout is
//! one JSON object with the figures, where asked for; everything else is said on stderr.

mod broker;
mod budgets;
mod interactive;
mod keeping;
mod leases;
mod onboarding;
mod pipeline;
mod processes;
mod scale;
mod school;
mod usage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;

/// What the executable has: the broker alone is measured with the same.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[derive(Debug, Parser)]
struct Args {
    /// The executable to measure.
    #[arg(long)]
    program: PathBuf,
    /// The same, built without budgets.
    #[arg(long)]
    unbudgeted: PathBuf,
    /// The last line on stdout is one JSON object with the figures.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Budgets: how much of what is allowed is used, and that no more is.
    Budgets(budgets::Args),
    /// How soon somebody who waits is served while a large operation runs, and how true estimates are.
    Interactive(interactive::Args),
    /// Tampering after a whole school was granted: what a cycle reports and repairs, and what undoing leaves.
    Keeping(keeping::Args),
    /// Leases: what they cost while accounts are used, and while they aren't.
    Leases(leases::Args),
    /// How soon an event becomes a right, with nothing else to do and beside a large operation.
    Onboarding(onboarding::Args),
    /// How fast jobs go from accepted to recorded, beside what the broker alone does, and where the time goes.
    Pipeline(pipeline::Args),
    /// Large operations: how soon they are accepted, how fast they run, how much memory they take.
    Scale(scale::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    calgrant_runtime::tls::install_crypto();
    let args = Args::parse();
    let figures = match &args.what {
        What::Budgets(what) => budgets::run(&args.program, &args.unbudgeted, what).await?,
        What::Interactive(what) => interactive::run(&args.program, what).await?,
        What::Keeping(what) => keeping::run(&args.program, what).await?,
        What::Leases(what) => leases::run(&args.program, what).await?,
        What::Onboarding(what) => onboarding::run(&args.program, what).await?,
        What::Pipeline(what) => pipeline::run(&args.program, what).await?,
        What::Scale(what) => scale::run(&args.program, what).await?,
    };
    eprintln!("{figures:#}");
    if args.json {
        println!("{figures}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What so many of a hundred stay below, of what was measured, shortest first; `None` if nothing was.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[last.min(sorted.len() * percent / 100)])
}

/// To so many digits.
fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}
