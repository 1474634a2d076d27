//! Folder rights as MAPI bits, and the names the cmdlets use for them.

const ROLES: [(&str, u32); 10] = [
    ("Owner", 2043),
    ("PublishingEditor", 1275),
    ("Editor", 1147),
    ("PublishingAuthor", 1179),
    ("Author", AUTHOR),
    ("NonEditingAuthor", 1043),
    ("Reviewer", 1025),
    ("Contributor", 1026),
    ("AvailabilityOnly", 2048),
    ("LimitedDetails", FREE_BUSY),
];

const GRANULAR: [(&str, u32); 10] = [
    ("ReadItems", 0x1),
    ("CreateItems", 0x2),
    ("EditOwnedItems", 0x8),
    ("DeleteOwnedItems", 0x10),
    ("EditAllItems", 0x20 | 0x8),
    ("DeleteAllItems", 0x40 | 0x10),
    ("CreateSubfolders", 0x80),
    ("FolderOwner", 0x100),
    ("FolderContact", CONTACT),
    ("FolderVisible", 0x400),
];

const CONTACT: u32 = 0x200;
const FREE_BUSY: u32 = 0x1800;
/// Not rights: the sharing flags of an entry, kept beside them.
const DELEGATE: u32 = 0x1_0000;
const PRIVATE_ITEMS: u32 = 0x2_0000;
pub(crate) const FLAGS: u32 = DELEGATE | PRIVATE_ITEMS;
/// The bits of the Author role.
pub(crate) const AUTHOR: u32 = 1051;
/// The names of every role, mightiest first; for generators and messages.
pub(crate) const ROLE_NAMES: [&str; 10] = [
    "Owner",
    "PublishingEditor",
    "Editor",
    "PublishingAuthor",
    "Author",
    "NonEditingAuthor",
    "Reviewer",
    "Contributor",
    "AvailabilityOnly",
    "LimitedDetails",
];

/// Reads right names as a cmdlet takes them: one role alone, or granular rights.
pub(crate) fn parse<S: AsRef<str>>(names: &[S]) -> Result<u32, String> {
    if names.is_empty() {
        return Err("AccessRights is empty".to_owned());
    }
    let mut mask = 0;
    for name in names {
        let name = name.as_ref().trim();
        let role = ROLES
            .iter()
            .find(|(role, _)| role.eq_ignore_ascii_case(name));
        let single = role.is_some() || name.eq_ignore_ascii_case("None");
        if single && names.len() > 1 {
            return Err(format!(
                "the role {name} can't be combined with other access rights"
            ));
        }
        if let Some((_, bits)) = role {
            mask |= bits;
        } else if let Some((_, bits)) = GRANULAR
            .iter()
            .find(|(right, _)| right.eq_ignore_ascii_case(name))
        {
            mask |= bits;
        } else if !single {
            return Err(format!("{name} isn't an access right"));
        }
    }
    Ok(stored(mask))
}

/// What a calendar folder stores for a mask: rights bring the two free/busy bits along.
fn stored(mask: u32) -> u32 {
    if mask & !FREE_BUSY == 0 {
        mask
    } else {
        mask | FREE_BUSY
    }
}

/// The names a read shows for a stored mask.
pub(crate) fn names(mask: u32) -> Vec<&'static str> {
    let plain = mask & !FREE_BUSY & !FLAGS;
    if plain == 0 {
        return vec![match mask & FREE_BUSY {
            0 => "None",
            2048 => "AvailabilityOnly",
            _ => "LimitedDetails",
        }];
    }
    for (name, bits) in ROLES {
        if plain | CONTACT == bits | CONTACT {
            return vec![name];
        }
    }
    let mut left = plain;
    let mut found = Vec::new();
    // the "all" rights hold the "owned" ones, so they go first
    for pass in [true, false] {
        for (name, bits) in GRANULAR {
            if name.contains("All") == pass && left & bits == bits {
                found.push(name);
                left &= !bits;
            }
        }
    }
    found
}

/// Reads `SharingPermissionFlags`.
pub(crate) fn parse_flags<S: AsRef<str>>(names: &[S]) -> Result<u32, String> {
    let parts = names.iter().flat_map(|name| name.as_ref().split(','));
    let flags = parts.map(str::trim).try_fold(0, |flags, name| {
        let flag = match name.to_lowercase().as_str() {
            "none" => 0,
            "delegate" => DELEGATE,
            "canviewprivateitems" => PRIVATE_ITEMS,
            _ => return Err(format!("{name} isn't a sharing permission flag")),
        };
        Ok::<_, String>(flags | flag)
    })?;
    if flags == PRIVATE_ITEMS {
        return Err("CanViewPrivateItems is valid together with Delegate only".to_owned());
    }
    Ok(flags)
}

/// The sharing flags of an entry as a read shows them.
pub(crate) fn flag_names(mask: u32) -> Option<&'static str> {
    match mask & FLAGS {
        0 => None,
        DELEGATE => Some("Delegate"),
        PRIVATE_ITEMS => Some("CanViewPrivateItems"),
        _ => Some("Delegate, CanViewPrivateItems"),
    }
}

/// What a folder that is no calendar stores for a mask.
pub(crate) fn without_free_busy(mask: u32) -> u32 {
    mask & !FREE_BUSY
}

/// Whether the mask holds everything an Author has.
pub(crate) fn at_least_author(mask: u32) -> bool {
    mask & AUTHOR == AUTHOR
}

/// Whether the mask reads as the Author role.
pub(crate) fn exactly_author(mask: u32) -> bool {
    (mask & !FREE_BUSY & !FLAGS) | CONTACT == AUTHOR | CONTACT
}

#[cfg(test)]
mod tests {
    use super::{ROLE_NAMES, exactly_author, flag_names, names, parse, parse_flags};

    #[test]
    fn every_role_reads_back_as_itself() {
        for role in ROLE_NAMES {
            assert_eq!(parse(&[role]).map(names), Ok(vec![role]));
        }
        assert_eq!(parse(&["author"]), Ok(7195));
        assert!(exactly_author(7195));
    }

    #[test]
    fn flags_are_not_rights() {
        let delegate = parse(&["Editor"]).unwrap() | parse_flags(&["Delegate"]).unwrap();
        assert_eq!(names(delegate), ["Editor"]);
        assert_eq!(flag_names(delegate), Some("Delegate"));
        assert!(parse_flags(&["Everything"]).is_err());
        assert_eq!(names(1051), names(1051 | 0x200));
    }

    #[test]
    fn a_role_stands_alone() {
        assert!(parse(&["Author", "FolderVisible"]).is_err());
        assert!(parse(&["Autor"]).is_err());
        assert_eq!(
            parse(&["ReadItems", "CreateItems"]).map(names),
            Ok(vec!["ReadItems", "CreateItems"])
        );
    }
}
