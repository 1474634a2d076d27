//! A clock for each world, since a set-up takes its clock as a plain function: time passes in one as fast as it is waited for.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};

use calgrant_runtime::clock;
use time::OffsetDateTime;

/// More than tests run at the same time.
const MANY: usize = 16;

static AHEAD_MILLIS: [AtomicI64; MANY] = [const { AtomicI64::new(0) }; MANY];
static TAKEN: Mutex<[bool; MANY]> = Mutex::new([false; MANY]);

fn now<const CLOCK: usize>() -> OffsetDateTime {
    let ahead = AHEAD_MILLIS[CLOCK].load(Ordering::SeqCst);
    clock::now() + time::Duration::milliseconds(ahead)
}

const CLOCKS: [fn() -> OffsetDateTime; MANY] = [
    now::<0>, now::<1>, now::<2>, now::<3>, now::<4>, now::<5>, now::<6>, now::<7>, now::<8>,
    now::<9>, now::<10>, now::<11>, now::<12>, now::<13>, now::<14>, now::<15>,
];

/// A clock of one's own.
pub(crate) struct Clock(usize);

impl Clock {
    pub(crate) fn new() -> Self {
        let mut taken = TAKEN.lock().unwrap();
        let free = taken.iter().position(|taken| !taken).unwrap();
        taken[free] = true;
        AHEAD_MILLIS[free].store(0, Ordering::SeqCst);
        Self(free)
    }

    /// What tells its time.
    pub(crate) fn function(&self) -> fn() -> OffsetDateTime {
        CLOCKS[self.0]
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.function()()
    }

    pub(crate) fn advance(&self, millis: i64) {
        AHEAD_MILLIS[self.0].fetch_add(millis, Ordering::SeqCst);
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Ok(mut taken) = TAKEN.lock() {
            taken[self.0] = false;
        }
    }
}
