//! CLIXML: PowerShell's objects as XML.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::xml::{Element, escaped};

/// What a sealed text is called where values are JSON.
pub(crate) const SECRET: &str = "SecureString";

/// A text as it stands in CLIXML: control characters as `_x000A_`.
pub(crate) fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    let mut rest = plain;
    while let Some(char) = rest.chars().next() {
        let control = char.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&char);
        let looks_escaped = rest.starts_with("_x") || rest.starts_with("_X");
        if control || looks_escaped {
            let _ = write!(out, "_x{:04X}_", u32::from(char));
        } else {
            out.push(char);
        }
        rest = &rest[char.len_utf8()..];
    }
    escaped(&out)
}

/// A text of CLIXML as it is meant.
fn plain(text: &str) -> String {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let escape = rest
            .strip_prefix("_x")
            .and_then(|hex| hex.get(..5)?.strip_suffix('_'))
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        if let Some(unit) = escape {
            units.push(unit);
            rest = &rest[7..];
        } else {
            units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
            rest = &rest[char.len_utf8()..];
        }
    }
    String::from_utf16_lossy(&units)
}

/// Objects of a document by their numbers, for those that are only referred to.
pub(crate) struct Objects<'a>(HashMap<&'a str, &'a Element>);

impl<'a> Objects<'a> {
    pub(crate) fn of(root: &'a Element) -> Self {
        let mut found = HashMap::new();
        let mut open = vec![root];
        while let Some(element) = open.pop() {
            if element.name == "Obj"
                && let Some(id) = element.attribute("RefId")
            {
                found.insert(id, element);
            }
            open.extend(&element.children);
        }
        Self(found)
    }

