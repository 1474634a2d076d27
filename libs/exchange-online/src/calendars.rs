//! The calendars' port: permission lists over Admin API v2.0 or InvokeCommand.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use calgrant_domain::{Reason, WritePath};
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed};
use futures::future::join_all;
use reqwest::header::HeaderValue;
use serde_json::Value;

use crate::{
    Account, ConnectError, Endpoints, Now, batch,
    classify::{self, Asked, classify},
    command::{self, Path},
    http::{Http, Reply},
    token::{ADMIN_SCOPE, Token, TokenSource},
    wire::{Batch, BatchRequest},
};

/// Calls in one `$batch`: what is known to work.
const BATCH: usize = 10;
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

    fn invoke_url(&self) -> String {
        format!("{}/beta/{}/InvokeCommand", self.base, self.directory_id)
    }

    /// One call by itself.
    async fn single(
        &self,
        token: &Token,
        call: &CalendarCall,
        path: Path,
    ) -> Result<Reply, CallError> {
        let (cmdlet, body) = command::command(call, path);
        let url = match path {
            Path::InvokeCommand => self.invoke_url(),
            Path::AdminApi => format!(
                "{}/v2.0/{}/MailboxFolderPermission",
                self.base, self.directory_id
            ),
        };
        let request = self
            .http
            .client
            .post(url)
            .bearer_auth(token.expose())
            .header("X-AnchorMailbox", anchor(&call_anchor(call))?)
            .header("X-CmdletName", cmdlet)
            .header("Prefer", PREFER)
            .json(&body);
        self.http.send(request).await
    }

    /// One call by the path it takes, and again by InvokeCommand where there is no Admin API.
    async fn routed(&self, token: &Token, call: &CalendarCall) -> (Result<Answer, CallError>, u32) {
        let path = match call.ask {
            Ask::FindCalendar => Path::InvokeCommand,
            _ => self.path(),
        };
        let reply = self.single(token, call, path).await;
        if path == Path::AdminApi
            && self.write_path == WritePath::Auto
            && let Ok(reply) = &reply
            && not_available(reply)
        {
            if !self.without_admin_api.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    status = reply.status,
                    "the organisation has no Admin API for this account: using InvokeCommand"
                );
            }
            let reply = self.single(token, call, Path::InvokeCommand).await;
            return (read(call, reply), 2);
        }
        (read(call, reply), 1)
    }

    /// Several calls in one request.
    async fn batched(
        &self,
        token: &Token,
        calls: &[CalendarCall],
    ) -> Vec<Result<Answer, CallError>> {
        let body = match self.try_batch(token, calls).await {
            Ok(body) => body,
            Err(error) => return calls.iter().map(|_| Err(error.clone())).collect(),
        };
        let replies = batch::replies(body, calls.len(), (self.http.now)());
        calls
            .iter()
            .zip(replies)
            .map(|(call, reply)| {
                read(
                    call,
                    reply.ok_or_else(|| {
                        CallError::new(
                            Meaning::Retry,
                            "not_answered",
                            "the batch's answer lacks this call",
                        )
                    }),
                )
            })
            .collect()
    }

    async fn try_batch(&self, token: &Token, calls: &[CalendarCall]) -> Result<Value, CallError> {
        let requests = calls
            .iter()
            .enumerate()
            .map(|(at, call)| self.inner(token, at, call))
            .collect();
        let request = self
            .http
            .client
            .post(format!("{}/beta/{}/$batch", self.base, self.directory_id))
            .bearer_auth(token.expose())
            .header("X-AnchorMailbox", anchor(&self.system_anchor)?)
            .header("Prefer", format!("{PREFER};odata.continue-on-error"))
            .json(&Batch { requests });
        classify(&self.http.send(request).await?, Asked::Directory)
            .map_err(|error| of_many(error, "batch"))
    }

    fn inner(&self, token: &Token, at: usize, call: &CalendarCall) -> BatchRequest {
        let (cmdlet, body) = command::command(call, Path::InvokeCommand);
        BatchRequest {
            id: at.to_string(),
            method: "POST",
            url: self.invoke_url(),
            headers: HashMap::from([
                ("Authorization", format!("Bearer {}", token.expose())),
                ("X-AnchorMailbox", call_anchor(call)),
                ("X-CmdletName", cmdlet.to_owned()),
                ("Prefer", PREFER.to_owned()),
                ("Accept", "application/json".to_owned()),
                ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ]),
            body: Some(body),
        }
    }
}

