//! What goes wrong, and what operators do.

use std::time::Duration;

use calgrant_budget::{Operator, Stand, Window};

use crate::{
    bug::Bug,
    chance::Chance,
    scenario::Scenario,
    world::{Event, World},
};

const SECOND: u64 = 1_000_000;

/// One fault. Times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A replica dies, and another takes its place later.
    Kill(usize, u64),
    /// A replica is stopped, with all it has in hand.
    Stop(usize, u64),
    /// Nothing gets through between a replica and the authority.
    Cut(usize, u64),
    /// It takes longer, out of order.
    Delay(usize, u64),
    /// The authority's clock is set.
    Step(i64),
    /// The database fails over, and says so.
    FailOver,
    /// A process of the authority is replaced.
    Replace,
    /// The authority answers nothing.
    Out(u64),
    /// Replies get lost on the way.
    LoseReplies(u64),
    /// The server is slower.
    Slow(u64),
    /// The server refuses a key's calls.
    PushBack(usize, u64),
    /// An operator changes a key's limits.
    Limit(usize),
    /// An operator wants so many workers.
    Scale(usize, Option<u32>),
    /// An operator pauses or drains a key, and resumes it later.
    Pause(usize, Stand, u64),
    /// An operator resumes a key.
    Resume(usize),
    /// An operator sets everything as it was at first.
    Restore,
}

impl Fault {
    /// Its kind, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kill(..) => "kill",
            Self::Stop(..) => "stop",
            Self::Cut(..) => "cut",
            Self::Delay(..) => "delay",
            Self::Step(_) => "step",
            Self::FailOver => "failover",
            Self::Replace => "replace",
            Self::Out(_) => "out",
            Self::LoseReplies(_) => "lost_replies",
            Self::Slow(_) => "slow",
            Self::PushBack(..) => "pushback",
            Self::Limit(_) => "limit",
            Self::Scale(..) => "scale",
            Self::Pause(..) => "pause",
            Self::Resume(_) => "resume",
            Self::Restore => "restore",
        }
    }

    /// Any of them.
    pub fn drawn(chance: &mut Chance, scenario: &Scenario, keys: usize) -> Self {
        let replica = chance.index(scenario.replicas as usize);
        let key = chance.index(keys);
        match chance.between(0, 13) {
            0 => Self::Kill(replica, chance.between(1, 5 * SECOND)),
            1 => Self::Stop(replica, chance.between(50_000, 9 * SECOND)),
            2 => Self::Cut(replica, chance.between(SECOND, 9 * SECOND)),
            3 | 4 => Self::Delay(replica, chance.between(SECOND, 8 * SECOND)),
            5 => {
                let by = i64::try_from(chance.between(100_000, 20 * SECOND)).unwrap_or(0);
                Self::Step(if chance.per_mille(500) { by } else { -by })
            }
            6 => Self::FailOver,
            7 => Self::Out(chance.between(SECOND, 6 * SECOND)),
            8 => Self::LoseReplies(chance.between(100_000, 2 * SECOND)),
            9 => Self::Slow(chance.between(SECOND, 8 * SECOND)),
            10 => Self::PushBack(key, chance.between(10_000, SECOND)),
            11 => Self::Limit(key),
            12 => Self::Scale(key, chance.per_mille(700).then(|| chance.between32(1, 4))),
            _ => {
                let stand = if chance.per_mille(500) {
                    Stand::Paused
                } else {
                    Stand::Draining
                };
                Self::Pause(key, stand, chance.between(SECOND, 9 * SECOND))
            }
        }
    }
}

/// A change takes effect within so long.
const TAKES_EFFECT: u64 = 5 * SECOND;

