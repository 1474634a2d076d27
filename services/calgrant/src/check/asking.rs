//! One call under an account's budget, and what its answer says of a right.

use std::time::Duration;

use calgrant_budget::message::Lane;
use calgrant_domain::{Address, Finding, Reason};
use calgrant_exchange::{
    AdministrationError, Answer, Ask, CalendarCall, Calendars, CallError, ListingError, Meaning,
};
use calgrant_leases::Account;

/// What to do where a credential isn't at hand.
pub(super) const ELSEWHERE: &str =
    "run this where the account is used, with the same environment and files";
/// Longest wait for a permit.
const PATIENCE: Duration = Duration::from_secs(20);

/// One call.
pub(super) async fn ask(
    calendars: &dyn Calendars,
    budget: &Option<Account>,
    mailbox: &Address,
    ask: Ask,
) -> Result<Answer, CallError> {
    let call = CalendarCall {
        mailbox: mailbox.clone(),
        ask,
    };
    let asked = async {
        let answer = calendars.perform(vec![call]).await.answers.pop();
        answer.unwrap_or_else(|| Err(no_answer()))
    };
    let answer = permitted(budget, asked, |error| Some(error)).await;
    answer.unwrap_or_else(|| Err(not_permitted()))
}

/// What is asked under the account's budget; `None` if it may not be asked now. `failed` says which call it was that failed.
pub(super) async fn permitted<T, E>(
    budget: &Option<Account>,
    ask: impl Future<Output = Result<T, E>>,
    failed: impl FnOnce(&E) -> Option<&CallError>,
) -> Option<Result<T, E>> {
    let permits = budget.as_ref()?.permits(Lane::Interactive, 1);
    let permits = tokio::time::timeout(PATIENCE, permits).await.ok()?;
    let answer = ask.await;
    match answer.as_ref().err().and_then(failed) {
        // The server may go on with it: it keeps its place for a while.
        Some(error) if error.unanswered => drop(permits),
        Some(error) => permits.done(!matches!(error.meaning, Meaning::WaitUntil { .. })),
        None => permits.done(true),
    }
    Some(answer)
}

/// The call that failed, if it was one.
pub(super) fn call_of(error: &AdministrationError) -> Option<&CallError> {
    match error {
        AdministrationError::Call(error) => Some(error),
        _ => None,
    }
}

/// The call of a listing that failed, if it was one.
pub(super) fn of_listing(error: &ListingError) -> Option<&CallError> {
    match error {
        ListingError::Call(error) => Some(error),
        ListingError::Expired | ListingError::Refused { .. } => None,
    }
}

fn no_answer() -> CallError {
    CallError::new(Meaning::Retry, "no_answer", "no answer came")
}

pub(super) fn not_permitted() -> CallError {
    let why = "the account may not be used now: it is paused or drained, or its budget is spent";
    CallError::new(Meaning::Retry, "no_permit", why)
}

/// What an answer says of a right: whoever is told that there is no such entry, or nobody of that name, was let in.
pub(super) fn tried(capability: &str, answer: Result<Answer, CallError>) -> Finding {
    match answer {
        Ok(_) => Finding::yes(capability, ""),
        Err(error) => match &error.meaning {
            Meaning::NoEntry | Meaning::EntryExists | Meaning::GiveUp(Reason::TrusteeRefused) => {
                Finding::yes(capability, "")
            }
            _ => refused(capability, &error),
        },
    }
}

/// What a failed call says of a right.
pub(super) fn refused(capability: &str, error: &CallError) -> Finding {
    let why = error.to_string();
    match &error.meaning {
        Meaning::PauseAccount | Meaning::SignInAgain => Finding::no(
            capability,
            why,
            "give the account this right, or correct its credential; README says which rights each purpose needs",
        ),
        Meaning::GiveUp(reason) => Finding::no(capability, why, reason.advice()),
        Meaning::FolderGone | Meaning::Park => Finding::unknown(
            capability,
            format!("the mailbox isn't ready: give another by --mailbox ({why})"),
        ),
        _ => Finding::unknown(capability, format!("{why}: try again later")),
    }
}

/// What an administrative call that came to nothing says of a right.
pub(super) fn not_done(capability: &str, error: AdministrationError) -> Finding {
    match error {
        AdministrationError::Call(error) => refused(capability, &error),
        AdministrationError::Forbidden { what, grant } => {
            Finding::no(capability, format!("it may not {what}"), grant)
        }
        error => Finding::unknown(capability, error.to_string()),
    }
}

pub(super) fn unlisted(capability: &str, error: &ListingError) -> Finding {
    match error {
        ListingError::Call(error) => refused(capability, error),
        ListingError::Expired => Finding::unknown(capability, "it took too long: try again"),
        ListingError::Refused { why, .. } => Finding::no(capability, why, ""),
    }
}

/// The credential isn't here: it may be where the account is used.
pub(super) fn unreadable(capability: &str, why: &str) -> Finding {
    Finding {
        todo: ELSEWHERE.to_owned(),
        ..Finding::unknown(capability, why)
    }
}
