//! Cookies that keep calls with the server that answered the one before. Pure.

use hyper::HeaderMap;

/// More than these a server doesn't need.
const MOST: usize = 16;
const LONGEST: usize = 4096;

/// Names and values, as a server set them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// Takes what a reply sets, where `wanted` says so of the name.
    pub(crate) fn absorb(&mut self, headers: &HeaderMap, wanted: impl Fn(&str) -> bool) {
        for set in headers.get_all("set-cookie") {
            let Some((name, value)) = set
                .to_str()
                .ok()
                .and_then(|set| set.split(';').next())
                .and_then(|pair| pair.split_once('='))
            else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || !wanted(name) || name.len() + value.len() > LONGEST {
                continue;
            }
            self.0.retain(|(known, _)| known != name);
            if !value.is_empty() && self.0.len() < MOST {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The header that sends them back.
    pub(crate) fn header(&self) -> Option<String> {
        let pairs: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_an_empty_one_ends_it() {
        let mut headers = HeaderMap::new();
        for set in [
            "a=1; path=/; secure",
            "b=2",
            "a=3; HttpOnly",
            "nonsense",
            "=x",
        ] {
            headers.append("set-cookie", set.parse().unwrap());
        }
        let mut cookies = Cookies::default();
        cookies.absorb(&headers, |_| true);
        assert_eq!(cookies.header().as_deref(), Some("b=2; a=3"));
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "b=".parse().unwrap());
        headers.append("set-cookie", "c=4".parse().unwrap());
        cookies.absorb(&headers, |name| name != "c");
        assert_eq!(cookies.header().as_deref(), Some("a=3"));
    }
}
