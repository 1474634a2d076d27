//! What a key learns from the server: how much it takes before it refuses, and when it slows down.
//!
//! On the first refusal the level is halved, then the ceiling is searched for by halves between what held and what failed. From then
//! on the level stays just under the ceiling; a probe goes above it now and then, the more seldom the more often it failed.
//!
//! Refusals also come in storms that have nothing to do with us. What is refused then, far below what had just held, lowers the level
//! but is not taken for the ceiling: when the storm is over, the search goes on towards what had held.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{
    Moment,
    key::Window,
    message::{Overload, Pushback},
};

/// A level that was used up for so long has proved itself.
const PROOF: Duration = Duration::from_secs(20);
/// The same, before a ceiling is forgotten.
const LONG_PROOF: Duration = Duration::from_secs(300);
/// The first probe above the ceiling comes after so long of use just under it.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
/// The longest time between probes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(3600);
/// Refusals so soon after the level was lowered belong to what was before.
const SETTLES: Duration = Duration::from_secs(4);
/// Refusals so soon after the first of them may be of one storm.
const STORM: Duration = Duration::from_secs(30);
/// For how long what held is remembered.
const HELD_FOR: Duration = Duration::from_secs(600);
/// A rate below which one refusal says nothing about how many calls are too many, in thousandths of a call a second: it is
/// waited for, that is all. The search for a ceiling begins no lower. One client that makes its calls one after the other makes so many.
const FEW: u64 = 4000;
/// The search ends when so little is between what held and what failed, in percent.
const NEAR_PERCENT: u64 = 4;
/// The first step of probes, in percent.
const FIRST_STEP_PERCENT: u64 = 3;
/// The largest step of probes, in percent.
const LARGEST_STEP_PERCENT: u64 = 50;
/// A rate counts as used up from so much of it on, in percent.
const RATE_USED_UP_PERCENT: u64 = 90;
/// The same while calls wait for nothing else: shares of several replicas, and calls that are counted for longer than the server counts
/// them, leave a part of it unused.
const BINDING_RATE_USED_UP_PERCENT: u64 = 60;
/// The same for slots.
const USED_UP_PERCENT: u64 = 85;
/// A wait, if the server named none; doubled while refusals go on.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest wait that the server did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Refusals so soon after a wait mean that it was too short.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// The time over which rates are measured.
const MEASURED_OVER_SECS: f64 = 10.0;
/// A learned rate is kept as about so many calls per window, so that rounding is small.
const CALLS_PER_WINDOW: u64 = 60;

/// A level searched for. Levels are in thousandths: of a slot, or of a call a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// What is allowed now.
    pub level: u64,
    /// The highest that proved itself; zero if none did.
    pub good: u64,
    /// The lowest that failed of late.
    pub bad: u64,
    /// How long the level has been used up.
    pub held: Duration,
    /// How long the level is used up before a probe.
    pub patience: Duration,
    /// How far the next probe goes, in percent.
    pub step: u64,
    /// When the level was last lowered.
    pub lowered_at: Moment,
    /// When refusals began, after a time without.
    #[serde(default)]
    pub since: Moment,
    /// The most that had been used until then.
    #[serde(default)]
    pub hoped: u64,
}

impl Ceiling {
    /// The first refusal came at that level; `hoped` is the most that had been used of late.
    pub fn halved(failed: u64, hoped: u64, smallest: u64, now: Moment) -> Self {
        Self {
            level: (failed / 2).max(smallest),
            good: 0,
            bad: failed.max(hoped).max(smallest + 1),
            held: Duration::ZERO,
            patience: FIRST_PATIENCE,
            step: FIRST_STEP_PERCENT,
            lowered_at: now,
            since: now,
            hoped,
        }
    }

