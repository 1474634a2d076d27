//! Asking the calendars' port, as tests do.

use calgrant_domain::{Address, Calendar};

use crate::{Answer, Ask, CalendarCall, Calendars, CallError, Performed};

/// Asks all of it together.
pub async fn perform(calendars: &dyn Calendars, asks: &[(&Address, Ask)]) -> Performed {
    let calls = asks.iter().map(|(mailbox, ask)| CalendarCall {
        mailbox: (*mailbox).clone(),
        ask: ask.clone(),
    });
    calendars.perform(calls.collect()).await
}

/// Asks one thing. Answers what it cost, too.
///
/// # Panics
/// There isn't one answer.
pub async fn one(
    calendars: &dyn Calendars,
    mailbox: &Address,
    ask: Ask,
) -> (Performed, Result<Answer, CallError>) {
    let mut performed = perform(calendars, &[(mailbox, ask)]).await;
    let answer = performed.answers.pop();
    assert!(performed.answers.is_empty(), "one call, one answer");
    match answer {
        Some(answer) => (performed, answer),
        None => panic!("no answer"),
    }
}

/// The calendar of a mailbox.
///
/// # Panics
/// It isn't found.
pub async fn calendar(calendars: &dyn Calendars, mailbox: &Address) -> Calendar {
    match one(calendars, mailbox, Ask::FindCalendar).await.1 {
        Ok(Answer::Calendar(calendar)) => calendar,
        other => panic!("{other:?}"),
    }
}
