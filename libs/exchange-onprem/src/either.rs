//! EWS, and remote PowerShell for the lists that EWS can't write back as they were.

use async_trait::async_trait;
use calgrant_domain::{Calendar, Reason};
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError, Meaning, Performed};

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
                *answer = self.entry_by_entry(call, &mut tally).await;
            }
        }
        performed.round_trips += tally.round_trips;
        performed.sent_after = tally.sent_after(started).or(performed.sent_after);
        performed
    }

    async fn sign_out(&self) {
        self.powershell.sign_out().await;
    }
}
