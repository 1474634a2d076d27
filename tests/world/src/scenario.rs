//! What there is in a world, and how much goes wrong in it.

use std::time::Duration;

use calgrant_budget::{KeyLimits, Pace, Terms, Window};

use crate::{bug::Bug, chance::Chance};

/// One world. Times in microseconds unless they are durations.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where its chance comes from.
    pub seed: u64,
    /// Institutions.
    pub tenants: u32,
    /// Accounts of each.
    pub accounts: u32,
    /// Worker replicas.
    pub replicas: u32,
    /// How many of them serve a tenant.
    pub spread: u32,
    /// What is configured for each account.
    pub account: KeyLimits,
    /// What is configured for each tenant.
    pub tenant: KeyLimits,
    /// What each account really has, if less.
    pub hidden_account: Option<KeyLimits>,
    /// What each tenant really has, if less.
    pub hidden_tenant: Option<KeyLimits>,
    /// What the server says with a refusal.
    pub retry_after: Option<Duration>,
    /// The terms of all leases.
    pub terms: Terms,
    /// How replicas renew.
    pub pace: Pace,
    /// Calls of each of these bulk operations, for every tenant.
    pub operations: Vec<u64>,
    /// Between two calls of the interactive lane, for every tenant; zero for none.
    pub newcomers_every: u64,
    /// How long a call takes at the server: from, to.
    pub latency: (u64, u64),
    /// One way through the network: from, to.
    pub network: (u64, u64),
    /// Between a permit and the first byte: from, to. Zero: requests take no time, and cost fewer events.
    pub stall: (u64, u64),
    /// How much the replicas' clocks may run fast or slow, in millionths.
    pub drift_ppm: u64,
    /// Faults, in the first [`Self::faults_until`].
    pub faults: u32,
    /// When they have ended.
    pub faults_until: u64,
    /// When the world ends, whatever is left to do; zero: when all is done.
    pub until: u64,
    /// A mistake to find.
    pub bug: Option<Bug>,
}

const SECOND: u64 = 1_000_000;

impl Scenario {
    /// A calm world where every account has these limits.
    pub fn calm(tenants: u32, accounts: u32, replicas: u32, account: KeyLimits) -> Self {
        Self {
            seed: 1,
            tenants,
            accounts,
            replicas,
            spread: replicas.min(3),
            account,
            tenant: KeyLimits::default(),
            hidden_account: None,
            hidden_tenant: None,
            retry_after: Some(Duration::from_secs(10)),
            terms: Terms::default(),
            pace: Pace {
                usual: Duration::from_secs(1),
                ..Pace::default()
            },
            operations: vec![u64::MAX / 4],
            newcomers_every: 0,
            latency: (200_000, 200_000),
            network: (0, 0),
            stall: (0, 0),
            drift_ppm: 0,
            faults: 0,
            faults_until: 0,
            until: 200 * SECOND,
            bug: None,
        }
    }

    /// A small world in which much goes wrong, drawn from the seed.
    pub fn drawn(seed: u64, bug: Option<Bug>) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(31));
        let windowed = |chance: &mut Chance, least: u32, most: u32| Window {
            calls: chance.between32(least, most),
            length: Duration::from_millis(chance.between(1500, 9000)),
        };
        let mut account = KeyLimits {
            in_flight: Some(chance.between32(1, 8)),
            ..KeyLimits::default()
        };
        for _ in 0..chance.between(0, 2) {
            account.windows.push(windowed(&mut chance, 4, 60));
        }
        account.windows.dedup_by_key(|window| window.length);
        if chance.per_mille(300) {
            account.reserve_percent = 50;
        }
        account.latency_led = chance.per_mille(300);
        let accounts = chance.between32(1, 3);
        let mut tenant = KeyLimits::default();
        if chance.per_mille(500) {
            tenant.in_flight = Some(chance.between32(2, 12));
        }
        if chance.per_mille(500) {
            tenant.windows.push(windowed(&mut chance, 10, 80));
        }
        // One in twenty has clocks out of bounds.
        let drift_ppm = if bug.is_none() && chance.per_mille(50) {
            8000
        } else {
            450
        };
        let replicas = chance.between32(2, 4);
        let drawn = Self {
            seed,
            tenants: chance.between32(1, 2),
            accounts,
            replicas,
            spread: replicas,
            account,
            tenant,
            hidden_tenant: None,
            hidden_account: None,
            retry_after: chance
                .per_mille(700)
                .then(|| Duration::from_millis(chance.between(500, 6000))),
            terms: Terms {
                longest_call: Duration::from_secs(2),
                abandoned_hold: Duration::from_secs(4),
                ..Terms::default()
            },
            operations: vec![chance.between(150, 350), chance.between(150, 350)],
            newcomers_every: chance.between(300_000, 3 * SECOND),
            latency: (50_000, chance.between(100_000, 900_000)),
            network: (500, 30_000),
            stall: (100, chance.between(1000, 60_000)),
            drift_ppm,
            faults: chance.between32(10, 20),
            faults_until: 40 * SECOND,
            until: 0,
            bug,
            pace: Pace::default(),
        };
        // Those somebody waits for are few.
        let fewest = Duration::from_secs_f64(20.0 / drawn.rate().max(0.01));
        let fewest = u64::try_from(fewest.as_micros()).unwrap_or(u64::MAX);
        Self {
            newcomers_every: drawn.newcomers_every.max(fewest),
            ..drawn
        }
    }

    /// How long so many calls of one tenant take at best: with every limit of its accounts used up, the balances of their
    /// server time full at the start and empty at the end.
    pub fn best_seconds(&self, calls: f64) -> f64 {
        let accounts = f64::from(self.accounts);
        let paid = self.account.server_time.map_or(0.0, |time| {
            let recharge = time.recharge_per_hour.as_secs_f64() / 3600.0;
            (calls * self.mean_latency() - accounts * time.burst.as_secs_f64())
                / (accounts * recharge)
        });
        (calls / self.rate()).max(paid)
    }

    /// How long a call takes at the server, in seconds.
    fn mean_latency(&self) -> f64 {
        f64::from(u32::try_from((self.latency.0 + self.latency.1) / 2).unwrap_or(u32::MAX)) / 1e6
    }

    /// Calls that the limits of one tenant let through in a second, from what the server really allows; limits on server
    /// time aside.
    pub fn rate(&self) -> f64 {
        let latency = self.mean_latency();
        let of = |limits: &KeyLimits| {
            let left = f64::from(100 - limits.reserve_percent) / 100.0;
            let slots = limits.in_flight.map_or(f64::INFINITY, |slots| {
                (f64::from(slots) * left).floor().max(1.0) / latency
            });
            let windows = limits.windows.iter().map(|window| {
                (f64::from(window.calls) * left).floor() / window.length.as_secs_f64()
            });
            windows.fold(slots, f64::min)
        };
        let hidden = |limits: &Option<KeyLimits>| limits.as_ref().map_or(f64::INFINITY, of);
        let account = of(&self.account).min(hidden(&self.hidden_account));
        (account * f64::from(self.accounts))
            .min(of(&self.tenant))
            .min(hidden(&self.hidden_tenant))
    }
}
