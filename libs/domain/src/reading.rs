//! From what a worker read to how the job ends. Workers report readings; outcomes are derived here,
//! from the first before-image, so that a repeat after a crash still says `added`.

use std::time::Duration;

use crate::{
    Aim, Decision, Detail, Observed, Outcome, Phase, Reason, Write,
    aim::{Back, drift, put_back},
    decide, delays,
    outcome::words,
};

words!(
    /// Why a job waits.
    Waiting {
        /// No worker took it in time: it goes back without having been tried.
        Returned = "returned",
        /// Tried, and the server wasn't available; an attempt is used up.
        Retry = "retry",
        /// The mailbox isn't ready: just licensed, or being moved.
        Parked = "parked",
        /// The write doesn't show in reads yet.
        Proof = "proof",
        /// The account, or the server, said to slow down, or another write to the mailbox is unsettled.
        Throttled = "throttled",
        /// Its message is with the dead letters: a person has it replayed or discarded.
        SetAside = "set_aside",
    }
);

/// What a worker says about one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The entry was read; nothing was written since, by this worker, in this attempt.
    Seen(Observed),
    /// The entry was written, and then read.
    Wrote(Observed),
    /// Nothing came of it; another attempt may.
    Retry,
    /// The mailbox isn't ready.
    NotReady,
    /// Nothing was tried; it may be handed out again after this time.
    Later(Duration),
    /// Trying again can't help.
    GaveUp(Reason),
}

/// What status knows of the job when a reading arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What it is to bring about.
    pub aim: Aim,
    /// Nothing is written in this operation.
    pub validate_only: bool,
    /// The first before-image, if a write has begun.
    pub before: Option<Observed>,
    /// Attempts used up.
    pub attempts: u32,
    /// Waits for the mailbox so far.
    pub parks: u32,
    /// Re-reads for proof so far.
    pub proofs: u32,
    /// Time since the job was accepted.
    pub age: Duration,
    /// First wait for a mailbox that isn't ready.
    pub park_first: Duration,
    /// Longest wait for it.
    pub park_limit: Duration,
    /// What was to be done.
    pub phase: Phase,
}

/// Which handing out of a job a result answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// The present one, for the first time.
    Present,
    /// An earlier one, or one that was answered already: the job has gone on without it.
    Earlier,
}

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why, unless it simply worked.
    pub reason: Option<Reason>,
}

/// What becomes of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is over.
    End(Ended),
    /// It is handed out again. [`Phase::Grant`] begins with a read, so nothing that was begun ends without one.
    Again {
        /// Not before so long from now.
        after: Duration,
        /// Why it waits.
        why: Waiting,
        /// What is next.
        phase: Phase,
    },
}

fn end(outcome: Outcome, reason: impl Into<Option<Reason>>) -> Next {
    Next::End(Ended {
        outcome,
        reason: reason.into(),
    })
}

/// Decides what a result changes: `None` if nothing. A `reading` of `None` says that no worker took the job in time.
///
/// What is late must not disturb the handing out that is under way; it counts only if it ends the job by itself: it saw
/// the right in place, or it gave up before any write had begun. Anything else the present one will find out better.
pub fn heed(known: &Known, answers: Answers, reading: Option<&Reading>, roll: f64) -> Option<Next> {
    let Some(reading) = reading else {
        return (answers == Answers::Present).then_some(Next::Again {
            after: Duration::ZERO,
            why: Waiting::Returned,
            phase: known.phase,
        });
    };
    let next = settle(known, reading, roll);
    let by_itself = match (&next, reading) {
        (Next::End(end), Reading::Seen(_) | Reading::Wrote(_)) => matches!(
            end.outcome,
            Outcome::Added
                | Outcome::Updated
                | Outcome::Unchanged
                | Outcome::LeftHigher
                | Outcome::Removed
                | Outcome::Restored
                | Outcome::Repaired
                | Outcome::Verified
        ),
        (Next::End(_), Reading::GaveUp(_)) => known.before.is_none(),
        _ => false,
    };
    (answers == Answers::Present || by_itself).then_some(next)
}

