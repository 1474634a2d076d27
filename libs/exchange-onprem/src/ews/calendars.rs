//! The calendars' port over EWS.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use calgrant_domain::{Address, Calendar, Change, Observed, PermissionList, Reason};
use calgrant_exchange::{
    Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed, Scope, one_line,
};
use futures::future::join_all;
use uuid::Uuid;

use super::{
    affinity::Affinity,
    catalogue::{Class, class},
    classify::{Asked, classify},
    request::{self, Shape},
    response::{self, Expected, Fault, Folder, Operation},
    written::Written,
};
use crate::{
    ConnectError, Now, Server, SignIn,
    tally::Tally,
    transport::{
        connection::Reply,
        http::{Http, Outgoing, by_status},
    },
};

/// Mailboxes in one request: a request gets about a minute, and the budget is checked after each.
const SEVERAL: usize = 10;
/// Times a list is read anew because somebody else changed the folder between read and write.
const CONFLICTS: u32 = 3;
/// Longest answer that is read: lists of ten mailboxes with a thousand entries each have about 7 MB.
const LONGEST: usize = 16 << 20;

/// How an account reaches others' calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It acts as the mailbox's owner (the role `ApplicationImpersonation`): one mailbox in a request.
    Impersonation,
    /// It has full access to the mailboxes: several in a request that reads.
    Full,
}

