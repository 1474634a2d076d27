//! Budgets: how much of what was allowed is used, and whether more is. The simulator judges, and computes what was allowed; it
//! finishes and counts calls whose client is gone.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::WritePath,
    provisioning::v1::{provisioning_service_client::ProvisioningServiceClient, selector::By},
};
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use serde_json::{Value, json};

use crate::{
    processes::Processes,
    rounded,
    school::{self, Accounts, EVERYONE},
};

/// What bounds the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bound {
    /// Calls in flight.
    InFlight,
    /// Calls in windows of 6 s and 20 s.
    Windows,
    /// Either.
    Both,
}

/// Which cells.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of accounts.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 4, 1])]
    accounts: Vec<usize>,
    /// Numbers of worker replicas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    replicas: Vec<usize>,
    /// What bounds the accounts.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Bound::InFlight, Bound::Windows, Bound::Both])]
    bounds: Vec<Bound>,
    /// Leave out the run in which replicas are killed.
    #[arg(long)]
    without_kills: bool,
    /// Leave out the comparison with no budgets at all.
    #[arg(long)]
    without_unbounded: bool,
}

/// Longest window, in seconds; measured over five of them, after one and a lease to warm up.
const LONGEST_WINDOW: u64 = 20;
const WINDOWS: &[(u32, u64)] = &[(60, 6), (180, LONGEST_WINDOW)];
/// A call takes so long.
const LATENCY_MILLIS: u64 = 200;
/// Replicas are killed every so many seconds, so often.
const KILL_EVERY: u64 = 20;
const KILLS: usize = 5;

impl Bound {
    fn accounts(self, count: usize) -> Accounts {
        let (max_in_flight, windows) = match self {
            Self::InFlight => (6, &[][..]),
            Self::Windows => (20, WINDOWS),
            Self::Both => (2, WINDOWS),
        };
        Accounts {
            count,
            max_in_flight,
            workers: max_in_flight,
            windows,
            write_path: WritePath::AdminApi,
        }
    }

    /// Calls a second that one account may make, at the most.
    fn rate(self) -> usize {
        match self {
            Self::InFlight => 30,
            Self::Windows | Self::Both => 10,
        }
    }

    fn measured(self) -> Duration {
        match self {
            Self::InFlight => Duration::from_secs(40),
            Self::Windows | Self::Both => Duration::from_secs(5 * LONGEST_WINDOW),
        }
    }
}

/// Pairs of runs of the same work, with budgets that never bind and without any.
const PAIRS: usize = 5;
const FREE_MAILBOXES: usize = 15_000;
const FREE_LIMIT: Duration = Duration::from_secs(600);

/// What budgets cost, the run with kills, and every cell.
pub(crate) async fn run(program: &Path, unbudgeted: &Path, args: &Args) -> anyhow::Result<Value> {
    let unbounded = if args.without_unbounded {
        Value::Null
    } else {
        unbounded_ratio(program, unbudgeted).await?.into()
    };
    let killed = if args.without_kills {
        Value::Null
    } else {
        killed(program).await?
    };
    let mut cells = Vec::new();
    for accounts in &args.accounts {
        for replicas in &args.replicas {
            for bound in &args.bounds {
                let cell = cell(program, *accounts, *replicas, *bound).await?;
                eprintln!("bench: {cell}");
                cells.push(cell);
            }
        }
    }
    Ok(json!({"cells": cells, "killed": killed, "unbounded_ratio": unbounded}))
}

async fn cell(
    program: &Path,
    accounts: usize,
    replicas: usize,
    bound: Bound,
) -> anyhow::Result<Value> {
    let told = bound.accounts(accounts);
    let warm_up = Duration::from_secs(LONGEST_WINDOW + 5);
    let seconds = usize::try_from((warm_up + bound.measured()).as_secs())?;
    // Enough to do for longer than is measured; a mailbox takes two calls at least.
    let mailboxes = accounts * bound.rate() * seconds;
    let dials = format!("latency_ms = {LATENCY_MILLIS}\n");
    let scenario = school::scenario(mailboxes, &told, &dials);
    let mut set = Processes::start(program, &scenario).await?;
    started(&mut set, &told, replicas).await?;
    pass(warm_up).await;
    set.post("mark").await?;
    pass(bound.measured()).await;
    let report = set.simulator("report").await?;
    let used = usage(&report, &told)?;
    let bound = clap::ValueEnum::to_possible_value(&bound).context("a bound")?;
    Ok(json!({
        "accounts": accounts, "replicas": replicas, "bound": bound.get_name(),
        "utilisation": used, "violations": report["limit_violations"],
        "pushbacks": refusals(&report, &told),
    }))
}

