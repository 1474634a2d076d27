//! The world itself: events in the order of their time, and what must be true at each.
//!
//! Long because the life of a call and of a renewal is told here from end to end, and each check stands where it applies.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use calgrant_budget::{
    Answer, KeyLimits, KeyName, KeyState, Operator, Permit, Reading, Scope, Stand,
    message::{Lane, Overload, Pushback, Renewal, Renewed},
};

use crate::{
    authority::Authority,
    bug::Bug,
    chance::Chance,
    faults::{Fault, longest_wait},
    replica::{Replica, Room},
    report::{Report, number},
    scenario::Scenario,
    server::ServerKey,
};

const SECOND: u64 = 1_000_000;
/// What a replica holds ready of a tenant, beyond what is in flight.
const PREFETCH: u32 = 32;
/// A change takes effect within so long.
const TAKES_EFFECT: u64 = 5 * SECOND;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A replica renews.
    Renew { replica: usize, life: u32 },
    /// A renewal arrives.
    Asked { message: usize },
    /// An answer arrives.
    Answered { message: usize },
    /// A replica looks again at what waits.
    Wake {
        replica: usize,
        life: u32,
        room: usize,
    },
    /// A call's first byte leaves.
    FirstByte { call: usize },
    /// A call arrives at the server.
    Arrive { call: usize },
    /// The server has done with a call.
    Served { call: usize },
    /// The reply arrives.
    Reply { call: usize, refused: bool },
    /// No reply is awaited any more.
    GiveUp { call: usize },
    /// A call for which somebody waits.
    Newcomer { tenant: u32 },
    /// A replica starts again.
    Restart(usize),
    /// Something goes wrong.
    Fault(Fault),
    /// The authority hears of an operator's change.
    Told(u32),
}

impl PartialOrd for Fault {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fault {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) replica: usize,
    life: u32,
    pub(crate) tenant: u32,
    room: usize,
    account: usize,
    pub(crate) operation: u32,
    pub(crate) lane: Lane,
    permit: Permit,
    started_at: u64,
    /// Somebody waits for the reply.
    pub(crate) awaited: bool,
    /// The replica has handed in its permit.
    handed_in: bool,
    /// The server works on it.
    inside: bool,
    /// Its reply gets lost.
    lost: bool,
    /// Events that will still name it.
    named: u8,
}

/// A key, at the server and in the operator's mind.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) server: ServerKey,
    pub(crate) limits: KeyLimits,
    pub(crate) operator: Operator,
    pub(crate) stopped_since: u64,
    pub(crate) refusing_until: u64,
    /// The server said to wait until then.
    blocked_until: u64,
    /// The authority heard of it then.
    block_read_at: u64,
    name: KeyName,
}

/// One institution's work.
#[derive(Debug)]
struct Tenant {
    /// Left to be handed out, by operation; the first is the interactive one.
    operations: Vec<(Lane, u64)>,
    /// Handed out, by operation.
    drawn: Vec<u64>,
    wanted: u64,
    done: u64,
    last_done: u64,
    /// When all was done.
    done_at: u64,
    keys: Vec<usize>,
    rooms: Vec<usize>,
    newcomers: VecDeque<u64>,
}

/// A world, to be run to its end.
#[derive(Debug)]
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) report: Report,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) authority: Authority,
    pub(crate) keys: Vec<Key>,
    pub(crate) calls: Vec<Option<Call>>,
    pub(crate) losing_until: u64,
    pub(crate) slow_until: u64,
    free_calls: Vec<usize>,
    renewals: Vec<Option<(usize, u32, Renewal)>>,
    answers: Vec<Option<(usize, u32, Renewed, u64)>>,
    tenants: Vec<Tenant>,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    events: u64,
    excused_until: u64,
    /// If no call is done before, something starves.
    starves_at: u64,
    finished: usize,
    /// Calls done, of two operations that ran side by side.
    side_by_side: [u64; 2],
}