    /// Another refusal.
    fn refused(&mut self, hoped: u64, smallest: u64, now: Moment) {
        if now < self.lowered_at + SETTLES {
            return;
        }
        if now >= self.lowered_at + STORM {
            (self.since, self.hoped) = (now, hoped);
        }
        let failed = self.level;
        let says_little = now < self.since + STORM && failed * 2 <= self.hoped;
        if failed >= self.bad {
            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        }
        let lower = if self.good > 0 && self.good < failed {
            self.good
        } else if self.good > 0 {
            // What had proved itself fails: a little less first, for it may have been chance.
            self.good = 0;
            failed * 7 / 8
        } else {
            failed / 2
        };
        self.level = (lower / smallest * smallest).max(smallest);
        if !says_little {
            self.bad = failed.max(smallest + 1);
        }
        self.step = FIRST_STEP_PERCENT;
        self.held = Duration::ZERO;
        self.lowered_at = now;
    }

    /// So much was used for the last `passed`, and `used_up` percent count as all. Whether a level is still needed: not when it has
    /// reached `nominal`.
    fn used(
        &mut self,
        used: u64,
        used_up: u64,
        passed: Duration,
        smallest: u64,
        nominal: Option<u64>,
    ) -> bool {
        let is_rate = smallest < SLOT;
        if used * 100 < self.level * used_up {
            return true;
        }
        self.held += passed;
        let up = |level: u64| level.next_multiple_of(smallest);
        let gap = self.bad.saturating_sub(self.level);
        let between = up(self.level + gap / 2);
        let most = nominal.unwrap_or(u64::MAX);
        let next = if self.level >= most {
            // All that is configured. After a while of it, nothing is left of what was learned.
            return self.held < self.patience.max(LONG_PROOF);
        } else if self.level >= self.bad {
            // A probe: when it holds, further ones go further.
            if self.held < PROOF {
                return true;
            }
            self.step = (self.step * 2).min(LARGEST_STEP_PERCENT);
            self.patience = FIRST_PATIENCE;
            let next = up(self.level + (self.level * self.step / 100).max(1));
            self.bad = next;
            next
        } else if gap * 100 > self.bad * NEAR_PERCENT && between < self.bad {
            if self.held < PROOF {
                return true;
            }
            between
        } else {
            if self.held < self.patience {
                return true;
            }
            self.bad
                .max(up(self.level + (self.level * self.step / 100).max(1)))
        };
        // Of a rate, only what was really made has proved itself; slots are seen at a moment, when some may just be free.
        let proved = if is_rate {
            self.level.min(used * 103 / 100)
        } else {
            self.level
        };
        self.good = self.good.max(proved);
        self.level = next.min(most);
        self.held = Duration::ZERO;
        true
    }
}

/// Calls a second, over the last ten seconds or so.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Meter {
    /// Weighted sum of calls per second.
    pub sum: f64,
    /// How much of the weight has been filled, up to 1.
    pub weight: f64,
    /// When it was last written.
    pub at: Moment,
}

impl Meter {
    fn add(&mut self, calls: u32, now: Moment) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let keeps = (-passed / MEASURED_OVER_SECS).exp();
        self.sum = self.sum * keeps + f64::from(calls) / MEASURED_OVER_SECS;
        self.weight = self.weight * keeps + (1.0 - keeps);
        self.at = now;
    }

    /// Thousandths of a call a second.
    pub fn rate(&self) -> u64 {
        // Right after the first calls there is no time to divide by: a second at least.
        let weight = self.weight.max(1.0 / MEASURED_OVER_SECS);
        whole(self.sum * 1000.0 / weight)
    }
}

/// The most that was used within the last minutes, in thousandths of a slot, or of a call a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Most {
    /// So much.
    pub used: u64,
    /// When.
    pub at: Moment,
}

impl Most {
    fn saw(&mut self, used: u64, now: Moment) {
        if used >= self.used || now > self.at + HELD_FOR {
            (self.used, self.at) = (used, now);
        }
    }
}

/// How long answers take, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slowness {
    /// What an answer usually takes. Zero before the first.
    pub usual: Duration,
    /// What it takes of late.
    pub of_late: Duration,
    /// Calls in flight allowed because of it.
    pub cap: Option<u32>,
    /// When the cap was last considered.
    pub looked_at: Moment,
}

impl Slowness {
    const LOOKS_EVERY: Duration = Duration::from_secs(5);
    /// In so long, the usual time doubles to follow a server that has become slower for good.
    const FORGETS_IN: Duration = Duration::from_secs(3600);

