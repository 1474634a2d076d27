//! Answers, read within bounds and held against what was asked. Pure.
//!
//! An answer says neither which request it belongs to nor which mailbox an item is of: the operation must be the one that was
//! asked for, and there must be one item for each mailbox, which are then taken in order.

use std::time::Duration;

use calgrant_domain::permission_list::{
    Entry, Extent, Flags, Identity, Level, PermissionList, ReadExtent,
};

use crate::{
    transport::http::bounded,
    xml::{Element, Ns, XmlError},
};

/// A server's own words for what went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fault {
    /// Its code; ours, in lower case, where the answer is none.
    pub(crate) code: String,
    /// Its text.
    pub(crate) text: String,
    /// How long it wants to be left alone.
    pub(crate) back_off: Option<Duration>,
    /// What the code hides.
    pub(crate) inner: String,
}

impl Fault {
    /// An answer that isn't one.
    pub(crate) fn nonsense(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
            ..Self::default()
        }
    }
}

/// A folder, as far as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Folder {
    /// Its id.
    pub(crate) id: String,
    /// The version of it that was read.
    pub(crate) change_key: String,
    /// What it is called in its mailbox.
    pub(crate) name: String,
    /// Its list, if it came.
    pub(crate) list: Option<PermissionList>,
}

/// An item of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventId {
    /// Its id.
    pub(crate) id: String,
    /// The version of it.
    pub(crate) change_key: String,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Folders, and their names or lists.
    GetFolder,
    /// A list to be written.
    UpdateFolder,
    /// An item to be made.
    CreateItem,
    /// An item to be deleted.
    DeleteItem,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::GetFolder => "GetFolder",
            Self::UpdateFolder => "UpdateFolder",
            Self::CreateItem => "CreateItem",
            Self::DeleteItem => "DeleteItem",
        }
    }
}

/// What is expected of an answer.
#[derive(Debug)]
pub(crate) struct Expected<T> {
    /// To what it is an answer.
    pub(crate) operation: Operation,
    /// How many items it has.
    pub(crate) count: usize,
    /// Reads an item that went well.
    pub(crate) item: fn(&Element) -> Result<T, Fault>,
}

// Whatever T is: only a function that gives one is in it.
impl<T> Clone for Expected<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Expected<T> {}

impl Expected<Folder> {
    /// So many folders, read or written.
    pub(crate) fn folders(operation: Operation, count: usize) -> Self {
        Self {
            operation,
            count,
            item: calendar_folder,
        }
    }
}

impl Expected<EventId> {
    /// One item that was made.
    pub(crate) fn created() -> Self {
        Self {
            operation: Operation::CreateItem,
            count: 1,
            item: event,
        }
    }
}

impl Expected<()> {
    /// One item that is gone.
    pub(crate) fn deleted() -> Self {
        Self {
            operation: Operation::DeleteItem,
            count: 1,
            item: |_| Ok(()),
        }
    }
}

/// Reads an answer, whatever its HTTP status: one item for each that was asked about, in their order.
///
/// # Errors
/// The answer as a whole is a fault, or none.
pub(crate) fn read<T>(body: &[u8], expected: Expected<T>) -> Result<Vec<Result<T, Fault>>, Fault> {
    let count = expected.count;
    let root = Element::parse(body).map_err(|error| {
        let code = match error {
            XmlError::Empty => "empty_answer",
            XmlError::Nul => "nul_answer",
            XmlError::Html => "html_page",
            XmlError::NotUtf8 | XmlError::NotXml(_) => "not_xml",
            XmlError::DocType => "xml_with_document_type",
            XmlError::TooMuch(_) => "too_much_xml",
        };
        Fault::nonsense(code, error.to_string())
    })?;
    let body = root
        .is(Ns::Soap, "Envelope")
        .then(|| root.child(Ns::Soap, "Body"))
        .flatten()
        .ok_or_else(|| Fault::nonsense("not_soap", "the answer is no SOAP envelope with a body"))?;
    if let Some(fault) = body.child(Ns::Soap, "Fault") {
        return Err(soap_fault(fault));
    }
    let [answer] = body.children.as_slice() else {
        return Err(Fault::nonsense(
            "other_answer",
            format!("the body holds {} answers", body.children.len()),
        ));
    };
    let name = expected.operation.name();
    if !answer.is(Ns::Messages, &format!("{name}Response")) {
        let shown: String = answer.name.chars().take(60).collect();
        return Err(Fault::nonsense(
            "other_answer",
            format!("{name} was asked, and {shown} answered"),
        ));
    }
    let message = format!("{name}ResponseMessage");
    let messages: &[Element] = answer
        .child(Ns::Messages, "ResponseMessages")
        .map_or(&[], |messages| &messages.children);
    if messages.len() != count || !messages.iter().all(|one| one.is(Ns::Messages, &message)) {
        return Err(Fault::nonsense(
            "other_count",
            format!(
                "{count} items were asked about, and {} answered",
                messages.len()
            ),
        ));
    }
    let items = messages.iter().map(|message| {
        went_well(message)?;
        (expected.item)(message)
    });
    Ok(items.collect())
}

