//! One connection that is made again whenever it breaks.
//!
//! lapin can recover a connection in place; we make a new one. Recovery in place gives up after so many tries,
//! replays consumers nobody holds any more, and would still need this file for when it has given up.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use lapin::{Channel, Connection, ConnectionProperties, uri::AMQPUri};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::BusError;

/// How long making one connection may take.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A dead peer is noticed after about twice this, if the address doesn't say otherwise.
const HEARTBEAT_SECS: u16 = 10;
/// How often a connection is looked at that has told us nothing.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Link {
    current: watch::Receiver<Option<Arc<Connection>>>,
    closed: CancellationToken,
}

impl Link {
    /// Connects once, then keeps connected until `closed`.
    pub(crate) async fn open(
        url: &str,
        name: String,
        closed: CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, BusError> {
        let first = connect(url, &name).await?;
        let (sender, current) = watch::channel(Some(Arc::clone(&first)));
        tasks.spawn(keep(url.to_owned(), name, first, sender, closed.clone()));
        Ok(Self { current, closed })
    }

    /// Connected, and the broker takes messages.
    pub(crate) fn is_up(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(|connection| {
            connection.status().connected() && !connection.status().blocked()
        })
    }

    /// A new channel, as soon as there is a connection.
    pub(crate) async fn channel(&self) -> Result<Channel, BusError> {
        let mut current = self.current.clone();
        loop {
            let there = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(BusError::Closed),
                there = current.wait_for(|current| current.as_ref().is_some_and(|connection| connection.status().connected())) => match there {
                    Ok(there) => there.clone(),
                    Err(_) => return Err(BusError::Closed),
                },
            };
            let Some(connection) = there else { continue };
            match connection.create_channel().await {
                Err(_) if !connection.status().connected() => {}
                made => return Ok(made?),
            }
        }
    }
}

async fn connect(url: &str, name: &str) -> Result<Arc<Connection>, BusError> {
    // Read here, for lapin's own error repeats the address, password and all.
    let mut uri: AMQPUri = url.parse().map_err(|_| BusError::Url)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match tokio::time::timeout(CONNECT, Connection::connect_uri(uri, properties)).await {
        Ok(connection) => Ok(Arc::new(connection?)),
        Err(_) => Err(BusError::Late(CONNECT.as_secs())),
    }
}

async fn keep(
    url: String,
    name: String,
    mut connection: Arc<Connection>,
    sender: watch::Sender<Option<Arc<Connection>>>,
    closed: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = closed.cancelled() => {
                sender.send_replace(None);
                // It may be broken by now, and then it is as good as closed.
                let _ = tokio::time::timeout(CONNECT, connection.close(200, "done".into())).await;
                return;
            }
            () = broken(&connection) => {}
        }
        tracing::warn!(connection = %name, "the broker is away");
        sender.send_replace(None);
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        connection = loop {
            let made = tokio::select! {
                biased;
                () = closed.cancelled() => return,
                made = connect(&url, &name) => made,
            };
            match made {
                Ok(connection) => break connection,
                Err(cause) => {
                    let cause = cause.to_string();
                    if cause != told {
                        tracing::warn!(connection = %name, %cause, "the broker can't be reached");
                        told = cause;
                    }
                }
            }
            tokio::select! {
                biased;
                () = closed.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        tracing::info!(connection = %name, "the broker is back");
        sender.send_replace(Some(Arc::clone(&connection)));
    }
}

/// Ends when the connection does.
async fn broken(connection: &Connection) {
    let mut events = connection.events_listener();
    while connection.status().connected() {
        // Its events say so at once; the look is for one that came before we listened.
        let _ = tokio::time::timeout(LOOK, events.next()).await;
    }
}
