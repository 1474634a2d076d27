//! XML as it comes from servers, read into a small tree within bounds; and text written into XML. Pure.
//!
//! Elements are known by namespace and name: prefixes are the server's own business. Neither depth nor number of
//! elements nor of attributes is up to whoever wrote the text, and there are no entities but the predefined ones, so
//! that nothing that is read costs more than in proportion to its length.

use quick_xml::{
    XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::ResolveResult,
    reader::NsReader,
};

/// Deepest nesting that is read.
const DEEPEST: usize = 64;
/// Most elements that are read.
const MOST_ELEMENTS: usize = 400_000;
/// Most attributes of one element.
const MOST_ATTRIBUTES: usize = 64;

/// The namespaces that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ns {
    /// SOAP 1.1.
    Soap,
    /// SOAP 1.2.
    Soap12,
    /// EWS messages.
    Messages,
    /// EWS types.
    Types,
    /// EWS errors.
    Errors,
    /// The remote shell.
    Shell,
    /// WS-Management.
    Wsman,
    /// WS-Management's faults.
    WsmanFault,
    /// WS-Addressing.
    Addressing,
    /// PowerShell's serialised objects.
    PowerShell,
    /// None.
    None,
    /// Any other.
    Other,
}

const NAMESPACES: &[(Ns, &str)] = &[
    (Ns::Soap, "http://schemas.xmlsoap.org/soap/envelope/"),
    (Ns::Soap12, "http://www.w3.org/2003/05/soap-envelope"),
    (
        Ns::Messages,
        "http://schemas.microsoft.com/exchange/services/2006/messages",
    ),
    (
        Ns::Types,
        "http://schemas.microsoft.com/exchange/services/2006/types",
    ),
    (
        Ns::Errors,
        "http://schemas.microsoft.com/exchange/services/2006/errors",
    ),
    (
        Ns::Shell,
        "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    ),
    (Ns::Wsman, "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"),
    (
        Ns::WsmanFault,
        "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault",
    ),
    (
        Ns::Addressing,
        "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    ),
    (
        Ns::PowerShell,
        "http://schemas.microsoft.com/powershell/2004/04",
    ),
];

impl Ns {
    fn of(resolved: &ResolveResult) -> Self {
        match resolved {
            ResolveResult::Bound(uri) => {
                let known = NAMESPACES.iter().find(|(_, known)| *known == uri.as_ref());
                known.map_or(Self::Other, |(ns, _)| *ns)
            }
            ResolveResult::Unbound => Self::None,
            ResolveResult::Unknown(_) => Self::Other,
        }
    }
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It holds NUL bytes.
    #[error("it holds NUL bytes")]
    Nul,
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It is a page for people.
    #[error("it is an HTML page")]
    Html,
    /// It isn't well-formed, or goes on after its end.
    #[error("it is not XML: {0}")]
    NotXml(String),
    /// It has a document type, with which it could define entities of its own.
    #[error("it has a document type")]
    DocType,
    /// It goes too deep, or has too many elements or attributes.
    #[error("it has more than {0}")]
    TooMuch(&'static str),
}

/// An element and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its namespace.
    pub(crate) ns: Ns,
    /// Its local name.
    pub(crate) name: String,
    /// Its attributes by local name, in order.
    pub(crate) attributes: Vec<(String, String)>,
    /// The elements in it, in order.
    pub(crate) children: Vec<Element>,
    /// The text directly in it.
    pub(crate) text: String,
}

impl Element {
    /// Reads a whole document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(XmlError::Empty);
        }
        if bytes.contains(&0) {
            return Err(XmlError::Nul);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
        let head: String = text.trim_start().chars().take(14).collect();
        if ["<html", "<!doctype html"]
            .iter()
            .any(|html| head.to_ascii_lowercase().starts_with(html))
        {
            return Err(XmlError::Html);
        }
        read(text)
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, ns: Ns, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The first child of that name.
    pub(crate) fn child(&self, ns: Ns, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(ns, name))
    }

    /// The text of the first child of that name, without white space around it.
    pub(crate) fn child_text(&self, ns: Ns, name: &str) -> Option<&str> {
        self.child(ns, name).map(|child| child.text.trim())
    }

    /// The first element of that name at any depth below.
    pub(crate) fn find(&self, ns: Ns, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| {
            if child.is(ns, name) {
                Some(child)
            } else {
                child.find(ns, name)
            }
        })
    }

    /// An attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn read(text: &str) -> Result<Element, XmlError> {
    let not_xml = |what: &dyn std::fmt::Display| {
        XmlError::NotXml(what.to_string().chars().take(120).collect())
    };
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut open, mut root, mut count): (Vec<Element>, Option<Element>, usize) =
        (Vec::new(), None, 0);
    loop {
        let (resolved, event) = reader.read_resolved_event().map_err(|e| not_xml(&e))?;
        match event {
            Event::Start(start) => {
                count += 1;
                if root.is_some() {
                    return Err(XmlError::NotXml("a second document follows".into()));
                }
                if open.len() >= DEEPEST {
                    return Err(XmlError::TooMuch("64 levels"));
                }
                if count > MOST_ELEMENTS {
                    return Err(XmlError::TooMuch("400000 elements"));
                }
                open.push(element(Ns::of(&resolved), &start)?);
            }
            // Names match: the reader checks it.
            Event::End(_) => {
                let Some(done) = open.pop() else {
                    return Err(XmlError::NotXml("an end without a start".into()));
                };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(piece) => {
                let piece = piece.xml10_content();
                match open.last_mut() {
                    Some(parent) => parent.text.push_str(&piece),
                    None if piece.trim().is_empty() => {}
                    None => return Err(XmlError::NotXml("text outside the document".into())),
                }
            }
            Event::CData(piece) => {
                let Some(parent) = open.last_mut() else {
                    return Err(XmlError::NotXml("text outside the document".into()));
                };
                parent.text.push_str(&piece.xml10_content());
            }
            Event::GeneralRef(reference) => {
                let Some(parent) = open.last_mut() else {
                    return Err(XmlError::NotXml("text outside the document".into()));
                };
                match reference.resolve_char_ref().map_err(|e| not_xml(&e))? {
                    Some(c) => parent.text.push(c),
                    None => {
                        let name = reference.xml10_content();
                        let known = resolve_predefined_entity(&name).ok_or_else(|| {
                            XmlError::NotXml("an entity that is not defined".into())
                        })?;
                        parent.text.push_str(known);
                    }
                }
            }
            Event::DocType(_) => return Err(XmlError::DocType),
            Event::Eof => break,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        _ => Err(XmlError::NotXml("it ends too early".into())),
    }
}

fn element(ns: Ns, start: &BytesStart) -> Result<Element, XmlError> {
    let mut attributes = Vec::new();
    // Duplicates aren't looked for: that takes time in the square of their number.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|e| XmlError::NotXml(e.to_string()))?;
        if attributes.len() == MOST_ATTRIBUTES {
            return Err(XmlError::TooMuch("64 attributes"));
        }
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|e| XmlError::NotXml(e.to_string()))?;
        let name: &str = attribute.key.local_name().into_inner();
        attributes.push((name.to_owned(), value.into_owned()));
    }
    let name: &str = start.local_name().into_inner();
    Ok(Element {
        ns,
        name: name.to_owned(),
        attributes,
        children: Vec::new(),
        text: String::new(),
    })
}

