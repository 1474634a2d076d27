//! Which promises were broken: a pure function of what Calgrant says and of what is true.

use std::collections::{BTreeMap, BTreeSet};

use calgrant_contract::pb::{
    provisioning::v1::{OperationState, Outcome},
    status::v1::JobState,
};

/// A job as status tells it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The mailbox's key.
    pub(crate) mailbox: String,
    pub(crate) state: JobState,
    pub(crate) waiting: String,
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
    /// What the trustee had before our first write: a role, `absent`, or empty if nothing was begun.
    pub(crate) before: String,
}

/// A run as status tells it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) number: usize,
    pub(crate) tenant: &'static str,
    pub(crate) group: &'static str,
    pub(crate) trustee: &'static str,
    pub(crate) role: &'static str,
    pub(crate) validate_only: bool,
    /// Every id that was answered to its `request_id`.
    pub(crate) ids: Vec<String>,
    /// Somebody asked to cancel it.
    pub(crate) cancelled: bool,
    /// Its place in the order of acceptance; `None` if status doesn't know it any more.
    pub(crate) order: Option<String>,
    pub(crate) state: OperationState,
    pub(crate) failure: String,
    /// Its counts: accepted, outstanding, and how many ended how.
    pub(crate) accepted: u64,
    pub(crate) outstanding: u64,
    pub(crate) outcomes: BTreeMap<i32, u64>,
    pub(crate) jobs: Vec<Job>,
}

/// What is true of a trustee's right to a mailbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) before: Option<String>,
    pub(crate) now: Option<String>,
    /// Its owner changed the list meanwhile.
    pub(crate) edited: bool,
    /// There is a mailbox, with a calendar.
    pub(crate) is_there: bool,
    /// Nothing about it is odd: whatever is asked can be done.
    pub(crate) plain: bool,
}

/// By tenant, mailbox and trustee.
pub(crate) type Truth = BTreeMap<(&'static str, String, &'static str), Entry>;
/// Keys of mailboxes, by tenant and group.
pub(crate) type Members = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

/// Broken promises, each told.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) stuck: Vec<String>,
    pub(crate) wrong: Vec<String>,
    pub(crate) disagree: Vec<String>,
    /// Writes that had to be made.
    pub(crate) needed_writes: u64,
}

/// Judges a run.
pub(crate) fn judge(told: &[Told], members: &Members, truth: &Truth) -> Verdict {
    let mut verdict = Verdict::default();
    for run in told {
        is_there(run, members, &mut verdict);
        counts_agree(run, &mut verdict);
        is_over(run, &mut verdict);
        ended_well(run, &mut verdict);
    }
    let mut by_key: BTreeMap<_, Vec<(&Told, &Job)>> = BTreeMap::new();
    let mut in_order: Vec<_> = told.iter().filter(|run| !run.validate_only).collect();
    in_order.sort_by(|one, other| one.order.cmp(&other.order));
    for run in in_order {
        for job in &run.jobs {
            let key = (run.tenant, job.mailbox.clone(), run.trustee);
            by_key.entry(key).or_default().push((run, job));
        }
    }
    for (key, jobs) in &by_key {
        if let Some(entry) = truth.get(key) {
            let begun = jobs.iter().filter(|(_, job)| may_have_written(job));
            verdict.needed_writes += u64::try_from(begun.count()).unwrap_or(0);
            for wrong in history(entry, jobs) {
                verdict.wrong.push(format!("{} {}: {wrong}", key.1, key.2));
            }
        }
    }
    verdict
}

fn is_there(run: &Told, members: &Members, verdict: &mut Verdict) {
    let name = format!("run {}", run.number);
    let mut ids = run.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > 1 {
        verdict
            .lost
            .push(format!("{name} is several operations: {ids:?}"));
    }
    if run.order.is_none() {
        verdict
            .lost
            .push(format!("{name} was accepted and is gone"));
        return;
    }
    if !matches!(
        run.state,
        OperationState::Running | OperationState::Done | OperationState::Cancelling
    ) || run.cancelled
    {
        return;
    }
    let has: BTreeSet<_> = run.jobs.iter().map(|job| job.mailbox.as_str()).collect();
    for member in members.get(&(run.tenant, run.group)).into_iter().flatten() {
        if !has.contains(member.as_str()) {
            verdict.lost.push(format!("{name} has no job for {member}"));
        }
    }
    if has.len() != run.jobs.len() {
        verdict
            .wrong
            .push(format!("{name} has a mailbox more than once"));
    }
}

