//! What a member of the delegation group can do in a calendar: shown by doing it.

use calgrant_domain::Address;
use calgrant_exchange::{Calendars, CallError};

use super::{
    calendars::{Access, EwsCalendars},
    classify::Asked,
    request,
    response::{EventId, Expected, Fault},
};
use crate::{ConnectError, Now, Server, SignIn, tally::Tally};

/// What the event is called that is made and deleted.
const SUBJECT: &str = "Calgrant looks whether the timetable may write here";
/// Long past, so that nobody who looks meanwhile minds it.
const START: &str = "2001-01-01T03:00:00Z";
const END: &str = "2001-01-01T03:05:00Z";

/// An account of the calendar product at an Exchange Server. It acts as itself: what it may do follows from its groups.
pub struct EwsMember(EwsCalendars);

impl EwsMember {
    /// An account that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(server: &Server, sign_in: SignIn, now: Now) -> Result<Self, ConnectError> {
        EwsCalendars::new(server, sign_in, Access::Full, now).map(Self)
    }

    /// Signs in, or does nothing while it is signed in.
    ///
    /// # Errors
    /// The credential is refused, or the server is away.
    pub async fn sign_in(&self) -> Result<(), CallError> {
        Calendars::sign_in(&self.0).await
    }

    /// Makes an event of five minutes, long past and free, in the mailbox's calendar, and deletes it: two calls.
    ///
    /// # Errors
    /// Either call failed: `ErrorAccessDenied` or `ErrorItemNotFound` where the right is missing. If it was made and couldn't be deleted, the text says so.
    pub async fn works_in(&self, mailbox: &Address) -> Result<(), CallError> {
        let made = self.made(mailbox).await?;
        let body = request::delete_event(&made.id, &made.change_key);
        let deleted = self.only(mailbox, body, Expected::deleted()).await;
        deleted.map_err(|mut error| {
            let text = &mut error.detail.server_text;
            *text = format!(
                "the event {SUBJECT:?} of {START} was made, and couldn't be deleted: {text}"
            );
            error
        })
    }

    async fn made(&self, mailbox: &Address) -> Result<EventId, CallError> {
        let body = request::create_event(mailbox, SUBJECT, START, END);
        self.only(mailbox, body, Expected::created()).await
    }

    /// The one item of an answer.
    async fn only<T>(
        &self,
        mailbox: &Address,
        body: String,
        expected: Expected<T>,
    ) -> Result<T, CallError> {
        let mut tally = Tally::default();
        let mut items = self
            .0
            .ask(mailbox, body, expected, Asked::Calendar, &mut tally)
            .await?;
        let item = items.pop();
        let item = item.unwrap_or_else(|| Err(Fault::nonsense("other_count", "no item")));
        item.map_err(|fault| self.0.item_error(&fault, Asked::Calendar))
    }
}
