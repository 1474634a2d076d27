//! What an operation still needs and how long that takes: by the limits before it runs, by what it did while it does.

use std::time::Duration;

use calgrant_budget::{
    KeyName, Moment, Terms,
    estimate::{Eta, Node, Work, estimate},
};
use calgrant_domain::{Counts, OperationState, Outcome};
use calgrant_store::OperationView;

use super::plan::CALLS_PER_MAILBOX;

/// Calls for a mailbox whose calendar is known: to read, write and read back.
const CALLS_TO_WRITE: u64 = 3;
/// Calls for a mailbox that is left as it is.
const CALLS_TO_READ: u64 = 1;
/// Mailboxes after which the mean of their calls says something.
const ENOUGH_SEEN: u64 = 20;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Course {
    pub(crate) needed: u64,
    pub(crate) left: u64,
    /// `None` if it can't be said.
    pub(crate) remaining: Option<Duration>,
    pub(crate) bound_by: Option<KeyName>,
}

/// Where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Ground<'a> {
    /// The keys of its sites; none where no account is used.
    pub(crate) trees: Vec<Node>,
    pub(crate) call_takes: Duration,
    /// Jobs outstanding of the other operations it shares with.
    pub(crate) others: &'a [u64],
    pub(crate) terms: Terms,
}

/// What an operation needs. `passed`: how far it had come when, in order.
pub(crate) fn course(
    view: &OperationView,
    ground: &Ground<'_>,
    passed: &[(Moment, Counts)],
    now: Moment,
) -> Course {
    let counts = &view.counts;
    let outstanding = counts.outstanding();
    let seen = touched(counts);
    let per_mailbox = if seen >= ENOUGH_SEEN {
        float(view.calls) / float(seen)
    } else {
        float(CALLS_PER_MAILBOX)
    };
    let own = whole(float(outstanding) * per_mailbox);
    let over = view.state.is_final();
    // Shared evenly, until the smaller ones are done.
    let of_others: u64 = ground
        .others
        .iter()
        .map(|other| whole(float(*other.min(&outstanding)) * per_mailbox))
        .sum();
    let (planned, bound_by) = by_limits(ground, own.saturating_add(of_others));
    let (needed, left) = if view.validate_only {
        let needed = to_carry_out(counts);
        (needed, needed)
    } else {
        (view.calls.saturating_add(own), own)
    };
    if over {
        let done = view.state == OperationState::Done && view.validate_only;
        let (remaining, bound_by) = if done {
            by_limits(ground, needed)
        } else {
            (None, None)
        };
        return Course {
            needed,
            left: if view.validate_only { left } else { 0 },
            remaining,
            bound_by,
        };
    }
    // With nobody who could go on, no pace of the past counts.
    let remaining = planned.and_then(|planned| {
        let mut points = passed.iter().filter(|(_, counts)| touched(counts) > 0);
        let Some((first, _)) = points.next() else {
            return Some(planned);
        };
        let mut eta = Eta::new(*first);
        for (at, counts) in points {
            eta.done(touched(counts), *at);
        }
        eta.left(seen, outstanding, Some(planned), now)
    });
    Course {
        needed,
        left,
        remaining: remaining.filter(|_| outstanding > 0),
        bound_by,
    }
}

/// What the limits alone say: on several sites each does its part.
fn by_limits(ground: &Ground<'_>, calls: u64) -> (Option<Duration>, Option<KeyName>) {
    let sites = u64::try_from(ground.trees.len()).unwrap_or(1).max(1);
    let work = Work {
        calls: calls.div_ceil(sites),
        call_takes: ground.call_takes,
    };
    let found: Option<Vec<_>> = ground
        .trees
        .iter()
        .map(|tree| estimate(tree, &work, &ground.terms))
        .collect();
    let longest = found
        .filter(|all| !all.is_empty())
        .and_then(|all| all.into_iter().max_by_key(|found| found.takes));
    longest.map_or((None, None), |found| (Some(found.takes), found.binds))
}

/// Mailboxes that cost calls: all that ended, but not those that were never tried.
fn touched(counts: &Counts) -> u64 {
    let untried = counts.of(Outcome::Refused) + counts.of(Outcome::Cancelled);
    (counts.ended()).saturating_sub(untried)
}

/// Calls of a real run, by what a run that only validated found. Those it has not come to are as those that it has.
fn to_carry_out(counts: &Counts) -> u64 {
    let written = [
        Outcome::Added,
        Outcome::Updated,
        Outcome::Removed,
        Outcome::Restored,
        Outcome::Repaired,
    ];
    let writes = written
        .iter()
        .map(|outcome| counts.of(*outcome))
        .sum::<u64>();
    let seen = touched(counts);
    let known = writes * CALLS_TO_WRITE + (seen - writes.min(seen)) * CALLS_TO_READ;
    let each = if seen >= ENOUGH_SEEN {
        float(known) / float(seen)
    } else {
        float(CALLS_TO_WRITE)
    };
    known + whole(float(counts.outstanding()) * each)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
