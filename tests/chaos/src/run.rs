//! One run: everything started, the plan carried out, everything put right, the verdict.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use calgrant_contract::pb::fleet::v1::{
    ApplyTenantRequest, fleet_service_client::FleetServiceClient,
};
use calgrant_runtime::{clock, grpc};
use calgrant_testkit::{pass, server_of};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Args,
    database::Database,
    desk::{Desk, adds_up},
    exchange::Exchange,
    hands::{Hands, until},
    plan::{Link, Plan, Process, Service, Work, processes},
    report::{self, Findings},
    school::{self, TENANTS},
    servers::Servers,
    set::{Addresses, Set, bound},
    truth,
    verdict::judge,
    wire::Wire,
};

/// What isn't ended so long after the last trouble is stuck.
const SETTLE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
/// Longest wait for answers of clients once everything is right again.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// The folder of a run: removed unless something is to be looked at.
struct Folder(PathBuf, bool);

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.1 {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Runs, judges and reports. Whether every promise was kept.
///
/// # Errors
/// It couldn't be carried out.
pub(crate) async fn run(args: &Args, plan: Plan) -> anyhow::Result<bool> {
    let path = std::env::temp_dir().join(format!("calgrant-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    let mut folder = Folder(path.clone(), args.keep);
    let stage = Stage::set_up(args, path).await?;
    let findings = stage.play(plan).await?;
    let kept = report::tell(args, &findings);
    stage.hands.set.stop().await?;
    let orderly = report::tell_stops(&stage.hands.set);
    if !(kept && orderly) {
        folder.1 = true;
    }
    if folder.1 {
        eprintln!("chaos: logs are in {}", folder.0.display());
    }
    if args.json {
        println!("{}", report::json(args, &findings));
    }
    Ok(kept && orderly)
}

struct Stage {
    hands: Arc<Hands>,
    desk: Arc<Desk>,
    _simulator: tokio::process::Child,
}

impl Stage {
    async fn set_up(args: &Args, folder: PathBuf) -> anyhow::Result<Self> {
        let program = args.program.clone().context("--program is missing")?;
        let servers = Servers(args.servers.context("--servers is missing")?);
        let named = |name: &str| std::env::var(name).with_context(|| name.to_owned());
        let (database_url, broker_url) = (named("DATABASE_URL")?, named("AMQP_URL")?);
        let database = Database(database_url.clone());
        database.prepare_clock().await?;

        let mut ports = BTreeMap::new();
        let mut held = Vec::new();
        for process in processes() {
            ports.insert(process, free(&mut held)?);
        }
        let simulator = free(&mut held)?;
        drop(held);
        let of = |service: Service| {
            let ports = ports.iter().filter(move |(of, _)| of.service == service);
            ports.map(|(_, port)| *port).collect::<Vec<_>>()
        };
        let mut wires = BTreeMap::new();
        for (link, servers) in [
            (Link::Database, vec![server(&database_url)?]),
            (Link::Broker, vec![server(&broker_url)?]),
            (Link::Status, of(Service::Status)),
            (Link::Exchange, vec![simulator]),
        ] {
            wires.insert(link, Wire::before(servers).await?);
        }
        let through = |url: &str, link: Link| -> anyhow::Result<String> {
            let server = server_of(url);
            Ok(url.replacen(server, &wires[&link].address().to_string(), 1))
        };
        let addresses = Addresses {
            database: through(&database_url, Link::Database)?,
            broker: through(&broker_url, Link::Broker)?,
            status: wires[&Link::Status].address(),
        };
        let exchange_url = format!("http://{}", wires[&Link::Exchange].address());
        let apis = of(Service::Api);
        let channels = apis.iter().map(|address| {
            grpc::channel(&format!("http://{address}")).map_err(|fault| anyhow!("{fault}"))
        });
        let desk = Arc::new(Desk::new(channels.collect::<Result<_, _>>()?, args.seed));
        let set = Arc::new(Set::new(program.clone(), folder.clone(), addresses, ports));

        eprintln!("chaos: seed {}; starting the set", args.seed);
        let scenario = folder.join("scenario.toml");
        std::fs::write(&scenario, school::scenario(args.seed))?;
        let mut command = bound(&program);
        command.args([
            "simulator",
            "--listen",
            &simulator.to_string(),
            "--scenario",
        ]);
        command.arg(&scenario);
        let child = set.run("simulator", command)?;
        let exchange = Exchange::new(simulator);
        until("the simulator answers", async || {
            exchange.get("healthz").await.is_ok()
        })
        .await?;
        set.start().await?;
        for tenant in &TENANTS {
            let spec = tenant.spec(&exchange_url, |name, secret| {
                let path = folder.join(name);
                std::fs::write(&path, secret)?;
                Ok(path.display().to_string())
            })?;
            let request = ApplyTenantRequest {
                spec: Some(spec),
                ..ApplyTenantRequest::default()
            };
            let applied = desk.insist(async |channel| {
                FleetServiceClient::new(channel)
                    .apply_tenant(request.clone())
                    .await
            });
            applied
                .await
                .with_context(|| format!("{:?}", desk.refused()))?;
        }
        let turns = ["broker", "database"].into_iter();
        let turns = turns.chain(Link::ALL.into_iter().map(Link::word));
        let hands = Hands {
            set,
            servers,
            wires,
            exchange,
            database,
            broker: server(&broker_url)?.to_string(),
            turns: turns.map(|of| (of, tokio::sync::Mutex::new(()))).collect(),
            faults: tokio::sync::Mutex::default(),
            tally: Mutex::default(),
        };
        Ok(Self {
            hands: Arc::new(hands),
            desk,
            _simulator: child,
        })
    }

    async fn play(&self, plan: Plan) -> anyhow::Result<Findings> {
        let (hands, desk) = (&self.hands, &self.desk);
        let stop = CancellationToken::new();
        let _stopped = stop.clone().drop_guard();
        let (troubles, work, watching) =
            (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        let failed: Arc<Mutex<Vec<String>>> = Arc::default();
        let torn: Arc<AtomicU64> = Arc::default();
        let resumed: Arc<AtomicU64> = Arc::default();
        let start = clock::instant();
        for (at, trouble) in plan.troubles {
            let (hands, failed) = (Arc::clone(hands), Arc::clone(&failed));
            troubles.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                pass(at).await;
                let label = trouble.label();
                if let Err(cause) = hands.make(trouble).await {
                    note(&failed, format!("{label}: {cause:#}"));
                }
            }));
        }
        let mut runs = 0;
        for (at, item) in plan.work {
            let number = match item {
                Work::Run { .. } => {
                    runs += 1;
                    runs - 1
                }
                Work::Repeat { of } | Work::Cancel { of } => of,
            };
            let desk = Arc::clone(desk);
            work.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                pass(at).await;
                desk.work(number, item).await;
            }));
        }
        {
            let hands = Arc::clone(hands);
            let failed = Arc::clone(&failed);
            watching.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    pass(SECOND).await;
                    if let Err(cause) = hands.set.look_after().await {
                        note(&failed, format!("looking after processes: {cause:#}"));
                    }
                }
            }));
            let (desk, torn, resumed) = (Arc::clone(desk), Arc::clone(&torn), Arc::clone(&resumed));
            watching.spawn_local(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    pass(SECOND).await;
                    torn.fetch_add(snapshots_that_do_not_add_up(&desk).await, Relaxed);
                    resumed.fetch_add(desk.resume_paused().await.unwrap_or(0), Relaxed);
                }
            }));
        }
        while start.elapsed() < plan.end {
            pass((plan.end - start.elapsed()).min(10 * SECOND)).await;
            self.progress("making trouble", start.elapsed()).await;
        }
        troubles.close();
        troubles.wait().await;
        let calm = clock::instant();
        work.close();
        if tokio::time::timeout(LAST_ANSWERS, work.wait())
            .await
            .is_err()
        {
            note(
                &failed,
                format!("{} clients never got an answer", work.len()),
            );
        }
        let mut over = self.are_over().await;
        while !over && calm.elapsed() < SETTLE {
            pass(SECOND).await;
            over = self.are_over().await;
            if calm.elapsed().as_secs().is_multiple_of(10) {
                self.progress("letting it settle", start.elapsed()).await;
            }
        }
        let settled = calm.elapsed();
        if !over {
            desk.tell_pace().await;
        }
        stop.cancel();

        eprintln!("chaos: judging");
        let told = truth::told(desk).await;
        let (members, truth) = truth::truth(&hands.exchange).await?;
        let refused = desk.refused();
        Ok(Findings {
            verdict: judge(&told, &members, &truth),
            report: hands.exchange.get("report").await?,
            stale_reads: hands.database.stale_reads().await?,
            tally: hands.tally(),
            said: processes()
                .map(|process| (process, hands.set.said(process)))
                .collect::<Vec<(Process, String)>>(),
            fallen: hands.set.fallen(),
            torn_snapshots: torn.load(Relaxed),
            resumed: resumed.load(Relaxed),
            length: plan.end,
            settled,
            failed: failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            refused,
            told,
        })
    }

    async fn progress(&self, doing: &str, elapsed: Duration) {
        let (mut ended, mut accepted) = (0, 0);
        let ids = self.ids();
        for id in &ids {
            let looked = tokio::time::timeout(SECOND, self.desk.operation(id)).await;
            let Ok(Some(operation)) = looked else {
                continue;
            };
            let counts = operation.counts.unwrap_or_default();
            accepted += counts.accepted;
            ended += counts.accepted - counts.outstanding;
        }
        let troubles: u64 = self.hands.tally().done.values().sum();
        eprintln!(
            "chaos: {:4.0} s, {doing}: {troubles} troubles, {} operations, {ended} of {accepted} mailboxes ended",
            elapsed.as_secs_f64(),
            ids.len()
        );
    }

    fn ids(&self) -> Vec<String> {
        let runs = self.desk.runs();
        runs.values()
            .filter_map(|run| run.ids.first().cloned())
            .collect()
    }

    /// Whether every operation has ended, or waits for nothing but mailboxes that aren't ready.
    async fn are_over(&self) -> bool {
        for id in self.ids() {
            let looked = tokio::time::timeout(5 * SECOND, self.desk.operation(&id)).await;
            let over = matches!(looked, Ok(Some(operation)) if operation.end_time.is_some()
                || (operation.parked > 0 && operation.parked == operation.counts.clone().unwrap_or_default().outstanding));
            if !over {
                return false;
            }
        }
        true
    }
}

fn note(failed: &Mutex<Vec<String>>, what: String) {
    eprintln!("chaos: {what}");
    failed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(what);
}

async fn snapshots_that_do_not_add_up(desk: &Desk) -> u64 {
    let newest: Vec<_> = {
        let runs = desk.runs();
        let ids = runs.values().rev().filter_map(|run| run.ids.first());
        ids.take(4).cloned().collect()
    };
    let mut torn = 0;
    for id in newest {
        let looked = tokio::time::timeout(SECOND, desk.operation(&id)).await;
        if let Ok(Some(operation)) = looked
            && !adds_up(&operation.counts.unwrap_or_default())
        {
            torn += 1;
        }
    }
    torn
}

fn free(held: &mut Vec<TcpListener>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    held.push(listener);
    Ok(address)
}

/// Where the server of a URL listens.
fn server(url: &str) -> anyhow::Result<SocketAddr> {
    let server = server_of(url);
    server
        .parse()
        .with_context(|| format!("no address and port: {server}"))
}
