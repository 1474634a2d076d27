//! The port of set-up over remote PowerShell: everything by one domain controller, so that what was just made is seen.
//!
//! * `attempt`: what is tried, as a command and in words. `found`: rows as the port shows them. `refusal`: what errors mean.

mod attempt;
mod found;
mod refusal;

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupChange, GroupFound, GroupMemberFound, MailboxFound, MailboxId, NewGroup, NewUser,
    SkuFound, ThrottlingPolicy, UserChange, UserFound,
};
use calgrant_exchange::{Administered, Administration, AdministrationError, CallError, Meaning};
use tokio::sync::Mutex;

use self::attempt::Attempt;
use super::{clixml::Value, pipeline::ErrorRecord, sessions::Sessions};
use crate::{ConnectError, Now, Server, SignIn, transport::http::Http};

/// Set-up asks one thing after the other.
const SESSIONS: usize = 1;

/// A set-up credential at an Exchange Server.
pub struct PowerShellAdministration {
    sessions: Sessions,
    /// The domain controller that is asked, once one is known. Never another one.
    domain_controller: Mutex<Option<String>>,
}

/// Why a command failed.
enum Failed {
    /// There is no session, or no answer that says how it went; or the domain controller couldn't be found out.
    Before(AdministrationError),
    /// It ran, and says why it came to nothing.
    Record(ErrorRecord),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Before(error.into())
    }
}

impl Failed {
    fn of(self, attempt: &Attempt<'_>) -> AdministrationError {
        match self {
            Self::Before(error) => error,
            Self::Record(record) => refusal::classed(record, attempt),
        }
    }
}

impl PowerShellAdministration {
    /// A credential that has no session yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(server: &Server, sign_in: SignIn, now: Now) -> Result<Self, ConnectError> {
        Ok(Self {
            sessions: Sessions::new(Http::new(server, sign_in, now)?, SESSIONS),
            domain_controller: Mutex::new(None),
        })
    }

    /// The domain controller that is asked, once one is known.
    pub async fn domain_controller(&self) -> Option<String> {
        self.domain_controller.lock().await.clone()
    }

    /// Runs a command by the one domain controller. The first finds out which that is: the one that Exchange asks by itself.
    async fn run(&self, attempt: &Attempt<'_>) -> Result<Vec<Value>, Failed> {
        let mut pinned = self.domain_controller.lock().await;
        if pinned.is_none() {
            let any = Attempt::AnyMailbox;
            let rows = self.carried_out(&any, None).await;
            let rows = rows.map_err(|failed| Failed::Before(failed.of(&any)))?;
            *pinned = found::controller(&rows);
        }
        let rows = self.carried_out(attempt, pinned.as_deref()).await?;
        if pinned.is_none() {
            // Where there was no mailbox to ask about.
            *pinned = found::controller(&rows);
        }
        Ok(rows)
    }

    async fn carried_out(
        &self,
        attempt: &Attempt<'_>,
        domain_controller: Option<&str>,
    ) -> Result<Vec<Value>, Failed> {
        let command = attempt.command(domain_controller);
        let ran = self.sessions.run(&command).await;
        let output = ran.output?;
        if let Some(record) = output.errors.into_iter().next() {
            return Err(Failed::Record(record));
        }
        if output.ended != Some(true) {
            return Err(CallError {
                unanswered: true,
                ..CallError::new(
                    Meaning::Retry,
                    "unexpected_answer",
                    "the command didn't complete, and says no error",
                )
            }
            .into());
        }
        Ok(output.rows)
    }

    /// The first row of what is looked for; `None`: it isn't there.
    async fn looked_up(&self, attempt: &Attempt<'_>) -> Administered<Option<Value>> {
        match self.run(attempt).await {
            Ok(rows) => Ok(rows.into_iter().next()),
            Err(Failed::Record(record)) if refusal::is_missing(&record) => Ok(None),
            Err(failed) => Err(failed.of(attempt)),
        }
    }

    async fn changed(&self, attempt: &Attempt<'_>) -> Administered<Vec<Value>> {
        self.run(attempt).await.map_err(|failed| failed.of(attempt))
    }
}

/// Something was made, and isn't shown: it is looked for before it is made again.
fn unseen(what: &str) -> AdministrationError {
    CallError {
        unanswered: true,
        ..CallError::new(
            Meaning::Retry,
            "not_shown",
            format!("{what} was made, and isn't shown"),
        )
    }
    .into()
}

#[async_trait]
impl Administration for PowerShellAdministration {
    async fn sign_in(&self) -> Result<(), CallError> {
        self.sessions.prepare().await
    }

    async fn cmdlets(&self) -> Administered<Vec<String>> {
        let attempt = Attempt::Cmdlets;
        let rows = self.carried_out(&attempt, None).await;
        let rows = rows.map_err(|failed| failed.of(&attempt))?;
        Ok(rows.iter().filter_map(found::name).collect())
    }

    async fn throttling_policy(&self, user: &str) -> Administered<Option<ThrottlingPolicy>> {
        let rows = self.changed(&Attempt::PolicyOf(user)).await?;
        let own = rows.first().and_then(found::policy_of);
        let policies = self.changed(&Attempt::Policy(own.as_deref())).await?;
        Ok(found::policy(&policies))
    }

