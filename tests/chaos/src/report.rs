//! What is said at the end.

use std::time::Duration;

use calgrant_contract::pb::provisioning::v1::Outcome;
use serde_json::{Value, json};

use crate::{
    Args,
    hands::Tally,
    plan::{FAST, Process},
    set::Set,
    verdict::{Told, Verdict},
};

/// Of each kind of broken promise so many are told.
const TOLD: usize = 15;
/// A clock that runs fast must be noticed by then.
const NOTICED_BY: Duration = Duration::from_secs(150);
/// Faults after which a caller doesn't know whether its write was done.
const AFTER_THE_WRITE: [&str; 6] = [
    "lost_reply",
    "error_after_effect",
    "half_response",
    "empty_success",
    "unwrapped_single",
    "missing_batch_status",
];

/// All that was found out.
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
    /// The simulator's.
    pub(crate) report: Value,
    pub(crate) stale_reads: u64,
    pub(crate) tally: Tally,
    /// What each process said.
    pub(crate) said: Vec<(Process, String)>,
    pub(crate) fallen: Vec<String>,
    pub(crate) torn_snapshots: u64,
    /// Accounts that a person resumed.
    pub(crate) resumed: u64,
    /// Operations that a person let go on after a brake.
    pub(crate) released: u64,
    /// Events that identity management told of.
    pub(crate) events: usize,
    pub(crate) length: Duration,
    pub(crate) settled: Duration,
    pub(crate) failed: Vec<String>,
    pub(crate) refused: Vec<String>,
    pub(crate) told: Vec<Told>,
}

impl Findings {
    fn count(&self, name: &str) -> u64 {
        self.report["since_start"][name].as_u64().unwrap_or(0)
    }

    fn lost_replies(&self) -> u64 {
        let injected = &self.report["since_start"]["injected"];
        let of = AFTER_THE_WRITE.iter();
        of.map(|name| injected[name].as_u64().unwrap_or(0)).sum()
    }

    fn repeated_writes(&self) -> u64 {
        (self.count("writes") - self.count("foreign_writes"))
            .saturating_sub(self.verdict.needed_writes)
    }

    fn repeated_writes_allowed(&self) -> u64 {
        self.tally.writes_under_way + self.lost_replies() + self.stale_reads
    }

    fn foreign_entries_changed(&self) -> u64 {
        self.report["foreign_entries_changed"].as_u64().unwrap_or(0)
    }

    fn counts_disagree(&self) -> usize {
        self.verdict.disagree.len() + usize::try_from(self.torn_snapshots).unwrap_or(usize::MAX)
    }

    fn breaches(&self, kind: &str) -> u64 {
        let of = self.said.iter().map(|(_, said)| breaches(said, kind));
        of.sum()
    }

    /// Every broken promise, in words.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let verdict = &self.verdict;
        for (what, list) in [
            ("lost", &verdict.lost),
            ("stuck", &verdict.stuck),
            ("wrong outcome", &verdict.wrong),
            ("counts disagree", &verdict.disagree),
            ("ended by itself", &self.fallen),
            ("not carried out", &self.failed),
            ("answered to a client", &self.refused),
        ] {
            broken.extend(list.iter().take(TOLD).map(|one| format!("{what}: {one}")));
            if list.len() > TOLD {
                broken.push(format!("{what}: and {} more", list.len() - TOLD));
            }
        }
        if self.torn_snapshots > 0 {
            broken.push(format!(
                "{} snapshots whose counts were no sum",
                self.torn_snapshots
            ));
        }
        if self.foreign_entries_changed() > 0 {
            broken.push(format!(
                "entries of others were changed: {}",
                self.report["changes"]
            ));
        }
        if self.count("limit_violations") > 0 {
            broken.push(format!(
                "limits were broken: {}; {}",
                self.report["since_start"]["violations_by_app"],
                self.report["since_start"]["violations"]
            ));
        }
        if self.repeated_writes() > self.repeated_writes_allowed() {
            broken.push("more writes were repeated than can be explained".to_owned());
        }
        for (process, said) in &self.said {
            for line in said
                .lines()
                .filter(|line| line.contains("panicked"))
                .take(3)
            {
                broken.push(format!("{process}: {line}"));
            }
        }
        if self.length >= NOTICED_BY && self.fast_clock_noticed() == 0 {
            broken.push("the clock that runs fast was not noticed".to_owned());
        }
        broken
    }

    fn fast_clock_noticed(&self) -> u64 {
        let fast = self.said.iter().find(|(process, _)| *process == FAST);
        fast.map_or(0, |(_, said)| breaches(said, "clock"))
    }
}

