//! Tokens of an authority, for a client's secret; kept while they are good.

use std::{sync::Arc, time::Duration};

use calgrant_exchange::{CallError, Meaning, one_line};
use hyper::Uri;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::http::{Outgoing, one_shot};
use crate::Now;

/// A token is renewed this long before it ends.
const EARLY: Duration = Duration::from_secs(300);
/// Longest answer of an authority.
const LONGEST: usize = 256 << 10;

/// Where tokens come from.
pub(crate) struct TokenSource {
    pub(crate) url: Uri,
    pub(crate) client_id: String,
    pub(crate) secret: SecretString,
    pub(crate) scope: String,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) now: Now,
    pub(crate) held: Mutex<Option<Held>>,
}

/// A token, and until when it is used.
#[derive(Clone)]
pub(crate) struct Held {
    token: SecretString,
    until: OffsetDateTime,
}

impl TokenSource {
    /// A token that is good; asks for one if there is none.
    pub(crate) async fn header(&self) -> Result<String, CallError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.until > (self.now)()) {
            return Ok(format!("Bearer {}", held.token.expose_secret()));
        }
        let fresh = self.ask().await?;
        let header = format!("Bearer {}", fresh.token.expose_secret());
        *held = Some(fresh);
        Ok(header)
    }

    /// The token was refused.
    pub(crate) async fn forget(&self) {
        *self.held.lock().await = None;
    }

    async fn ask(&self) -> Result<Held, CallError> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.secret.expose_secret()),
            ("scope", self.scope.as_str()),
        ];
        let body: Vec<_> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", percent(value)))
            .collect();
        let request = Outgoing {
            headers: vec![("Content-Type", "application/x-www-form-urlencoded".into())],
            body: body.join("&"),
            longest: LONGEST,
        };
        let reply = one_shot(&self.url, &self.tls, &request).await?;
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let text = |name: &str| json[name].as_str().unwrap_or_default();
        if reply.status == 200 && !text("access_token").is_empty() {
            // Some authorities write the number as text.
            let life = json["expires_in"]
                .as_u64()
                .or_else(|| text("expires_in").parse().ok())
                .unwrap_or(600)
                .min(86_400);
            let life = Duration::from_secs(life);
            return Ok(Held {
                token: text("access_token").into(),
                until: (self.now)() + life.saturating_sub(EARLY).max(life / 2),
            });
        }
        let meaning = match reply.status {
            400 | 401 | 403 => Meaning::PauseAccount,
            429 | 503 => Meaning::WaitUntil {
                scope: calgrant_exchange::Scope::Account,
                after: None,
            },
            _ => Meaning::Retry,
        };
        let code = match text("error") {
            "" => format!("HTTP {}", reply.status),
            code => code.chars().take(80).collect(),
        };
        let why = text("error_description").lines().next().unwrap_or_default();
        Err(CallError::new(meaning, code, one_line(why)))
    }
}

/// As a value of a form.
fn percent(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_forms() {
        assert_eq!(percent("a b&c=é+~"), "a%20b%26c%3D%C3%A9%2B~");
    }
}
