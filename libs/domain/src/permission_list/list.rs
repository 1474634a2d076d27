//! The list, and the change of one entry in it.

use std::fmt;

use super::{Entry, Flags, Identity, Written, WrittenEntry, WrittenIdentity};
use crate::{Address, Observed, Rights};

/// How many entries a text names; it counts the others.
const NAMED: usize = 5;

/// A calendar's permission list, as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionList {
    /// Its entries, in the server's order.
    pub entries: Vec<Entry>,
    /// Entries of whom the directory knows nobody any more. Servers don't take them back, and drop them when the list is written.
    pub unknown: Vec<String>,
}

/// What is changed: the trustee's own entry, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It holds exactly these rights.
    Give(Rights),
    /// There is none.
    Take,
}

/// A list to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The whole list.
    pub entries: Vec<WrittenEntry>,
    /// Who had several entries that said the same, and has one now.
    pub merged: Vec<Identity>,
}

/// An entry that can't be written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfaithful {
    /// Whose, in words.
    pub who: String,
    /// Why it can't.
    pub why: &'static str,
}

/// The list can't be written without losing or changing entries of others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CannotRebuild {
    /// Which entries. Not empty.
    pub entries: Vec<Unfaithful>,
}

impl fmt::Display for CannotRebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("writing the list would lose or change entries of others: ")?;
        for (at, Unfaithful { who, why }) in self.entries.iter().take(NAMED).enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            let who: String = who.chars().take(80).collect();
            write!(f, "{who} ({why})")?;
        }
        match self.entries.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl PermissionList {
    /// What the trustee's own entry holds. Several, as migrations leave them, count together.
    pub fn observed(&self, trustee: &Address) -> Observed {
        let own = self.own(trustee);
        let together = own
            .iter()
            .map(|one| one.flags.rights().0)
            .reduce(|one, other| one | other);
        together.map_or(Observed::Absent, |bits| Observed::Present(Rights(bits)))
    }

    /// Whether the change would change nothing.
    pub fn holds(&self, trustee: &Address, change: Change) -> bool {
        match (change, self.own(trustee).as_slice()) {
            (Change::Give(rights), [only]) => only.flags == Flags::of(rights),
            (Change::Take, []) => true,
            _ => false,
        }
    }

    /// The list to write so that the trustee's entry is as wanted and all others are as they were.
    ///
    /// # Errors
    /// An entry of somebody else can't be written as it is: each is named.
    pub fn changed(&self, trustee: &Address, change: Change) -> Result<Rebuilt, CannotRebuild> {
        let mut bad: Vec<Unfaithful> = self
            .unknown
            .iter()
            .map(|who| Unfaithful {
                who: who.clone(),
                why: "nobody in the directory, and dropped by a write",
            })
            .collect();
        let (mut entries, mut merged, mut own_at) = (Vec::new(), Vec::new(), None);
        let mut own = None;
        for same in self.by_principal() {
            if same.iter().any(|one| one.identity.is(trustee)) {
                own_at = Some(entries.len());
                own = named(&same);
                continue;
            }
            let Some((first, twins)) = same.split_first() else {
                continue;
            };
            if twins.iter().any(|twin| twin.flags != first.flags) {
                bad.push(Unfaithful {
                    who: first.identity.to_string(),
                    why: "has several entries that differ, and a write takes one",
                });
            } else if let Some(identity) = named(&same) {
                entries.push(WrittenEntry {
                    identity,
                    rights: Written::of(first.flags),
                });
                merged.extend(twins.iter().map(|twin| twin.identity.clone()));
            } else {
                bad.push(Unfaithful {
                    who: first.identity.to_string(),
                    why: "nothing that a write takes says whose it is",
                });
            }
        }
        if !bad.is_empty() {
            return Err(CannotRebuild { entries: bad });
        }
        if let Change::Give(rights) = change {
            let own = WrittenEntry {
                identity: own.unwrap_or_else(|| WrittenIdentity::Address(trustee.to_string())),
                rights: Written::of(Flags::of(rights)),
            };
            entries.insert(own_at.unwrap_or(entries.len()), own);
        }
        Ok(Rebuilt { entries, merged })
    }

    /// Others' entries of this list that a later one lacks, or holds otherwise.
    pub fn lost_in(&self, later: &Self, trustee: &Address) -> Vec<&Identity> {
        let kept = |one: &Entry| {
            later
                .entries
                .iter()
                .any(|other| other.identity.same_as(&one.identity) && other.flags == one.flags)
        };
        self.by_principal()
            .into_iter()
            .filter(|same| !same.iter().any(|one| one.identity.is(trustee) || kept(one)))
            .filter_map(|same| same.first().map(|one| &one.identity))
            .collect()
    }

    fn own(&self, trustee: &Address) -> Vec<&Entry> {
        let mut each = self.by_principal().into_iter();
        each.find(|same| same.iter().any(|one| one.identity.is(trustee)))
            .unwrap_or_default()
    }

    /// The entries, those of the same principal together, in the order of the first of each.
    fn by_principal(&self) -> Vec<Vec<&Entry>> {
        let mut groups: Vec<Vec<&Entry>> = Vec::new();
        for entry in &self.entries {
            let same = |group: &Vec<&Entry>| {
                group
                    .iter()
                    .any(|one| one.identity.same_as(&entry.identity))
            };
            match groups.iter().position(same) {
                None => groups.push(vec![entry]),
                Some(first) => {
                    // It may be what shows that two are one: by identifier to this, by address to that.
                    let mut at = first + 1;
                    while at < groups.len() {
                        if same(&groups[at]) {
                            let more = groups.remove(at);
                            groups[first].extend(more);
                        } else {
                            at += 1;
                        }
                    }
                    groups[first].push(entry);
                }
            }
        }
        groups
    }
}

/// How a principal is written: by its security identifier if its entries agree on one, else by its address.
fn named(same: &[&Entry]) -> Option<WrittenIdentity> {
    let mut ways: Vec<WrittenIdentity> = Vec::new();
    for way in same.iter().filter_map(|one| one.identity.written()) {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    let mut sids = ways
        .iter()
        .filter(|way| matches!(way, WrittenIdentity::Sid(_)));
    if let (Some(only), None) = (sids.next(), sids.next()) {
        return Some(only.clone());
    }
    let address = same.iter().find_map(|one| match &one.identity {
        Identity::Principal { address, .. } => address.clone(),
        _ => None,
    });
    address
        .map(WrittenIdentity::Address)
        .or_else(|| ways.into_iter().next())
}
