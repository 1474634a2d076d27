//! Several mailboxes, one step at a time together: find the calendar, read, decide, begin, write, read back.
//!
//! The mailboxes of a round share round trips where the protocol has batches. Each call holds a permit of
//! its own, each mailbox ends on its own, and nobody waits for another's retry.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use calgrant_budget::message::{Lane, Overload, Pushback};
use calgrant_contract::bus::JobResult;
use calgrant_domain::{
    Aim, Begin, BeginRefusal, Calendar, Detail, Job, JobId, Observed, OperationId, Phase, Reading,
    Reason, Write, aim::drift, reading::Report,
};
use calgrant_exchange::{
    Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed, Scope,
};
use calgrant_leases::Account;
use calgrant_runtime::clock;
use tokio::sync::watch;

/// A begin that took longer may be outrun by somebody else's change: read again before writing.
const BEGIN_STALE: Duration = Duration::from_millis(250);
/// A write that starts later after its begin asks once more: meanwhile another worker may have finished the job, and a later operation
/// may have written.
const BEGIN_HOLDS: Duration = Duration::from_secs(1);
/// How long the answer to that is awaited, for permits are held meanwhile.
const HOLDS_ANSWER: Duration = Duration::from_secs(2);
/// Wait after a "slow down" that names no time.
const DEFAULT_PAUSE: Duration = Duration::from_secs(10);
/// How long a round waits for permits before its mailboxes are given back.
const HOLD: Duration = Duration::from_secs(60);
/// Wait while another job's write to the same mailbox is unsettled.
const UNSETTLED_WAIT: Duration = Duration::from_secs(3);

/// Where writes are ordered.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Asks for each whether it may be written; waits while nobody answers. In the order given.
    async fn begin(&self, begins: Vec<(OperationId, Begin)>)
    -> Vec<Result<Observed, BeginRefusal>>;
}

/// What a round needs.
pub struct Tools<'a> {
    /// The account's access.
    pub calendars: &'a dyn Calendars,
    /// Its budget.
    pub budget: &'a Account,
    /// Which permits it asks for.
    pub lane: Lane,
    /// How long a call is awaited.
    pub longest_call: Duration,
    /// Whether an operator stopped the account, or the process is stopping: then no permit is waited for.
    pub stopped: watch::Receiver<bool>,
    /// Where writes are ordered.
    pub ledger: &'a dyn Ledger,
    /// Its name, for the record.
    pub account: &'a str,
}

/// What a round says besides its results.
#[derive(Debug, Default)]
pub struct Signals {
    /// A person must act on the account.
    pub pause: Option<Detail>,
}

struct Mailbox {
    job: Job,
    calendar: Option<Calendar>,
    /// Whether the calendar was found in this round, and not known from before.
    looked_up: bool,
    seen: Option<Observed>,
    wrote: bool,
    answer: Option<Result<Answer, CallError>>,
    report: Option<Report>,
    calls: u32,
}

/// Carries out jobs together. One result for each, in their order.
pub async fn carry_out(tools: &Tools<'_>, jobs: Vec<Job>) -> (Vec<JobResult>, Signals) {
    let mailboxes = jobs.into_iter().map(|job| Mailbox {
        // Who takes something away makes sure first that it is the mailbox on record.
        calendar: job.calendar.clone().filter(|_| !job.aim.always_begins()),
        looked_up: false,
        seen: None,
        wrote: false,
        answer: None,
        report: None,
        calls: 0,
        job,
    });
    let mut round = Round {
        tools,
        mailboxes: mailboxes.collect(),
        signals: Signals::default(),
        begun: None,
    };
    round.look().await;
    round.look_closer().await;
    round.conclude_reads();
    round.write().await;
    round.finish()
}

struct Round<'a> {
    tools: &'a Tools<'a>,
    mailboxes: Vec<Mailbox>,
    signals: Signals,
    /// When leave to write was asked for.
    begun: Option<Instant>,
}

