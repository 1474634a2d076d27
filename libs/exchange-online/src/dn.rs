//! Distinguished names: whether one lies below another. Pure.

/// A distinguished name, taken apart and folded: innermost part first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dn(Vec<String>);

impl Dn {
    /// Takes a name apart at its unescaped commas; `None` where it isn't one.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let mut parts = Vec::new();
        for part in split(raw) {
            let (kind, value) = part.split_once('=')?;
            let (kind, value) = (kind.trim().to_lowercase(), unescaped(value)?.to_lowercase());
            if kind.is_empty() || value.is_empty() {
                return None;
            }
            parts.push(format!("{kind}={value}"));
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// Whether this is an object below `unit`.
    pub(crate) fn is_below(&self, unit: &Self) -> bool {
        self.0.len() > unit.0.len() && self.0.ends_with(&unit.0)
    }

    /// Whether this is an object in `unit` itself.
    pub(crate) fn is_right_below(&self, unit: &Self) -> bool {
        self.0.len() == unit.0.len() + 1 && self.is_below(unit)
    }
}

/// Splits at commas that no backslash or quote protects.
fn split(raw: &str) -> Vec<&str> {
    let (mut parts, mut from, mut escaped, mut quoted) = (Vec::new(), 0, false, false);
    for (at, c) in raw.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' if !quoted => {
                parts.push(&raw[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&raw[from..]);
    parts
}

/// Undoes `\,`, `\C3\BC` and quotes, and takes unescaped spaces off both ends.
fn unescaped(raw: &str) -> Option<String> {
    let raw = raw.trim_start();
    let mut bytes = Vec::with_capacity(raw.len());
    let mut kept = 0;
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match *first {
            b'\\' => {
                let hex = |b: u8| {
                    char::from(b)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                match rest {
                    [a, b, after @ ..] if hex(*a).is_some() && hex(*b).is_some() => {
                        bytes.push(hex(*a)? << 4 | hex(*b)?);
                        rest = after;
                    }
                    [c, after @ ..] => {
                        bytes.push(*c);
                        rest = after;
                    }
                    [] => return None,
                }
                kept = bytes.len();
            }
            b'"' => kept = bytes.len(),
            b' ' => bytes.push(b' '),
            other => {
                bytes.push(other);
                kept = bytes.len();
            }
        }
    }
    bytes.truncate(kept);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below() {
        let unit = "OU=Students,DC=uni,DC=example";
        for (dn, unit, want) in [
            ("CN=Ada,OU=Students,DC=uni,DC=example", unit, true),
            ("CN=Ada,OU=2026,OU=Students,DC=uni,DC=example", unit, true),
            ("cn=ada, ou=students , dc=UNI,dc=example", unit, true),
            ("OU=Students,DC=uni,DC=example", unit, false),
            ("CN=Ada,OU=ExStudents,DC=uni,DC=example", unit, false),
            ("CN=Ada,OU=Students,DC=uni,DC=example,DC=org", unit, false),
            ("CN=Ada\\,OU=Students,DC=uni,DC=example", unit, false),
            (
                "CN=Ada\\,OU\\=Students,DC=uni,DC=example",
                "DC=uni,DC=example",
                true,
            ),
            (
                "CN=Lovelace\\, Ada,OU=Students,DC=uni,DC=example",
                unit,
                true,
            ),
            (
                "CN=Lovelace\\2C Ada,OU=Students,DC=uni,DC=example",
                unit,
                true,
            ),
            ("CN=a,OU=B\\2CC,DC=x", "OU=B\\,C,DC=x", true),
            ("CN=a,OU=\"B,C\",DC=x", "OU=B\\,C,DC=x", true),
            ("CN=a,OU=Prüfung,DC=x", "OU=PRÜFUNG,DC=x", true),
            ("CN=a,OU=Pr\\C3\\BCfung,DC=x", "ou=prüfung,dc=x", true),
            ("CN=a,OU=Pr\\C3\\BCfung,DC=x", "ou=prufung,dc=x", false),
            ("CN=a,OU=b\\ ,DC=x", "OU=b,DC=x", false),
        ] {
            let below = Dn::parse(dn).unwrap().is_below(&Dn::parse(unit).unwrap());
            assert_eq!(below, want, "{dn} below {unit}");
        }
        let right_below = |dn: &str| {
            Dn::parse(dn)
                .unwrap()
                .is_right_below(&Dn::parse(unit).unwrap())
        };
        assert!(right_below("CN=Ada,OU=Students,DC=uni,DC=example"));
        assert!(!right_below("CN=Ada,OU=2026,OU=Students,DC=uni,DC=example"));
        for bad in ["", "Students", "OU=", "=x", "OU=a,,DC=x", "OU=a\\"] {
            assert_eq!(Dn::parse(bad), None, "{bad}");
        }
    }
}
