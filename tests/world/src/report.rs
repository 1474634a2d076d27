//! How a world went.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Figures of one run, or of several together.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds with violations, at most ten of them.
    pub bad_seeds: Vec<u64>,
    /// Best possible time ÷ time taken.
    pub utilisation: f64,
    /// What must never happen, and did.
    pub violations: u64,
    /// The first of them.
    pub first_violation: Option<String>,
    /// Over limits while clocks or stalls were out of bounds: allowed, but counted.
    pub excused: u64,
    /// Breaches that holders noticed.
    pub breaches: u64,
    /// Jain's index of what tenants got: 1 if all got the same.
    pub fairness: f64,
    /// Time in the world.
    pub virtual_seconds: f64,
    /// What the limits alone would take.
    pub best_possible_seconds: f64,
    /// Events.
    pub events: u64,
    /// Faults.
    pub faults: u64,
    /// Calls served.
    pub served: u64,
    /// Calls refused.
    pub refused: u64,
    /// Calls served in each bin of ten seconds.
    pub bins: Vec<u64>,
    /// The longest that a call of the interactive lane waited to start, in microseconds.
    pub interactive_waits: Vec<u64>,
    /// Faults by kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

impl Report {
    /// One more seed.
    pub fn add(&mut self, seed: u64, other: &Self) {
        let n = number(self.seeds);
        let mean = |a: f64, b: f64| (a * n + b) / (n + 1.0);
        self.utilisation = mean(self.utilisation, other.utilisation);
        self.fairness = mean(self.fairness, other.fairness);
        self.seeds += 1;
        if other.violations > 0 && self.bad_seeds.len() < 10 {
            if self.bad_seeds.is_empty() {
                self.first_violation.clone_from(&other.first_violation);
            }
            self.bad_seeds.push(seed);
        }
        self.violations += other.violations;
        self.excused += other.excused;
        self.breaches += other.breaches;
        self.virtual_seconds += other.virtual_seconds;
        self.best_possible_seconds += other.best_possible_seconds;
        self.events += other.events;
        self.faults += other.faults;
        self.served += other.served;
        self.refused += other.refused;
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    /// Calls served a second, from the bin of that second on, for so many seconds.
    pub fn mean(&self, from: usize, seconds: usize) -> f64 {
        let bins = self.bins.iter().skip(from / 10).take(seconds / 10);
        number(bins.sum()) / number(seconds as u64)
    }

    /// As one line of JSON.
    pub fn json(&self) -> Value {
        json!({
            "utilisation": self.utilisation, "violations": self.violations, "fairness": self.fairness,
            "virtual_seconds": self.virtual_seconds, "best_possible_seconds": self.best_possible_seconds,
            "events": self.events, "faults": self.faults, "faults_by_kind": self.kinds, "seeds": self.seeds,
            "bad_seeds": self.bad_seeds, "first_violation": self.first_violation,
            "excused": self.excused, "breaches": self.breaches, "served": self.served, "refused": self.refused,
        })
    }
}

/// As a float, for figures.
#[expect(clippy::cast_precision_loss, reason = "figures")]
pub fn number(number: u64) -> f64 {
    number as f64
}
