//! The worker: carries out jobs, one pool of workers per service account, each under its own budget.
//!
//! ```text
//! jobs.<tenant>.<lane> ─▶ intake ─▶ shelf of the site ─▶ pools, one per grantor account
//!                                                          │ leases (budget) ─▶ round: read, decide,
//!                                                          │   BeginWrites ─▶ status, write, read back
//!                                                          ▼
//!                                                       results ─▶ status; then the job is acked
//! ```
//! A job is acked after its result is stored on the broker, so a worker may die at any time. Workers
//! report readings; what they mean is decided in status.

mod begins;
pub mod config;
mod connect;
pub mod fleet;
pub mod intake;
pub mod ledger;
pub mod only;
pub mod pool;
pub mod round;
pub mod shelf;
pub mod suspects;

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::anyhow;
use calgrant_budget::Breaches;
use calgrant_bus::Bus;
use calgrant_contract::pb::ledger::v1::lease_service_client::LeaseServiceClient;
use calgrant_domain::{Keeping, Limits, SharedLimits, TenantName, TenantSpec};
use calgrant_leases::{Budgets, Renewing};
use calgrant_runtime::{
    clock, grpc,
    shutdown::{Stopping, Tasks},
    waiting,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Channel};
use tracing::{info, warn};

pub use config::Config;

use crate::{fleet::Fleet, ledger::StatusLedger, only::Only};

/// A tenant as it was started, the deliveries it may hold, and what stops it.
type Running = (TenantSpec, u16, CancellationToken);

/// How often breaches are told.
const BREACHES: Duration = Duration::from_secs(5);

/// Runs the worker until `stop`, then finishes what is in flight.
///
/// # Errors
/// The health address can't be bound, or the URL of status is no URL. An absent status or RabbitMQ is waited for.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = grpc::bind(config.listen).await?;
    run_on(listener, config, stop).await
}

/// As [`run`], on a port that is taken already; `config.listen` is not looked at.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let tasks = Tasks::new(stop.clone());
    let address = listener.local_addr()?;
    let (health, health_service) = grpc::Health::new();
    tasks.spawn(
        "health",
        grpc::serve(listener, Routes::new(health_service), stop.clone()),
    );
    info!(%address, "worker serves its health at {address}");

    let channel = grpc::channel(&config.status_url).map_err(|fault| anyhow!("{fault}"))?;
    let leases = LeaseServiceClient::new(channel.clone());
    let (ledger, answering) = StatusLedger::new(channel, stop.clone());
    tasks.spawn("begins", answering);
    let bus = waiting::until_ok("RabbitMQ", &stop, || {
        Bus::connect(&config.amqp_url, "worker")
    })
    .await;
    let held = match &bus {
        Some(bus) => {
            health.ready(&[], true).await;
            work(&tasks, &config.only, bus, leases, ledger, &stop).await
        }
        None => {
            drop(ledger);
            None
        }
    };

    stop.cancelled().await;
    let stopping = Stopping::begin("worker", config.drain);
    health.ready(&[], false).await;
    let unfinished = tasks.drain(stopping.left()).await;
    let returned = match held {
        Some(held) => Some(held.give_back().await),
        None => None,
    };
    if let Some(bus) = bus {
        // A broker that doesn't answer will notice by itself.
        let _closed = stopping.within(bus.close()).await;
    }
    stopping.told(unfinished, returned);
    Ok(())
}

/// Serves all tenants until `stop`, from when status says which there are. Answers the budgets, which calls that are being finished
/// still need.
async fn work(
    tasks: &Tasks,
    only: &Only,
    bus: &Bus,
    leases: LeaseServiceClient<Channel>,
    ledger: StatusLedger,
    stop: &CancellationToken,
) -> Option<Renewing> {
    let (sender, mut fleet) = watch::channel(Arc::new(Fleet::default()));
    tasks.spawn("fleet", fleet::follow(ledger.clone(), sender, stop.clone()));
    let known = tokio::select! {
        () = stop.cancelled() => None,
        known = fleet.wait_for(|fleet| !fleet.version.is_empty()) => known.ok().map(|fleet| fleet.terms),
    };
    let replica = uuid::Uuid::new_v4().simple().to_string();
    let budgets = Budgets::new(&replica, known?, clock::instant);
    let held = Renewing::begin(budgets.clone(), leases);
    tasks.spawn("breaches", tell_breaches(budgets.clone(), stop.clone()));
    supervise(tasks, &ledger, bus, fleet, &budgets, only, stop).await;
    Some(held)
}

/// Says in the log how often exactness was at risk since it last said so.
async fn tell_breaches(budgets: Budgets, stop: CancellationToken) {
    let mut told = Breaches::default();
    loop {
        let on = stop
            .run_until_cancelled(tokio::time::sleep(BREACHES))
            .await
            .is_some();
        let now = budgets.breaches();
        let (stall, clock) = (now.stalls - told.stalls, now.clock - told.clock);
        if stall + clock > 0 {
            warn!(
                stall,
                clock,
                "this process went out of the bounds on which budgets are exact: calls left late, or clocks differ"
            );
        }
        told = now;
        if !on {
            return;
        }
    }
}

/// The tenant without what pools and leases follow while they run.
fn lasting(tenant: &TenantSpec) -> TenantSpec {
    let mut lasting = tenant.clone();
    for account in lasting.sites.iter_mut().flat_map(|site| &mut site.accounts) {
        account.workers = 0;
        account.limits = Limits {
            in_flight: 0,
            windows: Vec::new(),
            server_time: None,
        };
    }
    lasting.keeping = Keeping::default();
    for site in &mut lasting.sites {
        site.shared = SharedLimits::default();
    }
    lasting
}

/// Starts a tenant when it appears, starts it anew when it changes, and stops it when it goes. Changed budgets and numbers of workers
/// are followed without starting anew, unless many more workers need more deliveries.
async fn supervise(
    tasks: &Tasks,
    ledger: &StatusLedger,
    bus: &Bus,
    mut fleet: watch::Receiver<Arc<Fleet>>,
    budgets: &Budgets,
    only: &Only,
    stop: &CancellationToken,
) {
    let mut running: HashMap<TenantName, Running> = HashMap::new();
    loop {
        let now = Arc::clone(&fleet.borrow_and_update());
        running.retain(|name, (spec, prefetch, token)| {
            let same = now.tenants.iter().any(|tenant| {
                tenant.name == *name
                    && lasting(tenant) == *spec
                    && intake::has_room(tenant, only, *prefetch)
            });
            if !same {
                token.cancel();
            }
            same
        });
        for tenant in &now.tenants {
            running.entry(tenant.name.clone()).or_insert_with(|| {
                let token = stop.child_token();
                tasks.spawn(
                    "tenant",
                    intake::serve(
                        tenant.clone(),
                        only.clone(),
                        ledger.clone(),
                        bus.clone(),
                        fleet.clone(),
                        budgets.clone(),
                        token.clone(),
                    ),
                );
                let prefetch = intake::prefetch(tenant, only);
                (lasting(tenant), prefetch, token)
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = fleet.changed() => if changed.is_err() { return },
        }
    }
}
