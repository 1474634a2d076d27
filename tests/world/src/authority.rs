//! Who grants: a clock that may be set, several processes that read it, and the rows they lock.

use std::{collections::HashMap, time::Duration};

use calgrant_budget::{
    ClockWatch, KeyName, KeyState, Reading, Terms,
    message::{Renewal, Renewed},
};

use crate::{bug::Bug, chance::Chance};

/// The authority. Times in microseconds.
#[derive(Debug)]
pub struct Authority {
    /// The rows, by key.
    pub states: Vec<KeyState>,
    names: HashMap<KeyName, usize>,
    /// How far its clock is ahead of true time.
    pub offset: i64,
    /// Its era; the rows' own.
    pub era: u64,
    /// One for each process.
    watches: Vec<ClockWatch>,
    /// It answers nothing before.
    pub out_until: u64,
    bug: Option<Bug>,
}

impl Authority {
    /// Rows for these keys, served by so many processes.
    pub fn new(states: Vec<KeyState>, processes: usize, terms: &Terms, bug: Option<Bug>) -> Self {
        let names = states
            .iter()
            .enumerate()
            .map(|(index, state)| (state.name.clone(), index))
            .collect();
        let watch = ClockWatch::new(Duration::from_millis(50), terms.clock_ppm);
        Self {
            states,
            names,
            offset: 3_600_000_000,
            era: 1,
            watches: vec![watch; processes],
            out_until: 0,
            bug,
        }
    }

    /// What its clock says.
    pub fn now(&self, now: u64) -> Duration {
        Duration::from_micros(now.saturating_add_signed(self.offset))
    }

    /// A process was replaced: the new one has seen nothing.
    pub fn replaced(&mut self, process: usize, terms: &Terms) {
        self.watches[process] = ClockWatch::new(Duration::from_millis(50), terms.clock_ppm);
    }

    /// The key of that name.
    pub fn key(&self, name: &KeyName) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// One process answers a renewal.
    pub fn answer(
        &mut self,
        renewal: &Renewal,
        terms: &Terms,
        chance: &mut Chance,
        now: u64,
    ) -> Renewed {
        let process = chance.index(self.watches.len());
        let clock = self.now(now);
        let stepped = self.watches[process].stepped(clock, Duration::from_micros(now));
        if stepped && self.bug != Some(Bug::ClockStepIgnored) {
            self.era += 1;
        }
        let reading = Reading {
            now: clock,
            era: self.era,
        };
        let lost = self.bug == Some(Bug::RowNotLocked) && chance.per_mille(200);
        let mut grants = Vec::with_capacity(renewal.asks.len());
        for ask in &renewal.asks {
            let Some(index) = self.key(&ask.key) else {
                continue;
            };
            let state = &mut self.states[index];
            let before = lost.then(|| state.clone());
            if self.bug == Some(Bug::ClockStepIgnored) && clock < state.seen {
                state.seen = clock;
            }
            if self.bug == Some(Bug::SilentReissued) {
                let since = clock.saturating_sub(Duration::from_secs(1));
                state.leases.retain(|lease| lease.asked_at > since);
            }
            let mut ask = ask.clone();
            match self.bug {
                Some(Bug::WindowShareReissued) => {
                    for window in &mut ask.windows {
                        window.counted = 0;
                        window.held = 0;
                        window.leaving = Default::default();
                    }
                }
                Some(Bug::HeldNotTold) => {
                    ask.slots = Some(ask.in_flight);
                    for window in &mut ask.windows {
                        window.held = window.counted;
                    }
                }
                Some(Bug::PushbackNotShared) => ask.pushbacks.clear(),
                _ => {}
            }
            if self.bug == Some(Bug::ReserveIgnored) {
                state.limits.reserve_percent = 0;
            }
            grants.extend(state.grant(&renewal.replica, renewal.number, &ask, terms, reading));
            if let Some(before) = before {
                *state = before;
            }
        }
        Renewed {
            number: renewal.number,
            clock: (!stepped).then_some(clock),
            grants,
        }
    }
}
