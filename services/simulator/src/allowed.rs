//! What a perfect client could have done under a limit.

use std::time::Duration;

/// The calls a sliding window lets in from `since` to `until`, when each is made as soon as there is room.
///
/// `earlier` are the arrivals before `since`, oldest first. Think of the window as so many slots, each of which takes
/// one call per window.
pub(crate) fn in_window(
    calls: u32,
    window: Duration,
    earlier: &[Duration],
    since: Duration,
    until: Duration,
) -> u64 {
    let per_slot = |free_at: Duration| -> u64 {
        until.checked_sub(free_at).map_or(0, |left| {
            let windows = left.as_nanos() / window.as_nanos().max(1);
            u64::try_from(windows).unwrap_or(u64::MAX).saturating_add(1)
        })
    };
    let slots = usize::try_from(calls).unwrap_or(usize::MAX);
    let live = earlier.iter().rev().take(slots);
    let taken: Vec<u64> = live
        .map(|arrival| *arrival + window)
        .take_while(|free_at| *free_at > since)
        .map(per_slot)
        .collect();
    let free = u64::try_from(slots.saturating_sub(taken.len())).unwrap_or(u64::MAX);
    let fresh = free.saturating_mul(per_slot(since));
    taken.iter().sum::<u64>().saturating_add(fresh)
}

/// The calls that fit into so many places for so long, when one takes `busy / calls`.
pub(crate) fn in_flight(places: u32, lasted: Duration, calls: u64, busy: Duration) -> Option<u64> {
    let each = busy.as_nanos() / u128::from(calls.max(1));
    let room = lasted.as_nanos().saturating_mul(u128::from(places));
    room.checked_div(each)
        .map(|most| u64::try_from(most).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Duration, in_flight, in_window};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn slots_of_a_window_are_used_again_and_again() {
        // three at 0, 10, 20, 30
        assert_eq!(in_window(3, at(10), &[], at(0), at(35)), 12);
        assert_eq!(in_window(3, at(10), &[], at(0), at(9)), 3);
        // one slot is taken until 5: 5, 15, 25, 35, and twice 0, 10, 20, 30
        let earlier = [Duration::ZERO];
        assert_eq!(in_window(3, at(10), &earlier, at(5), at(40)), 4 + 2 * 4);
        // what is long gone takes no slot
        assert_eq!(in_window(3, at(10), &earlier, at(50), at(50)), 3);
        // more arrivals than a lowered limit has slots: the latest hold them
        let many = [at(1), at(2), at(3)];
        assert_eq!(in_window(1, at(10), &many, at(4), at(12)), 0);
        assert_eq!(in_window(1, at(10), &many, at(4), at(13)), 1);
    }

    #[test]
    fn places_are_filled_by_the_time_a_call_takes() {
        assert_eq!(in_flight(4, at(10), 5, at(1)), Some(200));
        assert_eq!(in_flight(4, at(10), 0, at(0)), None);
    }
}
