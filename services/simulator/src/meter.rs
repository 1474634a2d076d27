//! One key's calls against its limits: a value that is told the time.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::Limits;
use crate::rate::Rate;
use crate::tally::{Tally, Terms};

/// A client may have sent a call before it could know of a refusal that is younger.
const GRACE: Duration = Duration::from_secs(1);

/// Why a call was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The limit, by name.
    pub(crate) limit: String,
    /// Whose limit it is.
    pub(crate) scope: &'static str,
    /// It's one nobody is told of.
    pub(crate) hidden: bool,
    /// Seconds until there is room again; `None` when nobody is told.
    pub(crate) retry_after: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Meter {
    /// What its limits are called in the verdict, such as `app` or `tenant`.
    scope: &'static str,
    limits: Limits,
    in_flight: u32,
    /// Arrivals that were let in, as far as the longest window looks back, oldest first.
    arrivals: VecDeque<Duration>,
    /// How many arrivals aren't kept any more.
    gone: u64,
    windows: Vec<Window>,
    told: Option<Told>,
    tally: Tally,
    rate: Rate,
}

#[derive(Debug)]
struct Window {
    calls: u32,
    lasts: Duration,
    hidden: bool,
    /// The number of the first arrival it still sees.
    first: u64,
}

/// A client was told to stay away.
#[derive(Debug)]
struct Told {
    at: Duration,
    until: Duration,
}

impl Meter {
    pub(crate) fn new(scope: &'static str, limits: Limits) -> Self {
        let mut meter = Self {
            scope,
            limits: Limits::default(),
            in_flight: 0,
            arrivals: VecDeque::new(),
            gone: 0,
            windows: Vec::new(),
            told: None,
            tally: Tally::default(),
            rate: Rate::default(),
        };
        meter.set(limits);
        meter
    }

    fn set(&mut self, limits: Limits) {
        let windows = limits.all_windows().map(|(calls, secs, hidden)| Window {
            calls,
            lasts: Duration::from_secs(secs),
            hidden,
            first: self.gone,
        });
        self.windows = windows.collect();
        self.limits = limits;
    }

    /// Lets go of arrivals that no window looks back to.
    fn forget(&mut self, now: Duration) {
        let end = self.gone + self.arrivals.len() as u64;
        let mut oldest = end;
        for window in &mut self.windows {
            while window.first < end {
                let at = usize::try_from(window.first - self.gone).unwrap_or(usize::MAX);
                if now.saturating_sub(self.arrivals[at]) < window.lasts {
                    break;
                }
                window.first += 1;
            }
            oldest = oldest.min(window.first);
        }
        while self.gone < oldest {
            self.arrivals.pop_front();
            self.gone += 1;
        }
    }

    /// Whether a call that arrives now finds room.
    pub(crate) fn check(&mut self, now: Duration) -> Result<(), Refusal> {
        self.forget(now);
        let refusal = |limit: String, hidden: bool, wait: u64| {
            let mark = if hidden { " (hidden)" } else { "" };
            Err(Refusal {
                limit: format!("{}: {limit}{mark}", self.scope),
                scope: self.scope,
                hidden,
                retry_after: (!self.limits.without_retry_after).then_some(wait),
            })
        };
        for (most, hidden) in self.limits.in_flight() {
            if self.in_flight >= most {
                return refusal(format!("{most} in flight"), hidden, 1);
            }
        }
        let end = self.gone + self.arrivals.len() as u64;
        for window in &self.windows {
            let used = end - window.first;
            let Some(over) = used.checked_sub(u64::from(window.calls)) else {
                continue;
            };
            // there is room when all but `calls - 1` of them have aged
            let at = usize::try_from(window.first + over - self.gone).unwrap_or(usize::MAX);
            let free_at = self.arrivals.get(at).map_or(now, |first| *first) + window.lasts;
            let wait = free_at.saturating_sub(now).as_secs() + 1;
            let name = format!("{} in {} s", window.calls, window.lasts.as_secs());
            return refusal(name, window.hidden, wait);
        }
        Ok(())
    }

