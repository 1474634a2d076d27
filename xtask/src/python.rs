//! The Python that the tests run our example client with, and clients that others wrote: an environment of its own under
//! `target/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::process::{run_quietly, short};
use crate::servers;
use crate::signals;
use crate::workspace::{on_path, root, target};

/// What the examples import, and the clients that must be able to use the simulator.
const REQUIREMENTS: [&str; 2] = [
    "deploy/examples/requirements.txt",
    "services/simulator/tests/python/requirements.txt",
];

/// What these clients sign in by Kerberos with.
const REQUIREMENTS_OF_KERBEROS: &str = "services/simulator/tests/python/requirements-kerberos.txt";

/// The interpreter with what the examples import, installed if need be. `None`, and said why, where that can't be had:
/// the tests do without then.
pub(crate) fn prepare() -> Result<Option<PathBuf>> {
    let read = |path: &str| fs::read_to_string(root().join(path));
    let Ok(wanted) = REQUIREMENTS
        .into_iter()
        .map(read)
        .collect::<Result<String, _>>()
    else {
        return Ok(None);
    };
    match install(&wanted) {
        Ok(python) => Ok(Some(python)),
        Err(error) => {
            signals::check()?;
            eprintln!("test: what Python runs is left out: {error:#}");
            Ok(None)
        }
    }
}

fn install(wanted: &str) -> Result<PathBuf> {
    let dir = target().join("python");
    let (python, done) = (dir.join("bin/python"), dir.join("installed.txt"));
    if python.exists() && fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    ensure!(on_path("python3").is_some(), "no python3 here");
    eprintln!("test: installing what Python runs");
    let log = target().join("python.log");
    run_quietly(
        short(Path::new("python3"), None)
            .args(["-m", "venv", "--clear"])
            .arg(&dir),
        &log,
    )?;
    pip(&python, &REQUIREMENTS, &log)?;
    fs::write(done, wanted)?;
    Ok(python)
}

/// Whether the interpreter can sign in by Kerberos, too. What that takes is built from source, against the system's headers, and
/// where that doesn't go, the tests do without.
pub(crate) fn prepare_kerberos(python: &Path) -> Result<bool> {
    let Ok(wanted) = fs::read_to_string(root().join(REQUIREMENTS_OF_KERBEROS)) else {
        return Ok(false);
    };
    let done = target().join("python/installed-kerberos.txt");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(true);
    }
    let install = || -> Result<()> {
        servers::prepare_kerberos()?;
        eprintln!("test: building what Python signs in by Kerberos with");
        pip(
            python,
            &[REQUIREMENTS_OF_KERBEROS],
            &target().join("python.log"),
        )?;
        Ok(fs::write(&done, &wanted)?)
    };
    match install() {
        Ok(()) => Ok(true),
        Err(error) => {
            signals::check()?;
            eprintln!("test: sign-in by Kerberos from Python is left out: {error:#}");
            Ok(false)
        }
    }
}

fn pip(python: &Path, requirements: &[&str], log: &Path) -> Result<()> {
    let mut pip = short(python, None);
    // Soon over where there is no network.
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--timeout",
        "20",
    ]);
    for path in requirements {
        pip.args(["--requirement", path]);
    }
    run_quietly(pip.current_dir(root()), log)
}
