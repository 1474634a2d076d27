//! Permission entries: between stored masks and what EWS says of them.

use crate::calendar::{Acl, EXTERNAL, Principal, mask_of};
use crate::ews::error::EwsError;
use crate::replica::Place;
use crate::rights;
use crate::tenant::{Object, Tenant};
use crate::user::Side;
use crate::xml::{Element, leaf, tag};

/// The settings of an entry, each as EWS writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    create: bool,
    subfolders: bool,
    owner: bool,
    visible: bool,
    contact: bool,
    edit: &'static str,
    delete: &'static str,
    read: &'static str,
    level: &'static str,
}

const FREE_BUSY_SIMPLE: u32 = 0x800;
const FREE_BUSY_DETAILED: u32 = 0x1000;
const FREE_BUSY: u32 = FREE_BUSY_SIMPLE | FREE_BUSY_DETAILED;
const VISIBLE_AND_CONTACT: u32 = 0x600;
const CONTACT: u32 = 0x200;

/// The levels that stand for a combination of rights, by their bits without those of free and busy times.
const LEVELS: [(&str, &str, u32); 8] = [
    ("Owner", "Owner", 2043),
    ("PublishingEditor", "PublishingEditor", 1275),
    ("Editor", "Editor", 1147),
    ("PublishingAuthor", "PublishingAuthor", 1179),
    ("Author", "Author", 1051),
    ("NoneditingAuthor", "NonEditingAuthor", 1043),
    ("Reviewer", "Reviewer", 1025),
    ("Contributor", "Contributor", 1026),
];

fn level(mask: u32) -> &'static str {
    let plain = mask & !FREE_BUSY & !rights::FLAGS;
    let free_busy = mask & FREE_BUSY;
    if plain & !VISIBLE_AND_CONTACT == 0 && free_busy == 0 {
        return "None";
    }
    if plain == 0 {
        return if free_busy == FREE_BUSY_SIMPLE {
            "FreeBusyTimeOnly"
        } else {
            "FreeBusyTimeAndSubjectAndLocation"
        };
    }
    // an owner who isn't a contact is one all the same; every other difference makes a level one of its own
    let owner = plain | CONTACT == 2043;
    let found = LEVELS
        .iter()
        .find(|(name, _, bits)| plain == *bits || owner && *name == "Owner");
    found.map_or("Custom", |(name, ..)| name)
}

impl Settings {
    /// What a read shows of a stored mask.
    pub(crate) fn of(mask: u32) -> Self {
        let has = |bits: u32| mask & bits != 0;
        let level = level(mask);
        let owned = |all: u32, own: u32| match (has(all), has(own)) {
            (true, _) => "All",
            (_, true) => "Owned",
            _ => "None",
        };
        let read = if has(1) {
            "FullDetails"
        } else if level == "Contributor" {
            "None"
        } else if has(FREE_BUSY_DETAILED) {
            "TimeAndSubjectAndLocation"
        } else if has(FREE_BUSY_SIMPLE) {
            "TimeOnly"
        } else {
            "None"
        };
        Self {
            create: has(0x2),
            subfolders: has(0x80),
            owner: has(0x100),
            visible: has(0x400),
            contact: has(CONTACT),
            edit: owned(0x20, 0x8),
            delete: owned(0x40, 0x10),
            read,
            level,
        }
    }

    fn shown(&self) -> String {
        let yes = |flag: bool| if flag { "true" } else { "false" };
        [
            ("t:CanCreateItems", yes(self.create)),
            ("t:CanCreateSubFolders", yes(self.subfolders)),
            ("t:IsFolderOwner", yes(self.owner)),
            ("t:IsFolderVisible", yes(self.visible)),
            ("t:IsFolderContact", yes(self.contact)),
            ("t:EditItems", self.edit),
            ("t:DeleteItems", self.delete),
            ("t:ReadItems", self.read),
            ("t:CalendarPermissionLevel", self.level),
        ]
        .iter()
        .map(|(name, value)| leaf(name, value))
        .collect()
    }
}

/// The `PermissionSet` of a calendar.
pub(crate) fn set(tenant: &Tenant, acl: &Acl) -> String {
    let mut known = String::new();
    let mut unknown = String::new();
    for (principal, mask) in acl {
        if let Principal::Orphan(name) = principal {
            unknown.push_str(&leaf("t:UnknownEntry", name));
            continue;
        }
        let user = tag("t:UserId", &user_id(tenant, principal));
        let settings = Settings::of(*mask).shown();
        known.push_str(&tag("t:CalendarPermission", &format!("{user}{settings}")));
    }
    let mut inner = tag("t:CalendarPermissions", &known);
    if !unknown.is_empty() {
        inner.push_str(&tag("t:UnknownEntries", &unknown));
    }
    tag("t:PermissionSet", &inner)
}

