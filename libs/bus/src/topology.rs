//! Every queue there is. Queues are declared from here alone, and `calgrant topology` prints this table.

use std::fmt::{self, Write};

use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::BusError;

/// After this many deliveries without an ack a message is put aside: something about it ends whoever takes it.
const DELIVERY_LIMIT: i32 = 1000;

/// For the last stop: never, in effect. It must be said: RabbitMQ 4 drops a message after 20 deliveries where nothing is.
const NO_LIMIT: i32 = i32::MAX;

/// What is declared for one kind of queue.
struct Row {
    name: &'static str,
    /// Where messages go that were delivered too often.
    aside: Option<&'static str>,
    /// Whether one consumer has it to itself, whoever else stands in line.
    single: bool,
    holds: &'static str,
}

const RESULTS: Row = Row {
    name: "results",
    aside: Some("dead"),
    single: false,
    holds: "what became of jobs; written into the database by status",
};
const DEAD: Row = Row {
    name: "dead",
    aside: None,
    single: false,
    holds: "messages nobody could read or finish; status keeps them for a person to look at",
};
const JOBS: Row = Row {
    name: "jobs.<tenant>.<lane>",
    aside: Some("dead"),
    single: false,
    holds: "jobs of one tenant and one lane; taken by the workers",
};
const ALONE: Row = Row {
    name: "jobs.<tenant>.alone",
    aside: Some("dead"),
    single: true,
    holds: "jobs of one tenant that were handed out again and again; there only while there are some, and tried one by one",
};
const EVENTS: Row = Row {
    name: "events",
    aside: Some("dead"),
    single: false,
    holds: "onboarding events (CloudEvents); bound to the exchange that onboarding is set up with",
};

const TABLE: [&Row; 5] = [&JOBS, &ALONE, &RESULTS, &EVENTS, &DEAD];

impl Row {
    /// All queues are quorum queues: replicated, and on disk before the broker confirms. `at-least-once` keeps a
    /// message that is put aside until it is stored there; the broker offers it only together with `reject-publish`.
    fn arguments(&self) -> Vec<(&'static str, AMQPValue)> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut arguments = vec![("x-queue-type", text("quorum"))];
        if self.aside.is_none() {
            arguments.push(("x-delivery-limit", AMQPValue::LongInt(NO_LIMIT)));
        }
        if let Some(aside) = self.aside {
            arguments.push(("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)));
            arguments.push(("x-dead-letter-exchange", text("")));
            arguments.push(("x-dead-letter-routing-key", text(aside)));
            arguments.push(("x-dead-letter-strategy", text("at-least-once")));
            arguments.push(("x-overflow", text("reject-publish")));
        }
        if self.single {
            arguments.push(("x-single-active-consumer", AMQPValue::Boolean(true)));
        }
        arguments
    }
}

/// A queue of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue(String);

impl Queue {
    /// What became of jobs.
    #[must_use]
    pub fn results() -> Self {
        Self(RESULTS.name.to_owned())
    }

    /// Messages put aside.
    #[must_use]
    pub fn dead() -> Self {
        Self(DEAD.name.to_owned())
    }

    /// The jobs of one tenant and one lane.
    #[must_use]
    pub fn jobs(tenant: &str, lane: &str) -> Self {
        Self(
            JOBS.name
                .replace("<tenant>", tenant)
                .replace("<lane>", lane),
        )
    }

    /// Jobs of one tenant that are tried one by one.
    #[must_use]
    pub fn alone(tenant: &str) -> Self {
        Self(ALONE.name.replace("<tenant>", tenant))
    }

    /// Onboarding events.
    #[must_use]
    pub fn events() -> Self {
        Self(EVENTS.name.to_owned())
    }

    /// The queue of this name, if it is one of the table's; to have dead letters taken back to where they came from.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let of_jobs = || {
            let (tenant, lane) = name.strip_prefix("jobs.")?.split_once('.')?;
            (!tenant.is_empty() && !lane.is_empty() && !lane.contains('.')).then_some(())
        };
        let fixed = [RESULTS.name, EVENTS.name].contains(&name);
        (fixed || of_jobs().is_some()).then(|| Self(name.to_owned()))
    }

    /// Its name at the broker.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Its name as AMQP takes it.
    pub(crate) fn short(&self) -> Result<ShortString, BusError> {
        short(&self.0, "the name of the queue")
    }

    fn row(&self) -> &'static Row {
        if self.0 == RESULTS.name {
            &RESULTS
        } else if self.0 == DEAD.name {
            &DEAD
        } else if self.0 == EVENTS.name {
            &EVENTS
        } else if self.0.ends_with(".alone") {
            &ALONE
        } else {
            &JOBS
        }
    }

    /// The queue its messages are put aside in.
    pub(crate) fn aside(&self) -> Option<Self> {
        self.row().aside.map(|name| Self(name.to_owned()))
    }

    pub(crate) fn arguments(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in self.row().arguments() {
            table.insert(key.into(), value);
        }
        table
    }
}

/// Text as AMQP takes it where it takes little. lapin's own conversion panics.
pub(crate) fn short(text: &str, what: &'static str) -> Result<ShortString, BusError> {
    ShortString::try_new(text.to_owned()).map_err(|_| BusError::TooLong(what))
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The table in words.
#[must_use]
pub fn describe() -> String {
    let mut text = String::from(
        "All queues are durable and take messages by the default exchange, under their own name.\n",
    );
    for row in TABLE {
        let _ = writeln!(text, "\n{}\n  holds {}", row.name, row.holds);
        for (key, value) in row.arguments() {
            let value = match value {
                AMQPValue::LongInt(number) => number.to_string(),
                AMQPValue::Boolean(flag) => flag.to_string(),
                AMQPValue::LongString(text) => {
                    format!("{:?}", String::from_utf8_lossy(text.as_bytes()))
                }
                other => format!("{other:?}"),
            };
            let _ = writeln!(text, "  {key} = {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words() {
        let queue = Queue::jobs("acme", "bulk");
        assert_eq!(
            (queue.name(), queue.aside()),
            ("jobs.acme.bulk", Some(Queue::dead()))
        );
        assert_eq!(Queue::dead().aside(), None);
        for queue in [
            queue,
            Queue::alone("acme"),
            Queue::results(),
            Queue::events(),
        ] {
            assert_eq!(Queue::named(queue.name()), Some(queue));
        }
        for name in ["dead", "jobs", "jobs.acme", "jobs.a.b.c", "else", ""] {
            assert_eq!(Queue::named(name), None, "{name}");
        }
        let text = describe();
        for part in [
            "jobs.<tenant>.<lane>",
            "results",
            "dead",
            "x-delivery-limit = 1000",
            "x-overflow = \"reject-publish\"",
            "x-single-active-consumer = true",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