    /// The element itself, or the object it refers to.
    pub(crate) fn resolved(&self, element: &'a Element) -> &'a Element {
        if element.name != "Ref" {
            return element;
        }
        let target = element.attribute("RefId").and_then(|id| self.0.get(id));
        target.copied().unwrap_or(element)
    }

    /// The member with this name of an object.
    pub(crate) fn member(&self, object: &'a Element, name: &str) -> Option<&'a Element> {
        let bags = object
            .children
            .iter()
            .filter(|child| child.name == "MS" || child.name == "Props");
        let mut members = bags.flat_map(|bag| &bag.children);
        let found = members.find(|member| member.attribute("N") == Some(name))?;
        Some(self.resolved(found))
    }

    /// What a list holds.
    pub(crate) fn items(&self, list: &'a Element) -> Vec<&'a Element> {
        let items = list.child("LST").map_or(&[][..], |list| &list.children);
        items.iter().map(|item| self.resolved(item)).collect()
    }

    /// A value as a cmdlet takes it; `None` for what no cmdlet takes.
    pub(crate) fn value(&self, element: &'a Element) -> Option<Value> {
        let text = || plain(&element.text);
        Some(match element.name.as_str() {
            "S" | "G" | "URI" | "Version" | "DT" | "TS" => Value::String(text()),
            "B" => Value::Bool(element.text.trim().eq_ignore_ascii_case("true")),
            "I16" | "I32" | "I64" | "U16" | "U32" | "U64" | "By" | "SB" => {
                Value::from(element.text.trim().parse::<i64>().ok()?)
            }
            // stays sealed until a cmdlet opens it
            "SS" => json!({SECRET: element.text.trim()}),
            "Nil" => Value::Null,
            "Obj" if element.child("LST").is_some() => {
                let items = self.items(element).into_iter();
                Value::Array(items.map(|item| self.value(item)).collect::<Option<_>>()?)
            }
            // an enumeration is as good as its name
            "Obj" => Value::String(plain(&element.child("ToString")?.text)),
            _ => return None,
        })
    }
}

/// Numbers the objects of a document that is written.
#[derive(Debug, Default)]
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0 - 1
    }
}

/// The types of properties that aren't plain texts, by name.
const TYPES: [(&str, &str); 6] = [
    ("Identity", "Microsoft.Exchange.Data.Directory.ADObjectId"),
    ("PrimarySmtpAddress", "Microsoft.Exchange.Data.SmtpAddress"),
    (
        "RecipientType",
        "Microsoft.Exchange.Data.Directory.Recipient.RecipientType",
    ),
    (
        "RecipientTypeDetails",
        "Microsoft.Exchange.Data.Directory.Recipient.RecipientTypeDetails",
    ),
    (
        "User",
        "Microsoft.Exchange.Management.StoreTasks.MailboxFolderUserId",
    ),
    ("ObjectState", "Microsoft.Exchange.Data.ObjectState"),
];
const RIGHT: &str = "Microsoft.Exchange.Management.StoreTasks.MailboxFolderAccessRight";

/// One object of a cmdlet's output; `plain` writes every property as a text.
pub(crate) fn object(kind: &str, object: &Value, plain: bool) -> String {
    let mut numbers = Numbers::default();
    let none = Map::new();
    let properties = object.as_object().unwrap_or(&none);
    let shown: String = properties
        .iter()
        .filter(|(name, _)| !name.contains('@'))
        .map(|(name, value)| {
            let sort = |suffix: &str| properties.get(&format!("{name}@{suffix}"));
            let guid = sort("odata.type").is_some_and(|sort| sort == "#Guid");
            property(&mut numbers, name, value, guid, plain)
        })
        .collect();
    let label = properties
        .get("Identity")
        .and_then(Value::as_str)
        .unwrap_or(kind);
    format!(
        "<Obj RefId=\"{}\"><TN RefId=\"{}\"><T>{kind}</T><T>System.Object</T></TN>\
         <ToString>{}</ToString><Props>{shown}</Props></Obj>",
        numbers.next(),
        numbers.next(),
        text(label)
    )
}

fn property(numbers: &mut Numbers, name: &str, value: &Value, guid: bool, plain: bool) -> String {
    match value {
        Value::Null => format!("<Nil N=\"{name}\"/>"),
        Value::Bool(value) => format!("<B N=\"{name}\">{value}</B>"),
        Value::Number(value) => format!("<I32 N=\"{name}\">{value}</I32>"),
        Value::String(value) => {
            let known = TYPES.iter().find(|(known, _)| *known == name);
            match known.filter(|_| !plain) {
                Some((_, kind)) => typed(numbers, &format!(" N=\"{name}\""), kind, value),
                None if guid => format!("<G N=\"{name}\">{value}</G>"),
                None => format!("<S N=\"{name}\">{}</S>", text(value)),
            }
        }
        Value::Array(items) => {
            let id = numbers.next();
            let items: String = items
                .iter()
                .filter_map(Value::as_str)
                .map(|item| match name {
                    "AccessRights" if !plain => typed(numbers, "", RIGHT, item),
                    _ => format!("<S>{}</S>", text(item)),
                })
                .collect();
            format!(
                "<Obj N=\"{name}\" RefId=\"{id}\"><TN RefId=\"{}\"><T>System.Collections.ArrayList</T>\
                 <T>System.Object</T></TN><LST>{items}</LST></Obj>",
                numbers.next()
            )
        }
        Value::Object(_) => String::new(),
    }
}

/// An object of which mostly its text is of interest.
fn typed(numbers: &mut Numbers, name: &str, kind: &str, value: &str) -> String {
    let value = text(value);
    let props = if kind.ends_with("MailboxFolderUserId") {
        format!("<Props><S N=\"DisplayName\">{value}</S></Props>")
    } else if kind.ends_with("MailboxFolderAccessRight") {
        format!("<Props><S N=\"Permission\">{value}</S></Props>")
    } else {
        String::new()
    };
    format!(
        "<Obj{name} RefId=\"{}\"><TN RefId=\"{}\"><T>{kind}</T><T>System.Object</T></TN><ToString>{value}</ToString>{props}</Obj>",
        numbers.next(),
        numbers.next()
    )
}

#[cfg(test)]
mod tests {
    use super::{Objects, object, plain, text};
    use crate::xml::parse;
    use serde_json::json;

    #[test]
    fn control_characters_are_escaped_and_what_looks_like_it_too() {
        for (raw, written) in [
            ("a\nb", "a_x000A_b"),
            ("_x000A_", "_x005F_x000A_"),
            ("tick_tock", "tick_tock"),
        ] {
            assert_eq!(text(raw), written);
            assert_eq!(plain(written), raw);
        }
        assert_eq!(plain("_xD83D__xDE00_"), "😀");
        assert_eq!(plain("_x12_"), "_x12_");
        assert_eq!(text("<&"), "&lt;&amp;");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let shown = json!({
            "User": "Ada", "AccessRights": ["Author"], "AccessRights@odata.type": "#Collection(String)",
            "IsValid": true, "SharingPermissionFlags": null, "Guid": "x", "Guid@odata.type": "#Guid",
        });
        for bare in [false, true] {
            let root = parse(&object("Kind", &shown, bare)).unwrap();
            let objects = Objects::of(&root);
            let value = |name| objects.member(&root, name).and_then(|at| objects.value(at));
            assert_eq!(value("User"), Some(json!("Ada")));
            assert_eq!(value("AccessRights"), Some(json!(["Author"])));
            assert_eq!(value("IsValid"), Some(json!(true)));
            assert_eq!(value("Guid"), Some(json!("x")));
            assert_eq!(value("SharingPermissionFlags"), Some(json!(null)));
        }
    }
}
