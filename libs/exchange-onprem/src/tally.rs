//! What a round of calls took. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::transport::http::Sent;

/// What a round took.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that went out.
    pub(crate) round_trips: u32,
    /// The first byte of the last request.
    pub(crate) last: Option<OffsetDateTime>,
}

impl Tally {
    /// Counts a request, if it went out.
    pub(crate) fn count(&mut self, sent: &Sent) {
        if sent.first_byte.is_some() {
            self.round_trips += 1;
        }
        self.last = self.last.max(sent.first_byte);
    }

    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.round_trips += other.round_trips;
        self.last = self.last.max(other.last);
    }

    /// From the start to the first byte of the last request.
    pub(crate) fn sent_after(&self, started: OffsetDateTime) -> Option<Duration> {
        self.last
            .and_then(|last| Duration::try_from(last - started).ok())
    }
}
