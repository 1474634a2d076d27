//! Private Postgres and RabbitMQ servers, and an Active Directory for tests, on free loopback ports, gone at the end.
//!
//! Servers that `DATABASE_URL` or `AMQP_URL` name are used instead. What is missing is installed first ([`install`]).

mod install;
mod on_call;
mod place;
mod postgres;
mod rabbitmq;
mod samba;

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock::Stopwatch;
use crate::process::User;
use crate::signals;
use install::Programs;
use place::Place;
use postgres::Postgres;
use rabbitmq::RabbitMq;
use samba::Samba;

/// Somebody else may take a port between our looking and the server's binding it.
const ATTEMPTS: u32 = 3;

/// What the servers are for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// RabbitMQ with its management API, on which tests make a vhost each; without it, RabbitMQ starts faster.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) management: bool,
    /// Postgres with fsync, for measuring. Without it no commit is lost either, unless the machine goes down.
    #[arg(long)]
    pub(crate) fsync: bool,
    /// An Active Directory, too: Samba, where it can be had, which takes root and Debian's packages.
    #[arg(long)]
    pub(crate) directory: bool,
}

pub(crate) use on_call::OnCall;

/// Options of `cargo xtask servers`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Also write the addresses to this file, as lines of `export NAME=value`; removed at the end.
    #[arg(long, value_name = "PATH")]
    env_file: Option<PathBuf>,
}

/// Make sure that the programs of the servers are there, before anything that takes long.
pub(crate) fn prepare() -> Result<()> {
    install::ensure(
        env::var_os("DATABASE_URL").is_none(),
        env::var_os("AMQP_URL").is_none(),
    )
    .map(drop)
}

/// Make sure that what signs in by Kerberos can be built: its headers.
pub(crate) fn prepare_kerberos() -> Result<()> {
    install::kerberos_headers()
}

/// Running servers. Dropping it stops those that we started and removes their files.
pub(crate) struct Servers {
    addresses: Vec<(&'static str, String)>,
    // Stopped in this order, then the folder goes.
    rabbitmq: Option<RabbitMq>,
    postgres: Option<Postgres>,
    samba: Option<Samba>,
    _place: Option<Place>,
}

impl Servers {
    /// Start what no address in the environment names, both at once, and wait until they answer.
    ///
    /// To be called from the main thread, because the servers end with the thread that starts them.
    pub(crate) fn start(wanted: Wanted) -> Result<Self> {
        Self::start_but(wanted, |name| env::var(name).ok())
    }

    /// Start both whatever the environment names: they will be killed and started again.
    pub(crate) fn start_own(wanted: Wanted) -> Result<Self> {
        Self::start_but(wanted, |_| None)
    }

