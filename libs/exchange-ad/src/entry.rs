//! Entries as the server sends them.

use std::collections::HashMap;

use ldap3::{ResultEntry, SearchEntry};
use uuid::Uuid;

use crate::range::{self, BadRange};

/// One object: its name and the attributes that were asked for, by their names in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) dn: String,
    attributes: HashMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    /// Takes an entry of a result apart.
    pub(crate) fn of(raw: ResultEntry) -> Self {
        // Values that happen to be UTF-8 are told apart there, which for identifiers is chance: here all are bytes.
        let SearchEntry {
            dn,
            attrs,
            bin_attrs,
        } = SearchEntry::construct(raw);
        let texts = attrs.into_iter().map(|(name, values)| {
            (
                name,
                values
                    .into_iter()
                    .map(String::into_bytes)
                    .collect::<Vec<_>>(),
            )
        });
        Self::with(dn, texts.chain(bin_attrs))
    }

    /// An entry of these attributes.
    pub(crate) fn with(
        dn: String,
        attributes: impl IntoIterator<Item = (String, Vec<Vec<u8>>)>,
    ) -> Self {
        let mut all: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
        for (name, values) in attributes {
            all.entry(name.to_ascii_lowercase())
                .or_default()
                .extend(values);
        }
        Self {
            dn,
            attributes: all,
        }
    }

    /// The first value, as it is.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let values = self.attributes.get(&name.to_ascii_lowercase())?;
        Some(values.first()?.as_slice())
    }

    /// The first value that is a text and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// Every value that is a text and not empty.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.attributes
            .get(&name.to_ascii_lowercase())
            .into_iter()
            .flatten()
            .filter_map(|value| std::str::from_utf8(value).ok())
            .filter(|value| !value.is_empty())
    }

    /// The first value as a number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// The first value as a GUID; none of zeros, which stands for none.
    pub(crate) fn guid(&self, name: &str) -> Option<Uuid> {
        let bytes: [u8; 16] = self.bytes(name)?.try_into().ok()?;
        let guid = Uuid::from_bytes_le(bytes);
        (!guid.is_nil()).then_some(guid)
    }

    /// The last number of its security identifier, if a domain gave it: what `primaryGroupID` names it by.
    pub(crate) fn rid(&self) -> Option<u32> {
        match self.bytes("objectSid")? {
            // Revision, count of numbers, authority 5 (NT), the numbers: a domain's begin with 21.
            [1, count, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, rest @ ..]
                if rest.len() == usize::from(*count).saturating_sub(1) * 4 =>
            {
                let last: [u8; 4] = *rest.last_chunk()?;
                Some(u32::from_le_bytes(last))
            }
            _ => None,
        }
    }

    /// The values of a ranged attribute that was asked for from `asked` on, and where to go on.
    pub(crate) fn slice(
        &self,
        attribute: &str,
        asked: u32,
    ) -> Result<(&[Vec<u8>], Option<u32>), BadRange> {
        let named = self.attributes.iter();
        range::read(
            named.map(|(name, values)| (name.as_str(), values)),
            attribute,
            asked,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &[u8]) -> Entry {
        Entry::with(String::new(), [(name.to_owned(), vec![value.to_vec()])])
    }

    #[test]
    fn guids_are_mixed_endian_and_zeros_are_none() {
        let bytes: Vec<u8> = (0..16).collect();
        let guid = entry("objectGUID", &bytes).guid("objectguid").unwrap();
        assert_eq!(guid.to_string(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(entry("g", &[0; 16]).guid("g"), None);
        assert_eq!(entry("g", &bytes[..15]).guid("g"), None);
    }

    #[test]
    fn rids_are_those_of_domains() {
        let sid = |numbers: &[u32]| {
            let mut bytes = vec![1, u8::try_from(numbers.len()).unwrap(), 0, 0, 0, 0, 0, 5];
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            entry("objectSid", &bytes).rid()
        };
        assert_eq!(sid(&[21, 1, 2, 3, 1105]), Some(1105));
        assert_eq!(sid(&[32, 545]), None); // BUILTIN\Users
        assert_eq!(sid(&[21]), None);
        assert_eq!(entry("objectSid", &[1, 5]).rid(), None);
    }
}
