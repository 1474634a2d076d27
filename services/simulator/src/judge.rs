//! Counts every call and every change, and says at the end whether the run was clean.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::app::App;
use crate::calendar::{Mailbox, Principal};
use crate::rights;
use crate::tenant::Tenant;

/// How many of anything the report lists, and how many violations are kept.
const LISTED: usize = 1000;
/// How many names a tally holds; what a caller makes up beyond that is counted together.
const NAMES: usize = 500;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    counts: Mutex<[Counts; 2]>,
    changes: Mutex<Changes>,
}

type Tally = BTreeMap<String, u64>;

/// What happened since the last mark, or since the start.
#[derive(Debug, Default)]
struct Counts {
    calls: Tally,
    calls_by_app: BTreeMap<String, Tally>,
    fronts: BTreeMap<&'static str, u64>,
    round_trips: u64,
    graph_round_trips: u64,
    onprem_round_trips: u64,
    token_requests: u64,
    writes: u64,
    writes_by_app: Tally,
    foreign_writes: u64,
    user_edits: u64,
    refused: Tally,
    limit_violations: u64,
    violations_by_app: BTreeMap<String, Tally>,
    /// The latest ones.
    violations: VecDeque<Value>,
    injected: Tally,
    /// What was made and changed besides permission lists, by [`DEEDS`].
    deeds: BTreeMap<&'static str, u64>,
}

/// What of a set-up is counted.
pub(crate) const DEEDS: [&str; 12] = [
    "accounts_created",
    "accounts_enabled",
    "accounts_disabled",
    "accounts_changed",
    "passwords_set",
    "licences_assigned",
    "licences_removed",
    "groups_created",
    "groups_changed",
    "members_added",
    "members_removed",
    "deletions_tried",
];

/// Entries that were written; foreign ones sort first.
#[derive(Debug, Default)]
struct Changes {
    entries: BTreeMap<ChangeKey, Change>,
    foreign: usize,
    managed: usize,
}

/// Whether it's a managed one, the places of tenant, user and folder, and whose entry it is.
type ChangeKey = (bool, usize, usize, usize, Principal);

#[derive(Debug, Clone)]
struct Change {
    before: Option<u32>,
    after: Option<u32>,
    by: Arc<App>,
    writes: u32,
}

/// A write of one entry, as it is told to the judge.
pub(crate) struct Written<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) user: usize,
    pub(crate) folder: usize,
    pub(crate) principal: &'a Principal,
    /// What the entry was at the start.
    pub(crate) before: Option<u32>,
    pub(crate) after: Option<u32>,
}

fn bump(tally: &mut Tally, name: &str) {
    if let Some(count) = tally.get_mut(name) {
        *count += 1;
    } else {
        let room = tally.len() < NAMES;
        let name = if room { name } else { "(others)" };
        *tally.entry(name.to_owned()).or_default() += 1;
    }
}

