//! The calendars' port: permission lists over Admin API v2.0 or InvokeCommand.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use calgrant_domain::{Reason, WritePath};
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed};
use futures::future::join_all;
use reqwest::header::HeaderValue;
use serde_json::Value;

use crate::{
    Account, ConnectError, Endpoints, Now, batch,
    classify::{self, classify, is_no_batch, is_no_endpoint, next_link},
    command::{self, Path},
    http::{Http, Reply, Sent},
    link,
    tally::Tally,
    token::{ADMIN_SCOPE, TokenSource},
    token_cache::Token,
    wire::{Batch, BatchRequest},
};

/// Calls in one `$batch`: what is known to work.
const BATCH: usize = 10;
/// Pages of one answer that are followed: a mailbox has some dozens of calendar folders, not thousands.
const PAGES: usize = 20;
/// What is sent.
pub(crate) const JSON: &str = "application/json; charset=utf-8";
/// Asks for whole pages.
pub(crate) const PREFER: &str = "odata.maxpagesize=1000";

/// A grantor account at Exchange Online.
pub struct OnlineCalendars {
    http: Arc<Http>,
    tokens: TokenSource,
    base: String,
    system_anchor: String,
    directory_id: String,
    write_path: WritePath,
    /// The organisation turned out not to have the Admin API.
    without_admin_api: AtomicBool,
    /// Calls that the server takes in one batch, as far as is known; at least 1.
    batch: AtomicUsize,
}

