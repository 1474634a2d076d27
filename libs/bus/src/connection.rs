//! Connections: one for publishing, one for consuming, because a broker under a memory alarm stops reading
//! from publishers, and their acks with them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use lapin::{
    Channel, Connection, ConnectionProperties, Event,
    options::{BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
};
use tracing::{info, warn};

use crate::{Consumer, Publisher, Queue};

/// Something went wrong between us and the broker.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The broker, or the way to it.
    #[error("RabbitMQ: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker has no queue for the message.
    #[error("RabbitMQ has no queue {0}")]
    Unroutable(String),
    /// The broker refused the message: the queue is full or has no majority of its nodes.
    #[error("RabbitMQ refused a message for {0}")]
    Refused(String),
    /// No confirm in time.
    #[error("RabbitMQ did not confirm a message for {0} in time")]
    NoConfirm(String),
}

/// Connected to a broker; cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    name: String,
    publishing: Link,
    consuming: Link,
}

/// A connection that is made anew when it is lost.
struct Link {
    role: &'static str,
    live: tokio::sync::Mutex<Option<Connection>>,
    up: Arc<AtomicBool>,
    channel: Mutex<Option<Channel>>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("name", &self.inner.name)
            .field("up", &self.is_up())
            .finish()
    }
}

impl Link {
    fn new(role: &'static str) -> Self {
        Self {
            role,
            live: tokio::sync::Mutex::new(None),
            up: Arc::default(),
            channel: Mutex::new(None),
        }
    }

    /// A new channel, on a new connection if the old one is gone.
    async fn open(&self, url: &str, name: &str) -> Result<Channel, BusError> {
        let mut live = self.live.lock().await;
        if let Some(connection) = live
            .as_ref()
            .filter(|connection| connection.status().connected())
        {
            return Ok(connection.create_channel().await?);
        }
        self.up.store(false, Ordering::Release);
        let label = format!("calgrant {name} {}", self.role);
        let connection = tokio::time::timeout(
            Duration::from_secs(10),
            Connection::connect(
                url,
                ConnectionProperties::default().with_connection_name(label.into()),
            ),
        )
        .await
        .map_err(|_| {
            BusError::Broker(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        })??;
        self.watch(&connection);
        let channel = connection.create_channel().await?;
        self.up.store(true, Ordering::Release);
        *live = Some(connection);
        Ok(channel)
    }

    /// Follows what the connection says of itself; ends with it.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the connection, and nothing is lost when it is cut off"
    )]
    fn watch(&self, connection: &Connection) {
        let (up, role, mut events) = (
            Arc::clone(&self.up),
            self.role,
            connection.events_listener(),
        );
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        warn!(reason, "RabbitMQ blocks the {role} connection");
                        up.store(false, Ordering::Release);
                    }
                    Event::ConnectionUnblocked => {
                        info!("RabbitMQ unblocks the {role} connection");
                        up.store(true, Ordering::Release);
                    }
                    Event::Error(cause) if !cause.can_be_recovered() || !cause.is_io_error() => {}
                    Event::Error(cause) => {
                        warn!(error = %cause, "the {role} connection to RabbitMQ is lost");
                        up.store(false, Ordering::Release);
                    }
                    _ => {}
                }
            }
        });
    }
}

impl Bus {
    /// Connects twice, and declares the queues that are always there.
    ///
    /// # Errors
    /// The broker isn't there, or refuses us.
    pub async fn connect(url: &str, name: &str) -> Result<Self, BusError> {
        let inner = Inner {
            url: url.to_owned(),
            name: name.to_owned(),
            publishing: Link::new("publishing"),
            consuming: Link::new("consuming"),
        };
        let bus = Self {
            inner: Arc::new(inner),
        };
        bus.declare(&Queue::dead()).await?;
        bus.declare(&Queue::results()).await?;
        bus.consuming_channel().await?;
        Ok(bus)
    }

    /// Whether both connections stand and the broker takes messages.
    pub fn is_up(&self) -> bool {
        [&self.inner.publishing, &self.inner.consuming]
            .iter()
            .all(|link| link.up.load(Ordering::Acquire))
    }

    /// A publisher. All of a bus share one channel.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.clone())
    }

    /// A consumer with so many unacked deliveries at the most. Declares the queue.
    ///
    /// # Errors
    /// The broker isn't there.
    pub async fn consumer(&self, queue: &Queue, prefetch: u16) -> Result<Consumer, BusError> {
        let channel = self.consuming_channel().await?;
        declare_on(&channel, queue).await?;
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await?;
        Consumer::start(self.clone(), queue.clone(), prefetch, channel).await
    }

    /// Declares a queue. Harmless to repeat.
    ///
    /// # Errors
    /// The broker isn't there, or has a queue of this name that is made otherwise.
    pub async fn declare(&self, queue: &Queue) -> Result<(), BusError> {
        let channel = self
            .inner
            .publishing
            .open(&self.inner.url, &self.inner.name)
            .await?;
        declare_on(&channel, queue).await?;
        Ok(())
    }

    /// How many messages are ready in a queue.
    ///
    /// # Errors
    /// The broker isn't there, or has no such queue.
    pub async fn ready_count(&self, queue: &Queue) -> Result<u32, BusError> {
        let channel = self.consuming_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        Ok(channel
            .queue_declare(queue.name().into(), options, queue.arguments())
            .await?
            .message_count())
    }

    /// Deletes a queue with what is in it: when its tenant is gone.
    ///
    /// # Errors
    /// The broker isn't there.
    pub async fn delete(&self, queue: &Queue) -> Result<(), BusError> {
        self.consuming_channel()
            .await?
            .queue_delete(queue.name().into(), QueueDeleteOptions::default())
            .await?;
        Ok(())
    }

    /// Closes both connections; what isn't acked is delivered again.
    pub async fn close(&self) {
        for link in [&self.inner.consuming, &self.inner.publishing] {
            if let Some(connection) = link.live.lock().await.take() {
                // It may be gone already, which is all the same now.
                let _closed = connection.close(200, "done".into()).await;
            }
            link.up.store(false, Ordering::Release);
        }
    }

    pub(crate) async fn consuming_channel(&self) -> Result<Channel, BusError> {
        self.inner
            .consuming
            .open(&self.inner.url, &self.inner.name)
            .await
    }

    /// The channel that publishers share, in confirm mode.
    pub(crate) async fn publishing_channel(&self) -> Result<Channel, BusError> {
        let link = &self.inner.publishing;
        let known = link
            .channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(channel) = known.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = link.open(&self.inner.url, &self.inner.name).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        *link.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel.clone());
        Ok(channel)
    }
}

async fn declare_on(channel: &Channel, queue: &Queue) -> Result<(), BusError> {
    channel
        .queue_declare(
            queue.name().into(),
            QueueDeclareOptions::durable(),
            queue.arguments(),
        )
        .await?;
    Ok(())
}
