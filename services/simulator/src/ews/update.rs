//! `UpdateFolder`: replaces permission lists.

use crate::calendar::{Acl, Folder, Principal, mask_of};
use crate::ews::access::{Session, Spotted};
use crate::ews::error::EwsError;
use crate::ews::folder::folder_id;
use crate::ews::ids::{self, Spot};
use crate::ews::permission;
use crate::writer::Writer;
use crate::xml::{Element, tag};

/// One `FolderChange`.
pub(crate) fn change(
    session: &Session<'_>,
    _: &Element,
    change: &Element,
) -> Result<String, EwsError> {
    let [id, updates] = change.children.as_slice() else {
        return Err(EwsError::bad_id());
    };
    let at = session.folder(id)?;
    let mut folders = at.mailbox.folders();
    let Spot::Calendar(number) = at.spot else {
        return not_a_calendar(updates);
    };
    let folder = folders.get_mut(number).ok_or_else(EwsError::no_folder)?;
    session.may_grant(session.mask(at.user, Some(folder)))?;
    if !session.world.dials().change_keys_ignored {
        let current = ids::change_key(at.mailbox, Some(folder));
        ids::check_change_key(id.attribute("ChangeKey"), &current)?;
    }
    // all of them are looked at before the first is carried out
    let lists = updates
        .children
        .iter()
        .map(|update| list(session, update, folder.acl()))
        .collect::<Result<Vec<Acl>, _>>()?;
    for new in lists {
        replace(session, &at, number, folder, &new);
    }
    let id = folder_id("t:FolderId", &at, Some(folder));
    Ok(tag("m:Folders", &tag("t:CalendarFolder", &id)))
}

fn not_a_calendar(updates: &Element) -> Result<String, EwsError> {
    let calendar = |update: &Element| update.child("CalendarFolder").is_some();
    Err(if updates.children.iter().any(calendar) {
        EwsError::new(
            "ErrorCannotSetCalendarPermissionOnNonCalendarFolder",
            "Calendar permissions can be set on calendar folders only.",
        )
    } else {
        EwsError::access_denied()
    })
}

/// The list one update asks for.
fn list(session: &Session<'_>, update: &Element, old: &Acl) -> Result<Acl, EwsError> {
    let invalid = |code: &'static str, text: &str| Err(EwsError::new(code, text));
    let field = update
        .children
        .first()
        .and_then(|path| path.attribute("FieldURI"));
    if field != Some("folder:PermissionSet") {
        return invalid(
            "ErrorInvalidPropertySet",
            "The property can't be set, or isn't served here.",
        );
    }
    match update.name.as_str() {
        "DeleteFolderField" => return Ok(Vec::new()),
        "AppendToFolderField" => {
            return invalid(
                "ErrorInvalidPropertyAppend",
                "The property doesn't support appending.",
            );
        }
        _ => {}
    }
    let Some(folder) = update.children.get(1) else {
        return Ok(Vec::new());
    };
    let [set] = folder.children.as_slice() else {
        return invalid(
            "ErrorIncorrectUpdatePropertyCount",
            "A set or append update must hold exactly one property.",
        );
    };
    if set.name != "PermissionSet" {
        return invalid(
            "ErrorUpdatePropertyMismatch",
            "The property of the update isn't the one it names.",
        );
    }
    if folder.name != "CalendarFolder" {
        return invalid(
            "ErrorCannotSetNonCalendarPermissionOnCalendarFolder",
            "On calendar folders, calendar permissions must be set.",
        );
    }
    permission::read(session.tenant, session.world.clock.now(), set, old)
}

/// Makes a folder's list this one: who isn't in it loses the entry, but those for everybody stay, with no rights.
fn replace(session: &Session<'_>, at: &Spotted<'_>, number: usize, folder: &mut Folder, new: &Acl) {
    let writer = Writer {
        world: session.world,
        tenant: session.tenant,
        app: &session.account.app,
        mailbox: at.mailbox,
    };
    let old: Acl = folder.acl().clone();
    folder.touch();
    let mut seen: Vec<&Principal> = Vec::new();
    for (principal, mask) in &old {
        let again = seen.contains(&principal);
        seen.push(principal);
        let wanted = mask_of(new, principal).filter(|_| !again);
        let special = matches!(principal, Principal::Default | Principal::Anonymous);
        match wanted {
            Some(wanted) if wanted == *mask => {}
            None if special && *mask == 0 => {}
            None if special => writer.write((at.user, number), folder, principal, Some(0)),
            None if again => folder.drop_duplicate(principal),
            wanted => writer.write((at.user, number), folder, principal, wanted),
        }
    }
    for (principal, mask) in new {
        if !seen.contains(&principal) {
            writer.write((at.user, number), folder, principal, Some(*mask));
        }
    }
}
