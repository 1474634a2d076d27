//! Stopping: the signals that ask for it, and the tasks that are waited for.

use std::{
    any::Any,
    fmt::Display,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{clock, settings::Fault};

/// Longest time to stop that may be set, in seconds.
const LONGEST_DRAIN_SECS: u64 = 3600;

/// The setting `drain_secs` of a service: its longest wait for work under way when it is stopped.
///
/// # Errors
/// It is longer than an hour, or 0.
pub fn drain(service: &str, secs: u64) -> Result<Duration, Fault> {
    if (1..=LONGEST_DRAIN_SECS).contains(&secs) {
        return Ok(Duration::from_secs(secs));
    }
    Err(Fault {
        setting: format!("{service}.drain_secs"),
        value: secs.to_string(),
        why: "1 second to an hour; less than the platform waits before it kills".to_owned(),
    })
}

/// A token that SIGINT or SIGTERM cancels. A second signal ends the process at once, with status 130.
#[must_use]
pub fn on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // Caught from now on, and not from when the task first runs.
    let caught = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match caught {
        Ok(caught) => caught,
        Err(cause) => {
            tracing::error!(%cause, "signals can't be caught: stopping will not be orderly");
            return stop;
        }
    };
    // Nothing waits for this task: it lives as long as the process.
    TaskTracker::new().spawn(async move {
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

/// A stop under way: what is left of its time, and at the end one line that says how it went.
#[derive(Debug)]
pub struct Stopping {
    service: &'static str,
    began: Instant,
    limit: Duration,
}

impl Stopping {
    /// A service begins to stop, and has so long.
    #[must_use]
    pub fn begin(service: &'static str, limit: Duration) -> Self {
        Self {
            service,
            began: clock::instant(),
            limit,
        }
    }

    /// What is left of the time.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.limit
            .saturating_sub(clock::instant().saturating_duration_since(self.began))
    }

    /// Does one of the last things, for as long as there is time, and a second at least. None if that wasn't enough.
    pub async fn within<T>(&self, last: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.left().max(Duration::from_secs(1)), last)
            .await
            .ok()
    }

    /// Says how it went: how many tasks had to be left, and whether the leases of budgets went back (`None` where there are none).
    pub fn told(self, unfinished: usize, leases_returned: Option<bool>) {
        let took = clock::instant().saturating_duration_since(self.began);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let service = self.service;
        let leases = match leases_returned {
            None => "none held",
            Some(true) => "returned",
            Some(false) => "not returned, they run out by themselves",
        };
        if unfinished == 0 {
            tracing::info!(unfinished, took_ms, leases, "{service} stopped in order");
        } else {
            tracing::warn!(
                unfinished,
                took_ms,
                leases,
                "{service} stopped with work under way; others do it again"
            );
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

    #[test]
    fn a_drain_has_bounds() {
        assert_eq!(drain("api", 10), Ok(Duration::from_secs(10)));
        for secs in [0, 3601] {
            let fault = drain("api", secs).unwrap_err();
            assert_eq!(fault.setting, "api.drain_secs");
        }
    }

    #[tokio::test]
    async fn the_time_to_stop_runs_out() {
        let stopping = Stopping::begin("test", Duration::from_secs(3600));
        assert!(stopping.left() > Duration::from_secs(3500));
        stopping.told(0, Some(true));
        let over = Stopping::begin("test", Duration::ZERO);
        assert_eq!(over.left(), Duration::ZERO);
        assert_eq!(over.within(async { 7 }).await, Some(7));
        over.told(1, None);
    }

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
