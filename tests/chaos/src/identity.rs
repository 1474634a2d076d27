//! Identity management: tells who joins, moves and leaves, by an exchange of its own.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::anyhow;
use calgrant_bus::{Bus, Queue};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::event_type,
};
use calgrant_domain::EventMoment;
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{desk::AGAIN, lock::lock, school::TENANTS, work::Event};

/// Its exchange.
pub(crate) const ROUTE: &str = "identity";

/// Longest wait until the broker has a message. A connection that breaks at a bad moment may leave its user without any answer.
const TAKEN: Duration = Duration::from_secs(10);

/// What a message that can't be read is known by afterwards, before its number.
const GARBLED: &str = "garbled-";

/// Who tells, and what was told.
pub(crate) struct Identity {
    broker: String,
    seed: u64,
    start: OffsetDateTime,
    told: Mutex<Vec<Event>>,
    garbled: Mutex<Vec<usize>>,
}

/// A message as it is published.
struct Telling {
    content_type: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Identity {
    /// Tells past all proxies.
    ///
    /// # Errors
    /// The broker is away.
    pub(crate) async fn new(broker: &str, seed: u64) -> anyhow::Result<Self> {
        let bus = Bus::connect(broker, "identity").await;
        let bus = bus.map_err(|cause| anyhow!("the broker: {cause}"))?;
        // What is told before onboarding listens would be lost: that is how topics are.
        bus.bind(&Queue::events(), ROUTE, &["mailbox.#".to_owned()])
            .await
            .map_err(|cause| anyhow!("the broker: {cause}"))?;
        bus.close().await;
        Ok(Self {
            broker: broker.to_owned(),
            seed,
            start: clock::now(),
            told: Mutex::default(),
            garbled: Mutex::default(),
        })
    }

    /// Tells of an event until the broker has it: every other one in binary mode.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) async fn tell(&self, event: &Event) -> anyhow::Result<()> {
        self.told().push(event.clone());
        let moment = self.moment(event);
        let cloud = CloudEvent {
            source: moment.source,
            id: moment.id,
            kind: event_type(event.kind),
            subject: None,
            time: Some(moment.at),
            extensions: BTreeMap::new(),
            data: json!({
                "tenant": TENANTS[event.tenant].name,
                "mailbox": {"address": TENANTS[event.tenant].person(event.person)},
            }),
        };
        let telling = if event.number.is_multiple_of(2) {
            Telling {
                content_type: STRUCTURED.to_owned(),
                headers: Vec::new(),
                body: cloud.to_json()?,
            }
        } else {
            binary(&cloud, &moment.at.format(&Rfc3339)?)
        };
        for _ in 0..event.copies {
            self.say(&telling).await;
        }
        Ok(())
    }

    /// Tells something that can't be read, until the broker has it.
    pub(crate) async fn garble(&self, number: usize) {
        let name = format!("{GARBLED}{number}");
        let header =
            |attribute: &str, value: &str| (format!("cloudEvents:{attribute}"), value.to_owned());
        let telling = if number.is_multiple_of(2) {
            Telling {
                content_type: format!("text/{name}"),
                headers: vec![header("id", &name)],
                body: b"no JSON".to_vec(),
            }
        } else {
            let body = json!({
                "specversion": "1.0", "id": "1", "source": "/chaos", "type": "mailbox.joined", "time": name,
            });
            Telling {
                content_type: STRUCTURED.to_owned(),
                headers: Vec::new(),
                body: body.to_string().into_bytes(),
            }
        };
        self.say(&telling).await;
        let mut garbled = lock(&self.garbled);
        garbled.push(number);
    }

    /// Which of what was garbled none of these reasons tells of, in words.
    pub(crate) fn missed(&self, reasons: &[String]) -> Vec<String> {
        let garbled = lock(&self.garbled);
        let is_told =
            |number: &&usize| reasons.iter().any(|told| number_in(told) == Some(**number));
        let missed = garbled.iter().filter(|number| !is_told(number));
        let words = missed.map(|number| format!("event {GARBLED}{number} is no dead letter"));
        words.collect()
    }

    async fn say(&self, telling: &Telling) {
        // What was taken without our hearing of it is told twice, as identity management does.
        while !matches!(
            tokio::time::timeout(TAKEN, self.publish(telling)).await,
            Ok(Ok(()))
        ) {
            pass(AGAIN).await;
        }
    }

    /// Publishes with a confirm, on a connection of its own.
    async fn publish(&self, telling: &Telling) -> anyhow::Result<()> {
        let connection = Connection::connect(&self.broker, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let mut headers = FieldTable::default();
        for (name, value) in &telling.headers {
            let value = AMQPValue::LongString(value.as_str().into());
            headers.insert(name.as_str().into(), value);
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type(telling.content_type.as_str().into())
            .with_headers(headers);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmed = channel
            .basic_publish(
                ROUTE.into(),
                "mailbox.event".into(),
                options,
                &telling.body,
                properties,
            )
            .await?
            .await?;
        connection.close(200, "told".into()).await?;
        match confirmed {
            Confirmation::Ack(None) => Ok(()),
            other => Err(anyhow!("not taken: {other:?}")),
        }
    }

    /// Which event it is, and when it happened.
    pub(crate) fn moment(&self, event: &Event) -> EventMoment {
        EventMoment {
            at: self.start + event.happened,
            kind: event.kind,
            source: format!("/chaos/{}", self.seed),
            id: event.number.to_string(),
        }
    }

    /// What was told.
    pub(crate) fn told(&self) -> MutexGuard<'_, Vec<Event>> {
        lock(&self.told)
    }
}

/// An event in binary mode: attributes as headers, the data as the body.
fn binary(event: &CloudEvent, time: &str) -> Telling {
    let attributes = [
        ("specversion", "1.0"),
        ("id", &event.id),
        ("source", &event.source),
        ("type", &event.kind),
        ("time", time),
    ];
    let header = |(name, value): (&str, &str)| (format!("cloudEvents:{name}"), value.to_owned());
    Telling {
        content_type: "application/json".to_owned(),
        headers: attributes.into_iter().map(header).collect(),
        body: event.data.to_string().into_bytes(),
    }
}

/// The number of a garbled message that a dead letter's reason tells of.
pub(crate) fn number_in(reason: &str) -> Option<usize> {
    let (_, after) = reason.split_once(GARBLED)?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The ticket of what an event brings about.
pub(crate) fn ticket(moment: &EventMoment) -> String {
    format!("event {} of {}", moment.id, moment.source)
}