impl World {
    /// Makes the fault happen.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.report.faults += 1;
        *self.report.kinds.entry(fault.kind()).or_default() += 1;
        let now = self.now;
        match fault {
            Fault::Kill(replica, down) => self.kill(replica, down),
            Fault::Stop(replica, time) => self.replicas[replica].stopped_until = now + time,
            Fault::Cut(replica, time) => self.replicas[replica].cut_until = now + time,
            Fault::Delay(replica, time) => {
                let most = self.chance.between(SECOND / 2, 4 * SECOND);
                self.replicas[replica].delayed = (most, now + time);
            }
            Fault::Step(by) => self.authority.offset += by,
            Fault::FailOver => self.authority.era += 1,
            Fault::Replace => self.authority.replaced(0, &self.scenario.terms),
            Fault::Out(time) => self.authority.out_until = now + time,
            Fault::LoseReplies(time) => self.losing_until = now + time,
            Fault::Slow(time) => self.slow_until = now + time,
            Fault::PushBack(key, time) => self.keys[key].refusing_until = now + time,
            Fault::Limit(key) => {
                let mut limits = self.authority.states[key].limits.clone();
                let other = |calls: u32, chance: &mut Chance| {
                    chance.between32((calls / 2).max(1), calls * 2)
                };
                limits.in_flight = limits.in_flight.map(|calls| other(calls, &mut self.chance));
                let change = |window: &Window, chance: &mut Chance| Window {
                    calls: other(window.calls, chance),
                    ..*window
                };
                limits.windows = limits
                    .windows
                    .iter()
                    .map(|window| change(window, &mut self.chance))
                    .collect();
                self.keys[key].limits = limits;
                self.operator(key);
            }
            Fault::Scale(key, workers) => {
                self.keys[key].operator.workers = workers;
                self.operator(key);
            }
            Fault::Pause(key, stand, time) => {
                self.keys[key].operator.stand = stand;
                self.keys[key].stopped_since = now;
                self.operator(key);
                self.at(now + time, Event::Fault(Fault::Resume(key)));
            }
            Fault::Resume(key) => {
                self.keys[key].operator.stand = Stand::Working;
                self.keys[key].stopped_since = u64::MAX;
                self.operator(key);
            }
            Fault::Restore => {
                let per_tenant = self.scenario.accounts as usize + 1;
                for key in 0..self.keys.len() {
                    let is_tenant = key % per_tenant == per_tenant - 1;
                    let limits = if is_tenant {
                        &self.scenario.tenant
                    } else {
                        &self.scenario.account
                    };
                    self.keys[key].limits.clone_from(limits);
                    self.keys[key].operator = Operator::default();
                    self.keys[key].stopped_since = u64::MAX;
                    self.operator(key);
                }
            }
        }
    }

    fn operator(&mut self, key: usize) {
        let mut told = self.keys[key].limits.clone();
        if let Some(workers) = self.keys[key].operator.workers {
            let left = told.less_reserve().in_flight.unwrap_or(u32::MAX);
            told.in_flight = Some(workers.min(left));
            if workers < left {
                // The server's count applies the reserve itself; what operators want is beyond it.
                told.in_flight = Some(workers * 100 / (100 - u32::from(told.reserve_percent)));
            } else {
                told.in_flight.clone_from(&self.keys[key].limits.in_flight);
            }
        }
        self.keys[key].server.change(&told, self.now + TAKES_EFFECT);
        let late = if self.scenario.bug == Some(Bug::OperatorIgnored) {
            30 * SECOND
        } else {
            0
        };
        self.at(
            self.now + late,
            Event::Told(u32::try_from(key).unwrap_or(0)),
        );
    }

    fn kill(&mut self, replica: usize, down: u64) {
        if !self.replicas[replica].up {
            return;
        }
        self.replicas[replica].up = false;
        let rooms = std::mem::take(&mut self.replicas[replica].rooms);
        for mut room in rooms {
            while let Some((operation, lane)) = room.chooser.next(|_| true) {
                room.chooser.started(&operation, 1);
                self.put_back(room.tenant, operation, lane);
            }
        }
        for index in 0..self.calls.len() {
            if let Some(call) = &self.calls[index]
                && call.replica == replica
                && call.awaited
            {
                let (tenant, operation, lane) = (call.tenant, call.operation, call.lane);
                if let Some(call) = &mut self.calls[index] {
                    call.awaited = false;
                }
                self.put_back(tenant, operation, lane);
            }
        }
        self.at(self.now + down.max(1), Event::Restart(replica));
    }
}

/// The longest wait that a fault causes by itself.
pub(crate) fn longest_wait(scenario: &Scenario) -> Duration {
    scenario.terms.longest_call
        + scenario.terms.abandoned_hold
        + scenario.terms.lease * 4
        // Learned rates may be low at first, and a permit may change hands.
        + Duration::from_secs(90)
}
