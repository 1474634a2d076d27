//! Set-ups in a world of values: interrupted anywhere, by servers that show things late, they end with everything there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    GroupFound, GroupKind, GroupMemberFound, LicenceFound, MailboxFound, MailboxId, SiteKind,
    SkuFound, UserFound,
    setup::{
        Action, ActionEnd, Decision, Found, Last, ManagedBy, PasswordKept, Setting, SetupAim, Step,
        StepRecord, TrusteeSeen, decide, decide::LAG, licence::tests::product, needs,
        spec::tests::setting, steps,
    },
};

/// How an action is interrupted.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// It isn't.
    Whole,
    /// The process dies before the call.
    Before,
    /// The process dies, or the answer is lost, after the call.
    After,
}

/// A user, when it is shown, and its password.
#[derive(Debug, Clone)]
struct Account {
    user: UserFound,
    shown: OffsetDateTime,
    password: Option<u32>,
}

/// What is sealed of an account's password.
#[derive(Debug, Clone, Default)]
struct Sealed {
    pending: Option<u32>,
    in_effect: Option<u32>,
}

#[derive(Debug, Clone)]
struct World {
    setting: Setting,
    now: OffsetDateTime,
    lag: Duration,
    users: BTreeMap<u32, Account>,
    group: Option<(GroupFound, OffsetDateTime)>,
    members: BTreeSet<MailboxId>,
    sealed: BTreeMap<u32, Sealed>,
    serial: u32,
    done: Vec<&'static str>,
    records: BTreeMap<Step, StepRecord>,
}

fn id(number: u32) -> MailboxId {
    MailboxId::from_uuid(Uuid::from_u128(u128::from(number)))
}

impl World {
    fn new(site: SiteKind, lag: u64) -> Self {
        Self {
            setting: setting(site),
            now: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            lag: Duration::from_secs(lag),
            users: BTreeMap::new(),
            group: None,
            members: BTreeSet::new(),
            sealed: BTreeMap::new(),
            serial: 0,
            done: Vec::new(),
            records: BTreeMap::new(),
        }
    }

    fn skus(&self) -> Vec<SkuFound> {
        let used = self
            .users
            .values()
            .map(|account| account.user.licences.len());
        let plans = [("EXCHANGE_S_STANDARD", true), ("TEAMS1", true)];
        vec![SkuFound {
            used_seats: u32::try_from(used.sum::<usize>()).unwrap(),
            ..product("EXCHANGESTANDARD", 2, &plans)
        }]
    }

    fn shown(&self, number: u32) -> Option<UserFound> {
        let account = self.users.get(&number)?;
        (account.shown <= self.now).then(|| account.user.clone())
    }

    fn shown_group(&self) -> Option<GroupFound> {
        let (group, shown) = self.group.as_ref()?;
        (*shown <= self.now).then(|| group.clone())
    }

    fn kept(&self, number: u32) -> PasswordKept {
        match self.sealed.get(&number) {
            Some(Sealed {
                pending: Some(_), ..
            }) => PasswordKept::Pending,
            Some(Sealed {
                in_effect: Some(_), ..
            }) => PasswordKept::InEffect,
            _ => PasswordKept::No,
        }
    }

