//! Folder rights: single rights as bits, the roles Exchange names, and their order.
//!
//! Names and contents of the roles: Microsoft's reference of `Add-MailboxFolderPermission`; bit values: MS-OXCPERM 2.2.

use std::{fmt, str::FromStr};

use crate::BadInput;

/// A set of single rights on a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

/// Every single right: its name in cmdlets and its MAPI bit.
const SINGLE: &[(&str, u16)] = &[
    ("ReadItems", 0x1),
    ("CreateItems", 0x2),
    ("EditOwnedItems", 0x8),
    ("DeleteOwnedItems", 0x10),
    ("EditAllItems", 0x20),
    ("DeleteAllItems", 0x40),
    ("CreateSubfolders", 0x80),
    ("FolderOwner", 0x100),
    ("FolderContact", 0x200),
    ("FolderVisible", 0x400),
];
/// Free/busy time, and with subject and location: they exist on calendars only, and have no granular name of their own.
const FREE_BUSY_SIMPLE: u16 = 0x800;
const FREE_BUSY_DETAILED: u16 = 0x1000;

/// The roles Exchange names, and what is in them.
const ROLES: &[(&str, u16)] = &[
    ("None", 0),
    ("AvailabilityOnly", FREE_BUSY_SIMPLE),
    ("LimitedDetails", FREE_BUSY_SIMPLE | FREE_BUSY_DETAILED),
    ("Contributor", 1026),
    ("Reviewer", 1025),
    ("NonEditingAuthor", 1043),
    ("Author", 1051),
    ("PublishingAuthor", 1179),
    ("Editor", 1147),
    ("PublishingEditor", 1275),
    ("Owner", 2043),
];

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);

    /// All that these rights let one do: the right to edit or delete all items includes one's own, an
    /// item that can be read shows its time and subject too, and being the contact grants nothing.
    fn closure(self) -> u16 {
        let mut bits = self.0 & !0x200;
        for (holds, includes) in [
            (0x20, 0x8),
            (0x40, 0x10),
            (0x1, FREE_BUSY_SIMPLE | FREE_BUSY_DETAILED),
            (FREE_BUSY_DETAILED, FREE_BUSY_SIMPLE),
        ] {
            if bits & holds != 0 {
                bits |= includes;
            }
        }
        bits
    }

    /// Whether whoever has these rights may do everything that `other` allows.
    pub fn includes(self, other: Self) -> bool {
        other.closure() & !self.closure() == 0
    }

    /// Whether these rights allow exactly what `other` allows.
    pub fn same_as(self, other: Self) -> bool {
        self.closure() == other.closure()
    }

    /// Reads the `AccessRights` of a permission entry: role names and single rights, any case, any mix.
    ///
    /// # Errors
    /// Names the first word that is neither.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, BadInput> {
        let mut bits = 0;
        for name in names {
            let name = name.trim();
            let known = ROLES
                .iter()
                .chain(SINGLE)
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((_, more)) = known else {
                return Err(BadInput::new(
                    "",
                    name,
                    "not a calendar role or right; the usual role is Author",
                ));
            };
            bits |= more;
        }
        Ok(Self(bits))
    }

    /// The names Exchange would show: the role of exactly these rights, else the single rights.
    pub fn names(self) -> Vec<&'static str> {
        // A read right carries the free/busy bits with it on a calendar, and cmdlets mask them off.
        let bits = if self.0 & 0x1 != 0 {
            self.0 & !(FREE_BUSY_SIMPLE | FREE_BUSY_DETAILED)
        } else {
            self.0
        };
        if let Some((role, _)) = ROLES
            .iter()
            .find(|(_, role)| role & !0x200 == bits & !0x200)
        {
            return vec![role];
        }
        let mut names: Vec<_> = SINGLE
            .iter()
            .filter(|(_, bit)| bits & bit != 0)
            .map(|(name, _)| *name)
            .collect();
        if bits & FREE_BUSY_DETAILED != 0 {
            names.push("LimitedDetails");
        } else if bits & FREE_BUSY_SIMPLE != 0 {
            names.push("AvailabilityOnly");
        }
        names
    }
}

impl fmt::Display for Rights {
    /// Names joined by commas: what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl FromStr for Rights {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        Self::from_names(raw.split(','))
    }
}

/// The right a delegation gives: one of Exchange's calendar roles, or single rights. Never empty where it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessRole(Rights);

impl AccessRole {
    /// Read all, create, edit and delete one's own: what a timetable product needs.
    pub const AUTHOR: Self = Self(Rights(1051));

    /// Exactly these rights, be it none at all: what an entry held is put back as it was.
    pub fn exactly(rights: Rights) -> Self {
        Self(rights)
    }

    /// The rights in it.
    pub fn rights(self) -> Rights {
        self.0
    }
}

impl fmt::Display for AccessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AccessRole {
    type Err = BadInput;

    /// A role name, or single rights joined by commas. `None` and nothing are refused: taking a
    /// right away is a revocation, not a delegation.
    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let rights = Rights::from_names(raw.split(',').filter(|name| !name.trim().is_empty()))
            .map_err(|bad| BadInput::new("", raw, bad.why))?;
        if rights == Rights::NONE {
            let roles: Vec<_> = ROLES[1..].iter().map(|(name, _)| *name).collect();
            return Err(BadInput::new(
                "",
                raw,
                format!(
                    "a role is needed: one of {}, or single rights joined by commas",
                    roles.join(", ")
                ),
            ));
        }
        Ok(Self(rights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(raw: &str) -> Rights {
        raw.parse().unwrap()
    }

    #[test]
    fn every_role_survives_its_text_form() {
        for (name, _) in ROLES {
            assert_eq!(rights(name).to_string(), *name);
        }
        assert_eq!(
            rights("ReadItems,CreateItems").to_string(),
            "ReadItems,CreateItems"
        );
    }

    #[test]
    fn a_role_with_or_without_the_contact_or_free_busy_bits_is_the_same_role() {
        assert!(Rights(7195).same_as(rights("Author")));
        assert_eq!(Rights(7195).to_string(), "Author");
        assert!(Rights(2043 & !0x200).same_as(rights("Owner")));
    }

    #[test]
    fn order_of_roles() {
        for (higher, lower) in [
            ("Owner", "PublishingEditor"),
            ("PublishingEditor", "Editor"),
            ("Editor", "Author"),
            ("PublishingAuthor", "Author"),
            ("Author", "NonEditingAuthor"),
            ("NonEditingAuthor", "Reviewer"),
            ("Reviewer", "LimitedDetails"),
            ("LimitedDetails", "AvailabilityOnly"),
            ("Author", "Contributor"),
        ] {
            assert!(
                rights(higher).includes(rights(lower)),
                "{higher} includes {lower}"
            );
            assert!(
                !rights(lower).includes(rights(higher)),
                "{lower} does not include {higher}"
            );
        }
        assert!(
            !rights("Contributor").includes(rights("Reviewer"))
                && !rights("Reviewer").includes(rights("Contributor"))
        );
    }

    #[test]
    fn roles_of_delegations() {
        assert_eq!("author".parse::<AccessRole>().unwrap(), AccessRole::AUTHOR);
        for raw in ["", "None", "Autor", "Author,Foo"] {
            assert!(raw.parse::<AccessRole>().is_err(), "{raw}");
        }
    }
}
