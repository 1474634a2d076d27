//! What the demo found out, and what of it must hold.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::setting_up::Made;

/// Outcomes after which the trustee has at least the right.
pub(super) const GRANTED: [&str; 4] = ["added", "updated", "unchanged", "left_higher"];
/// Outcomes after which something was written.
const WRITTEN: [&str; 2] = ["added", "updated"];
/// The simulator's name of the call that reads a permission list.
const READ: &str = "Get-MailboxFolderPermission";

/// One run of the delegation, as Calgrant tells it.
pub(super) struct Run {
    pub(super) operation: String,
    pub(super) accepted: u64,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) parked_then_done: u64,
    pub(super) seconds: f64,
}

impl Run {
    fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    fn sum(&self, outcomes: &[&str]) -> u64 {
        outcomes.iter().map(|outcome| self.count(outcome)).sum()
    }
}

/// What a member account of the delegation group could do, by doing it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    /// Calendars in which it tried.
    pub(super) mailboxes: u64,
    /// Those in which it made an event and deleted it.
    pub(super) worked: u64,
}

/// All figures of the demo.
pub(super) struct Figures {
    mailboxes: u64,
    outcomes: BTreeMap<String, u64>,
    granted: u64,
    parked_then_done: u64,
    seconds: f64,
    calls: u64,
    round_trips: u64,
    /// Reads that a lagging replica made necessary; `None` where they can't be told from others.
    proof_rereads: Option<u64>,
    limit_violations: u64,
    foreign_entries_changed: u64,
    /// Mailboxes of the group, by the simulator.
    true_mailboxes: u64,
    /// Those of them with at least the right, by the simulator.
    true_granted: u64,
    second_seconds: f64,
    second_outcomes: BTreeMap<String, u64>,
    second_writes: u64,
    second_calls: u64,
    second_accepted: u64,
    /// `None` where there are no servers on premises.
    effective_access: Option<Tried>,
    made: Made,
    second_set_up_changes: u64,
}

impl Figures {
    /// From both runs, each with the simulator's report about it, and the simulator's word on where the right of each trustee stands.
    pub(super) fn gather(first: (&Run, &Value), second: (&Run, &Value), proofs: &[Value]) -> Self {
        let ((run, report), (again, again_report)) = (first, second);
        let number = |value: &Value, field: &str| value[field].as_u64().unwrap_or(0);
        let calls = |report: &Value| {
            let calls = report["calls"].as_object();
            calls.map_or(0, |calls| calls.values().filter_map(Value::as_u64).sum())
        };
        // One read before and one after each write are what it takes.
        let needed = run.sum(&GRANTED) + run.sum(&WRITTEN);
        Self {
            mailboxes: run.accepted,
            outcomes: run.outcomes.clone(),
            granted: run.sum(&GRANTED),
            parked_then_done: run.parked_then_done,
            seconds: run.seconds,
            calls: calls(report),
            round_trips: ["round_trips", "graph_round_trips", "onprem_round_trips"]
                .map(|field| number(report, field))
                .iter()
                .sum(),
            proof_rereads: report["calls"][READ]
                .as_u64()
                .map(|reads| reads.saturating_sub(needed)),
            limit_violations: number(report, "limit_violations")
                + number(again_report, "limit_violations"),
            foreign_entries_changed: number(again_report, "foreign_entries_changed"),
            true_mailboxes: proofs.first().map_or(0, |proof| number(proof, "mailboxes")),
            true_granted: proofs
                .iter()
                .map(|proof| number(proof, "with_at_least_author"))
                .sum(),
            second_seconds: again.seconds,
            second_outcomes: again.outcomes.clone(),
            second_writes: number(again_report, "writes"),
            second_calls: calls(again_report),
            second_accepted: again.accepted,
            effective_access: None,
            made: Made::default(),
            second_set_up_changes: 0,
        }
    }

    /// Where mailboxes are read in several ways, nothing can be said of reads that were repeated.
    pub(super) fn forget_rereads(&mut self) {
        self.proof_rereads = None;
    }

    /// What set-up made, and how much it changed when it was run again.
    pub(super) fn set_up(&mut self, made: Made, again: u64) {
        (self.made, self.second_set_up_changes) = (made, again);
    }

    /// What a member could do.
    pub(super) fn tried(&mut self, tried: Tried) {
        self.effective_access = Some(tried);
    }