/// A text as it stands in an element or an attribute. Characters that XML can't hold are left out.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_tell_and_prefixes_do_not() {
        let text = r#"<a:Envelope xmlns:a="http://schemas.xmlsoap.org/soap/envelope/"><Body xmlns="http://schemas.xmlsoap.org/soap/envelope/"/><a:x xmlns:a="urn:other"/></a:Envelope>"#;
        let root = Element::parse(text.as_bytes()).unwrap();
        assert!(root.is(Ns::Soap, "Envelope"));
        assert!(root.child(Ns::Soap, "Body").is_some());
        assert_eq!(root.children[1].ns, Ns::Other);
    }

    #[test]
    fn text_survives() {
        let raw = "a<b>&\"'c\r\n\u{1F600}\t";
        let root =
            Element::parse(format!("<x y=\"{0}\">{0}</x>", escaped(raw)).as_bytes()).unwrap();
        assert_eq!(root.text, raw);
        let root = Element::parse(b"<x><![CDATA[a<b]]>&#x41;&#66;</x>").unwrap();
        assert_eq!(root.text, "a<bAB");
    }

    #[test]
    fn what_is_not_read_is_named() {
        let deep = "<a>".repeat(100_000);
        let wide = format!(
            "<a {}/>",
            (0..100)
                .map(|n| format!("a{n}=''"))
                .collect::<Vec<_>>()
                .join(" ")
        );
        for (text, want) in [
            ("", "empty"),
            (" \r\n", "empty"),
            ("<a>\0</a>", "NUL"),
            ("\0", "NUL"),
            ("<html><body>", "HTML"),
            ("<!DOCTYPE html PUBLIC", "HTML"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
            ("<a>&b;</a>", "not defined"),
            ("<a><b></a></b>", "not XML"),
            ("<a>", "too early"),
            ("<a/><b/>", "second document"),
            ("<a/>b", "outside"),
            ("plain text", "outside"),
            (deep.as_str(), "64 levels"),
            (wide.as_str(), "64 attributes"),
        ] {
            let why = Element::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(want), "{text:.40}: {why}");
        }
        assert_eq!(Element::parse(b"<a>\xFF</a>"), Err(XmlError::NotUtf8));
    }
}
