//! A session at the server: opened, given one command at a time, closed.

use std::{sync::Arc, time::Duration};

use calgrant_exchange::{CallError, Meaning, one_line};
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Nonsense,
    classify::{self, nonsense},
    clixml::Value,
    fragment::{Joiner, cut},
    message::{Message, kind},
    pipeline::{self, Command, Output},
    secure::{KeyPair, SessionKey},
    wsman::{self, Addressee, Ask, Said},
};
use crate::transport::{
    connection::Reply,
    cookies::Cookies,
    http::{Http, Outgoing, by_status},
};

/// Longest answer that is read: servers keep to the size of envelopes we name, give or take.
const LONGEST: usize = 2 << 20;
/// Most that comes of one command.
const MOST_OUTPUT: usize = 32 << 20;
/// A session opens within this, and a command is over within that.
const OPENING: Duration = Duration::from_secs(60);
const RUNNING: Duration = Duration::from_secs(100);
/// And is closed within this, or left to the server.
const CLOSING: Duration = Duration::from_secs(5);

/// What came of a command, and when it was sent.
pub(super) struct Ran {
    /// Its output, or why there is none.
    pub(super) output: Result<Output, CallError>,
    /// The first byte of the command.
    pub(super) first_byte: Option<OffsetDateTime>,
    /// Whether the session may be used again.
    pub(super) usable: bool,
}

/// A session.
pub(super) struct Shell {
    to: Addressee,
    /// Ours, in every message.
    session: Uuid,
    /// Objects sent; each has the next number.
    objects: u64,
    cookies: Cookies,
    /// What the session itself has to say, as far as it isn't whole yet.
    stream: Joiner,
    /// What secrets in commands are sealed with, once one was.
    key: Option<SessionKey>,
    /// When it was last used.
    pub(super) used: OffsetDateTime,
}

impl Shell {
    /// Opens one.
    pub(super) async fn open(http: &Arc<Http>) -> Result<Self, CallError> {
        let session = Uuid::new_v4();
        let mut shell = Self {
            to: Addressee {
                url: http.url().to_string(),
                session: Uuid::new_v4(),
                shell: String::new(),
            },
            session,
            objects: 0,
            cookies: Cookies::default(),
            stream: Joiner::default(),
            key: None,
            used: (http.now)(),
        };
        match timeout(OPENING, shell.opened(http)).await {
            Ok(Ok(())) => Ok(shell),
            Ok(Err(error)) => {
                shell.close(http).await;
                Err(error)
            }
            Err(_) => {
                shell.close(http).await;
                Err(CallError::new(
                    Meaning::Retry,
                    "timeout",
                    "the session didn't open in time",
                ))
            }
        }
    }

    async fn opened(&mut self, http: &Http) -> Result<(), CallError> {
        let mut opening = Vec::new();
        for (kind, data) in [
            (kind::SESSION_CAPABILITY, pipeline::CAPABILITY),
            (kind::INIT_RUNSPACEPOOL, pipeline::SESSION),
        ] {
            opening.extend(self.cut(kind, Uuid::nil(), data).concat());
        }
        let ask = Ask::Create {
            shell: self.session,
            opening: &opening,
        };
        let Said::Created(name) = self.ask(http, &ask, &mut None).await? else {
            return Err(nonsense(&Nonsense::new("no shell was made")));
        };
        self.to.shell = name;
        loop {
            for message in self.heard(http).await? {
                if message.kind == kind::RUNSPACEPOOL_STATE && is_open(&message)? {
                    return Ok(());
                }
            }
        }
    }

    /// What the session itself says next; nothing, where it has nothing to say.
    async fn heard(&mut self, http: &Http) -> Result<Vec<Message>, CallError> {
        let ask = Ask::Receive { command: None };
        match self.ask(http, &ask, &mut None).await? {
            Said::Received { bytes, .. } => messages(&mut self.stream, &bytes),
            Said::Nothing => Ok(Vec::new()),
            _ => Err(nonsense(&Nonsense::new("nothing was received"))),
        }
    }

