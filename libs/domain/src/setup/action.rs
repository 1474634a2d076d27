//! The changes that a set-up makes.

use crate::{
    Address, GroupChange, MailboxId, NewGroup, UserChange,
    setup::{Setting, Step},
};

/// A change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes the user of this number, with a password that was sealed before.
    CreateUser(u32),
    /// Changes a user.
    ChangeUser(MailboxId, UserChange),
    /// Gives the user of this number a password that was sealed before.
    SetPassword(u32, MailboxId),
    /// Gives a product with these plans switched off.
    AssignLicence {
        /// Whom.
        user: MailboxId,
        /// Which product, by id.
        sku_id: String,
        /// Plans of it that are switched off, by id.
        disabled_plans: Vec<String>,
    },
    /// Takes a product away.
    RemoveLicence {
        /// From whom.
        user: MailboxId,
        /// Which product, by id.
        sku_id: String,
    },
    /// Makes the group.
    CreateGroup(NewGroup),
    /// Changes it.
    ChangeGroup(GroupChange),
    /// Puts an account into it.
    AddMember(Address),
    /// Takes one out.
    RemoveMember(Address),
}

impl Action {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::CreateUser(_) => "create_user",
            Self::ChangeUser(..) => "change_user",
            Self::SetPassword(..) => "set_password",
            Self::AssignLicence { .. } => "assign_licence",
            Self::RemoveLicence { .. } => "remove_licence",
            Self::CreateGroup(_) => "create_group",
            Self::ChangeGroup(_) => "change_group",
            Self::AddMember(_) => "add_member",
            Self::RemoveMember(_) => "remove_member",
        }
    }
    /// The same for people, in a sentence that begins with "would": `make sa-1@uni.example`.
    pub fn told(&self, setting: &Setting, step: Step) -> String {
        let spec = &setting.spec;
        let name = spec.name.of(step.number().unwrap_or_default());
        let group = &spec.group;
        match self {
            Self::CreateUser(_) => format!("make {name}, with a password that is sealed"),
            Self::ChangeUser(_, change) => {
                let mut changes = Vec::new();
                if let Some(location) = &change.usage_location {
                    changes.push(format!("its usage location to {location}"));
                }
                if change.password_never_expires.is_some() {
                    changes.push("its password so that it doesn't expire".to_owned());
                }
                if change.mark.is_some() {
                    changes.push("that this set-up knows it again".to_owned());
                }
                match change.enabled {
                    Some(true) => changes.push("that it may sign in".to_owned()),
                    Some(false) => changes.push("that it may not sign in any more".to_owned()),
                    None => {}
                }
                format!("change {name}: {}", changes.join(", "))
            }
            Self::SetPassword(..) => format!("give {name} a new password, which is sealed"),
            Self::AssignLicence { disabled_plans, .. } => format!(
                "give {name} a seat of {} with {} plans switched off",
                spec.sku.as_deref().unwrap_or_default(),
                disabled_plans.len()
            ),
            Self::RemoveLicence { .. } => format!(
                "take the seat of {} from {name}",
                spec.sku.as_deref().unwrap_or_default()
            ),
            Self::CreateGroup(_) => {
                format!("make the mail-enabled security group {group}, closed and hidden")
            }
            Self::ChangeGroup(change) => {
                let owners = change.owners.iter().flatten().map(Address::as_str);
                let owners: Vec<_> = owners.collect();
                let changes = [
                    (
                        change.join_closed.is_some(),
                        "close it for joining".to_owned(),
                    ),
                    (
                        change.depart_closed.is_some(),
                        "close it for leaving".to_owned(),
                    ),
                    (change.hidden.is_some(), "hide it".to_owned()),
                    (
                        change.owners.is_some(),
                        format!("set its owners to {}", owners.join(", ")),
                    ),
                ];
                let changes = changes.into_iter().filter(|(is, _)| *is);
                let changes: Vec<_> = changes.map(|(_, change)| change).collect();
                format!("change {group}: {}", changes.join(", "))
            }
            Self::AddMember(_) => format!("put {name} into {group}"),
            Self::RemoveMember(_) => format!("take {name} out of {group}"),
        }
    }
}
