//! One mailbox and one trustee: what all jobs say of it, held against what really happened there.

use std::collections::{BTreeMap, BTreeSet};

use calgrant_contract::pb::provisioning::v1::{OperationKind, Outcome};

use crate::verdict::{Job, Told};

/// How status calls an entry that isn't there.
pub(crate) const ABSENT: &str = "absent";
/// Clocks and commits are compared no more closely than this, in milliseconds.
const ABOUT: i64 = 2000;

/// One change of an entry, as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// A role, or absent.
    pub(crate) from: String,
    pub(crate) to: String,
    /// By the owner of the mailbox; else by one of our accounts.
    pub(crate) by_user: bool,
}

/// What is true of a trustee's right to a mailbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) now: String,
    /// All that was written, in the order of time.
    pub(crate) steps: Vec<Step>,
    /// There is a mailbox, with a calendar.
    pub(crate) is_there: bool,
    /// Nothing about it is odd: whatever is asked can be done.
    pub(crate) plain: bool,
}

/// A job, its operation, and what it wanted the entry to be.
struct Part<'t> {
    of: &'t Told,
    job: &'t Job,
    wants: Option<String>,
}

/// All jobs of one mailbox and trustee, in the order of acceptance.
#[derive(Default)]
pub(crate) struct Story<'t> {
    parts: Vec<Part<'t>>,
}

/// It says that it changed the entry.
pub(crate) fn wrote(job: &Job) -> bool {
    matches!(
        job.outcome,
        Outcome::Added | Outcome::Updated | Outcome::Removed | Outcome::Restored
    )
}

/// It says that it doesn't know, or it is still at it.
fn doubtful(job: &Job) -> bool {
    let unsure = matches!(
        job.outcome,
        Outcome::Unspecified | Outcome::Unconfirmed | Outcome::Failed
    );
    unsure && !job.before.is_empty()
}

impl Part<'_> {
    fn may_have_written(&self) -> bool {
        wrote(self.job) || doubtful(self.job)
    }

    /// It says that what is there is somebody else's. If its own write was done before without its hearing of it, and then undone by
    /// the owner of the mailbox, it can't know better.
    fn was_overwritten(&self, to: &str, steps: &[Step]) -> bool {
        let overwritten = |two: &[Step]| !two[0].by_user && two[0].to == to && two[1].by_user;
        self.job.outcome == Outcome::LeftChangedSince
            && !self.job.before.is_empty()
            && steps.windows(2).any(overwritten)
    }

    fn wants(&self, entry: &str) -> bool {
        self.wants.as_deref().is_none_or(|wants| wants == entry)
    }

    fn takes_back(&self) -> bool {
        self.of.kind != OperationKind::Delegate
    }

    fn say(&self, why: &str) -> String {
        format!(
            "{} {:?} says {} {} of {:?} over {:?}: {why}",
            self.of.id,
            self.of.kind,
            self.job.outcome.as_str_name(),
            self.job.reason,
            self.wants,
            self.job.before
        )
    }
}

impl<'t> Story<'t> {
    /// The next job.
    pub(crate) fn add(&mut self, of: &'t Told, job: &'t Job, wants: Option<String>) {
        self.parts.push(Part { of, job, wants });
    }

    /// Writes that had to be made.
    pub(crate) fn needed_writes(&self) -> u64 {
        let wrote = self.parts.iter().filter(|part| part.may_have_written());
        u64::try_from(wrote.count()).unwrap_or(0)
    }

    /// In a few words.
    fn told(&self) -> Vec<String> {
        let told = self.parts.iter().map(|part| {
            format!(
                "{}:{:?}:{}:{}:{}",
                part.of.id,
                part.of.kind,
                part.wants.as_deref().unwrap_or("?"),
                part.job
                    .outcome
                    .as_str_name()
                    .trim_start_matches("OUTCOME_"),
                part.job.reason
            )
        });
        told.collect()
    }
}

/// What is wrong with what all jobs of a mailbox and trustee say.
pub(crate) fn wrong(entry: &Entry, story: &Story<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !entry.is_there {
        for part in &story.parts {
            if part.may_have_written() || part.job.outcome == Outcome::Unchanged {
                wrong.push(part.say("there is no such calendar"));
            }
        }
        return wrong;
    }
    let edited = entry.steps.iter().any(|step| step.by_user);
    let surely = entry.plain && !edited && !story.parts.iter().any(|part| doubtful(part.job));
    claims(entry, story, surely, &mut wrong);
    owned(entry, story, surely, &mut wrong);
    let held: BTreeSet<&str> = entry
        .steps
        .iter()
        .flat_map(|step| [step.from.as_str(), step.to.as_str()])
        .chain([entry.now.as_str()])
        .collect();
    for (at, part) in story.parts.iter().enumerate() {
        if let Some(why) = claim(part, &held, surely) {
            wrong.push(part.say(&why));
        }
        if let Some(why) = refusal(entry, story, at, edited) {
            wrong.push(part.say(why));
        }
    }
    if !edited && let Some(why) = last_word(entry, story) {
        wrong.push(why);
    }
    wrong
}

