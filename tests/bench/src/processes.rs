//! The services and the simulator as processes, and their addresses.

use std::{
    collections::HashMap,
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, ensure};
use calgrant_contract::pb::{
    fleet::v1::{ApplyTenantRequest, TenantSpec, fleet_service_client::FleetServiceClient},
    provisioning::v1::{
        GetOperationRequest, Operation, provisioning_service_client::ProvisioningServiceClient,
    },
};
use calgrant_runtime::{clock, grpc};
use calgrant_testkit::{Database, Vhost};
use serde_json::Value;
use tonic::transport::Channel;

use crate::usage::{self, Usage};

/// Longest wait for a process to answer.
const READY: Duration = Duration::from_secs(60);
/// The same for the simulator, which makes its people first: a million take minutes.
const MADE: Duration = Duration::from_mins(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A set of processes. They end with it.
pub(crate) struct Processes {
    folder: PathBuf,
    program: PathBuf,
    settings: Vec<(&'static str, &'static str)>,
    running: HashMap<String, Child>,
    ports: HashMap<String, u16>,
    http: reqwest::Client,
    database: Database,
    vhost: Vhost,
}

impl Processes {
    /// The simulator with this scenario, then status, api and worker.
    pub(crate) async fn start(program: &Path, scenario: &str) -> anyhow::Result<Self> {
        Self::start_with(program, scenario, &[]).await
    }

    /// The same, with more settings in the environment of the services.
    pub(crate) async fn start_with(
        program: &Path,
        scenario: &str,
        settings: &[(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        Self::start_these(program, scenario, settings, &["status", "api", "worker"]).await
    }

    /// The simulator, and of the services only these.
    pub(crate) async fn start_these(
        program: &Path,
        scenario: &str,
        settings: &[(&'static str, &'static str)],
        services: &[&str],
    ) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("calgrant-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut set = Self {
            folder,
            program: program.to_owned(),
            settings: settings.to_vec(),
            running: HashMap::new(),
            ports: HashMap::new(),
            http: reqwest::Client::new(),
            database: Database::new().await,
            vhost: Vhost::new(),
        };
        let file = set.write("scenario.toml", scenario)?;
        let port = set.port("simulator")?;
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["simulator", "--listen", &listen, "--scenario"]);
        command.arg(file);
        set.spawn("simulator", command)?;
        set.until("the simulator answers", MADE, async || {
            set.simulator("healthz").await.is_ok()
        })
        .await?;
        for name in services {
            set.service(name, name)?;
        }
        Ok(set)
    }

    /// Starts a service under a name of its own.
    pub(crate) fn service(&mut self, kind: &str, name: &str) -> anyhow::Result<()> {
        let upper = kind.to_uppercase();
        let port = self.port(name)?;
        let status = format!("http://127.0.0.1:{}", self.port("status")?);
        // What is asked for in the environment is heard.
        let log = std::env::var("CALGRANT_LOG").unwrap_or_else(|_| "warn".to_owned());
        let mut command = Command::new(&self.program);
        command
            .arg(kind)
            .env(
                format!("CALGRANT_{upper}_LISTEN"),
                format!("127.0.0.1:{port}"),
            )
            .env("DATABASE_URL", self.database.url())
            .env("AMQP_URL", self.vhost.url())
            .env("CALGRANT_LOG", log)
            .envs(self.settings.iter().copied());
        if kind != "status" {
            command.env(format!("CALGRANT_{upper}_STATUS_URL"), status);
        }
        if kind == "onboarding" {
            let api = format!("http://127.0.0.1:{}", self.port("api")?);
            command.env("CALGRANT_ONBOARDING_API_URL", api);
        }
        self.spawn(name, command)
    }

    /// Writes a file of the set's own. Answers where.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| name.to_owned())?;
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    fn port(&mut self, name: &str) -> anyhow::Result<u16> {
        if let Some(port) = self.ports.get(name) {
            return Ok(*port);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }

    /// Base URL of a process.
    pub(crate) fn url(&self, name: &str) -> String {
        format!(
            "http://127.0.0.1:{}",
            self.ports.get(name).copied().unwrap_or_default()
        )
    }

    /// URL of the broker.
    pub(crate) fn broker(&self) -> &str {
        self.vhost.url()
    }

    /// A channel to the api.
    pub(crate) fn api(&self) -> anyhow::Result<Channel> {
        grpc::channel(&self.url("api")).map_err(|fault| anyhow::anyhow!("{fault}"))
    }

    /// Applies a tenant, once status is ready.
    pub(crate) async fn apply(&self, spec: TenantSpec) -> anyhow::Result<()> {
        let client = FleetServiceClient::new(self.api()?);
        let request = ApplyTenantRequest {
            spec: Some(spec),
            ..ApplyTenantRequest::default()
        };
        let mut last = None;
        let applied = self
            .until("the tenant is applied", READY, async || {
                match client.clone().apply_tenant(request.clone()).await {
                    Ok(_) => true,
                    Err(status) => {
                        last = Some(status);
                        false
                    }
                }
            })
            .await;
        applied.with_context(|| format!("{last:?}"))
    }

    /// Waits until an operation is as wanted.
    pub(crate) async fn operation(
        &self,
        id: &str,
        limit: Duration,
        wanted: impl Fn(&Operation) -> bool,
    ) -> anyhow::Result<Operation> {
        let client = ProvisioningServiceClient::new(self.api()?);
        let request = GetOperationRequest { id: id.to_owned() };
        let mut last = Operation::default();
        self.until("the operation is as wanted", limit, async || {
            if let Ok(answer) = client.clone().get_operation(request.clone()).await {
                last = answer.into_inner();
            }
            wanted(&last)
        })
        .await?;
        Ok(last)
    }

    /// What the simulator says.
    pub(crate) async fn simulator(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}/_simulator/{path}", self.url("simulator"));
        let text = self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Tells the simulator to do something, such as `mark`.
    pub(crate) async fn post(&self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}/_simulator/{path}", self.url("simulator"));
        self.http.post(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// Kills a process.
    pub(crate) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let child = self.running.get_mut(name).context("no such process")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The most memory a process ever took, in KiB.
    pub(crate) fn peak_kib(&self, name: &str) -> anyhow::Result<u64> {
        let pid = self.running.get(name).context("no such process")?.id();
        usage::peak_kib(pid)
    }

    /// Has the database do now what new rows leave it to do sometime: statistics, marking what all may see, writing to disk.
    pub(crate) async fn tidy_database(&self) -> anyhow::Result<()> {
        let client = self.database.client().await;
        for sql in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            client.batch_execute(sql).await?;
        }
        Ok(())
    }

    /// Our processes, and the servers' where they run on this machine.
    pub(crate) async fn all(&self) -> anyhow::Result<Usage> {
        let ours = self.running.iter();
        let mut usage = Usage::of(ours.map(|(name, child)| (name.clone(), child.id())));
        let client = self.database.client().await;
        let backend: i32 = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await?
            .get(0);
        usage.add_parent_of("postgres", u32::try_from(backend)?);
        if let Some(broker) = self.vhost.broker_pid() {
            usage.add("rabbitmq", broker);
        }
        Ok(usage)
    }

    /// Waits until it is so.
    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut is_so: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let until = clock::instant() + limit;
        let mut looks = tokio::time::interval(LOOK);
        while !is_so().await {
            ensure!(
                clock::instant() < until,
                "it never came to this: {what}; logs are in {}",
                self.folder.display()
            );
            looks.tick().await;
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _reaped = child.wait();
        }
        if !std::thread::panicking() {
            let _kept = std::fs::remove_dir_all(&self.folder);
        }
    }
}