    /// Agrees with the server on a key, if that hasn't been done.
    async fn agree_on_a_key(&mut self, http: &Http) -> Result<(), CallError> {
        if self.key.is_some() {
            return Ok(());
        }
        let making = tokio::task::spawn_blocking(KeyPair::make).await;
        let pair = making
            .unwrap_or_else(|_| Err(Nonsense::new("no key pair could be made")))
            .map_err(|e| nonsense(&e))?;
        for fragment in self.cut(kind::PUBLIC_KEY, Uuid::nil(), &pair.message()) {
            let ask = Ask::Send {
                command: None,
                fragment: &fragment,
            };
            if self.ask(http, &ask, &mut None).await? != Said::Taken {
                return Err(nonsense(&Nonsense::new("the public key wasn't taken")));
            }
        }
        loop {
            for message in self.heard(http).await? {
                match message.kind {
                    kind::ENCRYPTED_SESSION_KEY => {
                        let answer = Value::parse(&message.data).map_err(|e| nonsense(&e))?;
                        let sealed = answer.member_text("EncryptedSessionKey");
                        let key = pair.open(sealed.unwrap_or_default());
                        self.key = Some(key.map_err(|e| nonsense(&e))?);
                        return Ok(());
                    }
                    kind::RUNSPACEPOOL_STATE => is_open(&message).map(drop)?,
                    _ => {}
                }
            }
        }
    }

    /// Runs a command.
    pub(super) async fn run(&mut self, http: &Http, command: &Command) -> Ran {
        let mut first_byte = None;
        let running = timeout(RUNNING, self.ran(http, command, &mut first_byte)).await;
        self.used = (http.now)();
        let (output, usable) = match running {
            Ok(Ok((output, usable))) => (Ok(output), usable),
            Ok(Err(error)) => (Err(error), false),
            Err(_) => {
                let error = CallError {
                    unanswered: first_byte.is_some(),
                    ..CallError::new(Meaning::Retry, "timeout", "the command wasn't over in time")
                };
                (Err(error), false)
            }
        };
        Ran {
            output,
            first_byte,
            usable,
        }
    }

    async fn ran(
        &mut self,
        http: &Http,
        command: &Command,
        first_byte: &mut Option<OffsetDateTime>,
    ) -> Result<(Output, bool), CallError> {
        if command.has_secrets() {
            // The command itself hasn't left by then.
            let agreed = self.agree_on_a_key(http).await;
            agreed.map_err(|error| CallError {
                unanswered: false,
                ..error
            })?;
        }
        let id = Uuid::new_v4();
        let text = command.serialised(self.key.as_ref());
        let text = text.map_err(|e| nonsense(&e))?;
        let fragments = self.cut(kind::CREATE_PIPELINE, id, &text);
        for (at, fragment) in fragments.iter().enumerate() {
            let ask = match at {
                0 => Ask::Command {
                    command: id,
                    fragment,
                },
                _ => Ask::Send {
                    command: Some(id),
                    fragment,
                },
            };
            let sent = if at == 0 { &mut *first_byte } else { &mut None };
            if self.ask(http, &ask, sent).await? != Said::Taken {
                return Err(nonsense(&Nonsense::new("the command wasn't taken")));
            }
        }
        let (mut output, mut joiner, mut size) = (Output::default(), Joiner::default(), 0);
        // From here on the command may have been carried out, whatever becomes of its answer.
        let lost = |error: CallError| CallError {
            unanswered: error.unanswered || error.meaning == Meaning::Retry,
            ..error
        };
        while output.ended.is_none() {
            let ask = Ask::Receive { command: Some(id) };
            let (bytes, done) = match self.ask(http, &ask, &mut None).await.map_err(lost)? {
                Said::Received { bytes, done } => (bytes, done),
                Said::Nothing => continue,
                _ => return Err(lost(nonsense(&Nonsense::new("nothing was received")))),
            };
            size += bytes.len();
            if size > MOST_OUTPUT {
                return Err(lost(nonsense(&Nonsense::new(
                    "more output than any command of ours has",
                ))));
            }
            for message in messages(&mut joiner, &bytes).map_err(lost)? {
                if message.pipeline == id {
                    output.take(&message).map_err(|e| lost(nonsense(&e)))?;
                }
            }
            if done && (output.ended.is_none() || !joiner.is_done()) {
                return Err(lost(nonsense(&Nonsense::new(
                    "the command ended without saying how",
                ))));
            }
        }
        for warning in &output.warnings {
            tracing::debug!(command = command.name, %warning, "a cmdlet warned");
        }
        let over = self
            .ask(http, &Ask::Signal { command: id }, &mut None)
            .await;
        Ok((output, over.is_ok()))
    }

