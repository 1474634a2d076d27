//! Services as processes: settings, telemetry, stopping.

use std::{path::Path, process::ExitCode};

use calgrant_runtime::{settings::Fault, shutdown, telemetry};
use calgrant_simulator::{Scenario, SchoolOptions};
use tokio_util::sync::CancellationToken;

use crate::cli::{SimulatorArgs, WorkerArgs};

fn checked<C>(loaded: Result<C, Vec<Fault>>) -> anyhow::Result<C> {
    loaded.map_err(|faults| {
        anyhow::anyhow!(
            "settings:\n{}",
            faults
                .iter()
                .map(|fault| format!("  {fault}"))
                .collect::<Vec<_>>()
                .join("\n")
        )
    })
}

async fn service(
    name: &str,
    run: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    // First of all, so that a signal is never too early.
    let stop = shutdown::on_signal();
    let telemetry = telemetry::init(name)?;
    let ended = run(stop).await;
    telemetry.flush().await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// `calgrant api`.
pub(crate) async fn api(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = checked(calgrant_api::Config::load(file))?;
    service("api", async |stop| calgrant_api::run(config, stop).await).await
}

/// `calgrant status`.
pub(crate) async fn status(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = checked(calgrant_status::Config::load(file))?;
    service("status", async |stop| {
        calgrant_status::run(config, stop).await
    })
    .await
}

/// `calgrant worker`.
pub(crate) async fn worker(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let file = args.service.config.as_deref();
    let config = checked(calgrant_worker::Config::load_only(file, &args.only))?;
    service("worker", async |stop| {
        calgrant_worker::run(config, stop).await
    })
    .await
}

/// `calgrant onboarding`.
pub(crate) async fn onboarding(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = checked(calgrant_onboarding::Config::load(file))?;
    service("onboarding", async |stop| {
        calgrant_onboarding::run(config, stop).await
    })
    .await
}

/// `calgrant up`: all of them, talking to each other as they would between machines. One that fails stops all.
pub(crate) async fn up(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (api, status, worker, onboarding) = (
        calgrant_api::Config::load(file),
        calgrant_status::Config::load(file),
        calgrant_worker::Config::load(file),
        calgrant_onboarding::Config::load(file),
    );
    let (api, status, worker, onboarding) = match (api, status, worker, onboarding) {
        (Ok(api), Ok(status), Ok(worker), Ok(onboarding)) => (api, status, worker, onboarding),
        (api, status, worker, onboarding) => {
            let faults = [api.err(), status.err(), worker.err(), onboarding.err()]
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            return checked(Err(faults));
        }
    };
    service("up", async |stop| {
        let ended = tokio::try_join!(
            stopping(&stop, calgrant_status::run(status, stop.clone())),
            stopping(&stop, calgrant_api::run(api, stop.clone())),
            stopping(&stop, calgrant_worker::run(worker, stop.clone())),
            stopping(&stop, async {
                // One that is set up: where nothing is, no port is taken for it.
                if onboarding.route.is_some() {
                    calgrant_onboarding::run(onboarding, stop.clone()).await
                } else {
                    stop.cancelled().await;
                    Ok(())
                }
            }),
        );
        ended.map(drop)
    })
    .await
}

async fn stopping(
    stop: &CancellationToken,
    run: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let ended = run.await;
    stop.cancel();
    ended
}

/// `calgrant simulator`.
pub(crate) async fn simulator(args: &SimulatorArgs) -> anyhow::Result<ExitCode> {
    let mut scenario = match &args.scenario {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| anyhow::anyhow!("{}: {cause}", path.display()))?;
            Scenario::from_toml(&text).map_err(|faults| {
                anyhow::anyhow!(
                    "{}:\n{}",
                    path.display(),
                    faults
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("\n")
                )
            })?
        }
        None => Scenario::school(&SchoolOptions {
            seed: args.seed,
            mailboxes: args.mailboxes,
            on_premises_share: args.on_premises.clamp(0.0, 1.0),
            ..SchoolOptions::default()
        }),
    };
    scenario.ldap = args.ldap.or(scenario.ldap);
    scenario.ldaps = args.ldaps.or(scenario.ldaps);
    let listen = args.listen;
    service("simulator", async |stop| {
        let running =
            calgrant_simulator::start(calgrant_simulator::Config { listen, scenario }).await?;
        println!("http://{}", running.address);
        if let Some(https) = running.https {
            println!("https://{https}");
        }
        for (scheme, address) in [("ldap", running.ldap), ("ldaps", running.ldaps)] {
            if let Some(address) = address {
                println!("{scheme}://{address}");
            }
        }
        stop.cancelled().await;
        running.stop().await;
        Ok(())
    })
    .await
}
