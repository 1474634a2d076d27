//! Stopping: the signals that ask for it, and the tasks that are waited for.

use std::{any::Any, fmt::Display, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A token that SIGINT or SIGTERM cancels. A second signal ends the process at once, with status 130.
#[must_use]
pub fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // Nothing waits for this task: it lives as long as the process.
    TaskTracker::new().spawn(async move {
        let (mut interrupt, mut terminate) = match (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(cause), _) | (_, Err(cause)) => {
                tracing::error!(%cause, "signals can't be caught: stopping will not be orderly");
                return;
            }
        };
        let mut asked = async || {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        };
        let name = asked().await;
        tracing::info!("{name}: stopping; a second signal stops at once");
        stopping.cancel();
        let name = asked().await;
        tracing::warn!("{name} again: stopped at once");
        std::process::exit(130);
    });
    stop
}

/// The tasks of a service, and the token that stops them.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// How a task may end: with nothing to say, or with an error, which is logged.
pub trait Ending {
    /// Logs what there is to say.
    fn report(self, task: &'static str);
}

impl Ending for () {
    fn report(self, _task: &'static str) {}
}

impl<T, E: Display> Ending for Result<T, E> {
    fn report(self, task: &'static str) {
        if let Err(cause) = self {
            tracing::error!(task, cause = format!("{cause:#}"), "a task failed");
        }
    }
}

impl Tasks {
    /// No tasks yet; `stop` is what they are to watch.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
        }
    }

    /// Starts a task. Its panic or error is logged under its name and ends nothing else.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Ending + Send + 'static,
    {
        self.tracker.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(ending) => ending.report(name),
                Err(panic) => {
                    tracing::error!(task = name, cause = said(panic.as_ref()), "a task panicked");
                }
            }
        });
    }

    /// The token that stops the tasks.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits for the tasks to end, no longer than `limit`, and says how many have not.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.tracker.close();
        match tokio::time::timeout(limit, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drains_those_that_stop_and_counts_those_that_do_not() {
        let tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        tasks.spawn("good", async move { stop.cancelled().await });
        tasks.spawn("panics", async {
            assert!(std::env::args().len() == usize::MAX, "on purpose");
        });
        tasks.spawn("fails", async { Err::<(), _>("on purpose") });
        tasks.stop().cancel();
        assert_eq!(tasks.drain(Duration::from_secs(5)).await, 0);
        tasks.spawn("stuck", std::future::pending::<()>());
        assert_eq!(tasks.drain(Duration::from_millis(20)).await, 1);
    }
}