impl Round<'_> {
    /// Finds calendars that aren't known and reads the trustee's entry of every mailbox that isn't concluded.
    async fn look(&mut self) {
        // A folder known from before may be gone: it is looked up once.
        for _ in 0..2 {
            self.step(|mailbox| mailbox.calendar.is_none().then_some(Ask::FindCalendar))
                .await;
            for mailbox in self.open() {
                match mailbox.answer.take() {
                    Some(Ok(Answer::Calendar(calendar))) => mailbox.found(calendar),
                    Some(Ok(_)) => mailbox.conclude(Reading::Retry),
                    Some(Err(error)) => mailbox.fail(error),
                    None => {}
                }
            }
            self.read().await;
            if self.open().all(|mailbox| mailbox.calendar.is_some()) {
                break;
            }
        }
        for mailbox in self.open().filter(|mailbox| mailbox.seen.is_none()) {
            mailbox.conclude(Reading::Retry);
        }
    }

    /// Looks anew where an entry is not as it is on record: another mailbox may have the address by now.
    async fn look_closer(&mut self) {
        let mut again = false;
        for mailbox in self.open() {
            let Aim::Verify { expected, .. } = mailbox.job.aim else {
                continue;
            };
            let differs = |seen| drift(Observed::Present(expected), seen).is_some();
            if !mailbox.looked_up && mailbox.seen.is_some_and(differs) {
                (mailbox.calendar, mailbox.seen, again) = (None, None, true);
            }
        }
        if again {
            self.look().await;
        }
    }

    /// Reads entries not read since `seen` was last cleared.
    async fn read(&mut self) {
        self.step(|mailbox| match (&mailbox.calendar, mailbox.seen) {
            (Some(calendar), None) => Some(Ask::Read {
                calendar: calendar.clone(),
                trustee: mailbox.job.trustee.clone(),
            }),
            _ => None,
        })
        .await;
        for mailbox in self.open() {
            match mailbox.answer.take() {
                Some(Ok(Answer::Entry { seen, delegate })) => {
                    mailbox.seen = Some(seen);
                    if delegate && mailbox.would_change(seen) {
                        // The flags of a delegate don't survive it.
                        mailbox.conclude(Reading::GaveUp(Reason::DelegateEntry));
                    }
                }
                Some(Ok(_)) => mailbox.conclude(Reading::Retry),
                Some(Err(CallError {
                    meaning: Meaning::NoEntry,
                    ..
                })) => mailbox.seen = Some(Observed::Absent),
                Some(Err(CallError {
                    meaning: Meaning::FolderGone,
                    ..
                })) if !mailbox.looked_up => mailbox.calendar = None,
                Some(Err(error)) => mailbox.fail(error),
                None => {}
            }
        }
    }

    /// Concludes what needs no write.
    fn conclude_reads(&mut self) {
        for mailbox in self.open() {
            let Some(seen) = mailbox.seen else { continue };
            let only_look = mailbox.job.validate_only || mailbox.job.phase == Phase::Prove;
            let begins = mailbox.job.aim.always_begins() || mailbox.write(seen).is_some();
            if only_look || !begins {
                mailbox.conclude(Reading::Seen(seen));
            }
        }
    }

    async fn write(&mut self) {
        self.begin().await;
        // An entry that appeared or went between read and write: look again and decide anew, once.
        for _ in 0..2 {
            self.step(|mailbox| {
                let (calendar, trustee) = (mailbox.calendar.clone()?, mailbox.job.trustee.clone());
                let write = mailbox.write(mailbox.seen.filter(|_| !mailbox.wrote)?)?;
                Some(match write {
                    Write::Add(role) => Ask::Add {
                        calendar,
                        trustee,
                        role,
                    },
                    Write::Set(role) => Ask::Set {
                        calendar,
                        trustee,
                        role,
                    },
                    Write::Remove => Ask::Remove { calendar, trustee },
                })
            })
            .await;
            for mailbox in self.open() {
                match mailbox.answer.take() {
                    Some(Ok(_)) => (mailbox.wrote, mailbox.seen) = (true, None),
                    Some(Err(CallError {
                        meaning: Meaning::EntryExists | Meaning::NoEntry,
                        ..
                    })) => mailbox.seen = None,
                    // Whether the write was done isn't known: that takes a read.
                    Some(Err(error)) => mailbox.fail(error),
                    None => {}
                }
            }
            self.read().await;
            for mailbox in self.open() {
                match mailbox.seen {
                    Some(seen) if mailbox.wrote => mailbox.conclude(Reading::Wrote(seen)),
                    Some(seen) if mailbox.write(seen).is_none() => {
                        mailbox.conclude(Reading::Seen(seen))
                    }
                    _ => {}
                }
            }
        }
        for mailbox in self.open() {
            mailbox.conclude(Reading::Retry);
        }
    }

    /// Asks for leave to write, and reads again where that took long.
    async fn begin(&mut self) {
        let begins: Vec<_> = self
            .open()
            .filter_map(|mailbox| {
                Some((
                    mailbox.job.operation,
                    Begin {
                        job: mailbox.job.id,
                        before: mailbox.seen?,
                    },
                ))
            })
            .collect();
        if begins.is_empty() {
            return;
        }
        let asked = clock::instant();
        self.begun = Some(asked);
        let mut answers = self.tools.ledger.begin(begins).await.into_iter();
        let slow = clock::instant().saturating_duration_since(asked) > BEGIN_STALE;
        for mailbox in self.open().filter(|mailbox| mailbox.seen.is_some()) {
            match answers.next() {
                Some(Ok(_)) if slow => mailbox.seen = None,
                Some(Ok(_)) => {}
                // Its end is recorded already; this reading changes nothing.
                Some(Err(BeginRefusal::Ended)) => mailbox.conclude(Reading::Later(Duration::ZERO)),
                Some(Err(BeginRefusal::Superseded)) => {
                    mailbox.conclude(Reading::GaveUp(Reason::Superseded))
                }
                Some(Err(BeginRefusal::Unsettled)) => {
                    mailbox.conclude(Reading::Later(UNSETTLED_WAIT))
                }
                Some(Err(BeginRefusal::Kept)) => mailbox.conclude(Reading::GaveUp(Reason::Kept)),
                Some(Err(BeginRefusal::Overtaken)) => {
                    mailbox.conclude(Reading::GaveUp(Reason::ChangedByLater))
                }
                // Nobody answered before this process was stopped: nothing was tried.
                None => mailbox.conclude(Reading::Later(UNSETTLED_WAIT)),
            }
        }
        if slow {
            self.read().await;
        }
        for mailbox in self.open() {
            let seen = mailbox.seen.filter(|seen| mailbox.write(*seen).is_none());
            if let Some(seen) = seen {
                mailbox.conclude(Reading::Seen(seen));
            }
        }
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Mailbox> {
        self.mailboxes
            .iter_mut()
            .filter(|mailbox| mailbox.report.is_none())
    }

    /// Asks something about each mailbox that isn't concluded, and leaves the answers with them.
    async fn step(&mut self, ask: impl Fn(&Mailbox) -> Option<Ask>) {
        let mut wanted: Vec<_> = self
            .open()
            .filter_map(|mailbox| {
                ask(mailbox).map(|ask| {
                    (
                        mailbox.job.id,
                        CalendarCall {
                            mailbox: mailbox.job.address.clone(),
                            ask,
                        },
                    )
                })
            })
            .collect();
        // A refused token is renewed once; then it is the account that is refused.
        for last in [false, true] {
            if wanted.is_empty() {
                break;
            }
            let answers = self.perform(&wanted).await;
            let mut again = Vec::new();
            for ((job, call), answer) in wanted.into_iter().zip(answers) {
                let Some(mailbox) = self
                    .mailboxes
                    .iter_mut()
                    .find(|mailbox| mailbox.job.id == job)
                else {
                    continue;
                };
                mailbox.calls += 1;
                match answer {
                    Err(CallError {
                        meaning: Meaning::SignInAgain,
                        ..
                    }) if !last => again.push((job, call)),
                    Err(
                        error @ CallError {
                            meaning: Meaning::SignInAgain,
                            ..
                        },
                    ) => {
                        mailbox.answer = Some(Err(CallError {
                            meaning: Meaning::PauseAccount,
                            ..error
                        }))
                    }
                    answer => mailbox.answer = Some(answer),
                }
            }
            wanted = again;
        }
        for mailbox in &self.mailboxes {
            match &mailbox.answer {
                Some(Err(CallError {
                    meaning: Meaning::PauseAccount,
                    detail,
                    ..
                })) => self.signals.pause = Some(detail.clone()),
                Some(Err(CallError {
                    meaning: Meaning::WaitUntil { scope, after },
                    detail,
                    ..
                })) if *after != NO_PERMIT => {
                    // At once, so that the rest of this round waits too. One mailbox that waits concerns no other.
                    let Some(scope) = scope_of(*scope) else {
                        continue;
                    };
                    let pushback = Pushback {
                        overload: Overload::Unknown,
                        wait: *after,
                        cause: format!("{} {}", detail.server_code, detail.server_text),
                    };
                    self.tools.budget.push_back(scope, &pushback);
                }
                Some(Err(CallError {
                    meaning: Meaning::TooManyAtOnce { after },
                    detail,
                    ..
                })) => {
                    let pushback = Pushback {
                        overload: Overload::Concurrency,
                        wait: *after,
                        cause: format!("{} {}", detail.server_code, detail.server_text),
                    };
                    let scope = calgrant_budget::Scope::Account;
                    self.tools.budget.push_back(scope, &pushback);
                }
                _ => {}
            }
        }
    }

    /// Performs calls in rounds of what protocol and budget allow, each round with its permits.
    async fn perform(&self, calls: &[(JobId, CalendarCall)]) -> Vec<Result<Answer, CallError>> {
        let Tools {
            calendars, budget, ..
        } = self.tools;
        // Before the permits, whose time it must not use up.
        if let Err(error) = calendars.sign_in().await {
            return calls.iter().map(|_| Err(error.clone())).collect();
        }
        let size = calendars
            .round_size()
            .min(budget.largest_round() as usize)
            .max(1);
        let rounds = calls.chunks(size).map(|round| self.together(round));
        futures::future::join_all(rounds).await.concat()
    }

    /// Performs calls that start together, with their permits.
    async fn together(&self, calls: &[(JobId, CalendarCall)]) -> Vec<Result<Answer, CallError>> {
        let tools = self.tools;
        let all = |error: CallError| calls.iter().map(|_| Err(error.clone())).collect();
        let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
        let permits = tools.budget.permits(tools.lane, count);
        let mut stopped = tools.stopped.clone();
        let permits = tokio::select! {
            permits = permits => Some(permits),
            () = tokio::time::sleep(HOLD) => None,
            // Others finish what has begun.
            Ok(_) = stopped.wait_for(|stopped| *stopped) => None,
        };
        let Some(permits) = permits else {
            let (scope, after) = (Scope::Account, NO_PERMIT);
            let meaning = Meaning::WaitUntil { scope, after };
            return all(CallError::new(
                meaning,
                "no_permit",
                "no permit came in time",
            ));
        };
        if !self.may_still_write(calls).await {
            permits.done(true);
            let (scope, after) = (Scope::Account, NO_PERMIT);
            let meaning = Meaning::WaitUntil { scope, after };
            return all(CallError::new(
                meaning,
                "begun_too_long_ago",
                "others may have gone on without this write",
            ));
        }
        let sent: Vec<_> = calls.iter().map(|(_, call)| call.clone()).collect();
        let performed = calendars_answer(tools, &sent).await;
        let Some(performed) = performed else {
            // Dropped, the permits keep their places: the server may go on with the calls.
            return all(CallError {
                unanswered: true,
                ..CallError::new(Meaning::Retry, "no_answer", "no answer came in time")
            });
        };
        if let Some(after) = performed.sent_after {
            permits.first_byte(after);
        }
        if performed.abandoned() {
            // All calls of the round: they share the request that got no answer.
            drop(permits);
        } else {
            let refused = |answer: &Result<Answer, CallError>| matches!(answer, Err(error) if matches!(error.meaning, Meaning::WaitUntil { .. } | Meaning::TooManyAtOnce { .. }));
            permits.done(!performed.answers.iter().any(refused));
        }
        performed.answers
    }

    /// Whether the writes among these calls may be made now: leave for them was asked for just before, or is asked for again.
    async fn may_still_write(&self, calls: &[(JobId, CalendarCall)]) -> bool {
        let writes = calls.iter().filter(|(_, call)| call.ask.writes());
        let begins: Vec<_> = writes
            .filter_map(|(job, _)| self.mailboxes.iter().find(|mailbox| mailbox.job.id == *job))
            .filter_map(|mailbox| {
                let begin = Begin {
                    job: mailbox.job.id,
                    before: mailbox.seen?,
                };
                Some((mailbox.job.operation, begin))
            })
            .collect();
        let held =
            |since: Instant| clock::instant().saturating_duration_since(since) <= BEGIN_HOLDS;
        if begins.is_empty() || self.begun.is_some_and(held) {
            return true;
        }
        let asked = begins.len();
        let answers = tokio::time::timeout(HOLDS_ANSWER, self.tools.ledger.begin(begins)).await;
        answers.is_ok_and(|answers| answers.len() == asked && answers.iter().all(Result::is_ok))
    }

    fn finish(self) -> (Vec<JobResult>, Signals) {
        let read_at = clock::now();
        let results = self.mailboxes.into_iter().map(|mailbox| JobResult {
            job: mailbox.job.id,
            operation: mailbox.job.operation,
            delivery: mailbox.job.delivery,
            report: mailbox.report,
            // Only who gives a right has just been told by the directory whose address it is.
            calendar: mailbox
                .calendar
                .filter(|_| mailbox.looked_up && !mailbox.job.aim.names_a_mailbox_on_record()),
            account: self.tools.account.to_owned(),
            calls: mailbox.calls,
            read_at,
        });
        (results.collect(), self.signals)
    }
}

