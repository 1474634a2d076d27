//! Which server answered for a mailbox, so that the calls after the first go to the same one. Pure.

use std::collections::VecDeque;

use hyper::HeaderMap;

use crate::transport::cookies::Cookies;

/// Mailboxes that are remembered: those worked on, and not many more.
const MOST: usize = 256;

/// The cookies servers gave for mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Affinity(VecDeque<(String, Cookies)>);

impl Affinity {
    /// The header for calls about this mailbox.
    pub(crate) fn header(&self, anchor: &str) -> Option<String> {
        let known = self.0.iter().find(|(known, _)| known == anchor);
        known.and_then(|(_, cookies)| cookies.header())
    }

    /// Takes what a reply about this mailbox says.
    pub(crate) fn absorb(&mut self, anchor: &str, headers: &HeaderMap) {
        let mut cookies = match self.0.iter().position(|(known, _)| known == anchor) {
            Some(at) => self
                .0
                .remove(at)
                .map(|(_, cookies)| cookies)
                .unwrap_or_default(),
            None => Cookies::default(),
        };
        cookies.absorb(headers, |name| name == "X-BackEndOverrideCookie");
        if cookies.header().is_some() {
            if self.0.len() == MOST {
                self.0.pop_front();
            }
            self.0.push_back((anchor.to_owned(), cookies));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mailbox_has_its_own_and_old_ones_go() {
        let mut affinity = Affinity::default();
        let set = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(
                "set-cookie",
                format!("X-BackEndOverrideCookie={value}; path=/")
                    .parse()
                    .unwrap(),
            );
            headers.append("set-cookie", "exchangecookie=x".parse().unwrap());
            headers
        };
        affinity.absorb("a", &set("1"));
        affinity.absorb("b", &set("2"));
        affinity.absorb("c", &HeaderMap::new());
        assert_eq!(
            affinity.header("a").as_deref(),
            Some("X-BackEndOverrideCookie=1")
        );
        assert_eq!(
            affinity.header("b").as_deref(),
            Some("X-BackEndOverrideCookie=2")
        );
        assert_eq!(affinity.header("c"), None);
        for n in 0..MOST {
            affinity.absorb(&n.to_string(), &set("3"));
        }
        assert_eq!(affinity.header("a"), None);
        assert_eq!(affinity.0.len(), MOST);
    }
}