fn went_well(message: &Element) -> Result<(), Fault> {
    let code = message
        .child_text(Ns::Messages, "ResponseCode")
        .unwrap_or_default();
    let class = message.attribute("ResponseClass").unwrap_or_default();
    if code != "NoError" || class == "Error" {
        if code.is_empty() || code == "NoError" {
            return Err(Fault::nonsense(
                "no_code",
                format!("an item of class {class:?} with the code {code:?}"),
            ));
        }
        let text = message
            .child_text(Ns::Messages, "MessageText")
            .unwrap_or_default();
        return Err(with_values(
            code,
            text,
            message.child(Ns::Messages, "MessageXml"),
        ));
    }
    Ok(())
}

fn event(message: &Element) -> Result<EventId, Fault> {
    let id = message
        .child(Ns::Messages, "Items")
        .and_then(|items| items.child(Ns::Types, "CalendarItem"))
        .and_then(|item| item.child(Ns::Types, "ItemId"));
    let attribute = |name| {
        let value = id.and_then(|id| id.attribute(name));
        value.unwrap_or_default().to_owned()
    };
    let event = EventId {
        id: attribute("Id"),
        change_key: attribute("ChangeKey"),
    };
    if event.id.is_empty() {
        return Err(Fault::nonsense(
            "no_item_id",
            "an item was made, and its id didn't come",
        ));
    }
    Ok(event)
}

fn calendar_folder(message: &Element) -> Result<Folder, Fault> {
    let folders = message.child(Ns::Messages, "Folders");
    let [only] = folders.map_or(&[][..], |folders| &folders.children) else {
        return Err(Fault::nonsense(
            "no_folder",
            "an item without its one folder",
        ));
    };
    if !only.is(Ns::Types, "CalendarFolder") {
        return Err(Fault::nonsense(
            "no_calendar_folder",
            "the folder is not a calendar",
        ));
    }
    folder(only)
}

fn folder(element: &Element) -> Result<Folder, Fault> {
    let id = element.child(Ns::Types, "FolderId");
    let attribute = |name| {
        let value = id.and_then(|id| id.attribute(name));
        value.unwrap_or_default().to_owned()
    };
    let list = element.child(Ns::Types, "PermissionSet").map(list);
    let folder = Folder {
        id: attribute("Id"),
        change_key: attribute("ChangeKey"),
        name: element
            .child(Ns::Types, "DisplayName")
            .map(|name| name.text.clone())
            .unwrap_or_default(),
        list: list.transpose()?,
    };
    if folder.id.is_empty() {
        return Err(Fault::nonsense("no_folder_id", "a folder without its id"));
    }
    Ok(folder)
}

/// Reads a list. Nothing in it is passed over: what isn't understood makes the whole unread.
pub(crate) fn list(set: &Element) -> Result<PermissionList, Fault> {
    let mut list = PermissionList::default();
    for part in &set.children {
        if part.is(Ns::Types, "CalendarPermissions") {
            for one in &part.children {
                list.entries.push(entry(one)?);
            }
        } else if part.is(Ns::Types, "UnknownEntries") {
            let entries = part.children.iter().map(|one| one.text.trim().to_owned());
            list.unknown.extend(entries);
        } else {
            return Err(unread(
                "a list with a part that calendars' lists don't have",
            ));
        }
    }
    Ok(list)
}

