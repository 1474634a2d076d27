//! What to start next of what waits: two lanes, and a fair turn for every operation.
//!
//! One chooser for each tenant's site. Tenants share no account, so no chooser sees two of them.

use std::collections::BTreeMap;

use crate::message::{Lane, Waiting};

/// What the bulk lane keeps of the starts while both lanes wait, in percent.
const BULK_KEEPS_PERCENT: u32 = 20;

/// What waits of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queue {
    lane: Lane,
    waiting: u32,
    /// Calls started, counted from where the others were when it came.
    served: u64,
}

/// Chooses among operations `Op`.
#[derive(Debug, Clone)]
pub struct Chooser<Op> {
    queues: BTreeMap<Op, Queue>,
    waiting: Waiting,
    /// Grows by the bulk lane's share whenever it gives way; at 100 its turn has come.
    owed: u32,
    /// How far the operation served last had come, for each lane.
    level: [u64; 2],
}

impl<Op: Ord + Clone> Default for Chooser<Op> {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            waiting: Waiting::default(),
            owed: 0,
            level: [0; 2],
        }
    }
}

const fn index(lane: Lane) -> usize {
    match lane {
        Lane::Interactive => 0,
        Lane::Bulk => 1,
    }
}

impl<Op: Ord + Clone> Chooser<Op> {
    /// So many more calls of an operation wait. An operation stays in the lane it came in while any wait.
    pub fn arrived(&mut self, operation: Op, lane: Lane, calls: u32) {
        let level = self.level[index(lane)];
        let queue = self.queues.entry(operation).or_insert(Queue {
            lane,
            waiting: 0,
            served: level,
        });
        queue.waiting += calls;
        let lane = queue.lane;
        *self.lane(lane) += calls;
    }

    /// So many wait no longer: cancelled, or given back.
    pub fn withdrawn(&mut self, operation: &Op, calls: u32) {
        self.take(operation, calls);
    }

    /// What waits.
    pub fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// What to start next, if each lane may start something or not: ask the holder of the account. Nothing changes until [`Self::started`].
    pub fn next(&self, may: impl Fn(Lane) -> bool) -> Option<(Op, Lane)> {
        let bulk_due = self.owed >= 100;
        let order = if bulk_due {
            [Lane::Bulk, Lane::Interactive]
        } else {
            [Lane::Interactive, Lane::Bulk]
        };
        order
            .into_iter()
            .filter(|lane| may(*lane))
            .find_map(|lane| self.first(lane).map(|operation| (operation, lane)))
    }

    /// The operation of a lane whose turn it is: the one served least.
    fn first(&self, lane: Lane) -> Option<Op> {
        let of_lane = self.queues.iter().filter(|(_, queue)| queue.lane == lane);
        of_lane
            .min_by_key(|(_, queue)| queue.served)
            .map(|(operation, _)| operation.clone())
    }

    /// So many calls of it have started.
    pub fn started(&mut self, operation: &Op, calls: u32) {
        let Some(queue) = self.queues.get_mut(operation) else {
            return;
        };
        let lane = queue.lane;
        self.level[index(lane)] = queue.served;
        queue.served += u64::from(calls);
        match lane {
            Lane::Interactive if self.waiting.bulk > 0 => {
                self.owed += BULK_KEEPS_PERCENT * 100 / (100 - BULK_KEEPS_PERCENT) * calls;
            }
            Lane::Interactive => self.owed = 0,
            Lane::Bulk => self.owed = self.owed.saturating_sub(100 * calls),
        }
        self.take(operation, calls);
    }

    fn take(&mut self, operation: &Op, calls: u32) {
        let Some(queue) = self.queues.get_mut(operation) else {
            return;
        };
        let calls = calls.min(queue.waiting);
        queue.waiting -= calls;
        let (lane, empty) = (queue.lane, queue.waiting == 0);
        *self.lane(lane) -= calls;
        if empty {
            self.queues.remove(operation);
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut u32 {
        match lane {
            Lane::Interactive => &mut self.waiting.interactive,
            Lane::Bulk => &mut self.waiting.bulk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(chooser: &mut Chooser<&'static str>, starts: usize) -> BTreeMap<&'static str, u32> {
        let mut counts = BTreeMap::new();
        for _ in 0..starts {
            let Some((operation, _)) = chooser.next(|_| true) else {
                break;
            };
            chooser.started(&operation, 1);
            *counts.entry(operation).or_default() += 1;
        }
        counts
    }

    #[test]
    fn interactive_goes_first_and_bulk_keeps_a_fifth() {
        let mut chooser = Chooser::default();
        chooser.arrived("bulk", Lane::Bulk, 1000);
        chooser.arrived("newcomer", Lane::Interactive, 1);
        assert_eq!(
            chooser.next(|_| true),
            Some(("newcomer", Lane::Interactive))
        );
        chooser.arrived("newcomer", Lane::Interactive, 999);
        let counts = run(&mut chooser, 500);
        assert_eq!(counts["bulk"], 100);
        assert_eq!(
            chooser.next(|lane| lane == Lane::Bulk),
            Some(("bulk", Lane::Bulk))
        );
    }

    #[test]
    fn operations_share_fairly_whenever_they_came() {
        let mut chooser = Chooser::default();
        chooser.arrived("large", Lane::Bulk, 10_000);
        run(&mut chooser, 500);
        chooser.arrived("late", Lane::Bulk, 10_000);
        chooser.arrived("small", Lane::Bulk, 10);
        let counts = run(&mut chooser, 210);
        assert_eq!(counts["small"], 10);
        assert!(counts["large"].abs_diff(counts["late"]) <= 1, "{counts:?}");
    }

    #[test]
    fn what_is_withdrawn_is_not_started() {
        let mut chooser = Chooser::default();
        chooser.arrived(1, Lane::Bulk, 3);
        chooser.withdrawn(&1, 3);
        assert_eq!(chooser.next(|_| true), None);
        assert_eq!(chooser.waiting(), Waiting::default());
    }
}