    fn arrive(&mut self, now: Duration) {
        self.rate.note(now);
        self.tally.calls += 1;
        let early = |told: &Told| now >= told.at + GRACE && now < told.until;
        self.tally.early += u64::from(self.told.as_ref().is_some_and(early));
    }

    /// The call that found room comes in.
    pub(crate) fn admit(&mut self, now: Duration) {
        self.arrive(now);
        self.count(now);
        if !self.windows.is_empty() {
            self.arrivals.push_back(now);
        }
        self.in_flight += 1;
        self.tally.admitted += 1;
        self.tally.peak = self.tally.peak.max(self.in_flight);
    }

    /// The call was turned away, by this key or by another one.
    pub(crate) fn refuse(&mut self, now: Duration, refusal: &Refusal) {
        self.arrive(now);
        self.tally.refused += 1;
        *self
            .tally
            .refused_by
            .entry(refusal.limit.clone())
            .or_default() += 1;
        if let Some(secs) = refusal.retry_after {
            self.told(now, secs);
        }
    }

    /// The client has been told not to come back for so many seconds.
    pub(crate) fn told(&mut self, now: Duration, secs: u64) {
        let until = now + Duration::from_secs(secs);
        // the grace runs from the first refusal of a row, not from the latest
        let running = self.told.take().filter(|told| told.until > now);
        self.told = Some(match running {
            Some(told) => Told {
                at: told.at,
                until: told.until.max(until),
            },
            None => Told { at: now, until },
        });
    }

    fn count(&mut self, now: Duration) {
        self.tally.count(now, self.in_flight);
    }

