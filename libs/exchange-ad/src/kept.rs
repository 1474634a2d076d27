//! Connections between two calls: idle ones, and those that a listing's next page must come from.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use calgrant_exchange::CallError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{listing::Listing, session::Session};

/// For how long an idle connection is kept; controllers close them after 15 minutes, firewalls sooner.
const IDLE: Duration = Duration::from_secs(60);
/// For how long a listing waits for its next page to be asked for.
const LISTING: Duration = Duration::from_secs(600);
/// Idle connections, and listings under way, at most; more, and the oldest goes.
const IDLE_CONNECTIONS: usize = 2;
const LISTINGS: usize = 16;

/// What is kept.
#[derive(Default)]
pub(crate) struct Kept {
    idle: Vec<(OffsetDateTime, Session)>,
    listings: HashMap<String, (OffsetDateTime, Listing)>,
    /// The account was refused; until then it isn't tried again.
    refused: Option<(OffsetDateTime, CallError)>,
    /// Groups that are too much for the server to walk through.
    walking: HashSet<Uuid>,
}

impl Kept {
    /// An idle connection.
    pub(crate) fn session(&mut self, now: OffsetDateTime) -> Option<Session> {
        self.tidy(now);
        while let Some((_, mut session)) = self.idle.pop() {
            if session.is_alive() {
                return Some(session);
            }
        }
        None
    }

    /// Whether the account is signed in on some connection.
    pub(crate) fn is_signed_in(&mut self, now: OffsetDateTime) -> bool {
        self.tidy(now);
        self.idle.retain_mut(|(_, session)| session.is_alive());
        !self.idle.is_empty() || !self.listings.is_empty()
    }

    /// Keeps a connection for the next call.
    pub(crate) fn keep(&mut self, session: Session, now: OffsetDateTime) {
        if self.idle.len() == IDLE_CONNECTIONS {
            self.idle.remove(0);
        }
        self.idle.push((now, session));
    }

    /// A listing, by the place to go on from.
    pub(crate) fn listing(&mut self, place: &str, now: OffsetDateTime) -> Option<Listing> {
        self.tidy(now);
        self.listings.remove(place).map(|(_, listing)| listing)
    }

    /// Keeps a listing for its next page.
    pub(crate) fn keep_listing(&mut self, place: String, listing: Listing, now: OffsetDateTime) {
        if self.listings.len() >= LISTINGS {
            let oldest = self.listings.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                self.listings.remove(&oldest);
            }
        }
        self.listings.insert(place, (now, listing));
    }

    /// The refusal that still holds.
    pub(crate) fn refusal(&mut self, now: OffsetDateTime) -> Option<CallError> {
        self.refused.take_if(|(until, _)| *until <= now);
        self.refused.as_ref().map(|(_, error)| error.clone())
    }

    /// The account was refused.
    pub(crate) fn refuse(&mut self, error: CallError, until: OffsetDateTime) {
        self.refused = Some((until, error));
    }

    /// Whether we walk through this group ourselves.
    pub(crate) fn walks(&self, group: Uuid) -> bool {
        self.walking.contains(&group)
    }

    /// From now on we walk through this group ourselves.
    pub(crate) fn walk(&mut self, group: Uuid) {
        self.walking.insert(group);
    }

    fn tidy(&mut self, now: OffsetDateTime) {
        self.idle.retain(|(since, _)| now - *since < IDLE);
        self.listings.retain(|_, (since, _)| now - *since < LISTING);
    }
}
