//! What to do next about a step, from what was found.
//!
//! A step looks, does one thing, and looks again, until nothing is left to do: what was done by a process that died before it could
//! say so is found like anything else.

use std::time::Duration;

use crate::{
    Address, GroupChange, GroupFound, GroupKind, GroupMemberFound, LicenceFound, MailboxFound,
    NewGroup, SiteKind, SkuFound, UserChange, UserFound,
    setup::{
        Action, ActionEnd, Found, ManagedBy, PasswordKept, Past, Setting, Step, TrusteeSeen,
        licence,
    },
};

/// What was just made or changed may not be shown for so long; it isn't done again before.
pub const LAG: Duration = Duration::from_secs(120);
/// What was made and isn't shown after so long won't be.
pub const NEVER_SHOWN: Duration = Duration::from_secs(3600);
/// First wait for what isn't shown yet.
const SHORTEST: Duration = Duration::from_secs(2);
/// Longest wait until it is looked again.
const LONGEST: Duration = Duration::from_secs(900);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is as it should be. Says how.
    Done(String),
    /// This, and then look again.
    Do(Action),
    /// Look again after a while: time will do.
    Wait {
        /// What it waits for.
        why: String,
        /// For how long.
        after: Duration,
    },
    /// A person must do something. Says what.
    Refuse(String),
}

/// Decides what to do next about a step.
pub fn decide(setting: &Setting, step: Step, found: &Found, past: &Past) -> Decision {
    let number = step.number().unwrap_or_default();
    let deciding = Deciding {
        setting,
        number,
        past,
    };
    match found {
        Found::Seats { skus, lacking } => deciding.seats(skus, *lacking),
        Found::User { user, password } => deciding.user(user.as_ref(), *password),
        Found::Licence { user, skus } if matches!(step, Step::Unlicensed(_)) => {
            deciding.unlicensed(user.as_ref(), skus)
        }
        Found::Licence { user, skus } => deciding.licence(user.as_ref(), skus),
        Found::Mailbox(MailboxFound::Ready) => Decision::Done("the mailbox is there".into()),
        Found::Mailbox(MailboxFound::Missing) => deciding
            .wait("the mailbox isn't there yet; Exchange makes it within minutes, sometimes hours"),
        Found::Group(group) => deciding.group(group.as_ref()),
        Found::Member {
            group,
            members,
            user,
        } => {
            let wanted = !matches!(step, Step::Outside(_));
            deciding.member(group.as_ref(), members, user.as_ref(), wanted)
        }
        Found::Trustee { group, seen } => deciding.trustee(group.as_ref(), seen),
        Found::Account(user) => deciding.disabled(user.as_ref()),
        Found::Rotation { user, renewed } => deciding.rotated(user.as_ref(), *renewed),
    }
}

/// What all decisions look at.
struct Deciding<'a> {
    setting: &'a Setting,
    number: u32,
    past: &'a Past,
}

fn done(says: impl Into<String>) -> Decision {
    Decision::Done(says.into())
}

fn external(managed: ManagedBy) -> bool {
    managed == ManagedBy::External
}

fn refuse(why: impl Into<String>) -> Decision {
    Decision::Refuse(why.into())
}

