//! Consuming: deliveries are taken when they are wanted, and acked when their effect is durable.

use std::time::Duration;

use futures::StreamExt;
use lapin::{
    BasicProperties, Channel,
    message::Delivery as Raw,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tracing::{info, warn};

use crate::{Bus, BusError, Publisher, Queue, publisher::TRACEPARENT};

/// Pause before the broker is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Takes deliveries of one queue. Comes back by itself when the broker does.
pub struct Consumer {
    bus: Bus,
    queue: Queue,
    prefetch: u16,
    channel: Channel,
    stream: lapin::Consumer,
    stopped: bool,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// A message in our hands until it is acked.
#[derive(Debug)]
pub struct Delivery {
    /// What it says.
    pub body: Vec<u8>,
    /// Its id.
    pub message_id: String,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    raw: Raw,
    queue: Queue,
}

impl Consumer {
    pub(crate) async fn start(
        bus: Bus,
        queue: Queue,
        prefetch: u16,
        channel: Channel,
    ) -> Result<Self, BusError> {
        let stream = channel
            .basic_consume(
                queue.name().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Self {
            bus,
            queue,
            prefetch,
            channel,
            stream,
            stopped: false,
        })
    }

    /// The next delivery; `None` once it was stopped. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if self.stopped {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(raw)) => return Some(Delivery::new(raw, self.queue.clone())),
                Some(Err(cause)) => {
                    warn!(error = %cause, queue = self.queue.name(), "deliveries are interrupted")
                }
                None => {}
            }
            self.again().await;
        }
    }

    /// Up to `most` deliveries: waits for the first, and `linger` for more. Empty once it was stopped.
    pub async fn next_batch(&mut self, most: usize, linger: Duration) -> Vec<Delivery> {
        let mut batch: Vec<_> = self.next().await.into_iter().collect();
        let enough = tokio::time::sleep(linger);
        tokio::pin!(enough);
        while !batch.is_empty() && batch.len() < most {
            tokio::select! {
                biased;
                more = self.stream.next() => match more {
                    Some(Ok(raw)) => batch.push(Delivery::new(raw, self.queue.clone())),
                    // The next call comes back to it.
                    _ => break,
                },
                () = &mut enough => break,
            }
        }
        batch
    }

    /// Takes no more. What isn't acked stays ours until the bus is closed.
    pub async fn stop(&mut self) {
        self.stopped = true;
        let tag = self.stream.tag();
        if let Err(cause) = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default())
            .await
        {
            info!(error = %cause, queue = self.queue.name(), "the consumer was gone already");
        }
    }

    /// Consumes anew, on a new connection if need be, however long that takes.
    async fn again(&mut self) {
        loop {
            tokio::time::sleep(RETRY).await;
            match self.attempt().await {
                Ok((channel, stream)) => {
                    info!(queue = self.queue.name(), "deliveries go on");
                    (self.channel, self.stream) = (channel, stream);
                    return;
                }
                Err(cause) => {
                    warn!(error = %cause, queue = self.queue.name(), "waiting for RabbitMQ")
                }
            }
        }
    }

    async fn attempt(&self) -> Result<(Channel, lapin::Consumer), BusError> {
        let channel = self.bus.consuming_channel().await?;
        self.bus.declare(&self.queue).await?;
        channel
            .basic_qos(self.prefetch, BasicQosOptions::default())
            .await?;
        let stream = channel
            .basic_consume(
                self.queue.name().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((channel, stream))
    }
}

impl Delivery {
    fn new(mut raw: Raw, queue: Queue) -> Self {
        let traceparent = raw.properties.headers().as_ref().and_then(|headers| {
            match headers.inner().get(TRACEPARENT) {
                Some(AMQPValue::LongString(text)) => Some(text.to_string()),
                _ => None,
            }
        });
        let message_id = raw
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        Self {
            body: std::mem::take(&mut raw.data),
            message_id,
            traceparent,
            redelivered: raw.redelivered,
            raw,
            queue,
        }
    }

    /// Says that its effect is durable. `false` if the connection it came by is gone: then it is delivered again.
    ///
    /// # Errors
    /// The broker isn't there: it is delivered again.
    pub async fn ack(self) -> Result<bool, BusError> {
        Ok(self.raw.ack(BasicAckOptions::default()).await?)
    }

    /// Puts it with the dead letters, saying why, and acks it when it is stored there.
    ///
    /// # Errors
    /// It isn't stored there: it is delivered again.
    pub async fn dead_letter(self, publisher: &Publisher, reason: &str) -> Result<(), BusError> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = self.raw.properties.headers().clone().unwrap_or_default();
        headers.insert("calgrant-reason".into(), text(reason));
        headers.insert("calgrant-queue".into(), text(self.queue.name()));
        let properties = BasicProperties::default()
            .with_message_id(self.message_id.as_str().into())
            .with_headers(headers);
        publisher
            .publish_with(&Queue::dead(), &self.body, properties)
            .await?;
        self.ack().await.map(drop)
    }
}
