//! Mail addresses and user principal names, parsed once.

use std::{fmt, str::FromStr};

use crate::BadInput;

/// `local@domain`, lower case. Names a mailbox, a group or an account; is never the key of one,
/// because addresses are reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address with a number in the place of `{n}`.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        Self(self.0.replace("{n}", &number.to_string()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = BadInput;

    /// Trims, takes off a leading `smtp:`, lowercases, and wants `local@domain` with a dot-separated
    /// domain, no spaces, quotes or control characters, at most 254 bytes.
    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let bad = |why: &str| Err(BadInput::new("", raw, why));
        let text = raw.trim();
        let text = match text.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("smtp:") => &text[5..],
            _ => text,
        };
        if text.is_empty() {
            return Err(BadInput::missing(
                "",
                "an address is needed, such as ada@uni.example",
            ));
        }
        let Some((local, domain)) = text.rsplit_once('@') else {
            return bad("not an address: it has no @; write it as ada@uni.example");
        };
        if text.len() > 254 || local.is_empty() || local.len() > 64 {
            return bad("not an address: before the @ 1 to 64 characters, 254 in all");
        }
        if text.chars().any(|c| {
            c.is_whitespace()
                || c.is_control()
                || matches!(
                    c,
                    '"' | '<' | '>' | '(' | ')' | ',' | ';' | ':' | '\\' | '[' | ']'
                )
        }) || local.contains('@')
        {
            return bad(
                "not an address: it holds a character that addresses don't have; write it as ada@uni.example",
            );
        }
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        if !domain.split('.').all(label)
            || local.starts_with('.')
            || local.ends_with('.')
            || local.contains("..")
        {
            return bad("not an address: the part after the @ is a domain such as uni.example");
        }
        Ok(Self(text.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        for (raw, want) in [
            ("Ada@Example.org ", Some("ada@example.org")),
            ("SMTP:ada@example.org", Some("ada@example.org")),
            ("o'neil+x@uni.example", Some("o'neil+x@uni.example")),
            ("jörg@uni.example", Some("jörg@uni.example")),
            ("ada@localhost", Some("ada@localhost")),
            ("", None),
            ("ada", None),
            ("@uni.example", None),
            ("ada@", None),
            ("ada@uni..example", None),
            ("a b@uni.example", None),
            ("a@b@uni.example", None),
            (".a@uni.example", None),
            ("Ada <ada@uni.example>", None),
        ] {
            assert_eq!(
                raw.parse::<Address>().ok().as_ref().map(Address::as_str),
                want,
                "{raw}"
            );
        }
    }
}
