//! Who has which product, directly or from a group, and what follows from it: a mailbox that comes, or goes.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use crate::scenario::Kind;
use crate::sku::{FOUNDATION, SkuSpec};
use crate::tenant::{Object, Tenant};
use crate::user::Assigned;

/// What a call of `assignLicense` wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Products by id, each with the plans that are switched off.
    pub(crate) add: Vec<(Uuid, Vec<Uuid>)>,
    pub(crate) remove: Vec<Uuid>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) assigned: u64,
    pub(crate) removed: u64,
}

impl Tenant {
    /// The products a user has from groups it is a direct member of, each with the group's id.
    pub(crate) fn inherited(&self, user: usize) -> Vec<(usize, Uuid)> {
        let groups = self.groups.iter();
        let licensing = groups.filter(|group| !group.spec.licences.is_empty());
        licensing
            .filter(|group| group.members().contains(&Object::User(user)))
            .flat_map(|group| {
                let skus = group.spec.licences.iter();
                let known = skus.filter_map(|name| self.sku_named(name));
                known.map(|sku| (sku, group.spec.id))
            })
            .collect()
    }

    fn sku_named(&self, name: &str) -> Option<usize> {
        self.skus.iter().position(|sku| sku.is(name))
    }

    /// How many users have a product.
    pub(crate) fn consumed(&self, sku: usize) -> u64 {
        let mut by_group = HashSet::new();
        for group in self.groups.iter() {
            let mut names = group.spec.licences.iter();
            if names.any(|name| self.sku_named(name) == Some(sku)) {
                let members = group.members();
                by_group.extend(members.iter().filter_map(|member| match member {
                    Object::User(at) => Some(*at),
                    _ => None,
                }));
            }
        }
        let has = |(at, user): &(usize, &crate::user::User)| {
            by_group.contains(at) || user.licences().iter().any(|held| held.sku == sku)
        };
        let count = self.users.starting_at(0).filter(has).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// How many users may have a product.
    pub(crate) fn seats(&self, sku: &SkuSpec) -> u64 {
        let everybody = u64::try_from(self.users.len()).unwrap_or(u64::MAX);
        sku.seats.unwrap_or(everybody)
    }

    /// Assigns products to a user and takes others away, all or nothing. The mailbox comes `provisioning` later.
    ///
    /// # Errors
    /// What Graph says.
    pub(crate) fn assign(
        &self,
        user: usize,
        wanted: &Wanted,
        now: Duration,
        provisioning: Duration,
    ) -> Result<Done, String> {
        let _alone = self.alone();
        let held = self.users[user].licences().clone();
        let inherited = self.inherited(user);
        let mut next = held.clone();
        let sku_of = |id: &Uuid| {
            let at = self.skus.iter().position(|sku| sku.id == *id);
            at.ok_or_else(|| {
                format!("License {id} does not correspond to a valid company License.")
            })
        };
        let mut done = Done::default();
        for id in &wanted.remove {
            let sku = sku_of(id)?;
            let before = next.len();
            next.retain(|held| held.sku != sku);
            if next.len() == before {
                let from_group = inherited.iter().any(|(inherited, _)| *inherited == sku);
                return Err(if from_group {
                    "User license is inherited from a group membership and it cannot be removed directly from the user."
                } else {
                    "User does not have a corresponding license."
                }
                .to_owned());
            }
            done.removed += 1;
        }
        if !wanted.add.is_empty() && self.users[user].account_now().usage_location.is_none() {
            let text = "License assignment cannot be done for user with invalid usage location.";
            return Err(text.to_owned());
        }
        for (id, disabled) in &wanted.add {
            let at = sku_of(id)?;
            let sku = &self.skus[at];
            check_plans(sku, disabled)?;
            let disabled = disabled.clone();
            if let Some(old) = next.iter_mut().find(|held| held.sku == at) {
                old.disabled = disabled;
                continue;
            }
            let has_seat = inherited.iter().any(|(inherited, _)| *inherited == at);
            let usable = sku
                .capability_status
                .as_deref()
                .is_none_or(|status| matches!(status, "Enabled" | "Warning"));
            if !usable || (!has_seat && self.consumed(at) >= self.seats(sku)) {
                return Err(format!(
                    "Subscription with SKU {id} does not have any available licenses."
                ));
            }
            next.push(Assigned { sku: at, disabled });
            done.assigned += 1;
        }
        self.check_exclusive(&next, &inherited)?;
        *self.users[user].licences() = next;
        self.relicense(user, now, provisioning);
        Ok(done)
    }

    /// The mailbox plans that are on, of all a user has.
    fn mailbox_plans(&self, held: &[Assigned], inherited: &[(usize, Uuid)]) -> Vec<Uuid> {
        let direct = held.iter().map(|held| (held.sku, held.disabled.as_slice()));
        let all = direct.chain(inherited.iter().map(|(sku, _)| (*sku, &[][..])));
        let plans = all.filter_map(|(sku, disabled)| self.skus[sku].mailbox_plan(disabled));
        plans.map(|plan| plan.id).collect()
    }

    /// The mailbox plans that are on, of all a user has.
    pub(crate) fn mailbox_plans_of(&self, user: usize) -> Vec<Uuid> {
        let held = self.users[user].licences().clone();
        self.mailbox_plans(&held, &self.inherited(user))
    }

    fn check_exclusive(
        &self,
        held: &[Assigned],
        inherited: &[(usize, Uuid)],
    ) -> Result<(), String> {
        let plans = self.mailbox_plans(held, inherited);
        let Some(first) = plans.first() else {
            return Ok(());
        };
        match plans.iter().find(|plan| *plan != first) {
            None => Ok(()),
            Some(other) => Err(format!(
                "License assignment failed because service plans {first} and {other} are mutually exclusive. \
                 MutuallyExclusiveViolation"
            )),
        }
    }

    /// What a user's products have come to: its mailbox comes, or goes.
    pub(crate) fn relicense(&self, at: usize, now: Duration, provisioning: Duration) {
        let user = &self.users[at];
        if user.spec.on_premises || user.spec.kind != Kind::User || user.licence_has_expired() {
            return;
        }
        let held = user.licences().clone();
        let has = !self.mailbox_plans(&held, &self.inherited(at)).is_empty();
        if has == user.is_licensed() {
            return;
        }
        user.set_licensed(has);
        if let Some(mailbox) = user.mailbox.as_ref()
            && !user.spec.never_provisioned
        {
            mailbox.provision(has.then(|| now + provisioning));
        }
    }

    /// At the start: who is in a group that licenses has its licence from there.
    pub(crate) fn license_members(&self) {
        let licensing = self.groups.iter();
        let licensing = licensing.filter(|group| !group.spec.licences.is_empty());
        for group in licensing {
            for member in group.members().iter() {
                if let Object::User(at) = member {
                    self.users[*at].licences().clear();
                    self.relicense(*at, Duration::ZERO, Duration::ZERO);
                }
            }
        }
    }
}

fn check_plans(sku: &SkuSpec, disabled: &[Uuid]) -> Result<(), String> {
    for plan in disabled {
        let known = sku.plans.iter().find(|known| known.id == *plan);
        let Some(known) = known else {
            return Err(format!(
                "License assignment failed because service plan {plan} isn't part of the SKU {}.",
                sku.id
            ));
        };
        if known.of_company || known.id == FOUNDATION {
            let name = &known.name;
            return Err(format!(
                "License assignment failed because service plan {name} cannot be disabled."
            ));
        }
    }
    Ok(())
}
