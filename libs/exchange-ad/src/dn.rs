//! Distinguished names, compared by the rules of their syntax and not by their bytes. Pure.
//!
//! `CN=Ada,OU=Staff` and `cn=ada , ou=STAFF` are one name: case and spaces around and between words don't count,
//! a character may be written as itself, escaped, quoted or in hexadecimal, and the values of one part come in any order.

use std::hash::{Hash, Hasher};

/// A distinguished name: as it was written, and taken apart for comparing.
#[derive(Debug, Clone)]
pub(crate) struct Dn {
    text: String,
    /// Innermost first.
    parts: Vec<Part>,
    /// Where each part begins in the text.
    starts: Vec<usize>,
}

/// One part of a name: its types and values, folded and sorted. Nearly always one of each.
type Part = Vec<(String, String)>;

impl Dn {
    /// Takes a name apart; `None` where it isn't one.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        let (mut parts, mut starts) = (Vec::new(), Vec::new());
        for (start, piece) in split(raw, &[',', ';']) {
            let mut part = Vec::new();
            for (_, pair) in split(piece, &['+']) {
                let (kind, value) = pair.split_once('=')?;
                part.push((folded_type(kind)?, folded_value(value)?));
            }
            part.sort();
            parts.push(part);
            starts.push(start);
        }
        Some(Self {
            text: raw.to_owned(),
            parts,
            starts,
        })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is an object below `other`.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.parts.len() > other.parts.len() && self.parts.ends_with(&other.parts)
    }

    /// The name of what it lies in; `None` for the outermost.
    pub(crate) fn parent(&self) -> Option<Self> {
        let start = *self.starts.get(1)?;
        Some(Self {
            text: self.text[start..].trim_start().to_owned(),
            parts: self.parts[1..].to_vec(),
            starts: {
                let trimmed = self.text[start..].len() - self.text[start..].trim_start().len();
                let first = start + trimmed;
                let later = self.starts[2..].iter().map(|at| at - first);
                std::iter::once(0).chain(later).collect()
            },
        })
    }

    /// The domain that its last parts name, such as `uni.example`; empty if there is none.
    pub(crate) fn domain(&self) -> String {
        let mut labels: Vec<&str> = Vec::new();
        for part in self.parts.iter().rev() {
            match part.as_slice() {
                [(kind, label)] if kind == "dc" => labels.push(label),
                _ => break,
            }
        }
        labels.reverse();
        labels.join(".")
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Dn {}

impl Hash for Dn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

/// Splits at marks that no backslash or quote protects; each piece with where it begins.
fn split<'a>(raw: &'a str, marks: &[char]) -> Vec<(usize, &'a str)> {
    let (mut pieces, mut from, mut escaped, mut quoted) = (Vec::new(), 0, false, false);
    for (at, c) in raw.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && marks.contains(&c) => {
                pieces.push((from, &raw[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push((from, &raw[from..]));
    pieces
}

/// Types by number that names are made of, and what they are called.
const NUMBERED: &[(&str, &str)] = &[
    ("2.5.4.3", "cn"),
    ("2.5.4.6", "c"),
    ("2.5.4.7", "l"),
    ("2.5.4.8", "st"),
    ("2.5.4.10", "o"),
    ("2.5.4.11", "ou"),
    ("0.9.2342.19200300.100.1.25", "dc"),
];

fn folded_type(raw: &str) -> Option<String> {
    let kind = raw.trim().to_ascii_lowercase();
    let kind = kind.strip_prefix("oid.").unwrap_or(&kind);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if kind.is_empty() || !kind.chars().all(fits) {
        return None;
    }
    let named = NUMBERED.iter().find(|(number, _)| *number == kind);
    Some(named.map_or(kind, |(_, name)| name).to_owned())
}

/// Lower case, no spaces at the ends, one between words.
fn folded_value(raw: &str) -> Option<String> {
    let plain = match raw.trim().strip_prefix('#') {
        Some(hex) => encoded(hex)?,
        None => unescaped(raw)?,
    };
    let folded = plain
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    (!folded.is_empty()).then_some(folded)
}

/// A short string in BER, written in hexadecimal.
fn encoded(hex: &str) -> Option<String> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    let bytes = (0..hex.len()).step_by(2);
    let bytes: Vec<u8> = bytes
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect::<Option<_>>()?;
    match bytes.as_slice() {
        // Octet, UTF-8, printable and IA5 strings.
        [0x04 | 0x0c | 0x13 | 0x16, length, text @ ..] if usize::from(*length) == text.len() => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

/// Undoes `\,`, `\C3\BC` and quotes.
fn unescaped(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let (mut rest, mut quoted) = (raw.as_bytes(), false);
    while let [first, after @ ..] = rest {
        rest = after;
        match *first {
            b'\\' => match rest {
                [a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    let digits = [*a, *b];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                    rest = after;
                }
                [c, after @ ..] => {
                    bytes.push(*c);
                    rest = after;
                }
                [] => return None,
            },
            b'"' => quoted = !quoted,
            other => bytes.push(other),
        }
    }
    if quoted {
        return None;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[path = "dn_tests.rs"]
mod tests;
