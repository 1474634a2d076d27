//! A person signs in with another device: a code is shown here and entered in a browser, and meanwhile the token endpoint is asked.
//!
//! RFC 8628, as "OAuth 2.0 device authorization grant flow" of Microsoft's identity platform tells it.

use std::time::Duration;

use calgrant_exchange::{CallError, Meaning};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use crate::{
    ConnectError, Endpoints, Now,
    http::{Http, Reply},
    token::{ADMIN_SCOPE, GRAPH_SCOPE, SIGN_IN_TIMEOUT, answer},
    wire::{DeviceAnswer, TokenAnswer, TokenRefusal},
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What is waited longer after `slow_down`, as the RFC has it.
const SLOWER: Duration = Duration::from_secs(5);
/// Longest time between two questions, whatever the server says.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Where people sign in, to an app that lets them do so on another device.
pub struct Device {
    http: Http,
    endpoints: Endpoints,
    client_id: String,
}

/// A sign-in that waits for a person.
pub struct Waiting {
    device: Device,
    device_code: SecretString,
    message: String,
    interval: Duration,
    ends_at: OffsetDateTime,
}

/// What a question came to.
enum Polled {
    /// Nobody has signed in yet.
    Pending,
    /// The same, and we ask too often.
    SlowDown,
    SignedIn(TokenAnswer),
}

impl Device {
    /// For an app registration that allows public client flows.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(endpoints: Endpoints, client_id: &str, now: Now) -> Result<Self, ConnectError> {
        Ok(Self {
            http: Http::new(now)?,
            endpoints: endpoints.checked()?,
            client_id: client_id.to_owned(),
        })
    }

    /// Asks for a code.
    ///
    /// # Errors
    /// The endpoint refuses, or doesn't answer.
    pub async fn begin(self) -> Result<Waiting, CallError> {
        let form = [("client_id", self.client_id.clone()), ("scope", staying())];
        let reply = self.post("devicecode", &form).await?;
        let begun: DeviceAnswer = answer(&reply)?;
        let life = Duration::from_secs(begun.expires_in);
        Ok(Waiting {
            ends_at: (self.http.now)() + life,
            device_code: begun.device_code,
            message: begun.message.unwrap_or_else(|| {
                format!(
                    "open {} in a browser and enter the code {}",
                    begun.verification_uri, begun.user_code
                )
            }),
            interval: Duration::from_secs(begun.interval)
                .clamp(Duration::from_secs(1), LONGEST_INTERVAL),
            device: self,
        })
    }

    async fn post(&self, path: &str, form: &[(&str, String)]) -> Result<Reply, CallError> {
        let url = self.endpoints.sign_in_url(path);
        let request = self.http.client.post(url).form(form);
        self.http.send(request.timeout(SIGN_IN_TIMEOUT)).await
    }
}

impl Waiting {
    /// What the person is to do, in the server's words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Waits until the person has signed in: a token for Microsoft Graph, and one for Exchange.
    ///
    /// # Errors
    /// They declined, or didn't in time; the app doesn't let people sign in so, or has no consent for either API.
    pub async fn tokens(mut self) -> Result<(SecretString, SecretString), CallError> {
        let form = [
            ("grant_type", GRANT.to_owned()),
            ("client_id", self.device.client_id.clone()),
            ("scope", staying()),
            ("device_code", self.device_code.expose_secret().to_owned()),
        ];
        let graph = loop {
            tokio::time::sleep(self.interval).await;
            if (self.device.http.now)() >= self.ends_at {
                return Err(refused("expired_token", "nobody entered the code in time"));
            }
            // Whatever passes by itself has until then to pass.
            let asked = self.device.post("token", &form).await;
            match asked.and_then(|reply| polled(&reply)) {
                Ok(Polled::SignedIn(answer)) => break answer,
                Ok(Polled::SlowDown) => {
                    self.interval = (self.interval + SLOWER).min(LONGEST_INTERVAL);
                }
                Ok(Polled::Pending) => {}
                Err(error) if error.meaning != Meaning::PauseAccount => {}
                Err(error) => return Err(error),
            }
        };
        let refresh = graph.refresh_token.ok_or_else(|| {
            refused(
                "no_refresh_token",
                "the answer has no refresh token, so none for Exchange can be asked for",
            )
        })?;
        let form = [
            ("grant_type", "refresh_token".to_owned()),
            ("client_id", self.device.client_id.clone()),
            ("scope", ADMIN_SCOPE.to_owned()),
            ("refresh_token", refresh.expose_secret().to_owned()),
        ];
        let reply = self.device.post("token", &form).await?;
        let exchange: TokenAnswer = answer(&reply)?;
        Ok((graph.access_token, exchange.access_token))
    }
}

/// What is asked for first: Graph, and leave to ask for the other API afterwards.
fn staying() -> String {
    format!("{GRAPH_SCOPE} offline_access")
}

fn refused(code: &str, text: &str) -> CallError {
    CallError::new(Meaning::PauseAccount, code, text)
}

/// Reads what a question came to.
fn polled(reply: &Reply) -> Result<Polled, CallError> {
    let refusal: Option<TokenRefusal> = reply.body.holds().ok();
    match refusal.as_ref().map(|refusal| refusal.error.as_str()) {
        Some("authorization_pending") => Ok(Polled::Pending),
        Some("slow_down") => Ok(Polled::SlowDown),
        _ => answer(reply).map(Polled::SignedIn),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::body::Body;

    fn asked(status: u16, body: &Value) -> Result<Polled, CallError> {
        polled(&Reply {
            status: Some(status),
            body: Body::Json(body.clone()),
            ..Reply::default()
        })
    }

    #[test]
    fn what_a_question_came_to_is_told_apart() {
        let refusal = |error: &str| json!({"error": error, "error_description": "AADSTS1: x", "error_codes": [1]});
        let pending = asked(400, &refusal("authorization_pending"));
        assert!(matches!(pending, Ok(Polled::Pending)));
        let slower = asked(400, &refusal("slow_down"));
        assert!(matches!(slower, Ok(Polled::SlowDown)));
        let token = json!({"access_token": "t", "expires_in": 3599, "refresh_token": "r"});
        let signed_in = asked(200, &token);
        assert!(
            matches!(signed_in, Ok(Polled::SignedIn(answer)) if answer.refresh_token.is_some())
        );
        for (status, error, meaning) in [
            (400, "authorization_declined", Meaning::PauseAccount),
            (400, "expired_token", Meaning::PauseAccount),
            (401, "invalid_client", Meaning::PauseAccount),
            (503, "temporarily_unavailable", Meaning::Retry),
        ] {
            let failed = asked(status, &refusal(error)).err();
            assert_eq!(
                failed.map(|failed| failed.meaning),
                Some(meaning),
                "{error}"
            );
        }
    }
}
