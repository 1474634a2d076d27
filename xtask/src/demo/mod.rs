//! `cargo xtask demo`: a whole school's calendars, delegated on a simulated Exchange by the real services, and the result
//! proven against the simulator's own state. Half of its mailboxes lie in Exchange Online and half on premises,
//! unless `--site` says otherwise.
//!
//! Servers and simulator start, then `calgrant up`; a tenant is applied that has neither a delegation group nor accounts in it, and set
//! up. One delegation runs for a nested group, the simulator says what really changed, and all of it is done again, which must change
//! nothing.

mod figures;
mod school;
mod setting_up;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::clock::Stopwatch;
use crate::process::{run, run_beside};
use crate::signals;
use figures::{Figures, Run, Tried};
use school::{GRANTORS, Kind, School, Site, WritePath};
use stage::{GROUP, Stage, TENANT, rows};

/// Exit codes of `calgrant` after which the run is worth looking at: all granted, or some mailboxes refused or failed.
const ENDED_WELL: [i32; 2] = [0, 3];

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which Exchange organisations the school has.
    #[arg(long, value_enum, default_value_t = Site::Hybrid)]
    site: Site,
    /// Which interface changes permissions on premises.
    #[arg(long, value_enum, default_value_t = WritePath::Ews)]
    write_path: WritePath,
    /// Size of the school.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    mailboxes: u32,
    /// The last line of stdout is one JSON object with the figures.
    #[arg(long)]
    json: bool,
    /// Leave everything running afterwards, to look around, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// The exit code is 0 only if the proof holds.