fn unread(what: &str) -> Fault {
    Fault::nonsense("unread_list", what)
}

fn entry(element: &Element) -> Result<Entry, Fault> {
    if !element.is(Ns::Types, "CalendarPermission") {
        return Err(unread("a list with something in it that is no entry"));
    }
    let text = |name: &str| {
        element
            .child_text(Ns::Types, name)
            .ok_or_else(|| unread("an entry without all its flags"))
    };
    let truth = |name: &str| match text(name)? {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(unread("a flag that is neither true nor false")),
    };
    let extent = |name: &str| {
        Extent::from_name(text(name)?).ok_or_else(|| unread("an extent that has no such name"))
    };
    Level::from_name(text("CalendarPermissionLevel")?)
        .ok_or_else(|| unread("a level that has no such name"))?;
    Ok(Entry {
        identity: identity(
            element
                .child(Ns::Types, "UserId")
                .ok_or_else(|| unread("an entry that is nobody's"))?,
        )?,
        flags: Flags {
            create_items: truth("CanCreateItems")?,
            create_subfolders: truth("CanCreateSubFolders")?,
            owner: truth("IsFolderOwner")?,
            visible: truth("IsFolderVisible")?,
            contact: truth("IsFolderContact")?,
            edit: extent("EditItems")?,
            delete: extent("DeleteItems")?,
            read: ReadExtent::from_name(text("ReadItems")?)
                .ok_or_else(|| unread("a way to read that has no such name"))?,
        },
    })
}

fn identity(user: &Element) -> Result<Identity, Fault> {
    let text = |name: &str| {
        let text = user.child_text(Ns::Types, name);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    match text("DistinguishedUser").as_deref() {
        Some("Default") => return Ok(Identity::Default),
        Some("Anonymous") => return Ok(Identity::Anonymous),
        Some(_) => return Err(unread("a special user that has no such name")),
        None => {}
    }
    let (address, name) = (
        text("PrimarySmtpAddress"),
        text("DisplayName").unwrap_or_default(),
    );
    if let Some(identity) = text("ExternalUserIdentity") {
        return Ok(Identity::External {
            identity,
            address,
            name,
        });
    }
    // One that isn't an identifier names nobody.
    let sid = text("SID").and_then(|sid| sid.parse().ok());
    if sid.is_none() && address.is_none() && name.is_empty() {
        return Ok(Identity::Unnamed);
    }
    Ok(Identity::Principal { sid, address, name })
}

/// Codes stand in the detail; where there is none, in the fault code.
fn soap_fault(fault: &Element) -> Fault {
    // They are in no namespace; servers that put them in SOAP's are understood too.
    let part = |name: &str| {
        let found = fault.children.iter().find(|child| child.name == name);
        found.map(|child| child.text.trim()).unwrap_or_default()
    };
    let detail = fault.children.iter().find(|child| child.name == "detail");
    let inside = |name: &str| {
        let found = detail.and_then(|detail| detail.child_text(Ns::Errors, name));
        found.filter(|text| !text.is_empty())
    };
    let fault_code = part("faultcode");
    let bare = fault_code.rsplit(':').next().unwrap_or_default();
    let code = inside("ResponseCode").unwrap_or(if bare.starts_with("Error") {
        bare
    } else {
        match bare {
            "Client" => "soap_client",
            _ => "soap_server",
        }
    });
    let text = inside("Message").unwrap_or_else(|| part("faultstring"));
    with_values(
        code,
        text,
        detail.and_then(|detail| detail.child(Ns::Types, "MessageXml")),
    )
}

fn with_values(code: &str, text: &str, values: Option<&Element>) -> Fault {
    let value = |name: &str| {
        let values = values.map_or(&[][..], |values| &values.children);
        let found = values
            .iter()
            .find(|value| value.is(Ns::Types, "Value") && value.attribute("Name") == Some(name));
        found.map(|value| value.text.trim())
    };
    let back_off = value("BackOffMilliseconds").and_then(|ms| ms.parse().ok());
    Fault {
        code: code.chars().take(80).collect(),
        text: text.to_owned(),
        back_off: back_off.map(|ms| bounded(Duration::from_millis(ms))),
        inner: value("InnerErrorResponseCode")
            .unwrap_or_default()
            .to_owned(),
    }
}