    pub(crate) fn release(&mut self, now: Duration) {
        self.count(now);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Other limits from now on; what has arrived goes on counting.
    pub(crate) fn replace(&mut self, now: Duration, limits: Limits) {
        self.forget(now);
        self.count(now);
        let (past, earlier) = (self.terms(), self.earlier());
        self.tally.turn(now, &past, earlier);
        self.set(limits);
    }

    /// Starts to count anew.
    pub(crate) fn mark(&mut self, now: Duration) {
        self.forget(now);
        let earlier = self.earlier();
        self.tally.mark(now, self.in_flight, earlier);
        self.rate = Rate::default();
    }

    fn earlier(&self) -> Vec<Duration> {
        self.arrivals.iter().copied().collect()
    }

    fn terms(&self) -> Terms {
        let windows = self.windows.iter();
        Terms {
            places: self.limits.in_flight().map(|(most, _)| most).min(),
            windows: windows.map(|window| (window.calls, window.lasts)).collect(),
        }
    }

    /// Of the first window that isn't hidden: its calls, how many of them are left, and the seconds until it is empty.
    pub(crate) fn window(&mut self, now: Duration) -> Option<(u32, u32, u64)> {
        self.forget(now);
        let window = self.windows.first().filter(|window| !window.hidden)?;
        let used = self.gone + self.arrivals.len() as u64 - window.first;
        let last = self.arrivals.back().map(|last| *last + window.lasts);
        let reset = last.map_or(Duration::ZERO, |end| end.saturating_sub(now));
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        Some((
            window.calls,
            window.calls.saturating_sub(used),
            reset.as_secs() + 1,
        ))
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(crate) fn peak(&self) -> u32 {
        self.tally.peak
    }

    /// Whether it can be forgotten without anybody noticing.
    pub(crate) fn is_idle(&mut self, now: Duration) -> bool {
        self.forget(now);
        self.in_flight == 0 && self.arrivals.is_empty()
    }

    pub(crate) fn show(&mut self, now: Duration) -> Value {
        self.forget(now);
        self.count(now);
        let mut shown = self.tally.show(now, &self.terms());
        shown["in_flight"] = self.in_flight.into();
        shown["limits"] = json!(self.limits);
        shown["per_second"] = self.rate.show(now, self.tally.since());
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Limits, Meter};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits(in_flight: Option<u32>, windows: &[(u32, u64)]) -> Limits {
        Limits {
            max_in_flight: in_flight,
            windows: windows.to_vec(),
            ..Limits::default()
        }
    }

    /// One call; how long to wait when there is no room.
    fn call(meter: &mut Meter, now: u64) -> Result<(), Option<u64>> {
        match meter.check(at(now)) {
            Ok(()) => {
                meter.admit(at(now));
                Ok(())
            }
            Err(refusal) => {
                meter.refuse(at(now), &refusal);
                Err(refusal.retry_after)
            }
        }
    }

    #[test]
    fn windows_slide_and_flights_end() {
        let mut meter = Meter::new("app", limits(Some(2), &[(3, 10)]));
        assert_eq!(call(&mut meter, 0), Ok(()));
        assert_eq!(call(&mut meter, 1), Ok(()));
        assert_eq!(call(&mut meter, 1), Err(Some(1)));
        meter.release(at(1));
        assert_eq!(call(&mut meter, 2), Ok(()));
        meter.release(at(2));
        assert_eq!(call(&mut meter, 3), Err(Some(8)));
        assert_eq!(meter.window(at(3)), Some((3, 0, 10)));
        assert_eq!(call(&mut meter, 10), Ok(()));
        assert_eq!(meter.peak(), 2);
    }

    #[test]
    fn new_limits_see_what_has_arrived() {
        let mut meter = Meter::new("app", limits(None, &[(5, 10), (8, 60)]));
        for _ in 0..5 {
            assert_eq!(call(&mut meter, 0), Ok(()));
        }
        meter.replace(at(1), limits(None, &[(2, 10)]));
        assert_eq!(call(&mut meter, 9), Err(Some(2)));
        assert_eq!(call(&mut meter, 10), Ok(()));
        // 5 of the 5 that were allowed, then the 2 of the new window
        assert_eq!(meter.show(at(15))["allowed_calls"], 5 + 2);
    }

    #[test]
    fn a_hidden_limit_is_enforced_and_not_told() {
        let hidden = Limits {
            hidden_windows: vec![(1, 10)],
            without_retry_after: true,
            ..Limits::default()
        };
        let mut meter = Meter::new("app", hidden);
        assert_eq!(call(&mut meter, 0), Ok(()));
        assert_eq!(call(&mut meter, 1), Err(None));
        assert_eq!(meter.window(at(1)), None);
        let shown = meter.show(at(2));
        assert_eq!(shown["refused_by"]["app: 1 in 10 s (hidden)"], 1);
    }

    #[test]
    fn place_time_says_what_was_possible() {
        let mut meter = Meter::new("app", limits(Some(4), &[]));
        meter.mark(at(100));
        for start in [100, 101, 102] {
            assert_eq!(call(&mut meter, start), Ok(()));
        }
        for end in [102, 103, 104] {
            meter.release(at(end));
        }
        let shown = meter.show(at(110));
        // calls of 2 s on 4 places for 10 s
        assert_eq!(
            (&shown["busy_ms"], &shown["available_ms"]),
            (&6000.into(), &40_000.into())
        );
        assert_eq!(shown["allowed_calls"], 20);
        assert_eq!(shown["peak_in_flight"], 3);
    }

    #[test]
    fn who_comes_back_too_soon_is_early() {
        let mut meter = Meter::new("app", limits(None, &[(1, 10)]));
        assert_eq!(call(&mut meter, 0), Ok(()));
        assert_eq!(call(&mut meter, 0), Err(Some(11)));
        assert_eq!(call(&mut meter, 5), Err(Some(6)));
        assert_eq!(call(&mut meter, 11), Ok(()));
        assert_eq!(meter.show(at(11))["early_calls"], 1);
    }
}
