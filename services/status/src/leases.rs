//! The authority over budgets: locks the keys that a replica asks for, lets `calgrant-budget` decide, stores, answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use calgrant_budget::{
    ClockWatch, KeyLimits, KeyState, Lease, Operator, Reading, Stand, Terms,
    message::{Ask, Grant, Renewal, Renewed},
};
use calgrant_contract::{
    pb::ledger::v1::{RenewRequest, RenewResponse, lease_service_server::LeaseService},
    refusal,
};
use calgrant_domain::BadInput;
use calgrant_leases::wire;
use calgrant_runtime::clock;
use calgrant_store::{DatabaseClock, KeyChange, Store, StoredKey};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use crate::{
    limits::{self, Limits},
    refuse,
};

/// Most keys of one renewal.
const MOST_ASKS: usize = 10_000;
/// By how much reading the database's clock may be late. What is set by more is noticed.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(250);

/// `LeaseService`.
#[derive(Clone)]
pub(crate) struct Leases {
    store: Store,
    terms: Terms,
    watch: Arc<Mutex<ClockWatch>>,
    start: std::time::Instant,
    /// By the version of the fleet they were made from.
    limits: Arc<Mutex<(String, Arc<Limits>)>>,
}

impl Leases {
    pub(crate) fn new(store: Store, terms: Terms) -> Self {
        let watch = ClockWatch::new(CLOCK_TOLERANCE, terms.clock_ppm);
        Self {
            store,
            terms,
            watch: Arc::new(Mutex::new(watch)),
            start: clock::instant(),
            limits: Arc::default(),
        }
    }

    /// The limits of the present fleet.
    async fn limits(&self) -> Result<Arc<Limits>, Status> {
        let version = self.store.fleet_version().await.map_err(refuse::store)?;
        let known = self
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if known.0 == version {
            return Ok(known.1);
        }
        let tenants = self
            .store
            .tenants("", i64::MAX)
            .await
            .map_err(refuse::store)?;
        let tenants: Vec<_> = tenants.into_iter().map(|stored| stored.spec).collect();
        let stopped = self.store.stopped().await.map_err(refuse::store)?;
        let made = Arc::new(limits::of(&tenants, &stopped));
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = (version, Arc::clone(&made));
        Ok(made)
    }

    /// Whether the database's clock was set since it was last looked at.
    fn stepped(&self, database: DatabaseClock) -> bool {
        let steady = clock::instant().saturating_duration_since(self.start);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.stepped(moment(database), steady)
    }
}

#[tonic::async_trait]
impl LeaseService for Leases {
    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let renewal =
            wire::renewal(request.into_inner()).map_err(|bad| refusal::bad_input(&[bad]))?;
        if renewal.asks.len() > MOST_ASKS {
            let bad = BadInput::new("asks", renewal.asks.len(), "up to 10,000 in one renewal");
            return Err(refusal::bad_input(&[bad]));
        }
        let limits = self.limits().await?;
        let asks: BTreeMap<_, _> = renewal
            .asks
            .iter()
            .map(|ask| (ask.key.to_string(), ask))
            .collect();
        let names: Vec<_> = asks.keys().cloned().collect();
        let decided = self.store.with_budget_keys(&names, |keys, database| {
            let stepped = self.stepped(database);
            let (grants, changes) = decide(
                keys,
                &renewal,
                &asks,
                &limits,
                &self.terms,
                reading(database),
            );
            ((stepped, moment(database), grants), changes)
        });
        let (stepped, now, grants) = decided.await.map_err(refuse::store)?;
        if stepped {
            warn!("the database's clock was set: no leases are granted for a while");
            self.store.begin_budget_era().await.map_err(refuse::store)?;
            return Err(refusal::unavailable(
                "the database's clock was set; ask again",
                self.terms.lease,
            ));
        }
        let renewed = Renewed {
            number: renewal.number,
            clock: Some(now),
            grants,
        };
        Ok(Response::new(wire::renewed_to_wire(&renewed)))
    }
}

