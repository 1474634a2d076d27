//! Which ready jobs fill a window: drawn so that operations have as many under way as each other, as far as they can.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{JobId, OperationId};

/// What an operation has to offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Which.
    pub operation: OperationId,
    /// Jobs of it that are published.
    pub under_way: usize,
    /// Its first ready jobs, oldest first.
    pub ready: Vec<JobId>,
    /// Whether it may have more than these.
    pub more: bool,
}

/// One in so many of a window's places is what work in the background may have: whoever comes next waits for no more than that.
const BACKGROUND_SHARE: usize = 20;

/// For how many jobs more a window of `window` has room: of which operations, the others having `others` published and those in the
/// background `background`. Work in the background has room only while nothing of any other is published.
pub fn room(window: usize, others: usize, background: usize, in_background: bool) -> usize {
    let free = window.saturating_sub(others + background);
    if !in_background {
        free
    } else if others > 0 {
        0
    } else {
        free.min(
            (window / BACKGROUND_SHARE)
                .max(1)
                .saturating_sub(background),
        )
    }
}

/// How many ready jobs of each operation that has more must be known before `room` can be filled; `None` when enough is known.
pub fn quota(offers: &[Offer], room: usize) -> Option<usize> {
    let open = offers.iter().filter(|offer| offer.more).count();
    if open == 0 {
        return None;
    }
    let known: usize = offers.iter().map(|offer| offer.ready.len()).sum();
    let deepest = offers
        .iter()
        .filter(|offer| offer.more)
        .map(|offer| offer.ready.len())
        .max()
        .unwrap_or(0);
    let missing = room.checked_sub(known).filter(|missing| *missing > 0)?;
    Some(deepest + missing.div_ceil(open))
}

/// Chooses at most `room` jobs: those first whose operation then has the fewest under way. Among equals the `turn` decides,
/// so that in a narrow window it isn't always the same ones.
pub fn draw(offers: &[Offer], room: usize, turn: u32) -> Vec<JobId> {
    let mut ranked: Vec<_> = offers
        .iter()
        .flat_map(|offer| {
            let mut hasher = DefaultHasher::new();
            (turn, offer.operation).hash(&mut hasher);
            let luck = hasher.finish();
            offer
                .ready
                .iter()
                .enumerate()
                .map(move |(rank, job)| (offer.under_way + rank, luck, *job))
        })
        .collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(room)
        .map(|(_, _, job)| job)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn offer(number: u128, under_way: usize, ready: u128, more: bool) -> Offer {
        Offer {
            operation: OperationId::from_uuid(Uuid::from_u128(number)),
            under_way,
            ready: (0..ready)
                .map(|job| JobId::from_uuid(Uuid::from_u128(number * 1000 + job)))
                .collect(),
            more,
        }
    }

    fn drawn_of(drawn: &[JobId], number: u128) -> usize {
        drawn
            .iter()
            .filter(|job| job.as_uuid().as_u128() / 1000 == number)
            .count()
    }

    #[test]
    fn the_one_with_fewer_under_way_catches_up() {
        let offers = [
            offer(1, 6, 50, true),
            offer(2, 0, 50, true),
            offer(3, 0, 1, false),
        ];
        let drawn = draw(&offers, 9, 0);
        assert_eq!([1, 2, 3].map(|number| drawn_of(&drawn, number)), [1, 7, 1]);
    }

    #[test]
    fn in_a_narrow_window_everybody_has_a_turn() {
        let offers: Vec<_> = (1..=20).map(|number| offer(number, 0, 5, true)).collect();
        let first: std::collections::HashSet<_> = (0..500)
            .flat_map(|turn| draw(&offers, 1, turn))
            .map(|job| job.as_uuid().as_u128() / 1000)
            .collect();
        assert_eq!(first.len(), 20);
    }

    #[test]
    fn work_in_the_background_has_a_small_part_of_an_idle_window() {
        for (others, background, in_background, want) in [
            (0, 0, false, 2000),
            (0, 0, true, 100),
            (0, 40, true, 60),
            (0, 140, true, 0),
            (1, 0, true, 0),
            (1, 99, false, 1900),
            (2000, 0, false, 0),
        ] {
            let found = room(2000, others, background, in_background);
            assert_eq!(found, want, "{others} {background} {in_background}");
        }
        assert_eq!(room(3, 0, 0, true), 1);
    }

    #[test]
    fn no_more_is_read_than_could_be_needed() {
        let offers: Vec<_> = (1..=4).map(|number| offer(number, 0, 0, true)).collect();
        assert_eq!(quota(&offers, 10), Some(3));
        let read = [
            offer(1, 0, 3, true),
            offer(2, 0, 1, false),
            offer(3, 0, 3, true),
        ];
        assert_eq!(quota(&read, 10), Some(5));
        assert_eq!(quota(&read, 7), None);
        assert_eq!(quota(&[offer(1, 0, 3, false)], 7), None);
    }
}
