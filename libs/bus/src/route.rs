//! Routes: where messages come from others, and go to whoever listens.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions},
    types::FieldTable,
};

use crate::{
    Bus, BusError, Message, Publisher, Queue,
    bus::{ANSWER, declare, in_time},
    publisher::{Try, one_try},
    topology::short,
};

/// Something that is published by a route.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The routing key: words joined by dots.
    pub key: String,
    /// What it says.
    pub message: Message,
}

impl Bus {
    /// Has the queue receive what is published by the route under one of these keys (`*` stands for a word, `#` for any number of them).
    /// A queue that isn't there is declared; so is a route, as a durable topic. One that is there stays as it is.
    ///
    /// # Errors
    ///
    /// When the broker is away or refuses.
    pub async fn bind(&self, queue: &Queue, route: &str, keys: &[String]) -> Result<(), BusError> {
        let route_name = short(route, "the name of the exchange")?;
        in_time(async {
            self.declare_route(route).await?;
            let channel = self.publishing().channel().await?;
            declare(&channel, queue).await?;
            for key in keys {
                channel
                    .queue_bind(
                        queue.short()?,
                        route_name.clone(),
                        short(key, "the binding")?,
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Makes sure that the route is there.
    async fn declare_route(&self, route: &str) -> Result<(), BusError> {
        // To ask for one that isn't there closes the channel.
        if is_there(&self.publishing().channel().await?, route).await? {
            return Ok(());
        }
        make(&self.publishing().channel().await?, route).await
    }
}

async fn is_there(channel: &Channel, route: &str) -> Result<bool, BusError> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let asked = channel.exchange_declare(
        short(route, "the name of the exchange")?,
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    Ok(asked.await.is_ok())
}

async fn make(channel: &Channel, route: &str) -> Result<(), BusError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let made = channel.exchange_declare(
        short(route, "the name of the exchange")?,
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    Ok(made.await?)
}

impl Publisher {
    /// Publishes by a route, all at once, and says of each message whether the broker has it. An error means that it may not: publish it
    /// again. That nobody listens is no error. A route that isn't there is declared.
    pub async fn announce(
        &self,
        route: &str,
        announcements: Vec<Announcement>,
    ) -> Vec<Result<(), BusError>> {
        let count = announcements.len();
        let late = || Err(BusError::Late(ANSWER.as_secs()));
        match tokio::time::timeout(ANSWER, self.announce_within(route, announcements)).await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(cause)) => vec![Err(cause); count],
            Err(_) => (0..count).map(|_| late()).collect(),
        }
    }

    async fn announce_within(
        &self,
        route: &str,
        announcements: Vec<Announcement>,
    ) -> Result<Vec<Result<(), BusError>>, BusError> {
        let name = short(route, "the name of the exchange")?;
        let mut sealed = Vec::with_capacity(announcements.len());
        for announcement in announcements {
            let key = short(&announcement.key, "the routing key")?;
            sealed.push((key, announcement.message.sealed()?));
        }
        let mut declared = false;
        loop {
            let channel = self.channel().await?;
            let pending = sealed.iter().map(|(key, message)| (key, message));
            let tried = one_try(&channel, &name, pending).await;
            let broken = !channel.status().connected();
            self.done_with(channel);
            // The broker closes the channel when there is no such route.
            if broken && !declared {
                declared = true;
                if !is_there(&self.channel().await?, route).await? {
                    make(&self.channel().await?, route).await?;
                }
                continue;
            }
            let outcomes = tried.into_iter().map(|tried| match tried {
                Try::Stored | Try::Returned => Ok(()),
                Try::Failed(cause) => Err(cause),
            });
            return Ok(outcomes.collect());
        }
    }
}