/// A grantor account at an Exchange Server, by EWS.
pub struct EwsCalendars {
    http: Http,
    access: Access,
    /// Who waits when the server is asked for too much.
    charged: Scope,
    affinity: Mutex<Affinity>,
    written: Mutex<Written>,
    /// The server gives each request's id back: then it must be the right one.
    echoes: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EwsCalendars {
    /// An account that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(
        server: &Server,
        sign_in: SignIn,
        access: Access,
        now: Now,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            http: Http::new(server, sign_in, now)?,
            access,
            charged: Scope::Account,
            affinity: Mutex::default(),
            written: Mutex::default(),
            echoes: AtomicBool::new(false),
        })
    }

    /// The same where the server charges what it does to the mailbox that is worked in, not to the account.
    #[must_use]
    pub fn charged_to_mailboxes(self) -> Self {
        Self {
            charged: Scope::Mailbox,
            ..self
        }
    }

    /// Classes a fault.
    fn classed(&self, fault: &Fault, asked: Asked) -> CallError {
        let error = classify(fault, asked, self.access == Access::Impersonation, "");
        match error.meaning {
            Meaning::WaitUntil {
                scope: Scope::Account,
                after,
            } => CallError {
                meaning: Meaning::WaitUntil {
                    scope: self.charged,
                    after,
                },
                ..error
            },
            _ => error,
        }
    }

    fn acting_for<'a>(&self, mailbox: &'a Address) -> Option<&'a Address> {
        (self.access == Access::Impersonation).then_some(mailbox)
    }

    /// One request: the items of its answer, as many as are expected.
    pub(super) async fn ask<T>(
        &self,
        anchor: &Address,
        body: String,
        expected: Expected<T>,
        asked: Asked,
        tally: &mut Tally,
    ) -> Result<Vec<Result<T, Fault>>, CallError> {
        let id = Uuid::new_v4().to_string();
        let mut headers = vec![
            ("Content-Type", "text/xml; charset=utf-8".to_owned()),
            ("Accept", "text/xml".to_owned()),
            ("X-PreferServerAffinity", "True".to_owned()),
            ("client-request-id", id.clone()),
            ("return-client-request-id", "true".to_owned()),
        ];
        // A header takes no letters beyond ASCII: such a call goes the long way round.
        if anchor.as_str().is_ascii() {
            headers.push(("X-AnchorMailbox", anchor.to_string()));
        }
        let cookie = locked(&self.affinity).header(anchor.as_str());
        headers.extend(cookie.map(|cookie| ("Cookie", cookie)));
        let outgoing = Outgoing {
            headers,
            body,
            longest: LONGEST,
        };
        let good = |reply: &Reply| self.read(reply, &id, expected);
        let sent = self
            .http
            .send(&outgoing, |reply| {
                reply.status == 200 && good(reply).is_ok()
            })
            .await;
        tally.count(&sent);
        let reply = sent.reply?;
        locked(&self.affinity).absorb(anchor.as_str(), &reply.headers);
        let request_id = match reply.header("request-id") {
            theirs if theirs.is_empty() => id.clone(),
            theirs => theirs,
        };
        let error = match good(&reply) {
            Ok(items) if reply.status == 200 => return Ok(items),
            Ok(_) => unexpected(&reply, "an answer with this status"),
            // A page of something in between, or none: the status says more.
            Err(fault)
                if fault.code.starts_with(char::is_lowercase)
                    && reply.status != 200
                    && !fault.code.starts_with("soap_") =>
            {
                unexpected(&reply, &fault.text)
            }
            Err(fault) => self.classed(&fault, asked),
        };
        let error = with_id(error, &request_id);
        if error.meaning == Meaning::PauseAccount {
            self.http.gate.shut(&error);
        }
        Err(error)
    }

    /// The items of a reply; faults whatever its status.
    fn read<T>(
        &self,
        reply: &Reply,
        id: &str,
        expected: Expected<T>,
    ) -> Result<Vec<Result<T, Fault>>, Fault> {
        let items = response::read(&reply.body, expected)?;
        let echoed = reply.header("client-request-id");
        if echoed == id {
            self.echoes.store(true, Relaxed);
        } else if !echoed.is_empty() || self.echoes.load(Relaxed) {
            return Err(Fault::nonsense(
                "other_request",
                "the answer belongs to another request",
            ));
        }
        Ok(items)
    }

    /// The calendars of mailboxes, by one request.
    async fn folders(
        &self,
        mailboxes: &[&Address],
        shape: Shape,
        tally: &mut Tally,
    ) -> Vec<Result<Folder, CallError>> {
        let Some(first) = mailboxes.first() else {
            return Vec::new();
        };
        let about = match shape {
            Shape::Names => Asked::Calendar,
            Shape::List => Asked::Folder,
        };
        let whole = if mailboxes.len() > 1 {
            Asked::Several
        } else {
            about
        };
        let body = request::get_folder(self.acting_for(first), mailboxes, shape);
        let expected = Expected::folders(Operation::GetFolder, mailboxes.len());
        match self.ask(first, body, expected, whole, tally).await {
            Ok(items) => items
                .into_iter()
                .map(|item| item.map_err(|fault| self.item_error(&fault, about)))
                .collect(),
            Err(error) => mailboxes.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    pub(super) fn item_error(&self, fault: &Fault, about: Asked) -> CallError {
        let error = self.classed(fault, about);
        if error.meaning == Meaning::PauseAccount {
            self.http.gate.shut(&error);
        }
        error
    }

    /// A calendar's list, if the folder is still that one.
    fn listed(&self, folder: &Folder, calendar: &Calendar) -> Result<PermissionList, CallError> {
        if folder.id != calendar.folder_id {
            return Err(CallError::new(
                Meaning::FolderGone,
                "other_folder",
                "the mailbox's calendar is another folder now",
            ));
        }
        folder.list.clone().ok_or_else(|| {
            let fault = Fault::nonsense("no_list", "the server shows no permission list for it");
            self.item_error(&fault, Asked::Folder)
        })
    }

    /// Answers calls that read, all of the same shape, by one request.
    async fn read_together(
        &self,
        calls: &[(usize, CalendarCall)],
        shape: Shape,
    ) -> (Vec<(usize, Result<Answer, CallError>)>, Tally) {
        let mut tally = Tally::default();
        let mailboxes: Vec<_> = calls.iter().map(|(_, call)| &call.mailbox).collect();
        let folders = self.folders(&mailboxes, shape, &mut tally).await;
        let answers = calls.iter().zip(folders).map(|((at, call), folder)| {
            let answer = folder.and_then(|folder| match &call.ask {
                Ask::Read { calendar, trustee } => {
                    let list = self.listed(&folder, calendar)?;
                    locked(&self.written).check(&folder.id, &list, (self.http.now)())?;
                    Ok(Answer::Entry {
                        seen: list.observed(trustee),
                        // A delegate's flags are not kept in the list, so that they outlive its being written.
                        delegate: false,
                    })
                }
                _ => Ok(Answer::Calendar(Calendar {
                    folder_id: folder.id,
                    path: format!("\\{}", folder.name),
                })),
            });
            (*at, answer)
        });
        (answers.collect(), tally)
    }

    /// Answers one call that writes.
    async fn write(
        &self,
        at: usize,
        call: &CalendarCall,
    ) -> (Vec<(usize, Result<Answer, CallError>)>, Tally) {
        let mut tally = Tally::default();
        let answer = self.changed(call, &mut tally).await;
        (vec![(at, answer)], tally)
    }

    /// Reads the list, changes the trustee's entry in it, and writes it at once: between the two lie milliseconds.
    async fn changed(&self, call: &CalendarCall, tally: &mut Tally) -> Result<Answer, CallError> {
        let (calendar, trustee, change) = match &call.ask {
            Ask::Add {
                calendar,
                trustee,
                role,
            }
            | Ask::Set {
                calendar,
                trustee,
                role,
            } => (calendar, trustee, Change::Give(role.rights())),
            Ask::Remove { calendar, trustee } => (calendar, trustee, Change::Take),
            Ask::FindCalendar | Ask::Read { .. } => {
                return Err(CallError::new(
                    Meaning::GiveUp(Reason::Rejected),
                    "no_write",
                    "it writes nothing",
                ));
            }
        };
        let mut conflict = None;
        for _ in 0..CONFLICTS {
            let mut folders = self.folders(&[&call.mailbox], Shape::List, tally).await;
            let folder = folders.pop().unwrap_or_else(|| {
                Err(CallError::new(
                    Meaning::Retry,
                    "no_folder",
                    "no folder came",
                ))
            })?;
            let list = self.listed(&folder, calendar)?;
            match (&call.ask, list.observed(trustee)) {
                (Ask::Add { .. }, Observed::Present(_)) => {
                    return Err(CallError::new(
                        Meaning::EntryExists,
                        "entry_exists",
                        "the trustee has an entry already",
                    ));
                }
                (Ask::Set { .. } | Ask::Remove { .. }, Observed::Absent) => {
                    return Err(CallError::new(
                        Meaning::NoEntry,
                        "no_entry",
                        "the trustee has no entry",
                    ));
                }
                _ => {}
            }
            if list.holds(trustee, change) {
                return Ok(Answer::Accepted);
            }
            let rebuilt = list.changed(trustee, change).map_err(|refused| {
                CallError::new(
                    Meaning::GiveUp(Reason::ListNotRebuildable),
                    "list_not_rebuildable",
                    one_line(&refused.to_string()),
                )
            })?;
            if !rebuilt.merged.is_empty() {
                tracing::info!(
                    entries = rebuilt.merged.len(),
                    "a list held the same entry twice; it is written once"
                );
            }
            let body = request::update_folder(
                self.acting_for(&call.mailbox),
                &folder.id,
                &folder.change_key,
                &rebuilt.entries,
            );
            // Before the answer: a write whose answer is lost is read after too.
            locked(&self.written).note(&folder.id, trustee, list, (self.http.now)());
            let expected = Expected::folders(Operation::UpdateFolder, 1);
            let answer = self
                .ask(&call.mailbox, body, expected, Asked::Folder, tally)
                .await
                .and_then(|mut items| {
                    items
                        .pop()
                        .unwrap_or_else(|| Err(Fault::nonsense("other_count", "no item")))
                        .map_err(|fault| self.item_error(&fault, Asked::Folder))
                });
            match answer {
                Ok(_) => return Ok(Answer::Accepted),
                Err(error) if class(&error.detail.server_code) == Some(Class::Conflict) => {
                    conflict = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(conflict.unwrap_or_else(|| CallError::new(Meaning::Retry, "conflict", "")))
    }
}

fn with_id(mut error: CallError, id: &str) -> CallError {
    id.clone_into(&mut error.detail.request_id);
    error
}

/// A reply whose status says what it means, and little else does.
fn unexpected(reply: &Reply, what: &str) -> CallError {
    let diagnostics = ["x-cas-error-code", "x-caserrorcode", "x-ms-diagnostics"]
        .iter()
        .map(|name| reply.header(name))
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    CallError::new(
        by_status(reply),
        format!("HTTP {}", reply.status),
        one_line(&format!("{what} {diagnostics}")),
    )
}

#[async_trait]
impl Calendars for EwsCalendars {
    fn round_size(&self) -> usize {
        match self.access {
            Access::Impersonation => 1,
            Access::Full => SEVERAL,
        }
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        self.http.sign_in().await
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        let started = (self.http.now)();
        let count = calls.len();
        let (mut finds, mut reads, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, call) in calls.into_iter().enumerate() {
            match call.ask {
                Ask::FindCalendar => finds.push((at, call)),
                Ask::Read { .. } => reads.push((at, call)),
                Ask::Add { .. } | Ask::Set { .. } | Ask::Remove { .. } => writes.push((at, call)),
            }
        }
        let size = self.round_size();
        let (found, read, wrote) = tokio::join!(
            join_all(
                finds
                    .chunks(size)
                    .map(|some| self.read_together(some, Shape::Names))
            ),
            join_all(
                reads
                    .chunks(size)
                    .map(|some| self.read_together(some, Shape::List))
            ),
            join_all(writes.iter().map(|(at, call)| self.write(*at, call))),
        );
        let mut tally = Tally::default();
        let mut answers: Vec<Option<Result<Answer, CallError>>> = vec![None; count];
        for (some, one) in found.into_iter().chain(read).chain(wrote) {
            tally.add(&one);
            for (at, answer) in some {
                answers[at] = Some(answer);
            }
        }
        let missing = || {
            Err(CallError::new(
                Meaning::Retry,
                "no_answer",
                "no answer came for it",
            ))
        };
        Performed {
            answers: answers
                .into_iter()
                .map(|answer| answer.unwrap_or_else(missing))
                .collect(),
            round_trips: tally.round_trips,
            sent_after: tally.sent_after(started),
        }
    }
}
