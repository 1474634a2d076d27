//! Exchange as the judge: what really arrived, counted against what was allowed. Shares no code with the budgets.

use std::collections::VecDeque;

use calgrant_budget::{KeyLimits, ServerTime, message::Overload};

/// Calls in one window, exactly.
#[derive(Debug, Clone, Default)]
struct Window {
    most: u32,
    length: u64,
    arrived: VecDeque<u64>,
}

impl Window {
    fn count(&mut self, now: u64) -> u32 {
        while self
            .arrived
            .front()
            .is_some_and(|at| at + self.length <= now)
        {
            self.arrived.pop_front();
        }
        u32::try_from(self.arrived.len()).unwrap_or(u32::MAX)
    }
}

/// Exchange's balance of server time: every call in flight pays with its own duration, and what is paid comes back
/// steadily. Below nothing, answers are held back.
#[derive(Debug, Clone, Copy)]
struct Balance {
    /// In parts of a microsecond, an hour's microseconds of them: so recharging is exact.
    parts: i128,
    burst: i128,
    /// Parts that come back in a microsecond: microseconds in an hour.
    recharge: i128,
    touched: u64,
}

/// Parts of a microsecond of balance.
const PARTS: i128 = 3_600_000_000;

impl Balance {
    fn new(limit: &ServerTime) -> Self {
        let micros = |time: std::time::Duration| i128::try_from(time.as_micros()).unwrap_or(0);
        let burst = micros(limit.burst) * PARTS;
        Self {
            parts: burst,
            burst,
            recharge: micros(limit.recharge_per_hour),
            touched: 0,
        }
    }

    fn touch(&mut self, in_flight: u32, now: u64) {
        let passed = i128::from(now.saturating_sub(self.touched));
        let net = self.recharge - i128::from(in_flight) * PARTS;
        self.parts = (self.parts + passed * net).min(self.burst);
        self.touched = self.touched.max(now);
    }
}

/// Limits as the server counts them. Times in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Count {
    most_in_flight: Option<u32>,
    in_flight: u32,
    windows: Vec<Window>,
    balance: Option<Balance>,
}

impl Count {
    fn new(limits: &KeyLimits) -> Self {
        let mut count = Self::default();
        count.set(limits);
        count
    }

    fn set(&mut self, limits: &KeyLimits) {
        let reserve = u64::from(limits.reserve_percent);
        let less = |calls: u32| {
            let left = u64::from(calls) * (100 - reserve) / 100;
            u32::try_from(left).unwrap_or(u32::MAX).max(calls.min(1))
        };
        self.most_in_flight = limits.in_flight.map(less);
        self.balance = limits.server_time.as_ref().map(|limit| {
            let new = Balance::new(limit);
            match self.balance {
                Some(known) => Balance {
                    parts: known.parts.min(new.burst),
                    touched: known.touched,
                    ..new
                },
                None => new,
            }
        });
        for window in &limits.windows {
            let length = u64::try_from(window.length.as_micros()).unwrap_or(u64::MAX);
            match self.windows.iter_mut().find(|known| known.length == length) {
                Some(known) => known.most = less(window.calls),
                None => self.windows.push(Window {
                    most: less(window.calls),
                    length,
                    arrived: VecDeque::new(),
                }),
            }
        }
    }

    /// Why one more would be too many.
    fn full(&mut self, now: u64) -> Option<String> {
        if let Some(most) = self.most_in_flight
            && self.in_flight >= most
        {
            return Some(format!("{} in flight of {most}", self.in_flight + 1));
        }
        if let Some(balance) = &mut self.balance {
            balance.touch(self.in_flight, now);
            if balance.parts < 0 {
                return Some(format!(
                    "server time overdrawn by {} ms",
                    -balance.parts / PARTS / 1000
                ));
            }
        }
        for window in &mut self.windows {
            let count = window.count(now);
            if count >= window.most {
                return Some(format!(
                    "{} in {} ms of {}",
                    count + 1,
                    window.length / 1000,
                    window.most
                ));
            }
        }
        None
    }

