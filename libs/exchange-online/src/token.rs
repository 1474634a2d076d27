//! Access tokens by client credentials: one source for each scope, asked again before the token ends.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration as StdDuration,
};

use calgrant_exchange::{CallError, Meaning, one_line};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use time::Duration;
use uuid::Uuid;

use crate::{
    Account, ConnectError, Endpoints, Secret,
    assertion::Signer,
    classify,
    http::{Http, Reply},
    token_cache::{Cache, Glance, Token},
    wire,
};

/// The scope of Microsoft Graph, whatever its base URL.
pub(crate) const GRAPH_SCOPE: &str = "https://graph.microsoft.com/.default";
/// The scope of the administrative interfaces, whatever their base URL.
pub(crate) const ADMIN_SCOPE: &str = "https://outlook.office365.com/.default";

/// A sign-in takes no longer than this.
pub(crate) const SIGN_IN_TIMEOUT: StdDuration = StdDuration::from_secs(30);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

enum Proof {
    Secret(SecretString),
    Certificate(Box<Signer>),
}

/// Tokens of one account for one scope.
pub(crate) struct TokenSource {
    http: Arc<Http>,
    url: String,
    client_id: String,
    proof: Proof,
    scope: &'static str,
    cache: Mutex<Cache>,
    /// Held by the one who signs in.
    flight: tokio::sync::Mutex<()>,
}

impl TokenSource {
    /// A source that holds no token yet.
    pub(crate) fn new(
        http: Arc<Http>,
        endpoints: &Endpoints,
        account: &Account,
        scope: &'static str,
    ) -> Result<Self, ConnectError> {
        let proof = match &account.secret {
            Secret::Client(secret) => Proof::Secret(secret.clone()),
            Secret::Certificate {
                key_pem,
                certificate_pem,
            } => Proof::Certificate(Box::new(Signer::new(
                key_pem.expose_secret(),
                certificate_pem,
            )?)),
        };
        Ok(Self {
            http,
            url: endpoints.sign_in_url("token"),
            client_id: account.client_id.clone(),
            proof,
            scope,
            cache: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        })
    }

    /// The token: the one at hand, or a new one. However many ask at once, one of them signs in; the others wait
    /// for it only if there is no token that is still good.
    pub(crate) async fn token(&self) -> Result<Token, CallError> {
        let seen = match self.glance() {
            Glance::Good(token) => return Ok(token),
            Glance::Due(token) => {
                return match self.flight.try_lock() {
                    Ok(_flight) => self.sign_in().await,
                    Err(_) => Ok(token),
                };
            }
            Glance::None(seen) => seen,
        };
        let _flight = self.flight.lock().await;
        // Somebody else may have signed in, or failed to, while this one waited.
        if let Glance::Good(token) | Glance::Due(token) = self.glance() {
            return Ok(token);
        }
        let failed = self.cache().failed_since(seen);
        match failed {
            Some(error) => Err(error),
            None => self.sign_in().await,
        }
    }

    /// Forgets a token that was refused; does nothing when it has been replaced meanwhile.
    pub(crate) fn invalidate(&self, refused: &Token) {
        self.cache().forget(refused);
    }

    fn glance(&self) -> Glance {
        self.cache().glance((self.http.now)())
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sign_in(&self) -> Result<Token, CallError> {
        let asked = (self.http.now)();
        match self.ask().await {
            Ok((text, life)) => {
                tracing::debug!(scope = self.scope, life = life.whole_seconds(), "signed in");
                Ok(self.cache().signed_in(text, life, asked, roll()))
            }
            Err(error) => {
                let kept = self.cache().failed(&error, (self.http.now)());
                if kept.is_some() {
                    tracing::warn!(scope = self.scope, %error, "the sign-in failed; the token at hand is used to its end");
                }
                kept.ok_or(error)
            }
        }
    }

    async fn ask(&self) -> Result<(SecretString, Duration), CallError> {
        let mut form = vec![
            ("client_id", self.client_id.clone()),
            ("scope", self.scope.to_owned()),
            ("grant_type", "client_credentials".to_owned()),
        ];
        match &self.proof {
            Proof::Secret(secret) => {
                form.push(("client_secret", secret.expose_secret().to_owned()));
            }
            Proof::Certificate(signer) => {
                let assertion = signer
                    .assertion(
                        &self.client_id,
                        &self.url,
                        (self.http.now)(),
                        Uuid::new_v4(),
                    )
                    .map_err(|e| {
                        CallError::new(Meaning::PauseAccount, "assertion", e.to_string())
                    })?;
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", assertion));
            }
        }
        let request = self.http.client.post(&self.url).form(&form);
        // Nobody keeps a place for a sign-in that got no answer: it holds no permit.
        let reply = self.http.send(request.timeout(SIGN_IN_TIMEOUT)).await;
        read(&reply.map_err(|error| CallError {
            unanswered: false,
            ..error
        })?)
    }
}

/// A random number in `[0, 1)`.
fn roll() -> f64 {
    f64::from(u32::from(Uuid::new_v4().as_bytes()[15])) / 256.0
}

/// Codes of the token endpoint that pass by themselves although they come as refusals.
fn passes(refused: &wire::TokenRefusal) -> bool {
    const PASSING: [u64; 2] = [
        // The directory service isn't available.
        90033, // Too many sign-ins of this app in a short time.
        50196,
    ];
    matches!(
        refused.error.as_str(),
        "temporarily_unavailable" | "server_error" | "slow_down"
    ) || refused
        .error_codes
        .iter()
        .any(|code| PASSING.contains(code))
}

/// Reads the token endpoint's answer.
fn read(reply: &Reply) -> Result<(SecretString, Duration), CallError> {
    let answer: wire::TokenAnswer = answer(reply)?;
    let life = Duration::seconds(answer.expires_in.clamp(1, 86_400));
    Ok((answer.access_token, life))
}

/// Reads an answer of the sign-in endpoints.
pub(crate) fn answer<T: DeserializeOwned>(reply: &Reply) -> Result<T, CallError> {
    let status = reply.status.unwrap_or_default();
    if (200..300).contains(&status) {
        return reply
            .body
            .holds()
            .map_err(|e| CallError::new(Meaning::Retry, "sign_in", e.to_string()));
    }
    let refused: Option<wire::TokenRefusal> = reply.body.holds().ok();
    match refused {
        Some(refused)
            if (400..500).contains(&status)
                && !matches!(status, 408 | 429)
                && !passes(&refused) =>
        {
            let code = refused
                .error_codes
                .first()
                .map_or_else(|| refused.error.clone(), |code| format!("AADSTS{code}"));
            let mut error = CallError::new(
                Meaning::PauseAccount,
                code,
                one_line(&format!("{}: {}", refused.error, refused.error_description)),
            );
            error.detail.request_id = refused.trace_id;
            Err(error)
        }
        _ => Err(match classify::failure(reply, classify::Asked::Directory) {
            Some(error) if matches!(error.meaning, Meaning::WaitUntil { .. }) => error,
            Some(error) => CallError {
                meaning: Meaning::Retry,
                ..error
            },
            None => CallError::new(Meaning::Retry, "sign_in", "the answer holds no token"),
        }),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