    fn answered(&mut self, calls: u32, took: Duration, passed: Duration) {
        if calls == 0 {
            return;
        }
        let mean = took / calls;
        if self.usual.is_zero() {
            (self.usual, self.of_late) = (mean, mean);
            return;
        }
        self.of_late = (self.of_late * 7 + mean) / 8;
        let longer = self
            .usual
            .mul_f64(passed.as_secs_f64() / Self::FORGETS_IN.as_secs_f64());
        self.usual = (self.usual + longer).min(self.of_late);
    }

    fn look(&mut self, in_use: u32, nominal: Option<u32>, now: Moment) {
        if now < self.looked_at + Self::LOOKS_EVERY || self.usual.is_zero() {
            return;
        }
        self.looked_at = now;
        if self.of_late > self.usual * 2 {
            let from = self.cap.unwrap_or(in_use).min(in_use.max(1));
            self.cap = Some((from - (from / 8).max(1).min(from)).max(1));
        } else if let Some(cap) = self.cap
            && self.of_late < self.usual * 3 / 2
        {
            let raised = cap + (cap / 8).max(1);
            self.cap = nominal
                .is_none_or(|nominal| raised < nominal)
                .then_some(raised);
            if nominal.is_none() && raised > in_use * 2 {
                self.cap = None;
            }
        }
    }
}

/// All that was learned about a key. Part of its state, so that it outlives every process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Learned {
    /// The ceiling of calls in flight.
    pub in_flight: Option<Ceiling>,
    /// The ceiling of calls a second.
    pub rate: Option<Ceiling>,
    /// The server's speed.
    pub slowness: Slowness,
    /// Calls started.
    pub meter: Meter,
    /// The wait that follows a refusal without one.
    pub pause: Duration,
    /// Until when the server last wanted no calls.
    pub waited_until: Moment,
    /// When usage was last looked at.
    pub looked_at: Moment,
    /// Refusals seen.
    pub refusals: u64,
    /// The most calls in flight of late.
    #[serde(default)]
    pub most_slots: Most,
    /// The most calls a second of late.
    #[serde(default)]
    pub most_calls: Most,
}

/// What the key is used for now, and what would be allowed without having learned anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls in flight.
    pub in_flight: u32,
    /// The most in flight; `None` for any number.
    pub most_in_flight: Option<u32>,
    /// The most calls a second that windows allow, in thousandths; `None` for any number.
    pub most_rate: Option<u64>,
    /// Calls wait since no more are allowed in the learned window.
    pub rate_binds: bool,
    /// Calls wait since no more slots are allowed than were learned: all were used of late.
    pub slots_bind: bool,
}

/// The smallest step of slots.
const SLOT: u64 = 1000;
/// The smallest rate: a call in 20 s.
const SLOWEST: u64 = 50;

