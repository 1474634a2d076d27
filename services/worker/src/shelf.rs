//! Jobs that were delivered and wait for a permit: few, interactive ones first, given back after a while.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use calgrant_domain::Lane;
use tokio::sync::Notify;

/// What waits for the pools of one site.
#[derive(Debug)]
pub struct Shelf<T> {
    lanes: Mutex<Lanes<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Lanes<T> {
    interactive: VecDeque<(Instant, T)>,
    bulk: VecDeque<(Instant, T)>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                interactive: VecDeque::new(),
                bulk: VecDeque::new(),
            }),
            arrived: Notify::new(),
        }
    }
}

impl<T> Shelf<T> {
    /// Puts something down that arrived at `now`.
    pub fn put(&self, lane: Lane, now: Instant, item: T) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        match lane {
            Lane::Interactive => lanes.interactive.push_back((now, item)),
            Lane::Bulk => lanes.bulk.push_back((now, item)),
        }
        drop(lanes);
        self.arrived.notify_one();
    }

    /// Takes up to `most`, at least one, waiting for it; the interactive lane first. Safe to drop while it waits.
    pub async fn take(&self, most: usize) -> Vec<T> {
        loop {
            let taken = self.take_now(most);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Takes what has lain here for longer than `limit`.
    pub fn expired(&self, now: Instant, limit: Duration) -> Vec<T> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Lanes { interactive, bulk } = &mut *lanes;
        let mut out = Vec::new();
        for lane in [interactive, bulk] {
            while lane
                .front()
                .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= limit)
            {
                out.extend(lane.pop_front().map(|(_, item)| item));
            }
        }
        out
    }

    fn take_now(&self, most: usize) -> Vec<T> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        while out.len() < most {
            let next = lanes
                .interactive
                .pop_front()
                .or_else(|| lanes.bulk.pop_front());
            let Some((_, item)) = next else { break };
            out.push(item);
        }
        if !(lanes.interactive.is_empty() && lanes.bulk.is_empty()) {
            self.arrived.notify_one();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn interactive_first_and_old_ones_come_back() {
        let shelf = Shelf::default();
        let start = calgrant_runtime::clock::instant();
        shelf.put(Lane::Bulk, start, 1);
        shelf.put(Lane::Bulk, start + Duration::from_secs(50), 2);
        shelf.put(Lane::Interactive, start, 3);
        assert_eq!(shelf.take(1).await, [3]);
        assert_eq!(
            shelf.expired(start + Duration::from_secs(60), Duration::from_secs(60)),
            [1]
        );
        assert_eq!(shelf.take(9).await, [2]);
    }
}
