//! `cargo xtask test`: every test of the workspace, with the servers they need.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Mutex;

use anyhow::Result;

use crate::clock::Stopwatch;
use crate::process::{run, run_seen};
use crate::python;
use crate::servers::{self, Servers, Wanted};
use crate::workspace::{cargo, root};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For the test runner: names to look for in the names of tests, `-p PACKAGE`, …
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FILTER"
    )]
    filters: Vec<String>,
}

/// What is said at the end about one step.
struct Step {
    name: &'static str,
    passed: bool,
    counts: String,
    took: String,
}

/// Build, start the servers, test, stop them. The exit code is that of the first step that failed.
pub(crate) fn run_all(args: &Args) -> Result<ExitCode> {
    let runner = if has_nextest() {
        Runner::Nextest
    } else {
        Runner::Cargo
    };
    servers::prepare()?;
    // First of all: who has a compile error need not wait for servers.
    let built = run(&mut runner.command(&args.filters, true))?;
    if !built.success() {
        eprintln!("test: the build failed");
        return Ok(code_of(built));
    }
    let python = python::prepare()?;
    let by_kerberos = match &python {
        Some(python) => python::prepare_kerberos(python)?,
        None => false,
    };
    let servers = Servers::start(Wanted {
        management: true,
        directory: true,
        fsync: false,
    })?;
    let mut steps = Vec::new();
    let mut first_failure = None;
    let mut step = |name, closing: &str, command: &mut Command, filters: &[String]| -> Result<()> {
        let watch = Stopwatch::start();
        let counts = Mutex::new(Counts::default());
        command.envs(
            servers
                .addresses()
                .iter()
                .map(|(name, value)| (*name, value)),
        );
        command.envs(python.iter().map(|python| ("CALGRANT_TEST_PYTHON", python)));
        if by_kerberos {
            command.env("CALGRANT_TEST_KERBEROS_PYTHON", "1");
        }
        let status = run_seen(command, |line| {
            if let Ok(mut counts) = counts.lock() {
                counts.see(line, closing);
            }
        })?;
        let counts = counts.into_inner().unwrap_or_default();
        // With a filter, a runner that finds no test says so by its exit code, and that's no success.
        let passed = status.success();
        if !passed && first_failure.is_none() {
            first_failure = Some(code_of(status));
        }
        let counts = if filters.is_empty() {
            counts.to_string()
        } else {
            format!("{counts} (filtered)")
        };
        steps.push(Step {
            name,
            passed,
            counts,
            took: watch.seconds(),
        });
        Ok(())
    };
    step(
        "tests",
        runner.closing(),
        &mut runner.command(&args.filters, false),
        &args.filters,
    )?;
    // cargo test runs these with the rest.
    if matches!(runner, Runner::Nextest) && args.filters.is_empty() && has_doc_tests(&root()) {
        step(
            "doc tests",
            Runner::Cargo.closing(),
            &mut cargo(["test", "--workspace", "--doc", "--quiet"]),
            &[],
        )?;
    }
    drop(servers);
    for Step {
        name,
        passed,
        counts,
        took,
    } in &steps
    {
        eprintln!(
            "test: {name} {}: {counts}, {took}",
            if *passed { "passed" } else { "FAILED" }
        );
    }
    Ok(first_failure.unwrap_or(ExitCode::SUCCESS))
}

#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    /// How the line begins that has the numbers.
    fn closing(self) -> &'static str {
        match self {
            Self::Nextest => "Summary [",
            Self::Cargo => "test result:",
        }
    }

    fn command(self, filters: &[String], build_only: bool) -> Command {
        let whole = !filters
            .iter()
            .any(|f| f == "-p" || f.starts_with("--package"));
        let mut command = match self {
            Self::Nextest => cargo(["nextest", "run"]),
            Self::Cargo => cargo(["test"]),
        };
        if whole {
            command.arg("--workspace");
        }
        if build_only {
            command.arg("--no-run");
        } else {
            command.arg("--no-fail-fast");
        }
        if let (Self::Nextest, true) = (self, env::var_os("CI").is_some()) {
            command.args(["--profile", "ci"]);
        }
        command.args(filters);
        command
    }
}

fn has_nextest() -> bool {
    cargo(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn code_of(status: ExitStatus) -> ExitCode {
    ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    )
}

/// Numbers of tests, read from the runners' own closing lines.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// What the runner itself says; the output of a failed test may hold another one's closing line.
    /// `test result: ok. 3 passed; 0 failed; …` or `Summary [ 1.0s] 3 tests run: 2 passed (1 slow), 1 failed, …`
    fn see(&mut self, line: &str, closing: &str) {
        let plain = without_colour(line);
        if !plain.trim_start().starts_with(closing) {
            return;
        }
        let words: Vec<&str> = plain
            .split([' ', ',', ';', '(', ')'])
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" | "timed" => self.failed += number, // "2 timed out"
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut parts = line.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// Whether any library has an example in its documentation.
fn has_doc_tests(root: &Path) -> bool {
    let mut dirs: Vec<PathBuf> = vec![root.join("libs"), root.join("services")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs")
                && fs::read_to_string(&path).is_ok_and(|text| has_example(&text))
            {
                return true;
            }
        }
    }
    false
}

fn has_example(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let doc = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        doc.is_some_and(|doc| doc.trim_start().starts_with("```") && !doc.contains("```text"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_both_runners() {
        let mut counts = Counts::default();
        counts.see(
            "test result: ok. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result:",
        );
        counts.see("\u{1b}[32m     Summary\u{1b}[0m [   0.5s] 9 tests run: 5 passed (1 slow), 2 failed, 2 timed out, 0 skipped", "Summary [");
        counts.see("3 passed the time", "Summary [");
        counts.see("    test result: FAILED. 0 passed; 1 failed", "Summary [");
        assert_eq!((counts.passed, counts.failed), (8, 5));
    }

    #[test]
    fn only_documentation_counts_as_an_example() {
        assert!(has_example("/// ```\n/// f();\n/// ```"));
        assert!(has_example("    //! ```rust"));
        assert!(!has_example("// ```\nlet s = \"```\";"));
        assert!(!has_example("//! ```text\n//! a ─▶ b"));
    }
}
