//! Which promises were broken: a pure function of what was asked, of what Calgrant says, and of what is true.

use std::collections::{BTreeMap, BTreeSet};

use calgrant_contract::pb::{
    provisioning::v1::{OperationKind, OperationState, Outcome},
    status::v1::JobState,
};
use calgrant_domain::{EventKind, EventMoment};

use crate::history::{self, Entry, Story};

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
    /// The delegation for which it was kept.
    pub(crate) kept_by: String,
    /// When it ended, in milliseconds since 1970.
    pub(crate) ended: Option<i64>,
}

/// An operation as status tells it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Its time of acceptance leads it.
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) kind: OperationKind,
    /// Empty for one that is about a trustee.
    pub(crate) delegation: String,
    pub(crate) trustee: String,
    /// What it gives, of one that gives.
    pub(crate) role: String,
    /// Whose members it is for, of one that gives and isn't confined.
    pub(crate) group: Option<String>,
    pub(crate) validate_only: bool,
    pub(crate) undoes: String,
    pub(crate) ticket: String,
    /// In milliseconds since 1970.
    pub(crate) created: i64,
    pub(crate) state: OperationState,
    pub(crate) failure: String,
    /// Its counts: accepted, outstanding, and how many ended how.
    pub(crate) accepted: u64,
    pub(crate) outstanding: u64,
    pub(crate) outcomes: BTreeMap<i32, u64>,
    pub(crate) jobs: Vec<Job>,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) number: usize,
    /// Every id that was answered to its `request_id`.
    pub(crate) ids: Vec<String>,
    /// Somebody asked to cancel it.
    pub(crate) cancelled: bool,
    /// So many mailboxes were named.
    pub(crate) named: usize,
}

/// An event that was told.
#[derive(Debug, Clone)]
pub(crate) struct Happening {
    pub(crate) moment: EventMoment,
    /// What its operations carry.
    pub(crate) ticket: String,
    /// Whose mailbox.
    pub(crate) subject: String,
    /// The delegations it is for, whatever else.
    pub(crate) delegations: Vec<String>,
}

/// What was asked of Calgrant.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) claims: Vec<Claim>,
    pub(crate) happenings: Vec<Happening>,
}

/// By tenant, mailbox and trustee.
pub(crate) type Truth = BTreeMap<(String, String, String), Entry>;
/// Keys of mailboxes, by tenant and group.
pub(crate) type Members = BTreeMap<(String, String), BTreeSet<String>>;

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
pub(crate) fn judge(wanted: &Wanted, told: &[Told], members: &Members, truth: &Truth) -> Verdict {
    let mut verdict = Verdict::default();
    let by_id: BTreeMap<&str, &Told> = told.iter().map(|one| (one.id.as_str(), one)).collect();
    let mut cancelled: BTreeSet<&str> = BTreeSet::new();
    for claim in &wanted.claims {
        is_there(claim, &by_id, &mut verdict);
        if claim.cancelled {
            cancelled.extend(claim.ids.iter().map(String::as_str));
        }
    }
    cancelled.extend(acted_on(&wanted.happenings, told, &mut verdict));
    for one in told {
        is_complete(one, &by_id, members, &mut verdict);
        counts_agree(one, &mut verdict);
        is_over(one, &mut verdict);
        ended_well(one, cancelled.contains(one.id.as_str()), &mut verdict);
    }
    let mut stories: BTreeMap<(String, String, String), Story<'_>> = BTreeMap::new();
    for one in by_id.values().filter(|one| !one.validate_only) {
        for job in &one.jobs {
            let key = (one.tenant.clone(), job.mailbox.clone(), one.trustee.clone());
            let wants = wants(one, &job.mailbox, &by_id);
            stories.entry(key).or_default().add(one, job, wants);
        }
    }
    for (key, story) in &stories {
        let Some(entry) = truth.get(key) else {
            continue;
        };
        verdict.needed_writes += story.needed_writes();
        let (_, mailbox, trustee) = key;
        let wrong = history::wrong(entry, story).into_iter();
        verdict
            .wrong
            .extend(wrong.map(|wrong| format!("{mailbox} {trustee}: {wrong}")));
    }
    verdict
}

/// What an operation wants a mailbox's entry to be; `None` if that isn't known.
fn wants(one: &Told, mailbox: &str, by_id: &BTreeMap<&str, &Told>) -> Option<String> {
    match one.kind {
        OperationKind::Delegate => Some(one.role.clone()),
        OperationKind::Revoke => Some(history::ABSENT.to_owned()),
        _ => {
            let undone = by_id.get(one.undoes.as_str())?;
            let job = undone.jobs.iter().find(|job| job.mailbox == mailbox)?;
            (!job.before.is_empty()).then(|| job.before.clone())
        }
    }
}

fn is_there(claim: &Claim, by_id: &BTreeMap<&str, &Told>, verdict: &mut Verdict) {
    let name = format!("request {}", claim.number);
    let ids: BTreeSet<_> = claim.ids.iter().collect();
    if ids.len() > 1 {
        let told = format!("{name} is several operations: {ids:?}");
        verdict.lost.push(told);
    }
    for id in ids {
        match by_id.get(id.as_str()) {
            None => verdict
                .lost
                .push(format!("{name} was accepted and is gone")),
            Some(one) if one.jobs.len() < claim.named && is_listed(one) && !claim.cancelled => {
                verdict.lost.push(format!(
                    "{name} named {} mailboxes and has {} jobs",
                    claim.named,
                    one.jobs.len()
                ));
            }
            Some(_) => {}
        }
    }
}