fn user_id(tenant: &Tenant, principal: &Principal) -> String {
    match principal {
        Principal::Default | Principal::Anonymous => {
            leaf("t:DistinguishedUser", tenant.display_name(principal))
        }
        Principal::External(name) => {
            let identity = name.strip_prefix(EXTERNAL).unwrap_or(name);
            let local = identity.to_lowercase().ends_with("@local");
            let address = if local {
                String::new()
            } else {
                format!(
                    "{}{}",
                    leaf("t:PrimarySmtpAddress", identity),
                    leaf("t:DisplayName", identity)
                )
            };
            format!("{address}{}", leaf("t:ExternalUserIdentity", identity))
        }
        _ => format!(
            "{}{}{}",
            leaf("t:SID", &tenant.sid(principal).unwrap_or_default()),
            leaf("t:PrimarySmtpAddress", tenant.address(principal)),
            leaf("t:DisplayName", tenant.display_name(principal)),
        ),
    }
}

/// Reads the list that is to replace the one of a folder: each principal once, with the mask to store.
pub(crate) fn read(
    tenant: &Tenant,
    now: std::time::Duration,
    set: &Element,
    old: &Acl,
) -> Result<Acl, EwsError> {
    if set.child("UnknownEntries").is_some() {
        return Err(EwsError::new(
            "ErrorCannotSetPermissionUnknownEntries",
            "UnknownEntries cannot be set on a permission set.",
        ));
    }
    let mut new: Acl = Vec::new();
    let list = set.child("CalendarPermissions");
    for permission in list.into_iter().flat_map(|list| &list.children) {
        let principal = principal(tenant, now, permission.child("UserId"), old)?;
        let wanted = wanted(permission)?;
        let mask = match mask_of(old, &principal) {
            // what EWS can't tell apart it leaves as it is
            Some(mask) if Settings::of(mask) == Settings::of(wanted) => mask,
            Some(mask) if level(mask) == "Editor" && level(wanted) == "Editor" => {
                wanted | mask & rights::FLAGS
            }
            _ => wanted,
        };
        if mask_of(&new, &principal).is_some() {
            return Err(EwsError::new(
                "ErrorDuplicateUserIdsSpecified",
                "More than one permission entry in the permission set specifies the same user.",
            ));
        }
        new.push((principal, mask));
    }
    Ok(new)
}

fn wanted(permission: &Element) -> Result<u32, EwsError> {
    let wrong = || {
        EwsError::new(
            "ErrorInvalidPermissionSettings",
            "The permission settings are not valid for the permission level.",
        )
    };
    let level = permission
        .child_text("CalendarPermissionLevel")
        .unwrap_or_default();
    let given = permission.children.len() - 2;
    if level != "Custom" {
        if given > 0 {
            return Err(wrong());
        }
        return named_level(level).ok_or_else(wrong);
    }
    if given != 8 {
        return Err(wrong());
    }
    let yes = |name: &str| matches!(permission.child_text(name), Some("true" | "1"));
    let text = |name: &str| permission.child_text(name).unwrap_or_default();
    let mut mask = 0;
    for (name, bits) in [
        ("CanCreateItems", 0x2),
        ("CanCreateSubFolders", 0x80),
        ("IsFolderOwner", 0x100),
        ("IsFolderVisible", 0x400),
        ("IsFolderContact", CONTACT),
    ] {
        mask |= if yes(name) { bits } else { 0 };
    }
    for (name, all, own) in [
        ("EditItems", 0x20 | 0x8, 0x8),
        ("DeleteItems", 0x40 | 0x10, 0x10),
    ] {
        mask |= match text(name) {
            "All" => all,
            "Owned" => own,
            _ => 0,
        };
    }
    mask |= match text("ReadItems") {
        "FullDetails" => 1 | FREE_BUSY,
        "TimeAndSubjectAndLocation" => FREE_BUSY,
        "TimeOnly" => FREE_BUSY_SIMPLE,
        _ => 0,
    };
    Ok(mask)
}

