//! One table holds the whole topology. Every queue is a quorum queue on the default route, named by itself.

use std::fmt::Write as _;

use lapin::types::{AMQPValue, FieldTable};

/// One kind of queue.
struct Spec {
    name: &'static str,
    /// Where messages go that were delivered too often; none for the last stop.
    dead: Option<&'static str>,
    what: &'static str,
}

const RESULTS: Spec = Spec {
    name: "results",
    dead: Some("dead"),
    what: "what workers read, for status",
};
const DEAD: Spec = Spec {
    name: "dead",
    dead: None,
    what: "what could not be handled, with its reason",
};
const JOBS: Spec = Spec {
    name: "jobs.<tenant>.<lane>",
    dead: Some("dead"),
    what: "one message per mailbox, for workers; one queue per tenant and lane",
};
const QUEUES: &[&Spec] = &[&RESULTS, &DEAD, &JOBS];

/// How often a message is delivered before it counts as poison. High, because a worker that dies hands back innocent messages too.
const DELIVERY_LIMIT: i32 = 1000;

/// A queue of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Queue {
    name: String,
    dead: Option<&'static str>,
}

impl Queue {
    /// Results of jobs.
    pub fn results() -> Self {
        Self::of(&RESULTS, RESULTS.name.to_owned())
    }

    /// Dead letters.
    pub fn dead() -> Self {
        Self::of(&DEAD, DEAD.name.to_owned())
    }

    /// Jobs of a tenant's lane.
    pub fn jobs(tenant: &str, lane: &str) -> Self {
        Self::of(
            &JOBS,
            JOBS.name
                .replace("<tenant>", tenant)
                .replace("<lane>", lane),
        )
    }

    fn of(spec: &Spec, name: String) -> Self {
        Self {
            name,
            dead: spec.dead,
        }
    }

    /// Its name on the broker.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut set = |key: &str, value| {
            arguments.insert(key.into(), value);
        };
        let text = |text: &str| AMQPValue::LongString(text.into());
        set("x-queue-type", text("quorum"));
        if let Some(dead) = self.dead {
            set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT));
            set("x-dead-letter-exchange", text(""));
            set("x-dead-letter-routing-key", text(dead));
            // At-least-once needs publishers to be refused when a queue is full, rather than its head dropped.
            set("x-dead-letter-strategy", text("at-least-once"));
            set("x-overflow", text("reject-publish"));
        }
        arguments
    }
}

/// The table, for people.
pub fn describe() -> String {
    let mut out = String::new();
    for spec in QUEUES {
        let dead = spec
            .dead
            .map(|dead| format!("; after {DELIVERY_LIMIT} deliveries to {dead}"))
            .unwrap_or_default();
        // Writing to a String can't fail.
        let _written = writeln!(
            out,
            "{:<22} quorum, durable{dead}: {}",
            spec.name, spec.what
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Queue::jobs("uni", "bulk").name(), "jobs.uni.bulk");
        assert_eq!(describe().lines().count(), QUEUES.len());
    }
}
