//! Serialised objects (MS-PSRP 2.2.5), read as far as anything of them is used. Pure.
//!
//! Of an object: what it is called (`ToString`), what it holds, its members by name. Values of enumerations arrive as objects
//! whose text is the name; references to earlier objects are not followed.

use crate::xml::{Element, escaped};

use super::Nonsense;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Nil,
    /// Anything that has a text: numbers, dates, names too.
    Text(String),
    /// Several.
    List(Vec<Value>),
    /// An object.
    Object(Object),
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Object {
    /// What it is called.
    pub(super) text: Option<String>,
    /// What kind it is, the most special first.
    pub(super) types: Vec<String>,
    /// What it holds beside its members: a primitive value or a list.
    pub(super) inner: Option<Box<Value>>,
    /// Its members, by name.
    pub(super) members: Vec<(String, Value)>,
}

impl Value {
    /// Reads one serialised value.
    pub(super) fn parse(data: &[u8]) -> Result<Self, Nonsense> {
        let root = Element::parse(data)
            .map_err(|error| Nonsense::new(format!("a serialised object: {error}")))?;
        Ok(Self::of(&root))
    }

    fn of(element: &Element) -> Self {
        match element.name.as_str() {
            "Nil" | "Ref" => Self::Nil,
            "Obj" => Self::object(element),
            "LST" | "IE" | "QUE" | "STK" => {
                Self::List(element.children.iter().map(Self::of).collect())
            }
            _ => Self::Text(unescaped(&element.text)),
        }
    }

    fn object(element: &Element) -> Self {
        let mut object = Object::default();
        for part in &element.children {
            match part.name.as_str() {
                "TN" => {
                    object.types = part
                        .children
                        .iter()
                        .map(|one| unescaped(&one.text))
                        .collect()
                }
                "ToString" => object.text = Some(unescaped(&part.text)),
                "Props" | "MS" => {
                    let members = part
                        .children
                        .iter()
                        .filter_map(|one| Some((unescaped(one.attribute("N")?), Self::of(one))));
                    object.members.extend(members);
                }
                "TNRef" | "DCT" => {}
                _ => object.inner = Some(Box::new(Self::of(part))),
            }
        }
        Self::Object(object)
    }

    /// A member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => {
                let found = object.members.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Its text: an object's own, or that of what it holds.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Object(object) => object
                .text
                .as_deref()
                .or_else(|| object.inner.as_deref().and_then(Self::text)),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The text of a member.
    pub(super) fn member_text(&self, name: &str) -> Option<&str> {
        self.member(name).and_then(Self::text)
    }

    /// The texts of a list, or of a single value.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::List(values) => values.iter().filter_map(Self::text).collect(),
            Self::Object(Object {
                inner: Some(inner), ..
            }) if matches!(**inner, Self::List(_)) => inner.texts(),
            value => value.text().into_iter().collect(),
        }
    }
}

/// Takes `_x000A_` apart: units of UTF-16.
fn unescaped(text: &str) -> String {
    if !text.contains("_x") {
        return text.to_owned();
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let code = rest
            .strip_prefix("_x")
            .and_then(|code| code.get(..5))
            .and_then(|code| code.strip_suffix('_'))
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|code| u16::from_str_radix(code, 16).ok());
        if let Some(unit) = code {
            units.push(unit);
            rest = &rest[7..];
        } else {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            rest = &rest[c.len_utf8()..];
        }
    }
    String::from_utf16_lossy(&units)
}

/// A text inside a serialised value.
pub(super) fn written(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c.is_control() {
            out.push_str(&format!("_x{:04X}_", u32::from(c)));
        } else if rest.starts_with("_x") {
            // It would be taken for one of ours.
            out.push_str("_x005F_");
        } else {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    escaped(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        for raw in [
            "plain",
            "a\nb\tc",
            "_x000A_",
            "_xZ_",
            "\u{1F600} & <b>",
            "ends_x",
            "_x00",
        ] {
            let xml = format!("<S>{}</S>", written(raw));
            assert_eq!(
                Value::parse(xml.as_bytes()).unwrap(),
                Value::Text(raw.into())
            );
        }
        let pair = Value::parse(b"<S>_xD83D__xDE00_</S>").unwrap();
        assert_eq!(pair.text(), Some("\u{1F600}"));
    }

    #[test]
    fn an_enumeration_keeps_its_name() {
        let row = br#"<Obj RefId="0"><TN RefId="0"><T>Some.Type</T></TN><ToString>x</ToString><Props><S N="FolderName">Kalender</S><Obj N="AccessRights" RefId="1"><TN RefId="1"><T>Some.List</T></TN><LST><Obj RefId="2"><ToString>Author</ToString><I32>1051</I32></Obj></LST></Obj><Nil N="SharingPermissionFlags"/></Props></Obj>"#;
        let row = Value::parse(row).unwrap();
        assert_eq!(row.member_text("FolderName"), Some("Kalender"));
        assert_eq!(row.member("AccessRights").unwrap().texts(), ["Author"]);
        assert_eq!(row.member("SharingPermissionFlags"), Some(&Value::Nil));
        assert_eq!(row.text(), Some("x"));
    }
}
