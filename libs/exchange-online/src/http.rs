//! One HTTP request, and what came back, without judging it.

use std::time::Duration;

use calgrant_exchange::{CallError, Meaning};
use reqwest::{Client, RequestBuilder, header::HeaderMap, redirect::Policy};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use uuid::Uuid;

use crate::{ConnectError, Now};

/// A call takes no longer than this, its answer included.
const TIMEOUT: Duration = Duration::from_secs(100);
/// Neither does it take longer than this to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read: a page of a thousand mailboxes has about 5 MB.
const LARGEST_BODY: usize = 64 << 20;

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    /// The status; `None` where a batch left it out.
    pub(crate) status: Option<u16>,
    /// `Retry-After`, as a delay.
    pub(crate) retry_after: Option<Duration>,
    /// `x-ms-diagnostics`: the reason of refusals without a body.
    pub(crate) diagnostics: String,
    /// The server's id of the request.
    pub(crate) request_id: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// The client that all calls of one adapter share.
pub(crate) struct Http {
    /// Makes requests.
    pub(crate) client: Client,
    /// The clock.
    pub(crate) now: Now,
}

impl Http {
    /// A client without connections yet.
    pub(crate) fn new(now: Now) -> Result<Self, ConnectError> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A token goes where it was meant to go and nowhere else.
            .redirect(Policy::none())
            .user_agent(concat!("calgrant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| ConnectError::Client(e.to_string()))?;
        Ok(Self { client, now })
    }

    /// Sends a request, once.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Reply, CallError> {
        let request = request
            .header("Accept", "application/json")
            .header("Accept-Language", "en-US")
            .header("client-request-id", Uuid::new_v4().to_string());
        let mut response = request.send().await.map_err(|e| unreachable_error(&e))?;
        let status = response.status();
        let mut reply = Reply {
            status: Some(status.as_u16()),
            body: Vec::new(),
            ..head(response.headers(), (self.now)())
        };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if reply.body.len() + chunk.len() > LARGEST_BODY => {
                    return Err(CallError::new(
                        Meaning::Retry,
                        "answer_too_long",
                        format!("the answer has more than {LARGEST_BODY} bytes"),
                    ));
                }
                Ok(Some(chunk)) => reply.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(reply),
                // Refusals by role come as one NUL byte labelled gzip: status and headers tell enough.
                Err(_) if !status.is_success() => {
                    reply.body.clear();
                    return Ok(reply);
                }
                Err(e) => return Err(unreachable_error(&e)),
            }
        }
    }
}

/// What headers say.
fn head(headers: &HeaderMap, now: OffsetDateTime) -> Reply {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    Reply::of_headers(text, now)
}

impl Reply {
    /// A reply without status and body, from a look-up of headers.
    pub(crate) fn of_headers(text: impl Fn(&str) -> String, now: OffsetDateTime) -> Self {
        let request_id = ["request-id", "x-ms-request-id"]
            .into_iter()
            .map(&text)
            .find(|id| !id.is_empty());
        Self {
            status: None,
            retry_after: retry_after(&text("retry-after"), now),
            diagnostics: text("x-ms-diagnostics"),
            request_id: request_id.unwrap_or_default(),
            body: Vec::new(),
        }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date.
pub(crate) fn retry_after(raw: &str, now: OffsetDateTime) -> Option<Duration> {
    let raw = raw.trim();
    if let Ok(seconds) = raw.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = OffsetDateTime::parse(raw, &Rfc2822).ok()?;
    Some(Duration::try_from(at - now).unwrap_or(Duration::ZERO))
}

/// The server couldn't be reached, or hung up. Names the cause, never the URL: it may hold addresses.
fn unreachable_error(error: &reqwest::Error) -> CallError {
    let code = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "connection"
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = if std::ptr::addr_eq(cause, error) {
        "the request failed".to_owned()
    } else {
        cause.to_string()
    };
    CallError::new(Meaning::Retry, code, text)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = datetime!(2026-10-21 07:27:30 UTC);
        for (raw, want) in [
            ("30", Some(30)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(30)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", Some(0)),
            ("", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(raw, now),
                want.map(Duration::from_secs),
                "{raw}"
            );
        }
    }
}