pub(crate) fn run_all(args: &Args) -> Result<ExitCode> {
    let school = School {
        site: args.site,
        write_path: args.write_path,
        mailboxes: args.mailboxes,
    };
    let stage = Stage::build(&school)?;

    eprintln!(
        "\ndemo: setting up the tenant {TENANT}: a reader and {GRANTORS} grantor accounts at each site"
    );
    let applied =
        run(&mut stage.calgrant(["apply", "-f", &stage.tenant_file().display().to_string()]))?;
    ensure!(
        applied.success(),
        "the tenant could not be applied ({applied}); logs are in {}",
        stage.dir().display()
    );

    let set_up = setting_up::run_all(&stage, &school)?;

    let trustees: Vec<_> = school.kinds().iter().map(|kind| kind.trustee()).collect();
    let trustees = trustees.join(" and ");
    eprintln!("\ndemo: delegating {GROUP} to {trustees}");
    stage.simulator("POST", "/_simulator/mark")?;
    let first = delegate(&stage, &school)?;
    let report = stage.simulator("GET", "/_simulator/report")?;
    let proofs = school.kinds().iter().map(|kind| {
        let trustee = kind.trustee();
        stage.simulator(
            "GET",
            &format!("/_simulator/proof?group={GROUP}&trustee={trustee}"),
        )
    });
    let proofs = proofs.collect::<Result<Vec<_>>>()?;

    eprintln!("\ndemo: the same set-up and the same delegation again");
    let second_set_up = setting_up::changes(&stage, &school)?;
    stage.simulator("POST", "/_simulator/mark")?;
    let second = delegate(&stage, &school)?;
    let second_report = stage.simulator("GET", "/_simulator/report")?;

    let mut figures = Figures::gather((&first, &report), (&second, &second_report), &proofs);
    figures.set_up(set_up, second_set_up);
    if !school.is_online() {
        figures.forget_rereads();
        let group = Kind::Onprem.trustee();
        eprintln!(
            "\ndemo: a member of {group} makes an event in some of the calendars on premises, and deletes it"
        );
        figures.tried(try_access(&stage, &first)?);
    }
    // The table goes where talk goes when a program reads stdout.
    if args.json {
        eprintln!("\n{figures}");
    } else {
        println!("\n{figures}");
    }
    let broken = figures.broken();
    for claim in &broken {
        eprintln!("demo: NOT PROVEN: {claim}");
    }
    if broken.is_empty() {
        eprintln!(
            "demo: proven: every mailbox is accounted for, no limit was broken, nothing else was touched"
        );
        stage.discard_logs();
    }
    if args.keep {
        keep(&stage, &first)?;
    } else {
        eprintln!("demo: `cargo xtask demo --keep` leaves it running, to look around");
    }
    drop(stage);
    if args.json {
        println!("{}", figures.to_json());
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Run the delegation once, with its progress on stderr.
fn delegate(stage: &Stage, school: &School) -> Result<Run> {
    let watch = Stopwatch::start();
    let trustees = school.kinds().iter();
    let trustees: Vec<_> = trustees
        .map(|kind| format!("{}={}", kind.word(), kind.trustee()))
        .collect();
    let mut arguments = vec!["delegate", "--tenant", TENANT, "--group", GROUP];
    for trustee in &trustees {
        arguments.extend(["--trustee", trustee]);
    }
    arguments.extend(["--output", "json"]);
    let asked = stage.read(&arguments)?;
    let operation = asked
        .first()
        .and_then(|row| row["id"].as_str())
        .context("no operation came back")?
        .to_owned();
    let mut parked = BTreeSet::new();
    let ended = run_beside(
        &mut stage.calgrant(["operations", "watch", &operation]),
        || {
            // Looked at from outside, now and then: one that is parked for less than that is missed.
            let waiting = stage.read(&[
                "mailboxes",
                "--operation",
                &operation,
                "--outstanding",
                "--output",
                "json",
            ]);
            let waiting = waiting.unwrap_or_default();
            parked.extend(
                waiting
                    .iter()
                    .filter(|row| row["waiting"] == "parked")
                    .map(|row| text(row, "job_id")),
            );
        },
    )?;
    let seconds = watch.elapsed().as_secs_f64();
    ensure!(
        ended.code().is_some_and(|code| ENDED_WELL.contains(&code)),
        "the operation did not end well ({ended}); logs are in {}",
        stage.dir().display()
    );
    let mut outcomes = BTreeMap::new();
    let mut parked_then_done = 0;
    let operation_row = stage.read(&["operations", "get", &operation, "--output", "json"])?;
    let accepted = operation_row
        .first()
        .and_then(|row| row["accepted"].as_u64());
    for row in stage.read(&["mailboxes", "--operation", &operation, "--output", "json"])? {
        let outcome = text(&row, "outcome");
        let done = figures::GRANTED.contains(&outcome.as_str());
        parked_then_done += u64::from(done && parked.contains(&text(&row, "job_id")));
        *outcomes.entry(outcome).or_default() += 1;
    }
    let accepted = accepted.context("the operation has no number of accepted mailboxes")?;
    Ok(Run {
        operation,
        accepted,
        outcomes,
        parked_then_done,
        seconds,
    })
}

/// Let a member account work in a sample of the calendars.
fn try_access(stage: &Stage, first: &Run) -> Result<Tried> {
    let mut command = stage.calgrant([
        "try",
        "--tenant",
        TENANT,
        "--operation",
        &first.operation,
        "--output",
        "json",
    ]);
    let output = command.output()?;
    ensure!(
        output
            .status
            .code()
            .is_some_and(|code| ENDED_WELL.contains(&code)),
        "a member could not be tried ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let mut tried = Tried::default();
    for row in rows(output.stdout)? {
        tried.mailboxes += 1;
        tried.worked += u64::from(row["works"] == true);
        if row["works"] != true {
            eprintln!("demo: {row}");
        }
    }
    Ok(tried)
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

/// Stay until Ctrl-C.
fn keep(stage: &Stage, first: &Run) -> Result<()> {
    let program = stage.program().display().to_string();
    eprintln!("\ndemo: everything is left running. In another terminal:\n");
    eprintln!("  export CALGRANT_API={}", stage.api());
    eprintln!(
        "  {program} mailboxes --operation {} --outcome refused",
        first.operation
    );
    eprintln!("  {program} access --tenant {TENANT} person.1@uni.example");
    eprintln!("  {program} operations list");
    eprintln!("  curl -s {}/_simulator/report\n", stage.simulator_url());
    eprintln!(
        "demo: logs are in {}; Ctrl-C stops everything",
        stage.dir().display()
    );
    while signals::count() == 0 {
        thread::sleep(Duration::from_millis(100));
    }
    eprintln!("demo: stopping");
    Ok(())
}
