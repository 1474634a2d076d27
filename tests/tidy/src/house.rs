//! Reading the repository: the facts that the rules judge.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folders whose content is not ours: built, fetched, or git's.
const NOT_OURS: &[&str] = &[".git", "__pycache__", "node_modules", "target"];
/// Larger files are data.
const LARGEST_TEXT: u64 = 1 << 20;

/// The folder of the root `Cargo.toml`.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// What cargo knows about the packages of the workspace.
///
/// # Errors
///
/// Cargo could not be run or does not write JSON.
pub fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| format!("could not run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Every text file of ours: its path from the root, and what it holds.
///
/// # Errors
///
/// A folder or file can't be read.
pub fn texts(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if kind.is_dir() && !NOT_OURS.iter().any(|not| name == **not) {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() <= LARGEST_TEXT {
                let path = entry.path();
                let Ok(text) = String::from_utf8(fs::read(&path)?) else {
                    continue;
                };
                let path = path.strip_prefix(root).unwrap_or(&path);
                texts.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    texts.sort();
    Ok(texts)
}
