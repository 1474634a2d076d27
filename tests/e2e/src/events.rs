//! Identity management, as it tells of people; and what is asked of events afterwards.

use calgrant_bus::{Announcement, Bus, Message, Queue};
use calgrant_contract::{
    cloud_event::{CloudEvent, STRUCTURED},
    onboarding::event_type,
    pb::{
        provisioning::v1::{ListOperationsRequest, Operation},
        status::v1::{DeadLetter, DeadLetterFilter, DeadLetterState, ListDeadLettersRequest},
    },
};
use calgrant_domain::EventKind;
use calgrant_testkit::eventually_within;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{House, IDENTITY, TENANT, house::OPERATION};

/// Whoever sends events to a house.
#[derive(Clone)]
pub struct Identity {
    /// Its connection to the broker.
    pub bus: Bus,
}

/// An event of the tenant, `seconds` after the first.
#[must_use]
pub fn event(id: &str, kind: EventKind, address: &str, seconds: i64) -> CloudEvent {
    CloudEvent {
        source: "/identity".to_owned(),
        id: id.to_owned(),
        kind: event_type(kind),
        subject: None,
        time: Some(OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(1_790_000_000 + seconds)),
        extensions: std::collections::BTreeMap::new(),
        data: json!({"tenant": TENANT, "mailbox": {"address": address}}),
    }
}

impl Identity {
    /// Connected to the broker of a house.
    ///
    /// # Panics
    /// The broker is away.
    pub async fn of(house: &House) -> Self {
        let bus = Bus::connect(house.vhost.url(), "identity").await;
        let bus = bus.unwrap_or_else(|cause| panic!("the broker: {cause}"));
        // What is sent before onboarding listens would be lost: that is how topics are.
        let (events, keys) = (Queue::events(), ["mailbox.#".to_owned()]);
        bus.bind(&events, IDENTITY, &keys)
            .await
            .unwrap_or_else(|cause| panic!("the broker: {cause}"));
        Self { bus }
    }

    /// Sends an event in structured mode.
    ///
    /// # Panics
    /// The broker doesn't take it.
    pub async fn send(&self, event: &CloudEvent) {
        let body = event.to_json().unwrap_or_else(|cause| panic!("{cause}"));
        self.send_raw(body, STRUCTURED).await;
    }

    /// Sends something.
    ///
    /// # Panics
    /// The broker doesn't take it.
    pub async fn send_raw(&self, body: Vec<u8>, kind: &'static str) {
        let message = Message {
            body,
            message_id: uuid::Uuid::new_v4().to_string(),
            kind,
            traceparent: None,
        };
        let event = Announcement {
            key: "mailbox.event".to_owned(),
            message,
        };
        let publisher = self.bus.publisher();
        // Refused for a moment while the queue is just being made: a repeat is harmless, by its id.
        eventually_within(OPERATION, "the event is taken", async || {
            let told = publisher.announce(IDENTITY, vec![event.clone()]).await;
            told.iter().all(Result::is_ok)
        })
        .await;
    }
}

impl House {
    /// Every operation of the tenant, oldest first.
    ///
    /// # Panics
    /// The api refuses.
    pub async fn operations(&self) -> Vec<Operation> {
        let request = ListOperationsRequest {
            tenant: TENANT.to_owned(),
            page_size: 1000,
            ..ListOperationsRequest::default()
        };
        let listed = self.provisioning.clone().list_operations(request).await;
        let listed = listed.unwrap_or_else(|status| panic!("{status:?}"));
        let mut operations = listed.into_inner().operations;
        operations.reverse();
        operations
    }

    /// Waits until an event has brought this many operations about in all. Answers them, oldest first.
    ///
    /// # Panics
    /// It doesn't.
    pub async fn brought_about(&self, number: usize) -> Vec<Operation> {
        let mut operations = Vec::new();
        eventually_within(OPERATION, "events bring operations about", async || {
            operations = self.operations().await;
            operations.len() >= number
        })
        .await;
        assert_eq!(operations.len(), number, "{operations:?}");
        operations
    }

    /// Dead letters of a state that match a filter, newest first.
    ///
    /// # Panics
    /// The api refuses.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        state: DeadLetterState,
    ) -> Vec<DeadLetter> {
        let request = ListDeadLettersRequest {
            filter: Some(filter),
            state: state.into(),
            ..ListDeadLettersRequest::default()
        };
        let listed = self.status.clone().list_dead_letters(request).await;
        listed
            .unwrap_or_else(|status| panic!("{status:?}"))
            .into_inner()
            .dead_letters
    }

    /// Waits until this many dead letters wait. Answers them, newest first.
    ///
    /// # Panics
    /// They don't.
    pub async fn dead(&self, number: usize) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        eventually_within(OPERATION, "messages are dead-lettered", async || {
            let waiting = self.dead_letters(DeadLetterFilter::default(), DeadLetterState::Waiting);
            letters = waiting.await;
            letters.len() >= number
        })
        .await;
        assert_eq!(letters.len(), number, "{letters:?}");
        letters
    }

    /// What the simulator knows of one mailbox.
    ///
    /// # Panics
    /// There is none of this address.
    pub async fn member(&self, selected: &str, address: &str) -> Value {
        let members = self.members(selected).await;
        let found = members
            .into_iter()
            .find(|member| member["address"] == address);
        found.unwrap_or_else(|| panic!("no {address} in {selected}"))
    }
}
