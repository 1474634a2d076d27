//! Requests of one account to one server: signed in, over connections that are kept, each request sent once.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use calgrant_exchange::{CallError, Meaning, Scope};
use http_body_util::Full;
use hyper::{Method, Request, Uri, body::Bytes};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::time::timeout;

use super::{
    connection::{Connection, Lost, Reply},
    kerberos::Tickets,
    sign_in::{Gate, SignIn},
    tls,
    token::TokenSource,
};
use crate::{ConnectError, Now, Server};

/// A call takes no longer than this, its answer included, unless it is given less.
const TIMEOUT: Duration = Duration::from_secs(100);
/// Neither does it take longer than this to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections kept for later calls.
const MOST_IDLE: usize = 32;
/// A delay the server names is at least this, and at most that.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// What sealing adds to a body, in bytes, at most.
const SEALING: usize = 4096;

/// A request, but for where it goes and who sends it.
pub(crate) struct Outgoing {
    /// Its own headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Its body.
    pub(crate) body: String,
    /// The longest answer that is read, in bytes.
    pub(crate) longest: usize,
}

/// An account at a server.
pub(crate) struct Http {
    pub(super) url: Uri,
    tls: Arc<ClientConfig>,
    pub(super) sign_in: SignIn,
    tokens: Option<TokenSource>,
    pub(super) tickets: Option<Tickets>,
    /// Bodies are sealed, because connections aren't.
    pub(super) seals: bool,
    /// The server wants to be told with each request who sends it, whatever was proven on the connection before.
    pub(super) forgetful: AtomicBool,
    pub(crate) gate: Gate,
    idle: std::sync::Mutex<Vec<Connection>>,
    pub(crate) now: Now,
}

/// What came of a request.
pub(crate) struct Sent {
    /// What came back.
    pub(crate) reply: Result<Reply, CallError>,
    /// When its first byte went out; `None` if none did.
    pub(crate) first_byte: Option<OffsetDateTime>,
}

impl Http {
    /// An account without connections yet, at an interface that takes sealed bodies: with Kerberos it may be reached without TLS.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn new(server: &Server, sign_in: SignIn, now: Now) -> Result<Self, ConnectError> {
        let by_kerberos = matches!(sign_in, SignIn::Kerberos { .. });
        Self::made(server, sign_in, now, by_kerberos)
    }

    /// The same at an interface that takes bodies as they are.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn unsealed(
        server: &Server,
        sign_in: SignIn,
        now: Now,
    ) -> Result<Self, ConnectError> {
        Self::made(server, sign_in, now, false)
    }

    fn made(
        server: &Server,
        sign_in: SignIn,
        now: Now,
        may_seal: bool,
    ) -> Result<Self, ConnectError> {
        let url = checked("url", &server.url, may_seal)?;
        let tls = tls::client_config(server.ca_pem.as_deref())?;
        let (mut tokens, mut tickets) = (None, None);
        match &sign_in {
            SignIn::Bearer {
                token_url,
                client_id,
                secret,
                scope,
            } => {
                tokens = Some(TokenSource {
                    url: checked("token_url", token_url, false)?,
                    client_id: client_id.clone(),
                    secret: secret.clone(),
                    scope: scope.clone(),
                    tls: Arc::clone(&tls),
                    now,
                    held: tokio::sync::Mutex::new(None),
                });
            }
            SignIn::Kerberos { user, password } => {
                let host = url.host().unwrap_or_default();
                tickets = Some(Tickets::new(user, password, host, now)?);
            }
            SignIn::Basic { .. } | SignIn::Ntlm { .. } => {}
        }
        Ok(Self {
            seals: may_seal && url.scheme_str() == Some("http"),
            url,
            tls,
            gate: Gate::new(sign_in.most_refusals()),
            sign_in,
            tokens,
            tickets,
            forgetful: AtomicBool::new(false),
            idle: std::sync::Mutex::new(Vec::new()),
            now,
        })
    }

    /// The URL, as envelopes name it.
    pub(crate) fn url(&self) -> &Uri {
        &self.url
    }

    /// Gets a token or a ticket, where the account signs in with one.
    pub(crate) async fn sign_in(&self) -> Result<(), CallError> {
        self.gate.is_open()?;
        if let Some(tickets) = &self.tickets {
            return self.or_shut(tickets.ready().await);
        }
        match &self.tokens {
            Some(tokens) => tokens.header().await.map(drop),
            None => Ok(()),
        }
    }

    /// Sends a request, once. The connection is kept for others if the reply is `clean`: what a server sends after a reply that
    /// is none could be taken for the answer to the next request.
    pub(crate) async fn send(&self, request: &Outgoing, clean: impl Fn(&Reply) -> bool) -> Sent {
        let mut first_byte = None;
        let sending = self.signed(request, &clean, &mut first_byte);
        let reply = match timeout(TIMEOUT, sending).await {
            Ok(reply) => reply,
            Err(_) => Err(CallError {
                unanswered: first_byte.is_some(),
                ..CallError::new(Meaning::Retry, "timeout", "no answer came in time")
            }),
        };
        Sent { reply, first_byte }
    }

    async fn signed(
        &self,
        request: &Outgoing,
        clean: &impl Fn(&Reply) -> bool,
        first_byte: &mut Option<OffsetDateTime>,
    ) -> Result<Reply, CallError> {
        let _turn = self.gate.pass().await?;
        let authorization = match (&self.sign_in, &self.tokens) {
            (SignIn::Basic { user, password }, _) => Some(SignIn::basic(user, password)),
            (_, Some(tokens)) => Some(tokens.header().await?),
            _ => None,
        };
        let (mut connection, reply) = self
            .sent(request, authorization.as_deref(), first_byte)
            .await?;
        if String::from_utf8_lossy(&reply.body).contains("currently locked out") {
            let error = CallError::new(
                Meaning::PauseAccount,
                format!("HTTP {}", reply.status),
                "the account is locked out: unlock it in the directory, after setting the right password here",
            );
            self.gate.shut(&error);
            return Err(error);
        }
        match reply.status {
            401 => {
                if let Some(tokens) = &self.tokens {
                    tokens.forget().await;
                }
                return Err(self.gate.refused(format!(
                    "the credential was refused; the server offers {}",
                    offered(&reply).join(", ")
                )));
            }
            200..=299 | 500 => self.gate.accepted(),
            _ => {}
        }
        if clean(&reply) && connection.is_usable() {
            self.keep(connection);
        }
        Ok(reply)
    }

    /// Keeps a connection for later requests.
    fn keep(&self, connection: Connection) {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }

    /// Sends over a connection that was kept, or else a new one. One that ended unseen takes nothing, so another may.
    async fn sent(
        &self,
        request: &Outgoing,
        authorization: Option<&str>,
        first_byte: &mut Option<OffsetDateTime>,
    ) -> Result<(Connection, Reply), CallError> {
        loop {
            let (mut connection, kept) = match self.take_idle() {
                Some(connection) => (connection, true),
                None => (open(&self.url, &self.tls).await?, false),
            };
            let proof = self.proof(&mut connection, request.longest).await?;
            let header = proof.header().or(authorization);
            let message = match &mut connection.seal {
                Some(seal) => sealed(&self.url, request, seal.seal(request.body.as_bytes())?)?,
                None => written(&self.url, request, header)?,
            };
            *first_byte = Some((self.now)());
            match connection
                .exchange(message, request.longest + SEALING)
                .await
            {
                Ok(reply) if self.begins_anew(&connection, &proof, &reply) => {
                    *first_byte = None;
                    connection.signed_in = false;
                    if connection.is_usable() {
                        self.keep(connection);
                    }
                }
                Ok(reply) => {
                    let reply = self.proven(&mut connection, proof, reply).await?;
                    return Ok((connection, reply));
                }
                Err(Lost::NotSent) if kept => *first_byte = None,
                Err(lost) => {
                    if matches!(lost, Lost::NotSent) {
                        *first_byte = None;
                    }
                    return Err(broken(lost));
                }
            }
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(mut connection) = idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }
}