impl OnlineCalendars {
    /// An account that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(
        endpoints: Endpoints,
        account: Account,
        write_path: WritePath,
        now: Now,
    ) -> Result<Self, ConnectError> {
        let endpoints = endpoints.checked()?;
        let http = Arc::new(Http::new(now)?);
        let tokens = TokenSource::new(Arc::clone(&http), &endpoints, &account, ADMIN_SCOPE)?;
        drop(account);
        Ok(Self {
            http,
            tokens,
            base: format!("{}/adminapi", endpoints.admin_url),
            system_anchor: system_anchor(&endpoints.directory_id),
            directory_id: endpoints.directory_id,
            write_path,
            without_admin_api: AtomicBool::new(false),
            batch: AtomicUsize::new(BATCH),
        })
    }

    fn path(&self) -> Path {
        match self.write_path {
            WritePath::InvokeCommand => Path::InvokeCommand,
            WritePath::Auto if self.without_admin_api.load(Ordering::Relaxed) => {
                Path::InvokeCommand
            }
            WritePath::Auto | WritePath::AdminApi => Path::AdminApi,
        }
    }

    fn url(&self, path: Path) -> String {
        match path {
            Path::InvokeCommand => {
                format!("{}/beta/{}/InvokeCommand", self.base, self.directory_id)
            }
            Path::AdminApi => format!(
                "{}/v2.0/{}/MailboxFolderPermission",
                self.base, self.directory_id
            ),
        }
    }

    /// One request about one mailbox; `url` is that of the interface, or of a further page.
    async fn single(&self, token: &Token, call: &CalendarCall, path: Path, url: &str) -> Sent {
        let (cmdlet, body) = match command::command(call, path) {
            Ok(command) => command,
            Err(error) => {
                return Sent {
                    reply: Err(error),
                    first_byte: None,
                };
            }
        };
        let request = self
            .http
            .client
            .post(url)
            .bearer_auth(token.expose())
            .header("X-AnchorMailbox", self.call_anchor(call))
            .header("X-CmdletName", cmdlet)
            .header("Prefer", PREFER)
            .header("Content-Type", JSON)
            .json(&body);
        self.http.watched(request).await
    }

    /// One call by the path it takes, and again by InvokeCommand where there is no Admin API.
    async fn routed(
        &self,
        token: &Token,
        call: &CalendarCall,
    ) -> (Result<Answer, CallError>, Tally) {
        let mut tally = Tally::default();
        let mut path = match call.ask {
            Ask::FindCalendar => Path::InvokeCommand,
            _ => self.path(),
        };
        let mut sent = self.single(token, call, path, &self.url(path)).await;
        if path == Path::AdminApi
            && self.write_path == WritePath::Auto
            && let Ok(reply) = &sent.reply
            && is_no_endpoint(reply)
        {
            if !self.without_admin_api.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    status = reply.status,
                    "the organisation has no Admin API for this account: using InvokeCommand"
                );
            }
            tally.count(&sent);
            path = Path::InvokeCommand;
            sent = self.single(token, call, path, &self.url(path)).await;
        }
        tally.count(&sent);
        let answer = self.whole(token, call, path, sent.reply, &mut tally).await;
        (answer, tally)
    }

    /// The answer behind a reply and, where it has several pages, those that follow.
    async fn whole(
        &self,
        token: &Token,
        call: &CalendarCall,
        path: Path,
        first: Result<Reply, CallError>,
        tally: &mut Tally,
    ) -> Result<Answer, CallError> {
        let (mut reply, mut rows) = (first, Vec::new());
        for left in (0..PAGES).rev() {
            let output = reply.and_then(|reply| classify(reply, command::asked(&call.ask)));
            let mut page = match output {
                Ok(page) => page,
                Err(error) => return command::answer(&call.ask, Err(error)),
            };
            let link = next_link(&page).map(str::to_owned);
            // It is no part of an object that came un-wrapped.
            if let Some(page) = page.as_object_mut() {
                page.remove("@odata.nextLink");
            }
            rows.extend(classify::rows(page));
            let Some(link) = link.filter(|_| !command::is_whole(&call.ask, &rows)) else {
                return command::answer(&call.ask, Ok(Value::Array(rows)));
            };
            if left == 0 {
                break;
            }
            link::check(&self.base, Some(&self.directory_id), &link)?;
            let sent = self.single(token, call, path, &link).await;
            tally.count(&sent);
            reply = sent.reply;
        }
        Err(CallError::new(
            Meaning::Retry,
            "too_many_pages",
            format!("the answer has more than {PAGES} pages"),
        ))
    }

    /// Several calls in one request.
    async fn batched(
        &self,
        token: &Token,
        calls: &[CalendarCall],
        tally: &mut Tally,
    ) -> Vec<Result<Answer, CallError>> {
        if calls.len() == 1 {
            return self.each(token, calls, tally).await;
        }
        let (mut requests, mut unnamed) = (Vec::new(), HashMap::new());
        for (at, call) in calls.iter().enumerate() {
            match self.inner(token, at, call) {
                Ok(request) => requests.push(request),
                Err(error) => {
                    unnamed.insert(at, error);
                }
            }
        }
        let mut replies = if requests.is_empty() {
            Ok(vec![None; calls.len()])
        } else {
            match self.try_batch(token, requests, calls.len(), tally).await {
                // Nothing of it was executed.
                Ok(None) => return self.each(token, calls, tally).await,
                Ok(Some(replies)) => Ok(replies),
                Err(error) => Err(error),
            }
        };
        let mut answers = Vec::with_capacity(calls.len());
        for (at, call) in calls.iter().enumerate() {
            let reply = match (unnamed.remove(&at), &mut replies) {
                (Some(error), _) => Err(error),
                (None, Err(error)) => Err(error.clone()),
                (None, Ok(replies)) => replies[at].take().ok_or_else(batch::missing),
            };
            answers.push(
                self.whole(token, call, Path::InvokeCommand, reply, tally)
                    .await,
            );
        }
        answers
    }

    /// Calls by themselves, at once: each has its permit.
    async fn each(
        &self,
        token: &Token,
        calls: &[CalendarCall],
        tally: &mut Tally,
    ) -> Vec<Result<Answer, CallError>> {
        let each = join_all(calls.iter().map(|call| self.routed(token, call))).await;
        each.into_iter()
            .map(|(answer, one)| {
                tally.add(&one);
                answer
            })
            .collect()
    }

    /// The replies to a batch; `None` if the server takes no batch of this size, or none at all.
    async fn try_batch(
        &self,
        token: &Token,
        requests: Vec<BatchRequest>,
        count: usize,
        tally: &mut Tally,
    ) -> Result<Option<Vec<Option<Reply>>>, CallError> {
        let request = self
            .http
            .client
            .post(format!("{}/beta/{}/$batch", self.base, self.directory_id))
            .bearer_auth(token.expose())
            .header("X-AnchorMailbox", anchor(&self.system_anchor)?)
            .header("Prefer", format!("{PREFER};odata.continue-on-error"))
            .header("Content-Type", JSON)
            .json(&Batch { requests });
        let sent = self.http.watched(request).await;
        tally.count(&sent);
        let reply = sent.reply?;
        if is_no_batch(&reply) {
            let size = (count / 2).max(1);
            self.batch.fetch_min(size, Ordering::Relaxed);
            tracing::warn!(
                status = reply.status,
                count,
                size,
                "the server refused a batch: the next ones are smaller"
            );
            return Ok(None);
        }
        batch::parts(reply, count, (self.http.now)()).map(Some)
    }

    fn inner(
        &self,
        token: &Token,
        at: usize,
        call: &CalendarCall,
    ) -> Result<BatchRequest, CallError> {
        let (cmdlet, body) = command::command(call, Path::InvokeCommand)?;
        Ok(BatchRequest {
            id: at.to_string(),
            method: "POST",
            url: self.url(Path::InvokeCommand),
            headers: HashMap::from([
                ("Authorization", format!("Bearer {}", token.expose())),
                ("X-AnchorMailbox", self.call_anchor(call)),
                ("X-CmdletName", cmdlet.to_owned()),
                ("Prefer", PREFER.to_owned()),
                ("Accept", "application/json".to_owned()),
                ("Content-Type", JSON.to_owned()),
            ]),
            body: Some(body),
        })
    }

    /// Where a call is routed. A header takes no letters beyond ASCII: such a call goes the long way round.
    fn call_anchor(&self, call: &CalendarCall) -> String {
        if call.mailbox.as_str().is_ascii() {
            format!("UPN:{}", call.mailbox)
        } else {
            self.system_anchor.clone()
        }
    }
}

