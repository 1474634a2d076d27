//! Finding the programs of Postgres, RabbitMQ and Samba, and installing them where they are missing.
//!
//! An installation leaves no service running that was not running before: the package scripts are told not to start
//! any, and on a machine with systemd the new services are disabled. We only need the programs.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::geteuid;

use crate::process::{User, open_log, tail};
use crate::signals;
use crate::workspace::{self, on_path};

/// Where Debian keeps the server programs of each version.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";
const DEBIAN_RABBITMQ: &str = "/usr/lib/rabbitmq/bin";
/// Older ones may do, but nobody tries them.
const OLDEST_POSTGRES: u32 = 15;
/// What package scripts ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Where a policy that was there before is kept meanwhile.
const POLICY_ASIDE: &str = "/usr/sbin/policy-rc.d.before-calgrant";
/// Knows our policy from others, after an installation that was killed.
const POLICY_MARK: &str = "cargo xtask of Calgrant";
/// The answer "do not".
const POLICY_DENIES: i32 = 101;

/// The programs of one server.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) bin: PathBuf,
    /// Whom it runs as when we are root.
    pub(super) user: Option<User>,
}

impl Program {
    /// Erlang's port mapper.
    pub(super) fn epmd(&self) -> PathBuf {
        let beside = self.bin.join("epmd");
        if beside.is_file() {
            beside
        } else {
            on_path("epmd").unwrap_or_else(|| "/usr/bin/epmd".into())
        }
    }
}

/// The programs of the servers that are to be started.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs {
    pub(super) postgres: Option<Program>,
    pub(super) rabbitmq: Option<Program>,
    pub(super) samba: Option<PathBuf>,
}

/// Samba with what a domain controller takes, and the library that signs in to it by Kerberos.
const SAMBA: [&str; 6] = [
    "samba",
    "samba-ad-provision",
    "samba-dsdb-modules",
    "samba-vfs-modules",
    "winbind",
    "libgssapi-krb5-2",
];
/// What they bring: the server, what makes a domain, and what its database is made of.
const SAMBA_FILES: [&str; 3] = [
    "/usr/sbin/samba",
    "/usr/bin/samba-tool",
    "/usr/share/samba/setup/provision.ldif",
];

/// What signs in by Kerberos, loaded when it is first used.
const KERBEROS: &str = "libgssapi_krb5.so.2";

/// Whether the system has a library, in a folder of its own or of a machine's kind.
fn has_library(file: &str) -> bool {
    ["/usr/lib", "/usr/lib64", "/lib"].iter().any(|folder| {
        let mut inner = fs::read_dir(folder).into_iter().flatten().flatten();
        Path::new(folder).join(file).exists() || inner.any(|entry| entry.path().join(file).exists())
    })
}

/// The domain controller's program, installing its packages where it is missing.
pub(super) fn samba() -> Result<PathBuf> {
    ensure!(geteuid().is_root(), "its ports take root");
    let is_there =
        || SAMBA_FILES.iter().all(|file| Path::new(file).exists()) && has_library(KERBEROS);
    if !is_there() {
        let _alone = lock()?;
        if !is_there() {
            install(&SAMBA)?;
        }
        ensure!(
            is_there(),
            "Samba installed, but its programs are not where they belong"
        );
    }
    Ok(SAMBA_FILES[0].into())
}

/// The headers of Kerberos' library, which only others' clients are built with.
pub(super) fn kerberos_headers() -> Result<()> {
    if on_path("krb5-config").is_none() {
        let _alone = lock()?;
        if on_path("krb5-config").is_none() {
            install(&["libkrb5-dev"])?;
        }
    }
    Ok(())
}