impl Learned {
    /// The server said to slow down. Returns how long nothing starts.
    pub fn refused(&mut self, pushback: &Pushback, usage: Usage, now: Moment) -> Duration {
        self.refusals += 1;
        let again = now < self.waited_until + AGAIN_WITHIN;
        let same = now < self.waited_until;
        self.pause = match (same, again) {
            (true, _) if !self.pause.is_zero() => self.pause,
            (_, true) if !self.pause.is_zero() => (self.pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        let wait = match pushback.wait {
            Some(told) => told,
            // Another refusal of the same moment adds nothing.
            None if same => Duration::ZERO,
            None => self.pause,
        };
        if !same {
            self.search(pushback.overload, usage, again, now);
        }
        self.waited_until = self.waited_until.max(now + wait);
        wait
    }

    /// `again`: the wait after the last refusal has hardly passed.
    fn search(&mut self, overload: Overload, usage: Usage, again: bool, now: Moment) {
        let by_slots = match overload {
            Overload::Concurrency => true,
            Overload::Rate => false,
            // Whichever binds: with all slots in use it is they.
            Overload::Unknown => {
                self.rate.is_none()
                    && usage.most_in_flight.is_some_and(|most| {
                        u64::from(usage.in_flight) * 100 >= u64::from(most) * USED_UP_PERCENT
                    })
            }
        };
        if by_slots {
            match &mut self.in_flight {
                Some(ceiling) => ceiling.refused(self.most_slots.used, SLOT, now),
                none => {
                    let used = u64::from(usage.in_flight.max(1)) * SLOT;
                    let mut ceiling = Ceiling::halved(used, self.most_slots.used, SLOT, now);
                    ceiling.level = (ceiling.level / SLOT * SLOT).max(SLOT);
                    *none = Some(ceiling);
                }
            }
            return;
        }
        match &mut self.rate {
            Some(ceiling) => ceiling.refused(self.most_calls.used, SLOWEST, now),
            none => {
                let measured = self.meter.rate();
                if measured < FEW && !again {
                    return;
                }
                let measured = measured.max(FEW);
                let failed = usage
                    .most_rate
                    .map_or(measured, |most| most.min(measured.max(most / 2)));
                let hoped = usage
                    .most_rate
                    .map_or(self.most_calls.used, |most| most.min(self.most_calls.used));
                *none = Some(Ceiling::halved(failed, hoped, SLOWEST, now));
            }
        }
    }

    /// Calls were made and answered; looks whether the levels should change.
    pub fn worked(
        &mut self,
        started: u32,
        answered: u32,
        took: Duration,
        usage: Usage,
        now: Moment,
    ) {
        self.meter.add(started, now);
        // After a silence nothing is known about its time.
        let passed = now
            .saturating_sub(self.looked_at)
            .min(Duration::from_secs(2));
        self.looked_at = now;
        self.slowness.answered(answered, took, passed);
        if now < self.waited_until {
            return;
        }
        self.most_slots.saw(u64::from(usage.in_flight) * SLOT, now);
        self.most_calls.saw(self.meter.rate(), now);
        if let Some(ceiling) = &mut self.in_flight {
            let nominal = usage.most_in_flight.map(|most| u64::from(most) * SLOT);
            // A slot is free for a moment between two calls, and of few slots that is a large part.
            let used = if usage.slots_bind {
                ceiling.level
            } else {
                u64::from(usage.in_flight) * SLOT
            };
            if !ceiling.used(used, USED_UP_PERCENT, passed, SLOT, nominal) {
                self.in_flight = None;
            }
        }
        let used_up = if usage.rate_binds {
            BINDING_RATE_USED_UP_PERCENT
        } else {
            RATE_USED_UP_PERCENT
        };
        if let Some(ceiling) = &mut self.rate
            && !ceiling.used(self.meter.rate(), used_up, passed, 1, usage.most_rate)
        {
            self.rate = None;
        }
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, to: impl Fn(Moment) -> Moment) {
        for ceiling in [&mut self.in_flight, &mut self.rate].into_iter().flatten() {
            ceiling.lowered_at = to(ceiling.lowered_at);
            ceiling.since = to(ceiling.since);
        }
        for moment in [
            &mut self.slowness.looked_at,
            &mut self.meter.at,
            &mut self.waited_until,
            &mut self.looked_at,
            &mut self.most_slots.at,
            &mut self.most_calls.at,
        ] {
            *moment = to(*moment);
        }
    }

    /// Follows the server's speed, for a key that does.
    pub fn pace_by_latency(&mut self, usage: Usage, now: Moment) {
        self.slowness
            .look(usage.in_flight, usage.most_in_flight, now);
    }

    /// The most calls in flight, if something was learned about it. At least 1.
    pub fn most_in_flight(&self) -> Option<u32> {
        let ceiling = self.in_flight.map(|ceiling| {
            u32::try_from(ceiling.level / SLOT)
                .unwrap_or(u32::MAX)
                .max(1)
        });
        match (ceiling, self.slowness.cap) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The learned rate as a window of 5 to 60 s.
    pub fn window(&self) -> Option<Window> {
        let level = self.rate?.level;
        // From what failed, so that the length stays when the level moves a little.
        let wanted = CALLS_PER_WINDOW * 1000 / level.max(1);
        let length = [5, 10, 20, 30, 45]
            .into_iter()
            .find(|length| *length >= wanted)
            .unwrap_or(60);
        let calls = u32::try_from((level * length + 500) / 1000)
            .unwrap_or(u32::MAX)
            .max(1);
        Some(Window {
            calls,
            length: Duration::from_secs(length),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that refuses above that many calls a second.
    fn after_minutes(real: u64, configured: u64, minutes: u64) -> (u64, u64) {
        let mut learned = Learned::default();
        let (mut failures_late, mut at_end) = (0, 0);
        let usage = |rate: u64| Usage {
            in_flight: 1,
            most_in_flight: None,
            most_rate: Some(rate),
            ..Usage::default()
        };
        for second in 0..minutes * 60 {
            let now = Moment::from_secs(1000 + second);
            if now < learned.waited_until {
                continue;
            }
            let rate = learned.rate.map_or(configured, |ceiling| ceiling.level);
            learned.worked(
                u32::try_from(rate / 1000).unwrap(),
                0,
                Duration::ZERO,
                usage(configured),
                now,
            );
            if rate > real {
                let pushback = Pushback {
                    overload: Overload::Rate,
                    wait: Some(Duration::from_secs(10)),
                    cause: String::new(),
                };
                learned.refused(&pushback, usage(configured), now);
                failures_late += u64::from(second > minutes * 30);
            }
            at_end = rate;
        }
        (at_end, failures_late)
    }

    #[test]
    fn the_ceiling_is_found_and_refusals_become_rare() {
        for (real, configured) in [(25_000, 100_000), (60_000, 100_000), (99_000, 100_000)] {
            let (level, late) = after_minutes(real, configured, 40);
            assert!(
                level <= real && level * 100 >= real * 93,
                "{level} of {real}"
            );
            assert!(late <= 3, "{late} refusals in the last 20 minutes");
        }
    }

    #[test]
    fn a_limit_that_is_gone_is_forgotten() {
        let mut learned = Learned::default();
        let usage = Usage {
            in_flight: 8,
            most_in_flight: Some(8),
            most_rate: None,
            ..Usage::default()
        };
        let pushback = Pushback {
            overload: Overload::Unknown,
            wait: None,
            cause: "busy".into(),
        };
        assert_eq!(
            learned.refused(&pushback, usage, Moment::from_secs(100)),
            FIRST_PAUSE
        );
        assert_eq!(learned.most_in_flight(), Some(4));
        for second in 103..2000 {
            let in_flight = learned.most_in_flight().unwrap_or(8);
            let usage = Usage { in_flight, ..usage };
            learned.worked(
                in_flight,
                in_flight,
                Duration::from_secs(1),
                usage,
                Moment::from_secs(second),
            );
        }
        assert_eq!(learned.most_in_flight(), None);
    }

    #[test]
    fn a_storm_is_forgotten_within_minutes_wherever_it_finds_us() {
        // A server that takes anything, but for one storm of 12 s that refuses a call every other second.
        let level_after_storm = |at_storm: u64| {
            let mut learned = Learned::default();
            let usage = Usage {
                in_flight: 1,
                most_in_flight: None,
                most_rate: Some(40_000),
                ..Usage::default()
            };
            let mut level = 0;
            for second in 0..420 {
                let now = Moment::from_secs(1000 + second);
                if now < learned.waited_until {
                    continue;
                }
                level = learned.rate.map_or(40_000, |ceiling| ceiling.level);
                // There is little to do when it comes, and much again afterwards.
                let lull = (110..132).contains(&second);
                let rate = if lull { level.min(at_storm) } else { level };
                let calls = u32::try_from(rate.div_ceil(1000)).unwrap();
                learned.worked(calls, calls, Duration::ZERO, usage, now);
                if (120..132).contains(&second) && second % 2 == 0 {
                    let pushback = Pushback {
                        overload: Overload::Rate,
                        wait: Some(Duration::from_secs(1)),
                        cause: String::new(),
                    };
                    learned.refused(&pushback, usage, now);
                }
            }
            level
        };
        for at_storm in [40_000, 8_000, 2_000] {
            let level = level_after_storm(at_storm);
            assert!(level >= 30_000, "from {at_storm}: {level} after 5 minutes");
        }
    }

    #[test]
    fn a_level_that_calls_wait_for_rises_though_a_part_of_it_stays_unused() {
        // A server that takes anything, but for a storm right at the beginning; shares and margins cost a fifth.
        let after = |rate_binds: bool| {
            let mut learned = Learned::default();
            let usage = Usage {
                in_flight: 1,
                rate_binds,
                ..Usage::default()
            };
            for second in 0..300 {
                let now = Moment::from_secs(1000 + second);
                let level = learned.rate.map_or(20_000, |ceiling| ceiling.level);
                if now >= learned.waited_until {
                    let whole = level * 8 / 10 * (second + 1) / 1000;
                    let before = level * 8 / 10 * second / 1000;
                    let calls = u32::try_from(whole - before).unwrap();
                    learned.worked(calls, calls, Duration::ZERO, usage, now);
                }
                if second < 20 && second % 5 == 4 {
                    let pushback = Pushback {
                        overload: Overload::Rate,
                        wait: Some(Duration::from_secs(2)),
                        cause: String::new(),
                    };
                    learned.refused(&pushback, usage, now);
                }
            }
            learned.rate.map(|ceiling| ceiling.level)
        };
        let (waited_for, not) = (after(true).unwrap(), after(false).unwrap());
        assert!(waited_for >= 14_000, "{waited_for}");
        assert!(not < 5_000, "nobody wants more than there is: {not}");
    }

    #[test]
    fn a_single_slot_that_calls_wait_for_is_used_up_though_it_is_free_now_and_then() {
        let after = |slots_bind: bool| {
            let mut learned = Learned::default();
            let usage = Usage {
                in_flight: 1,
                most_in_flight: Some(6),
                slots_bind,
                ..Usage::default()
            };
            let pushback = Pushback {
                overload: Overload::Concurrency,
                wait: None,
                cause: "busy".into(),
            };
            learned.refused(&pushback, usage, Moment::from_secs(1000));
            for second in 1003..1180 {
                // Every other look finds nothing in flight.
                let in_flight = u32::from(second % 2 == 0);
                let usage = Usage { in_flight, ..usage };
                let took = Duration::from_millis(300);
                learned.worked(1, 1, took, usage, Moment::from_secs(second));
            }
            learned.most_in_flight()
        };
        let (waited_for, not) = (after(true), after(false));
        assert!(waited_for.is_none_or(|most| most >= 4), "{waited_for:?}");
        assert!(not.is_some_and(|most| most <= 2), "{not:?}");
    }

    #[test]
    fn one_refusal_of_a_few_calls_teaches_no_ceiling_and_many_do() {
        let mut learned = Learned::default();
        let usage = Usage {
            in_flight: 1,
            most_in_flight: Some(6),
            most_rate: None,
            ..Usage::default()
        };
        let pushback = Pushback {
            overload: Overload::Unknown,
            wait: Some(Duration::from_secs(5)),
            cause: String::new(),
        };
        let at = Moment::from_secs;
        learned.worked(3, 3, Duration::from_secs(1), usage, at(1000));
        assert_eq!(
            learned.refused(&pushback, usage, at(1001)),
            Duration::from_secs(5)
        );
        assert_eq!(learned.window(), None);
        // Refused again as soon as the wait is over: fewer calls, but not next to none.
        learned.worked(1, 1, Duration::from_secs(1), usage, at(1007));
        learned.refused(&pushback, usage, at(1008));
        let a_second = learned.rate.map(|ceiling| ceiling.level);
        assert_eq!(a_second, Some(FEW / 2));
    }

    #[test]
    fn a_server_that_slows_down_gets_fewer_calls() {
        let mut learned = Learned::default();
        let usage = Usage {
            in_flight: 8,
            most_in_flight: Some(8),
            most_rate: None,
            ..Usage::default()
        };
        for second in 100..200 {
            let millis = if second < 130 { 200 } else { 900 };
            learned.worked(
                8,
                8,
                Duration::from_millis(millis) * 8,
                usage,
                Moment::from_secs(second),
            );
            learned.pace_by_latency(usage, Moment::from_secs(second));
        }
        assert!(learned.most_in_flight().is_some_and(|most| most < 8));
        for second in 200..1200 {
            learned.worked(
                8,
                8,
                Duration::from_millis(210) * 8,
                usage,
                Moment::from_secs(second),
            );
            learned.pace_by_latency(usage, Moment::from_secs(second));
        }
        assert_eq!(learned.most_in_flight(), None);
    }
}
