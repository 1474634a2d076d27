//! Access tokens by client credentials: one source for each scope, asked again before the token ends.

use std::sync::Arc;

use calgrant_exchange::{CallError, Meaning};
use secrecy::{ExposeSecret, SecretString};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    Account, ConnectError, Endpoints, Secret, assertion::Signer, classify, http::Http, http::Reply,
    wire,
};

/// The scope of Microsoft Graph, whatever its base URL.
pub(crate) const GRAPH_SCOPE: &str = "https://graph.microsoft.com/.default";
/// The scope of the administrative interfaces, whatever their base URL.
pub(crate) const ADMIN_SCOPE: &str = "https://outlook.office365.com/.default";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token. Cheap to clone; knows which sign-in it came from.
#[derive(Clone)]
pub(crate) struct Token {
    text: Arc<SecretString>,
    serial: u64,
}

impl Token {
    /// The token as text, for a header.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

enum Proof {
    Secret(SecretString),
    Certificate(Box<Signer>),
}

struct Held {
    token: Token,
    refresh_at: OffsetDateTime,
    ends_at: OffsetDateTime,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    serial: u64,
}

/// Tokens of one account for one scope.
pub(crate) struct TokenSource {
    http: Arc<Http>,
    url: String,
    client_id: String,
    proof: Proof,
    scope: &'static str,
    state: Mutex<State>,
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
            url: format!(
                "{}/{}/oauth2/v2.0/token",
                endpoints.login_url, endpoints.directory_id
            ),
            client_id: account.client_id.clone(),
            proof,
            scope,
            state: Mutex::default(),
        })
    }

    /// The token: the one at hand, or a new one. However many ask at once, one of them signs in.
    pub(crate) async fn token(&self) -> Result<Token, CallError> {
        let mut state = self.state.lock().await;
        let now = (self.http.now)();
        if let Some(held) = &state.held
            && now < held.refresh_at
        {
            return Ok(held.token.clone());
        }
        match self.ask().await {
            Ok((text, life)) => {
                let now = (self.http.now)();
                state.serial += 1;
                let token = Token {
                    text: Arc::new(text),
                    serial: state.serial,
                };
                state.held = Some(Held {
                    token: token.clone(),
                    refresh_at: now + life * 0.8,
                    ends_at: now + life,
                });
                tracing::debug!(scope = self.scope, life = life.whole_seconds(), "signed in");
                Ok(token)
            }
            // It was asked early: while the old one is good, a sign-in that fails can wait.
            Err(error) => match &state.held {
                Some(held) if now < held.ends_at && error.meaning != Meaning::PauseAccount => {
                    Ok(held.token.clone())
                }
                _ => Err(error),
            },
        }
    }

    /// Forgets a token that was refused; does nothing when it has been replaced meanwhile.
    pub(crate) async fn invalidate(&self, refused: &Token) {
        let mut state = self.state.lock().await;
        if state
            .held
            .as_ref()
            .is_some_and(|held| held.token.serial == refused.serial)
        {
            state.held = None;
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
        let reply = self
            .http
            .send(self.http.client.post(&self.url).form(&form))
            .await?;
        read(&reply)
    }
}

/// Reads the token endpoint's answer.
fn read(reply: &Reply) -> Result<(SecretString, Duration), CallError> {
    let status = reply.status.unwrap_or_default();
    if (200..300).contains(&status) {
        return match serde_json::from_slice::<wire::TokenAnswer>(&reply.body) {
            Ok(answer) => Ok((
                answer.access_token,
                Duration::seconds(answer.expires_in.clamp(1, 86_400)),
            )),
            Err(e) => Err(CallError::new(Meaning::Retry, "sign_in", e.to_string())),
        };
    }
    let refused: Option<wire::TokenRefusal> = serde_json::from_slice(&reply.body).ok();
    match refused {
        Some(refused)
            if (400..500).contains(&status)
                && !matches!(status, 408 | 429)
                && refused.error != "temporarily_unavailable" =>
        {
            let code = refused
                .error_codes
                .first()
                .map_or_else(|| refused.error.clone(), |code| format!("AADSTS{code}"));
            let mut error = CallError::new(
                Meaning::PauseAccount,
                code,
                classify::shortened(&format!("{}: {}", refused.error, refused.error_description)),
            );
            error.detail.request_id = refused.trace_id;
            Err(error)
        }
        _ => Err(
            match classify::classify(reply, classify::Asked::Directory) {
                Err(error) if matches!(error.meaning, Meaning::WaitUntil { .. }) => error,
                Err(error) => CallError {
                    meaning: Meaning::Retry,
                    ..error
                },
                Ok(_) => CallError::new(Meaning::Retry, "sign_in", "the answer holds no token"),
            },
        ),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
