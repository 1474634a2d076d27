//! A set-up is carried out: step by step, as far as it goes at present.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calgrant_domain::{
    GroupChange, GroupFound, MailboxId, NewUser, Setting, SetupAim, SkuFound, Step, UserChange,
    UserFound,
    setup::{
        Action, ActionEnd, Decision, Found, Last, ManagedBy, PasswordKept, Past, SetupState,
        StepRecord, StepState, assume, decide, licence, needs, script, standing, steps,
    },
};
use calgrant_exchange::{Administered, Administration, AdministrationError, CallError, Meaning};
use time::OffsetDateTime;
use tracing::{info, warn};

use crate::{Hands, Journal, JournalError, Kept, Passwords, hands::About, passwords::NoPassword};

/// What waits for a person is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// A server that wasn't available is asked again after so long.
const AWAY: Duration = Duration::from_secs(10);
/// A server that said to slow down and not how long.
const SLOW_DOWN: Duration = Duration::from_secs(30);
/// Changes of one step in a row: a server that takes each and shows none is left alone for a while.
const MOST_CHANGES: u32 = 8;

/// How far a set-up went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Where it stands.
    pub state: SetupState,
    /// When it is worth going on; `None` if it has ended.
    pub not_before: Option<OffsetDateTime>,
}

/// A set-up that is carried out.
pub struct Run<'a> {
    /// What is wanted, and where.
    pub setting: Setting,
    /// What it is to bring about.
    pub aim: SetupAim,
    /// Only look what would be done.
    pub planning: bool,
    /// The set-up credential's hands.
    pub hands: &'a Hands,
    /// What is kept of it.
    pub journal: &'a dyn Journal,
    /// With what passwords are sealed.
    pub passwords: &'a Passwords,
    /// The clock.
    pub now: fn() -> OffsetDateTime,
}

/// Why a step didn't get further.
enum Trouble {
    Journal(JournalError),
    Administration(AdministrationError),
    Refused(String),
}

