//! One RabbitMQ node of our own, with a port mapper (epmd) of its own that ends with it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::install::Program;
use super::place::{MARK, Place};
use super::{clean_path, free_ports};
use crate::process::{Process, bound, run_quietly, short};

/// User and password: only this machine reaches it.
const LOGIN: &str = "app";
/// Loading its code takes 7 s of processor time, more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);
/// What it holds is thrown away, so it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Above it, who publishes is held up.
const WATERMARK: &str = "512MB";
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A running node.
pub(super) struct RabbitMq {
    // The node stops first, then its port mapper.
    node: Process,
    program: Program,
    place: PathBuf,
    environment: Vec<(&'static str, String)>,
    _epmd: Process,
    amqp: u16,
    management: Option<u16>,
}

impl RabbitMq {
    /// Start one, with the management plugin or without any.
    pub(super) fn spawn(program: &Program, place: &Place, management: bool) -> Result<Self> {
        let user = program.user.as_ref();
        let [amqp, http, distribution, mapper] = free_ports()?;
        let management = management.then_some(http);
        let base = place.sub("rabbitmq", user)?;
        for name in ["home", "mnesia", "log", "gen"] {
            place.sub(&format!("rabbitmq/{name}"), user)?;
        }
        let file = |name: &str, text: &str| place.file(&format!("rabbitmq/{name}"), text, user);
        file("rabbitmq.conf", &configuration(amqp, management))?;
        let plugins = if management.is_some() {
            "[rabbitmq_management].\n"
        } else {
            "[].\n"
        };
        file("enabled_plugins", plugins)?;
        // Names are looked up here alone, so that the host's name and resolver don't matter.
        file(
            "inetrc",
            "{lookup, [file]}.\n{host, {127,0,0,1}, [\"localhost\"]}.\n",
        )?;
        file("home/.erlang.cookie", &cookie()?)?;

        let environment = environment(&base, amqp, distribution, mapper);
        let epmd = start(
            "epmd",
            &program.epmd(),
            program,
            place.dir(),
            &environment,
            Signal::TERM,
        )?;
        let node = serve(program, place.dir(), &environment)?;
        Ok(Self {
            node,
            program: program.clone(),
            place: place.dir().to_owned(),
            environment,
            _epmd: epmd,
            amqp,
            management,
        })
    }

    /// `kill -9`; its port mapper stays.
    pub(super) fn kill(&mut self) {
        self.node.stop_by(Signal::KILL);
    }

    /// Starts the node again on its data, at its ports. It takes connections when it has recovered.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.node = serve(&self.program, &self.place, &self.environment)?;
        Ok(())
    }

    /// Raises a memory alarm, as if the node were short of memory, or ends it.
    pub(super) fn alarm(&self, on: bool) -> Result<()> {
        let watermark = if on { "10kB" } else { WATERMARK };
        let node = self.environment.iter();
        let node = node.filter(|(name, _)| *name == "RABBITMQ_NODENAME");
        let mut command = short(
            &self.program.bin.join("rabbitmqctl"),
            self.program.user.as_ref(),
        );
        command.arg("-n").args(node.map(|(_, value)| value)).args([
            "set_vm_memory_high_watermark",
            "absolute",
            watermark,
        ]);
        self.prepare(&mut command);
        run_quietly(&mut command, &self.place.join("rabbitmqctl.log"))
    }

    fn prepare(&self, command: &mut Command) {
        prepare(command, &self.place, &self.environment);
    }

    /// Wait until it speaks AMQP, and HTTP where that is wanted.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let (amqp, management) = (self.amqp, self.management);
        self.node.wait_until(START_LIMIT, || speaks_amqp(amqp))?;
        if let Some(port) = management {
            self.node.wait_until(START_LIMIT, || speaks_http(port))?;
        }
        Ok(())
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://{LOGIN}:{LOGIN}@127.0.0.1:{}/%2f", self.amqp)
    }

    pub(super) fn management_url(&self) -> Option<String> {
        self.management
            .map(|port| format!("http://{LOGIN}:{LOGIN}@127.0.0.1:{port}"))
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.node.is_running()
    }
}

/// Starts a node whose folders are there.
fn serve(
    program: &Program,
    place: &Path,
    environment: &[(&'static str, String)],
) -> Result<Process> {
    let server = program.bin.join("rabbitmq-server");
    start(
        "RabbitMQ",
        &server,
        program,
        place,
        environment,
        Signal::KILL,
    )
}

fn start(
    name: &str,
    path: &Path,
    program: &Program,
    place: &Path,
    environment: &[(&'static str, String)],
    stop_by: Signal,
) -> Result<Process> {
    let mut command = bound(path, program.user.as_ref(), "KILL");
    prepare(&mut command, place, environment);
    let log = place.join(format!("{}-start.log", name.to_lowercase()));
    Process::start(name, &mut command, &log, stop_by, STOP_LIMIT)
}

fn prepare(command: &mut Command, place: &Path, environment: &[(&'static str, String)]) {
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", clean_path())
        .env(MARK, place)
        .envs(environment.iter().map(|(name, value)| (*name, value)));
}

fn configuration(amqp: u16, management: Option<u16>) -> String {
    let mut text = format!(
        "loopback_users = none\n\
         listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         default_user = {LOGIN}\n\
         default_pass = {LOGIN}\n\
         disk_free_limit.absolute = 64MB\n\
         vm_memory_high_watermark.absolute = {WATERMARK}\n\
         raft.wal_max_size_bytes = 67108864\n\
         log.console = false\n"
    );
    if let Some(port) = management {
        text.push_str(&format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n"
        ));
    }
    text
}

fn environment(
    base: &Path,
    amqp: u16,
    distribution: u16,
    mapper: u16,
) -> Vec<(&'static str, String)> {
    let at = |name: &str| base.join(name).display().to_string();
    let schedulers =
        thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4));
    vec![
        ("HOME", at("home")),
        ("LANG", "C.UTF-8".to_owned()),
        ("ERL_EPMD_PORT", mapper.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("ERL_INETRC", at("inetrc")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ("RABBITMQ_NODENAME", format!("t{amqp}@localhost")),
        ("RABBITMQ_MNESIA_BASE", at("mnesia")),
        ("RABBITMQ_LOG_BASE", at("log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", at("gen")),
        ("RABBITMQ_SCHEMA_DIR", at("gen")),
        ("RABBITMQ_PID_FILE", at("pid")),
        ("RABBITMQ_DIST_PORT", distribution.to_string()),
        // The start script then becomes the node instead of watching it, so that the node itself is our child.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            format!(
                "+S {schedulers}:{schedulers} +sbwt none -kernel inet_dist_use_interface {{127,0,0,1}}"
            ),
        ),
    ]
}

/// A secret that keeps other nodes of this machine out.
fn cookie() -> Result<String> {
    let id =
        fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random numbers in /proc")?;
    Ok(id.trim().replace('-', ""))
}

/// The node answers a protocol header with its first method frame (type 1).
fn speaks_amqp(port: u16) -> bool {
    answer(port, b"AMQP\x00\x00\x09\x01").is_some_and(|first| first == 1)
}

fn speaks_http(port: u16) -> bool {
    answer(port, b"GET / HTTP/1.0\r\n\r\n").is_some_and(|first| first == b'H')
}

/// The first byte of the answer to `greeting`.
fn answer(port: u16, greeting: &[u8]) -> Option<u8> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.write_all(greeting).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    Some(first[0])
}
