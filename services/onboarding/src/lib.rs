//! Onboarding: what identity management tells of people becomes rights on their calendars.
//!
//! ```text
//! exchange of identity management ─▶ events ─▶ intake: one task for each event
//!                                                desk: read ─▶ status (AcceptEvent: which comes first?)
//!                                                      act  ─▶ api (RunDelegation, CancelOperation)
//!                                                      done ─▶ status (FinishEvent); then the event is acked
//! ```
//! It keeps nothing of its own. An event may come twice and late: status remembers which were acted on, and the `request_id` of what
//! an event brings about follows from the event. What can't be used goes to the dead letters with its reason.

pub mod config;
pub mod desk;
pub mod intake;

use std::time::Duration;

use anyhow::anyhow;
use calgrant_bus::{Bus, Queue};
use calgrant_runtime::{grpc, shutdown::Tasks, waiting};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::info;

pub use config::Config;

use crate::desk::Desk;

/// Longest wait for events under way at the end; those that take longer come again.
const DRAIN: Duration = Duration::from_secs(15);

/// Runs onboarding until `stop`.
///
/// # Errors
/// The health address can't be bound, or a URL is no URL. Whoever is absent is waited for.
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
    info!(%address, "onboarding serves its health at {address}");
    let api =
        grpc::channel(&config.api_url).map_err(|fault| anyhow!("onboarding.api_url: {fault}"))?;
    let status = grpc::channel(&config.status_url)
        .map_err(|fault| anyhow!("onboarding.status_url: {fault}"))?;
    let desk = Desk::new(api, status);
    let Some(bus) = waiting::until_ok("RabbitMQ", &stop, || {
        Bus::connect(&config.amqp_url, "onboarding")
    })
    .await
    else {
        return Ok(());
    };
    if let Some(route) = &config.route {
        let queue = Queue::events();
        let bound = waiting::until_ok("RabbitMQ to hand on events", &stop, || {
            bus.bind(&queue, route, &config.bindings)
        });
        if bound.await.is_none() {
            return Ok(());
        }
    }
    health.ready(&[], true).await;
    intake::run(&desk, &bus, &tasks, &stop).await;
    health.ready(&[], false).await;
    let left = tasks.drain(DRAIN).await;
    bus.close().await;
    info!(left, "onboarding stopped");
    Ok(())
}
