//! The replica's side: leases of all its keys, and the calls under way.
//!
//! Order of calls: [`Holder::charge`] once for each account; [`Holder::wait`] whenever what waits changes; [`Holder::ask`] before
//! a call, [`Holder::first_byte`] while it is sent, then [`Holder::done`] or [`Holder::abandon`]. When [`Holder::renew_at`] has come,
//! send [`Holder::renew`] to the authority and hand its answer to [`Holder::apply`]. All of it fails closed: without a lease no call.

mod clock_rate;
mod hold;
mod window;

use std::{collections::HashMap, time::Duration};

use self::{
    clock_rate::ClockRate,
    hold::{Hold, Look},
};
use crate::{
    Moment, Terms,
    key::KeyName,
    message::{Breaches, Lane, Pushback, Renewal, Renewed, Waiting, Why},
};

/// The most keys that one call is charged to.
pub const MAX_KEYS: usize = 6;

/// The keys that a call of one account is charged to, as this holder knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    keys: [u32; MAX_KEYS],
    count: u8,
}

impl Charge {
    fn keys(&self) -> impl Iterator<Item = usize> + '_ {
        self.keys[..usize::from(self.count)]
            .iter()
            .filter_map(|key| usize::try_from(*key).ok())
    }
}

/// Permission for calls that start now. Must be handed in again: to [`Holder::done`] or [`Holder::abandon`].
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone, Copy)]
pub struct Permit(u64);

/// The answer to calls that want to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They may, now, and are counted.
    Go(Permit),
    /// Not before this moment; ask again then.
    WaitUntil(Moment),
    /// Not before a call in flight ends; ask again then.
    WaitForRelease,
    /// The leases don't allow it; ask again after the next renewal.
    NoLease,
}

/// How a holder renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two renewals.
    pub usual: Duration,
    /// The same when somebody waits for it.
    pub urgent: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            usual: Duration::from_millis(900),
            urgent: Duration::from_millis(200),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Call {
    charge: Charge,
    places: [u64; MAX_KEYS],
    calls: u32,
    since: Moment,
    first_byte: bool,
    /// Told from the permits of earlier calls at the same index.
    permit: Permit,
}

/// All leases of one replica, for as long as the process lives.
#[derive(Debug, Clone)]
pub struct Holder {
    replica: String,
    terms: Terms,
    pace: Pace,
    keys: Vec<Hold>,
    names: HashMap<KeyName, u32>,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
    generation: u32,
    renewals: u64,
    /// The renewal whose answer is awaited, and when it was sent.
    sent: Option<(u64, Moment)>,
    /// Whether that asks for anything.
    asked: bool,
    renewed_at: Option<Moment>,
    clock: ClockRate,
    breaches: Breaches,
}

impl Holder {
    /// A holder of nothing. `replica` is new for every life of the process.
    pub fn new(replica: impl Into<String>, terms: Terms, pace: Pace) -> Self {
        Self {
            replica: replica.into(),
            terms,
            pace,
            keys: Vec::new(),
            names: HashMap::new(),
            calls: Vec::new(),
            free: Vec::new(),
            generation: 0,
            renewals: 0,
            sent: None,
            asked: false,
            renewed_at: None,
            clock: ClockRate::new(terms.clock_ppm),
            breaches: Breaches::default(),
        }
    }

    /// The charge of calls that count against all these keys; `None` if there are more than [`MAX_KEYS`], or none.
    pub fn charge(&mut self, names: &[KeyName]) -> Option<Charge> {
        if names.is_empty() || names.len() > MAX_KEYS {
            return None;
        }
        let mut charge = Charge {
            keys: [0; MAX_KEYS],
            count: u8::try_from(names.len()).ok()?,
        };
        for (slot, name) in charge.keys.iter_mut().zip(names) {
            *slot = match self.names.get(name) {
                Some(key) => *key,
                None => {
                    let key = u32::try_from(self.keys.len()).ok()?;
                    self.keys.push(Hold::new(name.clone()));
                    self.names.insert(name.clone(), key);
                    key
                }
            };
        }
        Some(charge)
    }

    /// So many calls could start now if this key allowed it. Counts everything that waits for the key, whatever the account.
    pub fn wait(&mut self, name: &KeyName, waiting: Waiting) {
        if let Some(hold) = self.hold_mut(name) {
            hold.wait(waiting);
        }
    }