#[async_trait]
impl Calendars for OnlineCalendars {
    fn round_size(&self) -> usize {
        match self.path() {
            Path::AdminApi => 1,
            Path::InvokeCommand => self.batch.load(Ordering::Relaxed),
        }
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        self.tokens.token().await.map(drop)
    }

    async fn app_roles(&self) -> Result<Option<Vec<String>>, CallError> {
        Ok(self.tokens.token().await?.app_roles())
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        let started = (self.http.now)();
        let token = match self.tokens.token().await {
            Ok(token) => token,
            Err(error) => {
                return Performed {
                    answers: calls.iter().map(|_| Err(error.clone())).collect(),
                    round_trips: 0,
                    sent_after: None,
                };
            }
        };
        let (mut answers, mut tally) = (Vec::with_capacity(calls.len()), Tally::default());
        if calls.len() > 1 && self.path() == Path::InvokeCommand {
            for part in calls.chunks(self.batch.load(Ordering::Relaxed)) {
                answers.extend(self.batched(&token, part, &mut tally).await);
            }
        } else {
            answers = self.each(&token, &calls, &mut tally).await;
        }
        let refused = |answer: &Result<Answer, CallError>| matches!(answer, Err(error) if error.meaning == Meaning::SignInAgain);
        if answers.iter().any(refused) {
            self.tokens.invalidate(&token);
        }
        let sent_after = tally
            .last
            .and_then(|last| Duration::try_from(last - started).ok());
        tracing::trace!(round_trips = tally.round_trips, ?sent_after, "performed");
        Performed {
            answers,
            round_trips: tally.round_trips,
            sent_after,
        }
    }
}

/// Where calls about no mailbox are routed.
pub(crate) fn system_anchor(directory_id: &str) -> String {
    format!("APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{directory_id}")
}

/// As a header; addresses may hold letters beyond ASCII.
pub(crate) fn anchor(text: &str) -> Result<HeaderValue, CallError> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|e| CallError::new(Meaning::GiveUp(Reason::Rejected), "anchor", e.to_string()))
}

/// An error of a whole batch says nothing about the mailboxes in it.
pub(crate) fn of_many(error: CallError, what: &str) -> CallError {
    match error.meaning {
        Meaning::Retry
        | Meaning::WaitUntil { .. }
        | Meaning::SignInAgain
        | Meaning::PauseAccount => error,
        _ => {
            tracing::warn!(%error, what, "a request for several answers was refused");
            CallError {
                meaning: Meaning::Retry,
                ..error
            }
        }
    }
}
