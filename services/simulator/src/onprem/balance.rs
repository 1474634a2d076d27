//! Exchange's budget of server time: a value that is told the time.
//!
//! A balance that starts at the burst, is recharged all the time, and pays for every request under way with its own
//! duration. Below nothing, requests are delayed a little; below the cutoff they are refused for minutes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::onprem::policy::Component;

/// Milliseconds of an hour; balances are kept in so many parts of a microsecond, which makes recharging exact.
const HOUR_MS: i128 = 3_600_000;
/// A balance of one millisecond.
const MS: i128 = HOUR_MS * 1000;
const LOCK: Duration = Duration::from_secs(300);
const SHORTEST_DELAY: Duration = Duration::from_millis(15);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How many requests may be delayed together before others are refused instead.
const DELAYED: u32 = 50;
/// A client may have sent a call before it could know of a refusal that is younger.
const GRACE: Duration = Duration::from_secs(1);

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    /// So many are under way already, which is as many as may be.
    Connections(u64),
    /// The balance is used up; it's worth coming back after this time.
    Busy(Duration),
}

#[derive(Debug)]
pub(crate) struct Balance {
    policy: Component,
    /// In parts of [`MS`].
    balance: i128,
    lowest: i128,
    updated: Duration,
    /// Requests that are worked on.
    pending: u32,
    /// Requests under way, those that are delayed included.
    connections: u32,
    delayed: u32,
    locked: Option<Lock>,
    count: Count,
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    told_at: Duration,
    until: Duration,
}

/// What it came to since the last mark.
#[derive(Debug, Default)]
struct Count {
    since: Duration,
    admitted: u64,
    over_connections: u64,
    busy: u64,
    early: u64,
    micro_delays: u64,
    delayed: Duration,
    worked: Duration,
    peak: u32,
}

fn limit(amount: Option<u64>) -> Option<i128> {
    amount.map(i128::from)
}

impl Balance {
    pub(crate) fn new(policy: Component, now: Duration) -> Self {
        let balance = limit(policy.max_burst.0).unwrap_or(0) * MS;
        Self {
            policy,
            balance,
            lowest: balance,
            updated: now,
            pending: 0,
            connections: 0,
            delayed: 0,
            locked: None,
            count: Count {
                since: now,
                ..Count::default()
            },
        }
    }

    /// What the balance was recharged and paid since the last look at it.
    fn touch(&mut self, now: Duration) {
        let passed = i128::try_from(now.saturating_sub(self.updated).as_micros()).unwrap_or(0);
        self.updated = self.updated.max(now);
        let Some(recharge) = limit(self.policy.recharge_rate.0) else {
            return; // nothing is charged
        };
        let net = recharge - i128::from(self.pending) * HOUR_MS;
        self.balance += passed * net;
        if let Some(burst) = limit(self.policy.max_burst.0) {
            self.balance = self.balance.min(burst * MS);
        }
        self.lowest = self.lowest.min(self.balance);
    }

