//! Whether an object is what a filter asks for: yes, no, or nobody can say (RFC 4511, 4.5.1.7; MS-ADTS 3.1.1.3.4.4).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::ldap::entry::Attributes;
use crate::ldap::filter::{Assertion, Filter, Pieces};
use crate::ldap::schema::{Attribute, Folded, Syntax};
use crate::ldap::tree::Tree;

/// All of these bits are set.
const BIT_AND: &str = "1.2.840.113556.1.4.803";
/// One of these bits is set.
const BIT_OR: &str = "1.2.840.113556.1.4.804";
/// Linked to this object, over others in between.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// An object that is looked at.
pub(crate) struct Looked<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) at: usize,
    pub(crate) attributes: &'a Attributes,
}

impl Looked<'_> {
    /// Whether it is what the filter asks for; `None` where that can't be said.
    pub(crate) fn fits(&self, filter: &Filter) -> Option<bool> {
        match filter {
            Filter::All(filters) => {
                let said: Vec<_> = filters.iter().map(|filter| self.fits(filter)).collect();
                if said.contains(&Some(false)) {
                    Some(false)
                } else {
                    said.iter().all(Option::is_some).then_some(true)
                }
            }
            Filter::Any(filters) => {
                let mut unsaid = false;
                for filter in filters {
                    match self.fits(filter) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unsaid = true,
                    }
                }
                (!unsaid).then_some(false)
            }
            Filter::Not(filter) => self.fits(filter).map(|fits| !fits),
            Filter::Present(attribute) => Some(!self.values((*attribute)?).is_empty()),
            Filter::Equal(assertion) => self.compare(assertion, |held, asked| held == asked),
            Filter::AtLeast(assertion) => self.compare(assertion, |held, asked| held >= asked),
            Filter::AtMost(assertion) => self.compare(assertion, |held, asked| held <= asked),
            Filter::Pieces(attribute, pieces) => self.pieces((*attribute)?, pieces),
            Filter::Rule(rule, assertion) => self.rule(rule, assertion),
        }
    }

    fn values(&self, attribute: &Attribute) -> &[Vec<u8>] {
        let mut all = self.attributes.iter();
        let found = all.find(|(name, _)| *name == attribute.name);
        found.map_or(&[], |(_, values)| values)
    }

    fn compare(
        &self,
        assertion: &Assertion,
        fits: impl Fn(&Folded, &Folded) -> bool,
    ) -> Option<bool> {
        let attribute = assertion.attribute?;
        let asked = attribute.syntax.asked(&assertion.value)?;
        let mut values = self.values(attribute).iter();
        Some(values.any(|value| {
            let held = attribute.syntax.held(value);
            held.is_some_and(|held| fits(&held, &asked))
        }))
    }

    /// Only texts have pieces.
    fn pieces(&self, attribute: &Attribute, pieces: &Pieces) -> Option<bool> {
        if attribute.syntax != Syntax::Text {
            return None;
        }
        let lower = |piece: &Vec<u8>| str::from_utf8(piece).ok().map(str::to_lowercase);
        let first = pieces.first.as_ref().map_or(Some(String::new()), lower)?;
        let last = pieces.last.as_ref().map_or(Some(String::new()), lower)?;
        let middle: Vec<String> = pieces.middle.iter().map(lower).collect::<Option<_>>()?;
        let fits = |value: &Vec<u8>| {
            let value = lower(value)?;
            let mut rest = value.strip_prefix(&first)?.strip_suffix(&last)?;
            for piece in &middle {
                rest = rest.split_once(piece.as_str())?.1;
            }
            Some(())
        };
        let mut values = self.values(attribute).iter();
        Some(values.any(|value| fits(value).is_some()))
    }

    fn rule(&self, rule: &str, assertion: &Assertion) -> Option<bool> {
        let attribute = assertion.attribute?;
        match rule {
            BIT_AND | BIT_OR if attribute.syntax == Syntax::Number => {
                let Folded::Number(bits) = attribute.syntax.asked(&assertion.value)? else {
                    return None;
                };
                let fits = |value: &Vec<u8>| match attribute.syntax.held(value) {
                    Some(Folded::Number(held)) if rule == BIT_AND => held & bits == bits,
                    Some(Folded::Number(held)) => held & bits != 0,
                    _ => false,
                };
                Some(self.values(attribute).iter().any(fits))
            }
            IN_CHAIN => {
                let other = self.tree.named(str::from_utf8(&assertion.value).ok()?);
                let linked = |group: usize, member| self.tree.chain(group).contains(&member);
                match attribute.name {
                    "memberOf" => Some(other.is_some_and(|other| linked(other, self.at))),
                    "member" => Some(other.is_some_and(|other| linked(self.at, other))),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Everything a filter can fit, and perhaps more, where an index knows; `None` where all must be looked at.
pub(crate) fn narrowed(tree: &Tree, filter: &Filter) -> Option<BTreeSet<usize>> {
    match filter {
        Filter::All(filters) => {
            let known = filters.iter().filter_map(|filter| narrowed(tree, filter));
            known.min_by_key(BTreeSet::len)
        }
        Filter::Any(filters) => {
            let mut all = BTreeSet::new();
            for filter in filters {
                all.extend(narrowed(tree, filter)?);
            }
            Some(all)
        }
        Filter::Equal(assertion) => {
            let text = || str::from_utf8(&assertion.value).ok();
            match assertion.attribute?.name {
                "distinguishedName" => Some(tree.named(text()?).into_iter().collect()),
                "objectGUID" | "msExchMailboxGuid" => {
                    let guid = Uuid::from_bytes_le(assertion.value.as_slice().try_into().ok()?);
                    Some(tree.with_guid(guid).into_iter().collect())
                }
                "userPrincipalName" | "mail" => Some(tree.meant(text()?).iter().copied().collect()),
                "proxyAddresses" => {
                    let (scheme, address) = text()?.split_once(':')?;
                    let known = scheme.eq_ignore_ascii_case("smtp");
                    known.then(|| tree.meant(address).iter().copied().collect())
                }
                _ => None,
            }
        }
        Filter::Rule(rule, assertion) if rule == IN_CHAIN => {
            let group = tree.named(str::from_utf8(&assertion.value).ok()?);
            let is_upwards = assertion.attribute?.name == "memberOf";
            let members = || {
                group
                    .into_iter()
                    .flat_map(|group| tree.chain(group).iter().copied())
            };
            is_upwards.then(|| members().collect())
        }
        _ => None,
    }
}