/// What each ask gets, and what becomes of the keys.
fn decide(
    keys: &[StoredKey],
    renewal: &Renewal,
    asks: &BTreeMap<String, &Ask>,
    limits: &Limits,
    terms: &Terms,
    at: Reading,
) -> (Vec<Grant>, Vec<KeyChange>) {
    let mut grants = Vec::with_capacity(keys.len());
    let mut changes = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(ask) = asks.get(&key.name) else {
            continue;
        };
        let (limit, operator) = limits.get(&ask.key).cloned().unwrap_or_else(unknown);
        let mut state = read(key, ask, &limit, terms, at);
        let last = match ask.pushbacks.last() {
            Some(pushback) => Some(LastPushback {
                at: at.now,
                cause: pushback.cause.clone(),
            }),
            None => key.state.as_deref().and_then(last_pushback),
        };
        (state.limits, state.operator) = (limit, operator);
        let before = state.leases.clone();
        let grant = state.grant(&renewal.replica, renewal.number, ask, terms, at);
        match change(&key.name, state, &before, last) {
            Ok(change) => {
                grants.extend(grant);
                changes.push(change);
            }
            // Nothing can be granted that can't be remembered.
            Err(cause) => error!(%cause, key = key.name, "a budget key can't be stored"),
        }
    }
    (grants, changes)
}

/// A key that no tenant's file knows, or not any more: nothing may be started.
fn unknown() -> (KeyLimits, Operator) {
    let operator = Operator {
        stand: Stand::Paused,
        workers: None,
    };
    (KeyLimits::default(), operator)
}

/// A stored key; a new one if nothing is stored, or nothing that can be read.
fn read(key: &StoredKey, ask: &Ask, limits: &KeyLimits, terms: &Terms, at: Reading) -> KeyState {
    let new = || KeyState::new(ask.key.clone(), limits.clone(), at);
    let Some(stored) = &key.state else {
        return new();
    };
    state(key, stored).unwrap_or_else(|cause| {
        warn!(%cause, key = key.name, "a stored budget key can't be read; it begins anew, after a whole lease");
        KeyState {
            quiet_until: at.now + terms.lease,
            ..new()
        }
    })
}

/// The state of a stored key, leases included.
///
/// # Errors
/// It is of another version.
pub(crate) fn state(key: &StoredKey, stored: &str) -> Result<KeyState, serde_json::Error> {
    let mut state: KeyState = serde_json::from_str(stored)?;
    let leases = key.leases.values();
    state.leases = leases
        .map(|lease| serde_json::from_str(lease))
        .collect::<Result<_, _>>()?;
    Ok(state)
}

/// What the server said last when it wanted fewer calls. Stored beside the state, for people: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastPushback {
    /// When, as the length since 1970.
    pub(crate) at: Duration,
    /// Its words.
    pub(crate) cause: String,
}

/// Beside the state of a key.
#[derive(Default, Serialize, Deserialize)]
struct Beside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_pushback: Option<LastPushback>,
}

/// A key's state with what stands beside it.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    state: &'a KeyState,
    #[serde(flatten)]
    beside: Beside,
}

/// Of a stored key's state.
pub(crate) fn last_pushback(stored: &str) -> Option<LastPushback> {
    serde_json::from_str::<Beside>(stored).ok()?.last_pushback
}

/// What becomes of a key that had these leases before.
fn change(
    name: &str,
    mut state: KeyState,
    before: &[Lease],
    last_pushback: Option<LastPushback>,
) -> Result<KeyChange, serde_json::Error> {
    let after = std::mem::take(&mut state.leases);
    let mut over: BTreeMap<&str, &Lease> = before
        .iter()
        .map(|lease| (lease.replica.as_str(), lease))
        .collect();
    let mut leases = BTreeMap::new();
    for lease in &after {
        if over.remove(lease.replica.as_str()) != Some(lease) {
            let written = serde_json::to_string(lease)?;
            leases.insert(lease.replica.clone(), Some(written));
        }
    }
    leases.extend(over.into_keys().map(|replica| (replica.to_owned(), None)));
    let beside = Beside { last_pushback };
    Ok(KeyChange {
        name: name.to_owned(),
        state: serde_json::to_string(&Written {
            state: &state,
            beside,
        })?,
        leases,
    })
}

/// The database's time as the length since 1970.
pub(crate) fn moment(database: DatabaseClock) -> Duration {
    since_epoch(database.now)
}

/// The database's clock, as the authority reads it.
pub(crate) fn reading(database: DatabaseClock) -> Reading {
    let started = u64::try_from(since_epoch(database.started).as_micros()).unwrap_or(0);
    Reading {
        now: moment(database),
        era: started.wrapping_add(u64::try_from(database.era).unwrap_or(0)),
    }
}

/// A time of day as the length since 1970, to the microsecond.
pub(crate) fn since_epoch(at: time::OffsetDateTime) -> Duration {
    let nanos = at.unix_timestamp_nanos().max(0);
    Duration::from_micros(u64::try_from(nanos / 1000).unwrap_or(0))
}
