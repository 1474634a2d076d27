//! Query strings and the links to a next page.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The parameters of one query string, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name, true), decode(value, true))
            });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The same query with another page token, encoded.
    pub(crate) fn with_token(&self, token: &str) -> String {
        let mut text = String::new();
        for (name, value) in self
            .0
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"))
        {
            text.push_str(&format!("{}={}&", encode(name), encode(value)));
        }
        text + "$skiptoken=" + token
    }

    /// A number that stands for the query, whatever its page.
    pub(crate) fn fingerprint(&self, more: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        more.hash(&mut hasher);
        self.with_token("").hash(&mut hasher);
        hasher.finish()
    }
}

/// Scheme and host that the client sees, for links; a proxy in front may say `X-Forwarded-Proto`.
pub(crate) fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https");
    let host = text("host").unwrap_or_default();
    format!("{}://{host}", scheme.unwrap_or("http"))
}

/// Percent-decodes; `plus` reads `+` as a blank.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'$' | b',' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Why a page token was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadPage {
    Foreign,
    Expired,
}

/// A token for the page that begins at an offset, with how many objects earlier pages held.
pub(crate) fn page_token(
    (offset, before): (usize, usize),
    now: Duration,
    fingerprint: u64,
) -> String {
    let issued = now.as_millis();
    URL_SAFE_NO_PAD.encode(format!("{offset}.{before}.{issued}.{fingerprint}"))
}

/// Reads a page token back.
pub(crate) fn read_page_token(
    token: &str,
    now: Duration,
    life: Duration,
    fingerprint: u64,
) -> Result<(usize, usize), BadPage> {
    let text = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(BadPage::Foreign)?;
    let mut parts = text.split('.');
    let offset = parts
        .next()
        .and_then(|part| part.parse().ok())
        .ok_or(BadPage::Foreign)?;
    let before = parts
        .next()
        .and_then(|part| part.parse().ok())
        .ok_or(BadPage::Foreign)?;
    let issued = parts
        .next()
        .and_then(|part| part.parse().ok())
        .ok_or(BadPage::Foreign)?;
    if parts.next().and_then(|part| part.parse().ok()) != Some(fingerprint) {
        return Err(BadPage::Foreign);
    }
    if now > Duration::from_millis(issued) + life {
        return Err(BadPage::Expired);
    }
    Ok((offset, before))
}

#[cfg(test)]
mod tests {
    use super::{BadPage, Duration, Params, decode, page_token, read_page_token};

    #[test]
    fn pages_belong_to_their_query_and_expire() {
        let query = Params::parse("$filter=mail%20eq%20'a%40b'&$top=5");
        assert_eq!(query.get("$filter"), Some("mail eq 'a@b'"));
        let (now, life) = (Duration::from_secs(100), Duration::from_secs(10));
        let token = page_token((5, 3), now, query.fingerprint(""));
        let next = Params::parse(&query.with_token(&token));
        assert_eq!(
            read_page_token(&token, now, life, next.fingerprint("")),
            Ok((5, 3))
        );
        assert_eq!(
            read_page_token(&token, now, life, Params::default().fingerprint("")),
            Err(BadPage::Foreign)
        );
        assert_eq!(
            read_page_token(&token, now + life * 2, life, next.fingerprint("")),
            Err(BadPage::Expired)
        );
        assert_eq!(decode("a+b%2", false), "a+b%2");
    }
}
