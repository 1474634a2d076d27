//! Identity management: tells who joins, moves and leaves, by an exchange of its own.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::anyhow;
use calgrant_bus::{Announcement, Bus, Message, Queue};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::event_type,
};
use calgrant_domain::EventMoment;
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use serde_json::json;
use time::OffsetDateTime;

use crate::{desk::AGAIN, school::TENANTS, work::Event};

/// Its exchange.
pub(crate) const ROUTE: &str = "identity";

/// Who tells, and what was told.
pub(crate) struct Identity {
    bus: Bus,
    seed: u64,
    start: OffsetDateTime,
    told: Mutex<Vec<Event>>,
}

impl Identity {
    /// Connected to the broker, past all proxies.
    ///
    /// # Errors
    /// The broker is away.
    pub(crate) async fn new(broker: &str, seed: u64) -> anyhow::Result<Self> {
        let bus = Bus::connect(broker, "identity").await;
        let bus = bus.map_err(|cause| anyhow!("the broker: {cause}"))?;
        // What is told before onboarding listens would be lost: that is how topics are.
        bus.bind(&Queue::events(), ROUTE, &["mailbox.#".to_owned()])
            .await
            .map_err(|cause| anyhow!("the broker: {cause}"))?;
        Ok(Self {
            bus,
            seed,
            start: clock::now(),
            told: Mutex::default(),
        })
    }

    /// Tells of an event until the broker has it.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) async fn tell(&self, event: &Event) -> anyhow::Result<()> {
        self.told().push(event.clone());
        let moment = self.moment(event);
        let cloud = CloudEvent {
            source: moment.source,
            id: moment.id,
            kind: event_type(event.kind),
            subject: None,
            time: Some(moment.at),
            extensions: BTreeMap::new(),
            data: json!({
                "tenant": TENANTS[event.tenant].name,
                "mailbox": {"address": TENANTS[event.tenant].person(event.person)},
            }),
        };
        let body = cloud.to_json()?;
        for _ in 0..event.copies {
            let message = Message {
                body: body.clone(),
                message_id: uuid::Uuid::new_v4().to_string(),
                kind: STRUCTURED,
                traceparent: None,
            };
            let announcement = Announcement {
                key: "mailbox.event".to_owned(),
                message,
            };
            let publisher = self.bus.publisher();
            loop {
                let told = publisher.announce(ROUTE, vec![announcement.clone()]).await;
                if told.iter().all(Result::is_ok) {
                    break;
                }
                pass(AGAIN).await;
            }
        }
        Ok(())
    }

    /// Which event it is, and when it happened.
    pub(crate) fn moment(&self, event: &Event) -> EventMoment {
        EventMoment {
            at: self.start + event.happened,
            kind: event.kind,
            source: format!("/chaos/{}", self.seed),
            id: event.number.to_string(),
        }
    }

    /// What was told.
    pub(crate) fn told(&self) -> MutexGuard<'_, Vec<Event>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ticket of what an event brings about.
pub(crate) fn ticket(moment: &EventMoment) -> String {
    format!("event {} of {}", moment.id, moment.source)
}