impl World {
    /// The world at its beginning.
    pub fn new(scenario: Scenario) -> Self {
        let mut chance = Chance::new(scenario.seed);
        let mut keys = Vec::new();
        let mut states = Vec::new();
        let mut tenants = Vec::new();
        let at = Reading {
            now: Duration::from_secs(3600),
            era: 1,
        };
        for tenant in 0..scenario.tenants {
            let mut own = Vec::new();
            let first = keys.len();
            for account in 0..=scenario.accounts {
                let (name, told, hidden) = if account == scenario.accounts {
                    let name = KeyName::new(Scope::Tenant, format!("tenant-{tenant}"), "ews");
                    (name, &scenario.tenant, scenario.hidden_tenant.as_ref())
                } else {
                    let name =
                        KeyName::new(Scope::Account, format!("sa-{tenant}-{account}"), "ews");
                    (name, &scenario.account, scenario.hidden_account.as_ref())
                };
                states.push(KeyState::new(name.clone(), told.clone(), at));
                keys.push(Key {
                    server: ServerKey::new(told, hidden),
                    limits: told.clone(),
                    operator: Operator::default(),
                    stopped_since: u64::MAX,
                    refusing_until: 0,
                    blocked_until: 0,
                    block_read_at: u64::MAX,
                    name,
                });
                own.push(first + account as usize);
            }
            let mut operations = vec![(Lane::Interactive, 0)];
            operations.extend(scenario.operations.iter().map(|calls| (Lane::Bulk, *calls)));
            let rooms = (0..scenario.spread.min(scenario.replicas))
                .map(|more| ((tenant + more) % scenario.replicas) as usize)
                .collect();
            tenants.push(Tenant {
                drawn: vec![0; operations.len()],
                operations,
                wanted: scenario.operations.iter().sum(),
                done: 0,
                last_done: 0,
                done_at: 0,
                keys: own,
                rooms,
                newcomers: VecDeque::new(),
            });
        }
        let authority = Authority::new(states, 2, &scenario.terms, scenario.bug);
        let mut world = Self {
            now: 0,
            replicas: Vec::new(),
            authority,
            keys,
            calls: Vec::new(),
            losing_until: 0,
            slow_until: 0,
            free_calls: Vec::new(),
            renewals: Vec::new(),
            answers: Vec::new(),
            tenants,
            queue: BinaryHeap::new(),
            events: 0,
            excused_until: 0,
            starves_at: 0,
            finished: 0,
            side_by_side: [0; 2],
            report: Report::default(),
            chance: Chance::new(chance.any()),
            scenario,
        };
        for index in 0..world.scenario.replicas as usize {
            world.live(index, 0);
        }
        for _ in 0..world.scenario.faults {
            let at = chance.between(SECOND, world.scenario.faults_until);
            let fault = Fault::drawn(&mut chance, &world.scenario, world.keys.len());
            world.at(at, Event::Fault(fault));
        }
        if world.scenario.faults > 0 {
            world.at(world.scenario.faults_until, Event::Fault(Fault::Restore));
        }
        if world.scenario.newcomers_every > 0 {
            for tenant in 0..world.scenario.tenants {
                let first = world.chance.between(0, world.scenario.newcomers_every);
                world.at(first, Event::Newcomer { tenant });
            }
        }
        world
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Report {
        self.starves_at = self.scenario.faults_until + self.patience();
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            if self.is_over() {
                break;
            }
            if at > self.starves_at && self.scenario.until == 0 {
                self.starved();
                break;
            }
            self.happens(event);
        }
        self.close()
    }

    fn starved(&mut self) {
        use std::fmt::Write as _;
        let mut what = "starved:".to_owned();
        for tenant in self.tenants.iter().filter(|tenant| tenant.done_at == 0) {
            let _ = write!(
                what,
                " {} of {} done, {:?} left, {} newcomers;",
                tenant.done,
                tenant.wanted,
                tenant.operations,
                tenant.newcomers.len()
            );
            for replica in tenant.rooms.iter().map(|replica| &self.replicas[*replica]) {
                for room in replica
                    .rooms
                    .iter()
                    .filter(|room| room.names.contains(&self.keys[tenant.keys[0]].name))
                {
                    let _ = write!(
                        what,
                        " {:?} wait, up {},",
                        room.chooser.waiting(),
                        replica.up
                    );
                    for name in &room.names {
                        let (slots, used, why) = (
                            replica.holder.slots(name),
                            replica.holder.in_flight(name),
                            replica.holder.why(name),
                        );
                        let _ = write!(what, " {name} {used} of {slots:?} ({why:?})");
                    }
                }
            }
            for key in &tenant.keys {
                let state = &self.authority.states[*key];
                let _ = write!(
                    what,
                    " {} {:?} {:?} learned {:?} {:?};",
                    state.name,
                    state.limits,
                    state.operator,
                    state.learned.in_flight,
                    state.learned.rate
                );
            }
        }
        self.violation(&what);
    }

    /// So long may pass without a call of a tenant that has work.
    fn patience(&self) -> u64 {
        u64::try_from(longest_wait(&self.scenario).as_micros()).unwrap_or(u64::MAX / 2)
    }

    fn is_over(&self) -> bool {
        if self.scenario.until > 0 {
            return self.now >= self.scenario.until;
        }
        self.finished == self.tenants.len() && self.now >= self.scenario.faults_until
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.events += 1;
        self.queue
            .push(Reverse((at.max(self.now), self.events, event)));
    }