    /// The claims that do not hold; none if the demo is a proof.
    pub(super) fn broken(&self) -> Vec<String> {
        let accounted = self
            .outcomes
            .iter()
            .filter(|(outcome, _)| !outcome.is_empty())
            .map(|(_, count)| count)
            .sum();
        let count =
            |outcomes: &BTreeMap<String, u64>, name: &str| outcomes.get(name).copied().unwrap_or(0);
        let second_changed: u64 = WRITTEN
            .iter()
            .map(|outcome| count(&self.second_outcomes, outcome))
            .sum();
        let unproven = ["failed", "unconfirmed", "cancelled"]
            .map(|name| count(&self.outcomes, name))
            .iter()
            .sum();
        [
            ("mailboxes accounted for", accounted, self.mailboxes),
            (
                "mailboxes with the right, by the simulator's own state",
                self.true_granted,
                self.true_mailboxes,
            ),
            (
                "mailboxes with the right, by Calgrant's word",
                self.granted,
                self.true_granted,
            ),
            ("mailboxes failed, unconfirmed or cancelled", unproven, 0),
            ("limit violations", self.limit_violations, 0),
            ("foreign entries changed", self.foreign_entries_changed, 0),
            (
                "mailboxes of the second run",
                self.second_accepted,
                self.mailboxes,
            ),
            ("writes of the second run", self.second_writes, 0),
            ("mailboxes changed by the second run", second_changed, 0),
            (
                "changes by the second set-up",
                self.second_set_up_changes,
                0,
            ),
        ]
        .into_iter()
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(claim, found, wanted)| format!("{claim}: {found}, and not {wanted}"))
        .chain(self.effective_access.and_then(|tried| {
            let (mailboxes, worked) = (tried.mailboxes, tried.worked);
            (mailboxes == 0 || worked < mailboxes)
                .then(|| format!("a member works in {worked} of {mailboxes} calendars it tried"))
        }))
        .chain((self.mailboxes == 0).then(|| "no mailbox was delegated at all".to_owned()))
        .collect()
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let count = |name: &str| self.outcomes.get(name).copied().unwrap_or(0);
        json!({
            "mailboxes": self.mailboxes,
            "added": count("added"),
            "updated": count("updated"),
            "unchanged": count("unchanged"),
            "left_higher": count("left_higher"),
            "refused": count("refused"),
            "failed": count("failed"),
            "unconfirmed": count("unconfirmed"),
            "parked_then_done": self.parked_then_done,
            "seconds": rounded(self.seconds),
            "mailboxes_per_second": rounded(per(self.mailboxes, self.seconds)),
            "calls_per_mailbox": rounded(self.per_mailbox(self.calls)),
            "round_trips_per_mailbox": rounded(self.per_mailbox(self.round_trips)),
            "proof_rereads": self.proof_rereads,
            "limit_violations": self.limit_violations,
            "foreign_entries_changed": self.foreign_entries_changed,
            "effective_access": self.effective_access.map(|tried| json!({"tried": tried.mailboxes, "worked": tried.worked})),
            "set_up": {
                "accounts_created": self.made.accounts,
                "licences_assigned": self.made.licences,
                "group_created": self.made.groups,
                "members_added": self.made.members,
            },
            "second_set_up_changes": self.second_set_up_changes,
            "second_run_writes": self.second_writes,
            "second_run_seconds": rounded(self.second_seconds),
            "second_run_calls_per_mailbox": rounded(self.per_mailbox(self.second_calls)),
        })
    }

    fn per_mailbox(&self, count: u64) -> f64 {
        per(count, as_f64(self.mailboxes))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |outcomes: &BTreeMap<String, u64>| {
            outcomes
                .iter()
                .map(|(outcome, count)| format!("{outcome} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<36}{value}");
        let Made {
            accounts,
            licences,
            groups,
            members,
        } = self.made;
        line(
            "set up",
            format!(
                "{accounts} accounts, {licences} licences, {groups} groups, {members} members; {} changes when run again",
                self.second_set_up_changes
            ),
        )?;
        line("mailboxes", self.mailboxes.to_string())?;
        line("outcomes", list(&self.outcomes))?;
        line("parked first, then done", self.parked_then_done.to_string())?;
        let rate = per(self.mailboxes, self.seconds);
        line(
            "time",
            format!("{:.1} s, {rate:.0} mailboxes per second", self.seconds),
        )?;
        line(
            "calls to Exchange and directories",
            format!("{:.2} per mailbox", self.per_mailbox(self.calls)),
        )?;
        line(
            "HTTP round trips",
            format!("{:.2} per mailbox", self.per_mailbox(self.round_trips)),
        )?;
        if let Some(rereads) = self.proof_rereads {
            line("reads repeated for the proof", rereads.to_string())?;
        }
        line("limit violations", self.limit_violations.to_string())?;
        line(
            "foreign entries changed",
            self.foreign_entries_changed.to_string(),
        )?;
        let truth = format!(
            "{} of {} have the right",
            self.true_granted, self.true_mailboxes
        );
        line("mailboxes, by the simulator's state", truth)?;
        if let Some(tried) = self.effective_access {
            let (mailboxes, worked) = (tried.mailboxes, tried.worked);
            line(
                "calendars a member works in",
                format!("{worked} of {mailboxes} tried"),
            )?;
        }
        let again = format!(
            "{}; {} writes, {:.1} s",
            list(&self.second_outcomes),
            self.second_writes,
            self.second_seconds
        );
        line("second run", again)
    }
}

fn per(count: u64, of: f64) -> f64 {
    if of > 0.0 { as_f64(count) / of } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a demo are far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_run(outcomes: &[(&str, u64)]) -> Run {
        let outcomes: BTreeMap<String, u64> = outcomes
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        let accepted = outcomes.values().sum();
        Run {
            operation: "op_1".to_owned(),
            accepted,
            outcomes,
            parked_then_done: 1,
            seconds: 2.0,
        }
    }

    fn reports() -> (Value, Value, Value) {
        let first = json!({"calls": {READ: 190, "Add-MailboxFolderPermission": 80, "GET groups/…": 30}, "round_trips": 40,
            "graph_round_trips": 10, "writes": 80, "limit_violations": 0, "foreign_entries_changed": 0});
        let second = json!({"calls": {READ: 99}, "writes": 0, "limit_violations": 0, "foreign_entries_changed": 0});
        (
            first,
            second,
            json!({"mailboxes": 99, "with_at_least_author": 99}),
        )
    }

    fn first_run() -> Run {
        a_run(&[("added", 80), ("unchanged", 19), ("refused", 1)])
    }

    #[test]
    fn a_clean_run_is_a_proof() {
        let (first, second, proof) = reports();
        let again = a_run(&[("unchanged", 99), ("refused", 1)]);
        let figures = Figures::gather((&first_run(), &first), (&again, &second), &[proof]);
        assert_eq!(figures.broken(), Vec::<String>::new());
        let json = figures.to_json();
        for (field, want) in [
            ("calls_per_mailbox", 3.0),
            ("round_trips_per_mailbox", 0.5),
            ("seconds", 2.0),
        ] {
            assert_eq!(json[field].as_f64(), Some(want), "{field}");
        }
        assert_eq!(json["proof_rereads"], 11);
        assert_eq!(json["effective_access"], Value::Null);
        let mut figures = figures;
        for (mailboxes, worked, broken) in [(20, 20, 0), (20, 19, 1), (0, 0, 1)] {
            figures.tried(Tried { mailboxes, worked });
            assert_eq!(figures.broken().len(), broken, "{worked} of {mailboxes}");
        }
    }

    #[test]
    fn each_broken_claim_is_named() {
        let clean = a_run(&[("unchanged", 99), ("refused", 1)]);
        let broken = |run: &Run, again: &Run, change: fn(&mut Value, &mut Value, &mut Value)| {
            let (mut first, mut second, mut proof) = reports();
            change(&mut first, &mut second, &mut proof);
            Figures::gather((run, &first), (again, &second), &[proof]).broken()
        };
        assert_eq!(
            broken(
                &first_run(),
                &clean,
                |first, _, _| first["limit_violations"] = 1.into()
            )
            .len(),
            1
        );
        assert_eq!(
            broken(&first_run(), &clean, |_, second, _| second["writes"] =
                2.into())
            .len(),
            1
        );
        assert_eq!(
            broken(
                &first_run(),
                &clean,
                |_, second, _| second["foreign_entries_changed"] = 2.into()
            )
            .len(),
            1
        );
        assert_eq!(
            broken(
                &first_run(),
                &clean,
                |_, _, proof| proof["with_at_least_author"] = 98.into()
            )
            .len(),
            2
        );
        assert_eq!(
            broken(
                &first_run(),
                &a_run(&[("added", 1), ("unchanged", 98), ("refused", 1)]),
                |_, _, _| ()
            )
            .len(),
            1
        );
        let mut lost = first_run();
        lost.accepted += 1;
        assert_eq!(
            broken(&lost, &clean, |_, _, _| ()).len(),
            2,
            "of the first run, and against the second"
        );
        assert!(!broken(&a_run(&[]), &a_run(&[]), |_, _, _| ()).is_empty());
    }
}
