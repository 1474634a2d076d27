use std::{collections::VecDeque, fmt, time::Duration};

use futures::{FutureExt, StreamExt};
use lapin::{
    Acker, Channel,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BusError, Queue,
    bus::{declare, in_time},
    link::Link,
    publisher::TRACEPARENT,
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
    /// Taken for a batch that nobody waited for to the end.
    kept: VecDeque<Delivery>,
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
            kept: VecDeque::new(),
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
            // What came by a lost connection comes again by the new one.
            while let Some(kept) = self.kept.pop_front() {
                if kept.is_ours() {
                    return kept;
                }
            }
            if let Some((channel, stream)) = &mut self.open {
                match stream.next().await {
                    Some(Ok(delivery)) => {
                        return Delivery::new(delivery, &self.queue, channel.clone());
                    }
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
    /// the bus is closed. It may be dropped while it waits: what it has by then comes with the next call.
    pub async fn next_batch(&mut self, max: usize, linger: Duration) -> Vec<Delivery> {
        let mut batch = Batch {
            taken: VecDeque::new(),
            consumer: self,
        };
        let Some(first) = batch.consumer.next().await else {
            return Vec::new();
        };
        batch.taken.push_back(first);
        let _ = tokio::time::timeout(linger, async {
            while batch.taken.len() < max {
                let Some(more) = batch.consumer.next().await else {
                    return;
                };
                batch.taken.push_back(more);
            }
        })
        .await;
        std::mem::take(&mut batch.taken).into()
    }

    /// Takes no more. Deliveries that are out may still be acked, also after the consumer is dropped; those never
    /// handed out go back to the queue now.
    pub async fn stop(&mut self) {
        self.ended.cancel();
        self.kept.clear();
        if let Some((channel, stream)) = &mut self.open {
            let cancelled = in_time(async {
                Ok(channel
                    .basic_cancel(stream.tag(), BasicCancelOptions::default())
                    .await?)
            });
            if let Err(cause) = cancelled.await {
                tracing::debug!(queue = self.queue.name(), %cause, "not cancelled; it ends with its channel");
            }
            while let Some(Some(Ok(unseen))) = stream.next().now_or_never() {
                give_back(&unseen.acker);
            }
        }
    }
}

/// Puts what a batch has taken back in the consumer if nobody waits for the rest.
struct Batch<'a> {
    taken: VecDeque<Delivery>,
    consumer: &'a mut Consumer,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // In front of what was kept before and not looked at yet: those are younger.
        self.taken.append(&mut self.consumer.kept);
        self.consumer.kept.append(&mut self.taken);
    }
}

/// Back to the queue at once. It counts towards the delivery limit, as going back with the connection does.
fn give_back(acker: &Acker) {
    // Polled once: that sends it, and there is nothing to wait for.
    let _ = acker
        .nack(BasicNackOptions {
            requeue: true,
            ..Default::default()
        })
        .now_or_never();
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
            queue.short()?,
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok((channel, stream))
}

/// A message that is ours until acked, or until the connection breaks. Dropped without an ack it goes back to its queue:
/// a panic or a cancelled task must not keep it from others for as long as the connection lasts.
pub struct Delivery {
    /// What it says.
    pub body: Vec<u8>,
    /// By which to know one that was here before; empty when the sender gave none.
    pub message_id: String,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// It was out before, with us or with another.
    pub redelivered: bool,
    /// How often it was out before, as the broker counts.
    pub delivery_count: u32,
    pub(crate) queue: Queue,
    pub(crate) properties: lapin::BasicProperties,
    /// None once it is acked.
    acker: Option<Acker>,
    /// Keeps the channel open, and the ack good, after the consumer is gone.
    _channel: Channel,
}

// Without the body: it may name a mailbox.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("message_id", &self.message_id)
            .field("delivery_count", &self.delivery_count)
            .finish_non_exhaustive()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take().filter(Acker::usable) {
            give_back(&acker);
        }
    }
}

impl Delivery {
    fn new(delivery: lapin::message::Delivery, queue: &Queue, channel: Channel) -> Self {
        let header = |key: &str| delivery.properties.headers().as_ref()?.inner().get(key);
        let text = |key: &str| match header(key)? {
            AMQPValue::LongString(text) => {
                Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
            }
            _ => None,
        };
        let delivery_count = match header("x-delivery-count") {
            Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(0),
            Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or(0),
            Some(AMQPValue::LongUInt(count)) => *count,
            _ => 0,
        };
        Self {
            message_id: delivery
                .properties
                .message_id()
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            traceparent: text(TRACEPARENT),
            delivery_count,
            redelivered: delivery.redelivered,
            queue: queue.clone(),
            body: delivery.data,
            properties: delivery.properties,
            acker: Some(delivery.acker),
            _channel: channel,
        }
    }

    fn is_ours(&self) -> bool {
        self.acker.as_ref().is_some_and(Acker::usable)
    }

    /// Done with it: the broker forgets it. False when it is no longer ours, because the connection broke since: then
    /// it comes again.
    ///
    /// # Errors
    ///
    /// When the connection breaks over it; it may come again.
    pub async fn ack(mut self) -> Result<bool, BusError> {
        let Some(acker) = self.acker.take() else {
            return Ok(false);
        };
        match acker.ack(BasicAckOptions::default()).await {
            Err(_) if acker.poisoned() => Ok(false),
            done => Ok(done?),
        }
    }
}