    fn violation(&mut self, what: &str) {
        if self.scenario.drift_ppm > 1000 || self.now < self.excused_until {
            self.report.excused += 1;
            return;
        }
        self.report.violations += 1;
        let at = number(self.now) / 1e6;
        self.report
            .first_violation
            .get_or_insert_with(|| format!("at {at:.3} s: {what}"));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Renew { replica, life } => self.renew(replica, life),
            Event::Asked { message } => self.asked(message),
            Event::Answered { message } => self.answered(message, event),
            Event::Wake {
                replica,
                life,
                room,
            } => {
                if self.lives(replica, life)
                    && self.replicas[replica].rooms[room].wakes_at == self.now
                {
                    if self.defer(replica, event) {
                        let until = self.replicas[replica].stopped_until;
                        self.replicas[replica].rooms[room].wakes_at = until;
                        return;
                    }
                    self.replicas[replica].rooms[room].wakes_at = u64::MAX;
                    self.pump(replica, room);
                }
            }
            Event::FirstByte { call } => self.first_byte(call, event),
            Event::Arrive { call } => self.arrive(call),
            Event::Served { call } => self.served(call),
            Event::Reply { call, refused } => self.reply(call, refused, event),
            Event::GiveUp { call } => self.give_up(call, event),
            Event::Newcomer { tenant } => self.newcomer(tenant),
            Event::Restart(replica) => {
                let life = self.replicas[replica].life + 1;
                self.live(replica, life);
            }
            Event::Fault(fault) => self.strike(fault),
            Event::Told(key) => {
                let key = key as usize;
                self.authority.states[key].limits = self.keys[key].limits.clone();
                self.authority.states[key].operator = self.keys[key].operator;
            }
        }
    }

    /// A stopped process does it when it goes on.
    fn defer(&mut self, replica: usize, event: Event) -> bool {
        let until = self.replicas[replica].stopped_until;
        if until <= self.now {
            return false;
        }
        self.at(until, event);
        true
    }

    fn lives(&self, replica: usize, life: u32) -> bool {
        self.replicas[replica].up && self.replicas[replica].life == life
    }

    // Replicas: birth, work.

    fn live(&mut self, index: usize, life: u32) {
        let drift = self.scenario.drift_ppm;
        let rate = 1_000_000 - drift + self.chance.between(0, 2 * drift);
        let (terms, pace) = (self.scenario.terms, self.scenario.pace);
        let mut replica = Replica::new(index, life, rate, terms, pace, self.now);
        for (number, tenant) in self.tenants.iter().enumerate() {
            if !tenant.rooms.contains(&index) {
                continue;
            }
            let names: Vec<KeyName> = tenant
                .keys
                .iter()
                .map(|key| self.keys[*key].name.clone())
                .collect();
            let (shared, accounts) = names.split_last().unwrap_or((&names[0], &[]));
            let charges = accounts
                .iter()
                .filter_map(|account| replica.holder.charge(&[account.clone(), shared.clone()]))
                .collect();
            replica.rooms.push(Room {
                tenant: u32::try_from(number).unwrap_or(0),
                chooser: calgrant_budget::Chooser::default(),
                charges,
                names,
                since: VecDeque::new(),
                first: index,
                wakes_at: u64::MAX,
            });
        }
        if index < self.replicas.len() {
            self.replicas[index] = replica;
        } else {
            self.replicas.push(replica);
        }
        for room in 0..self.replicas[index].rooms.len() {
            self.fetch(index, room);
            self.replicas[index].tell_waiting(room);
        }
        // Not all at the same moment.
        let first = self.now + self.chance.between(0, SECOND / 2);
        self.replicas[index].renews_at = first;
        self.at(
            first,
            Event::Renew {
                replica: index,
                life,
            },
        );
    }

    /// Fills up what a replica holds ready, fairly of all operations.
    fn fetch(&mut self, replica: usize, room: usize) {
        let tenant = self.replicas[replica].rooms[room].tenant;
        let mut left = self.replicas[replica].room_for(room, Lane::Bulk, PREFETCH);
        let state = &mut self.tenants[tenant as usize];
        while left > 0 {
            let open = state
                .operations
                .iter()
                .enumerate()
                .filter(|(_, (lane, calls))| *lane == Lane::Bulk && *calls > 0);
            let Some((operation, _)) = open.min_by_key(|(operation, _)| state.drawn[*operation])
            else {
                break;
            };
            let others = state
                .operations
                .iter()
                .filter(|(lane, calls)| *lane == Lane::Bulk && *calls > 0)
                .count();
            let take = if others > 1 {
                1
            } else {
                state.operations[operation].1.min(u64::from(left))
            };
            state.operations[operation].1 -= take;
            state.drawn[operation] += take;
            let (operation, take) = (
                u32::try_from(operation).unwrap_or(0),
                u32::try_from(take).unwrap_or(0),
            );
            self.replicas[replica].rooms[room]
                .chooser
                .arrived(operation, Lane::Bulk, take);
            left -= take;
        }
    }

    pub(crate) fn put_back(&mut self, tenant: u32, operation: u32, lane: Lane) {
        if lane == Lane::Interactive {
            self.tenants[tenant as usize].newcomers.push_back(self.now);
            self.offer(tenant);
            return;
        }
        self.tenants[tenant as usize].operations[operation as usize].1 += 1;
        self.tenants[tenant as usize].drawn[operation as usize] -= 1;
        // Whoever has room takes it up.
        for replica in self.tenants[tenant as usize].rooms.clone() {
            self.look_soon(replica, tenant);
        }
    }

    fn look_soon(&mut self, replica: usize, tenant: u32) {
        if !self.replicas[replica].up {
            return;
        }
        let life = self.replicas[replica].life;
        let room = self.replicas[replica]
            .rooms
            .iter()
            .position(|room| room.tenant == tenant);
        if let Some(room) = room
            && self.replicas[replica].rooms[room].wakes_at == u64::MAX
        {
            self.replicas[replica].rooms[room].wakes_at = self.now;
            self.at(
                self.now,
                Event::Wake {
                    replica,
                    life,
                    room,
                },
            );
        }
    }

    fn newcomer(&mut self, tenant: u32) {
        if self.scenario.until == 0 && self.tenants[tenant as usize].done_at > 0 {
            return;
        }
        self.tenants[tenant as usize].wanted += 1;
        self.tenants[tenant as usize].newcomers.push_back(self.now);
        self.offer(tenant);
        let next = self.now + self.scenario.newcomers_every;
        self.at(next, Event::Newcomer { tenant });
    }

    /// Hands newcomers to some replica that runs.
    fn offer(&mut self, tenant: u32) {
        let rooms = &self.tenants[tenant as usize].rooms;
        let up: Vec<usize> = rooms
            .iter()
            .copied()
            .filter(|replica| self.replicas[*replica].up)
            .collect();
        if up.is_empty() {
            return;
        }
        let replica = up[self.chance.index(up.len())];
        let Some(room) = self.replicas[replica]
            .rooms
            .iter()
            .position(|room| room.tenant == tenant)
        else {
            return;
        };
        let newcomers: Vec<u64> = self.tenants[tenant as usize].newcomers.drain(..).collect();
        for since in newcomers {
            let room = &mut self.replicas[replica].rooms[room];
            room.since.push_back(since);
            room.chooser.arrived(0, Lane::Interactive, 1);
        }
        self.look_soon(replica, tenant);
    }

    /// What has waited here for long is given back, and goes to some other replica.
    fn hand_back(&mut self, replica: usize, room: usize) {
        let state = &mut self.replicas[replica].rooms[room];
        let tenant = state.tenant;
        let before = state.since.len();
        while let Some(since) = state.since.front().copied()
            && since + 20 * SECOND < self.now
        {
            state.since.pop_front();
            state.chooser.withdrawn(&0, 1);
            self.tenants[tenant as usize].newcomers.push_back(self.now);
        }
        if self.replicas[replica].rooms[room].since.len() < before {
            self.offer(tenant);
        }
    }

    /// Starts what may start.
    fn pump(&mut self, replica: usize, room: usize) {
        let now = self.now;
        let local = self.replicas[replica].local(now);
        if self.tenants[self.replicas[replica].rooms[room].tenant as usize]
            .newcomers
            .front()
            .is_some()
        {
            let tenant = self.replicas[replica].rooms[room].tenant;
            self.offer(tenant);
        }
        self.hand_back(replica, room);
        self.fetch(replica, room);
        let accounts = self.replicas[replica].rooms[room].charges.len();
        let first = self.replicas[replica].rooms[room].first;
        let mut wake: Option<Duration> = None;
        for more in 0..accounts {
            let account = (first + more) % accounts;
            let mut open = [true, true];
            loop {
                let state = &mut self.replicas[replica];
                let may = |lane| open[usize::from(lane == Lane::Bulk)];
                let Some((operation, lane)) = state.rooms[room].chooser.next(may) else {
                    break;
                };
                let charge = state.rooms[room].charges[account];
                match state.holder.ask(&charge, lane, 1, local) {
                    Answer::Go(permit) => {
                        state.rooms[room].chooser.started(&operation, 1);
                        state.rooms[room].first = account + 1;
                        self.start(replica, room, account, operation, lane, permit);
                        self.fetch(replica, room);
                        continue;
                    }
                    Answer::WaitUntil(at) => wake = Some(wake.map_or(at, |known| known.min(at))),
                    Answer::WaitForRelease | Answer::NoLease => {}
                }
                open[usize::from(lane == Lane::Bulk)] = false;
            }
        }
        self.replicas[replica].tell_waiting(room);
        if let Some(wake) = wake {
            let at = self.replicas[replica].when(wake).max(now + 1);
            if at < self.replicas[replica].rooms[room].wakes_at {
                self.replicas[replica].rooms[room].wakes_at = at;
                let life = self.replicas[replica].life;
                self.at(
                    at,
                    Event::Wake {
                        replica,
                        life,
                        room,
                    },
                );
            }
        }
        self.hurry(replica);
    }

    /// Renews earlier if somebody waits for it.
    fn hurry(&mut self, replica: usize) {
        if self.replicas[replica].renews_at <= self.now + SECOND / 5 {
            return;
        }
        let state = &self.replicas[replica];
        let at = state
            .when(state.holder.renew_at(state.local(self.now)))
            .max(self.now);
        if at + SECOND / 10 < state.renews_at {
            let life = state.life;
            self.replicas[replica].renews_at = at;
            self.at(at, Event::Renew { replica, life });
        }
    }

    // The life of a call.

    fn start(
        &mut self,
        replica: usize,
        room: usize,
        account: usize,
        operation: u32,
        lane: Lane,
        permit: Permit,
    ) {
        let now = self.now;
        let tenant = self.replicas[replica].rooms[room].tenant;
        let keys = self.tenants[tenant as usize].keys.clone();
        for key in [keys[account], *keys.last().unwrap_or(&0)] {
            let read_at = self.replicas[replica].read_at.get(&key).copied();
            let key = &self.keys[key];
            if key.operator.stand != Stand::Working
                && now > key.stopped_since.saturating_add(TAKES_EFFECT)
            {
                let what = format!(
                    "{} started though stopped since {} ms",
                    key.name,
                    (now - key.stopped_since) / 1000
                );
                self.violation(&what);
            } else if now + 60_000 < key.blocked_until
                && read_at.is_some_and(|read_at| read_at > key.block_read_at)
            {
                let what = format!(
                    "{} started though the server wants none for {} ms",
                    key.name,
                    (key.blocked_until - now) / 1000
                );
                self.violation(&what);
            }
        }
        if lane == Lane::Interactive
            && let Some(since) = self.replicas[replica].rooms[room].since.pop_front()
        {
            self.report.interactive_waits.push(now - since);
        }
        let lost = now < self.losing_until;
        let call = Call {
            replica,
            life: self.replicas[replica].life,
            tenant,
            room,
            account,
            operation,
            lane,
            permit,
            started_at: now,
            awaited: true,
            handed_in: false,
            inside: false,
            lost,
            named: 1,
        };
        let index = self.free_calls.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[index] = Some(call);
        if self.scenario.stall.1 == 0 {
            let local = self.replicas[replica].local(now);
            self.replicas[replica].holder.first_byte(permit, local);
            self.arrive(index);
            return;
        }
        let stall = self
            .chance
            .between(self.scenario.stall.0, self.scenario.stall.1);
        self.at(now + stall, Event::FirstByte { call: index });
        let longest = self.replicas[replica].local(now) + self.scenario.terms.longest_call;
        let gives_up = self.replicas[replica].when(longest);
        if lost {
            self.name(index);
            self.at(gives_up, Event::GiveUp { call: index });
        }
    }

    fn name(&mut self, call: usize) {
        if let Some(call) = &mut self.calls[call] {
            call.named += 1;
        }
    }

    /// An event that named the call has happened; after the last one it is forgotten.
    fn forget(&mut self, index: usize) {
        if let Some(call) = &mut self.calls[index] {
            call.named -= 1;
            if call.named == 0 {
                self.calls[index] = None;
                self.free_calls.push(index);
            }
        }
    }

    fn first_byte(&mut self, index: usize, event: Event) {
        let Some(call) = self.calls[index].clone() else {
            return;
        };
        if !self.lives(call.replica, call.life) {
            self.forget(index);
            return;
        }
        if self.defer(call.replica, event) {
            return;
        }
        if self.now > call.started_at + 99_000 {
            // Out of bounds: whatever follows is excused, as long as it may count.
            self.excused_until = self.now + 30 * SECOND;
        }
        let local = self.replicas[call.replica].local(self.now);
        self.replicas[call.replica]
            .holder
            .first_byte(call.permit, local);
        if self.scenario.bug == Some(Bug::PermitReleasedEarly) {
            self.replicas[call.replica]
                .holder
                .done(call.permit, true, local);
        }
        let way = self
            .chance
            .between(self.scenario.network.0, self.scenario.network.1);
        self.at(self.now + way, Event::Arrive { call: index });
    }

    fn arrive(&mut self, index: usize) {
        let Some(call) = self.calls[index].clone() else {
            return;
        };
        let now = self.now;
        let keys = &self.tenants[call.tenant as usize].keys;
        let charged = [keys[call.account], *keys.last().unwrap_or(&0)];
        let refused = charged.iter().any(|key| {
            let key = &mut self.keys[*key];
            now < key.refusing_until || key.server.refuses(now).is_some()
        });
        let back = self
            .chance
            .between(self.scenario.network.0, self.scenario.network.1);
        if refused {
            self.report.refused += 1;
            for key in charged {
                self.keys[key].server.refused += 1;
            }
            self.name(index);
            self.at(
                now + back,
                Event::Reply {
                    call: index,
                    refused: true,
                },
            );
            self.forget(index);
            return;
        }
        for key in charged {
            if let Some(wrong) = self.keys[key].server.enter(now) {
                let what = format!("{}: {wrong}", self.keys[key].name);
                self.violation(&what);
            }
        }
        self.report.served += 1;
        let bin = usize::try_from(now / (10 * SECOND)).unwrap_or(0);
        if self.report.bins.len() <= bin {
            self.report.bins.resize(bin + 1, 0);
        }
        self.report.bins[bin] += 1;
        let mut takes = self
            .chance
            .between(self.scenario.latency.0, self.scenario.latency.1);
        let longest =
            u64::try_from(self.scenario.terms.longest_call.as_micros()).unwrap_or(u64::MAX);
        if now < self.slow_until {
            takes = (takes * 3).min(longest * 6 / 10);
        }
        if call.lost {
            // Nobody will hear of it, and the server takes all the time it may.
            let hold =
                u64::try_from(self.scenario.terms.abandoned_hold.as_micros()).unwrap_or(u64::MAX);
            takes = longest + self.chance.between(0, hold * 9 / 10) - (now - call.started_at);
        }
        if let Some(call) = &mut self.calls[index] {
            call.inside = true;
        }
        if self.scenario.stall.1 == 0 {
            self.at(
                now + takes,
                Event::Reply {
                    call: index,
                    refused: false,
                },
            );
            return;
        }
        self.name(index);
        self.at(now + takes, Event::Served { call: index });
        if !call.lost {
            self.name(index);
            self.at(
                now + takes + back,
                Event::Reply {
                    call: index,
                    refused: false,
                },
            );
        }
        self.forget(index);
    }

    fn served(&mut self, index: usize) {
        if let Some(call) = &mut self.calls[index]
            && std::mem::take(&mut call.inside)
        {
            let keys = &self.tenants[call.tenant as usize].keys;
            for key in [keys[call.account], *keys.last().unwrap_or(&0)] {
                self.keys[key].server.leave(self.now);
            }
        }
        self.forget(index);
    }

    fn reply(&mut self, index: usize, refused: bool, event: Event) {
        let Some(call) = self.calls[index].clone() else {
            return;
        };
        if call.inside && self.scenario.stall.1 == 0 {
            self.name(index);
            self.served(index);
        }
        if !self.lives(call.replica, call.life) {
            self.forget(index);
            return;
        }
        if self.defer(call.replica, event) {
            return;
        }
        let local = self.replicas[call.replica].local(self.now);
        if refused {
            self.pushed_back(&call, local);
        }
        let forgets =
            self.scenario.bug == Some(Bug::PermitNotReleased) && self.chance.per_mille(20);
        if !call.handed_in && !forgets {
            self.replicas[call.replica]
                .holder
                .done(call.permit, !refused, local);
        }
        if let Some(call) = &mut self.calls[index] {
            call.handed_in = true;
            call.awaited = false;
        }
        if refused {
            let (operation, lane) = (call.operation, call.lane);
            self.replicas[call.replica].rooms[call.room]
                .chooser
                .arrived(operation, lane, 1);
            if lane == Lane::Interactive {
                self.replicas[call.replica].rooms[call.room]
                    .since
                    .push_front(self.now);
            }
        } else if call.awaited {
            self.done(&call);
        }
        self.forget(index);
        self.pump(call.replica, call.room);
    }

    fn done(&mut self, call: &Call) {
        let tenant = &mut self.tenants[call.tenant as usize];
        tenant.done += 1;
        tenant.last_done = self.now;
        let open = tenant
            .operations
            .iter()
            .filter(|(lane, left)| *lane == Lane::Bulk && *left > 0)
            .count();
        if open >= 2
            && let Some(count) = (call.operation as usize)
                .checked_sub(1)
                .and_then(|bulk| self.side_by_side.get_mut(bulk))
        {
            *count += 1;
        }
        if tenant.done >= tenant.wanted && tenant.done_at == 0 {
            tenant.done_at = self.now;
            self.finished += 1;
        }
        let unfinished = self.tenants.iter().filter(|tenant| tenant.done_at == 0);
        let longest_ago = unfinished
            .map(|tenant| tenant.last_done)
            .min()
            .unwrap_or(self.now);
        self.starves_at = longest_ago.max(self.scenario.faults_until) + self.patience();
    }

    fn pushed_back(&mut self, call: &Call, local: Duration) {
        let keys = self.tenants[call.tenant as usize].keys.clone();
        let now = self.now;
        // The server names the scope: the account's, unless it was the tenant's limit.
        let shared = *keys.last().unwrap_or(&0);
        let refuses =
            |key: &mut Key| now < key.refusing_until + SECOND || key.server.refuses(now).is_some();
        let scope = if refuses(&mut self.keys[shared]) || self.scenario.hidden_tenant.is_some() {
            shared
        } else {
            keys[call.account]
        };
        let overload = self.keys[scope]
            .server
            .refuses(now)
            .unwrap_or(Overload::Unknown);
        let wait = self.scenario.retry_after;
        let name = self.keys[scope].name.clone();
        let pushback = Pushback {
            overload,
            wait,
            cause: "ErrorServerBusy".to_owned(),
        };
        self.replicas[call.replica]
            .holder
            .push_back(&name, pushback, local);
        if let Some(wait) = wait {
            let until = now + u64::try_from(wait.as_micros()).unwrap_or(0) * 999 / 1000;
            let key = &mut self.keys[scope];
            if until > key.blocked_until {
                key.blocked_until = until;
                // Known to others once this replica's next renewal is read.
                key.block_read_at = u64::MAX;
                self.replicas[call.replica].holder.in_flight(&name);
            }
        }
        self.hurry(call.replica);
    }

    fn give_up(&mut self, index: usize, event: Event) {
        let Some(call) = self.calls[index].clone() else {
            return;
        };
        if !self.lives(call.replica, call.life) || call.handed_in {
            self.forget(index);
            return;
        }
        if self.defer(call.replica, event) {
            return;
        }
        let local = self.replicas[call.replica].local(self.now);
        let holder = &mut self.replicas[call.replica].holder;
        if self.scenario.bug == Some(Bug::AbandonedHoldIgnored) {
            holder.done(call.permit, false, local);
        } else {
            holder.abandon(call.permit, local);
        }
        if let Some(call) = &mut self.calls[index] {
            call.handed_in = true;
            call.awaited = false;
        }
        self.forget(index);
        self.put_back(call.tenant, call.operation, call.lane);
        self.pump(call.replica, call.room);
    }

    // Renewals.

    fn renew(&mut self, replica: usize, life: u32) {
        if !self.lives(replica, life) || self.replicas[replica].renews_at != self.now {
            return;
        }
        if self.defer(replica, Event::Renew { replica, life }) {
            self.replicas[replica].renews_at = self.replicas[replica].stopped_until;
            return;
        }
        let state = &mut self.replicas[replica];
        let local = state.local(self.now);
        let renewal = state.holder.renew(local);
        state.sent = renewal.number;
        let next = state.when(local + self.scenario.pace.usual);
        state.renews_at = next;
        self.at(next, Event::Renew { replica, life });
        if self.now < self.replicas[replica].cut_until {
            return;
        }
        let twice = self.scenario.faults > 0 && self.chance.per_mille(30);
        for _ in 0..=u8::from(twice) {
            let at = self.now + self.way(replica);
            self.renewals.push(Some((replica, life, renewal.clone())));
            let message = self.renewals.len() - 1;
            self.at(at, Event::Asked { message });
        }
    }

    fn way(&mut self, replica: usize) -> u64 {
        let (most, until) = self.replicas[replica].delayed;
        let late = if self.now < until {
            self.chance.between(0, most)
        } else {
            0
        };
        late + self
            .chance
            .between(self.scenario.network.0, self.scenario.network.1)
    }

    fn asked(&mut self, message: usize) {
        let Some((replica, life, renewal)) = self.renewals[message].take() else {
            return;
        };
        if message + 1 == self.renewals.len() {
            self.renewals.pop();
        }
        if self.now < self.authority.out_until {
            return;
        }
        for ask in &renewal.asks {
            // Only if it tells of the latest wish; an earlier one may come late.
            let until = ask
                .pushbacks
                .iter()
                .filter_map(|pushback| pushback.wait)
                .max();
            if let Some(until) = until
                && let Some(key) = self.authority.key(&ask.key)
                && self.now + u64::try_from(until.as_micros()).unwrap_or(0)
                    >= self.keys[key].blocked_until
            {
                self.keys[key].block_read_at = self.keys[key].block_read_at.min(self.now);
            }
        }
        let terms = self.scenario.terms;
        let renewed = self
            .authority
            .answer(&renewal, &terms, &mut self.chance, self.now);
        if self.now < self.replicas[replica].cut_until {
            return;
        }
        let at = self.now + self.way(replica);
        self.answers.push(Some((replica, life, renewed, self.now)));
        let message = self.answers.len() - 1;
        self.at(at, Event::Answered { message });
    }

    fn answered(&mut self, message: usize, event: Event) {
        let Some((replica, life, _, _)) = &self.answers[message] else {
            return;
        };
        let (replica, life) = (*replica, *life);
        if self.lives(replica, life) && self.defer(replica, event) {
            return;
        }
        let Some((_, _, mut renewed, read_at)) = self.answers[message].take() else {
            return;
        };
        while self.answers.last().is_some_and(Option::is_none) {
            self.answers.pop();
        }
        if !self.lives(replica, life) {
            return;
        }
        let state = &mut self.replicas[replica];
        match self.scenario.bug {
            Some(Bug::LateAnswerTaken) => renewed.number = state.sent,
            Some(Bug::LeaseNotFenced) => {
                for grant in &mut renewed.grants {
                    grant.lease *= 10;
                }
            }
            _ => {}
        }
        let local = state.local(self.now);
        if state.holder.apply(&renewed, local) {
            let known = renewed.grants.iter();
            let known = known.filter_map(|grant| self.authority.key(&grant.key));
            state.read_at.extend(known.map(|key| (key, read_at)));
        }
        for room in 0..self.replicas[replica].rooms.len() {
            self.pump(replica, room);
        }
    }

    // The end.

    fn close(mut self) -> Report {
        let done: u64 = self.tenants.iter().map(|tenant| tenant.done).sum();
        let seconds = |micros: u64| number(micros) / 1e6;
        self.report.events = self.events;
        let end = self
            .tenants
            .iter()
            .map(|tenant| {
                if tenant.done_at > 0 {
                    tenant.done_at
                } else {
                    self.now
                }
            })
            .max()
            .unwrap_or(self.now);
        self.report.virtual_seconds = seconds(end);
        let most = self
            .tenants
            .iter()
            .map(|tenant| tenant.done)
            .max()
            .unwrap_or_default();
        self.report.best_possible_seconds = self.scenario.best_seconds(number(most));
        let all =
            self.scenario.rate() * f64::from(self.scenario.tenants) * self.report.virtual_seconds;
        self.report.utilisation = number(done) / all;
        self.report.fairness = self.fairness();
        self.report.breaches = self
            .replicas
            .iter()
            .map(|replica| replica.holder.breaches())
            .map(|breaches| breaches.stalls + breaches.clock)
            .sum();
        if self.scenario.until == 0 && self.report.first_violation.is_none() {
            self.left_over();
        }
        self.report
    }

    fn fairness(&mut self) -> f64 {
        let [a, b] = self.side_by_side;
        if a + b > 100 && a.abs_diff(b) * 4 > a + b {
            self.violation(&format!("two operations side by side got {a} and {b}"));
        }
        let rates: Vec<f64> = self
            .tenants
            .iter()
            .map(|tenant| {
                let end = if tenant.done_at > 0 {
                    tenant.done_at
                } else {
                    self.now
                };
                number(tenant.done) / number(end.max(1))
            })
            .collect();
        let sum: f64 = rates.iter().sum();
        let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
        if squares > 0.0 {
            sum * sum / (squares * number(rates.len() as u64))
        } else {
            1.0
        }
    }

    /// Long after the last call, nothing may be in use.
    fn left_over(&mut self) {
        // What is under way comes to its end first: no new work, no new renewals.
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            match event {
                Event::FirstByte { .. }
                | Event::Arrive { .. }
                | Event::Served { .. }
                | Event::Reply { .. }
                | Event::GiveUp { .. } => self.happens(event),
                _ => {}
            }
        }
        let terms = self.scenario.terms;
        let longest = terms.longest_call + terms.abandoned_hold + Duration::from_secs(120);
        let end = self.now + u64::try_from(longest.as_micros()).unwrap_or(0);
        let mut left = Vec::new();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let local = replica.local(end);
            if replica.up && !replica.holder.is_empty(local) {
                left.push(format!(
                    "replica {index} has calls in flight that nobody makes"
                ));
            }
        }
        for key in &self.keys {
            if key.server.in_flight() > 0 {
                left.push(format!("{} has calls in flight at the server", key.name));
            }
        }
        for what in left {
            self.violation(&what);
        }
    }
}
