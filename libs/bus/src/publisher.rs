use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{
    BusError, Queue,
    bus::{ANSWER, declare},
    link::Link,
    topology::short,
};

/// The header a trace is handed on in.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A message to publish.
#[derive(Clone)]
pub struct Message {
    /// What it says.
    pub body: Vec<u8>,
    /// By which readers know one they have had already. At most 255 bytes.
    pub message_id: String,
    /// The content type: what the body is.
    pub kind: &'static str,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

// Without the body: it may name a mailbox.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("message_id", &self.message_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Message {
    pub(crate) fn sealed(self) -> Result<Sealed, BusError> {
        let mut headers = FieldTable::default();
        if let Some(traceparent) = &self.traceparent {
            headers.insert(
                TRACEPARENT.into(),
                AMQPValue::LongString(traceparent.as_str().into()),
            );
        }
        Ok(Sealed {
            properties: BasicProperties::default()
                .with_content_type(short(self.kind, "the content type")?)
                .with_message_id(short(&self.message_id, "the id of the message")?)
                .with_headers(headers),
            body: self.body,
        })
    }
}

/// Publishes, and waits until the broker has stored it. Clones share channels.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    /// Channels nobody uses now. A batch has one to itself: lapin pairs a returned message with whichever confirm
    /// comes next on its channel, so only within one batch can we tell what was returned.
    idle: Arc<Mutex<Vec<Channel>>>,
}

/// A message as it is put on the wire.
pub(crate) struct Sealed {
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

/// What became of one message in one try.
pub(crate) enum Try {
    Stored,
    Returned,
    Failed(BusError),
}

impl Publisher {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            idle: Arc::default(),
        }
    }

    /// Publishes to the queue, all at once, and says of each message whether it is stored. An error means that it may
    /// or may not be: publish it again. During an outage this waits 10 seconds for the broker to come back. A queue
    /// that isn't there is declared.
    pub async fn publish_all(
        &self,
        queue: &Queue,
        messages: Vec<Message>,
    ) -> Vec<Result<(), BusError>> {
        let (mut sealed, mut refused) = (Vec::with_capacity(messages.len()), Vec::new());
        for message in messages {
            match message.sealed() {
                Ok(message) => {
                    sealed.push(message);
                    refused.push(None);
                }
                Err(cause) => refused.push(Some(Err(cause))),
            }
        }
        let mut sent = self.send(queue, sealed).await.into_iter();
        refused
            .into_iter()
            .map(|refused| {
                refused
                    .or_else(|| sent.next())
                    .unwrap_or(Err(BusError::Away))
            })
            .collect()
    }

    /// Publishes one message.
    ///
    /// # Errors
    ///
    /// When it may not be stored: publish it again.
    pub async fn publish(&self, queue: &Queue, message: Message) -> Result<(), BusError> {
        self.publish_all(queue, vec![message])
            .await
            .pop()
            .unwrap_or(Err(BusError::Away))
    }

    pub(crate) async fn send(
        &self,
        queue: &Queue,
        messages: Vec<Sealed>,
    ) -> Vec<Result<(), BusError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let key = match queue.short() {
            Ok(key) => key,
            Err(cause) => return messages.iter().map(|_| Err(cause.clone())).collect(),
        };
        let mut outcomes: Vec<Result<(), BusError>> = messages
            .iter()
            .map(|_| Err(BusError::Late(ANSWER.as_secs())))
            .collect();
        // What is stored is written into `outcomes` as it is known, so running out of time loses none of it.
        let _ =
            tokio::time::timeout(ANSWER, self.tries(queue, &key, &messages, &mut outcomes)).await;
        outcomes
    }

    async fn tries(
        &self,
        queue: &Queue,
        key: &ShortString,
        messages: &[Sealed],
        outcomes: &mut [Result<(), BusError>],
    ) {
        let mut declared = false;
        loop {
            let left: Vec<usize> = (0..messages.len())
                .filter(|&at| outcomes[at].is_err())
                .collect();
            let channel = match self.channel().await {
                Ok(channel) => channel,
                Err(cause) => {
                    left.iter()
                        .for_each(|&at| outcomes[at] = Err(cause.clone()));
                    return;
                }
            };
            let (mut returned, mut broken) = (false, false);
            let pending = left.iter().map(|&at| (key, &messages[at]));
            let tried = one_try(&channel, &"".into(), pending).await;
            for (at, tried) in left.into_iter().zip(tried) {
                outcomes[at] = match tried {
                    Try::Stored => Ok(()),
                    Try::Returned => {
                        returned = true;
                        Err(BusError::Unroutable(queue.name().to_owned()))
                    }
                    Try::Failed(cause) => {
                        broken |= matches!(cause, BusError::Broker(_));
                        Err(cause)
                    }
                };
            }
            let again = if returned && !declared {
                declared = true;
                match declare(&channel, queue).await {
                    Ok(()) => true,
                    Err(cause) => {
                        tracing::warn!(queue = queue.name(), %cause, "can't be declared");
                        false
                    }
                }
            } else {
                false
            };
            self.done_with(channel);
            // After a break the next channel waits for the connection; the pause is for a broker that breaks at once.
            if broken && !again {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            if !again && !broken {
                return;
            }
        }
    }

    pub(crate) fn done_with(&self, channel: Channel) {
        if channel.status().connected() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(channel);
        }
    }

    pub(crate) async fn channel(&self) -> Result<Channel, BusError> {
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        let channel = self.link.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }
}

/// Publishes all, then waits for all confirms.
///
/// Without a route they go to queues, by name, and one that reaches none is returned. By a route it is no fault that nobody
/// listens.
pub(crate) async fn one_try<'m>(
    channel: &Channel,
    route: &ShortString,
    messages: impl Iterator<Item = (&'m ShortString, &'m Sealed)>,
) -> Vec<Try> {
    let options = BasicPublishOptions {
        mandatory: route.as_str().is_empty(),
        ..Default::default()
    };
    let (mut confirms, mut ids) = (
        Vec::<Result<PublisherConfirm, lapin::Error>>::new(),
        Vec::new(),
    );
    for (key, message) in messages {
        let properties = message.properties.clone().with_delivery_mode(2);
        ids.push(properties.message_id().as_ref().map(ToString::to_string));
        confirms.push(
            channel
                .basic_publish(
                    route.clone(),
                    key.clone(),
                    options,
                    &message.body,
                    properties,
                )
                .await,
        );
    }
    let confirms = join_all(confirms.into_iter().map(async |confirm| match confirm {
        Ok(confirm) => confirm.await,
        Err(cause) => Err(cause),
    }));
    let confirms = confirms.await;
    // A returned message comes with some confirm of this batch, not always its own.
    let returned: HashSet<Option<String>> = confirms
        .iter()
        .filter_map(|confirm| match confirm {
            Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) => Some(
                message
                    .properties
                    .message_id()
                    .as_ref()
                    .map(ToString::to_string),
            ),
            _ => None,
        })
        .collect();
    let tried = confirms
        .into_iter()
        .zip(ids)
        .map(|(confirm, id)| match confirm {
            Ok(Confirmation::Ack(_)) if returned.contains(&id) => Try::Returned,
            Ok(Confirmation::Ack(_)) => Try::Stored,
            Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => {
                Try::Failed(BusError::Refused)
            }
            Err(cause) => Try::Failed(cause.into()),
        });
    tried.collect()
}
