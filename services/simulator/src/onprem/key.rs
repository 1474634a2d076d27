//! Budgets that are shared, the site's own time, and calls that pay with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::onprem::balance::{Balance, Overload};
use crate::onprem::policy::Component;

/// The time of a site, which may pass faster than that of its clients.
#[derive(Debug, Clone)]
pub(crate) struct SiteClock {
    clock: Clock,
    scale: u32,
}

impl SiteClock {
    pub(crate) fn new(clock: &Clock, scale: u32) -> Self {
        let clock = clock.clone();
        let scale = scale.max(1);
        Self { clock, scale }
    }

    /// Since the start, in the site's time.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now() * self.scale
    }

    /// How long the client has to wait for a time of the site.
    pub(crate) fn for_client(&self, time: Duration) -> Duration {
        time / self.scale
    }

    /// Waits for so long in the site's time.
    pub(crate) async fn pass(&self, time: Duration) {
        if !time.is_zero() {
            tokio::time::sleep(self.for_client(time)).await;
        }
    }
}

/// One budget.
#[derive(Debug)]
pub(crate) struct Key(Mutex<Balance>);

impl Key {
    pub(crate) fn new(policy: Component, now: Duration) -> Self {
        Self(Mutex::new(Balance::new(policy, now)))
    }

    pub(crate) fn balance(&self) -> MutexGuard<'_, Balance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has been let in, and pays until its work is done.
#[derive(Debug)]
pub(crate) struct Work {
    clock: SiteClock,
    key: Arc<Key>,
    started: Duration,
    /// Whether its answer is held back, once the work is done.
    delayed: Option<bool>,
}

impl Work {
    pub(crate) fn start(clock: &SiteClock, key: &Arc<Key>) -> Result<Self, Overload> {
        let started = {
            let mut balance = key.balance();
            let now = clock.now(); // under the lock, so that arrivals are in order
            balance.admit(now)?;
            now
        };
        Ok(Self {
            clock: clock.clone(),
            key: Arc::clone(key),
            started,
            delayed: None,
        })
    }

    /// How long it has been worked on, in the site's time.
    pub(crate) fn lasted(&self) -> Duration {
        self.clock.now().saturating_sub(self.started)
    }

    /// Whether it may go on, or how long it's to wait, in the site's time.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        self.key.balance().check(self.clock.now())
    }

    /// The work is done: waits as long as the answer is held back, and says for how long that was.
    pub(crate) async fn finish(mut self) -> Duration {
        let delay = self.end();
        self.clock.pass(delay).await;
        delay
    }

    fn end(&mut self) -> Duration {
        let now = self.clock.now();
        let work = now.saturating_sub(self.started);
        let delay = self.key.balance().finish(now, work);
        self.delayed = Some(!delay.is_zero());
        delay
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.delayed.is_none() {
            self.end();
        }
        let delayed = self.delayed.unwrap_or_default();
        self.key.balance().release(self.clock.now(), delayed);
    }
}
