//! What set-up finds in a directory and what it asks to be made there: users, licences, groups.

use std::fmt;

use crate::{Address, MailboxId};

/// A password. It is shown nowhere: neither `Debug` nor `Display` tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for whoever sends or seals it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A user as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFound {
    /// Its immutable id: the object id online, the objectGUID on premises.
    pub id: MailboxId,
    /// Its user principal name.
    pub user_name: Address,
    /// What people see.
    pub display_name: String,
    /// Whether it may sign in.
    pub enabled: bool,
    /// ISO 3166 country, two letters, upper case; `None` if unset, and on premises.
    pub usage_location: Option<String>,
    /// Whether its password never expires.
    pub password_never_expires: bool,
    /// It comes from Active Directory by synchronisation: changed there, not here.
    pub synchronised: bool,
    /// What set-up wrote into it when it made it, to know its own again: the value of `NewUser::mark`. `None`: somebody else's.
    pub mark: Option<String>,
    /// Licences it holds.
    pub licences: Vec<LicenceFound>,
}

/// A licence that a user holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenceFound {
    /// The id of the product.
    pub sku_id: String,
    /// Plans of it that are switched off, by id.
    pub disabled_plans: Vec<String>,
    /// The groups it comes through; empty: assigned directly. One that comes through a group can't be changed at the user.
    pub through_groups: Vec<String>,
}

/// A product that the organisation has seats of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuFound {
    /// Its id.
    pub sku_id: String,
    /// Its name, such as `EXCHANGESTANDARD`.
    pub part_number: String,
    /// Seats that are paid for and usable.
    pub enabled_seats: u32,
    /// Seats in use.
    pub used_seats: u32,
    /// Its plans.
    pub plans: Vec<PlanFound>,
}

/// A plan of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFound {
    /// Its id.
    pub id: String,
    /// Its name, such as `EXCHANGE_S_STANDARD`.
    pub name: String,
    /// Whether it is given to users, not to the organisation: only such plans can be switched off.
    pub for_users: bool,
}

/// A user to be made. On premises its mailbox comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The user principal name.
    pub user_name: Address,
    /// What people see.
    pub display_name: String,
    /// Its first password; no change is forced at the first sign-in and it doesn't expire.
    pub password: Password,
    /// ISO 3166 country, two letters; online only, where a licence needs it.
    pub usage_location: Option<String>,
    /// The distinguished name of the unit it is put into; on premises only.
    pub organizational_unit: Option<String>,
    /// Written into the user so that it is known again: which set-up made it. Online `employeeId`, on premises
    /// `CustomAttribute15`.
    pub mark: String,
}

/// A change to a user; `None` leaves a property alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// Whether it may sign in.
    pub enabled: Option<bool>,
    /// ISO 3166 country, two letters.
    pub usage_location: Option<String>,
    /// Whether its password never expires.
    pub password_never_expires: Option<bool>,
    /// A new password; no change is forced at the next sign-in.
    pub password: Option<Password>,
    /// What it is known again by: see `NewUser::mark`. Written again where making it was broken off before.
    pub mark: Option<String>,
}

/// Whether a user's mailbox is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxFound {
    /// Exchange knows it.
    Ready,
    /// Exchange doesn't know it, or not yet.
    Missing,
}

/// What kind of group a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// Mail-enabled and a security principal: it can hold rights.
    MailEnabledSecurity,
    /// A distribution list: it can't hold rights.
    Distribution,
    /// A security group without mail: Exchange can't name it in a permission.
    Security,
    /// A Microsoft 365 group: it can't hold rights on folders.
    Microsoft365,
    /// Its members follow from a rule.
    Dynamic,
}

/// A group as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFound {
    /// Its immutable id.
    pub id: MailboxId,
    /// Its primary address.
    pub address: Address,
    /// Its name, as a naming policy left it.
    pub name: String,
    /// What kind it is.
    pub kind: GroupKind,
    /// Nobody can join by themselves.
    pub join_closed: bool,
    /// Nobody can leave by themselves.
    pub depart_closed: bool,
    /// Hidden from address lists.
    pub hidden: bool,
    /// It comes from Active Directory by synchronisation: changed there, not here.
    pub synchronised: bool,
    /// Who manages it, by user principal name or address where the server tells it, else as the server names them.
    pub owners: Vec<String>,
}

/// A mail-enabled security group to be made: closed for joining and leaving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Its address.
    pub address: Address,
    /// Its name, at most 64 characters.
    pub name: String,
    /// Who manages it; never members for that.
    pub owners: Vec<Address>,
    /// The unit it is put into; on premises only, `None`: the server's default.
    pub organizational_unit: Option<String>,
}

/// A change to a group; `None` leaves a property alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// `true`: nobody can join by themselves.
    pub join_closed: Option<bool>,
    /// `true`: nobody can leave by themselves.
    pub depart_closed: Option<bool>,
    /// Hidden from address lists.
    pub hidden: Option<bool>,
    /// Who manages it, all of them.
    pub owners: Option<Vec<Address>>,
}

/// A direct member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberFound {
    /// Its immutable id.
    pub id: MailboxId,
    /// Its primary address, where it has one.
    pub address: Option<Address>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let change = UserChange {
            password: Some(Password::new("hunter2")),
            ..UserChange::default()
        };
        assert!(!format!("{change:?}").contains("hunter2"));
    }
}
