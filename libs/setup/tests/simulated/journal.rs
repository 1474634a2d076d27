//! A journal in memory that can be cut off: the process dies just before, or just after, a write.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use calgrant_domain::{
    Step,
    setup::{PasswordKept, StepRecord},
};
use calgrant_setup::{Journal, JournalError, Kept};

/// Where the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Before the write: it isn't kept.
    Before,
    /// After it: it is kept.
    After,
}

#[derive(Default)]
struct Secret {
    sealed: Option<Vec<u8>>,
    pending: Option<Vec<u8>>,
    settled: u32,
}

#[derive(Default)]
struct State {
    steps: BTreeMap<Step, StepRecord>,
    secrets: BTreeMap<String, Secret>,
    writes: usize,
    cut: Option<(usize, Dies)>,
}

/// The journal of one set-up.
#[derive(Default)]
pub(crate) struct MemoryJournal(Mutex<State>);

impl MemoryJournal {
    /// Dies at the write of this number, from 0.
    pub(crate) fn cut_at(&self, write: usize, dies: Dies) {
        let mut state = self.state();
        state.cut = Some((state.writes + write, dies));
    }

    /// Another process goes on.
    pub(crate) fn mend(&self) {
        self.state().cut = None;
    }

    pub(crate) fn known(&self) -> Vec<(Step, StepRecord)> {
        let state = self.state();
        let steps = state.steps.iter();
        steps
            .map(|(step, record)| (*step, record.clone()))
            .collect()
    }

    /// A set-up that is new: passwords stay.
    pub(crate) fn forget_steps(&self) {
        let mut state = self.state();
        state.steps.clear();
        for secret in state.secrets.values_mut() {
            secret.settled = 0;
        }
    }

    /// How many writes there were.
    pub(crate) fn writes(&self) -> usize {
        self.state().writes
    }

    /// What is sealed under a name, and in effect.
    pub(crate) fn sealed(&self, name: &str) -> Option<Vec<u8>> {
        self.state().secrets.get(name)?.sealed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, JournalError> {
        let mut state = self.state();
        let number = state.writes;
        state.writes += 1;
        let died = || JournalError::Away("the process died".into());
        match state.cut {
            Some((at, Dies::Before)) if at <= number => Err(died()),
            Some((at, Dies::After)) if at <= number => {
                if at == number {
                    change(&mut state);
                }
                Err(died())
            }
            _ => Ok(change(&mut state)),
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn record(&self, steps: &[(Step, StepRecord)]) -> Result<(), JournalError> {
        self.write(|state| state.steps.extend(steps.iter().cloned()))
    }

    async fn kept(&self, name: &str) -> Result<Kept, JournalError> {
        let state = self.state();
        let secret = state.secrets.get(name);
        let kept = match secret {
            Some(Secret {
                pending: Some(_), ..
            }) => PasswordKept::Pending,
            Some(Secret {
                sealed: Some(_), ..
            }) => PasswordKept::InEffect,
            _ => PasswordKept::No,
        };
        Ok(Kept {
            state: kept,
            renewed: kept == PasswordKept::InEffect
                && secret.is_some_and(|secret| secret.settled > 0),
        })
    }

    async fn keep(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, JournalError> {
        self.write(|state| {
            let secret = state.secrets.entry(name.to_owned()).or_default();
            secret.pending.get_or_insert(sealed.to_vec()).clone()
        })
    }

    async fn settle(&self, name: &str) -> Result<(), JournalError> {
        self.write(|state| {
            let secret = state.secrets.entry(name.to_owned()).or_default();
            if let Some(pending) = secret.pending.take() {
                secret.sealed = Some(pending);
                secret.settled += 1;
            }
        })
    }
}