/// One of three replicas is killed again and again, and started anew.
async fn killed(program: &Path) -> anyhow::Result<Value> {
    let told = Bound::InFlight.accounts(4);
    let seconds = KILL_EVERY * (KILLS as u64 + 1);
    let mailboxes = 4 * 60 * usize::try_from(seconds)?;
    let scenario = school::scenario(mailboxes, &told, "latency_ms = 90\n");
    let mut set = Processes::start_with(
        program,
        &scenario,
        &[
            ("CALGRANT_STATUS_ABANDONED_HOLD_MILLIS", "1000"),
            ("CALGRANT_STATUS_LONGEST_CALL_MILLIS", "1000"),
        ],
    )
    .await?;
    started(&mut set, &told, 3).await?;
    let every = Duration::from_secs(KILL_EVERY);
    let mut kills = tokio::time::interval(every);
    kills.tick().await;
    kills.tick().await;
    set.post("mark").await?;
    for number in 0..KILLS {
        let name = worker(number % 3);
        set.kill(&name)?;
        set.service("worker", &name)?;
        kills.tick().await;
    }
    let report = set.simulator("report").await?;
    Ok(json!({
        "kills": KILLS, "utilisation": usage(&report, &told)?, "violations": report["limit_violations"],
    }))
}

/// How fast the same work is done under budgets that never bind, compared with none at all: the median of interleaved pairs.
async fn unbounded_ratio(program: &Path, unbudgeted: &Path) -> anyhow::Result<f64> {
    let mut ratios = Vec::with_capacity(PAIRS);
    for number in 0..PAIRS {
        let (bound, free) = (seconds(program).await?, seconds(unbudgeted).await?);
        eprintln!(
            "bench: pair {number}: {FREE_MAILBOXES} mailboxes took {bound:.1} s under budgets, {free:.1} s without"
        );
        ratios.push(free / bound);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    Ok(rounded(ratios[PAIRS / 2], 4))
}

/// How long all mailboxes take, as fast as the machine allows.
async fn seconds(program: &Path) -> anyhow::Result<f64> {
    let told = Accounts {
        count: 4,
        // More than the workers ever ask for.
        max_in_flight: 1000,
        workers: 50,
        windows: &[(1_000_000, 6)],
        write_path: WritePath::AdminApi,
    };
    let scenario = school::scenario(FREE_MAILBOXES, &told, "");
    let mut set = Processes::start(program, &scenario).await?;
    let begun = clock::instant();
    let id = started(&mut set, &told, 1).await?;
    set.operation(&id, FREE_LIMIT, |operation| operation.end_time.is_some())
        .await?;
    Ok((clock::instant() - begun).as_secs_f64())
}

/// Workers are started, and have enough to do. Answers the operation.
async fn started(set: &mut Processes, told: &Accounts, replicas: usize) -> anyhow::Result<String> {
    for number in 1..replicas {
        set.service("worker", &worker(number))?;
    }
    set.apply(school::tenant(set, told)?).await?;
    let mut client = ProvisioningServiceClient::new(set.api()?);
    let everyone = school::request(By::Group(EVERYONE.to_owned()));
    let id = client.run_delegation(everyone).await?.into_inner().id;
    set.operation(&id, Duration::from_secs(60), |operation| {
        let counts = operation.counts.clone().unwrap_or_default();
        counts.accepted > 0
    })
    .await?;
    Ok(id)
}

fn worker(number: usize) -> String {
    if number == 0 {
        "worker".to_owned()
    } else {
        format!("worker-{}", number + 1)
    }
}

/// What was carried out of what was allowed, over all accounts.
fn usage(report: &Value, told: &Accounts) -> anyhow::Result<f64> {
    let (mut used, mut allowed) = (0.0, 0.0);
    for (_, id) in told.client_ids() {
        used += admitted(report, &id)?;
        allowed += report["accounts"][&id]["exchange"]["allowed_calls"]
            .as_f64()
            .context("allowed_calls")?;
    }
    ensure!(allowed > 0.0, "nothing was allowed");
    Ok(rounded(used / allowed, 4))
}

/// Calls of an account that were carried out.
fn admitted(report: &Value, id: &str) -> anyhow::Result<f64> {
    report["accounts"][id]["exchange"]["admitted"]
        .as_f64()
        .context("admitted")
}

fn refusals(report: &Value, told: &Accounts) -> u64 {
    told.client_ids()
        .filter_map(|(_, id)| report["accounts"][&id]["exchange"]["refused"].as_u64())
        .sum()
}
