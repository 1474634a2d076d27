//! What a round costs, what it leaves alone, and what it holds on to.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use calgrant_budget::{
    KeyLimits, KeyName, KeyState, Scope, Terms,
    message::{Lane, Renewed},
};
use calgrant_domain::{
    AccessRole, Aim, Begin, BeginRefusal, Calendar, Job, JobId, MailboxId, Observed, OperationId,
    Phase, Reading, Reason, SiteKind,
};
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed};
use calgrant_leases::{Account, Budgets, keys};
use calgrant_runtime::clock;
use calgrant_testkit::pass;
use calgrant_worker::round::{Ledger, Tools, carry_out};
use futures::FutureExt;
use uuid::Uuid;

/// One mailbox's calendar, as a server holds it.
struct Server {
    entry: Mutex<Observed>,
    delegate: bool,
    /// No answer comes to writes.
    mute: bool,
    asked: Mutex<Vec<&'static str>>,
}

impl Server {
    fn new(entry: Observed) -> Self {
        Self {
            entry: Mutex::new(entry),
            delegate: false,
            mute: false,
            asked: Mutex::default(),
        }
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, CallError> {
        let (kind, answer) = match ask {
            Ask::FindCalendar => ("find", Answer::Calendar(calendar())),
            Ask::Read { .. } => (
                "read",
                Answer::Entry {
                    seen: *self.entry.lock().unwrap(),
                    delegate: self.delegate,
                },
            ),
            Ask::Add { role, .. } | Ask::Set { role, .. } => {
                *self.entry.lock().unwrap() = Observed::Present(role.rights());
                (
                    if matches!(ask, Ask::Add { .. }) {
                        "add"
                    } else {
                        "set"
                    },
                    Answer::Accepted,
                )
            }
            Ask::Remove { .. } => {
                *self.entry.lock().unwrap() = Observed::Absent;
                ("remove", Answer::Accepted)
            }
        };
        self.asked.lock().unwrap().push(kind);
        if self.mute && ask.writes() {
            return Err(CallError {
                unanswered: true,
                ..CallError::new(Meaning::Retry, "connection", "lost")
            });
        }
        Ok(answer)
    }
}

#[async_trait]
impl Calendars for Server {
    fn round_size(&self) -> usize {
        1
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        Ok(())
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        Performed {
            answers: calls.iter().map(|call| self.answer(&call.ask)).collect(),
            round_trips: 1,
            sent_after: None,
        }
    }
}

struct Consents;

#[async_trait]
impl Ledger for Consents {
    async fn begin(
        &self,
        begins: Vec<(OperationId, Begin)>,
    ) -> Vec<Result<Observed, BeginRefusal>> {
        begins.iter().map(|(_, begin)| Ok(begin.before)).collect()
    }
}

/// Consents after so long that what it said may not hold any more; and then no more.
#[derive(Default)]
struct Wavers(AtomicBool);

#[async_trait]
impl Ledger for Wavers {
    async fn begin(
        &self,
        begins: Vec<(OperationId, Begin)>,
    ) -> Vec<Result<Observed, BeginRefusal>> {
        let answer = |begin: &Begin| {
            if self.0.load(Relaxed) {
                Err(BeginRefusal::Ended)
            } else {
                Ok(begin.before)
            }
        };
        let answers = begins.iter().map(|(_, begin)| answer(begin)).collect();
        if !self.0.swap(true, Relaxed) {
            pass(Duration::from_millis(1100)).await;
        }
        answers
    }
}

fn calendar() -> Calendar {
    Calendar {
        folder_id: "LgAA".into(),
        path: "\\Agenda".into(),
    }
}

fn job(known: bool) -> Job {
    let operation = OperationId::new(clock::now(), Uuid::nil());
    let mailbox = MailboxId::from_uuid(Uuid::nil());
    Job {
        id: JobId::of(operation, mailbox),
        operation,
        tenant: "uni".parse().unwrap(),
        site: SiteKind::Online,
        mailbox,
        address: "ada@uni.example".parse().unwrap(),
        calendar: known.then(calendar),
        licensed: Some(true),
        trustee: "team@uni.example".parse().unwrap(),
        aim: Aim::Grant {
            role: AccessRole::AUTHOR,
            lower_higher: true,
        },
        validate_only: false,
        phase: Phase::Grant,
        delivery: 0,
    }
}

/// An account with a lease of four calls in flight.
fn leased() -> Account {
    let key = KeyName::new(Scope::Account, "uni/online/sa-1", keys::EXCHANGE);
    let budgets = Budgets::new("test", Terms::default(), clock::instant);
    let account = budgets.account(std::slice::from_ref(&key)).unwrap();
    let wanted = account.open(Lane::Bulk, 4);
    // Polled once, so that it is known what is wanted.
    assert!(wanted.now_or_never().is_none());
    let limits = KeyLimits {
        in_flight: Some(4),
        ..KeyLimits::default()
    };
    let at = calgrant_budget::Reading {
        now: Duration::from_secs(1_000_000),
        era: 1,
    };
    let mut authority = KeyState::new(key, limits, at);
    let renewal = budgets.ask();
    let grants = renewal.asks.iter().filter_map(|ask| {
        authority.grant(&renewal.replica, renewal.number, ask, &Terms::default(), at)
    });
    budgets.apply(&Renewed {
        number: renewal.number,
        clock: None,
        grants: grants.collect(),
    });
    account
}

/// The reading, the calls it took, and the calls still held.
async fn done(server: &Server, job: Job) -> (Reading, u32, u32) {
    done_by(&Consents, server, job).await
}

async fn done_by(ledger: &dyn Ledger, server: &Server, job: Job) -> (Reading, u32, u32) {
    let budget = leased();
    let tools = Tools {
        calendars: server,
        budget: &budget,
        lane: Lane::Bulk,
        longest_call: Duration::from_secs(30),
        // Nobody stops it.
        stopped: tokio::sync::watch::channel(false).1,
        ledger,
        account: "sa-1",
    };
    let (mut results, _) = carry_out(&tools, vec![job]).await;
    let result = results.remove(0);
    (
        result.report.unwrap().reading,
        result.calls,
        budget.in_flight(),
    )
}

fn present(raw: &str) -> Observed {
    Observed::Present(raw.parse().unwrap())
}

#[tokio::test]
async fn a_mailbox_costs_two_calls_or_four_and_one_less_where_its_folder_is_known() {
    let author = || present("Author");
    for (entry, known, want, asked) in [
        (
            author(),
            false,
            Reading::Seen(author()),
            vec!["find", "read"],
        ),
        (author(), true, Reading::Seen(author()), vec!["read"]),
        (
            Observed::Absent,
            false,
            Reading::Wrote(author()),
            vec!["find", "read", "add", "read"],
        ),
        (
            present("Reviewer"),
            true,
            Reading::Wrote(author()),
            vec!["read", "set", "read"],
        ),
    ] {
        let server = Server::new(entry);
        let (reading, calls, held) = done(&server, job(known)).await;
        assert_eq!(reading, want);
        assert_eq!(*server.asked.lock().unwrap(), asked);
        assert_eq!((calls as usize, held), (asked.len(), 0));
    }
}

#[tokio::test]
async fn a_delegates_entry_is_not_set() {
    let server = Server {
        delegate: true,
        ..Server::new(present("Editor"))
    };
    for validate_only in [false, true] {
        let job = Job {
            validate_only,
            ..job(true)
        };
        let (reading, ..) = done(&server, job).await;
        assert_eq!(reading, Reading::GaveUp(Reason::DelegateEntry));
    }
    // Where nothing is to be set, it is an Editor like others.
    let kept = Job {
        aim: Aim::Grant {
            role: AccessRole::AUTHOR,
            lower_higher: false,
        },
        ..job(true)
    };
    let (reading, ..) = done(&server, kept).await;
    assert_eq!(reading, Reading::Seen(present("Editor")));
    assert!(!server.asked.lock().unwrap().contains(&"set"));
}

fn revoking() -> Job {
    Job {
        aim: Aim::PutBack {
            left: present("Author"),
            to: Observed::Absent,
        },
        ..job(true)
    }
}

#[tokio::test]
async fn what_was_given_is_taken_away_from_the_mailbox_on_record_and_from_no_other() {
    for (entry, want, asked) in [
        (
            present("Author"),
            Reading::Wrote(Observed::Absent),
            vec!["find", "read", "remove", "read"],
        ),
        (
            present("Editor"),
            Reading::Seen(present("Editor")),
            vec!["find", "read"],
        ),
        (
            Observed::Absent,
            Reading::Seen(Observed::Absent),
            vec!["find", "read"],
        ),
    ] {
        let server = Server::new(entry);
        let (reading, ..) = done(&server, revoking()).await;
        assert_eq!(reading, want);
        assert_eq!(*server.asked.lock().unwrap(), asked);
    }
    // The address leads to a calendar that is not the one on record.
    let replaced = Calendar {
        folder_id: "LgBB".into(),
        ..calendar()
    };
    let verifying = Aim::Verify {
        expected: "Reviewer".parse().unwrap(),
        role: AccessRole::AUTHOR,
        lower_higher: false,
        repair: true,
    };
    for aim in [revoking().aim, verifying] {
        let server = Server::new(present("Author"));
        let job = Job {
            calendar: Some(replaced.clone()),
            aim,
            ..revoking()
        };
        let (reading, ..) = done(&server, job).await;
        assert_eq!(reading, Reading::GaveUp(Reason::MailboxReplaced));
        assert_eq!(*server.entry.lock().unwrap(), present("Author"));
    }
}

#[tokio::test]
async fn a_delegates_entry_is_not_taken_away() {
    let server = Server {
        delegate: true,
        ..Server::new(present("Author"))
    };
    let (reading, ..) = done(&server, revoking()).await;
    assert_eq!(reading, Reading::GaveUp(Reason::DelegateEntry));
}

#[tokio::test]
async fn a_write_that_starts_late_is_asked_for_again() {
    let grant = job(true);
    for (entry, job) in [
        (Observed::Absent, grant.clone()),
        (present("Reviewer"), grant),
        (present("Author"), revoking()),
    ] {
        let server = Server::new(entry);
        let (reading, ..) = done_by(&Wavers::default(), &server, job).await;
        assert!(matches!(reading, Reading::Later(_)), "{reading:?}");
        assert_eq!(*server.entry.lock().unwrap(), entry);
    }
}

#[tokio::test]
async fn verifying_costs_a_call_and_repairs_only_if_told_to() {
    for (entry, repair, want, asked) in [
        (
            present("Author"),
            false,
            Reading::Seen(present("Author")),
            vec!["read"],
        ),
        (
            Observed::Absent,
            false,
            Reading::Seen(Observed::Absent),
            vec!["read", "find", "read"],
        ),
        (
            Observed::Absent,
            true,
            Reading::Wrote(present("Author")),
            vec!["read", "find", "read", "add", "read"],
        ),
    ] {
        let server = Server::new(entry);
        let job = Job {
            aim: Aim::Verify {
                expected: "Author".parse().unwrap(),
                role: AccessRole::AUTHOR,
                lower_higher: false,
                repair,
            },
            ..job(true)
        };
        let (reading, ..) = done(&server, job).await;
        assert_eq!(reading, want);
        assert_eq!(*server.asked.lock().unwrap(), asked);
    }
}

#[tokio::test]
async fn a_call_without_an_answer_keeps_its_place() {
    let server = Server {
        mute: true,
        ..Server::new(Observed::Absent)
    };
    let (reading, _, held) = done(&server, job(true)).await;
    assert_eq!((reading, held), (Reading::Retry, 1));
}
