//! How long what grows with time is kept, and what may go then. What a standing grant rests on is never forgotten, however old.

use std::time::Duration;

use time::OffsetDateTime;

use crate::outcome::words;

words!(
    /// What grows with time, and is forgotten after some.
    Kept {
        /// The ids of requests, by which a repeat is answered as it was the first time.
        Requests = "requests",
        /// The numbered changes of operations that have ended, for those who watch them.
        Changes = "changes",
        /// Operations that have ended, and their jobs.
        History = "history",
        /// Set-ups that have ended, but for the last of each site that was carried out: as long as operations.
        Setups = "setups",
        /// Onboarding events, by which a repeat or a latecomer is told.
        Events = "events",
        /// Dead letters that were replayed or discarded.
        DeadLetters = "dead_letters",
        /// Alerts that were acknowledged and have passed.
        Alerts = "alerts",
        /// Uploaded lists that no delegation names.
        Lists = "lists",
        /// The numbered changes of a tenant's mailboxes: by their number, not by their age.
        MailboxChanges = "mailbox_changes",
    }
);

/// How long each is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ids of requests, since the request.
    pub requests: Duration,
    /// Changes of operations, since their end.
    pub changes: Duration,
    /// Operations and their jobs, since their end.
    pub history: Duration,
    /// Onboarding events, since they were received.
    pub events: Duration,
    /// Dead letters, since they were replayed or discarded.
    pub dead_letters: Duration,
    /// Alerts, since they were acknowledged and have passed.
    pub alerts: Duration,
    /// Lists that no delegation names, since they were uploaded.
    pub lists: Duration,
}

/// What is older than this may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutOffs {
    /// Of ids of requests.
    pub requests: OffsetDateTime,
    /// Of changes of operations.
    pub changes: OffsetDateTime,
    /// Of operations and their jobs.
    pub history: OffsetDateTime,
    /// Of onboarding events.
    pub events: OffsetDateTime,
    /// Of dead letters.
    pub dead_letters: OffsetDateTime,
    /// Of alerts.
    pub alerts: OffsetDateTime,
    /// Of lists.
    pub lists: OffsetDateTime,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            requests: 30 * DAY,
            changes: 28 * DAY,
            history: 365 * DAY,
            events: 30 * DAY,
            dead_letters: 30 * DAY,
            alerts: 30 * DAY,
            lists: 30 * DAY,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl Retention {
    /// What may go now.
    ///
    /// An operation is kept at least as long as the id of its request, which is answered with it.
    pub fn cut_offs(&self, now: OffsetDateTime) -> CutOffs {
        let before = |kept: Duration| {
            time::Duration::try_from(kept)
                .ok()
                .and_then(|kept| now.checked_sub(kept))
                .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        let requests = before(self.requests);
        CutOffs {
            requests,
            changes: before(self.changes),
            history: before(self.history).min(requests),
            events: before(self.events),
            dead_letters: before(self.dead_letters),
            alerts: before(self.alerts),
            lists: before(self.lists),
        }
    }
}

/// Where a job stands that has ended long ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// It began to write.
    pub begun: bool,
    /// No other job has begun there since.
    pub began_last: bool,
    /// What it left there is recorded apart from it.
    pub known: bool,
    /// An entry of ours stands there.
    pub stands: bool,
    /// That entry is what this job left.
    pub left_it: bool,
    /// A delegation covers the mailbox by the word of this job's operation.
    pub covers: bool,
}

/// Whether something that stands rests on a job: then it is kept, for by its before-image the grant can be undone, and by what it
/// left the grant can be revoked.
pub fn is_needed(trace: Trace) -> bool {
    let unknown = trace.begun && trace.began_last && !trace.known;
    let stands = trace.stands && (trace.left_it || trace.began_last);
    unknown || stands || trace.covers
}

/// From when on an operation's history is looked through again of which something is still needed, as a cut-off.
pub fn look_again(cut_off: OffsetDateTime) -> OffsetDateTime {
    cut_off + LOOK_AGAIN
}

const LOOK_AGAIN: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_outlives_the_id_of_its_request() {
        let now = OffsetDateTime::UNIX_EPOCH + 1000 * DAY;
        let mut kept = Retention::default();
        let cut_offs = kept.cut_offs(now);
        assert_eq!(cut_offs.requests, now - 30 * DAY);
        assert_eq!(cut_offs.changes, now - 28 * DAY);
        assert_eq!(cut_offs.history, now - 365 * DAY);
        kept.history = DAY;
        assert_eq!(kept.cut_offs(now).history, now - 30 * DAY);
        // Longer than there is time: nothing goes.
        kept.requests = Duration::MAX;
        assert_eq!(
            kept.cut_offs(now).requests,
            OffsetDateTime::UNIX_EPOCH,
            "nothing is older"
        );
    }

    #[test]
    fn what_stands_rests_on_who_left_it_and_on_who_asked_for_it() {
        let trace = Trace::default();
        let began = Trace {
            begun: true,
            began_last: true,
            ..trace
        };
        for (trace, needed) in [
            (trace, false),
            // Of who only asked nothing is to be known.
            (
                Trace {
                    began_last: true,
                    ..trace
                },
                false,
            ),
            (began, true),
            // It took away what stood there, and that is known.
            (
                Trace {
                    known: true,
                    ..began
                },
                false,
            ),
            (
                Trace {
                    known: true,
                    stands: true,
                    ..began
                },
                true,
            ),
            // A later one found it unchanged, or changed it.
            (
                Trace {
                    begun: true,
                    stands: true,
                    left_it: true,
                    ..trace
                },
                true,
            ),
            (
                Trace {
                    begun: true,
                    stands: true,
                    ..trace
                },
                false,
            ),
            (
                Trace {
                    covers: true,
                    ..trace
                },
                true,
            ),
        ] {
            assert_eq!(is_needed(trace), needed, "{trace:?}");
        }
    }
}
