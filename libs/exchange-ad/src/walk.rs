//! The walk through nested groups, for servers that don't walk for us: which group comes next, and who was met before. Pure.
//!
//! Breadth first; a group is read once however often and in whatever circles it is nested, and a person is listed once
//! through however many groups. Remembers 16 bytes for each.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Walk {
    ahead: VecDeque<Uuid>,
    groups: HashSet<Uuid>,
    others: HashSet<Uuid>,
}

impl Walk {
    /// A walk from this group.
    pub(crate) fn from(root: Uuid) -> Self {
        Self {
            ahead: VecDeque::from([root]),
            groups: HashSet::from([root]),
            others: HashSet::new(),
        }
    }

    /// The next group to read; `None` when all are read.
    pub(crate) fn next_group(&mut self) -> Option<Uuid> {
        self.ahead.pop_front()
    }

    /// A group was met as a member.
    pub(crate) fn met_group(&mut self, group: Uuid) {
        if self.groups.insert(group) {
            self.ahead.push_back(group);
        }
    }

    /// Somebody else was met as a member: whether for the first time.
    pub(crate) fn met(&mut self, who: Uuid) -> bool {
        self.others.insert(who)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const PEOPLE_FROM: usize = 1000;

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    /// Walks a directory given as lists of members: who was listed, and which groups were read, both in order.
    fn walked(members: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
        let (mut listed, mut read) = (Vec::new(), Vec::new());
        let mut walk = Walk::from(id(0));
        while let Some(group) = walk.next_group() {
            let group = usize::try_from(group.as_u128()).unwrap();
            read.push(group);
            for &member in &members[group] {
                if member < PEOPLE_FROM {
                    walk.met_group(id(member));
                } else if walk.met(id(member)) {
                    listed.push(member);
                }
            }
        }
        (listed, read)
    }

    #[test]
    fn cycles_and_diamonds() {
        // 0 holds 1 and 2, both hold 3, which holds 0 again and itself.
        let members = [
            vec![1, 2, 1000],
            vec![3, 1001],
            vec![3, 1000],
            vec![0, 3, 1001, 1002],
        ];
        assert_eq!(walked(&members), (vec![1000, 1001, 1002], vec![0, 1, 2, 3]));
    }

    proptest! {
        /// Everybody who can be reached is listed once, nobody else is, and every group is read once at most.
        #[test]
        fn reaches_everybody_once(
            members in prop::collection::vec(prop::collection::vec(
                prop_oneof![0usize..12, PEOPLE_FROM..PEOPLE_FROM + 30], 0..8), 12)
        ) {
            let (listed, read) = walked(&members);
            let mut reached = BTreeSet::from([0]);
            loop {
                let more: BTreeSet<usize> = reached.iter().filter(|at| **at < PEOPLE_FROM)
                    .flat_map(|at| members[*at].iter().copied()).collect();
                let before = reached.len();
                reached.extend(more);
                if reached.len() == before { break; }
            }
            let people: BTreeSet<usize> = reached.iter().copied().filter(|at| *at >= PEOPLE_FROM).collect();
            let groups: BTreeSet<usize> = reached.into_iter().filter(|at| *at < PEOPLE_FROM).collect();
            prop_assert_eq!(listed.len(), people.len());
            prop_assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), people);
            prop_assert_eq!(read.len(), groups.len());
            prop_assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), groups);
        }
    }
}
