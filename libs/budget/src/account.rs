//! What an account may start now. Pure: time is an argument, nothing waits.
//!
//! A budget is several limits at once: calls in flight, calls per sliding window, and *blocked until*
//! after the server said to slow down. It answers when, not only whether.

use std::{collections::VecDeque, time::Duration};

use calgrant_domain::Limits;

/// A moment, as the time since any fixed start by a clock that never goes back.
pub type Moment = Duration;

/// What a budget says to calls that want to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may, and are counted from now on.
    Go,
    /// Not before this moment; ask again then.
    WaitUntil(Moment),
    /// Not before a call in flight ends; ask again then.
    WaitForRelease,
}

/// The budget of one account.
///
/// The server counts a call in its window when it arrives: some time between our start and its reply.
/// So a call is counted from its start until a whole window after its *end*: whatever happens
/// in between, the server never sees more than it allows.
#[derive(Debug, Clone)]
pub struct Budget {
    limits: Limits,
    in_flight: u32,
    /// Ends of calls that some window still counts, oldest first.
    ended: VecDeque<Moment>,
    /// Calls without a reply: the server may go on working on them until then. Oldest first.
    abandoned: VecDeque<Moment>,
    blocked_until: Moment,
}

impl Budget {
    /// A budget of which nothing is used. Limits of zero are taken as one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            in_flight: 0,
            ended: VecDeque::new(),
            abandoned: VecDeque::new(),
            blocked_until: Moment::ZERO,
        }
    }

    /// The most calls that can ever start together.
    pub fn largest_round(&self) -> u32 {
        self.limits
            .windows
            .iter()
            .map(|window| window.calls)
            .chain([self.limits.in_flight])
            .min()
            .unwrap_or(1)
            .max(1)
    }

    /// Asks for `calls` to start together at `now`. More than [`Self::largest_round`] never may.
    pub fn ask(&mut self, now: Moment, calls: u32) -> Verdict {
        let verdict = self.look(now, calls);
        if verdict == Verdict::Go {
            self.in_flight += calls;
        }
        verdict
    }

    /// What [`Self::ask`] would say; starts nothing.
    pub fn look(&mut self, now: Moment, calls: u32) -> Verdict {
        self.forget(now);
        if now < self.blocked_until {
            return Verdict::WaitUntil(self.blocked_until);
        }
        let mut go_at = now;
        for window in &self.limits.windows {
            // Those that ended within the window, the oldest of which leave it first.
            let counted = self
                .ended
                .partition_point(|end| *end + window.length <= now);
            let recent = self.ended.len() - counted;
            let Some(over) = (self.in_flight as usize + recent + calls as usize)
                .checked_sub(window.calls.max(1) as usize)
            else {
                continue;
            };
            if over > recent {
                return self.wait_for_release();
            }
            if over > 0 {
                go_at = go_at.max(self.ended[counted + over - 1] + window.length);
            }
        }
        if self.in_flight + calls > self.limits.in_flight.max(1) {
            return self.wait_for_release();
        }
        if go_at > now {
            Verdict::WaitUntil(go_at)
        } else {
            Verdict::Go
        }
    }

    /// Calls ended at `now`: they were answered, or never left.
    pub fn release(&mut self, now: Moment, calls: u32) {
        let calls = calls.min(self.in_flight);
        self.in_flight -= calls;
        if !self.limits.windows.is_empty() {
            // Clocks of several threads may hand in ends slightly out of order; the later one counts for both.
            let end = self.ended.back().map_or(now, |last| now.max(*last));
            self.ended.extend((0..calls).map(|_| end));
        }
    }

    /// Calls got no answer: they keep their places until `until`, because the server may still work on them.
    pub fn abandon(&mut self, until: Moment, calls: u32) {
        let until = self.abandoned.back().map_or(until, |last| until.max(*last));
        self.abandoned.extend((0..calls).map(|_| until));
    }

    /// The server said to slow down: nothing starts before `until`.
    pub fn push_back(&mut self, until: Moment) {
        self.blocked_until = self.blocked_until.max(until);
    }

    /// Other limits from now on; what is in use stays counted.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Calls in flight, abandoned ones included.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn wait_for_release(&self) -> Verdict {
        match self.abandoned.front() {
            // All that holds us may be abandoned calls, whose end nobody reports.
            Some(until) => Verdict::WaitUntil(*until),
            None => Verdict::WaitForRelease,
        }
    }

    fn forget(&mut self, now: Moment) {
        while self.abandoned.front().is_some_and(|until| *until <= now) {
            self.abandoned.pop_front();
            self.release(now, 1);
        }
        let longest = self
            .limits
            .windows
            .iter()
            .map(|window| window.length)
            .max()
            .unwrap_or_default();
        while self.ended.front().is_some_and(|end| *end + longest <= now) {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calgrant_domain::CallWindow;
    use proptest::prelude::*;

    fn limits(in_flight: u32, windows: &[(u32, u64)]) -> Limits {
        Limits {
            in_flight,
            windows: windows
                .iter()
                .map(|(calls, millis)| CallWindow {
                    calls: *calls,
                    length: Duration::from_millis(*millis),
                })
                .collect(),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn in_flight_is_bounded_and_released() {
        let mut budget = Budget::new(limits(2, &[]));
        assert_eq!(budget.ask(at(0), 2), Verdict::Go);
        assert_eq!(budget.ask(at(1), 1), Verdict::WaitForRelease);
        budget.release(at(2), 1);
        assert_eq!(budget.ask(at(2), 1), Verdict::Go);
        assert_eq!(budget.in_flight(), 2);
    }

    #[test]
    fn a_window_says_when() {
        let mut budget = Budget::new(limits(10, &[(2, 1000)]));
        assert_eq!(budget.ask(at(0), 2), Verdict::Go);
        budget.release(at(100), 1);
        budget.release(at(300), 1);
        assert_eq!(budget.ask(at(400), 1), Verdict::WaitUntil(at(1100)));
        assert_eq!(budget.ask(at(400), 2), Verdict::WaitUntil(at(1300)));
        assert_eq!(budget.ask(at(1100), 1), Verdict::Go);
    }

    #[test]
    fn pushback_beats_everything_and_abandoned_calls_keep_their_place() {
        let mut budget = Budget::new(limits(1, &[]));
        budget.push_back(at(500));
        budget.push_back(at(300));
        assert_eq!(budget.ask(at(400), 1), Verdict::WaitUntil(at(500)));
        assert_eq!(budget.ask(at(500), 1), Verdict::Go);
        budget.abandon(at(60_500), 1);
        assert_eq!(budget.ask(at(600), 1), Verdict::WaitUntil(at(60_500)));
        assert_eq!(budget.ask(at(60_500), 1), Verdict::Go);
    }

    proptest! {
        /// Whenever within a call the server counts it, no window of its own ever holds more than allowed,
        /// nor are more in flight; and every ask is granted in the end.
        #[test]
        fn never_over_and_never_starved(
            in_flight in 1u32..6, calls in 1u32..8, length in 1u64..400,
            asks in prop::collection::vec((0u64..50, 1u64..120, 0.0f64..1.0), 1..120),
        ) {
            let mut budget = Budget::new(limits(in_flight, &[(calls, length)]));
            let (mut now, mut running, mut arrivals) = (0u64, Vec::<u64>::new(), Vec::<u64>::new());
            for (gap, takes, fraction) in asks {
                now += gap;
                let mut rounds = 0;
                loop {
                    running.sort_unstable();
                    while running.first().is_some_and(|end| *end <= now) {
                        budget.release(at(running.remove(0)), 1);
                    }
                    match budget.ask(at(now), 1) {
                        Verdict::Go => break,
                        Verdict::WaitUntil(when) => {
                            let when = u64::try_from(when.as_millis()).unwrap();
                            prop_assert!(when > now, "a wait ends later");
                            now = running.first().map_or(when, |end| when.min((*end).max(now + 1)));
                        }
                        Verdict::WaitForRelease => now = *running.first().expect("something runs"),
                    }
                    rounds += 1;
                    prop_assert!(rounds < 1000, "starved");
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers of a test")]
                arrivals.push(now + (takes as f64 * fraction) as u64);
                running.push(now + takes);
                prop_assert!(running.len() <= in_flight as usize);
            }
            arrivals.sort_unstable();
            for pair in arrivals.windows(calls as usize + 1) {
                prop_assert!(pair[calls as usize] - pair[0] >= length, "window overrun: {pair:?}");
            }
        }
    }
}
