use std::time::Duration;

use futures::StreamExt;
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BusError, Publisher, Queue,
    bus::{declare, in_time},
    link::Link,
    publisher::{Sealed, TRACEPARENT},
};

/// Between tries to consume again.
const AGAIN: Duration = Duration::from_millis(500);

/// Takes messages from one queue, until stopped.
pub struct Consumer {
    link: Link,
    queue: Queue,
    prefetch: u16,
    ended: CancellationToken,
    /// None while it must be opened again.
    open: Option<(Channel, lapin::Consumer)>,
}

impl Consumer {
    pub(crate) async fn open(
        link: Link,
        queue: Queue,
        prefetch: u16,
        ended: CancellationToken,
    ) -> Result<Self, BusError> {
        let open = Some(consume(&link, &queue, prefetch).await?);
        Ok(Self {
            link,
            queue,
            prefetch,
            ended,
            open,
        })
    }

    /// The next message. After an outage it goes on with the messages that were out, again. None once stopped, or
    /// when the bus is closed. It may be dropped while it waits: no message is lost by that.
    pub async fn next(&mut self) -> Option<Delivery> {
        let ended = self.ended.clone();
        tokio::select! {
            biased;
            () = ended.cancelled() => None,
            delivery = self.arrival() => Some(delivery),
        }
    }

    async fn arrival(&mut self) -> Delivery {
        loop {
            if let Some((_, stream)) = &mut self.open {
                match stream.next().await {
                    Some(Ok(delivery)) => return Delivery::new(delivery, &self.queue),
                    Some(Err(cause)) => {
                        tracing::debug!(queue = self.queue.name(), %cause, "consuming broke");
                    }
                    None => tracing::debug!(queue = self.queue.name(), "consuming ended"),
                }
                self.open = None;
            }
            match in_time(consume(&self.link, &self.queue, self.prefetch)).await {
                Ok(open) => self.open = Some(open),
                Err(cause) => {
                    tracing::debug!(queue = self.queue.name(), %cause, "can't consume yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits for one message, then takes what else comes within `linger`, `max` at most. Empty once stopped, or when
    /// the bus is closed. Dropped while it waits for more, it gives up what it has: those come again after the next
    /// outage only, so let it finish.
    pub async fn next_batch(&mut self, max: usize, linger: Duration) -> Vec<Delivery> {
        let Some(first) = self.next().await else {
            return Vec::new();
        };
        let mut batch = vec![first];
        // What was taken is in `batch`, outside the future that the time may cut off.
        let _ = tokio::time::timeout(linger, async {
            while batch.len() < max {
                let Some(more) = self.next().await else {
                    return;
                };
                batch.push(more);
            }
        })
        .await;
        batch
    }

    /// Takes no more. Deliveries that are out may still be acked; those never handed out go back to the queue once
    /// the consumer is dropped and the others are acked.
    pub async fn stop(&mut self) {
        self.ended.cancel();
        if let Some((channel, stream)) = &self.open {
            let cancelled = in_time(async {
                Ok(channel
                    .basic_cancel(stream.tag(), BasicCancelOptions::default())
                    .await?)
            });
            if let Err(cause) = cancelled.await {
                tracing::debug!(queue = self.queue.name(), %cause, "not cancelled; it ends with its channel");
            }
        }
    }
}

async fn consume(
    link: &Link,
    queue: &Queue,
    prefetch: u16,
) -> Result<(Channel, lapin::Consumer), BusError> {
    let channel = link.channel().await?;
    declare(&channel, queue).await?;
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    // The broker makes up the tag.
    let stream = channel
        .basic_consume(
            queue.name().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok((channel, stream))
}

/// A message that is ours until acked, or until the connection breaks.
pub struct Delivery {
    /// What it says.
    pub body: Vec<u8>,
    /// By which to know one that was here before; empty when the sender gave none.
    pub message_id: String,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// It was out before, with us or with another.
    pub redelivered: bool,
    queue: Queue,
    properties: lapin::BasicProperties,
    acker: Acker,
}

impl Delivery {
    fn new(delivery: lapin::message::Delivery, queue: &Queue) -> Self {
        let header = |key: &str| match delivery.properties.headers().as_ref()?.inner().get(key)? {
            AMQPValue::LongString(text) => {
                Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
            }
            _ => None,
        };
        Self {
            message_id: delivery
                .properties
                .message_id()
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            traceparent: header(TRACEPARENT),
            redelivered: delivery.redelivered,
            queue: queue.clone(),
            body: delivery.data,
            properties: delivery.properties,
            acker: delivery.acker,
        }
    }

    /// Done with it: the broker forgets it. False when it is no longer ours, because the connection broke since: then
    /// it comes again.
    ///
    /// # Errors
    ///
    /// When the connection breaks over it; it may come again.
    pub async fn ack(self) -> Result<bool, BusError> {
        match self.acker.ack(BasicAckOptions::default()).await {
            Err(_) if self.acker.poisoned() => Ok(false),
            done => Ok(done?),
        }
    }

    /// Puts it aside, with the reason, for a person to look at.
    ///
    /// # Errors
    ///
    /// When it is not stored there, or can't be acked here; it comes again.
    pub async fn dead_letter(
        mut self,
        publisher: &Publisher,
        reason: &str,
    ) -> Result<(), BusError> {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert("x-reason".into(), AMQPValue::LongString(reason.into()));
        headers.insert(
            "x-from-queue".into(),
            AMQPValue::LongString(self.queue.name().into()),
        );
        let message = Sealed {
            body: std::mem::take(&mut self.body),
            properties: self.properties.clone().with_headers(headers),
        };
        publisher
            .send(&Queue::dead(), vec![message])
            .await
            .pop()
            .unwrap_or(Err(BusError::Away))?;
        self.ack().await?;
        Ok(())
    }
}