    fn look(&self, step: Step) -> Found {
        let number = step.number().unwrap_or_default();
        match step {
            Step::Seats => {
                let lacks = |number: &u32| {
                    self.shown(*number)
                        .is_none_or(|user| user.licences.is_empty())
                };
                let lacking = self.setting.spec.numbers().filter(lacks).count();
                Found::Seats {
                    skus: self.skus(),
                    lacking: u32::try_from(lacking).unwrap(),
                }
            }
            Step::User(_) => Found::User {
                user: self.shown(number),
                password: self.kept(number),
            },
            Step::Licence(_) | Step::Unlicensed(_) => Found::Licence {
                user: self.shown(number),
                skus: self.skus(),
            },
            Step::Mailbox(_) => Found::Mailbox(match self.shown(number) {
                Some(_) => MailboxFound::Ready,
                None => MailboxFound::Missing,
            }),
            Step::Group => Found::Group(self.shown_group()),
            Step::Member(_) | Step::Outside(_) => Found::Member {
                group: self.shown_group(),
                members: self
                    .members
                    .iter()
                    .map(|id| GroupMemberFound {
                        id: *id,
                        address: None,
                    })
                    .collect(),
                user: self.shown(number),
            },
            Step::Trustee => Found::Trustee {
                group: self.shown_group(),
                seen: TrusteeSeen::Suits,
            },
            Step::Disabled(_) => Found::Account(self.shown(number)),
            Step::Rotated(_) => Found::Rotation {
                user: self.shown(number),
                renewed: self.kept(number) == PasswordKept::InEffect
                    && self.done.contains(&"set_password"),
            },
        }
    }

    /// Seals a password before it is used: the same one until it is in effect.
    fn seal(&mut self, number: u32) -> u32 {
        self.serial += 1;
        let fresh = self.serial;
        let sealed = self.sealed.entry(number).or_default();
        *sealed.pending.get_or_insert(fresh)
    }

    fn settle(&mut self, number: u32) {
        let sealed = self.sealed.entry(number).or_default();
        if let Some(pending) = sealed.pending.take() {
            sealed.in_effect = Some(pending);
        }
    }

    fn account(&mut self, user: MailboxId) -> &mut Account {
        let found = self.users.values_mut().find(|one| one.user.id == user);
        found.expect("only what was found is changed")
    }

    /// What the server does. Says whether the name was taken. `half`: on premises it breaks off in the middle of making a user.
    fn carry_out(&mut self, action: &Action, password: Option<u32>, half: bool) -> ActionEnd {
        let shown = self.now + self.lag;
        match action.clone() {
            Action::CreateUser(number) => {
                if self.users.contains_key(&number) {
                    return ActionEnd::Taken;
                }
                let user = UserFound {
                    id: id(number),
                    user_name: self.setting.spec.name.of(number),
                    display_name: String::new(),
                    enabled: true,
                    usage_location: self.setting.spec.usage_location.clone(),
                    password_never_expires: true,
                    synchronised: false,
                    mark: (!half || self.setting.site == SiteKind::Online)
                        .then(|| self.setting.mark()),
                    licences: Vec::new(),
                };
                let account = Account {
                    user,
                    shown,
                    password,
                };
                self.users.insert(number, account);
            }
            Action::ChangeUser(id, change) => {
                let user = &mut self.account(id).user;
                user.usage_location = change.usage_location.or(user.usage_location.take());
                user.mark = change.mark.or(user.mark.take());
                user.enabled = change.enabled.unwrap_or(user.enabled);
                user.password_never_expires = change
                    .password_never_expires
                    .unwrap_or(user.password_never_expires);
            }
            Action::SetPassword(_, id) => self.account(id).password = password,
            Action::AssignLicence {
                user,
                sku_id,
                disabled_plans,
            } => {
                self.account(user).user.licences = vec![LicenceFound {
                    sku_id,
                    disabled_plans,
                    through_groups: Vec::new(),
                }];
            }
            Action::RemoveLicence { user, .. } => self.account(user).user.licences.clear(),
            Action::CreateGroup(new) => {
                if self.group.is_some() {
                    return ActionEnd::Taken;
                }
                let group = GroupFound {
                    id: id(1000),
                    address: new.address,
                    name: format!("GRP {}", new.name),
                    kind: GroupKind::MailEnabledSecurity,
                    join_closed: true,
                    depart_closed: true,
                    hidden: false,
                    synchronised: false,
                    owners: vec!["Ann, as the server calls her".into()],
                };
                self.group = Some((group, shown));
            }
            Action::ChangeGroup(change) => {
                let (group, _) = self.group.as_mut().expect("it was found");
                group.join_closed = change.join_closed.unwrap_or(group.join_closed);
                group.depart_closed = change.depart_closed.unwrap_or(group.depart_closed);
                group.hidden = change.hidden.unwrap_or(group.hidden);
            }
            Action::AddMember(member) => {
                let number = self.number(&member);
                self.members.insert(id(number));
            }
            Action::RemoveMember(member) => {
                let number = self.number(&member);
                self.members.remove(&id(number));
            }
        }
        ActionEnd::Done
    }