/// One request over a connection of its own, without signing in.
pub(crate) async fn one_shot(
    url: &Uri,
    tls: &Arc<ClientConfig>,
    request: &Outgoing,
) -> Result<Reply, CallError> {
    let exchange = async {
        let mut connection = open(url, tls).await?;
        let message = written(url, request, None)?;
        connection
            .exchange(message, request.longest)
            .await
            .map_err(|lost| CallError {
                unanswered: false,
                ..broken(lost)
            })
    };
    match timeout(TIMEOUT, exchange).await {
        Ok(reply) => reply,
        Err(_) => Err(CallError::new(
            Meaning::Retry,
            "timeout",
            "no answer came in time",
        )),
    }
}

async fn open(url: &Uri, tls: &Arc<ClientConfig>) -> Result<Connection, CallError> {
    let opened = timeout(CONNECT_TIMEOUT, Connection::open(url, tls)).await;
    opened.unwrap_or_else(|_| {
        Err(CallError::new(
            Meaning::Retry,
            "connect",
            "it takes too long",
        ))
    })
}

pub(super) fn written(
    url: &Uri,
    request: &Outgoing,
    authorization: Option<&str>,
) -> Result<Request<Full<Bytes>>, CallError> {
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let authorization = authorization.map(|value| ("Authorization", value));
    let body = Bytes::from(request.body.clone());
    message(url, headers.chain(authorization), body)
}

/// The same with a sealed body of its own type.
fn sealed(
    url: &Uri,
    request: &Outgoing,
    (kind, body): (String, Vec<u8>),
) -> Result<Request<Full<Bytes>>, CallError> {
    let headers = request
        .headers
        .iter()
        .filter(|(name, _)| *name != "Content-Type")
        .map(|(name, value)| (*name, value.as_str()));
    let kind = Some(("Content-Type", kind.as_str()));
    message(url, headers.chain(kind), body.into())
}

