//! All budgets of one process: one holder, renewed in one batch.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calgrant_budget::{
    Answer, Breaches, Charge, Holder, KeyName, Moment, Pace, Scope, Terms,
    message::{Lane, Pushback, Renewal, Renewed, Waiting},
};
use calgrant_contract::pb::ledger::v1::lease_service_client::LeaseServiceClient;
use futures::future::select_all;
use tokio::sync::{Notify, futures::Notified};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, warn};

use crate::{Permits, wire};

/// How long an answer to a renewal is awaited: what is older than a lease is worth nothing.
const ANSWER: Duration = Duration::from_secs(2);
/// Wait after a renewal that failed.
const AWAY: Duration = Duration::from_millis(300);
/// How often a refused renewal is told.
const REMIND: Duration = Duration::from_secs(30);
/// Without budgets every call may start at once. Nobody may want that but who measures what budgets cost.
const UNBUDGETED: bool = cfg!(feature = "unbudgeted");

/// The budgets of one process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Budgets {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: fn() -> Instant,
    start: Instant,
    /// Something was granted: whoever waits asks again.
    granted: Notify,
    /// Somebody waits, or was pushed back: the next renewal may be due earlier.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    holder: Holder,
    waiting: HashMap<KeyName, Waiting>,
    freed: HashMap<KeyName, Freed>,
}

/// A call under one key ended: whoever waits for that key asks again. Not all that wait for anything: these may be many, and calls end all the time.
type Freed = Arc<Notify>;

/// What one account may use: its own key, and those it shares with others.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) budgets: Budgets,
    charge: Charge,
    keys: Arc<[KeyName]>,
    freed: Arc<[Freed]>,
}