    fn number(&self, address: &crate::Address) -> u32 {
        let named = |number: &u32| self.setting.spec.name.of(*number) == *address;
        (1..=9).find(named).expect("an account")
    }

    /// Runs until nothing is left that can be done: a step that is refused is looked at again twice. Answers the refusals that stand.
    fn run(&mut self, aim: SetupAim, cuts: &mut impl Iterator<Item = Cut>) -> Vec<String> {
        let steps = steps(&self.setting, aim);
        let (mut over, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for _ in 0..500 {
            let ready = |step: &&Step| {
                let given_up = refused.get(*step).is_some_and(|(times, _)| *times > 2);
                let needs = needs(**step, self.setting.site);
                !over.contains(*step) && !given_up && needs.iter().all(|need| over.contains(need))
            };
            let Some(step) = steps.iter().find(ready).copied() else {
                let standing = refused.into_iter().filter(|(step, _)| !over.contains(step));
                return standing.map(|(_, (_, why))| why).collect();
            };
            let mut record = self.records.remove(&step).unwrap_or_else(StepRecord::due);
            record.since.get_or_insert(self.now);
            let found = self.look(step);
            match decide(&self.setting, step, &found, &record.past(self.now)) {
                Decision::Done(_) => {
                    over.insert(step);
                }
                Decision::Wait { after, .. } => self.now += after,
                Decision::Refuse(why) => {
                    self.now += Duration::from_secs(300);
                    let entry = refused.entry(step).or_insert((0, String::new()));
                    *entry = (entry.0 + 1, why);
                }
                Decision::Do(action) => {
                    let cut = cuts.next().unwrap_or(Cut::Whole);
                    self.do_and_record(&mut record, &action, cut);
                }
            }
            self.records.insert(step, record);
        }
        panic!("it never ends: {:?}", self.records);
    }

    fn do_and_record(&mut self, record: &mut StepRecord, action: &Action, cut: Cut) {
        let word = action.word();
        record.last = Some(Last {
            action: word.to_owned(),
            end: ActionEnd::Unknown,
            at: self.now,
        });
        let number = match action {
            Action::CreateUser(number) | Action::SetPassword(number, _) => Some(*number),
            _ => None,
        };
        let password = number.map(|number| self.seal(number));
        if matches!(cut, Cut::Before) {
            return;
        }
        // One that isn't shown for longer than is waited is found to be taken then: a person must say whose it is.
        let half = matches!(cut, Cut::After) && self.lag < LAG / 2;
        let end = self.carry_out(action, password, half);
        if end == ActionEnd::Done {
            self.done.push(word);
        }
        if matches!(cut, Cut::After) {
            return;
        }
        if let Some(number) = number.filter(|_| end == ActionEnd::Done) {
            self.settle(number);
        }
        record.last = Some(Last {
            action: word.to_owned(),
            end,
            at: self.now,
        });
    }

    fn is_whole(&self) {
        for number in self.setting.spec.numbers() {
            let account = &self.users[&number];
            assert_eq!(account.user.mark, Some(self.setting.mark()));
            let sealed = &self.sealed[&number];
            assert_eq!(sealed.in_effect, account.password, "somebody knows it");
            assert!(self.members.contains(&account.user.id));
            let licences = usize::from(self.setting.site == SiteKind::Online);
            assert_eq!(account.user.licences.len(), licences);
        }
        let (group, _) = self.group.as_ref().unwrap();
        assert!(group.join_closed && group.depart_closed && group.hidden);
        assert!(
            self.done
                .iter()
                .filter(|word| **word == "create_user")
                .count()
                <= 2
        );
        assert!(
            self.done
                .iter()
                .filter(|word| **word == "create_group")
                .count()
                <= 1
        );
    }
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let cut = prop_oneof![Just(Cut::Whole), Just(Cut::Before), Just(Cut::After)];
    proptest::collection::vec(cut, 0..30)
}

fn sites() -> impl Strategy<Value = SiteKind> {
    prop_oneof![Just(SiteKind::Online), Just(SiteKind::Onprem)]
}

proptest! {
    /// Wherever it is interrupted, and however late servers show what was made: everything is there once, and a second run changes
    /// nothing.
    #[test]
    fn everything_is_there_once(site in sites(), lag in 0u64..600, cuts in cuts()) {
        let mut world = World::new(site, lag);
        let refused = world.run(SetupAim::Ensure, &mut cuts.into_iter());
        prop_assert_eq!(refused, Vec::<String>::new());
        world.is_whole();
        let before = world.done.len();
        world.records.clear();
        let refused = world.run(SetupAim::Ensure, &mut std::iter::empty());
        prop_assert_eq!(refused, Vec::<String>::new());
        // Owners, as the server names them, can't be compared: a later set-up sets them again.
        let again: Vec<_> = world.done[before..].iter().filter(|word| **word != "change_group").collect();
        prop_assert_eq!(again, Vec::<&&str>::new());
    }

    /// What is managed elsewhere is never changed.
    #[test]
    fn nothing_external_is_changed(site in sites(), ours in any::<[bool; 4]>(), cuts in cuts()) {
        let mut world = World::new(site, 0);
        let by = |ours: bool| if ours { ManagedBy::Calgrant } else { ManagedBy::External };
        let managed = &mut world.setting.spec.managed;
        managed.accounts = by(ours[0]);
        managed.licences = by(ours[1]);
        managed.group = by(ours[2]);
        managed.members = by(ours[3]);
        world.run(SetupAim::Ensure, &mut cuts.into_iter());
        for (ours, words) in [
            (ours[0], ["create_user", "change_user", "set_password"].as_slice()),
            (ours[1], ["assign_licence", "remove_licence"].as_slice()),
            (ours[2], ["create_group", "change_group"].as_slice()),
            (ours[3], ["add_member", "remove_member"].as_slice()),
        ] {
            let changed = world.done.iter().any(|word| words.contains(word));
            prop_assert!(ours || !changed, "{:?}", world.done);
        }
    }

    /// An account that is taken out of use is out of the group, without a licence and disabled, and is still there.
    #[test]
    fn an_account_is_taken_out_of_use(site in sites(), cuts in cuts()) {
        let mut world = World::new(site, 0);
        world.run(SetupAim::Ensure, &mut std::iter::empty());
        let refused = world.run(SetupAim::Remove(3), &mut cuts.into_iter());
        prop_assert_eq!(refused, Vec::<String>::new());
        let account = &world.users[&3];
        prop_assert!(!account.user.enabled && account.user.licences.is_empty());
        prop_assert!(!world.members.contains(&account.user.id) && world.members.len() == 1);
    }

    /// Whenever it is interrupted, the password that is kept in the end is the account's.
    #[test]
    fn a_new_password_is_known(site in sites(), cuts in cuts()) {
        let mut world = World::new(site, 0);
        world.run(SetupAim::Ensure, &mut std::iter::empty());
        let before = world.users[&1].password;
        world.done.clear();
        let refused = world.run(SetupAim::Rotate(1), &mut cuts.into_iter());
        prop_assert_eq!(refused, Vec::<String>::new());
        prop_assert_ne!(world.users[&1].password, before);
        prop_assert_eq!(world.sealed[&1].in_effect, world.users[&1].password);
    }
}
