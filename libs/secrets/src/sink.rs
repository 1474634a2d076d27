//! Where passwords are handed over.

use calgrant_domain::{Address, Password, setup::HandOver};

use crate::{Folder, KubernetesSecret};

/// A place that passwords are handed over at, besides being kept sealed.
#[derive(Debug, Clone)]
pub enum Sink {
    /// A folder of this machine.
    Folder(Folder),
    /// A Secret of Kubernetes.
    Kubernetes(Box<KubernetesSecret>),
}

/// A password couldn't be handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the password of {account} can't be handed over: {why}")]
pub struct HandOverError {
    account: String,
    why: String,
}

impl HandOverError {
    pub(crate) fn new(account: &Address, why: String) -> Self {
        Self {
            account: account.to_string(),
            why,
        }
    }
}

impl Sink {
    /// The place that a set-up names.
    ///
    /// # Errors
    /// It can't be reached from here: says why.
    pub fn of(named: &HandOver) -> Result<Self, String> {
        match named {
            HandOver::Folder(path) => Ok(Self::Folder(Folder::new(path))),
            HandOver::Kubernetes(object) => KubernetesSecret::in_cluster(object.clone())
                .map(|secret| Self::Kubernetes(Box::new(secret))),
        }
    }

    /// Hands a password over.
    ///
    /// # Errors
    /// It can't be written: says what to do.
    pub async fn hand_over(
        &self,
        account: &Address,
        password: &Password,
    ) -> Result<(), HandOverError> {
        match self {
            Self::Folder(folder) => folder.hand_over(account, password),
            Self::Kubernetes(secret) => secret.hand_over(account, password).await,
        }
    }
}
