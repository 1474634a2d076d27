//! Kill anything, at any time, and nothing is lost.
//!
//! The whole set as processes, on servers of its own and the simulator: work is submitted without pause while, by a plan that its
//! seed decides, processes are killed, stopped and held, servers crash, connections break, and Exchange misbehaves. At the end the
//! simulator, which knows what is true, is held against what Calgrant says. Started by `cargo xtask chaos`.

mod asks;
mod database;
mod desk;
mod dice;
mod exchange;
mod hands;
mod history;
mod identity;
mod lock;
mod operator;
mod plan;
mod report;
mod run;
mod school;
mod servers;
mod set;
mod stage;
mod truth;
mod verdict;
mod watching;
mod wire;
mod work;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

/// Kills everything of the set, and proves that nothing is lost.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask chaos")]
pub(crate) struct Args {
    /// Decides what happens when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long things go wrong. 3 meet every trouble once.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// The last line on stdout is one JSON object with the verdict.
    #[arg(long)]
    json: bool,
    /// Only print what would happen.
    #[arg(long)]
    plan: bool,
    /// Keep the logs of all processes, whatever comes out.
    #[arg(long)]
    keep: bool,
    /// The executable.
    #[arg(long, hide = true)]
    program: Option<PathBuf>,
    /// Who started the servers, and kills them when asked.
    #[arg(long, hide = true)]
    servers: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    calgrant_runtime::tls::install_crypto();
    let args = Args::parse();
    let length = Duration::from_secs_f64(60.0 * args.minutes.clamp(0.2, 24.0 * 60.0));
    let plan = plan::plan(args.seed, length);
    if args.plan {
        for (at, trouble) in &plan.troubles {
            println!("{:7.1} s  {trouble:?}", at.as_secs_f64());
        }
        for (at, work) in &plan.work {
            println!("{:7.1} s  {work:?}", at.as_secs_f64());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let stop = calgrant_runtime::shutdown::on_signal();
    // All of it in one thread: what it does is wait for others.
    let run = tokio::task::LocalSet::new();
    let ended = stop
        .run_until_cancelled(run.run_until(run::run(&args, plan)))
        .await;
    let Some(kept) = ended.transpose()? else {
        eprintln!("chaos: stopped; nothing was judged");
        return Ok(ExitCode::from(130));
    };
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
