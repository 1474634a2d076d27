//! The api: the front door, the planner and the pump.
//!
//! ```text
//! client ──gRPC──▶ grpc ──▶ status (accept: committed; queries: passed on)
//!                  planner: claims an accepted operation, lists its mailboxes page by page ──▶ status: rows
//!                  watching: asks who is in the delegation groups ──▶ status: alerts
//!                  pump: claims ready rows, a window per tenant and lane ──▶ jobs.<tenant>.<lane>
//! ```
//! It keeps nothing of its own: any number of replicas may run, and any of them may die at any time.

mod astray;
pub mod config;
pub mod grpc;
pub mod listing;
pub mod planner;
pub mod pump;
pub mod readers;
pub mod upload;
mod watching;

use std::sync::{Arc, OnceLock};

use anyhow::anyhow;
use calgrant_bus::Bus;
use calgrant_contract::pb::{
    DESCRIPTORS,
    fleet::v1::fleet_service_server::FleetServiceServer,
    ledger::v1::{
        GetFleetRequest, lease_service_client::LeaseServiceClient,
        ledger_service_client::LedgerServiceClient,
    },
    provisioning::v1::provisioning_service_server::ProvisioningServiceServer,
    status::v1::status_service_server::StatusServiceServer,
};
use calgrant_leases::{Budgets, Renewing, wire};
use calgrant_runtime::{
    clock, grpc as server,
    shutdown::{Stopping, Tasks},
    waiting,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Channel};
use tracing::info;

pub use config::Config;

use crate::{grpc::Front, readers::Readers};

const SERVICES: &[&str] = &[
    "calgrant.provisioning.v1.ProvisioningService",
    "calgrant.status.v1.StatusService",
    "calgrant.fleet.v1.FleetService",
];

/// Runs the api until `stop`.
///
/// # Errors
/// The address can't be bound, or the URL of status is no URL. An absent status or RabbitMQ is waited for.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = server::bind(config.listen).await?;
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
    let channel = server::channel(&config.status_url).map_err(|fault| anyhow!("{fault}"))?;
    let (health, health_service) = server::Health::new();
    health.ready(SERVICES, false).await;
    let front = Front::new(channel.clone(), stop.clone());
    // Many clients, Python's among them, still ask by the alpha version.
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(ProvisioningServiceServer::new(front.clone()))
        .add_service(StatusServiceServer::new(front.clone()))
        .add_service(FleetServiceServer::new(front))
        .add_service(health_service)
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    tasks.spawn("grpc", server::serve(listener, routes, stop.clone()));
    info!(%address, "api serves gRPC at {address}");

    // Accepting works without the broker: rows are the outbox.
    health.ready(SERVICES, true).await;
    let ledger = LedgerServiceClient::new(channel.clone())
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20);
    let planning = Planning {
        listings: config.listings,
        ledger: ledger.clone(),
        leases: LeaseServiceClient::new(channel),
        tasks: tasks.clone(),
        stop: stop.clone(),
        held: Arc::default(),
    };
    let held = Arc::clone(&planning.held);
    tasks.spawn("planning", planning.run());
    let bus = waiting::until_ok("RabbitMQ", &stop, || Bus::connect(&config.amqp_url, "api")).await;
    if let Some(bus) = &bus {
        tasks.spawn(
            "pump",
            pump::run(ledger, bus.clone(), config.window, stop.clone()),
        );
    }

    stop.cancelled().await;
    let stopping = Stopping::begin("api", config.drain);
    health.ready(SERVICES, false).await;
    let unfinished = tasks.drain(stopping.left()).await;
    let returned = match held.get() {
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

/// Starts the planners as soon as status says on which terms budgets are leased.
struct Planning {
    listings: usize,
    ledger: LedgerServiceClient<Channel>,
    leases: LeaseServiceClient<Channel>,
    tasks: Tasks,
    stop: CancellationToken,
    held: Arc<OnceLock<Renewing>>,
}

impl Planning {
    async fn run(self) {
        let Self {
            listings,
            ledger,
            leases,
            tasks,
            stop,
            held,
        } = self;
        let asked = waiting::until_ok("status to say the terms of leases", &stop, || {
            let mut ledger = ledger.clone();
            async move { ledger.get_fleet(GetFleetRequest::default()).await }
        });
        let Some(fleet) = asked.await else { return };
        let terms = wire::terms(fleet.get_ref());
        let process = uuid::Uuid::new_v4().simple();
        let budgets = Budgets::new(&process.to_string(), terms, clock::instant);
        // Listings that are being finished need their leases.
        held.get_or_init(|| Renewing::begin(budgets.clone(), leases));
        let readers = Arc::new(Readers::new(ledger.clone(), budgets));
        tasks.spawn(
            "astray",
            astray::run(ledger.clone(), Arc::clone(&readers), stop.clone()),
        );
        tasks.spawn(
            "watching",
            watching::run(ledger.clone(), Arc::clone(&readers), stop.clone()),
        );
        for nr in 0..listings {
            tasks.spawn(
                "planner",
                planner::run(
                    ledger.clone(),
                    Arc::clone(&readers),
                    format!("{process}-{nr}"),
                    stop.clone(),
                ),
            );
        }
    }
}