    /// Closes it, as well as that goes.
    pub(super) async fn close(&mut self, http: &Http) {
        if self.to.shell.is_empty() {
            return;
        }
        let mut unheeded = None;
        let closing = self.ask(http, &Ask::Delete, &mut unheeded);
        if !matches!(timeout(CLOSING, closing).await, Ok(Ok(_))) {
            tracing::debug!(
                "a session could not be closed: the server ends it when it has been idle"
            );
        }
        self.to.shell.clear();
    }

    fn cut(&mut self, kind: u32, pipeline: Uuid, data: &str) -> Vec<Vec<u8>> {
        self.objects += 1;
        let message = Message {
            kind,
            pipeline,
            data: data.as_bytes().to_vec(),
        };
        cut(self.objects, &message.bytes(self.session))
    }

    async fn ask(
        &mut self,
        http: &Http,
        ask: &Ask<'_>,
        first_byte: &mut Option<OffsetDateTime>,
    ) -> Result<Said, CallError> {
        let mut headers = vec![(
            "Content-Type",
            "application/soap+xml;charset=UTF-8".to_owned(),
        )];
        headers.extend(self.cookies.header().map(|cookie| ("Cookie", cookie)));
        let outgoing = Outgoing {
            headers,
            body: self.to.envelope(ask),
            longest: LONGEST,
        };
        let sent = http.send(&outgoing, wsman::is_clean).await;
        *first_byte = sent.first_byte;
        let reply = sent.reply?;
        self.cookies.absorb(&reply.headers, |_| true);
        let said = match wsman::read(&reply.body, ask) {
            Ok(Said::Refused(fault)) => Err(classify::fault(&fault)),
            Ok(said) if reply.status == 200 || said == Said::Nothing => Ok(said),
            Err(error) if reply.status == 200 => Err(nonsense(&error)),
            _ => Err(unexpected(&reply)),
        };
        if let Err(error) = &said
            && error.meaning == Meaning::PauseAccount
        {
            http.gate.shut(error);
        }
        said
    }
}

/// Whether a session's state is that it is open; one that is over is an error.
fn is_open(message: &Message) -> Result<bool, CallError> {
    let state = Value::parse(&message.data).map_err(|e| nonsense(&e))?;
    match state.member_text("RunspaceState") {
        Some("2") => Ok(true),
        Some("0" | "1") => Ok(false),
        _ => {
            let text = state
                .member("ExceptionAsErrorRecord")
                .and_then(Value::text)
                .unwrap_or("the session broke while it opened");
            Err(classify::text(text, "runspace_broken"))
        }
    }
}

fn unexpected(reply: &Reply) -> CallError {
    let text = reply.header("x-ms-diagnostics");
    let status = format!("HTTP {}", reply.status);
    CallError::new(by_status(reply), status, one_line(&text))
}

fn messages(joiner: &mut Joiner, bytes: &[u8]) -> Result<Vec<Message>, CallError> {
    let whole = joiner.take(bytes).map_err(|e| nonsense(&e))?;
    whole
        .iter()
        .map(|message| Message::parse(message).map_err(|e| nonsense(&e)))
        .collect()
}
