//! Everything that a run needs, started.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use anyhow::{Context, anyhow};
use calgrant_contract::pb::fleet::v1::{
    ApplyTenantRequest, fleet_service_client::FleetServiceClient,
};
use calgrant_runtime::grpc;
use calgrant_testkit::server_of;

use crate::{
    Args,
    asks::Asks,
    database::Database,
    desk::Desk,
    exchange::Exchange,
    hands::{Hands, until},
    identity::Identity,
    plan::{Link, Service, processes},
    school::{self, TENANTS},
    servers::Servers,
    set::{Addresses, Set, bound},
    wire::Wire,
};

pub(crate) struct Stage {
    pub(crate) hands: Arc<Hands>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) asks: Arc<Asks>,
    pub(crate) identity: Arc<Identity>,
    _simulator: tokio::process::Child,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// Something doesn't start.
    pub(crate) async fn set_up(args: &Args, folder: PathBuf) -> anyhow::Result<Self> {
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
            (Link::Api, of(Service::Api)),
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
            api: wires[&Link::Api].address(),
        };
        let exchange_url = format!("http://{}", wires[&Link::Exchange].address());
        let apis = of(Service::Api);
        let channels = apis.iter().map(|address| {
            grpc::channel(&format!("http://{address}")).map_err(|fault| anyhow!("{fault}"))
        });
        let desk = Arc::new(Desk::new(channels.collect::<Result<_, _>>()?));
        let identity = Identity::new(&broker_url, args.seed).await?;
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
        let asks = Asks::new(Arc::clone(&desk), args.seed).await?;
        Ok(Self {
            hands: Arc::new(hands),
            desk,
            asks: Arc::new(asks),
            identity: Arc::new(identity),
            _simulator: child,
        })
    }
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
