//! PowerShell remoting to the site.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The open shells of a site.
#[derive(Debug, Default)]
pub(crate) struct Shells {
    counts: Mutex<HashMap<String, (u32, u32, u32)>>,
}

impl Shells {
    /// Shells an account has open, had open at most, and was refused.
    pub(crate) fn show(&self, account: &str) -> (u32, u32, u32) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(account).copied().unwrap_or_default()
    }

    pub(crate) fn mark(&self) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