fn message<'a>(
    url: &Uri,
    headers: impl Iterator<Item = (&'static str, &'a str)>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, CallError> {
    let mut message = Request::builder()
        .method(Method::POST)
        .uri(url.path_and_query().map_or("/", |path| path.as_str()))
        .header("Host", url.authority().map_or("", |host| host.as_str()))
        .header(
            "User-Agent",
            concat!("calgrant/", env!("CARGO_PKG_VERSION")),
        )
        .header("Accept-Encoding", "identity")
        .header("Accept-Language", "en-US");
    for (name, value) in headers {
        message = message.header(name, value);
    }
    message.body(Full::new(body)).map_err(|e| {
        CallError::new(
            Meaning::GiveUp(calgrant_domain::Reason::Rejected),
            "request",
            e.to_string(),
        )
    })
}

pub(super) fn broken(lost: Lost) -> CallError {
    match lost {
        Lost::NotSent => {
            CallError::new(Meaning::Retry, "connection", "it ended before the request")
        }
        Lost::Broken(why) => CallError {
            unanswered: true,
            ..CallError::new(Meaning::Retry, "connection", why)
        },
        Lost::TooLong => CallError::new(
            Meaning::Retry,
            "answer_too_long",
            "the answer is longer than any we ask for",
        ),
    }
}

/// A URL that a credential may be sent to: TLS, unless it never leaves this machine, or everything is sealed.
fn checked(field: &'static str, raw: &str, seals: bool) -> Result<Uri, ConnectError> {
    let bad = |why: &str| ConnectError::Url {
        field,
        value: raw.to_owned(),
        why: why.to_owned(),
    };
    let url: Uri = raw.trim().parse().map_err(|_| bad("it is not a URL"))?;
    let host = url.host().ok_or_else(|| bad("it names no host"))?;
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if here || seals => {}
        Some("http") => return Err(bad("a password would go over it in clear")),
        _ => return Err(bad("it doesn't begin with https://")),
    }
    if url
        .authority()
        .is_some_and(|host| host.as_str().contains('@'))
    {
        return Err(bad("it holds a credential"));
    }
    Ok(url)
}

/// What a status means that comes without an answer we know; `None` where the status says nothing.
pub(crate) fn by_status(reply: &Reply) -> Meaning {
    match reply.status {
        // The account's rights, or the interface isn't there: that is no mailbox's fault.
        403 | 405 | 501 => Meaning::PauseAccount,
        440 => Meaning::SignInAgain,
        429 | 503 => match retry_after(&reply.header("retry-after")) {
            None if reply.status == 503 => Meaning::Retry,
            after => Meaning::WaitUntil {
                scope: Scope::Site,
                after,
            },
        },
        400 | 413 | 414 | 415 => Meaning::GiveUp(calgrant_domain::Reason::Rejected),
        _ => Meaning::Retry,
    }
}

/// The ways to sign in that a server offers.
pub(super) fn offered(reply: &Reply) -> Vec<&str> {
    let headers = reply.headers.get_all("www-authenticate").iter();
    headers
        .filter_map(|value| value.to_str().ok()?.split([' ', ',']).next())
        .collect()
}

/// `Retry-After` in seconds; within bounds.
fn retry_after(raw: &str) -> Option<Duration> {
    let seconds: u64 = raw.trim().parse().ok()?;
    Some(bounded(Duration::from_secs(seconds)))
}

/// A delay as we heed it: "at once" would make us knock without a pause, and nobody means hours.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (raw, good) in [
            ("https://mail.uni.example/EWS/Exchange.asmx", true),
            ("http://127.0.0.1:8080/EWS/Exchange.asmx", true),
            ("http://localhost/x", true),
            ("http://mail.uni.example/EWS/Exchange.asmx", false),
            ("https://a:b@mail.uni.example/", false),
            ("mail.uni.example", false),
            ("ftp://mail.uni.example/", false),
            ("", false),
        ] {
            assert_eq!(checked("url", raw, false).is_ok(), good, "{raw}");
        }
        assert!(checked("url", "http://mail.uni.example/PowerShell/", true).is_ok());
        assert!(checked("url", "http://a:b@mail.uni.example/", true).is_err());
    }

    #[test]
    fn statuses() {
        let reply = |status, after: Option<&str>| {
            let mut headers = hyper::HeaderMap::new();
            if let Some(after) = after {
                headers.insert("retry-after", after.parse().unwrap());
            }
            Reply {
                status,
                headers,
                body: Vec::new(),
            }
        };
        let site = |secs| Meaning::WaitUntil {
            scope: Scope::Site,
            after: Some(Duration::from_secs(secs)),
        };
        for (status, after, want) in [
            (403, None, Meaning::PauseAccount),
            (405, None, Meaning::PauseAccount),
            (302, None, Meaning::Retry),
            (404, None, Meaning::Retry),
            (440, None, Meaning::SignInAgain),
            (500, None, Meaning::Retry),
            (502, None, Meaning::Retry),
            (503, None, Meaning::Retry),
            (503, Some("30"), site(30)),
            (503, Some("0"), site(1)),
            (503, Some("99999999"), site(3600)),
            (
                400,
                None,
                Meaning::GiveUp(calgrant_domain::Reason::Rejected),
            ),
        ] {
            assert_eq!(by_status(&reply(status, after)), want, "{status} {after:?}");
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod over_connections;