fn counts_agree(run: &Told, verdict: &mut Verdict) {
    if run.order.is_none() {
        return;
    }
    let mut outcomes: BTreeMap<i32, u64> = BTreeMap::new();
    for job in run.jobs.iter().filter(|job| job.state == JobState::Ended) {
        *outcomes.entry(job.outcome.into()).or_default() += 1;
    }
    let jobs = u64::try_from(run.jobs.len()).unwrap_or(0);
    let ended: u64 = outcomes.values().sum();
    if run.accepted != jobs || run.outstanding != jobs - ended || run.outcomes != outcomes {
        verdict.disagree.push(format!(
            "run {} counts {} accepted, {} outstanding, {:?}; its mailboxes are {jobs}, of which ended {outcomes:?}",
            run.number, run.accepted, run.outstanding, run.outcomes
        ));
    }
}

fn is_over(run: &Told, verdict: &mut Verdict) {
    if matches!(
        run.state,
        OperationState::Accepted | OperationState::Listing
    ) {
        verdict
            .stuck
            .push(format!("run {} is {}", run.number, run.state.as_str_name()));
    }
    for job in &run.jobs {
        if job.state != JobState::Ended && job.waiting != "parked" {
            verdict.stuck.push(format!(
                "run {} of {}: {} is {} {}",
                run.number,
                run.tenant,
                job.mailbox,
                job.state.as_str_name(),
                job.waiting
            ));
        }
    }
}

fn ended_well(run: &Told, verdict: &mut Verdict) {
    if run.state == OperationState::Failed {
        verdict
            .wrong
            .push(format!("run {} failed: {}", run.number, run.failure));
    }
    let ended_by_cancelling = run.state == OperationState::Cancelled
        || run.jobs.iter().any(|job| job.outcome == Outcome::Cancelled);
    if ended_by_cancelling && !run.cancelled {
        verdict
            .wrong
            .push(format!("run {} was cancelled by nobody", run.number));
    }
}

fn wrote(job: &Job) -> bool {
    matches!(job.outcome, Outcome::Added | Outcome::Updated)
}

/// It says that it doesn't know, or it is still at it.
fn doubtful(job: &Job) -> bool {
    !wrote(job) && !job.before.is_empty()
}

fn may_have_written(job: &Job) -> bool {
    wrote(job) || doubtful(job)
}