    fn start_but(wanted: Wanted, named: fn(&'static str) -> Option<String>) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::try_start(wanted, named) {
                Err(error) if attempt < ATTEMPTS && is_port_taken(&error) => {
                    eprintln!("servers: a port was taken by somebody else, trying others");
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn try_start(wanted: Wanted, named: fn(&'static str) -> Option<String>) -> Result<Self> {
        let given = |name: &'static str| named(name).map(|value| (name, value));
        let (database, broker) = (given("DATABASE_URL"), given("AMQP_URL"));
        for (name, value) in [&database, &broker].into_iter().flatten() {
            eprintln!(
                "servers: using {name} from the environment: {}",
                without_password(value)
            );
        }
        let mut programs = install::ensure(database.is_none(), broker.is_none())?;
        if wanted.directory {
            programs.samba = directory_program()?;
        }
        let mut servers = Self {
            addresses: Vec::new(),
            rabbitmq: None,
            postgres: None,
            samba: None,
            _place: None,
        };
        if let Some(place) = needed_place(&programs)? {
            let watch = Stopwatch::start();
            let result = servers.start_in(&place, &programs, wanted);
            if result.is_err() && signals::count() == 0 {
                // Files are still being written to while the servers run.
                (servers.rabbitmq, servers.postgres, servers.samba) = (None, None, None);
                if let Some(kept) = place.keep_logs() {
                    eprintln!("servers: logs kept in {}", kept.display());
                }
            }
            servers._place = Some(place);
            result?;
            eprintln!("servers: ready in {}", watch.seconds());
        }
        servers.addresses = servers.all_addresses(database, broker);
        Ok(servers)
    }

    fn start_in(&mut self, place: &Place, programs: &Programs, wanted: Wanted) -> Result<()> {
        let mut names = Vec::new();
        if programs.postgres.is_some() {
            names.push("Postgres");
        }
        if programs.rabbitmq.is_some() {
            names.push("RabbitMQ");
        }
        if programs.samba.is_some() {
            names.push("Samba");
        }
        eprintln!(
            "servers: starting private {} in {}",
            names.join(", "),
            place.dir().display()
        );
        // RabbitMQ takes longer: it loads while Postgres initialises.
        if let Some(bin) = &programs.rabbitmq {
            self.rabbitmq = Some(RabbitMq::spawn(bin, place, wanted.management)?);
        }
        if let Some(bin) = &programs.postgres {
            self.postgres = Some(Postgres::spawn(bin, place, wanted.fsync)?);
        }
        if let Some(program) = &programs.samba {
            match Samba::spawn(program, place) {
                Ok(samba) => self.samba = Some(samba),
                Err(error) => no_directory(&error)?,
            }
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.wait_until_ready(place)?;
        }
        if let Some(samba) = &mut self.samba {
            samba.wait_until_ready()?;
        }
        if let Some(rabbitmq) = &mut self.rabbitmq {
            rabbitmq.wait_until_ready()?;
        }
        Ok(())
    }

    fn all_addresses(
        &self,
        database: Option<(&'static str, String)>,
        broker: Option<(&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = database.into_iter().chain(broker).collect();
        if let Some(postgres) = &self.postgres {
            all.push(("DATABASE_URL", postgres.url()));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            all.push(("AMQP_URL", rabbitmq.url()));
            all.extend(
                rabbitmq
                    .management_url()
                    .map(|url| ("RABBITMQ_MANAGEMENT_URL", url)),
            );
        }
        all.extend(self.samba.iter().flat_map(Samba::addresses));
        all
    }

    /// Environment variables with the addresses: `DATABASE_URL`, `AMQP_URL`, with management `RABBITMQ_MANAGEMENT_URL`,
    /// and `CALGRANT_TEST_AD_…` where there is a directory.
    pub(crate) fn addresses(&self) -> &[(&'static str, String)] {
        &self.addresses
    }

    /// The servers that we started and that have ended by themselves since.
    fn fallen(&mut self) -> Option<&'static str> {
        if self
            .postgres
            .as_mut()
            .is_some_and(|server| !server.is_running())
        {
            return Some("Postgres");
        }
        if self
            .samba
            .as_mut()
            .is_some_and(|server| !server.is_running())
        {
            return Some("Samba");
        }
        self.rabbitmq
            .as_mut()
            .is_some_and(|server| !server.is_running())
            .then_some("RabbitMQ")
    }
}

/// `cargo xtask servers`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut servers = Servers::start(args.wanted)?;
    let lines: String = servers
        .addresses()
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect();
    print!("{lines}");
    let _env_file = args
        .env_file
        .as_ref()
        .map(|path| EnvFile::write(path, &lines))
        .transpose()?;
    eprintln!("servers: Ctrl-C stops them");
    while signals::count() == 0 {
        if let Some(name) = servers.fallen() {
            bail!("{name} ended by itself");
        }
        thread::sleep(Duration::from_millis(100));
    }
    eprintln!("servers: stopping");
    Ok(ExitCode::SUCCESS)
}

/// The file of `--env-file`, there only while the servers are.
struct EnvFile(PathBuf);

impl EnvFile {
    /// Written aside and renamed, so that who waits for the file never reads half of it.
    fn write(path: &PathBuf, lines: &str) -> Result<Self> {
        let aside = path.with_extension("part");
        fs::write(&aside, lines)
            .and_then(|()| fs::rename(&aside, path))
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self(path.clone()))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        // It may be gone already, which is as well.
        let _gone = fs::remove_file(&self.0);
    }
}

/// The program of the directory, installed if need be. `None`, and said why, where that can't be had: the tests of the
/// directory do without then.
fn directory_program() -> Result<Option<PathBuf>> {
    match install::samba() {
        Ok(program) => Ok(Some(program)),
        Err(error) => no_directory(&error).map(|()| None),
    }
}

fn no_directory(error: &anyhow::Error) -> Result<()> {
    signals::check()?;
    eprintln!("servers: no Active Directory, so tests that need one are left out: {error:#}");
    Ok(())
}

/// The system's folders first, then whatever PATH the caller has.
fn clean_path() -> String {
    let callers = env::var("PATH").unwrap_or_default();
    format!("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{callers}")
}

fn needed_place(programs: &Programs) -> Result<Option<Place>> {
    let users: Vec<&User> = [&programs.postgres, &programs.rabbitmq]
        .into_iter()
        .flatten()
        .filter_map(|p| p.user.as_ref())
        .collect();
    if programs.postgres.is_none() && programs.rabbitmq.is_none() && programs.samba.is_none() {
        return Ok(None);
    }
    Place::make(&users).map(Some)
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("eaddrinuse")
        || text.contains("address already in use")
        || text.contains("already_in_use")
}

/// As many different free ports of the loopback address.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N); // all at once, or the same one comes twice
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// An address as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "(not a URL)".to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…{}", &rest[at..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, want) in [
            ("amqp://app:s3cret@h:5672/%2f", "amqp://app:…@h:5672/%2f"),
            ("postgres://h/db", "postgres://h/db"),
            ("postgres://u:a@b@h/db", "postgres://u:…@h/db"),
            ("host=h password=s3cret", "(not a URL)"),
        ] {
            assert_eq!(without_password(url), want);
        }
    }

    #[test]
    fn ports_differ() {
        let [a, b, c] = free_ports().expect("ports");
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn a_taken_port_is_known_from_both_servers_words() {
        for text in [
            "could not bind IPv4 address \"127.0.0.1\": Address already in use",
            "{error,eaddrinuse}",
        ] {
            assert!(is_port_taken(&anyhow::anyhow!("{text}")));
        }
        assert!(!is_port_taken(&anyhow::anyhow!("no space left on device")));
    }
}