impl From<AdministrationError> for Trouble {
    fn from(error: AdministrationError) -> Self {
        Self::Administration(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<NoPassword> for Trouble {
    fn from(error: NoPassword) -> Self {
        match error {
            NoPassword::Journal(error) => Self::Journal(error),
            NoPassword::Refused(why) => Self::Refused(why),
        }
    }
}

impl Run<'_> {
    /// Goes as far as it goes at present. `known` is what is on record of its steps.
    ///
    /// # Errors
    /// The journal can't be kept: whoever claims the set-up next goes on.
    pub async fn run(&self, known: Vec<(Step, StepRecord)>) -> Result<Ended, JournalError> {
        let steps = steps(&self.setting, self.aim);
        let mut records: BTreeMap<Step, StepRecord> = known
            .into_iter()
            .filter(|(step, _)| steps.contains(step))
            .collect();
        let missing = |step: &&Step| !records.contains_key(*step);
        let new: Vec<_> = steps
            .iter()
            .filter(missing)
            .map(|step| (*step, StepRecord::due()))
            .collect();
        if !new.is_empty() {
            self.journal.record(&new).await?;
            records.extend(new);
        }
        if self.planning {
            self.plan(&steps, &mut records).await?;
        } else {
            while self.pass(&steps, &mut records).await? {}
        }
        let state = standing(records.values(), self.planning);
        let next = steps
            .iter()
            .filter(|step| !is_done(&records, **step) && self.may(&records, **step))
            .filter_map(|step| records.get(step)?.not_before)
            .min();
        Ok(Ended {
            state,
            not_before: (!state.is_final()).then(|| next.unwrap_or((self.now)() + AWAY)),
        })
    }

    /// Whether everything is done that a step needs.
    fn may(&self, records: &BTreeMap<Step, StepRecord>, step: Step) -> bool {
        let needs = needs(step, self.setting.site);
        needs.into_iter().all(|need| is_done(records, need))
    }

    /// Tries every step once that can be. Whether more can be now.
    async fn pass(
        &self,
        steps: &[Step],
        records: &mut BTreeMap<Step, StepRecord>,
    ) -> Result<bool, JournalError> {
        let mut further = false;
        for step in steps {
            if is_done(records, *step) || !self.may(records, *step) {
                continue;
            }
            let Some(record) = records.get_mut(step) else {
                continue;
            };
            if record.not_before.is_some_and(|at| at > (self.now)()) {
                continue;
            }
            self.advance(*step, record).await?;
            further |= record.state == StepState::Done;
        }
        Ok(further)
    }

    /// Takes one step as far as it goes: looks, does, looks again.
    async fn advance(&self, step: Step, record: &mut StepRecord) -> Result<(), JournalError> {
        record.since.get_or_insert((self.now)());
        let mut owners_before: Option<Vec<String>> = None;
        for _ in 0..MOST_CHANGES {
            let found = self.look(step).await;
            let owners = found.as_ref().ok().and_then(owners_of).cloned();
            // Servers name owners as they like, so they are set to be sure; if they are shown as before, nothing was changed.
            if owners_before
                .take()
                .is_some_and(|before| owners.as_ref() == Some(&before))
            {
                record.did.pop();
            }
            let decision = match found {
                Ok(found) => decide(&self.setting, step, &found, &record.past((self.now)())),
                Err(trouble) => told(trouble)?,
            };
            let action = match decision {
                Decision::Do(action) => action,
                over => return self.settle(step, record, over).await,
            };
            if sets_owners_alone(&action) {
                owners_before = owners;
            }
            if let Some(decision) = self.carry_out(step, record, &action).await? {
                return self.settle(step, record, decision).await;
            }
        }
        let decision = Decision::Wait {
            why: "the server takes the changes, and doesn't show them".into(),
            after: LOOK_AGAIN,
        };
        self.settle(step, record, decision).await
    }

    /// Records how a step stands after a decision that ends it for now.
    async fn settle(
        &self,
        step: Step,
        record: &mut StepRecord,
        decision: Decision,
    ) -> Result<(), JournalError> {
        let now = (self.now)();
        let (state, says, after) = match decision {
            Decision::Wait { why, after } => (StepState::Waiting, why, Some(after)),
            Decision::Refuse(why) => (StepState::Refused, why, Some(LOOK_AGAIN)),
            Decision::Done(says) => (StepState::Done, says, None),
            // Not one that ends it.
            Decision::Do(_) => return Ok(()),
        };
        record.state = state;
        record.says = says;
        record.not_before = after.map(|after| now + after);
        // Names of accounts are no personal data; what a step says may be.
        match state {
            StepState::Done => info!("{step}: done"),
            StepState::Refused => warn!("{step}: a person must do something; see the set-up"),
            _ => info!("{step}: waits"),
        }
        self.journal.record(&[(step, record.clone())]).await
    }

    /// Does one thing: the journal says that it begins, and how it ended. Answers what ends the step for now, if something does.
    async fn carry_out(
        &self,
        step: Step,
        record: &mut StepRecord,
        action: &Action,
    ) -> Result<Option<Decision>, JournalError> {
        let word = action.word();
        let last = |end| {
            Some(Last {
                action: word.to_owned(),
                end,
                at: (self.now)(),
            })
        };
        let (before, did) = (record.last.clone(), record.did.clone());
        let told_so = action.told(&self.setting, step);
        record.state = StepState::Doing;
        record.says = format!("begun: {told_so}");
        if record.did.last() != Some(&told_so) {
            record.did.push(told_so);
        }
        record.not_before = None;
        record.last = last(ActionEnd::Unknown);
        self.journal.record(&[(step, record.clone())]).await?;
        let (end, decision) = match self.act(action).await {
            Ok(()) => (last(ActionEnd::Done), None),
            Err(Trouble::Administration(AdministrationError::Taken { .. })) => {
                record.did = did;
                (last(ActionEnd::Taken), None)
            }
            // It may have been carried out, or may still be: it is looked before anything is done again.
            Err(Trouble::Administration(AdministrationError::Call(error))) if is_open(&error) => {
                (last(ActionEnd::Unknown), Some(of_call(&error)))
            }
            Err(trouble) => {
                record.did = did;
                (before, Some(told(trouble)?))
            }
        };
        record.last = end;
        self.journal.record(&[(step, record.clone())]).await?;
        Ok(decision)
    }

    /// A call to the directory or to Exchange.
    async fn ask<T, F: Future<Output = Administered<T>>>(
        &self,
        about: About,
        ask: impl Fn(Arc<dyn Administration>) -> F,
    ) -> Result<T, Trouble> {
        Ok(self.hands.call(about, ask).await?)
    }

    async fn create_user(&self, number: u32) -> Result<(), Trouble> {
        let spec = &self.setting.spec;
        let name = self.setting.secret_name(number);
        let password = self.passwords.pending(self.journal, &name).await?;
        let user_name = spec.name.of(number);
        self.passwords
            .hand_over(&user_name, &password)
            .await
            .map_err(Trouble::Refused)?;
        let new = &NewUser {
            user_name,
            display_name: spec.display_name(number),
            password,
            usage_location: spec.usage_location.clone(),
            organizational_unit: spec.organizational_unit.clone(),
            mark: self.setting.mark(),
        };
        self.ask(
            About::Users,
            |hand| async move { hand.create_user(new).await },
        )
        .await?;
        Ok(self.journal.settle(&name).await?)
    }

    async fn act(&self, action: &Action) -> Result<(), Trouble> {
        use About::{Exchange, Users};
        let group = &self.setting.spec.group;
        match action {
            Action::CreateUser(number) => self.create_user(*number).await,
            Action::SetPassword(number, id) => self.set_password(*number, id).await,
            Action::ChangeUser(id, change) => {
                self.ask(
                    Users,
                    |hand| async move { hand.change_user(id, change).await },
                )
                .await
            }
            Action::AssignLicence {
                user,
                sku_id,
                disabled_plans,
            } => {
                let ask = |hand: Arc<dyn Administration>| async move {
                    hand.assign_licence(user, sku_id, disabled_plans).await
                };
                self.ask(Users, ask).await
            }
            Action::RemoveLicence { user, sku_id } => {
                self.ask(Users, |hand| async move {
                    hand.remove_licence(user, sku_id).await
                })
                .await
            }
            Action::CreateGroup(new) => self
                .ask(Exchange, |hand| async move { hand.create_group(new).await })
                .await
                .map(drop),
            Action::ChangeGroup(change) => {
                self.ask(Exchange, |hand| async move {
                    hand.change_group(group, change).await
                })
                .await
            }
            Action::AddMember(member) => {
                self.ask(Exchange, |hand| async move {
                    hand.add_member(group, member).await
                })
                .await
            }
            Action::RemoveMember(member) => {
                self.ask(Exchange, |hand| async move {
                    hand.remove_member(group, member).await
                })
                .await
            }
        }
    }

    async fn set_password(&self, number: u32, id: &MailboxId) -> Result<(), Trouble> {
        let name = self.setting.secret_name(number);
        let password = self.passwords.pending(self.journal, &name).await?;
        let change = &UserChange {
            password: Some(password.clone()),
            ..UserChange::default()
        };
        self.ask(About::Users, |hand| async move {
            hand.change_user(id, change).await
        })
        .await?;
        self.passwords
            .hand_over(&self.setting.spec.name.of(number), &password)
            .await
            .map_err(Trouble::Refused)?;
        Ok(self.journal.settle(&name).await?)
    }

    /// Looks at what every step would do, and does nothing.
    async fn plan(
        &self,
        steps: &[Step],
        records: &mut BTreeMap<Step, StepRecord>,
    ) -> Result<(), JournalError> {
        for step in steps {
            let decision = match self.look(*step).await {
                Ok(found) => {
                    let found = assume(&self.setting, *step, found);
                    decide(&self.setting, *step, &found, &Past::default())
                }
                Err(trouble) => told(trouble)?,
            };
            let (state, says, script) = match decision {
                Decision::Done(says) => (StepState::Done, says, String::new()),
                Decision::Wait { why, .. } => (StepState::Planned, why, String::new()),
                Decision::Refuse(why) => (StepState::Refused, why, String::new()),
                Decision::Do(action) => (
                    StepState::Planned,
                    format!("would {}", action.told(&self.setting, *step)),
                    script::step(&self.setting, *step, &action),
                ),
            };
            let record = StepRecord {
                state,
                says,
                script,
                ..StepRecord::due()
            };
            self.journal.record(&[(*step, record.clone())]).await?;
            records.insert(*step, record);
        }
        Ok(())
    }

    /// Looks at what a step is about.
    async fn look(&self, step: Step) -> Result<Found, Trouble> {
        let spec = &self.setting.spec;
        let number = step.number().unwrap_or_default();
        Ok(match step {
            Step::Seats => self.seats().await?,
            Step::User(_) => {
                let external = spec.managed.accounts == ManagedBy::External;
                Found::User {
                    user: self.user(number).await?,
                    password: if external {
                        PasswordKept::No
                    } else {
                        self.kept(number).await?.state
                    },
                }
            }
            Step::Licence(_) | Step::Unlicensed(_) => Found::Licence {
                user: self.user(number).await?,
                skus: self.skus().await?,
            },
            Step::Mailbox(_) => {
                let name = &spec.name.of(number);
                let ask = |hand: Arc<dyn Administration>| async move { hand.mailbox(name).await };
                Found::Mailbox(self.ask(About::Exchange, ask).await?)
            }
            Step::Group => Found::Group(self.group().await?),
            Step::Member(_) | Step::Outside(_) => {
                let group = self.group().await?;
                let members = match &group {
                    None => Vec::new(),
                    Some(group) => {
                        let address = &group.address;
                        let ask = |hand: Arc<dyn Administration>| async move {
                            hand.members(address).await
                        };
                        self.ask(About::Exchange, ask).await?
                    }
                };
                Found::Member {
                    group,
                    members,
                    user: self.user(number).await?,
                }
            }
            Step::Trustee => Found::Trustee {
                group: self.group().await?,
                seen: self.hands.trustee(&spec.group).await?,
            },
            Step::Disabled(_) => Found::Account(self.user(number).await?),
            Step::Rotated(_) => Found::Rotation {
                user: self.user(number).await?,
                renewed: self.kept(number).await?.renewed,
            },
        })
    }

    async fn kept(&self, number: u32) -> Result<Kept, JournalError> {
        self.journal.kept(&self.setting.secret_name(number)).await
    }

    async fn user(&self, number: u32) -> Result<Option<UserFound>, Trouble> {
        let name = &self.setting.spec.name.of(number);
        self.ask(About::Users, |hand| async move { hand.user(name).await })
            .await
    }

    async fn group(&self) -> Result<Option<GroupFound>, Trouble> {
        let address = &self.setting.spec.group;
        self.ask(
            About::Exchange,
            |hand| async move { hand.group(address).await },
        )
        .await
    }

    async fn skus(&self) -> Result<Vec<SkuFound>, Trouble> {
        self.ask(About::Users, |hand| async move { hand.skus().await })
            .await
    }

    /// The products, and how many accounts have none of the wanted one.
    async fn seats(&self) -> Result<Found, Trouble> {
        let spec = &self.setting.spec;
        let mut lacking = 0;
        if spec.managed.licences == ManagedBy::External {
            let skus = Vec::new();
            return Ok(Found::Seats { skus, lacking });
        }
        let skus = self.skus().await?;
        let wanted = spec.sku.as_deref().unwrap_or_default();
        let id = licence::sku(&skus, wanted).map(|sku| sku.sku_id.as_str());
        for number in spec.numbers() {
            let user = self.user(number).await?;
            let holds = user.is_some_and(|user| {
                let mut held = user.licences.iter();
                held.any(|held| {
                    let same = id.is_some_and(|id| held.sku_id.eq_ignore_ascii_case(id));
                    same || licence::brings_mailbox(held, &skus)
                })
            });
            lacking += u32::from(!holds);
        }
        Ok(Found::Seats { skus, lacking })
    }
}

fn is_done(records: &BTreeMap<Step, StepRecord>, step: Step) -> bool {
    let record = records.get(&step);
    record.is_some_and(|record| record.state == StepState::Done)
}

/// Who owns the group that was found.
fn owners_of(found: &Found) -> Option<&Vec<String>> {
    match found {
        Found::Group(Some(group)) => Some(&group.owners),
        _ => None,
    }
}

/// Whether nothing but the owners of a group is changed.
fn sets_owners_alone(action: &Action) -> bool {
    match action {
        Action::ChangeGroup(change) => {
            let rest = GroupChange {
                owners: None,
                ..change.clone()
            };
            change.owners.is_some() && rest == GroupChange::default()
        }
        _ => false,
    }
}

/// Whether a call that failed may have been carried out even so.
fn is_open(error: &CallError) -> bool {
    error.unanswered || error.meaning == Meaning::Retry
}

/// What trouble means for a step.
fn told(trouble: Trouble) -> Result<Decision, JournalError> {
    let wait = |why: String| Decision::Wait { why, after: AWAY };
    Ok(match trouble {
        Trouble::Journal(error) => return Err(error),
        Trouble::Refused(why) => Decision::Refuse(why),
        Trouble::Administration(AdministrationError::Call(error)) => of_call(&error),
        Trouble::Administration(AdministrationError::Missing { what }) => {
            wait(format!("{what} isn't shown yet"))
        }
        Trouble::Administration(AdministrationError::Taken { name }) => {
            wait(format!("{name} is taken; it is looked whose it is"))
        }
        Trouble::Administration(
            other @ (AdministrationError::Forbidden { .. } | AdministrationError::Refused { .. }),
        ) => Decision::Refuse(other.to_string()),
    })
}

fn of_call(error: &CallError) -> Decision {
    let wait = |why: String, after| Decision::Wait { why, after };
    match &error.meaning {
        Meaning::WaitUntil { after, .. } | Meaning::TooManyAtOnce { after } => wait(
            format!("the server says to slow down: {error}"),
            after.unwrap_or(SLOW_DOWN),
        ),
        Meaning::Retry
        | Meaning::Park
        | Meaning::NoEntry
        | Meaning::EntryExists
        | Meaning::FolderGone => wait(format!("the server didn't do it: {error}"), AWAY),
        Meaning::SignInAgain | Meaning::PauseAccount => Decision::Refuse(format!(
            "the set-up credential is refused: {error}. Look at its secret, and at its roles"
        )),
        Meaning::GiveUp(reason) => Decision::Refuse(format!("{reason}: {error}")),
    }
}
