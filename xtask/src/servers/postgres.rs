//! One Postgres cluster of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::install::Program;
use super::place::{MARK, Place};
use super::{clean_path, free_ports};
use crate::process::{Process, bound, run_quietly, short};

/// Its superuser, without a password: only this machine reaches it.
const USER: &str = "app";
/// The database that is made for us.
const DATABASE: &str = "calgrant";
/// Tests run side by side, each with pools of its own.
const MAX_CONNECTIONS: u32 = 300;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running cluster.
pub(super) struct Postgres {
    process: Process,
    bin: Program,
    place: PathBuf,
    data: PathBuf,
    port: u16,
    fsync: bool,
}

impl Postgres {
    /// Initialise a cluster and start its server.
    pub(super) fn spawn(program: &Program, place: &Place, fsync: bool) -> Result<Self> {
        let user = program.user.as_ref();
        let data = place.sub("postgres", user)?.join("data");
        let mut initdb = short(&program.bin.join("initdb"), user);
        initdb
            .arg("-D")
            .arg(&data)
            .args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]);
        initdb.args(["--no-sync", "--no-instructions"]);
        initdb
            .current_dir("/")
            .env_clear()
            .env("PATH", clean_path())
            .env("LC_ALL", "C");
        run_quietly(&mut initdb, &place.dir().join("initdb.log"))?;

        let [port] = free_ports()?;
        let process = serve(program, place.dir(), &data, port, fsync)?;
        Ok(Self {
            process,
            bin: program.clone(),
            place: place.dir().to_owned(),
            data,
            port,
            fsync,
        })
    }

    /// Ends it the way a crash would: no checkpoint, no farewell to those who are connected.
    pub(super) fn crash(&mut self) {
        self.process.stop_by(Signal::QUIT);
    }

    /// Starts it again on its data, at its port. It takes connections when it has recovered.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.process = serve(&self.bin, &self.place, &self.data, self.port, self.fsync)?;
        Ok(())
    }

    /// Wait until it takes connections, then make our database.
    pub(super) fn wait_until_ready(&mut self, place: &Place) -> Result<()> {
        let pid_file = self.data.join("postmaster.pid");
        self.process
            .wait_until(START_LIMIT, || is_ready(&pid_file))?;
        let mut createdb = short(&self.bin.bin.join("createdb"), None);
        createdb.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            USER,
            DATABASE,
        ]);
        createdb
            .current_dir("/")
            .env_clear()
            .env("PATH", clean_path());
        run_quietly(&mut createdb, &place.dir().join("createdb.log"))
            .context("could not make a database")
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// Starts the server of a cluster that is there.
fn serve(program: &Program, place: &Path, data: &Path, port: u16, fsync: bool) -> Result<Process> {
    // Where it is measured, it has what a deployment would give it.
    let (fsync, buffers) = if fsync {
        ("on", "512MB")
    } else {
        ("off", "64MB")
    };
    let mut server = bound(&program.bin.join("postgres"), program.user.as_ref(), "INT");
    server.arg("-D").arg(data);
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // No socket: its path must be short, and ours may be long.
        "unix_socket_directories=".to_owned(),
        format!("fsync={fsync}"),
        format!("full_page_writes={fsync}"),
        // Stays on: a server killed in the middle of a test loses no commit that it acknowledged.
        "synchronous_commit=on".to_owned(),
        format!("shared_buffers={buffers}"),
        format!("max_connections={MAX_CONNECTIONS}"),
    ] {
        server.arg("-c").arg(setting);
    }
    server
        .current_dir("/")
        .env_clear()
        .env("PATH", clean_path())
        .env("LC_ALL", "C")
        .env(MARK, place);
    let log = place.join("postgres.log");
    Process::start("Postgres", &mut server, &log, Signal::INT, STOP_LIMIT)
}

/// The server writes its state into line 8 of this file, where `pg_ctl` looks too.
fn is_ready(pid_file: &Path) -> bool {
    fs::read_to_string(pid_file).is_ok_and(|text| {
        text.lines()
            .nth(7)
            .is_some_and(|state| state.trim() == "ready")
    })
}
