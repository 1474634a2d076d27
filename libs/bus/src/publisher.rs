//! Publishing: persistent, mandatory, confirmed. A message is stored when the broker says so, and not before.

use std::time::Duration;

use futures::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};

use crate::{Bus, BusError, Queue};

/// Longest wait for a confirm.
const CONFIRM: Duration = Duration::from_secs(10);
/// Header that carries the trace.
pub(crate) const TRACEPARENT: &str = "traceparent";
const PERSISTENT: u8 = 2;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it says.
    pub body: Vec<u8>,
    /// Its id, for people who look for it.
    pub message_id: String,
    /// Its content type.
    pub kind: &'static str,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// Publishes with confirms; cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    bus: Bus,
}

impl Publisher {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Publishes messages together, one answer for each: only `Ok` means stored. A queue that isn't there is declared once.
    pub async fn publish_all(
        &self,
        queue: &Queue,
        messages: Vec<Message>,
    ) -> Vec<Result<(), BusError>> {
        let mut answers = self.attempt(queue, &messages).await;
        if answers
            .iter()
            .any(|answer| matches!(answer, Err(BusError::Unroutable(_))))
            && self.bus.declare(queue).await.is_ok()
        {
            for (message, answer) in messages.iter().zip(&mut answers) {
                if matches!(answer, Err(BusError::Unroutable(_))) {
                    *answer = self
                        .attempt(queue, std::slice::from_ref(message))
                        .await
                        .pop()
                        .unwrap_or(Ok(()));
                }
            }
        }
        answers
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// It may or may not be stored: publish it again.
    pub async fn publish(&self, queue: &Queue, message: Message) -> Result<(), BusError> {
        self.publish_all(queue, vec![message])
            .await
            .pop()
            .unwrap_or(Ok(()))
    }

    /// Publishes to `queue` with headers besides.
    pub(crate) async fn publish_with(
        &self,
        queue: &Queue,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), BusError> {
        let channel = self.bus.publishing_channel().await?;
        send(&channel, queue, body, properties).await
    }

    async fn attempt(&self, queue: &Queue, messages: &[Message]) -> Vec<Result<(), BusError>> {
        let channel = match self.bus.publishing_channel().await {
            Ok(channel) => channel,
            Err(cause) => {
                let cause = cause.to_string();
                return messages
                    .iter()
                    .map(|_| Err(BusError::NoConfirm(format!("{} ({cause})", queue.name()))))
                    .collect();
            }
        };
        // Sent one after the other, confirmed in whatever order.
        join_all(
            messages
                .iter()
                .map(|message| send(&channel, queue, &message.body, properties(message))),
        )
        .await
    }
}

fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    if let Some(traceparent) = &message.traceparent {
        headers.insert(
            TRACEPARENT.into(),
            AMQPValue::LongString(traceparent.as_str().into()),
        );
    }
    BasicProperties::default()
        .with_content_type(message.kind.into())
        .with_message_id(message.message_id.as_str().into())
        .with_headers(headers)
}

async fn send(
    channel: &Channel,
    queue: &Queue,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), BusError> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirmed = async {
        let confirm = channel
            .basic_publish(
                "".into(),
                queue.name().into(),
                options,
                body,
                properties.with_delivery_mode(PERSISTENT),
            )
            .await?;
        confirm.await
    };
    match tokio::time::timeout(CONFIRM, confirmed).await {
        Err(_) => Err(BusError::NoConfirm(queue.name().to_owned())),
        Ok(Err(cause)) => Err(cause.into()),
        Ok(Ok(Confirmation::Ack(None))) => Ok(()),
        // An unroutable message is acked too, and returned with it.
        Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
            Err(BusError::Unroutable(queue.name().to_owned()))
        }
        Ok(Ok(_)) => Err(BusError::Refused(queue.name().to_owned())),
    }
}