/// Find the programs wanted, installing packages for those that are missing.
pub(super) fn ensure(postgres: bool, rabbitmq: bool) -> Result<Programs> {
    if is_policy_ours() {
        let _alone = lock()?; // or another xtask is installing
        NoStart::restore_leftover();
    }
    let mut programs = find(postgres, rabbitmq);
    let missing = |programs: &Programs| {
        let mut packages = Vec::new();
        if postgres && programs.postgres.is_none() {
            packages.push("postgresql");
        }
        if rabbitmq && programs.rabbitmq.is_none() {
            packages.push("rabbitmq-server");
        }
        packages
    };
    if !missing(&programs).is_empty() {
        let _alone = lock()?;
        programs = find(postgres, rabbitmq); // another xtask may just have installed them
        let packages = missing(&programs);
        if !packages.is_empty() {
            install(&packages)?;
            programs = find(postgres, rabbitmq);
            let still = missing(&programs);
            ensure!(
                still.is_empty(),
                "{} installed, but its programs are not where they belong",
                still.join(", ")
            );
        }
    }
    if geteuid().is_root() {
        if let Some(postgres) = &mut programs.postgres {
            postgres.user = Some(User::find("postgres").context(
                "Postgres won't run as root and there is no user `postgres`: make one, or run this as an ordinary user",
            )?);
        }
        if let Some(rabbitmq) = &mut programs.rabbitmq {
            rabbitmq.user = User::find("rabbitmq");
        }
    }
    Ok(programs)
}

fn find(postgres: bool, rabbitmq: bool) -> Programs {
    let program = |bin| Program { bin, user: None };
    Programs {
        postgres: postgres.then(find_postgres).flatten().map(program),
        rabbitmq: rabbitmq.then(find_rabbitmq).flatten().map(program),
        samba: None,
    }
}

/// Debian's folder first: what is first on PATH may be another build, of which a part is missing.
fn find_postgres() -> Option<PathBuf> {
    let is_whole = |bin: &Path| {
        ["initdb", "postgres", "createdb"]
            .iter()
            .all(|name| bin.join(name).is_file())
    };
    let versions = fs::read_dir(DEBIAN_POSTGRES)
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| is_whole(bin))
        .max();
    if let Some((version, bin)) = newest {
        if version < OLDEST_POSTGRES {
            eprintln!(
                "servers: Postgres {version} is older than {OLDEST_POSTGRES}, the oldest that Calgrant is made for"
            );
        }
        return Some(bin);
    }
    let bin = fs::canonicalize(on_path("initdb")?)
        .ok()?
        .parent()?
        .to_owned();
    is_whole(&bin).then_some(bin)
}

fn find_rabbitmq() -> Option<PathBuf> {
    let debian = Path::new(DEBIAN_RABBITMQ);
    if debian.join("rabbitmq-server").is_file() {
        return Some(debian.to_owned());
    }
    Some(on_path("rabbitmq-server")?.parent()?.to_owned())
}

/// One installation on this machine at a time.
fn lock() -> Result<File> {
    let path = env::temp_dir().join("calgrant-install.lock");
    // Reading suffices for a lock, and somebody else's file in /tmp can't be opened for more.
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(_) => OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("could not create {}", path.display()))?,
    };
    file.lock()
        .context("could not wait for another installation")?;
    Ok(file)
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = "or start servers yourself and set DATABASE_URL and AMQP_URL";
    if on_path("apt-get").is_none() {
        bail!(
            "missing here: {list}. There is no apt-get to install it with: install it, {by_hand}"
        );
    }
    if !geteuid().is_root() && on_path("sudo").is_none() {
        bail!(
            "missing here: {list}. Run `apt-get install -y --no-install-recommends {list}` as root, {by_hand}"
        );
    }
    let how = if geteuid().is_root() {
        "apt-get"
    } else {
        "sudo apt-get"
    };
    eprintln!(
        "servers: missing here, and installed now with {how}: {list} (a minute or two; no service of them will be left running)"
    );

    let _policy = NoStart::set()?;
    // Fails when one of many sources is unreachable, which need not matter.
    if let Err(error) = apt_get(&["update", "-qq"]) {
        signals::check()?;
        eprintln!("servers: {error:#}; trying with the package lists there are");
    }
    signals::check()?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments)?;
    disable(packages);
    signals::check()?;
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let log = workspace::target().join("apt.log");
    let out = open_log(&log)?;
    // Waits for another package manager instead of failing; a password is asked for on the terminal itself.
    let mut command = as_root("env");
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "NEEDRESTART_MODE=l",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=600",
    ]);
    let status = command
        .args(arguments)
        .stderr(out.try_clone()?)
        .stdout(out)
        .status();
    let status = status.context("could not run apt-get")?;
    let said = || tail(&log);
    ensure!(
        status.success(),
        "`apt-get {}` failed ({status}); the end of its output:\n{}",
        arguments.join(" "),
        said()
    );
    Ok(())
}

