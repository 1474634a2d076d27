//! The budget of an account, awaited: the decision is in [`crate::account`], the waiting is here.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calgrant_domain::Limits;
use tokio::sync::Notify;

use crate::{Budget, Moment, Verdict};

/// How long a call without a reply keeps its place: the server may go on working on it.
const ABANDONED_HOLD: Duration = Duration::from_secs(60);

/// One account's budget in this process.
#[derive(Debug)]
pub struct Gate {
    budget: Mutex<Budget>,
    clock: fn() -> Instant,
    start: Instant,
    freed: Notify,
}

/// Permission for calls that are under way. Dropping it without [`Permits::done`] means that no reply came.
#[derive(Debug)]
pub struct Permits<'a> {
    gate: &'a Gate,
    calls: u32,
}

impl Gate {
    /// A gate with these limits, whose time is what `clock` says.
    pub fn new(limits: Limits, clock: fn() -> Instant) -> Self {
        Self {
            budget: Mutex::new(Budget::new(limits)),
            clock,
            start: clock(),
            freed: Notify::new(),
        }
    }

    /// The most calls that can start together.
    pub fn largest_round(&self) -> u32 {
        self.budget().largest_round()
    }

    /// Waits until one more call could start. Takes nothing.
    pub async fn open(&self) {
        self.until(|budget, now| budget.look(now, 1)).await;
    }

    /// Waits for permission to start `calls` together.
    pub async fn permits(&self, calls: u32) -> Permits<'_> {
        self.until(|budget, now| budget.ask(now, calls)).await;
        Permits { gate: self, calls }
    }

    /// The server said to slow down for so long.
    pub fn push_back(&self, wait: Duration) {
        let until = self.now() + wait;
        self.budget().push_back(until);
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u32 {
        self.budget().in_flight()
    }

    async fn until(&self, ask: impl Fn(&mut Budget, Moment) -> Verdict) {
        loop {
            // Registered before asking, so that a release in between isn't missed.
            let freed = self.freed.notified();
            let verdict = {
                let now = self.now();
                ask(&mut self.budget(), now)
            };
            match verdict {
                Verdict::Go => return,
                Verdict::WaitForRelease => freed.await,
                Verdict::WaitUntil(when) => {
                    tokio::select! {
                        () = tokio::time::sleep(when.saturating_sub(self.now())) => {}
                        () = freed => {}
                    }
                }
            }
        }
    }

    fn now(&self) -> Moment {
        (self.clock)().saturating_duration_since(self.start)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permits<'_> {
    /// The calls were answered.
    pub fn done(mut self) {
        let calls = std::mem::take(&mut self.calls);
        let now = self.gate.now();
        self.gate.budget().release(now, calls);
        self.gate.freed.notify_waiters();
    }
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        if self.calls > 0 {
            let until = self.gate.now() + ABANDONED_HOLD;
            self.gate.budget().abandon(until, self.calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
    async fn a_release_wakes_who_waits_and_a_dropped_permit_does_not() {
        let clock = || tokio::time::Instant::now().into_std();
        let gate = Gate::new(
            Limits {
                in_flight: 1,
                windows: Vec::new(),
            },
            clock,
        );
        let first = gate.permits(1).await;
        let mut second = Box::pin(gate.permits(1));
        assert!((&mut second).now_or_never().is_none());
        first.done();
        drop(second.await);
        assert!(
            gate.permits(1).now_or_never().is_none(),
            "a call without a reply keeps its place"
        );
    }
}