impl Deciding<'_> {
    fn name(&self) -> Address {
        self.setting.spec.name.of(self.number)
    }

    /// Waits, longer the longer it has been waited.
    fn wait(&self, why: impl Into<String>) -> Decision {
        Decision::Wait {
            why: why.into(),
            after: (self.past.waited / 4).clamp(SHORTEST, LONGEST),
        }
    }

    /// A change, unless the same one was just made and may not be shown yet.
    fn change(&self, action: Action) -> Decision {
        match &self.past.last {
            Some((word, ActionEnd::Done, ago)) if *word == action.word() && *ago < LAG => {
                self.wait("changed; the server doesn't show it yet")
            }
            _ => Decision::Do(action),
        }
    }

    /// Makes what isn't shown, unless that was begun before: then it may be there and not be shown.
    fn create(&self, what: &str, action: Action) -> Decision {
        let Some((word, end, ago)) = &self.past.last else {
            return Decision::Do(action);
        };
        if *word != action.word() {
            return Decision::Do(action);
        }
        match end {
            ActionEnd::Done if *ago < NEVER_SHOWN => {
                self.wait(format!("{what} is made; the server doesn't show it yet"))
            }
            ActionEnd::Done => refuse(format!(
                "{what} was made {} minutes ago, and the server doesn't show it: look for it there",
                ago.as_secs() / 60
            )),
            ActionEnd::Unknown if *ago < LAG => self.wait(format!(
                "making {what} was begun, and the answer was lost; it is looked whether it is there"
            )),
            ActionEnd::Unknown => Decision::Do(action),
            ActionEnd::Taken if *ago < LAG => self.wait(format!(
                "the server says that {what} is taken, and doesn't show it yet"
            )),
            ActionEnd::Taken => refuse(format!(
                "the server says that {what} is taken, and shows nothing of that name: it may be a contact, or a deleted object that can be restored. Remove that, or choose another name"
            )),
        }
    }

    /// Whether this set-up began to make a user, nobody heard how that ended, and the user has no mark: where making one takes several
    /// calls, that is what is left of ours. Just before it wasn't there.
    fn broken_off(&self, user: &UserFound) -> bool {
        let begun = |(word, end, _): &(String, ActionEnd, Duration)| match word.as_str() {
            "create_user" => *end == ActionEnd::Unknown,
            // It was marked, and that isn't shown yet, or broke off.
            word => word == "change_user",
        };
        user.mark.is_none() && !user.synchronised && self.past.last.as_ref().is_some_and(begun)
    }

    /// Why a user isn't ours to change.
    fn not_ours(&self, user: &UserFound) -> Option<Decision> {
        let (name, mark) = (&user.user_name, self.setting.mark());
        if user.synchronised {
            return Some(refuse(format!(
                "{name} comes from Active Directory by synchronisation, and can't be changed here: choose another name, or say managed.accounts = \"external\""
            )));
        }
        (user.mark.as_deref() != Some(mark.as_str())).then(|| {
            refuse(format!(
                "{name} was there before, and this set-up didn't make it: choose another name; or, if it may be used, write {mark} into its employee id (on premises CustomAttribute15)"
            ))
        })
    }

    fn seats(&self, skus: &[SkuFound], lacking: u32) -> Decision {
        let spec = &self.setting.spec;
        if external(spec.managed.licences) {
            return done("licences are managed elsewhere");
        }
        let wanted = spec.sku.as_deref().unwrap_or_default();
        let Some(sku) = licence::sku(skus, wanted) else {
            let there: Vec<_> = skus
                .iter()
                .filter(|sku| !licence::mailbox_plans(sku).is_empty())
                .map(|sku| format!("{} ({} free)", sku.part_number, licence::free_seats(sku)))
                .collect();
            let there = if there.is_empty() {
                "it has none with a mailbox".to_owned()
            } else {
                format!("it has {}", there.join(", "))
            };
            return refuse(format!("the organisation has no product {wanted}; {there}"));
        };
        if licence::disabled_plans(sku).is_none() {
            return refuse(format!(
                "the product {} brings no mailbox: choose one with a plan such as EXCHANGE_S_STANDARD",
                sku.part_number
            ));
        }
        let free = licence::free_seats(sku);
        if free < lacking {
            return refuse(format!(
                "{lacking} seats of {} are needed, and {free} of {} are free: buy or free some",
                sku.part_number, sku.enabled_seats
            ));
        }
        done(format!(
            "{lacking} seats of {} are needed, and {free} are free",
            sku.part_number
        ))
    }

    fn user(&self, user: Option<&UserFound>, password: PasswordKept) -> Decision {
        let spec = &self.setting.spec;
        let (name, external) = (self.name(), external(spec.managed.accounts));
        let Some(user) = user else {
            return if external {
                refuse(format!(
                    "{name} isn't there, and is managed elsewhere: have it made"
                ))
            } else {
                self.create(&name.to_string(), Action::CreateUser(self.number))
            };
        };
        if !user.enabled {
            return refuse(format!(
                "{name} may not sign in: somebody disabled it. Enable it, or name its number in without"
            ));
        }
        if external {
            return done(format!("{name} is there; it is managed elsewhere"));
        }
        if self.broken_off(user) {
            let change = UserChange {
                mark: Some(self.setting.mark()),
                ..UserChange::default()
            };
            return self.change(Action::ChangeUser(user.id, change));
        }
        if let Some(decision) = self.not_ours(user) {
            return decision;
        }
        let online = self.setting.site == SiteKind::Online;
        let location = spec
            .usage_location
            .clone()
            .filter(|wanted| user.usage_location.as_ref() != Some(wanted));
        let change = UserChange {
            usage_location: location,
            // On premises the domain's policy decides.
            password_never_expires: (online && !user.password_never_expires).then_some(true),
            ..UserChange::default()
        };
        if change != UserChange::default() {
            return self.change(Action::ChangeUser(user.id, change));
        }
        match password {
            PasswordKept::InEffect if user.password_never_expires => {
                done(format!("{name} is there, and its password is sealed"))
            }
            PasswordKept::InEffect => done(format!(
                "{name} is there, and its password is sealed; it expires as the domain's policy says: rotate it before"
            )),
            PasswordKept::No | PasswordKept::Pending => {
                Decision::Do(Action::SetPassword(self.number, user.id))
            }
        }
    }

    fn licence(&self, user: Option<&UserFound>, skus: &[SkuFound]) -> Decision {
        let spec = &self.setting.spec;
        let name = self.name();
        let Some(user) = user else {
            return self.wait(format!("{name} isn't shown yet"));
        };
        let through = |licence: &&LicenceFound| {
            !licence.through_groups.is_empty() && licence::brings_mailbox(licence, skus)
        };
        if let Some(licence) = user.licences.iter().find(through) {
            return done(format!(
                "{name} has a mailbox plan through the licensing group {}; nothing is given besides",
                licence.through_groups.join(", ")
            ));
        }
        if external(spec.managed.licences) {
            let brings = |held| licence::brings_mailbox(held, skus);
            return if user.licences.iter().any(brings) {
                done(format!("{name} has a licence; it is managed elsewhere"))
            } else {
                refuse(format!(
                    "{name} has no licence with a mailbox plan, and licences are managed elsewhere: have one given"
                ))
            };
        }
        let wanted = spec.sku.as_deref().unwrap_or_default();
        let Some((sku, disabled)) =
            licence::sku(skus, wanted).and_then(|sku| Some((sku, licence::disabled_plans(sku)?)))
        else {
            return refuse(format!(
                "the organisation has no product {wanted} with a mailbox plan"
            ));
        };
        if user.usage_location.is_none() {
            return refuse(format!(
                "{name} has no usage location, and without one no licence can be given: set it"
            ));
        }
        let held = user
            .licences
            .iter()
            .find(|held| held.sku_id.eq_ignore_ascii_case(&sku.sku_id));
        if held.is_some_and(|held| same_texts(&held.disabled_plans, &disabled)) {
            return done(format!(
                "{name} has {} with the mailbox alone",
                sku.part_number
            ));
        }
        self.change(Action::AssignLicence {
            user: user.id,
            sku_id: sku.sku_id.clone(),
            disabled_plans: disabled,
        })
    }

    fn group(&self, group: Option<&GroupFound>) -> Decision {
        let spec = &self.setting.spec;
        let (address, external) = (&spec.group, external(spec.managed.group));
        let Some(group) = group else {
            return if external {
                refuse(format!(
                    "the group {address} isn't there, and is managed elsewhere: have it made"
                ))
            } else {
                let new = NewGroup {
                    address: address.clone(),
                    name: spec.group_name.clone(),
                    owners: spec.group_owners.clone(),
                    organizational_unit: spec.organizational_unit.clone(),
                };
                self.create(&format!("the group {address}"), Action::CreateGroup(new))
            };
        };
        if let Some(why) = unsuited(group) {
            return refuse(why);
        }
        if group.synchronised {
            return done(format!(
                "{address} comes from Active Directory by synchronisation: it can be given rights, and is changed on premises"
            ));
        }
        let mut notes = Vec::new();
        if group.name != spec.group_name {
            notes.push(format!(
                "its name is {:?}: a naming policy, or whoever made it, wants it so",
                group.name
            ));
        }
        let owners: Vec<_> = spec.group_owners.iter().map(ToString::to_string).collect();
        let mut change = GroupChange {
            join_closed: (!group.join_closed).then_some(true),
            depart_closed: (!group.depart_closed).then_some(true),
            hidden: (!group.hidden).then_some(true),
            owners: None,
        };
        if !same_texts(&group.owners, &owners) {
            let set = self.past.last.as_ref().is_some_and(|(word, end, _)| {
                *end == ActionEnd::Done && ["change_group", "create_group"].contains(&word.as_str())
            });
            if set || external {
                // Servers name owners as they like.
                notes.push(format!(
                    "its owners are shown as {}",
                    group.owners.join(", ")
                ));
            } else {
                change.owners = Some(spec.group_owners.clone());
            }
        }
        let notes = notes
            .iter()
            .fold(String::new(), |all, note| all + "; " + note);
        if change == GroupChange::default() {
            return done(format!("{address} is there, closed and hidden{notes}"));
        }
        if external {
            return refuse(format!(
                "{address} is managed elsewhere, and is {}: have that changed",
                differences(&change)
            ));
        }
        self.change(Action::ChangeGroup(change))
    }

    fn member(
        &self,
        group: Option<&GroupFound>,
        members: &[GroupMemberFound],
        user: Option<&UserFound>,
        wanted: bool,
    ) -> Decision {
        let spec = &self.setting.spec;
        let (name, address) = (self.name(), &spec.group);
        let Some(group) = group else {
            return if wanted {
                self.wait(format!("the group {address} isn't shown yet"))
            } else {
                done(format!("there is no group {address}"))
            };
        };
        let is_account = |member: &GroupMemberFound| {
            user.is_some_and(|user| user.id == member.id) || member.address.as_ref() == Some(&name)
        };
        let there = members.iter().any(is_account);
        if there == wanted {
            let word = if wanted { "is" } else { "isn't" };
            return done(format!("{name} {word} in {address}"));
        }
        let verb = if wanted { "put in" } else { "taken out" };
        if group.synchronised {
            return refuse(format!(
                "{address} comes from Active Directory by synchronisation: {name} must be {verb} on premises"
            ));
        }
        if external(spec.managed.members) {
            return refuse(format!(
                "members of {address} are managed elsewhere: have {name} {verb}"
            ));
        }
        self.change(if wanted {
            Action::AddMember(name)
        } else {
            Action::RemoveMember(name)
        })
    }

    fn trustee(&self, group: Option<&GroupFound>, seen: &TrusteeSeen) -> Decision {
        let address = &self.setting.spec.group;
        match (group, seen) {
            (None, _) => self.wait(format!("the group {address} isn't shown yet")),
            (Some(group), _) if unsuited(group).is_some() => {
                refuse(unsuited(group).unwrap_or_default())
            }
            (_, TrusteeSeen::Missing) => self.wait(format!(
                "Exchange has {address}, and the directory doesn't show it yet"
            )),
            (_, TrusteeSeen::Unsuited(why)) => refuse(why.clone()),
            (_, TrusteeSeen::Suits) => done(format!("{address} can be given rights")),
            (_, TrusteeSeen::NotAsked) => done(format!(
                "{address} is a mail-enabled security group in Exchange; the first delegation looks it up in the directory"
            )),
        }
    }

    fn unlicensed(&self, user: Option<&UserFound>, skus: &[SkuFound]) -> Decision {
        let spec = &self.setting.spec;
        let name = self.name();
        let Some(user) = user else {
            return done(format!("there is no {name}"));
        };
        if external(spec.managed.licences) {
            return done("licences are managed elsewhere");
        }
        if let Some(decision) = self.not_ours(user) {
            return decision;
        }
        let wanted = spec.sku.as_deref().unwrap_or_default();
        let sku_id = licence::sku(skus, wanted).map_or(wanted, |sku| sku.sku_id.as_str());
        let held = user
            .licences
            .iter()
            .find(|held| held.sku_id.eq_ignore_ascii_case(sku_id));
        match held {
            None => done(format!("{name} has no seat of {wanted}")),
            Some(held) if !held.through_groups.is_empty() => refuse(format!(
                "{name} has {wanted} through the licensing group {}: take it out of that",
                held.through_groups.join(", ")
            )),
            Some(held) => self.change(Action::RemoveLicence {
                user: user.id,
                sku_id: held.sku_id.clone(),
            }),
        }
    }

    fn disabled(&self, user: Option<&UserFound>) -> Decision {
        let name = self.name();
        let Some(user) = user else {
            return done(format!("there is no {name}"));
        };
        if !user.enabled {
            return done(format!("{name} can't sign in any more; it is not deleted"));
        }
        if external(self.setting.spec.managed.accounts) {
            return refuse(format!("{name} is managed elsewhere: have it disabled"));
        }
        if let Some(decision) = self.not_ours(user) {
            return decision;
        }
        let change = UserChange {
            enabled: Some(false),
            ..UserChange::default()
        };
        self.change(Action::ChangeUser(user.id, change))
    }

    fn rotated(&self, user: Option<&UserFound>, renewed: bool) -> Decision {
        let name = self.name();
        let Some(user) = user else {
            return refuse(format!("there is no {name}: run the set-up first"));
        };
        if renewed {
            return done(format!("{name} has a new password, which is sealed"));
        }
        if external(self.setting.spec.managed.accounts) {
            return refuse(format!(
                "{name} is managed elsewhere: have its password changed"
            ));
        }
        if let Some(decision) = self.not_ours(user) {
            return decision;
        }
        Decision::Do(Action::SetPassword(self.number, user.id))
    }
}

/// Why a group can't be the delegation group.
fn unsuited(group: &GroupFound) -> Option<String> {
    let what = match group.kind {
        GroupKind::MailEnabledSecurity => return None,
        GroupKind::Distribution => "a distribution list: it can't be given rights",
        GroupKind::Security => "a security group without mail: Exchange can't name it",
        GroupKind::Microsoft365 => "a Microsoft 365 group: it can't be given rights on folders",
        GroupKind::Dynamic => "a group whose members follow from a rule",
    };
    Some(format!(
        "{} is {what}. Choose another address, or have it replaced by a mail-enabled security group",
        group.address
    ))
}

/// How a group differs, in words.
fn differences(change: &GroupChange) -> String {
    let all = [
        (change.join_closed, "open for joining"),
        (change.depart_closed, "open for leaving"),
        (change.hidden, "shown in address lists"),
    ];
    let differing = all.iter().filter(|(differs, _)| differs.is_some());
    differing
        .map(|(_, what)| *what)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether two lists hold the same texts, in any order and case.
fn same_texts(one: &[String], other: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut list: Vec<_> = list.iter().map(|text| text.to_lowercase()).collect();
        list.sort();
        list.dedup();
        list
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
