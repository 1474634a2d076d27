//! Jobs that were delivered and wait for a permit: few, chosen fairly, given back after a while.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calgrant_budget::{Chooser, message};
use calgrant_domain::{Lane, OperationId};
use tokio::sync::Notify;

/// What waits for the pools of one site.
#[derive(Debug)]
pub struct Shelf<T> {
    waiting: Mutex<Waiting<T>>,
    /// One for each pool: what one pool can't take just now, another can.
    arrived: Vec<Notify>,
    emptied: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    chooser: Chooser<OperationId>,
    items: HashMap<OperationId, VecDeque<(Instant, T)>>,
}

impl<T> Shelf<T> {
    /// An empty one, for so many pools.
    #[must_use]
    pub fn new(pools: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                chooser: Chooser::default(),
                items: HashMap::new(),
            }),
            arrived: std::iter::repeat_with(Notify::new).take(pools).collect(),
            emptied: Notify::new(),
        }
    }

    /// Whether no pool takes anything from it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Puts something of an operation down that arrived at `now`.
    pub fn put(&self, lane: Lane, operation: OperationId, now: Instant, item: T) {
        let mut waiting = self.waiting();
        waiting.chooser.arrived(operation, of_budget(lane), 1);
        waiting
            .items
            .entry(operation)
            .or_default()
            .push_back((now, item));
        drop(waiting);
        self.ring();
    }

    /// Waits until something is there; answers the lane whose turn it is. Of each pool, one of those who wait is woken for it.
    pub async fn ready(&self, pool: usize) -> Lane {
        loop {
            if let Some((_, lane)) = self.waiting().chooser.next(|_| true) {
                return of_domain(lane);
            }
            match self.arrived.get(pool) {
                Some(arrived) => arrived.notified().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until nothing is there any more.
    pub async fn emptied(&self) {
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        // Registered before looking, so that what happens in between isn't missed.
        emptied.as_mut().enable();
        if self.waiting().chooser.waiting().total() > 0 {
            emptied.await;
        }
    }

    /// Takes up to `most` of what is there, all of one lane.
    pub fn take(&self, most: usize) -> Vec<T> {
        let mut waiting = self.waiting();
        let mut out = Vec::new();
        let mut of_lane = None;
        while out.len() < most {
            let Some((operation, lane)) = waiting.chooser.next(|_| true) else {
                break;
            };
            if *of_lane.get_or_insert(lane) != lane {
                break;
            }
            waiting.chooser.started(&operation, 1);
            out.extend(waiting.pop(operation));
        }
        let left = waiting.chooser.waiting().total();
        drop(waiting);
        if left > 0 {
            self.ring();
        } else {
            self.emptied.notify_waiters();
        }
        out
    }

    fn ring(&self) {
        for arrived in &self.arrived {
            arrived.notify_one();
        }
    }

    /// Takes what has lain here for longer than `limit`.
    pub fn expired(&self, now: Instant, limit: Duration) -> Vec<T> {
        let mut waiting = self.waiting();
        let operations: Vec<_> = waiting.items.keys().copied().collect();
        let mut out = Vec::new();
        for operation in operations {
            while waiting
                .items
                .get(&operation)
                .and_then(VecDeque::front)
                .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= limit)
            {
                waiting.chooser.withdrawn(&operation, 1);
                out.extend(waiting.pop(operation));
            }
        }
        let left = waiting.chooser.waiting().total();
        drop(waiting);
        if left == 0 {
            self.emptied.notify_waiters();
        }
        out
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    fn pop(&mut self, operation: OperationId) -> Option<T> {
        let queue = self.items.get_mut(&operation)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.items.remove(&operation);
        }
        item.map(|(_, item)| item)
    }
}

/// The lane as budgets call it.
pub(crate) fn of_budget(lane: Lane) -> message::Lane {
    match lane {
        Lane::Interactive => message::Lane::Interactive,
        Lane::Bulk => message::Lane::Bulk,
    }
}

fn of_domain(lane: message::Lane) -> Lane {
    match lane {
        message::Lane::Interactive => Lane::Interactive,
        message::Lane::Bulk => Lane::Bulk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(number: u128) -> OperationId {
        OperationId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn interactive_first_and_old_ones_come_back() {
        let shelf = Shelf::new(1);
        let start = calgrant_runtime::clock::instant();
        shelf.put(Lane::Bulk, operation(1), start, 1);
        shelf.put(Lane::Bulk, operation(1), start + Duration::from_secs(50), 2);
        shelf.put(Lane::Interactive, operation(2), start, 3);
        assert_eq!(shelf.ready(0).await, Lane::Interactive);
        assert_eq!(shelf.take(9), [3], "lanes don't mix");
        assert_eq!(
            shelf.expired(start + Duration::from_secs(60), Duration::from_secs(60)),
            [1]
        );
        assert_eq!(shelf.ready(0).await, Lane::Bulk);
        assert_eq!(shelf.take(9), [2]);
    }

    #[tokio::test]
    async fn what_one_pool_leaves_another_is_woken_for() {
        let shelf = Shelf::new(2);
        let mut first = std::pin::pin!(shelf.ready(0));
        let mut second = std::pin::pin!(shelf.ready(1));
        assert!(
            futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending()
        );
        let mut emptied = std::pin::pin!(shelf.emptied());
        assert!(futures::poll!(&mut emptied).is_ready(), "nothing is there");
        let now = calgrant_runtime::clock::instant();
        shelf.put(Lane::Bulk, operation(1), now, 1);
        assert!(futures::poll!(&mut first).is_ready() && futures::poll!(&mut second).is_ready());
        let mut emptied = std::pin::pin!(shelf.emptied());
        assert!(futures::poll!(&mut emptied).is_pending());
        assert_eq!(shelf.take(1), [1]);
        assert!(futures::poll!(&mut emptied).is_ready());
    }

    #[test]
    fn operations_take_turns() {
        let shelf = Shelf::new(1);
        let now = calgrant_runtime::clock::instant();
        for item in 0..6 {
            shelf.put(Lane::Bulk, operation(1), now, ("large", item));
        }
        shelf.put(Lane::Bulk, operation(2), now, ("small", 0));
        shelf.put(Lane::Bulk, operation(2), now, ("small", 1));
        let taken: Vec<_> = shelf.take(4).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            taken.iter().filter(|name| **name == "small").count(),
            2,
            "{taken:?}"
        );
    }
}
