//! Runs worlds and prints one line of JSON. `cargo xtask simulate` builds and calls it.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use calgrant_budget::{KeyLimits, Window};
use calgrant_world::{Report, Scenario, World};
use clap::Parser;

/// A simulation in virtual time.
#[derive(Parser, Clone, Copy)]
struct Args {
    /// Institutions.
    #[arg(long, default_value_t = 1)]
    tenants: u32,
    /// Service accounts of each.
    #[arg(long, default_value_t = 4)]
    accounts: u32,
    /// Mailboxes of all institutions together.
    #[arg(long, default_value_t = 10_000)]
    mailboxes: u64,
    /// Calls that each mailbox needs.
    #[arg(long, default_value_t = 3)]
    calls: u64,
    /// Worker replicas.
    #[arg(long, default_value_t = 3)]
    replicas: u32,
    /// Calls in flight allowed to each account.
    #[arg(long, default_value_t = 10)]
    in_flight: u32,
    /// Calls allowed to each account in `--window` seconds; zero for any number.
    #[arg(long, default_value_t = 0)]
    window_calls: u32,
    /// The window's length, in seconds.
    #[arg(long, default_value_t = 20)]
    window: u64,
    /// Where chance comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run so many small worlds instead, each with faults of its own, from `--seed` on.
    #[arg(long)]
    seeds: Option<u64>,
    /// One line of JSON on the standard output. There is no other form.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let report = match args.seeds {
        Some(seeds) => many(args.seed, seeds),
        None => World::new(one(&args)).run(),
    };
    println!("{}", report.json());
    if report.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(args: &Args) -> Scenario {
    let mut account = KeyLimits {
        in_flight: Some(args.in_flight),
        ..KeyLimits::default()
    };
    if args.window_calls > 0 {
        account.windows.push(Window {
            calls: args.window_calls,
            length: std::time::Duration::from_secs(args.window),
        });
    }
    let calls = args.mailboxes * args.calls / u64::from(args.tenants.max(1));
    Scenario {
        seed: args.seed,
        operations: vec![calls / 2, calls - calls / 2],
        until: 0,
        ..Scenario::calm(args.tenants, args.accounts, args.replicas, account)
    }
}

fn many(first: u64, seeds: u64) -> Report {
    let next = AtomicU64::new(first);
    let run = || {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return reports;
            }
            reports.push((seed, World::new(Scenario::drawn(seed, None)).run()));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut reports: Vec<(u64, Report)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    reports.sort_by_key(|(seed, _)| *seed);
    let mut all = Report::default();
    for (seed, report) in &reports {
        all.add(*seed, report);
    }
    all
}
