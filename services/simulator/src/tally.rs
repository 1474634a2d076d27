//! What one key's calls came to since the last mark, and what would have been allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::allowed;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    since: Duration,
    pub(crate) calls: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) refused_by: BTreeMap<String, u64>,
    pub(crate) early: u64,
    pub(crate) peak: u32,
    busy: Duration,
    /// Until when `busy` is counted.
    counted: Duration,
    /// Place-time there was under limits that are past.
    available_before: Duration,
    /// Calls that were allowed under limits that are past.
    allowed_before: u64,
    limited_before: bool,
    /// How it stood when these limits were set, or at the mark.
    segment: Segment,
}

#[derive(Debug, Default)]
struct Segment {
    since: Duration,
    admitted: u64,
    busy: Duration,
    earlier: Vec<Duration>,
}

/// The limits that are in force, as far as they bound what a client can do.
pub(crate) struct Terms {
    /// The fewest calls that may be in flight, of the limits that are set.
    pub(crate) places: Option<u32>,
    pub(crate) windows: Vec<(u32, Duration)>,
}

impl Tally {
    /// Starts to count anew, with what is in flight and the arrivals that windows still see.
    pub(crate) fn mark(&mut self, now: Duration, in_flight: u32, earlier: Vec<Duration>) {
        *self = Self {
            since: now,
            counted: now,
            peak: in_flight,
            ..Self::default()
        };
        self.begin(now, earlier);
    }

    /// Other limits hold from now on.
    pub(crate) fn turn(&mut self, now: Duration, past: &Terms, earlier: Vec<Duration>) {
        self.available_before += self.available(now, past).unwrap_or_default();
        let calls = self.admitted - self.segment.admitted;
        self.allowed_before += self.allowed(now, past).unwrap_or(calls);
        self.limited_before |= past.places.is_some() || !past.windows.is_empty();
        self.begin(now, earlier);
    }

    fn begin(&mut self, now: Duration, earlier: Vec<Duration>) {
        self.segment = Segment {
            since: now,
            admitted: self.admitted,
            busy: self.busy,
            earlier,
        };
    }

    /// Place-time used until now by so many calls in flight.
    pub(crate) fn count(&mut self, now: Duration, in_flight: u32) {
        let passed = now.saturating_sub(self.counted);
        self.busy += passed * in_flight;
        self.counted = self.counted.max(now);
    }

    /// Place-time there was since these limits were set.
    fn available(&self, now: Duration, terms: &Terms) -> Option<Duration> {
        let lasted = now.saturating_sub(self.segment.since);
        terms.places.map(|places| lasted * places)
    }

    /// The calls a perfect client could have made since these limits were set.
    fn allowed(&self, now: Duration, terms: &Terms) -> Option<u64> {
        let segment = &self.segment;
        let calls = self.admitted - segment.admitted;
        let busy = self.busy.saturating_sub(segment.busy);
        let lasted = now.saturating_sub(segment.since);
        let in_flight = terms
            .places
            .and_then(|places| allowed::in_flight(places, lasted, calls, busy));
        let windows = terms.windows.iter().map(|(calls, lasts)| {
            allowed::in_window(*calls, *lasts, &segment.earlier, segment.since, now)
        });
        in_flight.into_iter().chain(windows).min()
    }

    pub(crate) fn show(&self, now: Duration, terms: &Terms) -> Value {
        let allowed = self.allowed(now, terms);
        let available = self.available_before + self.available(now, terms).unwrap_or_default();
        let rest = self.admitted - self.segment.admitted;
        let limited = self.limited_before || allowed.is_some();
        let allowed = limited.then(|| self.allowed_before + allowed.unwrap_or(rest));
        json!({
            "calls": self.calls,
            "admitted": self.admitted,
            "refused": self.refused,
            "refused_by": self.refused_by,
            "early_calls": self.early,
            "allowed_calls": allowed,
            "elapsed_ms": millis(now.saturating_sub(self.since)),
            "busy_ms": millis(self.busy),
            "available_ms": millis(available),
            "peak_in_flight": self.peak,
        })
    }

    /// When the last mark was.
    pub(crate) fn since(&self) -> Duration {
        self.since
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