    /// One that has a mailbox: others Exchange shows only where their name is taken.
    async fn user(&self, user_name: &Address) -> Administered<Option<UserFound>> {
        let row = self.looked_up(&Attempt::FindUser(user_name)).await?;
        // A cmdlet takes any name of a mailbox; the port means the one that it signs in with.
        let row = row.as_ref();
        Ok(row
            .and_then(found::user)
            .filter(|user| user.user_name == *user_name))
    }

    /// Two calls: the mark can't be written while the mailbox is made. After an error between them the user is there without its mark.
    async fn create_user(&self, user: &NewUser) -> Administered<UserFound> {
        let rows = self.changed(&Attempt::CreateUser(user)).await?;
        let made = match rows.first().and_then(found::user) {
            Some(made) => made,
            None => {
                let found = self.user(&user.user_name).await?;
                found.ok_or_else(|| unseen("the user"))?
            }
        };
        let attempt = Attempt::Mark(made.id, &user.mark);
        self.changed(&attempt).await.map_err(|error| match error {
            // Not sent, or not answered: in either case there is a user now.
            AdministrationError::Call(error) => CallError {
                unanswered: true,
                ..error
            }
            .into(),
            other => other,
        })?;
        Ok(UserFound {
            mark: Some(user.mark.clone()),
            ..made
        })
    }

    /// One call for the mark, one for the password, and two for whether it may sign in: no error is no proof that it was switched.
    async fn change_user(&self, id: &MailboxId, change: &UserChange) -> Administered<()> {
        refusal::possible(*id, change)?;
        if let Some(mark) = &change.mark {
            self.changed(&Attempt::Mark(*id, mark)).await?;
        }
        if let Some(password) = &change.password {
            self.changed(&Attempt::SetPassword(*id, password)).await?;
        }
        if let Some(enabled) = change.enabled {
            self.changed(&Attempt::Enable(*id, enabled)).await?;
            let rows = self.changed(&Attempt::ReadBack(*id)).await?;
            let user = rows.first().and_then(found::user);
            if user.is_none_or(|user| user.enabled != enabled) {
                return Err(AdministrationError::Refused {
                    why: refusal::not_switched(*id, enabled),
                });
            }
        }
        Ok(())
    }

    /// Servers on premises sell no seats.
    async fn skus(&self) -> Administered<Vec<SkuFound>> {
        Ok(Vec::new())
    }

    async fn assign_licence(
        &self,
        user: &MailboxId,
        sku_id: &str,
        _disabled_plans: &[String],
    ) -> Administered<()> {
        Err(refusal::no_licences(*user, sku_id))
    }

    async fn remove_licence(&self, user: &MailboxId, sku_id: &str) -> Administered<()> {
        Err(refusal::no_licences(*user, sku_id))
    }

    async fn mailbox(&self, user_name: &Address) -> Administered<MailboxFound> {
        let row = self.looked_up(&Attempt::FindUser(user_name)).await?;
        Ok(if row.is_some() {
            MailboxFound::Ready
        } else {
            MailboxFound::Missing
        })
    }

    async fn group(&self, address: &Address) -> Administered<Option<GroupFound>> {
        let row = self.looked_up(&Attempt::FindGroup(address)).await?;
        Ok(row.as_ref().map(|row| found::group(row, address)))
    }

    /// A second call where the answer doesn't tell what was made.
    async fn create_group(&self, group: &NewGroup) -> Administered<GroupFound> {
        let rows = self.changed(&Attempt::CreateGroup(group)).await?;
        if let Some(row) = rows.first() {
            return Ok(found::group(row, &group.address));
        }
        let found = self.group(&group.address).await?;
        found.ok_or_else(|| unseen("the group"))
    }

    async fn change_group(&self, address: &Address, change: &GroupChange) -> Administered<()> {
        let attempt = Attempt::ChangeGroup(address, change);
        if attempt.changes_nothing() {
            return Ok(());
        }
        self.changed(&attempt).await.map(drop)
    }

    async fn members(&self, address: &Address) -> Administered<Vec<GroupMemberFound>> {
        let rows = self.changed(&Attempt::Members(address)).await?;
        Ok(rows.iter().map(found::member).collect())
    }

    async fn add_member(&self, group: &Address, member: &Address) -> Administered<()> {
        let attempt = Attempt::AddMember(group, member);
        match self.run(&attempt).await {
            Ok(_) => Ok(()),
            Err(Failed::Record(record)) if refusal::is_member(&record) => Ok(()),
            Err(failed) => Err(failed.of(&attempt)),
        }
    }

    async fn remove_member(&self, group: &Address, member: &Address) -> Administered<()> {
        let attempt = Attempt::RemoveMember(group, member);
        match self.run(&attempt).await {
            Ok(_) => Ok(()),
            Err(Failed::Record(record)) if refusal::is_no_member(&record, group, member) => Ok(()),
            Err(failed) => Err(failed.of(&attempt)),
        }
    }

    async fn sign_out(&self) {
        self.sessions.close().await;
    }
}
