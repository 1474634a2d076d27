//! An account's sessions: as many as are allowed, kept while they are used, closed when they are not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use calgrant_exchange::{CallError, Meaning};
use time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    pipeline::Command,
    shell::{Ran, Shell},
};
use crate::transport::http::Http;

/// Servers end a session that was idle for a quarter of an hour; ours aren't used any more somewhat before.
const IDLE: Duration = Duration::minutes(10);

/// A session that nobody needed for so long is given up: another process may use the account, and servers count sessions of all.
const RESTS: Duration = Duration::minutes(1);

/// The sessions of an account.
pub(super) struct Sessions {
    pub(super) http: Arc<Http>,
    /// One for each session that may be in use.
    places: Semaphore,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Open, and not in use.
    idle: Vec<Shell>,
    /// Left in the middle of a command that nobody waits for any more: to be closed.
    left: Vec<Shell>,
    /// Open, or being opened.
    open: usize,
}

/// A session in use; one that is let go of in the middle of a command is closed before another is opened.
struct Taken<'a> {
    sessions: &'a Sessions,
    shell: Option<Shell>,
    _place: SemaphorePermit<'a>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(shell) = self.shell.take() {
            self.sessions.kept().left.push(shell);
        }
    }
}

impl Sessions {
    /// None yet, and never more than `most` (at least 1).
    pub(super) fn new(http: Http, most: usize) -> Self {
        Self {
            http: Arc::new(http),
            places: Semaphore::new(most.max(1)),
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.kept().open
    }

    /// Makes sure that there is one, so that a command needn't wait for it.
    pub(super) async fn prepare(&self) -> Result<(), CallError> {
        self.http.gate.is_open()?;
        if self.open() > 0 {
            return Ok(());
        }
        let mut taken = self.take().await?;
        self.kept().idle.extend(taken.shell.take());
        Ok(())
    }

    /// Runs a command in one of them.
    pub(super) async fn run(&self, command: &Command) -> Ran {
        let mut taken = match self.take().await {
            Ok(taken) => taken,
            Err(error) => {
                return Ran {
                    output: Err(error),
                    first_byte: None,
                    usable: false,
                };
            }
        };
        let Some(shell) = taken.shell.as_mut() else {
            return Ran {
                output: Err(CallError::new(
                    Meaning::Retry,
                    "no_session",
                    "there is no session",
                )),
                first_byte: None,
                usable: false,
            };
        };
        let ran = shell.run(&self.http, command).await;
        if !ran.usable {
            shell.close(&self.http).await;
            taken.shell = None;
            self.kept().open -= 1;
        } else if let Some(shell) = taken.shell.take() {
            self.kept().idle.push(shell);
        }
        ran
    }

    /// One that is idle and fresh, or a new one.
    async fn take(&self) -> Result<Taken<'_>, CallError> {
        let place =
            self.places.acquire().await.map_err(|_| {
                CallError::new(Meaning::Retry, "closed", "the sessions were closed")
            })?;
        let now = (self.http.now)();
        let (fresh, old) = {
            let mut kept = self.kept();
            let mut old = std::mem::take(&mut kept.left);
            let mut fresh = None;
            while let Some(shell) = kept.idle.pop() {
                if now - shell.used < IDLE {
                    fresh = Some(shell);
                    break;
                }
                old.push(shell);
            }
            kept.open -= old.len();
            if fresh.is_none() {
                kept.open += 1;
            }
            (fresh, old)
        };
        for mut shell in old {
            shell.close(&self.http).await;
        }
        let shell = match fresh {
            Some(shell) => shell,
            None => {
                let opening = Opening(self, false);
                let opened = Shell::open(&self.http).await;
                opening.over(opened.is_ok());
                opened?
            }
        };
        Ok(Taken {
            sessions: self,
            shell: Some(shell),
            _place: place,
        })
    }

    /// Closes those that nobody needed for a while.
    pub(super) async fn rest(&self) {
        let now = (self.http.now)();
        let resting = {
            let mut kept = self.kept();
            let idle = std::mem::take(&mut kept.idle);
            let (fresh, mut resting): (Vec<_>, Vec<_>) =
                idle.into_iter().partition(|shell| now - shell.used < RESTS);
            kept.idle = fresh;
            resting.append(&mut kept.left);
            kept.open -= resting.len();
            resting
        };
        for mut shell in resting {
            shell.close(&self.http).await;
        }
    }

    /// Closes all that are not in use.
    pub(super) async fn close(&self) {
        let all = {
            let mut kept = self.kept();
            let mut all = std::mem::take(&mut kept.idle);
            all.append(&mut kept.left);
            kept.open -= all.len();
            all
        };
        for mut shell in all {
            shell.close(&self.http).await;
        }
    }
}

/// A session being opened, counted until it is known that it isn't open.
struct Opening<'a>(&'a Sessions, bool);

impl Opening<'_> {
    fn over(mut self, opened: bool) {
        self.1 = opened;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.kept().open -= 1;
        }
    }
}
