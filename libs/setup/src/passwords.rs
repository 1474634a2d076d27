//! Passwords of accounts: drawn, sealed, kept, handed over.

use calgrant_domain::{Address, Password};
use calgrant_secrets::{Key, Sink, draw_password};

use crate::{Journal, JournalError};

/// With what passwords are sealed, and where they are handed over besides.
#[derive(Debug)]
pub struct Passwords {
    key: Option<Key>,
    sink: Option<Sink>,
}

/// Why there is no password to use.
pub(crate) enum NoPassword {
    /// A person must do something.
    Refused(String),
    /// The journal can't be kept.
    Journal(JournalError),
}

impl From<JournalError> for NoPassword {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Passwords {
    /// Sealed with `key`: without one no password is made. Handed over at `sink`, if there is one.
    #[must_use]
    pub fn new(key: Option<Key>, sink: Option<Sink>) -> Self {
        Self { key, sink }
    }

    /// The password that is about to be used for a name: the one that is kept, or a new one, sealed and kept before this returns.
    pub(crate) async fn pending(
        &self,
        journal: &dyn Journal,
        name: &str,
    ) -> Result<Password, NoPassword> {
        let key = self.key.as_ref().ok_or_else(|| {
            NoPassword::Refused("no key is set to seal passwords with: give this process one, as the setting secrets_key or secrets_key_file".into())
        })?;
        let refused = |cause: &dyn std::fmt::Display| NoPassword::Refused(cause.to_string());
        let fresh = draw_password().map_err(|cause| refused(&cause))?;
        let sealed = key.seal(name, &fresh).map_err(|cause| refused(&cause))?;
        let pending = journal.keep(name, &sealed).await?;
        if pending == sealed {
            return Ok(fresh);
        }
        key.open(name, &pending).map_err(|cause| {
            NoPassword::Refused(format!(
                "the password that was sealed for {name} can't be opened: {cause}"
            ))
        })
    }

    /// Hands a password over, if that is wanted.
    pub(crate) async fn hand_over(
        &self,
        account: &Address,
        password: &Password,
    ) -> Result<(), String> {
        match &self.sink {
            None => Ok(()),
            Some(sink) => sink
                .hand_over(account, password)
                .await
                .map_err(|cause| cause.to_string()),
        }
    }
}
