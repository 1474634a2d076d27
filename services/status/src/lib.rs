//! Status: the system of record. It alone opens the database.
//!
//! ```text
//! api, worker ──gRPC──▶ ledger ─┐
//! clients ─────▶ provisioning, queries, fleet ─▶ store ─▶ Postgres
//! results ─────▶ results ───────┘          ▲
//! dead ────────▶ dead_letters ─────────────┤
//!                keeping: begins what is due for delegations that are kept
//!                mailbox_watch: who becomes ready ─▶ watchers, and an exchange of RabbitMQ
//!                                        retention: forgets what is old
//!                                        sweep: overdue jobs become ready again, endings that were interrupted go on
//! ```

mod alerts;
mod backs;
pub mod config;
mod dead_letters;
mod estimates;
mod events;
mod expiry;
mod fleet;
mod keeping;
mod leases;
mod ledger;
mod limits;
mod mailbox_watch;
mod operating;
mod pages;
mod provisioning;
mod queries;
mod records;
mod refuse;
mod results;
mod retention;
mod setup_journal;
mod setups;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::anyhow;
use calgrant_bus::Bus;
use calgrant_contract::pb::{
    DESCRIPTORS,
    fleet::v1::fleet_service_server::FleetServiceServer,
    ledger::v1::{
        lease_service_server::LeaseServiceServer, ledger_service_server::LedgerServiceServer,
        setup_journal_service_server::SetupJournalServiceServer,
    },
    provisioning::v1::provisioning_service_server::ProvisioningServiceServer,
    setup::v1::setup_service_server::SetupServiceServer,
    status::v1::status_service_server::StatusServiceServer,
};
use calgrant_runtime::{
    clock, grpc,
    shutdown::{Stopping, Tasks},
    waiting,
};
use calgrant_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

pub use config::Config;

use crate::{estimates::Estimates, operating::held_up};

const SERVICES: &[&str] = &[
    "calgrant.provisioning.v1.ProvisioningService",
    "calgrant.status.v1.StatusService",
    "calgrant.fleet.v1.FleetService",
    "calgrant.ledger.v1.LedgerService",
    "calgrant.ledger.v1.LeaseService",
    "calgrant.ledger.v1.SetupJournalService",
    "calgrant.setup.v1.SetupService",
];
/// A job published longer ago is published again: its message is lost, or the repeat is harmless.
const OVERDUE: Duration = Duration::from_secs(900);
/// A claim that isn't settled by then: its pump may have died before it published.
const UNSETTLED: Duration = Duration::from_secs(20);
const SWEEP: Duration = Duration::from_secs(5);
/// Pages of listings are larger than the usual 4 MiB.
const LARGEST: usize = 64 << 20;