/// Decides what becomes of a job. `roll` in `[0, 1)` spreads retries.
pub fn settle(known: &Known, reading: &Reading, roll: f64) -> Next {
    match reading {
        Reading::Seen(seen) | Reading::Wrote(seen) => match known.before {
            // A write has begun: whatever is read now is judged against the first before-image.
            Some(before) => {
                let wrote = matches!(reading, Reading::Wrote(_));
                proven(known, before, *seen, wrote)
            }
            None if known.validate_only => end_of(would_be(&known.aim, *seen)),
            // Not begun, and yet not as wanted: the write was refused or lost before it began.
            None if known.aim.always_begins() || known.aim.write(*seen).is_some() => {
                retry(known, roll)
            }
            None => end_of(would_be(&known.aim, *seen)),
        },
        Reading::Retry => retry(known, roll),
        // Where something was given there was a mailbox: it isn't new, it is gone.
        Reading::NotReady if known.aim.always_begins() && known.parks >= MISSED => {
            end(Outcome::Refused, Reason::NotFound)
        }
        Reading::NotReady if known.age >= known.park_limit => {
            end(Outcome::Failed, Reason::NotProvisioned)
        }
        Reading::NotReady => Next::Again {
            after: delays::park(known.park_first, known.parks)
                .min(known.park_limit.saturating_sub(known.age)),
            why: Waiting::Parked,
            phase: Phase::Grant,
        },
        Reading::Later(after) => Next::Again {
            after: *after,
            why: Waiting::Throttled,
            phase: Phase::Grant,
        },
        Reading::GaveUp(reason) => end(refusal(*reason), *reason),
    }
}

/// Looks at a mailbox that is missing before one from which something is taken away is given up.
const MISSED: u32 = 3;

fn end_of((outcome, reason): (Outcome, Option<Reason>)) -> Next {
    end(outcome, reason)
}

/// How it ends where `before` is read, once what it takes is written.
fn would_be(aim: &Aim, before: Observed) -> (Outcome, Option<Reason>) {
    match *aim {
        Aim::Grant { role, lower_higher } => {
            let outcome = match decide(before, role, lower_higher) {
                Decision::Unchanged => Outcome::Unchanged,
                Decision::LeaveHigher => Outcome::LeftHigher,
                Decision::Add => Outcome::Added,
                Decision::Update { .. } => Outcome::Updated,
            };
            (outcome, None)
        }
        Aim::PutBack { left, to } => match put_back(before, left, to) {
            Back::Done => (Outcome::Unchanged, None),
            Back::Changed => (Outcome::LeftChangedSince, drift(left, before)),
            Back::Write(Write::Remove) => (Outcome::Removed, None),
            Back::Write(Write::Add(_) | Write::Set(_)) => (Outcome::Restored, None),
        },
        Aim::Verify { expected, .. } => {
            let differs = drift(Observed::Present(expected), before);
            let outcome = match differs {
                None => Outcome::Verified,
                Some(_) if aim.write(before).is_some() => Outcome::Repaired,
                Some(_) => Outcome::Drifted,
            };
            (outcome, differs)
        }
    }
}

fn proven(known: &Known, before: Observed, seen: Observed, wrote: bool) -> Next {
    let (outcome, reason) = would_be(&known.aim, before);
    if seen.same_as(known.aim.wanted()) {
        let outcome = match (outcome, known.aim.wanted()) {
            // It was there again when it was written.
            (Outcome::Unchanged | Outcome::LeftChangedSince, Observed::Absent) if wrote => {
                Outcome::Removed
            }
            (Outcome::Unchanged | Outcome::LeftChangedSince, Observed::Present(_)) if wrote => {
                Outcome::Restored
            }
            (Outcome::LeftChangedSince, _) => Outcome::Unchanged,
            (outcome, _) => outcome,
        };
        let reason = reason.filter(|_| outcome == Outcome::Repaired);
        return end(outcome, reason);
    }
    if let Aim::PutBack { left, .. } = known.aim
        && !wrote
        && known.phase == Phase::Grant
        && known.aim.write(seen).is_none()
    {
        // Begun, and then found changed: this try has written nothing. Whatever one before it did, what is there now is somebody else's.
        return end(Outcome::LeftChangedSince, drift(left, seen));
    }
    match delays::PROOF.get(known.proofs as usize) {
        // The read lags behind the write, whatever it shows: the list before it, or before an edit of somebody else's.
        Some(after) => Next::Again {
            after: *after,
            why: Waiting::Proof,
            phase: Phase::Prove,
        },
        None if before == seen => end(Outcome::Unconfirmed, Reason::ReadsLag),
        None => end(Outcome::Failed, Reason::ChangedByOthers),
    }
}