/// Changes that jobs claim must have been made, each for one of them.
fn claims(entry: &Entry, story: &Story<'_>, surely: bool, wrong: &mut Vec<String>) {
    let mut made: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for step in entry.steps.iter().filter(|step| !step.by_user) {
        *made
            .entry((step.from.as_str(), step.to.as_str()))
            .or_default() += 1;
    }
    for part in story.parts.iter().filter(|part| wrote(part.job)) {
        let before = part.job.before.as_str();
        let Some(wants) = part.wants.as_deref() else {
            continue;
        };
        let fits = match part.job.outcome {
            Outcome::Added => before == ABSENT,
            Outcome::Removed => wants == ABSENT,
            Outcome::Restored => wants != ABSENT,
            _ => before != ABSENT,
        };
        if !fits || before.is_empty() {
            wrong.push(part.say("that is no such change"));
        }
        if !surely {
            continue;
        }
        let left = made.entry((before, wants)).or_default();
        *left -= 1;
        if *left < 0 {
            wrong.push(part.say(&format!(
                "that was never done, but {:?}; {:?}",
                entry.steps,
                story.told()
            )));
        }
    }
}

/// Every change that was made must be owned up to by a job.
fn owned(entry: &Entry, story: &Story<'_>, surely: bool, wrong: &mut Vec<String>) {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let changes = entry.steps.iter().filter(|step| step.from != step.to);
    for step in changes.filter(|step| !step.by_user) {
        *made.entry(&step.to).or_default() += 1;
    }
    for (to, times) in made {
        let owns = |part: &&Part<'_>| {
            (part.may_have_written() || part.was_overwritten(to, &entry.steps)) && part.wants(to)
        };
        let owners = story.parts.iter().filter(owns).count();
        if owners == 0 || (surely && owners < times) {
            wrong.push(format!(
                "it was made {to} {times} times, and {owners} own up to it: {:?}; {:?}",
                entry.steps,
                story.told()
            ));
        }
    }
}

/// What is wrong with a claim that nothing was written.
fn claim(part: &Part<'_>, held: &BTreeSet<&str>, surely: bool) -> Option<String> {
    let wants = part.wants.as_deref()?;
    match part.job.outcome {
        Outcome::Unchanged if !held.contains(wants) => {
            Some(format!("it was never that, but {held:?}"))
        }
        Outcome::LeftHigher if held.iter().all(|entry| *entry == ABSENT) => {
            Some("it was never there".to_owned())
        }
        // Nobody else writes here.
        Outcome::LeftChangedSince if surely && part.of.kind == OperationKind::Revoke => {
            Some("nobody has changed it".to_owned())
        }
        _ => None,
    }
}

/// What is wrong with a refusal, a failure, or with something kept for others.
fn refusal(entry: &Entry, story: &Story<'_>, at: usize, edited: bool) -> Option<&'static str> {
    let (part, earlier, later) = (&story.parts[at], &story.parts[..at], &story.parts[at + 1..]);
    let begun_later = || later.iter().any(|part| !part.job.before.is_empty());
    match (part.job.outcome, part.job.reason.as_str()) {
        (Outcome::Refused | Outcome::Failed, "superseded") => {
            (!begun_later()).then_some("nothing later was begun")
        }
        (Outcome::KeptBy, _) => {
            let wants = |other: &Part<'_>| {
                other.of.kind == OperationKind::Delegate && other.of.delegation == part.job.kept_by
            };
            (!story.parts.iter().any(wants)).then_some("nobody wants it")
        }
        (Outcome::Refused, "not_granted_here") if part.takes_back() => {
            let given = |other: &Part<'_>| {
                let of = &part.of.delegation;
                wrote(other.job)
                    && !other.takes_back()
                    && (of.is_empty() || *of == other.of.delegation)
                    && other
                        .job
                        .ended
                        .is_some_and(|ended| ended + ABOUT < part.of.created)
            };
            let taken = earlier.iter().any(Part::takes_back);
            (!taken && earlier.iter().any(given)).then_some("it had been given")
        }
        (Outcome::Refused, _) if entry.plain => Some("nothing is wrong with it"),
        (Outcome::Failed, reason) if entry.plain && !edited && reason != "unavailable" => {
            Some("nothing is wrong with it")
        }
        _ => None,
    }
}

/// What was written last must be by somebody to whom nobody later gave another word.
fn last_word(entry: &Entry, story: &Story<'_>) -> Option<String> {
    let last = entry.steps.iter().rfind(|step| step.from != step.to)?;
    let mut owners = story
        .parts
        .iter()
        .enumerate()
        .filter(|(_, part)| part.may_have_written() && part.wants(&last.to));
    let rightly = owners.any(|(at, part)| {
        story.parts[at + 1..].iter().all(|later| {
            // What is taken back for one delegation says nothing of what another wants.
            let for_another = later.takes_back()
                && !later.of.delegation.is_empty()
                && later.of.delegation != part.of.delegation;
            !wrote(later.job) || later.wants(&last.to) || for_another
        })
    });
    (!rightly).then(|| {
        format!(
            "it is {}, by nobody who had the last word: {:?}; {:?}",
            entry.now,
            entry.steps,
            story.told()
        )
    })
}
