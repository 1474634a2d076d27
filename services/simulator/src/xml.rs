//! XML: read into a tree with namespaces, and written as text.

use std::fmt::Write as _;
use std::sync::Arc;

use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

/// How deep elements may be nested.
const DEEPEST: usize = 100;

/// One element of a document.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// The namespace; empty when there is none.
    pub(crate) ns: Arc<str>,
    pub(crate) name: String,
    /// Without those that declare namespaces; prefixes are left away.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    /// The text that stands in it directly.
    pub(crate) text: String,
    /// Where its tag ends, in bytes.
    pub(crate) at: usize,
}

/// Why a text isn't XML, and where in it, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotXml {
    pub(crate) reason: String,
    pub(crate) at: usize,
}

impl Element {
    pub(crate) fn is(&self, ns: &str, name: &str) -> bool {
        *self.ns == *ns && self.name == name
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first child of this name, whatever its namespace.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(crate) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// The first element down this path of names.
    pub(crate) fn at_path(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |at, name| at.child(name))
    }
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Element, NotXml> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut namespaces: Vec<Arc<str>> = Vec::new();
    let mut root = None;
    loop {
        let at = |reader: &NsReader<&[u8]>| usize::try_from(reader.buffer_position()).unwrap_or(0);
        let wrong = |reason: String, at: usize| Err(NotXml { reason, at });
        let before = at(&reader);
        let (ns, event) = match reader.read_resolved_event() {
            Ok((ns, event)) => {
                let ns = match ns {
                    ResolveResult::Bound(Namespace(ns)) => intern(&mut namespaces, ns),
                    ResolveResult::Unbound => intern(&mut namespaces, ""),
                    ResolveResult::Unknown(prefix) => {
                        return wrong(format!("'{prefix}' is an undeclared prefix."), before);
                    }
                };
                (ns, event)
            }
            Err(error) => return wrong(error.to_string(), before),
        };
        let here = at(&reader);
        match event {
            Event::Start(tag) => {
                if open.len() >= DEEPEST {
                    return wrong("The document is nested too deeply.".to_owned(), here);
                }
                open.push(element(ns, &tag, here)?);
            }
            Event::Empty(tag) => {
                let element = element(ns, &tag, here)?;
                close(&mut open, &mut root, element)
                    .map_err(|reason| NotXml { reason, at: here })?;
            }
            Event::End(_) => {
                let Some(element) = open.pop() else {
                    return wrong("There is an end tag too many.".to_owned(), here);
                };
                close(&mut open, &mut root, element)
                    .map_err(|reason| NotXml { reason, at: here })?;
            }
            Event::Text(text) => {
                let text = text.xml10_content();
                match open.last_mut() {
                    Some(element) => element.text.push_str(&text),
                    None if text
                        .trim_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
                        .is_empty() => {}
                    None => return wrong("Data at the root level is invalid.".to_owned(), here),
                }
            }
            Event::CData(text) => match open.last_mut() {
                Some(element) => element.text.push_str(&text.xml10_content()),
                None => return wrong("Data at the root level is invalid.".to_owned(), here),
            },
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(char)) => Some(char.to_string()),
                    Ok(None) => {
                        let name = reference.xml10_content();
                        resolve_predefined_entity(&name).map(str::to_owned)
                    }
                    Err(_) => None,
                };
                match (open.last_mut(), resolved) {
                    (Some(element), Some(text)) => element.text.push_str(&text),
                    _ => return wrong("Reference to an undeclared entity.".to_owned(), here),
                }
            }
            Event::DocType(_) => {
                return wrong(
                    "For security reasons DTD is prohibited in this XML document.".to_owned(),
                    here,
                );
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !open.is_empty() {
        let reason = "Unexpected end of file has occurred.".to_owned();
        return Err(NotXml {
            reason,
            at: text.len(),
        });
    }
    root.ok_or_else(|| NotXml {
        reason: "Root element is missing.".to_owned(),
        at: text.len(),
    })
}

fn intern(known: &mut Vec<Arc<str>>, ns: &str) -> Arc<str> {
    if let Some(found) = known.iter().find(|known| &***known == ns) {
        return Arc::clone(found);
    }
    let fresh: Arc<str> = ns.into();
    known.push(Arc::clone(&fresh));
    fresh
}

fn element(ns: Arc<str>, tag: &BytesStart<'_>, at: usize) -> Result<Element, NotXml> {
    let wrong = |reason: String| NotXml { reason, at };
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| wrong(error.to_string()))?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| wrong(error.to_string()))?;
        let name = attribute.key.local_name().into_inner().to_owned();
        attributes.push((name, value.into_owned()));
    }
    Ok(Element {
        ns,
        name: tag.local_name().into_inner().to_owned(),
        attributes,
        children: Vec::new(),
        text: String::new(),
        at,
    })
}

fn close(open: &mut [Element], root: &mut Option<Element>, element: Element) -> Result<(), String> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_some() => return Err("There are multiple root elements.".to_owned()),
        None => *root = Some(element),
    }
    Ok(())
}

/// Line and column of a place in a text, both from 1.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

/// A text as it stands between tags or in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    // what XML can't hold at all is left away
    let allowed = |char: &char| *char >= ' ' || matches!(char, '\t' | '\n' | '\r');
    let text: String = text.chars().filter(allowed).collect();
    escape(text).into_owned()
}

/// An element around markup.
pub(crate) fn tag(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

/// An element around a text.
pub(crate) fn leaf(name: &str, text: &str) -> String {
    tag(name, &escaped(text))
}

/// An element with attributes around markup; `/` closes it when there is none.
pub(crate) fn with(name: &str, attributes: &[(&str, &str)], inner: &str) -> String {
    let mut out = format!("<{name}");
    for (key, value) in attributes {
        let _ = write!(out, " {key}=\"{}\"", escaped(value));
    }
    if inner.is_empty() {
        out.push_str("/>");
    } else {
        let _ = write!(out, ">{inner}</{name}>");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{line_and_column, parse};

    #[test]
    fn prefixes_are_only_names_of_namespaces() {
        let text = "<?xml version=\"1.0\"?>\n<a:b xmlns:a=\"urn:x\" k=\"1 &amp; 2\"><c xmlns=\"urn:y\">x&lt;&#65;<![CDATA[&]]></c></a:b>";
        let root = parse(text).unwrap();
        assert!(root.is("urn:x", "b"));
        assert_eq!(root.attribute("k"), Some("1 & 2"));
        let child = root.child("c").unwrap();
        assert_eq!((&*child.ns, child.text.as_str()), ("urn:y", "x<A&"));
        assert_eq!(line_and_column(text, root.at).0, 2);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "no",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<p:a/>",
            "<a>&nbsp;</a>",
            "<!DOCTYPE a><a/>",
            "<a k=1/>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = "<a>".repeat(200);
        assert!(parse(&deep).unwrap_err().reason.contains("deep"));
    }
}
