//! EWS, and remote PowerShell for the lists that EWS can't write back as they were.

use async_trait::async_trait;
use calgrant_domain::{Calendar, Reason};
use calgrant_exchange::{
    Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed, one_line,
};

use crate::{EwsCalendars, PowerShellCalendars, tally::Tally};

/// A grantor account that has both ways.
pub struct EitherCalendars {
    ews: EwsCalendars,
    powershell: PowerShellCalendars,
}

impl EitherCalendars {
    /// Both, which may be different accounts at the server.
    pub fn new(ews: EwsCalendars, powershell: PowerShellCalendars) -> Self {
        Self { ews, powershell }
    }

    /// Does entry by entry what can't be done with the whole list.
    async fn entry_by_entry(
        &self,
        call: &CalendarCall,
        tally: &mut Tally,
    ) -> Result<Answer, CallError> {
        // The two name folders differently.
        let find = CalendarCall {
            mailbox: call.mailbox.clone(),
            ask: Ask::FindCalendar,
        };
        let Answer::Calendar(found) = self.powershell.one(&find, tally).await? else {
            return Err(CallError::new(
                Meaning::Retry,
                "unexpected_answer",
                "no calendar",
            ));
        };
        let call = CalendarCall {
            mailbox: call.mailbox.clone(),
            ask: in_folder(&call.ask, found),
        };
        self.powershell.one(&call, tally).await
    }
}

/// That the list can't be written whole, and why not entry by entry either.
fn without_powershell(mut whole: CallError, entry: &CallError) -> CallError {
    let text = format!(
        "{}; nor entry by entry, for PowerShell refuses the account: {entry}",
        whole.detail.server_text
    );
    whole.detail.server_text = one_line(&text);
    whole
}

fn in_folder(ask: &Ask, calendar: Calendar) -> Ask {
    match ask.clone() {
        Ask::FindCalendar => Ask::FindCalendar,
        Ask::Read { trustee, .. } => Ask::Read { calendar, trustee },
        Ask::Add { trustee, role, .. } => Ask::Add {
            calendar,
            trustee,
            role,
        },
        Ask::Set { trustee, role, .. } => Ask::Set {
            calendar,
            trustee,
            role,
        },
        Ask::Remove { trustee, .. } => Ask::Remove { calendar, trustee },
    }
}

#[async_trait]
impl Calendars for EitherCalendars {
    fn round_size(&self) -> usize {
        self.ews.round_size()
    }

    async fn sign_in(&self) -> Result<(), CallError> {
        self.ews.sign_in().await
    }

    async fn perform(&self, calls: Vec<CalendarCall>) -> Performed {
        let started = self.powershell.now();
        let mut performed = self.ews.perform(calls.clone()).await;
        let mut tally = Tally::default();
        for (call, answer) in calls.iter().zip(&mut performed.answers) {
            let not_whole = matches!(answer, Err(error) if error.meaning == Meaning::GiveUp(Reason::ListNotRebuildable));
            if not_whole {
                let by_entry = self.entry_by_entry(call, &mut tally).await;
                *answer = match (std::mem::replace(answer, Ok(Answer::Accepted)), by_entry) {
                    // The account hasn't both: what EWS said stands.
                    (Err(whole), Err(entry)) if entry.meaning == Meaning::PauseAccount => {
                        Err(without_powershell(whole, &entry))
                    }
                    (_, by_entry) => by_entry,
                };
            }
        }
        performed.round_trips += tally.round_trips;
        performed.sent_after = tally.sent_after(started).or(performed.sent_after);
        performed
    }

    async fn rest(&self) {
        self.powershell.rest().await;
    }

    async fn sign_out(&self) {
        self.powershell.sign_out().await;
    }
}
