//! One HTTP request, and what came back, without judging it.

use std::time::Duration;

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, Meaning};
use reqwest::{Client, RequestBuilder, header::HeaderMap, redirect::Policy};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use uuid::Uuid;

use crate::{ConnectError, Now, body::Body, first_byte::FirstByte};

/// A call takes no longer than this, its answer included, unless it is given less.
const TIMEOUT: Duration = Duration::from_secs(100);
/// Neither does it take longer than this to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, unpacked: a page of a thousand mailboxes has about 5 MB.
const LARGEST_BODY: usize = 64 << 20;
/// A delay the server names is at least this, or "at once" would make us knock without a pause,
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// and at most this: nobody means longer, and one mistaken answer mustn't stop an account for years.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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
    pub(crate) body: Body,
}

/// What came of a request that was sent.
pub(crate) struct Sent {
    /// What came back.
    pub(crate) reply: Result<Reply, CallError>,
    /// When the first byte of its body went out; `None` if none did, or it has no body.
    pub(crate) first_byte: Option<OffsetDateTime>,
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
        self.watched(request).await.reply
    }

    /// Sends a request, once, and notes when its first byte went out.
    pub(crate) async fn watched(&self, request: RequestBuilder) -> Sent {
        let first = FirstByte::until((self.now)() + LEAVES_WITHIN);
        Sent {
            reply: self.exchange(request, &first).await,
            first_byte: first.at(),
        }
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        first: &FirstByte,
    ) -> Result<Reply, CallError> {
        let mut request = request
            .header("Accept", "application/json")
            .header("Accept-Language", "en-US")
            .header("client-request-id", Uuid::new_v4().to_string())
            .build()
            .map_err(|e| {
                let what = CallError::new(Meaning::GiveUp(Reason::Rejected), "request", cause(&e));
                tracing::warn!(error = %what, "a request can't be written");
                what
            })?;
        let body = request.body_mut().take();
        let has_body = body.is_some();
        *request.body_mut() = body.map(|body| first.watch(body, self.now));
        let unreachable = |error: &reqwest::Error| CallError {
            unanswered: if has_body {
                first.at().is_some()
            } else {
                !error.is_connect()
            },
            ..unreachable_error(error)
        };
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|e| unreachable(&e))?;
        let status = response.status();
        let mut reply = Reply {
            status: Some(status.as_u16()),
            ..head(response.headers(), (self.now)())
        };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_BODY => {
                    return Err(CallError::new(
                        Meaning::Retry,
                        "answer_too_long",
                        format!("the answer has more than {LARGEST_BODY} bytes"),
                    ));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => {
                    reply.body = Body::read(body);
                    return Ok(reply);
                }
                // Refusals by role come as one NUL byte labelled gzip: status and headers tell enough.
                Err(_) if !status.is_success() => return Ok(reply),
                Err(e) => {
                    let mut error = unreachable(&e);
                    error.detail.request_id = reply.request_id;
                    return Err(error);
                }
            }
        }
    }
}

/// A request leaves so soon after it was allowed, or not at all. Longer than a connection takes to make, shorter than others take to
/// follow in the place of a process that was held up.
const LEAVES_WITHIN: Duration = Duration::from_secs(6);

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
        // The server's own clock is the one its dates go by.
        let now = OffsetDateTime::parse(text("date").trim(), &Rfc2822).unwrap_or(now);
        Self {
            status: None,
            retry_after: retry_after(&text("retry-after"), now),
            diagnostics: text("x-ms-diagnostics"),
            request_id: request_id.unwrap_or_default(),
            body: Body::default(),
        }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date. What is neither is as good as absent.
pub(crate) fn retry_after(raw: &str, now: OffsetDateTime) -> Option<Duration> {
    let raw = raw.trim();
    let wait = match raw.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() || seconds < 0.0 => return None,
        Ok(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT),
        Err(_) => {
            let at = OffsetDateTime::parse(raw, &Rfc2822).ok()?;
            Duration::try_from(at - now).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))
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
    CallError::new(Meaning::Retry, code, cause(error))
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::addr_eq(cause, error) {
        "the request failed".to_owned()
    } else {
        cause.to_string()
    }
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
            (" 2.5 ", Some(2)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some(30)),
            // At once, or a moment that is past: a second, not none.
            ("0", Some(1)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", Some(1)),
            // Absurd ones.
            ("31536000", Some(3600)),
            ("1e300", Some(3600)),
            ("inf", Some(3600)),
            ("Wed, 21 Oct 2099 07:28:00 GMT", Some(3600)),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("NaN", None),
        ] {
            assert_eq!(
                retry_after(raw, now).map(|wait| wait.as_secs()),
                want,
                "{raw}"
            );
        }
    }

    #[test]
    fn dates_go_by_the_servers_clock() {
        let ours = datetime!(2026-10-21 09:00:00 UTC);
        let reply = Reply::of_headers(
            |name| match name {
                "date" => "Wed, 21 Oct 2026 07:27:50 GMT".to_owned(),
                "retry-after" => "Wed, 21 Oct 2026 07:28:00 GMT".to_owned(),
                _ => String::new(),
            },
            ours,
        );
        assert_eq!(reply.retry_after, Some(Duration::from_secs(10)));
    }
}
