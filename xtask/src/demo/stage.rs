//! Everything that runs during the demo, stopped in order at its end.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::http;
use crate::process::{Process, bound, run};
use crate::servers::{Servers, Wanted, free_ports, prepare};
use crate::workspace::{cargo, root, target};

pub(super) const TENANT: &str = "uni-demo";
/// The nested group, with a cycle in it.
pub(super) const GROUP: &str = "staff-and-students@uni.example";
pub(super) const TRUSTEE: &str = "timetable-delegates@uni.example";
/// Grantor accounts.
const GRANTORS: u32 = 3;
/// What the simulated Exchange allows each account: calls under way, and calls in so many seconds.
const IN_FLIGHT: u32 = 8;
const WINDOW: (u32, u32) = (1000, 10);
/// What Calgrant is told of the window: a little less, for the way there takes now longer, now shorter.
const WINDOW_TOLD: u32 = 950;
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// The running demo. Fields are dropped in this order.
pub(super) struct Stage {
    _services: Process,
    _simulator: Process,
    _servers: Servers,
    folder: Folder,
    program: PathBuf,
    api: u16,
    simulator: u16,
}

impl Stage {
    /// Build `calgrant`, then start servers, simulator and services, and wait until they answer.
    pub(super) fn build(mailboxes: u32) -> Result<Self> {
        prepare()?;
        eprintln!("demo: building calgrant");
        let built = run(&mut cargo(["build", "--package", "calgrant"]))?;
        ensure!(built.success(), "the build failed");
        let program = target().join("debug/calgrant");
        let servers = Servers::start(Wanted {
            management: false,
            directory: false,
            fsync: false,
        })?;
        let folder = Folder::make()?;
        let [api, status, worker, simulator] = free_ports()?;

        eprintln!("demo: starting the simulator with {mailboxes} mailboxes, and the services");
        let scenario = folder.write("scenario.toml", &scenario(mailboxes))?;
        let mut command = bound(&program, None, "KILL");
        command
            .args([
                "simulator",
                "--listen",
                &format!("127.0.0.1:{simulator}"),
                "--scenario",
            ])
            .arg(scenario);
        let mut sim = start(
            "the simulator",
            &mut command,
            &folder.dir.join("simulator.log"),
        )?;
        sim.wait_until(READY_LIMIT, || {
            http::is_well(simulator, "/_simulator/healthz")
        })?;

        folder.write("tenant.toml", &tenant(simulator))?;
        let mut command = bound(&program, None, "KILL");
        command.arg("up").envs(
            servers
                .addresses()
                .iter()
                .map(|(name, value)| (*name, value)),
        );
        command.envs([
            ("CALGRANT_API_LISTEN", format!("127.0.0.1:{api}")),
            (
                "CALGRANT_API_STATUS_URL",
                format!("http://127.0.0.1:{status}"),
            ),
            ("CALGRANT_STATUS_LISTEN", format!("127.0.0.1:{status}")),
            ("CALGRANT_WORKER_LISTEN", format!("127.0.0.1:{worker}")),
            (
                "CALGRANT_WORKER_STATUS_URL",
                format!("http://127.0.0.1:{status}"),
            ),
            ("CALGRANT_DEMO_READER_SECRET", "reader-secret".to_owned()),
        ]);
        for number in 2..=GRANTORS {
            command.env(
                format!("CALGRANT_DEMO_GRANTOR_{number}_SECRET"),
                format!("grantor-secret-{number}"),
            );
        }
        let mut services = start(
            "calgrant up",
            &mut command,
            &folder.dir.join("services.log"),
        )?;
        services.wait_until(READY_LIMIT, || {
            let asked =
                calgrant(&program, api, ["operations", "list", "--output", "json"]).output();
            asked.is_ok_and(|output| output.status.success())
        })?;
        Ok(Self {
            _services: services,
            _simulator: sim,
            _servers: servers,
            folder,
            program,
            api,
            simulator,
        })
    }

    /// The operator's command line.
    pub(super) fn calgrant<const N: usize>(&self, arguments: [&str; N]) -> Command {
        calgrant(&self.program, self.api, arguments)
    }