impl Judge {
    fn each(&self, mut note: impl FnMut(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter_mut().for_each(&mut note);
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call(&self, kind: &str, app: &str) {
        self.each(|counts| {
            bump(&mut counts.calls, kind);
            if !counts.calls_by_app.contains_key(app) {
                counts.calls_by_app.insert(app.to_owned(), Tally::new());
            }
            if let Some(tally) = counts.calls_by_app.get_mut(app) {
                bump(tally, kind);
            }
        });
    }

    pub(crate) fn exchange_round_trip(&self, front: &'static str) {
        self.each(|counts| {
            counts.round_trips += 1;
            *counts.fronts.entry(front).or_default() += 1;
        });
    }

    /// A request to the site on premises.
    pub(crate) fn onprem_round_trip(&self, front: &'static str) {
        self.each(|counts| {
            counts.onprem_round_trips += 1;
            *counts.fronts.entry(front).or_default() += 1;
        });
    }

    pub(crate) fn graph_round_trip(&self) {
        self.each(|counts| counts.graph_round_trips += 1);
    }

    pub(crate) fn token_request(&self) {
        self.each(|counts| counts.token_requests += 1);
    }

    pub(crate) fn front(&self, front: &'static str) {
        self.each(|counts| *counts.fronts.entry(front).or_default() += 1);
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.each(|counts| bump(&mut counts.refused, reason));
    }

    pub(crate) fn injected(&self, fault: &str) {
        self.each(|counts| bump(&mut counts.injected, fault));
    }

    /// So many of one of [`DEEDS`] were done.
    pub(crate) fn did(&self, deed: &'static str, times: u64) {
        debug_assert!(DEEDS.contains(&deed));
        self.each(|counts| *counts.deeds.entry(deed).or_default() += times);
    }

    pub(crate) fn user_edit(&self) {
        self.each(|counts| counts.user_edits += 1);
    }

    pub(crate) fn violation(&self, app: &str, limit: &str, at_ms: u128) {
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        self.each(|counts| {
            counts.limit_violations += 1;
            let tally = counts.violations_by_app.entry(app.to_owned()).or_default();
            bump(tally, limit);
            if counts.violations.len() == LISTED {
                counts.violations.pop_front();
            }
            let violation = json!({"app": app, "limit": limit, "at_ms": at_ms});
            counts.violations.push_back(violation);
        });
    }

    /// Starts a new interval.
    pub(crate) fn mark(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts[0] = Counts::default();
    }

    /// Notes how one entry stands now against how it stood at the start.
    pub(crate) fn wrote(&self, tenant: &Tenant, written: &Written<'_>) {
        let managed = tenant.is_managed(written.principal);
        self.each(|counts| {
            counts.writes += 1;
            counts.foreign_writes += u64::from(!managed);
            bump(&mut counts.writes_by_app, &written.app.client_id);
        });
        let key = (
            managed,
            tenant.number,
            written.user,
            written.folder,
            written.principal.clone(),
        );
        let mut guard = self.changes();
        let changes = &mut *guard;
        let change = changes.entries.entry(key).or_insert_with(|| Change {
            before: None,
            after: None,
            by: Arc::clone(written.app),
            writes: 0,
        });
        let differed = change.before != change.after;
        let differs = written.before != written.after;
        (change.before, change.after) = (written.before, written.after);
        change.writes = change.writes.saturating_add(1);
        change.by = Arc::clone(written.app);
        let count = if managed {
            &mut changes.managed
        } else {
            &mut changes.foreign
        };
        match (differed, differs) {
            (false, true) => *count += 1,
            (true, false) => *count -= 1,
            _ => {}
        }
    }

    /// The entries that differ from the start, page by page, foreign ones first.
    pub(crate) fn changed(
        &self,
        tenants: &[Arc<Tenant>],
        foreign_only: bool,
        offset: usize,
        limit: usize,
    ) -> Value {
        let changes = self.changes();
        let page: Vec<(ChangeKey, Change)> = changes
            .entries
            .iter()
            .filter(|(key, change)| change.before != change.after && !(foreign_only && key.0))
            .skip(offset)
            .take(limit)
            .map(|(key, change)| (key.clone(), change.clone()))
            .collect();
        let managed = if foreign_only { 0 } else { changes.managed };
        let total = changes.foreign + managed;
        drop(changes); // a write holds its folders while it's told here, so they aren't locked under this
        let shown = page.iter().map(|(key, change)| shown(tenants, key, change));
        let list: Vec<Value> = shown.collect();
        let end = offset + list.len();
        json!({"total": total, "next_offset": (end < total).then_some(end), "changes": list})
    }

    pub(crate) fn report(&self, tenants: &[Arc<Tenant>]) -> Value {
        let (foreign, managed) = {
            let changes = self.changes();
            (changes.foreign, changes.managed)
        };
        let list = self.changed(tenants, false, 0, LISTED)["changes"].take();
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = counts[0].show();
        report["since_start"] = counts[1].show();
        report["foreign_entries_changed"] = foreign.into();
        report["managed_entries_changed"] = managed.into();
        report["changes"] = list;
        report
    }
}

fn shown(tenants: &[Arc<Tenant>], key: &ChangeKey, change: &Change) -> Value {
    let (managed, tenant, user, folder, principal) = key;
    let named = |mask: Option<u32>| mask.map(rights::names);
    let tenant = &tenants[*tenant];
    let user = &tenant.users[*user];
    let folders = user.mailbox.as_ref().map(Mailbox::folders);
    let folder = folders.as_ref().and_then(|folders| folders.get(*folder));
    json!({
        "mailbox": user.mail, "folder": folder.map(|folder| folder.path.as_str()),
        "principal": tenant.address(principal), "managed": managed,
        "before": named(change.before), "after": named(change.after),
        "before_mask": change.before, "after_mask": change.after,
        "by": change.by.client_id, "writes": change.writes,
    })
}

impl Counts {
    fn show(&self) -> Value {
        let injected = |name| self.injected.get(name).copied().unwrap_or(0);
        let deeds = DEEDS.map(|deed| (deed, self.deeds.get(deed).copied().unwrap_or(0)));
        let deeds: BTreeMap<&str, u64> = deeds.into_iter().collect();
        json!({
            "calls_total": self.calls.values().sum::<u64>(),
            "calls": self.calls,
            "calls_by_app": self.calls_by_app,
            "fronts": self.fronts,
            "round_trips": self.round_trips,
            "graph_round_trips": self.graph_round_trips,
            "onprem_round_trips": self.onprem_round_trips,
            "token_requests": self.token_requests,
            "http_round_trips": self.round_trips + self.graph_round_trips + self.onprem_round_trips + self.token_requests,
            "writes": self.writes,
            "writes_by_app": self.writes_by_app,
            "foreign_writes": self.foreign_writes,
            "user_edits": self.user_edits,
            "refused": self.refused,
            "limit_violations": self.limit_violations,
            "violations_by_app": self.violations_by_app,
            "violations": self.violations,
            "injected": self.injected,
            "setup": deeds,
            "injected_throttles": injected("throttle_429") + injected("throttle_no_retry_after"),
        })
    }
}
