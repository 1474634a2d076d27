//! Lets calls in when every key they are charged to has room, all at once or not at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::limits::Limits;
use crate::meter::{Meter, Refusal};

/// The meter of one key, shared.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Meter>);

impl Limiter {
    pub(crate) fn new(scope: &'static str, limits: Limits) -> Self {
        Self(Mutex::new(Meter::new(scope, limits)))
    }

    pub(crate) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has been let in; it counts as under way until this goes.
#[derive(Debug)]
pub(crate) struct Flight {
    clock: Clock,
    keys: Vec<Arc<Limiter>>,
}

impl Flight {
    /// Lets a call in when every key has room for it. The keys come in the same order always: account, tenant, target.
    ///
    /// # Errors
    /// The refusal of the first key without room.
    pub(crate) fn start(
        clock: &Clock,
        keys: impl IntoIterator<Item = Arc<Limiter>>,
    ) -> Result<Self, Refusal> {
        let keys: Vec<Arc<Limiter>> = keys.into_iter().collect();
        {
            let mut meters: Vec<_> = keys.iter().map(|key| key.meter()).collect();
            let now = clock.now(); // under the locks, so that arrivals are in order
            if let Some(refusal) = meters.iter_mut().find_map(|meter| meter.check(now).err()) {
                for meter in &mut meters {
                    meter.refuse(now, &refusal);
                }
                return Err(refusal);
            }
            for meter in &mut meters {
                meter.admit(now);
            }
        }
        Ok(Self {
            clock: clock.clone(),
            keys,
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut meter = key.meter();
            meter.release(self.clock.now());
        }
    }
}

/// A limiter for each mailbox of a tenant that calls are about, while there are limits and calls.
#[derive(Debug)]
pub(crate) struct Targets {
    scope: &'static str,
    limits: RwLock<Limits>,
    live: Mutex<Live>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    by_key: HashMap<(usize, usize), Arc<Limiter>>,
    /// At this size, idle ones are let go.
    sweep_at: usize,
}

const SWEEP_FROM: usize = 4096;

impl Targets {
    pub(crate) fn new(scope: &'static str, limits: Limits) -> Self {
        Self {
            scope,
            limits: RwLock::new(limits),
            live: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// The limiter of one mailbox, by user and app (0 where apps share it), when mailboxes are limited.
    pub(crate) fn of(&self, key: (usize, usize), clock: &Clock) -> Option<Arc<Limiter>> {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        if !limits.any() {
            return None;
        }
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.by_key.len() >= live.sweep_at.max(SWEEP_FROM) {
            let now = clock.now();
            live.by_key
                .retain(|_, target| Arc::strong_count(target) > 1 || !target.meter().is_idle(now));
            live.sweep_at = live.by_key.len() * 2;
        }
        let fresh = || Arc::new(Limiter::new(self.scope, limits.clone()));
        Some(Arc::clone(live.by_key.entry(key).or_insert_with(fresh)))
    }

    pub(crate) fn replace(&self, clock: &Clock, limits: Limits) {
        let mut held = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        for target in live.by_key.values() {
            target.meter().replace(clock.now(), limits.clone());
        }
        *held = limits;
    }

    pub(crate) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn mark(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    pub(crate) fn show(&self) -> Value {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        json!({"refused": self.refused.load(Ordering::Relaxed), "limits": *limits})
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Clock, Flight, Limiter, Limits, Targets};

    fn limits(calls: u32) -> Limits {
        Limits {
            windows: vec![(calls, 10)],
            ..Limits::default()
        }
    }

    #[test]
    fn a_call_the_tenant_refuses_costs_the_app_nothing() {
        let clock = Clock::start();
        let app = Arc::new(Limiter::new("app", limits(2)));
        let tenant = Arc::new(Limiter::new("tenant", limits(1)));
        let start = || Flight::start(&clock, [Arc::clone(&app), Arc::clone(&tenant)]);
        assert!(start().is_ok());
        let refusal = start().map(drop).map_err(|refusal| refusal.limit);
        assert_eq!(refusal, Err("tenant: 1 in 10 s".to_owned()));
        let left = app.meter().window(clock.now()).map(|(_, left, _)| left);
        assert_eq!(left, Some(1));
        clock.advance(10_000);
        assert!(start().is_ok());
    }

    #[test]
    fn each_target_has_its_own_places() {
        let clock = Clock::start();
        let one = Limits {
            max_in_flight: Some(1),
            ..Limits::default()
        };
        let targets = Targets::new("mailbox", one);
        let start = |user| Flight::start(&clock, targets.of((user, 0), &clock));
        let held = start(7).unwrap();
        assert!(start(7).is_err());
        assert!(start(8).is_ok());
        drop(held);
        assert!(start(7).is_ok());
        targets.replace(&clock, Limits::default());
        assert!(targets.of((7, 0), &clock).is_none());
    }
}