fn retry(known: &Known, roll: f64) -> Next {
    if known.attempts + 1 >= delays::ATTEMPTS {
        return match known.before {
            Some(_) => end(Outcome::Unconfirmed, Reason::Unavailable),
            None => end(Outcome::Failed, Reason::Unavailable),
        };
    }
    Next::Again {
        after: delays::RETRY.delay(known.attempts, roll, None),
        why: Waiting::Retry,
        phase: Phase::Grant,
    }
}

/// Whether a reason is a refusal, known before anything was tried, or a failure.
fn refusal(reason: Reason) -> Outcome {
    match reason {
        Reason::NotFound
        | Reason::NotAMailbox
        | Reason::TypeNotSelected
        | Reason::OtherSite
        | Reason::AccountDisabled
        | Reason::Unlicensed
        | Reason::NoCalendar
        | Reason::Superseded
        | Reason::FolderRefused
        | Reason::DelegateEntry
        | Reason::NotGrantedHere
        | Reason::MailboxReplaced
        | Reason::ListNotRebuildable => Outcome::Refused,
        Reason::Kept => Outcome::KeptBy,
        Reason::ChangedByLater => Outcome::LeftChangedSince,
        _ => Outcome::Failed,
    }
}

/// How a recipient ends that a listing found unsuitable.
pub fn unsuitable(reason: Reason) -> Ended {
    Ended {
        outcome: refusal(reason),
        reason: Some(reason),
    }
}

