//! The Python that the tests run our example client with, and clients that others wrote: an environment of its own under
//! `target/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::process::{run_quietly, short};
use crate::signals;
use crate::workspace::{on_path, root, target};

/// What the examples import, and the clients that must be able to use the simulator.
const REQUIREMENTS: [&str; 2] = [
    "deploy/examples/requirements.txt",
    "services/simulator/tests/python/requirements.txt",
];

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
    let mut pip = short(&python, None);
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
    for path in REQUIREMENTS {
        pip.args(["--requirement", path]);
    }
    run_quietly(pip.current_dir(root()), &log)?;
    fs::write(done, wanted)?;
    Ok(python)
}