#[async_trait]
impl Calendars for OnlineCalendars {
    fn round_size(&self) -> usize {
        match self.path() {
            Path::AdminApi => 1,
            Path::InvokeCommand => BATCH,
        }
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        self.tokens.token().await.map(drop)
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        let token = match self.tokens.token().await {
            Ok(token) => token,
            Err(error) => {
                return Performed {
                    answers: calls.iter().map(|_| Err(error.clone())).collect(),
                    round_trips: 0,
                };
            }
        };
        let (mut answers, mut round_trips) = (Vec::with_capacity(calls.len()), 0);
        if calls.len() > 1 && self.path() == Path::InvokeCommand {
            for part in calls.chunks(BATCH) {
                answers.extend(self.batched(&token, part).await);
                round_trips += 1;
            }
        } else {
            for (answer, trips) in
                join_all(calls.iter().map(|call| self.routed(&token, call))).await
            {
                answers.push(answer);
                round_trips += trips;
            }
        }
        let refused = |answer: &Result<Answer, CallError>| matches!(answer, Err(error) if error.meaning == Meaning::SignInAgain);
        if answers.iter().any(refused) {
            self.tokens.invalidate(&token).await;
        }
        Performed {
            answers,
            round_trips,
        }
    }
}

/// Where calls about no mailbox are routed.
pub(crate) fn system_anchor(directory_id: &str) -> String {
    format!("APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{directory_id}")
}

fn call_anchor(call: &CalendarCall) -> String {
    format!("UPN:{}", call.mailbox)
}

/// As a header; addresses may hold letters beyond ASCII.
pub(crate) fn anchor(text: &str) -> Result<HeaderValue, CallError> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|e| CallError::new(Meaning::GiveUp(Reason::Rejected), "anchor", e.to_string()))
}

fn read(call: &CalendarCall, reply: Result<Reply, CallError>) -> Result<Answer, CallError> {
    let output = reply.and_then(|reply| classify(&reply, command::asked(&call.ask)));
    command::answer(&call.ask, output)
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

/// Whether the endpoint isn't there for this account, as opposed to a cmdlet that failed.
fn not_available(reply: &Reply) -> bool {
    if !matches!(reply.status, Some(403 | 404 | 405 | 501)) {
        return false;
    }
    let fault = serde_json::from_slice::<Value>(&reply.body)
        .ok()
        .and_then(|body| classify::fault(&body));
    if fault.is_some_and(|fault| fault.from_cmdlet) {
        return false;
    }
    matches!(
        classify(reply, Asked::Directory),
        Err(CallError {
            meaning: Meaning::PauseAccount | Meaning::GiveUp(Reason::Rejected),
            ..
        })
    ) || reply.status == Some(501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cmdlet_that_failed_is_no_missing_endpoint() {
        let reply = |status, body: &str| Reply {
            status: Some(status),
            body: body.into(),
            ..Reply::default()
        };
        for (status, body, want) in [
            (404, "", true),
            (403, "\0", true),
            (
                404,
                r#"{"error":{"code":"NotFound","message":"no such resource"}}"#,
                true,
            ),
            (
                404,
                r#"{"error":{"code":"NotFound","details":[{"message":"E|a.ManagementObjectNotFoundException|x"}]}}"#,
                false,
            ),
            (
                404,
                r#"{"error":{"code":"MailboxNotEnabledForRESTAPI","message":"x"}}"#,
                false,
            ),
            (
                403,
                r#"{"error":{"code":"x","message":"ServerBusyException"}}"#,
                false,
            ),
            (400, "", false),
            (500, "", false),
        ] {
            assert_eq!(not_available(&reply(status, body)), want, "{status} {body}");
        }
    }
}
