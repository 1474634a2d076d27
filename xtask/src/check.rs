//! `cargo xtask check`: everything that can be said about the code without running it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;

use anyhow::{Context as _, Result, bail};

use crate::clock::Stopwatch;
use crate::process::{run, run_quietly};
use crate::workspace::{cargo, on_path, root, target};

/// How one check went.
enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

type Check = fn() -> Result<Outcome>;

/// Its name at npm, which has it for every platform.
const BUF: &str = "@bufbuild/buf@1.75.0";

/// Run all of them, whatever the first ones say. Success if none failed.
pub(crate) fn run_all() -> Result<ExitCode> {
    let checks: [(&str, Check); 6] = [
        ("format", format),
        ("lints", lints),
        ("documentation", documentation),
        ("dependencies", dependencies),
        ("contracts", contracts),
        ("compatibility", compatibility),
    ];
    let mut lines = Vec::new();
    let mut failed = false;
    for (name, check) in checks {
        let watch = Stopwatch::start();
        let said = match check().with_context(|| format!("could not check {name}"))? {
            Outcome::Passed => format!("passed, {}", watch.seconds()),
            Outcome::Failed => {
                failed = true;
                "FAILED".to_owned()
            }
            Outcome::Skipped(why) => format!("skipped: {why}"),
        };
        lines.push(format!("check: {name} {said}"));
    }
    for line in lines {
        eprintln!("{line}");
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn format() -> Result<Outcome> {
    if !has("fmt") {
        return Ok(skipped("no rustfmt here: `rustup component add rustfmt`"));
    }
    verdict(&mut cargo(["fmt", "--all", "--check"]))
}

fn lints() -> Result<Outcome> {
    if !has("clippy") {
        return Ok(skipped("no clippy here: `rustup component add clippy`"));
    }
    let whole = verdict(&mut cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    // What stands in for Kerberos where it is left out.
    let without = verdict(&mut cargo([
        "clippy",
        "--package",
        "calgrant-exchange-onprem",
        "--no-default-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(match whole {
        Outcome::Passed => without,
        other => other,
    })
}

fn documentation() -> Result<Outcome> {
    // RUSTDOCFLAGS only: with other RUSTFLAGS everything would be built again.
    verdict(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies() -> Result<Outcome> {
    if !has("deny") {
        return Ok(skipped(
            "no cargo-deny here: `cargo install --locked cargo-deny`",
        ));
    }
    // The advisories need a database from the network: not here. Crates of other platforms are downloaded to be looked at.
    verdict(&mut cargo([
        "deny",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))
}

fn contracts() -> Result<Outcome> {
    let Some(buf) = &*FOUND_BUF else {
        return Ok(no_buf());
    };
    verdict(Command::new(buf).arg("lint").current_dir(root()))
}

/// Whether clients of the default branch's contracts still understand ours.
fn compatibility() -> Result<Outcome> {
    let Some(buf) = &*FOUND_BUF else {
        return Ok(no_buf());
    };
    let Some(before) = default_branch() else {
        return Ok(skipped("no default branch with contracts to compare with"));
    };
    let dir = target().join("contracts-before");
    check_out(&before, &dir)?;
    verdict(
        Command::new(buf)
            .arg("breaking")
            .arg("--against")
            .arg(dir)
            .current_dir(root()),
    )
}

fn verdict(command: &mut Command) -> Result<Outcome> {
    Ok(if run(command)?.success() {
        Outcome::Passed
    } else {
        Outcome::Failed
    })
}

fn skipped(why: &str) -> Outcome {
    Outcome::Skipped(why.to_owned())
}

fn no_buf() -> Outcome {
    skipped("no buf here, and npm can't install it")
}

/// Whether this cargo has that subcommand.
fn has(subcommand: &str) -> bool {
    cargo([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What contracts are checked with, looked for once.
static FOUND_BUF: LazyLock<Option<PathBuf>> = LazyLock::new(find_buf);

/// The one that is named, or is here; else it is installed under the target folder.
fn find_buf() -> Option<PathBuf> {
    if let Some(named) = env::var_os("BUF") {
        return Some(named.into());
    }
    let folder = target().join("buf");
    let own = folder.join("node_modules/.bin/buf");
    let here = || own.is_file().then(|| own.clone());
    here().or_else(|| on_path("buf")).or_else(|| {
        let mut npm = Command::new(on_path("npm")?);
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .arg(BUF);
        if let Err(error) = run_quietly(&mut npm, &target().join("npm.log")) {
            eprintln!("check: {error:#}");
        }
        here()
    })
}

/// The first of the usual names of the default branch that holds contracts.
fn default_branch() -> Option<String> {
    let names = [
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
        "refs/heads/main",
        "refs/heads/master",
    ];
    names.into_iter().map(str::to_owned).find(|name| {
        let file = format!("{name}:buf.yaml");
        let asked = git(&["cat-file", "-e", &file])
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    })
}

/// The contracts of that commit, in `dir`.
fn check_out(commit: &str, dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let mut archive = git(&["archive", commit, "buf.yaml", "proto"])
        .stdout(Stdio::piped())
        .spawn()?;
    let from = archive.stdout.take().context("git's output is not ours")?;
    let unpacked = Command::new("tar")
        .arg("-x")
        .arg("-C")
        .arg(dir)
        .stdin(from)
        .status()?;
    if !archive.wait()?.success() || !unpacked.success() {
        bail!("could not take the contracts out of {commit}");
    }
    Ok(())
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(root());
    command
}
