//! A small part of XML Schema: elements in their order, with their attributes and texts, as compact tables.

use crate::ews::{MESSAGES, TYPES};
use crate::xml::Element;

/// What an element must look like.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) attributes: &'static [Attribute],
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    Text(Value),
    /// Elements, in this order.
    Sequence(&'static [Part]),
    /// Whatever it is.
    Anything,
}

/// A place of a sequence: so many of one of these.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) of: &'static [Named],
}

/// An element by its name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) ns: Ns,
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ns {
    M,
    T,
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) value: Value,
}

/// What a text may be.
#[derive(Debug)]
pub(crate) enum Value {
    Any,
    NotEmpty,
    Boolean,
    Whole,
    Time,
    OneOf(&'static [&'static str]),
    /// Begins with one of these, or is one of the others.
    FieldUri,
}

/// What is wrong, and where, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) text: String,
    pub(crate) at: usize,
}

impl Ns {
    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::M => MESSAGES,
            Self::T => TYPES,
        }
    }
}

const FOLDER_FIELDS: [&str; 17] = [
    "folder:FolderId",
    "folder:ParentFolderId",
    "folder:DisplayName",
    "folder:UnreadCount",
    "folder:TotalCount",
    "folder:ChildFolderCount",
    "folder:FolderClass",
    "folder:SearchParameters",
    "folder:ManagedFolderInformation",
    "folder:PermissionSet",
    "folder:EffectiveRights",
    "folder:SharingEffectiveRights",
    "folder:DistinguishedFolderId",
    "folder:PolicyTag",
    "folder:ArchiveTag",
    "folder:ReplicaList",
    "folder:UnClutteredViewFolderEntryId",
];

const OTHER_FIELDS: [&str; 12] = [
    "item:",
    "message:",
    "meeting:",
    "meetingRequest:",
    "calendar:",
    "task:",
    "contacts:",
    "distributionlist:",
    "postitem:",
    "conversation:",
    "person:",
    "persona:",
];

impl Value {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::NotEmpty => !text.is_empty(),
            Self::Boolean => matches!(text.trim(), "true" | "false" | "1" | "0"),
            Self::Whole => text.trim().parse::<i64>().is_ok(),
            Self::Time => {
                let text = text.trim();
                text.len() >= 19
                    && text.as_bytes()[10] == b'T'
                    && text.starts_with(|c: char| c.is_ascii_digit())
            }
            Self::OneOf(known) => known.contains(&text.trim()),
            Self::FieldUri => {
                FOLDER_FIELDS.contains(&text)
                    || OTHER_FIELDS.iter().any(|start| {
                        text.strip_prefix(start)
                            .is_some_and(|rest| !rest.is_empty())
                    })
            }
        }
    }
}

fn quoted(element: &Element) -> String {
    format!("'{}' in namespace '{}'", element.name, element.ns)
}

fn expected(of: &[Named]) -> String {
    let name = |named: &Named| format!("'{}' in namespace '{}'", named.name, named.ns.uri());
    of.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Checks an element and everything in it.
pub(crate) fn check(element: &Element, shape: &Shape) -> Result<(), Violation> {
    let wrong = |text: String| {
        Err(Violation {
            text,
            at: element.at,
        })
    };
    for attribute in shape.attributes {
        match element.attribute(attribute.name) {
            None if attribute.required => {
                return wrong(format!(
                    "The required attribute '{}' is missing.",
                    attribute.name
                ));
            }
            Some(value) if !attribute.value.accepts(value) => {
                return wrong(format!(
                    "The '{}' attribute is invalid - The value '{value}' is invalid according to its datatype.",
                    attribute.name
                ));
            }
            _ => {}
        }
    }
    let known = |name: &str| {
        shape
            .attributes
            .iter()
            .any(|attribute| attribute.name == name)
    };
    if let Some((name, _)) = element.attributes.iter().find(|(name, _)| !known(name))
        && !matches!(shape.content, Content::Anything)
    {
        return wrong(format!("The '{name}' attribute is not declared."));
    }
    match &shape.content {
        Content::Anything => Ok(()),
        Content::Empty if element.children.is_empty() && element.text.trim().is_empty() => Ok(()),
        Content::Empty => wrong(format!(
            "The element {} cannot contain text or child elements.",
            quoted(element)
        )),
        Content::Text(value) => {
            if let Some(child) = element.children.first() {
                let text = format!(
                    "The element {} cannot contain child element {} because the parent element's content model is text only.",
                    quoted(element),
                    quoted(child)
                );
                return Err(Violation { text, at: child.at });
            }
            if value.accepts(&element.text) {
                return Ok(());
            }
            wrong(format!(
                "The '{}:{}' element is invalid - The value '{}' is invalid according to its datatype.",
                element.ns, element.name, element.text
            ))
        }
        Content::Sequence(parts) => sequence(element, parts),
    }
}

fn sequence(element: &Element, parts: &[Part]) -> Result<(), Violation> {
    if !element.text.trim().is_empty() {
        let text = format!("The element {} cannot contain text.", quoted(element));
        return Err(Violation {
            text,
            at: element.at,
        });
    }
    let mut children = element.children.iter().peekable();
    let mut open: &[Named] = &[];
    for part in parts {
        let mut count = 0;
        open = part.of;
        while count < part.most
            && let Some(child) = children.peek()
            && let Some(named) = find(part.of, child)
        {
            check(child, named.shape)?;
            children.next();
            count += 1;
        }
        if count < part.least {
            let expected = expected(part.of);
            let (text, at) = match children.peek() {
                Some(child) => (invalid_child(element, child, &expected), child.at),
                None => (
                    format!(
                        "The element {} has incomplete content. List of possible elements expected: {expected}.",
                        quoted(element)
                    ),
                    element.at,
                ),
            };
            return Err(Violation { text, at });
        }
    }
    match children.next() {
        None => Ok(()),
        Some(child) => Err(Violation {
            text: invalid_child(element, child, &expected(open)),
            at: child.at,
        }),
    }
}

fn invalid_child(element: &Element, child: &Element, expected: &str) -> String {
    format!(
        "The element {} has invalid child element {}. List of possible elements expected: {expected}.",
        quoted(element),
        quoted(child)
    )
}

fn find(of: &'static [Named], child: &Element) -> Option<&'static Named> {
    of.iter().find(|named| child.is(named.ns.uri(), named.name))
}