/// A service of a package that we installed for its programs need not start with the machine either.
fn disable(packages: &[&str]) {
    if !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    for package in packages {
        let units: &[&str] = match *package {
            "rabbitmq-server" => &["rabbitmq-server.service", "epmd.service", "epmd.socket"],
            "samba" => &["samba-ad-dc.service", "smbd.service", "nmbd.service"],
            "winbind" => &["winbind.service"],
            "postgresql" => &["postgresql.service"],
            _ => &[],
        };
        for unit in units {
            let done = as_root("systemctl")
                .args(["disable", "--quiet", "--now", unit])
                .stderr(Stdio::null())
                .status();
            if !done.is_ok_and(|status| status.success()) {
                eprintln!("servers: could not disable {unit}, which may not exist here");
            }
        }
    }
}

fn as_root(program: &str) -> Command {
    if geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// While it lives, package scripts are told not to start services. Dropping it restores what was there before.
struct NoStart {
    /// Nothing to restore: a policy that was there denies already, as in container images.
    as_it_was: bool,
}

fn is_policy_ours() -> bool {
    fs::read_to_string(POLICY).is_ok_and(|text| text.contains(POLICY_MARK))
}

impl NoStart {
    /// What an installation left that was killed.
    fn restore_leftover() {
        if is_policy_ours() {
            eprintln!("servers: restoring {POLICY}, left by an installation that was killed");
            drop(Self { as_it_was: false });
        }
    }

    fn set() -> Result<Self> {
        if Path::new(POLICY).exists() {
            let answer = as_root(POLICY).args(["rabbitmq-server", "start"]).output();
            if answer.is_ok_and(|output| output.status.code() == Some(POLICY_DENIES)) {
                return Ok(Self { as_it_was: true });
            }
        }
        if Path::new(POLICY).exists() {
            root_does("mv", &["-T", POLICY, POLICY_ASIDE])?;
        }
        let guard = Self { as_it_was: false };
        let text = format!(
            "#!/bin/sh\n# Set by {POLICY_MARK} for the time of an installation.\nexit {POLICY_DENIES}\n"
        );
        let mut tee = as_root("tee")
            .arg(POLICY)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = tee.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        ensure!(tee.wait()?.success(), "could not write {POLICY}");
        root_does("chmod", &["755", POLICY])?;
        Ok(guard)
    }
}

impl Drop for NoStart {
    fn drop(&mut self) {
        if self.as_it_was {
            return;
        }
        let restored = if Path::new(POLICY_ASIDE).exists() {
            root_does("mv", &["-T", POLICY_ASIDE, POLICY])
        } else {
            root_does("rm", &["-f", POLICY])
        };
        if let Err(error) = restored {
            eprintln!(
                "servers: {error:#}: remove {POLICY} yourself, or no package will start its service"
            );
        }
    }
}

fn root_does(program: &str, arguments: &[&str]) -> Result<()> {
    let status = as_root(program)
        .args(arguments)
        .status()
        .with_context(|| format!("could not run {program}"))?;
    ensure!(
        status.success(),
        "`{program} {}` failed ({status})",
        arguments.join(" ")
    );
    Ok(())
}
