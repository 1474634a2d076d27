//! Onboarding events: people join, leave and move. They come more than once and in any order; what they make of a mailbox
//! doesn't depend on that.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{DelegationId, outcome::words};

/// Who asks for what events bring about.
pub const CALLER: &str = "onboarding";

words!(
    /// What happened to a mailbox's owner, in the order that decides between two events of the same moment: who left and
    /// joined at once has left.
    EventKind {
        /// Somebody new.
        Joined = "joined",
        /// Somebody who is elsewhere now: in another group or unit, or at another site.
        Moved = "moved",
        /// Somebody who is gone.
        Left = "left",
    }
);

/// For how long one who acts on an event has its subject to itself.
pub const ACTING: Duration = Duration::from_secs(30);

/// How far an event's time may lie ahead of ours. What claims to be later would make everything until then look old.
pub const AHEAD: Duration = Duration::from_secs(300);

/// Leavers of a tenant within this time count together.
pub const BURST: Duration = Duration::from_secs(3600);

/// When an event happened, and which it is. Ordered by what decides: the later one, whatever came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventMoment {
    /// When it happened, as its source says.
    pub at: OffsetDateTime,
    /// What.
    pub kind: EventKind,
    /// Who says so.
    pub source: String,
    /// Unique within its source.
    pub id: String,
}

impl EventMoment {
    /// How every `request_id` begins that stands for this event.
    pub fn request_prefix(&self) -> String {
        let both = format!("{}\n{}", self.source, self.id);
        format!(
            "evt-{}-",
            Uuid::new_v5(&Uuid::NAMESPACE_URL, both.as_bytes()).simple()
        )
    }

    /// The `request_id` of what the event brings about for a delegation: the same whenever it is acted on.
    pub fn request_id(&self, delegation: DelegationId) -> String {
        format!("{}{}", self.request_prefix(), delegation.as_uuid().simple())
    }
}

/// What is known of an event that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKnown {
    /// Never seen.
    New,
    /// Somebody began to act on it, and has its subject until this moment.
    Acting(OffsetDateTime),
    /// It was acted on, or passed over.
    Over,
}

/// The latest event that was acted on for a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Which.
    pub moment: EventMoment,
    /// Somebody is acting on it until this moment; `None` if that is over.
    pub acting_until: Option<OffsetDateTime>,
}

words!(
    /// What to do about an event.
    EventVerdict {
        /// Act on it.
        Act = "act",
        /// It was acted on before: nothing is left to do.
        Repeat = "repeat",
        /// A later event of the same mailbox was acted on: it changes nothing.
        Older = "older",
        /// Somebody acts on an event of the same mailbox at this moment: ask again shortly.
        Wait = "wait",
        /// More people leave than ever do in so short a time: a person must look at it.
        Brake = "brake",
    }
);

/// Decides what to do about an event. `latest` are those of all names of its mailbox.
pub fn judge(
    event: &EventMoment,
    known: EventKnown,
    latest: &[Latest],
    now: OffsetDateTime,
) -> EventVerdict {
    match known {
        EventKnown::Over => return EventVerdict::Repeat,
        EventKnown::Acting(until) if until > now => return EventVerdict::Wait,
        _ => {}
    }
    let others = || latest.iter().filter(|latest| latest.moment != *event);
    if others().any(|latest| latest.moment > *event) {
        return EventVerdict::Older;
    }
    if others().any(|latest| latest.acting_until.is_some_and(|until| until > now)) {
        return EventVerdict::Wait;
    }
    EventVerdict::Act
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brake::revokes_many;
    use proptest::prelude::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    fn moment(seconds: i64, kind: EventKind, id: &str) -> EventMoment {
        EventMoment {
            at: at(seconds),
            kind,
            source: "identity".into(),
            id: id.into(),
        }
    }

    fn latest(moment: EventMoment, acting_until: Option<i64>) -> Latest {
        Latest {
            moment,
            acting_until: acting_until.map(at),
        }
    }

    #[test]
    fn cases() {
        use EventKind::{Joined, Left};
        let event = moment(10, Joined, "a");
        let same = latest(event.clone(), Some(-5));
        let (older, newer) = (moment(5, Left, "b"), moment(15, Left, "b"));
        let at_once = moment(10, Left, "b");
        for (known, latest, want) in [
            (EventKnown::New, vec![], EventVerdict::Act),
            (
                EventKnown::New,
                vec![latest(older.clone(), None)],
                EventVerdict::Act,
            ),
            (
                EventKnown::New,
                vec![latest(older.clone(), Some(20))],
                EventVerdict::Wait,
            ),
            (
                EventKnown::New,
                vec![latest(older, Some(-1))],
                EventVerdict::Act,
            ),
            (
                EventKnown::New,
                vec![latest(newer.clone(), None)],
                EventVerdict::Older,
            ),
            (
                EventKnown::New,
                vec![latest(newer.clone(), Some(20))],
                EventVerdict::Older,
            ),
            (
                EventKnown::New,
                vec![latest(at_once, None)],
                EventVerdict::Older,
            ),
            (
                EventKnown::Over,
                vec![latest(newer.clone(), None)],
                EventVerdict::Repeat,
            ),
            (
                EventKnown::Acting(at(5)),
                vec![same.clone()],
                EventVerdict::Wait,
            ),
            (
                EventKnown::Acting(at(-5)),
                vec![same.clone()],
                EventVerdict::Act,
            ),
            (
                EventKnown::Acting(at(-5)),
                vec![same, latest(newer, None)],
                EventVerdict::Older,
            ),
        ] {
            assert_eq!(
                judge(&event, known, &latest, at(0)),
                want,
                "{known:?} {latest:?}"
            );
        }
    }

    #[test]
    fn a_handful_of_leavers_is_never_too_many_nor_a_fiftieth() {
        for (leavers, granted, too_many) in [
            (50, 0, false),
            (51, 0, true),
            (51, 2550, false),
            (52, 2550, true),
            (1000, 50_000, false),
            (1001, 50_000, true),
        ] {
            assert_eq!(
                revokes_many(leavers, granted),
                too_many,
                "{leavers} {granted}"
            );
        }
    }

    proptest! {
        /// Whatever the order of arrival and whatever comes twice: the last one acted on is the latest of all.
        #[test]
        fn the_latest_has_the_last_word(
            events in proptest::collection::vec((0i64..20, 0usize..3), 1..12),
            arrivals in proptest::collection::vec(0usize..12, 0..30),
        ) {
            let events: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(id, (second, kind))| moment(*second, EventKind::ALL[*kind], &id.to_string()))
                .collect();
            let mut over = vec![false; events.len()];
            let (mut standing, mut acted): (Vec<Latest>, Vec<EventMoment>) = (Vec::new(), Vec::new());
            let all = arrivals.into_iter().map(|at| at % events.len()).chain(0..events.len());
            for number in all {
                let event = &events[number];
                let known = if over[number] { EventKnown::Over } else { EventKnown::New };
                if judge(event, known, &standing, at(0)) == EventVerdict::Act {
                    standing = vec![latest(event.clone(), None)];
                    acted.push(event.clone());
                }
                over[number] = true;
            }
            prop_assert!(acted.is_sorted());
            prop_assert_eq!(acted.last(), events.iter().max());
        }
    }
}
