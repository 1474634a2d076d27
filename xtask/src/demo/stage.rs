//! Everything that runs during the demo, stopped in order at its end.

use std::cell::Cell;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::http;
use crate::process::{Process, bound, run};
use crate::servers::{Servers, Wanted, free_ports, prepare};
use crate::workspace::{cargo, target};

use super::school::{Ports, School};

pub(super) const TENANT: &str = "uni-demo";
/// The nested group, with a cycle in it.
pub(super) const GROUP: &str = "staff-and-students@uni.example";
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
    status: u16,
    simulator: u16,
}

impl Stage {
    /// Build `calgrant`, then start servers, simulator and services, and wait until they answer.
    pub(super) fn build(school: &School) -> Result<Self> {
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
        let [api, status, worker, simulator, ldaps] = free_ports()?;
        let ports = Ports {
            http: simulator,
            ldaps,
        };

        eprintln!(
            "demo: starting the simulator with {} mailboxes, {}, and the services",
            school.mailboxes,
            school.described()
        );
        let scenario = folder.write("scenario.toml", &school.scenario(ports))?;
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

        let authority = if school.is_online() {
            String::new()
        } else {
            http::text(simulator, "/_simulator/certificate")?
        };
        let authority = folder.write("ca.pem", &authority)?;
        let passwords = folder.dir.join("passwords");
        fs::create_dir(&passwords)?;
        folder.write("tenant.toml", &school.tenant(ports, &authority, &passwords))?;
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
        ]);
        command.envs(school.secrets());
        command.env("CALGRANT_SECRETS_KEY", random_key()?);
        let mut services = start(
            "calgrant up",
            &mut command,
            &folder.dir.join("services.log"),
        )?;
        services.wait_until(READY_LIMIT, || {
            let asked = calgrant(
                &program,
                (api, status),
                ["operations", "list", "--output", "json"],
            )
            .output();
            asked.is_ok_and(|output| output.status.success())
        })?;
        Ok(Self {
            _services: services,
            _simulator: sim,
            _servers: servers,
            folder,
            program,
            api,
            status,
            simulator,
        })
    }

    /// The operator's command line.
    pub(super) fn calgrant<const N: usize>(&self, arguments: [&str; N]) -> Command {
        calgrant(&self.program, (self.api, self.status), arguments)
    }

    /// The rows that such a command prints as JSON.
    pub(super) fn read(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = calgrant(
            &self.program,
            (self.api, self.status),
            arguments.iter().copied(),
        )
        .output()?;
        if !output.status.success() {
            let (arguments, said) = (arguments.join(" "), String::from_utf8_lossy(&output.stderr));
            bail!(
                "`calgrant {arguments}` failed ({}): {}",
                output.status,
                said.trim()
            );
        }
        rows(output.stdout)
    }

    /// Ask the simulator's own interface.
    pub(super) fn simulator(&self, method: &str, path: &str) -> Result<Value> {
        http::ask(self.simulator, method, path)
    }

    pub(super) fn simulator_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.simulator)
    }

    pub(super) fn api(&self) -> String {
        url(self.api)
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

/// A key to seal passwords with: 32 random bytes in Base64.
fn random_key() -> Result<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = [0; 42];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let letters = random.map(|byte| char::from(LETTERS[usize::from(byte % 64)]));
    // The last letter stands for four bits, and one padding follows.
    Ok(letters.iter().collect::<String>() + "A=")
}

/// The rows that a command printed as JSON.
pub(super) fn rows(stdout: Vec<u8>) -> Result<Vec<Value>> {
    let rows = String::from_utf8(stdout).context("no text")?;
    rows.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
        .collect()
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn calgrant<'a>(
    program: &Path,
    (api, status): (u16, u16),
    arguments: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("CALGRANT_API", url(api))
        .env("CALGRANT_STATUS", url(status))
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