/// Runs status until `stop`. An absent Postgres or RabbitMQ is waited for; until both are there, health says not serving.
///
/// # Errors
/// The address can't be bound, or the database's URL is none.
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
    let store = Store::new(&config.database_url, config.database_ca_file.as_deref())
        .map_err(|cause| anyhow!("status.database_url: {cause}"))?;
    let broker = Arc::new(OnceLock::new());
    let (health, health_service) = grpc::Health::new();
    health.ready(SERVICES, false).await;
    // Many clients, Python's among them, still ask by the alpha version.
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let ledger = LedgerServiceServer::new(ledger::Ledger {
        store: store.clone(),
        terms: config.terms,
    })
    .max_decoding_message_size(LARGEST)
    .max_encoding_message_size(LARGEST);
    let leases = LeaseServiceServer::new(leases::Leases::new(store.clone(), config.terms))
        .max_decoding_message_size(LARGEST)
        .max_encoding_message_size(LARGEST);
    let routes = Routes::new(ledger)
        .add_service(leases)
        .add_service(ProvisioningServiceServer::new(provisioning::Provisioning {
            store: store.clone(),
            tasks: tasks.clone(),
            estimates: Estimates::new(store.clone(), config.terms),
        }))
        .add_service(StatusServiceServer::new(queries::Queries {
            store: store.clone(),
            tasks: tasks.clone(),
            bus: Arc::clone(&broker),
        }))
        .add_service(FleetServiceServer::new(fleet::Fleet {
            store: store.clone(),
            terms: config.terms,
        }))
        .add_service(SetupServiceServer::new(setups::Setups {
            store: store.clone(),
        }))
        .add_service(SetupJournalServiceServer::new(setup_journal::Journal {
            store: store.clone(),
        }))
        .add_service(health_service)
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    tasks.spawn("grpc", grpc::serve(listener, routes, stop.clone()));
    info!(%address, "status serves gRPC at {address}");

    let migrated = waiting::until_ok("Postgres", &stop, || async {
        match store.migrate().await {
            wrong @ Err(StoreError::WrongSchema(_)) => Ok(wrong),
            other => other.map(Ok),
        }
    })
    .await;
    if let Some(Err(wrong)) = migrated {
        // Waiting would mend nothing.
        stop.cancel();
        tasks.drain(config.drain).await;
        return Err(wrong.into());
    }
    let bus = match migrated {
        Some(_) => {
            waiting::until_ok("RabbitMQ", &stop, || {
                Bus::connect(&config.amqp_url, "status")
            })
            .await
        }
        None => None,
    };
    if let Some(bus) = &bus {
        tasks.spawn(
            "results",
            results::run(store.clone(), bus.clone(), stop.clone()),
        );
        tasks.spawn(
            "gauges",
            operating::gauges::run(store.clone(), config.terms, stop.clone()),
        );
        tasks.spawn(
            "dead letters",
            dead_letters::run(store.clone(), bus.clone(), stop.clone()),
        );
        tasks.spawn(
            "replaying",
            dead_letters::replay_newer(store.clone(), bus.clone(), stop.clone()),
        );
        let announced = config.access_route.is_some();
        if let Some(route) = config.access_route {
            let announcing =
                mailbox_watch::announce(store.clone(), bus.clone(), route, stop.clone());
            tasks.spawn("announcing", announcing);
        }
        tasks.spawn(
            "retention",
            retention::run(
                store.clone(),
                retention::Kept {
                    ages: config.retention,
                    mailbox_changes: config.keep_changes,
                    announced_only: announced,
                },
                stop.clone(),
            ),
        );
        tasks.spawn("records", records::run(store.clone(), stop.clone()));
        tasks.spawn("expiry", expiry::run(store.clone(), stop.clone()));
        tasks.spawn("keeping", keeping::run(store.clone(), stop.clone()));
        tasks.spawn("sweep", sweep(store, stop.clone()));
        // Nobody was here before.
        let _first = broker.set(bus.clone());
        health.ready(SERVICES, true).await;
    }

    stop.cancelled().await;
    let stopping = Stopping::begin("status", config.drain);
    health.ready(SERVICES, false).await;
    let unfinished = tasks.drain(stopping.left()).await;
    if let Some(bus) = bus {
        // A broker that doesn't answer will notice by itself.
        let _closed = stopping.within(bus.close()).await;
    }
    stopping.told(unfinished, None);
    Ok(())
}

/// Makes overdue jobs ready again, goes on with endings of operations that were interrupted, and says what operations wait for, now
/// and then.
async fn sweep(store: Store, stop: CancellationToken) {
    loop {
        match store.take_back_overdue(OVERDUE, clock::now()).await {
            Ok(0) => {}
            Ok(jobs) => warn!(
                jobs,
                "jobs were published and not heard of; they are ready again"
            ),
            Err(cause) => warn!(error = %cause, "couldn't look for overdue jobs; trying again"),
        }
        match store.take_back_unsettled(UNSETTLED, clock::now()).await {
            Ok(0) => {}
            Ok(jobs) => warn!(
                jobs,
                "jobs were claimed and perhaps never published; they are ready again"
            ),
            Err(cause) => warn!(error = %cause, "couldn't look for unsettled claims; trying again"),
        }
        match store.finish_endings(clock::now()).await {
            Ok(0) => {}
            Ok(operations) => info!(
                operations,
                "the jobs of cancelled operations that hadn't begun are ended"
            ),
            Err(cause) => warn!(error = %cause, "couldn't end what was cancelled; trying again"),
        }
        if let Err(cause) = held_up::tell(&store, clock::now()).await {
            warn!(error = %cause, "couldn't say what operations wait for; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = stop.cancelled() => return,
        }
    }
}
