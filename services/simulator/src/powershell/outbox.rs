//! What waits for a client to fetch it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Fragments that wait for a `Receive`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    fragments: VecDeque<Vec<u8>>,
    done: bool,
}

/// What one `Receive` fetches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) fragments: Vec<Vec<u8>>,
    /// Nothing comes after these.
    pub(crate) done: bool,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in, unless it's closed already.
    pub(crate) fn put(&self, fragments: Vec<Vec<u8>>) {
        let mut queue = self.queue();
        if !queue.done {
            queue.fragments.extend(fragments);
        }
        drop(queue);
        self.news.notify_one();
    }

    /// Nothing comes any more.
    pub(crate) fn close(&self) {
        self.queue().done = true;
        self.news.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().done
    }

    fn take(&self, room: usize) -> Option<Fetched> {
        let mut queue = self.queue();
        let mut fragments = Vec::new();
        let mut size = 0;
        while let Some(next) = queue.fragments.front() {
            size += next.len();
            if size > room && !fragments.is_empty() {
                break;
            }
            fragments.extend(queue.fragments.pop_front());
        }
        let done = queue.done && queue.fragments.is_empty();
        (done || !fragments.is_empty()).then_some(Fetched { fragments, done })
    }

    /// Waits until there is something, for so long at most; about `room` bytes are fetched.
    pub(crate) async fn fetch(&self, room: usize, wait: Duration) -> Option<Fetched> {
        let fetched = async {
            loop {
                let news = self.news.notified();
                if let Some(fetched) = self.take(room) {
                    return fetched;
                }
                news.await;
            }
        };
        tokio::time::timeout(wait, fetched).await.ok()
    }
}