/// What is stored for a level; rights bring those of free and busy times along, as with the cmdlets.
fn named_level(level: &str) -> Option<u32> {
    match level {
        "None" => Some(0),
        "FreeBusyTimeOnly" => Some(FREE_BUSY_SIMPLE),
        "FreeBusyTimeAndSubjectAndLocation" => Some(FREE_BUSY),
        _ => {
            let (_, cmdlet, _) = LEVELS.iter().find(|(name, ..)| *name == level)?;
            rights::parse(&[cmdlet]).ok()
        }
    }
}

fn principal(
    tenant: &Tenant,
    now: std::time::Duration,
    user: Option<&Element>,
    old: &Acl,
) -> Result<Principal, EwsError> {
    let bad = || EwsError::new("ErrorInvalidUserInfo", "The user information is invalid.");
    let missing = || {
        EwsError::new(
            "ErrorMissingUserIdInformation",
            "The user ID information is missing: a SID, a primary SMTP address or a distinguished user is needed.",
        )
    };
    let user = user.ok_or_else(missing)?;
    let text = |name: &str| user.child_text(name).filter(|text| !text.is_empty());
    if let Some(distinguished) = text("DistinguishedUser") {
        if user.children.len() > 1 {
            return Err(bad());
        }
        return Ok(match distinguished {
            "Default" => Principal::Default,
            _ => Principal::Anonymous,
        });
    }
    if let Some(identity) = text("ExternalUserIdentity") {
        let external = Principal::External(format!("{EXTERNAL}{identity}").into());
        if mask_of(old, &external).is_some() {
            return Ok(external);
        }
        return Err(EwsError::new(
            "ErrorPermissionNotAllowedByPolicy",
            "The sharing policy doesn't allow a permission for this external user.",
        ));
    }
    let by_sid = match text("SID") {
        None => None,
        Some(sid) => Some(tenant.by_sid(sid).ok_or_else(|| {
            EwsError::new(
                "ErrorInvalidUserSid",
                "The user SID is invalid or isn't known.",
            )
        })?),
    };
    let by_address = match text("PrimarySmtpAddress") {
        None => None,
        Some(address) => Some(match tenant.by_address(address) {
            Some(Object::User(at)) => Principal::User(at),
            Some(Object::Group(at)) => Principal::Group(at),
            _ => return Err(bad()),
        }),
    };
    let principal = match (by_sid, by_address) {
        (Some(sid), Some(address)) if sid != address => return Err(bad()),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return Err(missing()),
    };
    let may_hold = match principal {
        Principal::User(at) => tenant.users[at]
            .mailbox_at(Side::OnPremises)
            .is_some_and(|mailbox| mailbox.is_there(now)),
        Principal::Group(at) => {
            tenant.may_hold_rights(at) && tenant.is_visible(at, Place::Controller(0), now)
        }
        _ => true,
    };
    if may_hold || mask_of(old, &principal).is_some() {
        Ok(principal)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::{LEVELS, Settings, named_level};
    use crate::rights;

    #[test]
    fn levels_read_back_as_they_were_written() {
        let free = [
            "None",
            "FreeBusyTimeOnly",
            "FreeBusyTimeAndSubjectAndLocation",
        ];
        let levels = LEVELS.iter().map(|(level, ..)| *level).chain(free);
        for level in levels {
            let mask = named_level(level).unwrap();
            assert_eq!(Settings::of(mask).level, level);
        }
        assert_eq!(named_level("Custom"), None);
    }

    #[test]
    fn masks_that_cmdlets_call_a_role_may_be_custom() {
        for (mask, level, read) in [
            (1051, "Author", "FullDetails"),
            (7195, "Author", "FullDetails"),
            (7195 | 0x200, "Custom", "FullDetails"),
            (2043 & !0x200, "Owner", "FullDetails"),
            (0x400, "None", "None"),
            (0x600, "None", "None"),
            (0x400 | 0x800, "Custom", "TimeOnly"),
            (1026, "Contributor", "None"),
            (1026 | 0x1800, "Contributor", "None"),
            (0x2 | 0x1800, "Custom", "TimeAndSubjectAndLocation"),
            (2048, "FreeBusyTimeOnly", "TimeOnly"),
            (
                0x1800,
                "FreeBusyTimeAndSubjectAndLocation",
                "TimeAndSubjectAndLocation",
            ),
        ] {
            let settings = Settings::of(mask);
            assert_eq!((settings.level, settings.read), (level, read), "{mask}");
        }
        assert_eq!(rights::names(7195 | 0x200), ["Author"]);
    }
}