/// A reading together with what the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was read.
    pub reading: Reading,
    /// The server's own words; empty where all went well.
    pub detail: Detail,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::AccessRole;

    fn known() -> Known {
        Known {
            aim: Aim::Grant {
                role: AccessRole::AUTHOR,
                lower_higher: false,
            },
            validate_only: false,
            before: None,
            attempts: 0,
            parks: 0,
            proofs: 0,
            age: Duration::ZERO,
            park_first: Duration::from_secs(300),
            park_limit: Duration::from_secs(86_400),
            phase: Phase::Grant,
        }
    }

    fn present(raw: &str) -> Observed {
        Observed::Present(raw.parse().unwrap())
    }

    #[test]
    fn a_repeat_after_a_crash_still_says_added() {
        // The first worker began, wrote and died; the second reads what the first wrote.
        let after_crash = Known {
            before: Some(Observed::Absent),
            ..known()
        };
        assert_eq!(
            settle(&after_crash, &Reading::Seen(present("Author")), 0.0),
            end(Outcome::Added, None)
        );
        let updated = Known {
            before: Some(present("Reviewer")),
            ..known()
        };
        assert_eq!(
            settle(&updated, &Reading::Wrote(present("Author")), 0.0),
            end(Outcome::Updated, None)
        );
    }

    #[test]
    fn a_stale_read_is_read_again_and_told_from_a_foreign_change() {
        let written = Known {
            before: Some(Observed::Absent),
            ..known()
        };
        let waits: Vec<_> = (0..4)
            .map(|proofs| {
                settle(
                    &Known { proofs, ..written },
                    &Reading::Wrote(Observed::Absent),
                    0.0,
                )
            })
            .collect();
        for (wait, secs) in waits.iter().zip([2, 10, 60]) {
            assert_eq!(
                *wait,
                Next::Again {
                    after: Duration::from_secs(secs),
                    why: Waiting::Proof,
                    phase: Phase::Prove
                }
            );
        }
        assert_eq!(waits[3], end(Outcome::Unconfirmed, Reason::ReadsLag));
        // So does one that shows what somebody else wrote in between; it may be what ours replaced.
        let foreign = |proofs| {
            settle(
                &Known { proofs, ..written },
                &Reading::Wrote(present("Owner")),
                0.0,
            )
        };
        assert_eq!(foreign(0), waits[0]);
        assert_eq!(foreign(3), end(Outcome::Failed, Reason::ChangedByOthers));
    }

    #[test]
    fn nothing_that_was_begun_ends_as_failed_without_a_read() {
        let begun = Known {
            before: Some(Observed::Absent),
            ..known()
        };
        assert!(matches!(
            settle(&begun, &Reading::Retry, 0.0),
            Next::Again {
                phase: Phase::Grant,
                why: Waiting::Retry,
                ..
            }
        ));
        let worn_out = Known {
            attempts: delays::ATTEMPTS - 1,
            ..begun
        };
        assert_eq!(
            settle(&worn_out, &Reading::Retry, 0.0),
            end(Outcome::Unconfirmed, Reason::Unavailable)
        );
    }

    #[test]
    fn waiting_for_a_mailbox_ends_at_the_limit() {
        let limit = known().park_limit;
        assert!(matches!(
            settle(&known(), &Reading::NotReady, 0.0),
            Next::Again {
                why: Waiting::Parked,
                ..
            }
        ));
        assert_eq!(
            settle(
                &Known {
                    age: limit,
                    ..known()
                },
                &Reading::NotReady,
                0.0
            ),
            end(Outcome::Failed, Reason::NotProvisioned)
        );
        let Next::Again { after, .. } = settle(
            &Known {
                age: limit - Duration::from_secs(5),
                parks: 9,
                ..known()
            },
            &Reading::NotReady,
            0.0,
        ) else {
            panic!("waits")
        };
        assert_eq!(after, Duration::from_secs(5));
    }

    #[test]
    fn what_is_late_counts_only_if_it_ends_the_job_by_itself() {
        let begun = Known {
            before: Some(Observed::Absent),
            ..known()
        };
        let worn_out = Known {
            attempts: delays::ATTEMPTS - 1,
            proofs: 3,
            ..begun
        };
        for (known, reading, counts) in [
            (known(), None, false),
            (known(), Some(Reading::Retry), false),
            (worn_out, Some(Reading::Retry), false),
            (known(), Some(Reading::NotReady), false),
            (known(), Some(Reading::Later(Duration::ZERO)), false),
            (known(), Some(Reading::Seen(Observed::Absent)), false),
            (known(), Some(Reading::Seen(present("Author"))), true),
            (known(), Some(Reading::GaveUp(Reason::NotFound)), true),
            (begun, Some(Reading::GaveUp(Reason::NotFound)), false),
            (begun, Some(Reading::Wrote(present("Author"))), true),
            (begun, Some(Reading::Seen(present("Owner"))), false),
            (worn_out, Some(Reading::Wrote(Observed::Absent)), false),
        ] {
            let late = heed(&known, Answers::Earlier, reading.as_ref(), 0.0);
            assert_eq!(late.is_some(), counts, "{reading:?}");
            assert!(heed(&known, Answers::Present, reading.as_ref(), 0.0).is_some());
        }
        let proving = Known {
            phase: Phase::Prove,
            ..begun
        };
        assert_eq!(
            heed(&proving, Answers::Present, None, 0.0),
            Some(Next::Again {
                after: Duration::ZERO,
                why: Waiting::Returned,
                phase: Phase::Prove
            })
        );
    }

    #[test]
    fn a_plan_says_what_would_be_done() {
        let plan = Known {
            validate_only: true,
            ..known()
        };
        for (seen, want) in [
            (Observed::Absent, Outcome::Added),
            (present("Reviewer"), Outcome::Updated),
            (present("Author"), Outcome::Unchanged),
            (present("Owner"), Outcome::LeftHigher),
        ] {
            assert_eq!(settle(&plan, &Reading::Seen(seen), 0.0), end(want, None));
        }
    }

    fn revoking(before: Option<Observed>) -> Known {
        Known {
            aim: Aim::PutBack {
                left: present("Author"),
                to: Observed::Absent,
            },
            before,
            ..known()
        }
    }

    #[test]
    fn a_revocation_says_what_it_found_and_did() {
        let author = present("Author");
        let editor = present("Editor");
        for (before, reading, want) in [
            (
                author,
                Reading::Wrote(Observed::Absent),
                end(Outcome::Removed, None),
            ),
            // The first worker wrote and died.
            (
                author,
                Reading::Seen(Observed::Absent),
                end(Outcome::Removed, None),
            ),
            (
                Observed::Absent,
                Reading::Seen(Observed::Absent),
                end(Outcome::Unchanged, None),
            ),
            (
                editor,
                Reading::Seen(editor),
                end(Outcome::LeftChangedSince, Reason::RaisedSince),
            ),
            (
                author,
                Reading::Seen(editor),
                end(Outcome::LeftChangedSince, Reason::RaisedSince),
            ),
        ] {
            assert_eq!(
                settle(&revoking(Some(before)), &reading, 0.0),
                want,
                "{before:?} {reading:?}"
            );
        }
        // Never without an order of writes.
        assert!(matches!(
            settle(&revoking(None), &Reading::Seen(Observed::Absent), 0.0),
            Next::Again {
                why: Waiting::Retry,
                ..
            }
        ));
        let stale = settle(&revoking(Some(author)), &Reading::Wrote(author), 0.0);
        assert!(matches!(
            stale,
            Next::Again {
                why: Waiting::Proof,
                phase: Phase::Prove,
                ..
            }
        ));
        for (reason, want) in [
            (Reason::Kept, Outcome::KeptBy),
            (Reason::ChangedByLater, Outcome::LeftChangedSince),
            (Reason::MailboxReplaced, Outcome::Refused),
        ] {
            assert_eq!(
                settle(&revoking(None), &Reading::GaveUp(reason), 0.0),
                end(want, reason)
            );
        }
    }

    #[test]
    fn a_mailbox_that_is_gone_is_not_waited_for_long() {
        let missed = Known {
            parks: MISSED,
            ..revoking(None)
        };
        assert_eq!(
            settle(&missed, &Reading::NotReady, 0.0),
            end(Outcome::Refused, Reason::NotFound)
        );
        assert!(matches!(
            settle(&revoking(None), &Reading::NotReady, 0.0),
            Next::Again {
                why: Waiting::Parked,
                ..
            }
        ));
    }

    #[test]
    fn verifying_says_how_it_differs_and_what_was_repaired() {
        let verifying = |repair, before| Known {
            aim: Aim::Verify {
                expected: "Author".parse().unwrap(),
                role: AccessRole::AUTHOR,
                lower_higher: false,
                repair,
            },
            before,
            ..known()
        };
        let reviewer = present("Reviewer");
        for (known, reading, want) in [
            (
                verifying(false, None),
                Reading::Seen(present("Author")),
                end(Outcome::Verified, None),
            ),
            (
                verifying(false, None),
                Reading::Seen(reviewer),
                end(Outcome::Drifted, Reason::LoweredSince),
            ),
            (
                verifying(true, None),
                Reading::Seen(present("Owner")),
                end(Outcome::Drifted, Reason::RaisedSince),
            ),
            (
                verifying(true, Some(Observed::Absent)),
                Reading::Wrote(present("Author")),
                end(Outcome::Repaired, Reason::RemovedSince),
            ),
        ] {
            assert_eq!(settle(&known, &reading, 0.0), want, "{reading:?}");
        }
        assert!(matches!(
            settle(&verifying(true, None), &Reading::Seen(reviewer), 0.0),
            Next::Again {
                why: Waiting::Retry,
                ..
            }
        ));
    }

    proptest! {
        /// Whatever a worker says of a job that takes back: it ends as removed or restored only where the entry is as
        /// it is to be, and never by itself before it has begun.
        #[test]
        fn nothing_is_said_to_be_put_back_that_is_not(
            before in proptest::option::of(0usize..4), seen in 0usize..4, left in 0usize..4, to in 0usize..4, wrote: bool
        ) {
            let entry = |number| [Observed::Absent, present("Reviewer"), present("Author"), present("Owner")][number];
            let known = Known {
                aim: Aim::PutBack { left: entry(left), to: entry(to) },
                before: before.map(entry),
                ..known()
            };
            let seen = entry(seen);
            let reading = if wrote { Reading::Wrote(seen) } else { Reading::Seen(seen) };
            match settle(&known, &reading, 0.0) {
                Next::End(end) => {
                    prop_assert!(known.before.is_some());
                    let claims = matches!(end.outcome, Outcome::Removed | Outcome::Restored | Outcome::Unchanged);
                    prop_assert_eq!(claims, seen.same_as(entry(to)));
                    prop_assert!(claims || end.outcome == Outcome::LeftChangedSince);
                }
                Next::Again { .. } => prop_assert!(known.before.is_none() || !seen.same_as(entry(to))),
            }
        }
    }

    #[test]
    fn throttling_uses_up_no_attempt_whatever_was_used() {
        let worn_out = Known {
            attempts: 100,
            ..known()
        };
        let wait = Duration::from_secs(40);
        assert_eq!(
            settle(&worn_out, &Reading::Later(wait), 0.0),
            Next::Again {
                after: wait,
                why: Waiting::Throttled,
                phase: Phase::Grant
            }
        );
    }
}
