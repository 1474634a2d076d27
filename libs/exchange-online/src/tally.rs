//! What a round of calls took. Pure.

use time::OffsetDateTime;

use crate::http::Sent;

/// What a round took.
#[derive(Default)]
pub(crate) struct Tally {
    /// Requests that went out.
    pub(crate) round_trips: u32,
    /// The first byte of the last request.
    pub(crate) last: Option<OffsetDateTime>,
}

impl Tally {
    /// Counts a request, if it went out.
    pub(crate) fn count(&mut self, sent: &Sent) {
        if sent.first_byte.is_some() || sent.reply.is_ok() {
            self.round_trips += 1;
        }
        self.last = self.last.max(sent.first_byte);
    }

    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.round_trips += other.round_trips;
        self.last = self.last.max(other.last);
    }
}
