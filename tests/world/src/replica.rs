//! Who works: a process with a clock of its own, its leases, and what waits in it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use calgrant_budget::{
    Charge, Chooser, Holder, KeyName, Moment, Pace, Terms,
    message::{Lane, Waiting},
};

/// What a replica has of one tenant.
#[derive(Debug)]
pub struct Room {
    /// The tenant.
    pub tenant: u32,
    /// What waits, by operation.
    pub chooser: Chooser<u32>,
    /// What a call of each account is charged to.
    pub charges: Vec<Charge>,
    /// The tenant's keys.
    pub names: Vec<KeyName>,
    /// Since when calls of the interactive lane wait.
    pub since: VecDeque<u64>,
    /// The account that is asked first.
    pub first: usize,
    /// When it is looked at again.
    pub wakes_at: u64,
}

/// A process. Times in microseconds of true time.
#[derive(Debug)]
pub struct Replica {
    /// Counts its lives: what was sent to an earlier one is lost.
    pub life: u32,
    /// Whether it runs.
    pub up: bool,
    born: u64,
    /// How fast its clock runs, in millionths of true time.
    rate: u64,
    /// Its leases.
    pub holder: Holder,
    /// Its tenants.
    pub rooms: Vec<Room>,
    /// Nothing happens in it before.
    pub stopped_until: u64,
    /// Nothing gets through between it and the authority before.
    pub cut_until: u64,
    /// What gets through takes so much longer, until then.
    pub delayed: (u64, u64),
    /// The renewal sent last.
    pub sent: u64,
    /// When the authority read the renewal of which the answer about a key was applied last. One that arrives twice may be answered
    /// in part only: where nothing is known any more of what the first was answered.
    pub read_at: HashMap<usize, u64>,
    /// When it renews next.
    pub renews_at: u64,
}

impl Replica {
    /// A new life.
    pub fn new(index: usize, life: u32, rate: u64, terms: Terms, pace: Pace, now: u64) -> Self {
        Self {
            life,
            up: true,
            born: now,
            rate,
            holder: Holder::new(format!("replica-{index}-{life}"), terms, pace),
            rooms: Vec::new(),
            stopped_until: 0,
            cut_until: 0,
            delayed: (0, 0),
            sent: 0,
            read_at: HashMap::new(),
            renews_at: u64::MAX,
        }
    }

    /// The time by its own clock.
    pub fn local(&self, now: u64) -> Moment {
        let passed = u128::from(now.saturating_sub(self.born)) * u128::from(self.rate) / 1_000_000;
        // A second has passed at birth, so that nothing is at the very start of time.
        Duration::from_micros(u64::try_from(passed).unwrap_or(u64::MAX) + 1_000_000)
    }

    /// When its clock shows that time.
    pub fn when(&self, local: Moment) -> u64 {
        let passed =
            local.as_micros().saturating_sub(1_000_000) * 1_000_000 / u128::from(self.rate.max(1));
        self.born + u64::try_from(passed).unwrap_or(u64::MAX / 2) + 1
    }

    /// Tells the holder what waits in a room.
    pub fn tell_waiting(&mut self, room: usize) {
        let room = &self.rooms[room];
        let waiting = room.chooser.waiting();
        for name in &room.names {
            self.holder.wait(name, waiting);
        }
    }

    /// Room for so many more of that lane.
    pub fn room_for(&self, room: usize, lane: Lane, prefetch: u32) -> u32 {
        let Waiting { interactive, bulk } = self.rooms[room].chooser.waiting();
        prefetch.saturating_sub(match lane {
            Lane::Interactive => interactive,
            Lane::Bulk => bulk,
        })
    }
}