    /// Why `calls` could not start now; `None` if they could. Starts nothing.
    pub fn look(&mut self, charge: &Charge, lane: Lane, calls: u32, now: Moment) -> Option<Answer> {
        // All are asked, whatever the first say: what is lacking is asked for together.
        let (mut at, mut on_release, mut on_grant) = (now, false, false);
        for key in charge.keys() {
            match self.keys[key].look(lane, calls, now) {
                Look::Go => {}
                Look::At(moment) => at = at.max(moment),
                Look::OnRelease => on_release = true,
                Look::OnGrant => on_grant = true,
            }
        }
        if on_grant {
            return Some(Answer::NoLease);
        }
        if on_release {
            return Some(Answer::WaitForRelease);
        }
        (at > now).then_some(Answer::WaitUntil(at))
    }

    /// Asks for `calls` to start together. All keys of the charge are asked; they count from now on if all agree.
    pub fn ask(&mut self, charge: &Charge, lane: Lane, calls: u32, now: Moment) -> Answer {
        if let Some(not_now) = self.look(charge, lane, calls, now) {
            return not_now;
        }
        let mut places = [0; MAX_KEYS];
        for (place, key) in places.iter_mut().zip(charge.keys()) {
            *place = self.keys[key].start(lane, calls, &self.terms, now);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            u32::try_from(self.calls.len() - 1).unwrap_or(u32::MAX)
        });
        self.generation = self.generation.wrapping_add(1);
        let permit = Permit(u64::from(self.generation) << 32 | u64::from(index));
        self.calls[index as usize] = Some(Call {
            charge: *charge,
            places,
            calls,
            since: now,
            first_byte: false,
            permit,
        });
        Answer::Go(permit)
    }

    /// The most calls that these leases ever let start together.
    pub fn largest_round(&self, charge: &Charge) -> u32 {
        charge
            .keys()
            .map(|key| self.keys[key].largest_round())
            .min()
            .unwrap_or(0)
    }

    /// The first byte of the calls left. Unless this is said, they count until a guard longer.
    pub fn first_byte(&mut self, permit: Permit, now: Moment) {
        let Some(call) = self.call_mut(permit) else {
            return;
        };
        if std::mem::replace(&mut call.first_byte, true) {
            return;
        }
        let call = *call;
        let late = now > call.since + self.terms.guard;
        if late {
            self.breaches.stalls += u64::from(call.calls);
        }
        for (key, place) in call.charge.keys().zip(call.places) {
            self.keys[key].first_byte(place, call.calls, &self.terms, late, now);
        }
    }

    /// The calls were answered, or never left. `served`: with something else than a refusal to serve, so that it tells how fast the server is.
    pub fn done(&mut self, permit: Permit, served: bool, now: Moment) {
        if let Some(call) = self.take(permit) {
            for (key, place) in call.charge.keys().zip(call.places) {
                self.keys[key].done(place, call.calls, call.since, served, now);
            }
        }
    }

    /// No reply came, and none is awaited any more: the server may go on working on the calls for a while.
    pub fn abandon(&mut self, permit: Permit, now: Moment) {
        if let Some(call) = self.take(permit) {
            let until = now + self.terms.surely(self.terms.abandoned_hold);
            for key in call.charge.keys() {
                self.keys[key].abandon(call.calls, call.since, until);
            }
        }
    }

    /// The server said to slow down: nothing more starts under that key here, and elsewhere as soon as the next renewal is through.
    pub fn push_back(&mut self, name: &KeyName, pushback: Pushback, now: Moment) {
        if let Some(hold) = self.hold_mut(name) {
            hold.push_back(pushback, now);
        }
    }

    /// When to renew next. May come nearer with every other call.
    pub fn renew_at(&self, now: Moment) -> Moment {
        let Some(last) = self.renewed_at else {
            return now;
        };
        let urgent = self.keys.iter().any(|hold| hold.is_urgent(now));
        last + if urgent {
            self.pace.urgent
        } else {
            self.pace.usual
        }
    }

    /// Whether the end of a call under that key may let another start, as far as the leases say.
    pub fn limits(&self, name: &KeyName) -> bool {
        self.hold(name).is_none_or(Hold::limits)
    }

    /// Whether a key of that charge is to be renewed before the usual time.
    pub fn is_urgent(&self, charge: &Charge, now: Moment) -> bool {
        charge.keys().any(|key| self.keys[key].is_urgent(now))
    }

    /// What to send to the authority. From now on an answer to an earlier renewal is refused.
    pub fn renew(&mut self, now: Moment) -> Renewal {
        self.renewals += 1;
        self.sent = Some((self.renewals, now));
        self.renewed_at = Some(now);
        let terms = &self.terms;
        let asks: Vec<_> = self
            .keys
            .iter_mut()
            .filter_map(|hold| hold.report(terms, now))
            .collect();
        self.asked = !asks.is_empty();
        Renewal {
            replica: self.replica.clone(),
            number: self.renewals,
            asks,
        }
    }

    /// The authority's answer. Whether it was taken: one that was overtaken is not.
    pub fn apply(&mut self, renewed: &Renewed, now: Moment) -> bool {
        // To a renewal that arrives a second time nothing is granted; the answer to the first one is still to come.
        let overtaken = self.asked && renewed.grants.is_empty();
        let awaited = |sent: &mut (u64, Moment)| sent.0 == renewed.number && !overtaken;
        let Some((_, sent)) = self.sent.take_if(awaited) else {
            return false;
        };
        let breached = match renewed.clock {
            Some(clock) => self.clock.breached(sent, now, clock),
            None => {
                self.clock = ClockRate::new(self.terms.clock_ppm);
                false
            }
        };
        self.breaches.clock += u64::from(breached);
        for grant in &renewed.grants {
            if let Some(key) = self.names.get(&grant.key).copied() {
                let hold = &mut self.keys[key as usize];
                hold.grant(grant, &self.terms, sent, now);
                if breached {
                    hold.clock_breached();
                }
            }
        }
        true
    }

    /// Gives everything back: what is in flight ends, nothing starts until the next renewal is answered.
    /// When a process stops, renew once more after that.
    pub fn give_back(&mut self) {
        self.sent = None;
        for hold in &mut self.keys {
            hold.leave();
        }
    }

    /// Calls in flight under that key, abandoned ones included.
    pub fn in_flight(&self, name: &KeyName) -> u32 {
        self.hold(name).map_or(0, Hold::in_flight)
    }

    /// Slots held of that key; `None` for any number.
    pub fn slots(&self, name: &KeyName) -> Option<u32> {
        self.hold(name).map_or(Some(0), Hold::slots)
    }

    /// Until when calls may start under that key.
    pub fn start_until(&self, name: &KeyName) -> Moment {
        self.hold(name).map_or(Moment::ZERO, Hold::start_until)
    }

    /// Until when the server wants no call of that key.
    pub fn blocked_until(&self, name: &KeyName) -> Moment {
        self.hold(name).map_or(Moment::ZERO, Hold::blocked_until)
    }

    /// Why that key doesn't hold more.
    pub fn why(&self, name: &KeyName) -> Option<&Why> {
        self.hold(name).map(Hold::why)
    }

    /// How often exactness was at risk.
    pub fn breaches(&self) -> Breaches {
        self.breaches
    }

    /// Whether no call is in flight and none counts in any window.
    pub fn is_empty(&mut self, now: Moment) -> bool {
        self.keys.iter_mut().all(|hold| hold.is_empty(now))
    }

    fn hold(&self, name: &KeyName) -> Option<&Hold> {
        let key = self.names.get(name)?;
        self.keys.get(*key as usize)
    }

    fn hold_mut(&mut self, name: &KeyName) -> Option<&mut Hold> {
        let key = self.names.get(name)?;
        self.keys.get_mut(*key as usize)
    }

    fn call_mut(&mut self, permit: Permit) -> Option<&mut Call> {
        let index = usize::try_from(permit.0 & u64::from(u32::MAX)).ok()?;
        let call = self.calls.get_mut(index)?.as_mut()?;
        (call.permit == permit).then_some(call)
    }

    fn take(&mut self, permit: Permit) -> Option<Call> {
        let call = *self.call_mut(permit)?;
        let index = u32::try_from(permit.0 & u64::from(u32::MAX)).ok()?;
        self.calls[index as usize] = None;
        self.free.push(index);
        Some(call)
    }
}
