//! The one place where xtask reads a clock.

use std::time::{Duration, Instant};

/// Time passed since it was started.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one clock of xtask, which may not depend on libs/runtime"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds with one decimal, for people.
    pub(crate) fn seconds(self) -> String {
        format!("{:.1} s", self.elapsed().as_secs_f64())
    }
}