fn is_listed(one: &Told) -> bool {
    matches!(
        one.state,
        OperationState::Running | OperationState::Done | OperationState::Held
    )
}

/// Events that nobody acted on, or that became several operations. Answers with the operations that later events overruled.
fn acted_on<'t>(happenings: &[Happening], told: &'t [Told], verdict: &mut Verdict) -> Vec<&'t str> {
    let mut latest: BTreeMap<&str, &EventMoment> = BTreeMap::new();
    for happening in happenings {
        let last = latest
            .entry(&happening.subject)
            .or_insert(&happening.moment);
        *last = (*last).max(&happening.moment);
    }
    let mut overruled = Vec::new();
    for happening in happenings {
        let of = told.iter().filter(|one| one.ticket == happening.ticket);
        let mut delegations: BTreeMap<&str, u64> = BTreeMap::new();
        let kind = match happening.moment.kind {
            EventKind::Left => OperationKind::Revoke,
            EventKind::Joined | EventKind::Moved => OperationKind::Delegate,
        };
        for one in of {
            *delegations.entry(&one.delegation).or_default() += 1;
            if one.kind != kind {
                let told = format!("{} became {:?}", happening.ticket, one.kind);
                verdict.wrong.push(told);
            }
            if latest[happening.subject.as_str()] != &happening.moment {
                overruled.push(one.id.as_str());
            }
        }
        for (delegation, times) in &delegations {
            if *times > 1 {
                verdict.lost.push(format!(
                    "{} is {times} operations for {delegation}",
                    happening.ticket
                ));
            }
        }
        let is_latest = latest[happening.subject.as_str()] == &happening.moment;
        let missing = happening
            .delegations
            .iter()
            .filter(|of| is_latest && !delegations.contains_key(of.as_str()));
        for delegation in missing {
            verdict.lost.push(format!(
                "{}, {} {}, was not acted on for {delegation}",
                happening.ticket, happening.subject, happening.moment.kind
            ));
        }
    }
    overruled
}

/// Whether it has a job for everybody.
fn is_complete(
    one: &Told,
    by_id: &BTreeMap<&str, &Told>,
    members: &Members,
    verdict: &mut Verdict,
) {
    let has: BTreeSet<_> = one.jobs.iter().map(|job| job.mailbox.as_str()).collect();
    if has.len() != one.jobs.len() {
        let told = format!("{} has a mailbox more than once", one.id);
        verdict.wrong.push(told);
    }
    if !is_listed(one) {
        return;
    }
    let mut missing: Vec<&str> = Vec::new();
    if let Some(group) = &one.group {
        let all = members.get(&(one.tenant.clone(), group.clone()));
        let all = all.into_iter().flatten().map(String::as_str);
        missing.extend(all.filter(|member| !has.contains(member)));
    }
    if let Some(undone) = by_id.get(one.undoes.as_str()) {
        let changed = undone.jobs.iter().filter(|job| history::wrote(job));
        let changed = changed.map(|job| job.mailbox.as_str());
        missing.extend(changed.filter(|mailbox| !has.contains(mailbox)));
    }
    for mailbox in missing {
        let told = format!("{} has no job for {mailbox}", one.id);
        verdict.lost.push(told);
    }
}

fn counts_agree(one: &Told, verdict: &mut Verdict) {
    let mut outcomes: BTreeMap<i32, u64> = BTreeMap::new();
    for job in one.jobs.iter().filter(|job| job.state == JobState::Ended) {
        *outcomes.entry(job.outcome.into()).or_default() += 1;
    }
    let jobs = u64::try_from(one.jobs.len()).unwrap_or(0);
    let ended: u64 = outcomes.values().sum();
    if one.accepted != jobs || one.outstanding != jobs - ended || one.outcomes != outcomes {
        verdict.disagree.push(format!(
            "{} counts {} accepted, {} outstanding, {:?}; its mailboxes are {jobs}, of which ended {outcomes:?}",
            one.id, one.accepted, one.outstanding, one.outcomes
        ));
    }
}

fn is_over(one: &Told, verdict: &mut Verdict) {
    if matches!(
        one.state,
        OperationState::Accepted | OperationState::Listing | OperationState::Held
    ) {
        verdict
            .stuck
            .push(format!("{} is {}", one.id, one.state.as_str_name()));
    }
    for job in &one.jobs {
        if job.state != JobState::Ended && job.waiting != "parked" {
            verdict.stuck.push(format!(
                "{} of {}: {} is {} {}",
                one.id,
                one.tenant,
                job.mailbox,
                job.state.as_str_name(),
                job.waiting
            ));
        }
    }
}

fn ended_well(one: &Told, cancelled: bool, verdict: &mut Verdict) {
    if one.state == OperationState::Failed {
        verdict
            .wrong
            .push(format!("{} failed: {}", one.id, one.failure));
    }
    let ended_by_cancelling = one.state == OperationState::Cancelled
        || one.jobs.iter().any(|job| job.outcome == Outcome::Cancelled);
    if ended_by_cancelling && !cancelled {
        let told = format!("{} {} was cancelled by nobody", one.id, one.ticket);
        verdict.wrong.push(told);
    }
    for job in &one.jobs {
        if job.outcome == Outcome::Cancelled && !job.before.is_empty() {
            verdict.wrong.push(format!(
                "{}: {} was cancelled after it had begun",
                one.id, job.mailbox
            ));
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