    /// The rows that such a command prints as JSON.
    pub(super) fn read(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = calgrant(&self.program, self.api, arguments.iter().copied()).output()?;
        if !output.status.success() {
            let (arguments, said) = (arguments.join(" "), String::from_utf8_lossy(&output.stderr));
            bail!(
                "`calgrant {arguments}` failed ({}): {}",
                output.status,
                said.trim()
            );
        }
        let rows = String::from_utf8(output.stdout).context("no text")?;
        rows.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
            .collect()
    }

    /// Ask the simulator's own interface.
    pub(super) fn simulator(&self, method: &str, path: &str) -> Result<Value> {
        http::ask(self.simulator, method, path)
    }

    pub(super) fn simulator_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.simulator)
    }

    pub(super) fn api(&self) -> String {
        api_url(self.api)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn tenant_file(&self) -> PathBuf {
        self.folder.dir.join("tenant.toml")
    }

    /// Where the logs are.
    pub(super) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// All went well: nobody will want the logs.
    pub(super) fn discard_logs(&self) {
        self.folder.discarded.set(true);
    }
}

fn api_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn calgrant<'a>(program: &Path, api: u16, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("CALGRANT_API", api_url(api))
        .env("CALGRANT_CALLER", "demo");
    command
}

fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
    Process::start(name, command, log, Signal::TERM, STOP_LIMIT)
}

/// Files and logs of this demo. They stay behind unless they are discarded.
struct Folder {
    dir: PathBuf,
    discarded: Cell<bool>,
}

impl Folder {
    fn make() -> Result<Self> {
        let dir = target().join("demo").join(process::id().to_string());
        fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        Ok(Self {
            dir,
            discarded: Cell::new(false),
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.discarded.get() {
            eprintln!("demo: logs are kept in {}", self.dir.display());
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("demo: could not remove {}: {error}", self.dir.display());
        }
    }
}

/// The simulated school: some mailboxes appear late, some reads lag behind writes.
fn scenario(mailboxes: u32) -> String {
    let (calls, seconds) = WINDOW;
    format!(
        "seed = 1\n\
         [school]\n\
         seed = 1\n\
         mailboxes = {mailboxes}\n\
         grantors = {GRANTORS}\n\
         max_in_flight = {IN_FLIGHT}\n\
         windows = [[{calls}, {seconds}]]\n\
         [dials]\n\
         latency_ms = 20\n\
         latency_jitter_ms = 30\n"
    )
}

/// The tenant as Calgrant is told of it. One account signs in by certificate, the others by secret.
fn tenant(simulator: u16) -> String {
    let url = format!("http://127.0.0.1:{simulator}");
    let seconds = WINDOW.1;
    let mut text = format!(
        r#"name = "{TENANT}"
display_name = "University of the Simulator"

[[site]]
kind = "online"
directory_id = "11111111-2222-3333-4444-555555555555"
login_url = "{url}"
graph_url = "{url}"
admin_url = "{url}"
write_path = "invoke_command"
park_first_secs = 3

[[site.account]]
name = "reader"
purpose = ["reader"]
client_id = "aaaaaaaa-0000-0000-0000-000000000000"
secret = {{ env = "CALGRANT_DEMO_READER_SECRET" }}
"#
    );
    let identity = root().join("services/simulator/identity");
    for number in 1..=GRANTORS {
        let credential = if number == 1 {
            let file = |name: &str| identity.join(name).display().to_string();
            format!(
                "certificate = {{ key = {{ file = {:?} }}, certificate = {{ file = {:?} }} }}",
                file("demo-key.pem"),
                file("demo-certificate.pem")
            )
        } else {
            format!("secret = {{ env = \"CALGRANT_DEMO_GRANTOR_{number}_SECRET\" }}")
        };
        text.push_str(&format!(
            r#"
[[site.account]]
name = "sa-demo-{number}"
purpose = ["grantor"]
client_id = "bbbbbbbb-0000-0000-0000-{number:012}"
{credential}
max_in_flight = {IN_FLIGHT}
workers = {IN_FLIGHT}
window = [{{ calls = {WINDOW_TOLD}, seconds = {seconds} }}]
"#
        ));
    }
    text
}
