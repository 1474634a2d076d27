//! What leases cost: processor time of status and Postgres, and how soon a renewal is answered, while accounts call all the time, and
//! while the same accounts do nothing.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use calgrant_budget::{KeyName, Scope, Terms, message::Lane};
use calgrant_contract::pb::{
    fleet::v1::WritePath, ledger::v1::lease_service_client::LeaseServiceClient,
};
use calgrant_leases::{Account, Budgets, keys::EXCHANGE, wire};
use calgrant_runtime::{clock, grpc};
use calgrant_testkit::pass;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    percentile,
    processes::Processes,
    rounded,
    school::{self, Accounts},
};

/// How many.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tenants.
    #[arg(long, default_value_t = 40)]
    tenants: usize,
    /// Accounts of a tenant, each used by one replica.
    #[arg(long, default_value_t = 50)]
    accounts: usize,
    /// Replicas, among which the accounts are spread.
    #[arg(long, default_value_t = 20)]
    replicas: usize,
    /// How long each phase is measured, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// Replicas renew so often, as workers do.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Every account makes a call so often, which takes so long.
const CALL_EVERY: Duration = Duration::from_secs(1);
const CALL: Duration = Duration::from_millis(200);

/// What renewals were answered after, over all replicas.
type Latencies = Arc<Mutex<Vec<Duration>>>;

/// Both phases.
pub(crate) async fn run(program: &Path, args: &Args) -> anyhow::Result<Value> {
    let told = Accounts {
        count: args.accounts,
        max_in_flight: 4,
        workers: 4,
        windows: &[(100, 10)],
        write_path: WritePath::AdminApi,
    };
    // Replicas are played here: by the worker's own code, and nothing else of it.
    let scenario = school::scenario(1, &told, "");
    let set = Processes::start_these(program, &scenario, &[], &["status", "api"]).await?;
    let tenant = school::tenant(&set, &told)?;
    let names: Vec<_> = (1..=args.tenants)
        .map(|number| format!("uni-{number}"))
        .collect();
    for name in &names {
        let mut tenant = tenant.clone();
        tenant.name.clone_from(name);
        set.apply(tenant).await?;
    }

    let measured = Duration::from_secs(args.seconds);
    pass(WARM_UP).await;
    let idle = phase(&set, measured).await?;

    let latencies = Latencies::default();
    let channel = grpc::channel(&set.url("status")).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let mut running = JoinSet::new();
    let mut replicas: Vec<_> = (0..args.replicas)
        .map(|number| {
            Budgets::new(
                &format!("replica-{number}"),
                Terms::default(),
                clock::instant,
            )
        })
        .collect();
    for (number, account) in accounts(&names, &told).enumerate() {
        let budgets = &replicas[number % args.replicas];
        let account = budgets.account(&account).context("keys of an account")?;
        running.spawn(call_on(account));
    }
    for budgets in replicas.drain(..) {
        let client = LeaseServiceClient::new(channel.clone());
        running.spawn(renew_on(budgets, client, Arc::clone(&latencies)));
    }
    pass(WARM_UP).await;
    taken(&latencies);
    let active = phase(&set, measured).await?;
    let mut answered = taken(&latencies);
    running.shutdown().await;

    answered.sort_unstable();
    let at = |percent: usize| {
        let found = percentile(&answered, percent);
        found.map(|latency| rounded(latency.as_secs_f64() * 1000.0, 1))
    };
    Ok(json!({
        "leases": names.len() * args.accounts, "replicas": args.replicas, "idle": idle, "active": active,
        "renewals": answered.len(), "renewal_millis": {"p50": at(50), "p99": at(99)},
    }))
}

/// Processor time of status and of Postgres, in hundredths of one core.
async fn phase(set: &Processes, measured: Duration) -> anyhow::Result<Value> {
    let usage = set.all().await?;
    let before = usage.look()?;
    pass(measured).await;
    let used = usage.look()?.seconds_since(&before);
    let percent = |name: &str| {
        let seconds = used.get(name);
        seconds.map(|seconds| rounded(100.0 * seconds / measured.as_secs_f64(), 1))
    };
    Ok(json!({
        "status_cpu_percent": percent("status"),
        "postgres_cpu_percent": percent("postgres"),
    }))
}

/// The keys of each account, as workers charge them.
fn accounts(tenants: &[String], told: &Accounts) -> impl Iterator<Item = [KeyName; 2]> {
    tenants.iter().flat_map(move |tenant| {
        told.client_ids().map(move |(number, _)| {
            let site = format!("{tenant}/online");
            [
                KeyName::new(Scope::Account, format!("{site}/sa-{number}"), EXCHANGE),
                KeyName::new(Scope::Site, site, EXCHANGE),
            ]
        })
    })
}

/// Calls for ever, as often as [`CALL_EVERY`] says.
async fn call_on(account: Account) {
    let mut calls = tokio::time::interval(CALL_EVERY);
    calls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        calls.tick().await;
        let permits = account.permits(Lane::Bulk, 1).await;
        pass(CALL).await;
        permits.done(true);
    }
}

/// Renews for ever, and notes how soon it was answered.
async fn renew_on(budgets: Budgets, mut status: LeaseServiceClient<Channel>, latencies: Latencies) {
    let mut renewals = tokio::time::interval(RENEW_EVERY);
    loop {
        renewals.tick().await;
        let renewal = budgets.ask();
        if renewal.asks.is_empty() {
            continue;
        }
        let sent = clock::instant();
        let answer = status.renew(wire::renewal_to_wire(&renewal)).await;
        let renewed = answer.map(|answer| wire::renewed(answer.into_inner()));
        match renewed {
            Ok(Ok(renewed)) => budgets.apply(&renewed),
            Ok(Err(bad)) => eprintln!("bench: {bad}"),
            Err(status) => eprintln!("bench: {}", status.message()),
        }
        let took = clock::instant().saturating_duration_since(sent);
        latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(took);
    }
}

fn taken(latencies: &Latencies) -> Vec<Duration> {
    std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner))
}