    /// A request comes in, or is turned away.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<(), Overload> {
        self.touch(now);
        if let Some(lock) = self.locked
            && now >= lock.told_at + GRACE
            && now < lock.until
        {
            self.count.early += 1;
        }
        if let Some(most) = self.policy.max_concurrency.0
            && u64::from(self.connections) >= most
        {
            self.count.over_connections += 1;
            return Err(Overload::Connections(most));
        }
        if let Err(wait) = self.check(now) {
            self.count.busy += 1;
            return Err(Overload::Busy(wait));
        }
        self.connections += 1;
        self.pending += 1;
        self.count.admitted += 1;
        self.count.peak = self.count.peak.max(self.connections);
        Ok(())
    }

    /// Whether work may go on, or for how long it may not.
    pub(crate) fn check(&mut self, now: Duration) -> Result<(), Duration> {
        self.touch(now);
        if let Some(lock) = self.locked {
            if now < lock.until {
                return Err(lock.until.saturating_sub(now));
            }
            self.locked = None;
        }
        let recharge = limit(self.policy.recharge_rate.0);
        if recharge == Some(0) {
            return Err(self.lock(now, LOCK));
        }
        let (Some(recharge), Some(cutoff)) = (recharge, limit(self.policy.cutoff_balance.0)) else {
            return Ok(());
        };
        let deficit = -cutoff * MS - self.balance;
        if deficit > 0 {
            let micros = (deficit + recharge - 1) / recharge;
            let wait = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
            return Err(self.lock(now, wait.max(LOCK)));
        }
        if self.delayed >= DELAYED && self.balance < 0 {
            return Err(SHORTEST_DELAY);
        }
        Ok(())
    }

    fn lock(&mut self, now: Duration, lasts: Duration) -> Duration {
        self.locked = Some(Lock {
            told_at: now,
            until: now + lasts,
        });
        lasts
    }

    /// The work of a request that was let in is done: how long its answer is held back.
    pub(crate) fn finish(&mut self, now: Duration, work: Duration) -> Duration {
        self.touch(now);
        self.pending = self.pending.saturating_sub(1);
        self.count.worked += work;
        let delay = self.micro_delay(work);
        if !delay.is_zero() {
            self.delayed += 1;
            self.count.micro_delays += 1;
            self.count.delayed += delay;
        }
        delay
    }

    fn micro_delay(&self, work: Duration) -> Duration {
        let Some(recharge) = limit(self.policy.recharge_rate.0).filter(|rate| *rate > 0) else {
            return Duration::ZERO;
        };
        if self.balance >= 0 {
            return Duration::ZERO;
        }
        let work_micros = i128::try_from(work.as_micros()).unwrap_or(i128::MAX >> 64);
        // work × (an hour / recharge) × (what is missing / recharge)
        let missing_ms = -self.balance / MS;
        let micros = work_micros * HOUR_MS / recharge * missing_ms / recharge;
        let delay = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        delay.min(work * 10).clamp(SHORTEST_DELAY, LONGEST_DELAY)
    }

    /// The answer of a request is out; `delayed` when it had been held back.
    pub(crate) fn release(&mut self, now: Duration, delayed: bool) {
        self.touch(now);
        self.connections = self.connections.saturating_sub(1);
        self.delayed = self.delayed.saturating_sub(u32::from(delayed));
    }

    /// Another policy from now on; the burst is full again, as after a restart.
    pub(crate) fn replace(&mut self, now: Duration, policy: Component) {
        let (pending, connections, delayed) = (self.pending, self.connections, self.delayed);
        let count = std::mem::take(&mut self.count);
        *self = Self::new(policy, now);
        (self.pending, self.connections, self.delayed) = (pending, connections, delayed);
        self.count = count;
    }

    /// Starts to count anew.
    pub(crate) fn mark(&mut self, now: Duration) {
        self.touch(now);
        self.lowest = self.balance;
        self.count = Count {
            since: now,
            peak: self.connections,
            ..Count::default()
        };
    }

    /// Whether it can be forgotten without anybody noticing.
    pub(crate) fn is_idle(&mut self, now: Duration) -> bool {
        self.touch(now);
        let full = limit(self.policy.max_burst.0).is_none_or(|burst| self.balance >= burst * MS);
        self.connections == 0 && self.locked.is_none() && full
    }

    /// Calls that were refused since the last mark.
    pub(crate) fn refused(&self) -> u64 {
        self.count.over_connections + self.count.busy
    }

    pub(crate) fn show(&mut self, now: Duration) -> Value {
        self.touch(now);
        let count = &self.count;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let balance = |parts: i128| i64::try_from(parts.div_euclid(MS)).unwrap_or(i64::MIN);
        let charged = self.policy.recharge_rate.0.is_some();
        let elapsed = now.saturating_sub(count.since);
        let allowed = self.policy.recharge_rate.0.map(|rate| {
            let burst = self.policy.max_burst.0.unwrap_or(0);
            let recharged = u128::from(rate) * elapsed.as_millis() / 3_600_000;
            burst.saturating_add(u64::try_from(recharged).unwrap_or(u64::MAX))
        });
        json!({
            "calls": count.admitted + count.over_connections + count.busy,
            "admitted": count.admitted,
            "refused": count.over_connections + count.busy,
            "refused_by": {"connections": count.over_connections, "busy": count.busy},
            "early_calls": count.early,
            "micro_delays": count.micro_delays,
            "micro_delay_ms": millis(count.delayed),
            "worked_ms": millis(count.worked),
            "free_ms": allowed,
            "elapsed_ms": millis(elapsed),
            "in_flight": self.connections,
            "peak_in_flight": count.peak,
            "balance_ms": charged.then(|| balance(self.balance)),
            "lowest_balance_ms": charged.then(|| balance(self.lowest)),
            "policy": self.policy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Balance, Component, Duration, Overload};
    use crate::onprem::policy::Amount;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn policy(connections: u64, burst: u64, recharge: u64, cutoff: u64) -> Component {
        Component {
            max_concurrency: Amount::of(connections),
            max_burst: Amount::of(burst),
            recharge_rate: Amount::of(recharge),
            cutoff_balance: Amount::of(cutoff),
        }
    }

    fn shown(balance: &mut Balance, now: u64) -> i64 {
        balance.show(ms(now))["balance_ms"].as_i64().unwrap()
    }

    #[test]
    fn a_call_pays_its_own_duration_and_the_rest_is_recharged() {
        let mut balance = Balance::new(policy(27, 1000, 900_000, 3000), ms(0));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        // a quarter comes back while it works
        assert_eq!(shown(&mut balance, 400), 1000 - 300);
        assert_eq!(balance.finish(ms(400), ms(400)), ms(0));
        balance.release(ms(400), false);
        assert_eq!(shown(&mut balance, 800), 800);
        assert_eq!(shown(&mut balance, 60_000), 1000);
    }

    #[test]
    fn as_many_are_under_way_as_may_be() {
        let mut balance = Balance::new(policy(2, 1000, 900_000, 3000), ms(0));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        assert_eq!(balance.admit(ms(1)), Err(Overload::Connections(2)));
        balance.finish(ms(1), ms(1));
        balance.release(ms(1), false);
        assert_eq!(balance.admit(ms(2)), Ok(()));
    }

    #[test]
    fn below_nothing_answers_are_held_back() {
        let mut balance = Balance::new(policy(27, 0, 900_000, 3_000_000), ms(0));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        // 300,000 ms are missing: 100 ms × 4 × a third
        assert_eq!(
            balance.finish(ms(400_000), ms(100)),
            Duration::from_micros(133_333)
        );
        balance.release(ms(400_000), true);
        let (work, most) = (ms(1), ms(15));
        assert_eq!(balance.admit(ms(400_000)), Ok(()));
        assert_eq!(balance.finish(ms(400_000), work), most);
    }

    #[test]
    fn below_the_cutoff_calls_are_refused_for_five_minutes_at_least() {
        let mut balance = Balance::new(policy(27, 0, 900_000, 1000), ms(0));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        balance.finish(ms(2000), ms(2000));
        balance.release(ms(2000), false);
        assert_eq!(balance.admit(ms(2000)), Err(Overload::Busy(ms(300_000))));
        assert_eq!(balance.admit(ms(2500)), Err(Overload::Busy(ms(299_500))));
        assert_eq!(balance.admit(ms(12_000)), Err(Overload::Busy(ms(290_000))));
        assert_eq!(balance.admit(ms(302_000)), Ok(()));
        assert_eq!(balance.show(ms(302_000))["early_calls"], 1);
    }

    #[test]
    fn unlimited_charges_nothing_and_nothing_blocks() {
        let free = Component {
            max_concurrency: Amount::UNLIMITED,
            max_burst: Amount::UNLIMITED,
            recharge_rate: Amount::UNLIMITED,
            cutoff_balance: Amount::UNLIMITED,
        };
        let mut balance = Balance::new(free.clone(), ms(0));
        assert_eq!(balance.admit(ms(0)), Ok(()));
        assert_eq!(balance.finish(ms(9_000_000), ms(9_000_000)), ms(0));
        let none = Component {
            recharge_rate: Amount::of(0),
            ..free
        };
        balance.replace(ms(9_000_000), none);
        assert!(balance.admit(ms(9_000_000)).is_err());
    }
}
