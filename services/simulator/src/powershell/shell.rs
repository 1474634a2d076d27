//! Sessions: runspace pools that stay open between requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::onprem::Account;
use crate::powershell::outbox::Outbox;
use crate::powershell::pipeline::Pipeline;
use crate::powershell::psrp::{Incoming, fragments};
use crate::powershell::secret::SessionKey;
use crate::tenant::Tenant;

/// A session that nobody asks anything of is closed after this time.
pub(crate) const IDLE: Duration = Duration::from_secs(900);

/// One open session.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) id: Uuid,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) account: Arc<Account>,
    /// The runspace pool, once the client has named it.
    pool: Mutex<Uuid>,
    pub(crate) outbox: Outbox,
    pub(crate) incoming: Mutex<Incoming>,
    pub(crate) pipelines: Mutex<HashMap<Uuid, Arc<Pipeline>>>,
    /// As many pipelines run at a time as there are runspaces.
    pub(crate) runspaces: Semaphore,
    /// What secrets are sealed with, once the client has asked for it.
    key: OnceLock<SessionKey>,
    touched: Mutex<Duration>,
    next_object: AtomicU64,
}

impl Shell {
    pub(crate) fn new(id: Uuid, tenant: Arc<Tenant>, account: Arc<Account>, now: Duration) -> Self {
        Self {
            id,
            tenant,
            account,
            pool: Mutex::default(),
            outbox: Outbox::default(),
            incoming: Mutex::default(),
            pipelines: Mutex::default(),
            runspaces: Semaphore::new(1),
            key: OnceLock::new(),
            touched: Mutex::new(now),
            next_object: AtomicU64::new(1),
        }
    }

    pub(crate) fn name_pool(&self, pool: Uuid) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = pool;
    }

    pub(crate) fn key(&self) -> Option<&SessionKey> {
        self.key.get()
    }

    /// The session's key, sealed for the owner of a public key; the same for whoever asks again.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn agree(&self, public: &str) -> Result<String, &'static str> {
        if self.key.get().is_none() {
            let made = SessionKey::make().ok_or("there is no randomness")?;
            let _ = self.key.set(made);
        }
        let key = self.key.get().ok_or("there is no key")?;
        key.sealed_for(public)
    }

    /// A message for the client.
    pub(crate) fn message(&self, kind: u32, pipeline: Uuid, text: &str) -> Vec<Vec<u8>> {
        let object = self.next_object.fetch_add(1, Ordering::Relaxed);
        let pool = *self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        fragments(object, kind, pool, pipeline, text)
    }

    pub(crate) fn pipelines(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Pipeline>>> {
        self.pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, now: Duration) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn is_idle(&self, now: Duration) -> bool {
        let touched = *self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_sub(touched) >= IDLE
    }
}

/// The open sessions of a site.
#[derive(Debug, Default)]
pub(crate) struct Shells {
    open: Mutex<HashMap<Uuid, Arc<Shell>>>,
    /// Most that were open at once, and how many were refused, by account.
    counts: Mutex<HashMap<String, (u64, u64)>>,
}

impl Shells {
    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Shell>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, (u64, u64)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session, unless its account has `most` open.
    ///
    /// # Errors
    /// That many.
    pub(crate) fn add(
        &self,
        shell: Arc<Shell>,
        most: Option<u64>,
        now: Duration,
    ) -> Result<(), u64> {
        let mut open = self.open();
        open.retain(|_, shell| !shell.is_idle(now));
        let name = &shell.account.name;
        let held = open
            .values()
            .filter(|open| open.account.name == *name)
            .count();
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let mut counts = self.counts();
        let (peak, refused) = counts.entry(name.clone()).or_default();
        if let Some(most) = most
            && held >= most
        {
            *refused += 1;
            return Err(most);
        }
        *peak = (*peak).max(held + 1);
        open.insert(shell.id, shell);
        Ok(())
    }

    /// The open session with this id, of this account; asking for it keeps it open.
    pub(crate) fn get(&self, id: Uuid, account: &Account, now: Duration) -> Option<Arc<Shell>> {
        let mut open = self.open();
        open.retain(|_, shell| !shell.is_idle(now));
        let shell = open.get(&id)?;
        if shell.account.name != account.name {
            return None;
        }
        shell.touch(now);
        Some(Arc::clone(shell))
    }

    pub(crate) fn close(&self, id: Uuid) {
        if let Some(shell) = self.open().remove(&id) {
            shell.outbox.close();
        }
    }

    /// Sessions an account has open, had open at most, and was refused.
    pub(crate) fn show(&self, account: &str) -> (usize, u64, u64) {
        let open = self.open();
        let held = open
            .values()
            .filter(|shell| shell.account.name == account)
            .count();
        let (peak, refused) = self.counts().get(account).copied().unwrap_or_default();
        (held, peak, refused)
    }

    /// Starts to count anew.
    pub(crate) fn mark(&self) {
        self.counts().clear();
    }
}
