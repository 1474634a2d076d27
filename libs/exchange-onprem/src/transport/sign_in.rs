//! Signing in, and not signing in too often: directories lock accounts out after a few wrong passwords.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use calgrant_exchange::{CallError, Meaning};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, MutexGuard};

use super::ntlm::Login;

/// How an account proves who it is.
#[derive(Clone)]
pub enum SignIn {
    /// Name and password with each request. Over TLS only.
    Basic {
        /// `DOMAIN\user` or a user principal name.
        user: String,
        /// Its password.
        password: SecretString,
    },
    /// NTLM version 2, once for each connection, bound to its TLS.
    Ntlm {
        /// `DOMAIN\user` or a user principal name.
        user: String,
        /// Its password.
        password: SecretString,
    },
    /// Kerberos, once for each connection. Without TLS bodies are sealed, for interfaces that take them so.
    Kerberos {
        /// Its name with its realm: `sa-1@uni.example`.
        user: String,
        /// Its password.
        password: SecretString,
    },
    /// A token of an authority the organisation trusts (modern authentication).
    Bearer {
        /// Where tokens are issued for a client's secret.
        token_url: String,
        /// The client.
        client_id: String,
        /// Its secret.
        secret: SecretString,
        /// What the token is for, such as `https://mail.uni.example/.default`.
        scope: String,
    },
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic([redacted])",
            Self::Ntlm { .. } => "Ntlm([redacted])",
            Self::Kerberos { .. } => "Kerberos([redacted])",
            Self::Bearer { .. } => "Bearer([redacted])",
        })
    }
}

impl SignIn {
    /// The header of name and password.
    pub(crate) fn basic(user: &str, password: &SecretString) -> String {
        format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{}", password.expose_secret()))
        )
    }

    /// As NTLM names the user, if it is how this signs in.
    pub(crate) fn login(&self) -> Option<Login> {
        match self {
            Self::Ntlm { user, password } => Some(Login::new(user, password.clone())),
            Self::Basic { .. } | Self::Kerberos { .. } | Self::Bearer { .. } => None,
        }
    }

    /// Refusals after which nothing more is tried. Who proves itself to the connection is refused now and then by servers
    /// under load. A password that the domain itself refuses a ticket for isn't tried again at all.
    pub(crate) fn most_refusals(&self) -> u32 {
        match self {
            Self::Ntlm { .. } | Self::Kerberos { .. } => 3,
            Self::Basic { .. } | Self::Bearer { .. } => 2,
        }
    }
}

/// Counts refusals, and shuts. Until the credential has been taken once, and after each refusal, requests go one
/// at a time, so that a wrong password is tried [`SignIn::most_refusals`] times and not by every worker.
pub(crate) struct Gate {
    most: u32,
    refused: AtomicU32,
    proven: AtomicBool,
    shut: std::sync::Mutex<Option<CallError>>,
    turn: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            refused: AtomicU32::new(0),
            proven: AtomicBool::new(false),
            shut: std::sync::Mutex::new(None),
            turn: Mutex::new(()),
        }
    }

    /// Waits for one's turn, where the credential isn't proven.
    ///
    /// # Errors
    /// It is shut: why.
    pub(crate) async fn pass(&self) -> Result<Option<MutexGuard<'_, ()>>, CallError> {
        self.is_open()?;
        if self.proven.load(SeqCst) {
            return Ok(None);
        }
        let turn = self.turn.lock().await;
        self.is_open()?;
        // Proven by whoever went before: the others needn't stand in line.
        Ok((!self.proven.load(SeqCst)).then_some(turn))
    }

    /// Whether it is shut, and why.
    pub(crate) fn is_open(&self) -> Result<(), CallError> {
        let shut = self
            .shut
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        shut.clone().map_or(Ok(()), Err)
    }

    /// The credential was taken.
    pub(crate) fn accepted(&self) {
        self.refused.store(0, SeqCst);
        self.proven.store(true, SeqCst);
    }

    /// The credential was refused: sign in again, or give the account up.
    pub(crate) fn refused(&self, text: String) -> CallError {
        self.proven.store(false, SeqCst);
        let times = self.refused.fetch_add(1, SeqCst) + 1;
        if times < self.most {
            return CallError::new(Meaning::SignInAgain, "HTTP 401", text);
        }
        let error = CallError::new(Meaning::PauseAccount, "HTTP 401", text);
        self.shut(&error);
        error
    }

    /// A person must act on the account: nothing more is sent with it.
    pub(crate) fn shut(&self, error: &CallError) {
        let mut shut = self
            .shut
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        shut.get_or_insert_with(|| error.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_password_is_tried_twice_however_many_want_to() {
        let gate = Gate::new(2);
        let tried = AtomicU32::new(0);
        let one = || async {
            let turn = gate.pass().await?;
            tried.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
            let error = gate.refused("no".into());
            drop(turn);
            Err::<(), _>(error)
        };
        let all = futures::future::join_all((0..20).map(|_| one())).await;
        assert_eq!(tried.load(SeqCst), 2);
        let meanings: Vec<_> = all
            .into_iter()
            .map(|one| one.unwrap_err().meaning)
            .collect();
        assert_eq!(meanings[0], Meaning::SignInAgain);
        assert!(
            meanings[1..]
                .iter()
                .all(|meaning| *meaning == Meaning::PauseAccount)
        );
    }

    #[tokio::test]
    async fn one_that_is_taken_opens_the_way_for_all() {
        let gate = Gate::new(2);
        let turn = gate.pass().await.unwrap();
        assert!(turn.is_some());
        gate.accepted();
        drop(turn);
        let (one, other) = (gate.pass().await.unwrap(), gate.pass().await.unwrap());
        assert!(one.is_none() && other.is_none());
        // Once is chance, and counts anew after it was taken again.
        assert_eq!(gate.refused(String::new()).meaning, Meaning::SignInAgain);
        gate.accepted();
        assert_eq!(gate.refused(String::new()).meaning, Meaning::SignInAgain);
        assert_eq!(gate.refused(String::new()).meaning, Meaning::PauseAccount);
    }

    #[test]
    fn secrets_are_not_shown() {
        let basic = SignIn::Basic {
            user: "a".into(),
            password: "hush".into(),
        };
        assert!(!format!("{basic:?}").contains("hush"));
        assert_eq!(SignIn::basic("a", &"b".into()), "Basic YTpi");
    }
}
