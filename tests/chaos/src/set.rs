//! The services as processes: started, killed, stopped, held, and started again when they end by themselves.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Mutex as Plain,
    time::{Duration, Instant},
};

use anyhow::Context;
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

use crate::{
    identity::ROUTE,
    lock::lock,
    plan::{FAST, Process, Service},
};

/// Longest time for an orderly stop: longer than any service's own limit.
const STOP: Duration = Duration::from_secs(60);
/// How long a process takes to begin.
const START: Duration = Duration::from_secs(1);
/// How fast the fast clock is.
pub(crate) const FAST_RATE: &str = "1.05";

/// Addresses that all processes are told.
pub(crate) struct Addresses {
    pub(crate) database: String,
    pub(crate) broker: String,
    /// Before all replicas of status.
    pub(crate) status: SocketAddr,
    /// Before all replicas of the api.
    pub(crate) api: SocketAddr,
}

/// How a process ended that was asked to.
pub(crate) struct Stopped {
    pub(crate) process: Process,
    /// None if it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) took: Duration,
    /// It had hardly been started, and nothing of it was running.
    pub(crate) early: bool,
}

impl Stopped {
    pub(crate) fn is_orderly(&self) -> bool {
        self.early || self.status.is_some_and(|status| status.success())
    }
}

/// All processes of services.
pub(crate) struct Set {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) addresses: Addresses,
    pub(crate) ports: BTreeMap<Process, SocketAddr>,
    children: BTreeMap<Process, Mutex<Option<Child>>>,
    started: Plain<BTreeMap<Process, Instant>>,
    stops: Plain<Vec<Stopped>>,
    /// Processes that ended by themselves, and how.
    fallen: Plain<Vec<String>>,
}

impl Set {
    /// None started yet.
    pub(crate) fn new(
        program: PathBuf,
        folder: PathBuf,
        addresses: Addresses,
        ports: BTreeMap<Process, SocketAddr>,
    ) -> Self {
        let children = ports.keys().map(|process| (*process, Mutex::default()));
        Self {
            children: children.collect(),
            program,
            folder,
            addresses,
            ports,
            started: Plain::default(),
            stops: Plain::default(),
            fallen: Plain::default(),
        }
    }

    /// Starts all.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        for (process, child) in &self.children {
            *child.lock().await = Some(self.spawn(*process)?);
        }
        Ok(())
    }

    fn spawn(&self, process: Process) -> anyhow::Result<Child> {
        let word = process.service.word();
        let upper = word.to_uppercase();
        let mut command = bound(&self.program);
        command
            .arg(word)
            .env(
                format!("CALGRANT_{upper}_LISTEN"),
                self.ports[&process].to_string(),
            )
            .env("DATABASE_URL", &self.addresses.database)
            .env("AMQP_URL", &self.addresses.broker)
            .env("CALGRANT_LOG", "info");
        if process.service == Service::Status {
            // The simulator never works longer on a call than this together.
            command
                .env("CALGRANT_STATUS_LONGEST_CALL_MILLIS", "10000")
                .env("CALGRANT_STATUS_ABANDONED_HOLD_MILLIS", "4000");
        } else {
            command.env(
                format!("CALGRANT_{upper}_STATUS_URL"),
                format!("http://{}", self.addresses.status),
            );
        }
        if process.service == Service::Onboarding {
            command
                .env(
                    "CALGRANT_ONBOARDING_API_URL",
                    format!("http://{}", self.addresses.api),
                )
                .env("CALGRANT_ONBOARDING_AMQP_EXCHANGE", ROUTE);
        }
        lock(&self.started).insert(process, clock::instant());
        if process == FAST {
            command.env("CALGRANT_TEST_CLOCK_RATE", FAST_RATE);
        }
        self.run(&process.to_string(), command)
    }

    /// Starts a program whose output is kept.
    pub(crate) fn run(&self, name: &str, mut command: Command) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        command.spawn().with_context(|| name.to_owned())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Everything that a process has said in all its lives.
    pub(crate) fn said(&self, process: Process) -> String {
        let text = fs::read(self.log(&process.to_string())).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// `kill -9`; started again after `down`.
    pub(crate) async fn kill(&self, process: Process, down: Duration) -> anyhow::Result<()> {
        let mut child = self.children[&process].lock().await;
        if let Some(mut running) = child.take() {
            running.kill().await?;
        }
        pass(down).await;
        *child = Some(self.spawn(process)?);
        Ok(())
    }

    /// SIGTERM; started again `down` after it has ended.
    pub(crate) async fn terminate(&self, process: Process, down: Duration) -> anyhow::Result<()> {
        let mut child = self.children[&process].lock().await;
        if let Some(running) = child.take() {
            self.end(process, running).await?;
        }
        pass(down).await;
        *child = Some(self.spawn(process)?);
        Ok(())
    }

    async fn end(&self, process: Process, mut running: Child) -> anyhow::Result<()> {
        let asked = clock::instant();
        let early = lock(&self.started)
            .get(&process)
            .is_some_and(|started| asked - *started < START);
        signal(&running, Signal::TERM);
        let ended = tokio::time::timeout(STOP, running.wait()).await;
        let took = clock::instant() - asked;
        let status = ended.ok().transpose()?;
        if status.is_none() {
            running.kill().await?;
        }
        let stopped = Stopped {
            process,
            early: early && status.is_some(),
            status,
            took,
        };
        lock(&self.stops).push(stopped);
        Ok(())
    }

    /// SIGSTOP, and SIGCONT after `held`.
    pub(crate) async fn suspend(&self, process: Process, held: Duration) {
        let child = self.children[&process].lock().await;
        if let Some(running) = &*child {
            signal(running, Signal::STOP);
            pass(held).await;
            signal(running, Signal::CONT);
        }
    }

    /// Starts processes again that ended by themselves, and notes it.
    pub(crate) async fn look_after(&self) -> anyhow::Result<()> {
        for (process, child) in &self.children {
            // One that is locked is being killed or held.
            let Ok(mut child) = child.try_lock() else {
                continue;
            };
            if let Some(running) = &mut *child
                && let Some(status) = running.try_wait()?
            {
                lock(&self.fallen).push(format!("{process} ended by itself: {status}"));
                *child = Some(self.spawn(*process)?);
            }
        }
        Ok(())
    }

    /// Asks all to stop: workers first, then those they need.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        for service in [
            Service::Onboarding,
            Service::Worker,
            Service::Api,
            Service::Status,
        ] {
            let of = self
                .children
                .iter()
                .filter(|(process, _)| process.service == service);
            let ends = of.map(async |(process, child)| match child.lock().await.take() {
                Some(running) => self.end(*process, running).await,
                None => Ok(()),
            });
            futures::future::try_join_all(ends).await?;
        }
        Ok(())
    }

    /// Every stop that was asked for.
    pub(crate) fn stops(&self) -> Vec<Stopped> {
        std::mem::take(&mut *lock(&self.stops))
    }

    /// Which processes ended by themselves.
    pub(crate) fn fallen(&self) -> Vec<String> {
        lock(&self.fallen).clone()
    }
}

/// A command for a program that ends with us, even if we are killed.
pub(crate) fn bound(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _gone = kill_process(pid, signal);
    }
}