    fn leave(&mut self, now: u64) {
        if let Some(balance) = &mut self.balance {
            balance.touch(self.in_flight, now);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn enter(&mut self, now: u64) {
        if let Some(balance) = &mut self.balance {
            balance.touch(self.in_flight, now);
        }
        self.in_flight += 1;
        for window in &mut self.windows {
            window.count(now);
            window.arrived.push_back(now);
        }
    }
}

/// A key at the server.
#[derive(Debug, Clone)]
pub struct ServerKey {
    /// What we were told: more than that is a violation.
    told: Count,
    /// What we were told before, while the change may not have reached everybody.
    before: Vec<(KeyLimits, u64)>,
    limits: KeyLimits,
    /// What really is allowed, if it is less: more is refused.
    hidden: Option<Count>,
    /// Calls served.
    pub served: u64,
    /// Calls refused.
    pub refused: u64,
}

impl ServerKey {
    /// A key with these limits, and perhaps narrower ones that nobody was told.
    pub fn new(told: &KeyLimits, hidden: Option<&KeyLimits>) -> Self {
        Self {
            told: Count::new(told),
            before: Vec::new(),
            limits: told.clone(),
            hidden: hidden.map(Count::new),
            served: 0,
            refused: 0,
        }
    }

    /// Other limits are told; until `settles` the old ones may be used.
    pub fn change(&mut self, limits: &KeyLimits, settles: u64) {
        let before = std::mem::replace(&mut self.limits, limits.clone());
        self.before.push((before, settles));
        self.told.set(limits);
    }

    /// Whether the hidden limit refuses the call, and what the server calls it.
    pub fn refuses(&mut self, now: u64) -> Option<Overload> {
        let hidden = self.hidden.as_mut()?;
        let full = hidden.full(now)?;
        Some(if full.contains("in flight") {
            Overload::Concurrency
        } else {
            Overload::Unknown
        })
    }

    /// A call comes in and is served. What is wrong with that, if anything.
    pub fn enter(&mut self, now: u64) -> Option<String> {
        let mut wrong = self.told.full(now);
        self.before.retain(|(_, settles)| now < *settles);
        for (before, _) in &self.before {
            if wrong.is_none() {
                break;
            }
            self.told.set(before);
            wrong = self.told.full(now);
        }
        if !self.before.is_empty() {
            self.told.set(&self.limits);
        }
        self.told.enter(now);
        if let Some(hidden) = &mut self.hidden {
            hidden.enter(now);
        }
        self.served += 1;
        wrong
    }

    /// The server has done with a call.
    pub fn leave(&mut self, now: u64) {
        for count in [Some(&mut self.told), self.hidden.as_mut()]
            .into_iter()
            .flatten()
        {
            count.leave(now);
        }
    }

    /// Calls it works on.
    pub fn in_flight(&self) -> u32 {
        self.told.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn more_than_allowed_is_noticed() {
        let limits = KeyLimits {
            in_flight: Some(2),
            windows: vec![calgrant_budget::Window {
                calls: 3,
                length: Duration::from_secs(1),
            }],
            ..KeyLimits::default()
        };
        let mut key = ServerKey::new(&limits, None);
        assert_eq!(key.enter(0), None);
        assert_eq!(key.enter(1), None);
        assert!(
            key.enter(2)
                .is_some_and(|wrong| wrong.contains("in flight"))
        );
        for _ in 0..3 {
            key.leave(2);
        }
        assert!(
            key.enter(999_999)
                .is_some_and(|wrong| wrong.contains("in 1000 ms"))
        );
        key.leave(1_000_000);
        assert_eq!(key.enter(2_000_002), None);
    }

    #[test]
    fn server_time_that_is_overdrawn_is_noticed() {
        let limits = KeyLimits {
            server_time: Some(ServerTime {
                burst: Duration::from_secs(1),
                recharge_per_hour: Duration::from_secs(900),
                floor: Duration::ZERO,
            }),
            ..KeyLimits::default()
        };
        let mut key = ServerKey::new(&limits, None);
        assert_eq!(key.enter(0), None);
        // A second and a third of work is paid with the burst and what comes back meanwhile.
        assert_eq!(key.enter(1_333_333), None);
        key.leave(1_333_333);
        let wrong = key.enter(1_733_333);
        assert_eq!(wrong.as_deref(), Some("server time overdrawn by 299 ms"));
        for _ in 0..2 {
            key.leave(1_733_333);
        }
        assert_eq!(key.enter(2_933_400), None);
    }
}
