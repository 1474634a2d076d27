//! Messages that are put aside with their reason, and the way back.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::{
    Bus, BusError, Delivery, Publisher, Queue,
    publisher::{Sealed, TRACEPARENT},
    topology::short,
};

const REASON: &str = "x-reason";
const CAUSE: &str = "x-cause";
const FROM: &str = "x-from-queue";
/// Tells one putting aside of a message from another.
const NUMBER: &str = "x-dead-id";
/// The version of who put it aside.
const BY_VERSION: &str = "x-by-version";
/// Headers that the broker adds on the way.
const OF_THE_BROKER: &[&str] = &[
    "x-death",
    "x-delivery-count",
    "x-acquired-count",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// A message with everything that makes it whole, to be kept and published again.
#[derive(Clone, PartialEq, Eq)]
pub struct Whole {
    /// What it says.
    pub body: Vec<u8>,
    /// By which readers know one they have had already.
    pub message_id: String,
    /// What the body is.
    pub content_type: String,
    /// Its headers, as text.
    pub headers: Vec<(String, String)>,
}

/// A message that was put aside.
pub struct DeadLetter {
    /// The message as it was.
    pub message: Whole,
    /// The queue it was taken from.
    pub queue: String,
    /// Why, as a word; empty if the broker did it.
    pub cause: String,
    /// Why, for people.
    pub reason: String,
    /// The version of who put it aside; 0 if unknown.
    pub by_version: u32,
    /// Something that differs when a message is put aside twice; empty if the broker did it.
    pub number: String,
}

impl Bus {
    /// Puts a delivery aside under a number of its own: see [`Delivery::put_aside`]. If that fails the log says so, and it is
    /// delivered again.
    pub async fn put_aside(&self, delivery: Delivery, cause: &str, reason: &str, by_version: u32) {
        let (publisher, number) = (self.publisher(), uuid::Uuid::new_v4().to_string());
        let put = delivery.put_aside(&publisher, cause, reason, by_version, &number);
        if let Err(error) = put.await {
            tracing::warn!(%error, "couldn't dead-letter it; it is delivered again");
        }
    }
}

impl Delivery {
    /// What the body is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.properties
            .content_type()
            .as_ref()
            .map_or("", |kind| kind.as_str())
    }

    /// Its headers, as text; those that no text can stand for are left out.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let all = self.properties.headers().as_ref();
        let all = all.into_iter().flat_map(FieldTable::inner);
        all.filter_map(|(name, value)| Some((name.to_string(), text(value)?)))
            .collect()
    }

    /// Puts it aside: why, as a word and for people, by whom (the version of the reader), and something that differs when it is put aside
    /// twice.
    ///
    /// # Errors
    ///
    /// When it is not stored there, or can't be acked here; it comes again.
    pub async fn put_aside(
        mut self,
        publisher: &Publisher,
        cause: &str,
        reason: &str,
        by_version: u32,
        number: &str,
    ) -> Result<(), BusError> {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        headers.insert(REASON.into(), text(reason));
        headers.insert(CAUSE.into(), text(cause));
        headers.insert(FROM.into(), text(self.queue.name()));
        headers.insert(NUMBER.into(), text(number));
        headers.insert(BY_VERSION.into(), AMQPValue::LongLongInt(by_version.into()));
        let message = Sealed {
            body: std::mem::take(&mut self.body),
            properties: self.properties.clone().with_headers(headers),
        };
        self.moved(publisher, &Queue::dead(), message).await
    }

    /// Moves it to another queue, where it begins anew.
    ///
    /// # Errors
    ///
    /// When it is not stored there, or can't be acked here; it comes again.
    pub async fn move_to(mut self, publisher: &Publisher, queue: &Queue) -> Result<(), BusError> {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        remove(&mut headers);
        let message = Sealed {
            body: std::mem::take(&mut self.body),
            properties: self.properties.clone().with_headers(headers),
        };
        self.moved(publisher, queue, message).await
    }

    async fn moved(
        self,
        publisher: &Publisher,
        queue: &Queue,
        message: Sealed,
    ) -> Result<(), BusError> {
        let sent = publisher.send(queue, vec![message]).await.pop();
        sent.unwrap_or(Err(BusError::Away))?;
        self.ack().await?;
        Ok(())
    }

    /// What was put aside, of a delivery of the dead letters.
    #[must_use]
    pub fn letter(&self) -> DeadLetter {
        let headers = self.headers();
        let of = |name: &str| {
            let found = headers.iter().find(|(header, _)| header == name);
            found.map(|(_, text)| text.clone()).unwrap_or_default()
        };
        let by_the_broker = of("x-first-death-reason");
        let reason = match by_the_broker.as_str() {
            _ if !of(REASON).is_empty() => of(REASON),
            "delivery_limit" => "it was handed out 1,000 times and nobody finished it".to_owned(),
            other => format!("the broker put it aside: {other}"),
        };
        let queue = match of(FROM) {
            ours if !ours.is_empty() => ours,
            _ => of("x-first-death-queue"),
        };
        DeadLetter {
            queue,
            reason,
            cause: match of(CAUSE) {
                none if none.is_empty() && by_the_broker == "delivery_limit" => {
                    "crashes".to_owned()
                }
                said => said,
            },
            by_version: of(BY_VERSION).parse().unwrap_or(0),
            number: of(NUMBER),
            message: Whole {
                body: self.body.clone(),
                message_id: self.message_id.clone(),
                content_type: self.content_type().to_owned(),
                headers: headers
                    .into_iter()
                    .filter(|(name, _)| lasts(name))
                    .collect(),
            },
        }
    }
}

fn lasts(name: &str) -> bool {
    ![REASON, CAUSE, FROM, NUMBER, BY_VERSION].contains(&name) && !OF_THE_BROKER.contains(&name)
}

fn remove(headers: &mut FieldTable) {
    let lasting = headers
        .inner()
        .iter()
        .filter(|(name, _)| lasts(name.as_str()));
    let mut kept = FieldTable::default();
    for (name, value) in lasting {
        kept.insert(name.clone(), value.clone());
    }
    *headers = kept;
}

/// A header as text.
fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Boolean(flag) => flag.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        // Seconds since 1970; who reads it knows what it is.
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        _ => return None,
    })
}

impl Publisher {
    /// Publishes a message that was kept whole, with `more` headers.
    ///
    /// # Errors
    ///
    /// When it may not be stored: publish it again.
    pub async fn publish_whole(
        &self,
        queue: &Queue,
        message: &Whole,
        more: &[(&str, &str)],
    ) -> Result<(), BusError> {
        let mut headers = FieldTable::default();
        let kept = message.headers.iter();
        let kept = kept.map(|(name, text)| (name.as_str(), text.as_str()));
        for (name, text) in kept.chain(more.iter().copied()) {
            headers.insert(
                short(name, "the name of a header")?,
                AMQPValue::LongString(text.into()),
            );
        }
        let sealed = Sealed {
            body: message.body.clone(),
            properties: BasicProperties::default()
                .with_content_type(short(&message.content_type, "the content type")?)
                .with_message_id(short(&message.message_id, "the id of the message")?)
                .with_headers(headers),
        };
        let sent = self.send(queue, vec![sealed]).await.pop();
        sent.unwrap_or(Err(BusError::Away))
    }
}

impl Whole {
    /// The trace it belongs to.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name == TRACEPARENT);
        found.map(|(_, text)| text.as_str())
    }
}
