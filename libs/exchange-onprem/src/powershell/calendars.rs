//! The calendars' port over remote PowerShell.

use async_trait::async_trait;
use calgrant_exchange::{Answer, CalendarCall, Calendars, CallError, Meaning, Performed};
use futures::future::join_all;

use super::{command, sessions::Sessions};
use crate::{
    ConnectError, Now, Server, SignIn,
    tally::Tally,
    transport::http::{Http, Sent},
};

/// A grantor account at an Exchange Server, by remote PowerShell: one entry is changed and the others aren't touched.
pub struct PowerShellCalendars {
    sessions: Sessions,
}

impl PowerShellCalendars {
    /// An account without sessions yet; it never has more than `sessions` (at least 1; 3 is advisable, and servers allow 18).
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(
        server: &Server,
        sign_in: SignIn,
        sessions: usize,
        now: Now,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            sessions: Sessions::new(Http::new(server, sign_in, now)?, sessions),
        })
    }

    /// Sessions that are open at the server.
    pub fn open_sessions(&self) -> usize {
        self.sessions.open()
    }

    /// Carries out one call.
    pub(crate) async fn one(
        &self,
        call: &CalendarCall,
        tally: &mut Tally,
    ) -> Result<Answer, CallError> {
        let command = command::command(call)?;
        let ran = self.sessions.run(&command).await;
        // A command is one request to us, however many envelopes it takes.
        tally.count(&Sent {
            reply: Err(CallError::new(Meaning::Retry, "", "")),
            first_byte: ran.first_byte,
        });
        let answer = ran
            .output
            .and_then(|output| command::answer(&call.ask, &output));
        if let Err(error) = &answer
            && error.meaning == Meaning::PauseAccount
        {
            self.sessions.http.gate.shut(error);
        }
        answer
    }

    pub(crate) fn now(&self) -> time::OffsetDateTime {
        (self.sessions.http.now)()
    }
}

#[async_trait]
impl Calendars for PowerShellCalendars {
    fn round_size(&self) -> usize {
        1
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        self.sessions.prepare().await
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        let started = self.now();
        let each = join_all(calls.iter().map(|call| async move {
            let mut tally = Tally::default();
            (self.one(call, &mut tally).await, tally)
        }))
        .await;
        let mut tally = Tally::default();
        let answers = each.into_iter().map(|(answer, one)| {
            tally.add(&one);
            answer
        });
        Performed {
            answers: answers.collect(),
            round_trips: tally.round_trips,
            sent_after: tally.sent_after(started),
        }
    }

    async fn rest(&self) {
        self.sessions.rest().await;
    }

    async fn sign_out(&self) {
        self.sessions.close().await;
    }
}
