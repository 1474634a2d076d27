//! What several tasks write down, locked for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, whatever became of whoever held it before.
pub(crate) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
