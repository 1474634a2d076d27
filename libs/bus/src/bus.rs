use std::{sync::Arc, time::Duration};

use lapin::{
    Channel,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{BusError, Consumer, Publisher, Queue, link::Link};

/// How long the broker has for one thing asked of it.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// The broker. Clones share its two connections; dropping the last one closes them.
#[derive(Clone)]
pub struct Bus {
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
    closed: CancellationToken,
    tasks: TaskTracker,
    _last: Arc<DropGuard>,
}

impl Bus {
    /// Connects twice: a broker that is short of memory stops reading from those who publish, and acks must still
    /// get through. From then on broken connections are made again, however long that takes.
    ///
    /// # Errors
    ///
    /// When the broker can't be reached now.
    pub async fn connect(url: &str, name: &str) -> Result<Self, BusError> {
        let (closed, tasks) = (CancellationToken::new(), TaskTracker::new());
        let last = Arc::new(closed.clone().drop_guard());
        let publishing =
            Link::open(url, format!("{name} publishes"), closed.clone(), &tasks).await?;
        let consuming = Link::open(url, format!("{name} consumes"), closed.clone(), &tasks).await?;
        let publisher = Publisher::new(publishing.clone());
        Ok(Self {
            publishing,
            consuming,
            publisher,
            closed,
            tasks,
            _last: last,
        })
    }

    /// Makes sure that the queue is there, and the one its messages are put aside in.
    ///
    /// # Errors
    ///
    /// When the broker is away, or has a queue of this name that is not like ours.
    pub async fn declare(&self, queue: &Queue) -> Result<(), BusError> {
        in_time(async { declare(&self.publishing.channel().await?, queue).await }).await
    }

    pub(crate) fn publishing(&self) -> &Link {
        &self.publishing
    }

    /// Someone to publish with.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Declares the queue and consumes from it; at most `prefetch` deliveries are out at a time.
    ///
    /// # Errors
    ///
    /// When the broker is away or refuses.
    pub async fn consumer(&self, queue: &Queue, prefetch: u16) -> Result<Consumer, BusError> {
        in_time(Consumer::open(
            self.consuming.clone(),
            queue.clone(),
            prefetch,
            self.closed.child_token(),
        ))
        .await
    }

    /// Both connections are there, and the broker takes messages.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.publishing.is_up() && self.consuming.is_up()
    }

    /// How many messages wait in the queue, those that are out not counted.
    ///
    /// # Errors
    ///
    /// When the broker is away, or there is no such queue.
    pub async fn ready_count(&self, queue: &Queue) -> Result<u32, BusError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        // A missing queue closes the channel that asked, so each question has its own.
        in_time(async {
            let channel = self.publishing.channel().await?;
            Ok(channel
                .queue_declare(queue.short()?, options, FieldTable::default())
                .await?
                .message_count())
        })
        .await
    }

    /// Deletes the queue and what is in it. One that isn't there is fine.
    ///
    /// # Errors
    ///
    /// When the broker is away or refuses.
    pub async fn delete(&self, queue: &Queue) -> Result<(), BusError> {
        in_time(async {
            self.publishing
                .channel()
                .await?
                .queue_delete(queue.short()?, QueueDeleteOptions::default())
                .await?;
            Ok(())
        })
        .await
    }

    /// Closes both connections; consumers end, and what is not acked goes back to its queue.
    pub async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

pub(crate) async fn declare(channel: &Channel, queue: &Queue) -> Result<(), BusError> {
    for queue in queue.aside().iter().chain([queue]) {
        channel
            .queue_declare(
                queue.short()?,
                QueueDeclareOptions::durable(),
                queue.arguments(),
            )
            .await?;
    }
    Ok(())
}

pub(crate) async fn in_time<T>(
    work: impl Future<Output = Result<T, BusError>>,
) -> Result<T, BusError> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(done) => done,
        Err(_) => Err(BusError::Late(ANSWER.as_secs())),
    }
}
