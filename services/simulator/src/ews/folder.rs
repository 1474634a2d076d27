//! `GetFolder` and `FindFolder`.

use crate::calendar::Folder;
use crate::ews::access::{Session, Spotted, effective, held};
use crate::ews::error::EwsError;
use crate::ews::ids::{self, Spot};
use crate::ews::permission;
use crate::writer::user_edits;
use crate::xml::{Element, leaf, tag, with};

/// The properties a request asks for.
struct Wanted<'a> {
    base: &'a str,
    more: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(shape: Option<&'a Element>) -> Self {
        let paths = shape.and_then(|shape| shape.child("AdditionalProperties"));
        let paths = paths.map_or(&[][..], |paths| &paths.children);
        Self {
            base: shape
                .and_then(|shape| shape.child_text("BaseShape"))
                .unwrap_or_default(),
            more: paths
                .iter()
                .filter_map(|path| path.attribute("FieldURI"))
                .collect(),
        }
    }

    /// Whether a property is wanted that these shapes have of themselves.
    fn wants(&self, property: &str, by: &[&str]) -> bool {
        by.contains(&self.base) || self.more.contains(&property)
    }
}

/// A folder's id and change key.
pub(crate) fn folder_id(name: &str, at: &Spotted<'_>, folder: Option<&Folder>) -> String {
    let (id, key) = (
        ids::folder(at.mailbox, at.spot),
        ids::change_key(at.mailbox, folder),
    );
    with(name, &[("Id", &id), ("ChangeKey", &key)], "")
}

/// The path of a calendar without its last name.
fn parent_path(path: &str) -> &str {
    path.rsplit_once('\\').map_or("", |(parent, _)| parent)
}

fn parent(folders: &[Folder], spot: Spot) -> Spot {
    match spot {
        Spot::Top | Spot::Root => Spot::Root,
        Spot::Calendar(number) => {
            let path = folders.get(number).map_or("", |folder| &folder.path);
            let above = parent_path(path);
            let found = folders
                .iter()
                .position(|folder| !folder.is_root() && folder.path == above);
            found.map_or(Spot::Top, Spot::Calendar)
        }
    }
}

/// The calendars right below a folder, or all of them.
fn below(folders: &[Folder], spot: Spot, deep: bool) -> Vec<Spot> {
    if spot == Spot::Root && !deep {
        return vec![Spot::Top];
    }
    let calendars = folders
        .iter()
        .enumerate()
        .filter(|(_, folder)| !folder.is_root());
    let calendars = calendars.map(|(number, _)| Spot::Calendar(number));
    let inside = |candidate: &Spot| {
        let mut at = *candidate;
        loop {
            let above = parent(folders, at);
            if above == spot {
                return true;
            }
            if !deep || above == Spot::Root {
                return false;
            }
            at = above;
        }
    };
    let top = (spot == Spot::Root).then_some(Spot::Top);
    top.into_iter()
        .chain(calendars.filter(|spot| inside(spot)))
        .collect()
}

fn show(
    session: &Session<'_>,
    at: &Spotted<'_>,
    folders: &[Folder],
    wanted: &Wanted<'_>,
) -> String {
    const DEFAULT: &[&str] = &["Default", "AllProperties"];
    const ALL: &[&str] = &["AllProperties"];
    let folder = held(folders, at.spot);
    let mask = session.mask(at.user, folder);
    let mut out = folder_id("t:FolderId", at, folder);
    if wanted.wants("folder:ParentFolderId", ALL) {
        let above = Spotted {
            spot: parent(folders, at.spot),
            ..*at
        };
        let held = held(folders, above.spot);
        out.push_str(&folder_id("t:ParentFolderId", &above, held));
    }
    let calendar = matches!(at.spot, Spot::Calendar(_));
    if calendar && wanted.wants("folder:FolderClass", ALL) {
        out.push_str(&leaf("t:FolderClass", "IPF.Appointment"));
    }
    if wanted.wants("folder:DisplayName", DEFAULT) {
        let name = match (at.spot, folder) {
            (Spot::Calendar(_), Some(folder)) => folder.name(),
            (Spot::Root, _) => "",
            _ => "Top of Information Store",
        };
        out.push_str(&leaf("t:DisplayName", name));
    }
    if wanted.wants("folder:TotalCount", DEFAULT) {
        let count = folder.map_or(0, |folder| folder.events.len());
        out.push_str(&leaf("t:TotalCount", &count.to_string()));
    }
    if wanted.wants("folder:ChildFolderCount", DEFAULT) {
        let count = below(folders, at.spot, false).len();
        out.push_str(&leaf("t:ChildFolderCount", &count.to_string()));
    }
    if wanted.wants("folder:EffectiveRights", ALL) {
        out.push_str(&effective(mask));
    }
    let distinguished = match at.spot {
        Spot::Calendar(0) => Some("calendar"),
        Spot::Calendar(_) => None,
        Spot::Top => Some("msgfolderroot"),
        Spot::Root => Some("root"),
    };
    if let Some(name) = distinguished
        && wanted.wants("folder:DistinguishedFolderId", ALL)
    {
        out.push_str(&leaf("t:DistinguishedFolderId", name));
    }
    // never of itself, since 2013
    if calendar
        && wanted.wants("folder:PermissionSet", &[])
        && let Some(folder) = folder
    {
        out.push_str(&permission::set(session.tenant, folder.acl()));
    }
    if !calendar && wanted.wants("folder:UnreadCount", DEFAULT) {
        out.push_str(&leaf("t:UnreadCount", "0"));
    }
    let name = if calendar {
        "t:CalendarFolder"
    } else {
        "t:Folder"
    };
    tag(name, &out)
}

/// One folder of `GetFolder`.
pub(crate) fn get(
    session: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    let wanted = Wanted::read(request.child("FolderShape"));
    let at = session.folder(id)?;
    let mut folders = at.mailbox.folders();
    let shown = show(session, &at, &folders, &wanted);
    if wanted.more.contains(&"folder:PermissionSet")
        && let Spot::Calendar(number) = at.spot
        && let Some(folder) = folders.get_mut(number)
    {
        user_edits(session.world, session.tenant, session.about(), folder);
    }
    Ok(tag("m:Folders", &shown))
}

/// One parent of `FindFolder`.
pub(crate) fn find(
    session: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    let wanted = Wanted::read(request.child("FolderShape"));
    let at = session.folder(id)?;
    if request.child("Restriction").is_some() {
        return Err(EwsError::new(
            "ErrorUnsupportedPathForQuery",
            "Restrictions of FindFolder aren't supported here.",
        ));
    }
    let view = request.child("IndexedPageFolderView");
    let number = |name: &str, default: usize| {
        let given = view.and_then(|view| view.attribute(name));
        given.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (skip, most) = (
        number("Offset", 0),
        number("MaxEntriesReturned", usize::MAX),
    );
    let folders = at.mailbox.folders();
    let deep = request.attribute("Traversal") == Some("Deep");
    let all = below(&folders, at.spot, deep);
    let page = all.iter().skip(skip).take(most);
    let shown: Vec<String> = page
        .map(|spot| show(session, &Spotted { spot: *spot, ..at }, &folders, &wanted))
        .collect();
    let end = skip + shown.len();
    Ok(with(
        "m:RootFolder",
        &[
            ("IndexedPagingOffset", &end.to_string()),
            ("TotalItemsInView", &all.len().to_string()),
            (
                "IncludesLastItemInRange",
                if end >= all.len() { "true" } else { "false" },
            ),
        ],
        &tag("t:Folders", &shown.concat()),
    ))
}