/// What is waited after no permit came: nothing, another account may have one.
const NO_PERMIT: Option<Duration> = Some(Duration::ZERO);

/// The answers, if they come in time.
async fn calendars_answer(tools: &Tools<'_>, calls: &[CalendarCall]) -> Option<Performed> {
    let performed = tools.calendars.perform(calls.to_vec());
    tokio::time::timeout(tools.longest_call, performed)
        .await
        .ok()
}

/// Whom a "slow down" concerns, as budgets call it; `None` where it concerns one mailbox.
fn scope_of(scope: Scope) -> Option<calgrant_budget::Scope> {
    match scope {
        Scope::Account => Some(calgrant_budget::Scope::Account),
        Scope::Site => Some(calgrant_budget::Scope::Site),
        Scope::Mailbox => None,
    }
}

impl Mailbox {
    fn write(&self, seen: Observed) -> Option<Write> {
        self.job.aim.write(seen)
    }

    /// Whether an entry with these rights would be changed, where it is this job's to change.
    fn would_change(&self, seen: Observed) -> bool {
        let written = self.wrote || self.job.phase == Phase::Prove;
        !written && matches!(self.write(seen), Some(Write::Set(_) | Write::Remove))
    }

    /// Its calendar was looked up.
    fn found(&mut self, calendar: Calendar) {
        let known = self.job.calendar.as_ref();
        let another = known.is_some_and(|known| known.folder_id != calendar.folder_id);
        if another && self.job.aim.names_a_mailbox_on_record() {
            self.conclude(Reading::GaveUp(Reason::MailboxReplaced));
        } else {
            (self.calendar, self.looked_up) = (Some(calendar), true);
        }
    }

    fn conclude(&mut self, reading: Reading) {
        self.report = Some(Report {
            reading,
            detail: Detail::default(),
        });
    }

    fn fail(&mut self, error: CallError) {
        let reading = match error.meaning {
            Meaning::WaitUntil { after, .. } | Meaning::TooManyAtOnce { after } => {
                Reading::Later(after.unwrap_or(DEFAULT_PAUSE))
            }
            Meaning::PauseAccount => Reading::Later(Duration::ZERO),
            Meaning::Park | Meaning::FolderGone if self.job.licensed == Some(false) => {
                Reading::GaveUp(Reason::Unlicensed)
            }
            Meaning::Park | Meaning::FolderGone => Reading::NotReady,
            Meaning::GiveUp(reason) => Reading::GaveUp(reason),
            Meaning::Retry | Meaning::SignInAgain | Meaning::NoEntry | Meaning::EntryExists => {
                Reading::Retry
            }
        };
        self.report = Some(Report {
            reading,
            detail: error.detail,
        });
    }
}
