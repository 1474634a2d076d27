//! Programs in another language, with clients that others wrote.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs a program with these arguments and this on its stdin, and gives the lines of JSON it prints. `None` where
/// Python's packages can't be had.
pub(crate) async fn run(program: &str, arguments: &[&str], input: &str) -> Option<Vec<Value>> {
    // Set by `cargo xtask test`.
    let Ok(python) = std::env::var("CALGRANT_TEST_PYTHON") else {
        eprintln!("CALGRANT_TEST_PYTHON is not set: nothing to run {program} with");
        return None;
    };
    let path = format!("{}/tests/python/{program}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.arg(&path).args(arguments);
    let input = input.to_owned();
    let ended = tokio::task::spawn_blocking(move || -> Output {
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    });
    let output = ended.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    Some(
        printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}
