//! Ctrl-C, SIGTERM and SIGHUP become an error at the next step, so that everything started is stopped in order.

use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static SEEN: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

/// Somebody asked us to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted {
    signal: i32,
}

impl Interrupted {
    /// What a shell reports for a program ended by this signal.
    pub(crate) fn exit_code(self) -> u8 {
        u8::try_from(128 + self.signal).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal {
            SIGINT => f.write_str("interrupted by Ctrl-C"),
            signal => write!(f, "interrupted by signal {signal}"),
        }
    }
}

impl std::error::Error for Interrupted {}

/// Catch the signals from now on.
pub(crate) fn listen() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context("could not listen for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            LAST.store(signal, Ordering::SeqCst);
            SEEN.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// Fails once a signal has come.
pub(crate) fn check() -> Result<(), Interrupted> {
    match count() {
        0 => Ok(()),
        _ => Err(Interrupted {
            signal: LAST.load(Ordering::SeqCst),
        }),
    }
}

/// How many signals have come. A second one means: faster.
pub(crate) fn count() -> usize {
    SEEN.load(Ordering::SeqCst)
}