/// What is wrong with what all jobs of one mailbox and trustee say, in the order of their acceptance.
fn history(entry: &Entry, jobs: &[(&Told, &Job)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut tell = |run: &Told, job: &Job, why: String| {
        wrong.push(format!(
            "run {} says {} {} of {} over {:?}: {why}",
            run.number,
            job.outcome.as_str_name(),
            job.reason,
            run.role,
            job.before
        ));
    };
    if !entry.is_there {
        for (run, job) in jobs {
            if may_have_written(job) || job.outcome == Outcome::Unchanged {
                tell(run, job, "there is no such calendar".to_owned());
            }
        }
        return wrong;
    }
    let surely = entry.plain && !entry.edited && !jobs.iter().any(|(_, job)| doubtful(job));
    let absent = "absent".to_owned();
    let mut stands = entry.before.clone().unwrap_or(absent.clone());
    let mut held: BTreeSet<String> = [stands.clone()].into();
    let mut last = vec![stands.clone()];
    for (run, job) in jobs.iter().filter(|(_, job)| may_have_written(job)) {
        if wrote(job) {
            if surely && job.before != stands {
                tell(run, job, format!("it was {stands}"));
            }
            if (job.outcome == Outcome::Added) != (job.before == absent) {
                tell(run, job, "that is no such change".to_owned());
            }
            stands = run.role.to_owned();
            last = vec![stands.clone()];
        } else {
            last.push(run.role.to_owned());
        }
        held.insert(run.role.to_owned());
    }
    if entry.edited {
        held.extend([absent.clone(), "Reviewer".to_owned()]);
        last.extend([absent.clone(), "Reviewer".to_owned()]);
    }
    for (at, (run, job)) in jobs.iter().enumerate() {
        match job.outcome {
            Outcome::Unchanged if !held.contains(run.role) => {
                tell(run, job, format!("it was never that, but {held:?}"));
            }
            Outcome::LeftHigher if held == [absent.clone()].into() => {
                tell(run, job, "it was never there".to_owned());
            }
            Outcome::Refused | Outcome::Failed if job.reason == "superseded" => {
                let later = &jobs[at + 1..];
                if !later.iter().any(|(_, job)| may_have_written(job)) {
                    tell(run, job, "nothing later was begun".to_owned());
                }
            }
            Outcome::Refused if entry.plain => {
                tell(run, job, "nothing is wrong with it".to_owned())
            }
            Outcome::Failed if entry.plain && !entry.edited && job.reason != "unavailable" => {
                tell(run, job, "nothing is wrong with it".to_owned());
            }
            _ => {}
        }
    }
    let now = entry.now.clone().unwrap_or(absent);
    if !last.contains(&now) {
        let story: Vec<_> = jobs
            .iter()
            .map(|(run, job)| {
                format!(
                    "{}:{}:{}",
                    run.number,
                    run.role,
                    job.outcome.as_str_name().trim_start_matches("OUTCOME_")
                )
            })
            .collect();
        wrong.push(format!(
            "it is {now} and should be {last:?}, after {story:?}"
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: usize, role: &'static str, outcome: Outcome, before: &str) -> Told {
        let job = Job {
            mailbox: "m".to_owned(),
            state: JobState::Ended,
            waiting: String::new(),
            outcome,
            reason: String::new(),
            before: before.to_owned(),
        };
        Told {
            number,
            tenant: "t",
            group: "g",
            trustee: "tr",
            role,
            validate_only: false,
            ids: vec![format!("op_{number}")],
            cancelled: false,
            order: Some(format!("{number}")),
            state: OperationState::Done,
            failure: String::new(),
            accepted: 1,
            outstanding: 0,
            outcomes: [(outcome.into(), 1)].into(),
            jobs: vec![job],
        }
    }

    fn judged(before: Option<&str>, now: Option<&str>, told: &[Told]) -> Verdict {
        let entry = Entry {
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
            edited: false,
            is_there: true,
            plain: true,
        };
        let members = [(("t", "g"), ["m".to_owned()].into())].into();
        judge(
            told,
            &members,
            &[(("t", "m".to_owned(), "tr"), entry)].into(),
        )
    }

    fn broken(verdict: &Verdict) -> [usize; 4] {
        let Verdict {
            lost,
            stuck,
            wrong,
            disagree,
            ..
        } = verdict;
        [lost.len(), stuck.len(), wrong.len(), disagree.len()]
    }

    #[test]
    fn a_true_history_breaks_nothing() {
        let told = [
            run(1, "Author", Outcome::Added, "absent"),
            run(2, "Author", Outcome::Unchanged, ""),
            run(3, "Reviewer", Outcome::Updated, "Author"),
        ];
        let verdict = judged(None, Some("Reviewer"), &told);
        assert_eq!(broken(&verdict), [0; 4], "{verdict:?}");
        assert_eq!(verdict.needed_writes, 2);
    }

    #[test]
    fn lies_are_seen() {
        for (what, before, now, told) in [
            (
                "it said added, and nothing is there",
                None,
                None,
                vec![run(1, "Author", Outcome::Added, "absent")],
            ),
            (
                "it said added over something",
                Some("Reviewer"),
                Some("Author"),
                vec![run(1, "Author", Outcome::Added, "absent")],
            ),
            (
                "it said unchanged of what never was",
                None,
                None,
                vec![run(1, "Author", Outcome::Unchanged, "")],
            ),
            (
                "a write that nobody owns up to",
                None,
                Some("Author"),
                vec![run(1, "Author", Outcome::Cancelled, "")],
            ),
            (
                "the earlier one wrote last",
                None,
                Some("Author"),
                vec![
                    run(1, "Author", Outcome::Added, "absent"),
                    run(2, "Reviewer", Outcome::Updated, "Author"),
                ],
            ),
            (
                "a refusal without a reason",
                None,
                None,
                vec![run(1, "Author", Outcome::Refused, "")],
            ),
        ] {
            let mut told = told;
            told[0].cancelled = true;
            let verdict = judged(before, now, &told);
            assert!(!verdict.wrong.is_empty(), "{what}: {verdict:?}");
        }
    }

    #[test]
    fn the_lost_the_stuck_and_the_miscounted_are_seen() {
        let good = || run(1, "Author", Outcome::Added, "absent");
        let spoilt = |spoil: fn(&mut Told)| {
            let mut run = good();
            spoil(&mut run);
            broken(&judged(None, Some("Author"), &[run]))
        };
        assert_eq!(spoilt(|_| {}), [0; 4]);
        assert_eq!(spoilt(|run| run.ids.push("op_other".to_owned()))[0], 1);
        assert_eq!(spoilt(|run| run.order = None)[0], 1);
        assert_eq!(spoilt(|run| run.accepted = 2)[3], 1);
        assert_eq!(spoilt(|run| run.jobs.clear())[0], 1);
        assert_eq!(spoilt(|run| run.jobs[0].state = JobState::Published)[1], 1);
        assert_eq!(spoilt(|run| run.state = OperationState::Listing)[1], 1);
    }
}
