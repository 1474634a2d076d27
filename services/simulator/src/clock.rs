//! The one place of the simulator that reads clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Time since the simulator started, which can be put forward, and the time of day. A copy is the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a remote server keeps its own time"
    )]
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            ahead_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed() + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }

    /// Puts the clock forward, for everything but the time of day.
    pub(crate) fn advance(&self, by_ms: u64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a remote server keeps its own time"
    )]
    pub(crate) fn utc() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
