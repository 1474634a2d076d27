//! How units of a limit are split among the replicas that want some: whole, fair, and the same as before if nothing changed.

/// What the bulk lane keeps of a limit while the interactive lane could use all, in percent.
const BULK_KEEPS_PERCENT: u64 = 20;

/// What a replica wants of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Want {
    /// For calls somebody waits for.
    pub(super) interactive: u64,
    /// For the others, what is in use included.
    pub(super) bulk: u64,
    /// What it has now.
    pub(super) has: u64,
    /// Its claim to what can't be divided: the higher goes first.
    pub(super) claim: u64,
    /// Whether it has work, whatever it lacks.
    pub(super) hopes: bool,
    /// Whether it lacks something else, without which it can make no use of any.
    pub(super) barred: bool,
    /// In proportion to this, what isn't enough is split. Zero counts as one.
    pub(super) weight: u64,
    /// Whether it can make use of any: it does, or lacks some.
    pub(super) useful: bool,
    /// Whether it does make use of some.
    pub(super) working: bool,
    /// Decides between equals: another for each key.
    pub(super) lot: u64,
    /// The same, but alike for all keys: who gets a first unit of one gets it of all, or could use none.
    pub(super) first: u64,
}

/// Each one's part of `capacity`. Together never more.
pub(super) fn split(capacity: u64, wants: &[Want]) -> Vec<u64> {
    let mut parts = vec![0; wants.len()];
    let any_bulk = wants.iter().any(|want| want.bulk > 0);
    let kept = if any_bulk {
        capacity * BULK_KEEPS_PERCENT / 100
    } else {
        0
    };
    let mut left = capacity;
    left -= first(left, wants, &mut parts);
    let interactive: Vec<u64> = wants
        .iter()
        .zip(&parts)
        .map(|(want, part)| want.interactive.saturating_sub(*part))
        .collect();
    let for_interactive = left.saturating_sub(kept);
    left -= fill(for_interactive, &interactive, wants, &mut parts);
    // A first unit counts for the interactive lane if that wants any.
    let bulk: Vec<u64> = wants
        .iter()
        .map(|want| {
            want.bulk
                .saturating_sub(u64::from(want.interactive == 0 && want.useful))
        })
        .collect();
    left -= fill(left, &bulk, wants, &mut parts);
    let rest: Vec<u64> = wants
        .iter()
        .zip(&parts)
        .map(|(want, part)| (want.interactive + want.bulk).saturating_sub(*part))
        .collect();
    left -= fill(left, &rest, wants, &mut parts);
    // Nobody asks for the rest. Whoever has work may have it, but among several some stays for the next who comes.
    let active = |want: &Want| want.hopes || want.interactive + want.bulk > 0;
    let count = wants.iter().filter(|want| active(want)).count() as u64;
    let spare = if count > 1 { left / 2 } else { left };
    let each = spare.checked_div(count).unwrap_or_default();
    for (part, want) in parts.iter_mut().zip(wants) {
        if active(want) {
            *part += each;
        }
    }
    parts
}

/// One unit for each who can use it. If there are too few, an account runs on fewer replicas.
fn first(capacity: u64, wants: &[Want], parts: &mut [u64]) -> u64 {
    let mut order: Vec<usize> = (0..wants.len())
        .filter(|index| wants[*index].useful && wants[*index].interactive + wants[*index].bulk > 0)
        .collect();
    if order.len() as u64 > capacity {
        order.sort_unstable_by_key(|index| {
            let want = &wants[*index];
            // Handing over costs a second: who works keeps on.
            std::cmp::Reverse((want.claim, want.interactive > 0, want.working, want.first))
        });
    }
    let mut left = capacity;
    for index in order {
        let one = left.min(1);
        parts[index] += one;
        left -= one;
    }
    capacity - left
}

/// Adds to each part what is asked, the smaller asks in full, the larger ones cut in proportion to their weights. Returns what was given.
fn fill(capacity: u64, asked: &[u64], wants: &[Want], parts: &mut [u64]) -> u64 {
    let weight = |index: usize| wants[index].weight.max(1);
    let mut order: Vec<usize> = (0..asked.len()).filter(|index| asked[*index] > 0).collect();
    order.sort_unstable_by_key(|index| asked[*index] * 1000 / weight(*index));
    let mut left = capacity;
    let mut weights: u64 = order.iter().map(|index| weight(*index)).sum();
    let mut cut = order.len();
    for (done, index) in order.iter().enumerate() {
        if asked[*index] > left * weight(*index) / weights {
            cut = done;
            break;
        }
        parts[*index] += asked[*index];
        left -= asked[*index];
        weights -= weight(*index);
    }
    let cut = &mut order[cut..];
    if !cut.is_empty() {
        let all = left;
        for index in cut.iter() {
            let part = all * weight(*index) / weights;
            parts[*index] += part;
            left -= part;
        }
        // Whole units: some get one more. Those with the better claim, then those who have it already.
        cut.sort_unstable_by_key(|index| {
            let want = &wants[*index];
            std::cmp::Reverse((want.claim, want.has.min(parts[*index] + 1), want.lot))
        });
        for index in cut {
            let more = u64::from(left > 0);
            parts[*index] += more;
            left -= more;
        }
    }
    capacity - left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bulk(bulk: u64, has: u64) -> Want {
        Want {
            bulk,
            has,
            ..Want::default()
        }
    }

    #[test]
    fn parts_are_fair_and_whole_and_stay() {
        for (capacity, wants, want) in [
            (
                10,
                vec![bulk(100, 0), bulk(100, 4), bulk(100, 3)],
                vec![3, 4, 3],
            ),
            (1, vec![bulk(9, 0), bulk(9, 1), bulk(9, 0)], vec![0, 1, 0]),
            (10, vec![bulk(1, 5), bulk(100, 5)], vec![1, 9]),
            (10, vec![bulk(2, 0), bulk(0, 9)], vec![10, 0]),
            (10, vec![bulk(2, 0), bulk(2, 0)], vec![3, 3]),
        ] {
            assert_eq!(split(capacity, &wants), want, "{capacity} for {wants:?}");
        }
    }

    #[test]
    fn interactive_goes_first_and_bulk_keeps_its_share() {
        let interactive = Want {
            interactive: 100,
            ..Want::default()
        };
        assert_eq!(split(10, &[interactive, bulk(100, 10)]), [8, 2]);
        assert_eq!(split(1, &[interactive, bulk(100, 1)]), [1, 0]);
        let one = Want {
            interactive: 1,
            ..Want::default()
        };
        assert_eq!(split(10, &[one, bulk(100, 10)]), [1, 9]);
    }

    proptest! {
        #[test]
        fn never_more_than_there_is_and_nothing_is_wasted(
            capacity in 0u64..200,
            wants in prop::collection::vec((0u64..50, 0u64..50, 0u64..50, 0u64..3), 0..8),
        ) {
            let wants: Vec<Want> = wants.into_iter()
                .map(|(interactive, bulk, has, claim)| Want { interactive, bulk, has, claim, useful: interactive % 2 == 0, ..Want::default() }).collect();
            let parts = split(capacity, &wants);
            let asked: u64 = wants.iter().map(|want| want.interactive + want.bulk).sum();
            prop_assert!(parts.iter().sum::<u64>() <= capacity);
            prop_assert!(parts.iter().sum::<u64>() >= asked.min(capacity));
            // Who gets less than he asked has at most one less than anybody who has more than he asked.
            for (part, want) in parts.iter().zip(&wants) {
                prop_assert!(want.interactive + want.bulk > 0 || *part == 0);
            }
        }
    }
}
