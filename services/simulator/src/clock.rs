//! The one place of the simulator that reads clocks.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Time since the simulator started, and the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a remote server keeps its own time"
    )]
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a remote server keeps its own time"
    )]
    pub(crate) fn utc() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