/// How many breaches of this kind a process told of: it says each time how many more there are.
fn breaches(said: &str, kind: &str) -> u64 {
    let field = format!("{kind}=");
    let lines = said
        .lines()
        .filter(|line| line.contains("out of the bounds"));
    lines
        .filter_map(|line| {
            line.split_once(&field)?
                .1
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// Says what happened and what is broken. Whether nothing is.
pub(crate) fn tell(args: &Args, findings: &Findings) -> bool {
    println!("seed {}: what was done, and how often", args.seed);
    for (label, times) in &findings.tally.done {
        println!("  {times:4}  {label}");
    }
    println!(
        "faults that calls met: {}",
        findings.report["since_start"]["injected"]
    );
    println!("outcomes: {}", outcomes(&findings.told));
    println!(
        "calls {}, writes {}, of which needed {}; limits that were told to slow down: {}",
        findings.count("calls_total"),
        findings.count("writes"),
        findings.verdict.needed_writes,
        findings.report["since_start"]["refused"],
    );
    println!("operations: {}", kinds(&findings.told));
    println!(
        "events {}; users edited {} lists meanwhile; accounts resumed by a person: {}, operations released: {}",
        findings.events,
        findings.count("user_edits"),
        findings.resumed,
        findings.released
    );
    println!(
        "repeated_writes {} of at most {}: {} under way when a worker was killed, held or cut off, {} replies lost, {} stale reads",
        findings.repeated_writes(),
        findings.repeated_writes_allowed(),
        findings.tally.writes_under_way,
        findings.lost_replies(),
        findings.stale_reads,
    );
    println!(
        "detected_breaches {}: calls that left late {}, clocks that differ {} (of the one that runs fast {})",
        findings.breaches("stall") + findings.breaches("clock"),
        findings.breaches("stall"),
        findings.breaches("clock"),
        findings.fast_clock_noticed(),
    );
    println!(
        "all was over {:.0} s after the last trouble",
        findings.settled.as_secs_f64()
    );
    let broken = findings.broken();
    for promise in &broken {
        println!("BROKEN {promise}");
    }
    broken.is_empty()
}

/// Says how processes stopped that were asked to. Whether all did it in order.
pub(crate) fn tell_stops(set: &Set) -> bool {
    let stops = set.stops();
    let longest = stops.iter().map(|stop| stop.took).max().unwrap_or_default();
    let orderly = stops.iter().filter(|stop| stop.is_orderly()).count();
    println!(
        "orderly stops {orderly} of {}, the longest {:.1} s",
        stops.len(),
        longest.as_secs_f64()
    );
    for stop in stops.iter().filter(|stop| !stop.is_orderly()) {
        let status = stop
            .status
            .map_or("had to be killed".to_owned(), |status| status.to_string());
        println!(
            "BROKEN {} stopped out of order after {:.1} s: {status}",
            stop.process,
            stop.took.as_secs_f64()
        );
    }
    orderly == stops.len()
}

fn kinds(told: &[Told]) -> Value {
    let mut sums = std::collections::BTreeMap::new();
    for one in told {
        let word = one.kind.as_str_name().trim_start_matches("OPERATION_KIND_");
        *sums.entry(word.to_lowercase()).or_insert(0_u64) += 1;
    }
    json!(sums)
}

fn outcomes(told: &[Told]) -> Value {
    let mut sums = std::collections::BTreeMap::new();
    for job in told.iter().flat_map(|run| &run.jobs) {
        let word = match job.outcome {
            Outcome::Unspecified => format!("not ended, {}", job.waiting),
            outcome => {
                let word = outcome.as_str_name().trim_start_matches("OUTCOME_");
                format!("{} {}", word.to_lowercase(), job.reason)
            }
        };
        *sums.entry(word.trim().to_owned()).or_insert(0_u64) += 1;
    }
    json!(sums)
}

/// The verdict for programs.
pub(crate) fn json(args: &Args, findings: &Findings) -> Value {
    let jobs: usize = findings.told.iter().map(|run| run.jobs.len()).sum();
    json!({
        "lost": findings.verdict.lost.len(),
        "stuck": findings.verdict.stuck.len(),
        "wrong_outcome": findings.verdict.wrong.len(),
        "foreign_entries_changed": findings.foreign_entries_changed(),
        "limit_violations": findings.count("limit_violations"),
        "counts_disagree": findings.counts_disagree(),
        "repeated_writes": findings.repeated_writes(),
        "kills": findings.tally.kills,
        "broker_restarts": findings.tally.broker_restarts,
        "database_restarts": findings.tally.database_restarts,
        "seed": args.seed,
        "operations": findings.told.len(),
        "mailboxes": jobs,
    })
}
