//! Distinguished names: taken apart, compared, and written (RFC 4514).

/// A name, folded for comparing: case and spaces at the ends don't count, and however a character is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// Type and value of each part, innermost first.
    parts: Vec<(String, String)>,
}

impl Name {
    /// Takes a name apart; `None` where it isn't one. The empty name has no parts.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = raw.trim();
        while !rest.is_empty() {
            let (part, more) = match end(rest) {
                Some(at) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            };
            let (kind, value) = part.split_once('=')?;
            let kind = kind.trim().to_ascii_lowercase();
            let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let value = plain(value.trim())?;
            if kind.is_empty() || !kind.chars().all(is_letter) || value.is_empty() {
                return None;
            }
            parts.push((kind, value.to_lowercase()));
            match more {
                Some(more) if more.trim().is_empty() => return None,
                Some(more) => rest = more,
                None => break,
            }
        }
        Some(Self { parts })
    }

    /// A text that equal names have in common, and others don't.
    pub(crate) fn key(&self) -> String {
        let parts = self.parts.iter();
        parts
            .map(|(kind, value)| format!("{kind}={value}\0"))
            .collect()
    }

    /// The name of what it lies in; `None` for the empty one.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.parts.split_first()?;
        Some(Self {
            parts: rest.to_vec(),
        })
    }

    /// Whether it is this one or below it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.parts.ends_with(&other.parts)
    }

    /// The domain its last parts name, such as `uni.example`; empty where there is none.
    pub(crate) fn domain(&self) -> String {
        let labels = self.parts.iter().filter(|(kind, _)| kind == "dc");
        let labels: Vec<&str> = labels.map(|(_, value)| value.as_str()).collect();
        labels.join(".")
    }
}

/// Where the first part of a name ends.
fn end(text: &str) -> Option<usize> {
    let (mut escaped, mut quoted) = (false, false);
    text.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

/// The first part of a name, and what it lies in, both as they are written.
pub(crate) fn split(name: &str) -> (&str, &str) {
    match end(name) {
        Some(at) => (&name[..at], name[at + 1..].trim_start()),
        None => (name, ""),
    }
}

/// The value of a part without escapes and quotes.
pub(crate) fn plain(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [a, b, more @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                let digits = [*a, *b];
                bytes.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = more;
            }
            (b'\\', [c, more @ ..]) => {
                bytes.push(*c);
                rest = more;
            }
            (b'\\', []) => return None,
            (b'"', _) => {}
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// A value as a part of a name.
pub(crate) fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let at_end = c == ' ' && (at == 0 || at == last);
        let needs_it = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=');
        if needs_it || at_end || c == '#' && at == 0 {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_and_not_texts() {
        let key = |raw: &str| Name::parse(raw).map(|name| name.key());
        let one = key("CN=Lovelace\\, Ada,OU=Fakultät,DC=uni,DC=example");
        assert!(one.is_some());
        for same in [
            "cn=lovelace\\2C ada, ou=FAKULTÄT , dc=UNI;dc=example",
            "CN=\"Lovelace, Ada\",OU=Fakult\\C3\\A4t,DC=uni,DC=example",
        ] {
            assert_eq!(key(same), one, "{same}");
        }
        for wrong in ["Students", "OU=", "=x", "OU=a,", "OU=a\\", "O U=a"] {
            assert_eq!(Name::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Name::parse("").and_then(|name| name.parent()), None);
    }

    #[test]
    fn what_is_escaped_is_read_again() {
        for value in ["O'Brien", " a, b+c \"d\" <e>; #f\\g=", "#x", "Ä"] {
            let name = Name::parse(&format!("CN={},DC=x", escaped(value))).unwrap();
            assert_eq!(name.parts[0].1, value.trim_end().to_lowercase());
        }
    }
}