impl Budgets {
    /// Budgets of which nothing is held. `replica` is new for every life of a process; time is what `clock` says.
    #[must_use]
    pub fn new(replica: &str, terms: Terms, clock: fn() -> Instant) -> Self {
        if UNBUDGETED {
            warn!("this executable was built without budgets, for measurements alone");
        }
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    holder: Holder::new(replica, terms, Pace::default()),
                    waiting: HashMap::new(),
                    freed: HashMap::new(),
                }),
                clock,
                start: clock(),
                granted: Notify::new(),
                wanted: Notify::new(),
            }),
        }
    }

    /// An account whose calls are charged to `keys`: one to six of them; `None` otherwise.
    #[must_use]
    pub fn account(&self, keys: &[KeyName]) -> Option<Account> {
        let mut state = self.state();
        let charge = state.holder.charge(keys)?;
        let freed = keys
            .iter()
            .map(|key| Arc::clone(state.freed.entry(key.clone()).or_default()))
            .collect();
        drop(state);
        Some(Account {
            budgets: self.clone(),
            charge,
            keys: keys.into(),
            freed,
        })
    }

    /// Renews the leases until `stop`. What is left of them is given back by [`Self::give_back`].
    pub async fn renew(self, mut status: LeaseServiceClient<Channel>, stop: CancellationToken) {
        let mut told: Option<Instant> = None;
        while !stop.is_cancelled() {
            self.due(&stop).await;
            match self.once(&mut status).await {
                Ok(()) => told = None,
                Err(cause) => {
                    let now = (self.shared.clock)();
                    if told.is_none_or(|at| now.duration_since(at) >= REMIND) {
                        told = Some(now);
                        warn!(%cause, "leases can't be renewed; no call starts without one");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(AWAY) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Gives everything back. To be called when the last call has ended. Whether status has heard it.
    pub async fn give_back(&self, mut status: LeaseServiceClient<Channel>) -> bool {
        self.with(|holder, _| holder.give_back());
        let heard = self.once(&mut status).await;
        if let Err(cause) = &heard {
            debug!(%cause, "leases couldn't be given back; they run out by themselves");
        }
        heard.is_ok()
    }

    /// What to ask the authority now. Whoever carries the answer hands it to [`Self::apply`]; [`Self::renew`] does both.
    #[must_use]
    pub fn ask(&self) -> Renewal {
        self.with(Holder::renew)
    }

    /// Takes the authority's answer. One that was overtaken by a later ask is dropped.
    pub fn apply(&self, renewed: &Renewed) {
        self.with(|holder, now| holder.apply(renewed, now));
        self.shared.granted.notify_waiters();
    }

    /// How often exactness was at risk in this process.
    #[must_use]
    pub fn breaches(&self) -> Breaches {
        self.with(|holder, _| holder.breaches())
    }

    /// Waits until a renewal is due.
    async fn due(&self, stop: &CancellationToken) {
        loop {
            let wanted = self.shared.wanted.notified();
            let left = self.with(|holder, now| holder.renew_at(now).saturating_sub(now));
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = wanted => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn once(&self, status: &mut LeaseServiceClient<Channel>) -> Result<(), String> {
        let renewal = self.ask();
        if renewal.asks.is_empty() {
            return Ok(());
        }
        let asked = status.renew(wire::renewal_to_wire(&renewal));
        let answer = tokio::time::timeout(ANSWER, asked)
            .await
            .map_err(|_| "status doesn't answer in time".to_owned())?
            .map_err(|status| status.message().to_owned())?;
        let renewed = wire::renewed(answer.into_inner()).map_err(|bad| bad.to_string())?;
        debug!(?renewal, ?renewed, "renewed");
        self.apply(&renewed);
        Ok(())
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Holder, Moment) -> T) -> T {
        let mut state = self.state();
        let now = self.now();
        act(&mut state.holder, now)
    }

    fn now(&self) -> Moment {
        (self.shared.clock)().saturating_duration_since(self.shared.start)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// The most calls that can start together under the present leases; at least 1.
    #[must_use]
    pub fn largest_round(&self) -> u32 {
        if UNBUDGETED {
            return u32::MAX;
        }
        let largest = self
            .budgets
            .with(|holder, _| holder.largest_round(&self.charge));
        largest.max(1)
    }

    /// Calls under way of this account, those without a reply whose place is kept included.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let own = self.keys.first();
        own.map_or(0, |key| {
            self.budgets.with(|holder, _| holder.in_flight(key))
        })
    }

    /// Waits until `calls` could start. Starts nothing.
    pub async fn open(&self, lane: Lane, calls: u32) {
        if UNBUDGETED {
            return;
        }
        let charge = self.charge;
        let waits = self.waits(lane, calls);
        self.until(|holder, now| match holder.look(&charge, lane, 1, now) {
            None => Ok(()),
            Some(not_now) => Err(not_now),
        })
        .await;
        drop(waits);
    }

    /// Waits for permission to start `calls` together, at most [`Self::largest_round`].
    pub async fn permits(&self, lane: Lane, calls: u32) -> Permits {
        if UNBUDGETED {
            return Permits::unbudgeted(self.clone());
        }
        let charge = self.charge;
        let waits = self.waits(lane, calls);
        let (permit, since) = self
            .until(|holder, now| match holder.ask(&charge, lane, calls, now) {
                Answer::Go(permit) => Ok((permit, now)),
                not_now => Err(not_now),
            })
            .await;
        drop(waits);
        Permits::new(self.clone(), permit, since)
    }

    /// The server said to slow down: nothing more starts under the key of that scope.
    pub fn push_back(&self, scope: Scope, pushback: &Pushback) {
        let key = self.keys.iter().find(|key| key.scope == scope);
        if let Some(key) = key.or(self.keys.first()) {
            self.budgets
                .with(|holder, now| holder.push_back(key, pushback.clone(), now));
            self.budgets.shared.wanted.notify_one();
        }
    }

    /// A call ended: whoever waits for one of its keys asks again.
    pub(crate) fn released(&self) {
        for freed in &*self.freed {
            freed.notify_waiters();
        }
    }

    async fn until<T>(&self, mut ask: impl FnMut(&mut Holder, Moment) -> Result<T, Answer>) -> T {
        // The usual case.
        if let Ok(got) = self.budgets.with(&mut ask) {
            return got;
        }
        loop {
            // Registered before asking, so that nothing in between is missed.
            let mut changed = self.changes();
            for changed in &mut changed {
                changed.as_mut().enable();
            }
            let changed = select_all(changed);
            let not_now = match self.budgets.with(&mut ask) {
                Ok(got) => return got,
                Err(not_now) => not_now,
            };
            match not_now {
                Answer::WaitUntil(when) => {
                    let left = when.saturating_sub(self.budgets.now());
                    tokio::select! {
                        () = tokio::time::sleep(left) => {}
                        _ = changed => {}
                    }
                }
                Answer::Go(_) | Answer::WaitForRelease | Answer::NoLease => {
                    changed.await;
                }
            }
        }
    }

    /// What may let somebody start who had to wait: a grant, or the end of a call under a key that limits anything.
    fn changes(&self) -> Vec<Pin<Box<Notified<'_>>>> {
        let limiting = self.budgets.with(|holder, _| {
            let keys = self.keys.iter().zip(&*self.freed);
            let limiting = keys.filter(|(key, _)| holder.limits(key));
            limiting
                .map(|(_, freed)| freed.notified())
                .collect::<Vec<_>>()
        });
        let granted = self.budgets.shared.granted.notified();
        limiting
            .into_iter()
            .chain([granted])
            .map(Box::pin)
            .collect()
    }

    /// Says that so many calls wait, for as long as the answer lives.
    fn waits(&self, lane: Lane, calls: u32) -> Waits<'_> {
        self.change_waiting(lane, |waiting| waiting.saturating_add(calls));
        let urgent = self
            .budgets
            .with(|holder, now| holder.is_urgent(&self.charge, now));
        // Not for every call: whoever renews looks at all keys when it is woken.
        if urgent {
            self.budgets.shared.wanted.notify_one();
        }
        Waits {
            account: self,
            lane,
            calls,
        }
    }

    fn change_waiting(&self, lane: Lane, change: impl Fn(u32) -> u32) {
        let mut state = self.budgets.state();
        let State {
            holder, waiting, ..
        } = &mut *state;
        for key in self.keys.iter() {
            let of_key = waiting.entry(key.clone()).or_default();
            let of_lane = match lane {
                Lane::Interactive => &mut of_key.interactive,
                Lane::Bulk => &mut of_key.bulk,
            };
            *of_lane = change(*of_lane);
            holder.wait(key, *of_key);
        }
    }
}

/// Calls that wait.
struct Waits<'a> {
    account: &'a Account,
    lane: Lane,
    calls: u32,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.account
            .change_waiting(self.lane, |waiting| waiting.saturating_sub(self.calls));
    }
}
