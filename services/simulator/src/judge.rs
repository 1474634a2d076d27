//! Counts every call and every change, and says at the end whether the run was clean.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::calendar::Principal;
use crate::rights;
use crate::tenant::Tenant;

const LISTED: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    counts: Mutex<Counts>,
    changes: Mutex<Changes>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: BTreeMap<String, u64>,
    calls_by_app: BTreeMap<String, u64>,
    fronts: BTreeMap<&'static str, u64>,
    round_trips: u64,
    graph_round_trips: u64,
    writes: u64,
    refused: BTreeMap<String, u64>,
    limit_violations: u64,
    violations: Vec<Value>,
    injected: BTreeMap<String, u64>,
}

/// Entries that differ from how they were at the start; foreign ones sort first.
#[derive(Debug, Default)]
struct Changes {
    standing: BTreeMap<ChangeKey, Change>,
    foreign: u64,
    managed: u64,
}

type ChangeKey = (bool, String, usize, Principal);

#[derive(Debug)]
struct Change {
    mailbox: String,
    folder: String,
    principal: String,
    before: Option<u32>,
    after: Option<u32>,
}

impl Judge {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call(&self, kind: &str, app: &str) {
        let mut counts = self.counts();
        *counts.calls.entry(kind.to_owned()).or_default() += 1;
        *counts.calls_by_app.entry(app.to_owned()).or_default() += 1;
    }

    pub(crate) fn exchange_round_trip(&self, front: &'static str) {
        let mut counts = self.counts();
        counts.round_trips += 1;
        *counts.fronts.entry(front).or_default() += 1;
    }

    pub(crate) fn graph_round_trip(&self) {
        self.counts().graph_round_trips += 1;
    }

    pub(crate) fn front(&self, front: &'static str) {
        *self.counts().fronts.entry(front).or_default() += 1;
    }

    pub(crate) fn refused(&self, reason: &str) {
        *self.counts().refused.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn injected(&self, fault: &str) {
        *self.counts().injected.entry(fault.to_owned()).or_default() += 1;
    }

    pub(crate) fn violation(&self, app: &str, limit: &str, at_ms: u128) {
        let mut counts = self.counts();
        counts.limit_violations += 1;
        if counts.violations.len() < LISTED {
            let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
            counts
                .violations
                .push(json!({"app": app, "limit": limit, "at_ms": at_ms}));
        }
    }

    pub(crate) fn mark(&self) {
        *self.counts() = Counts::default();
    }

    pub(crate) fn wrote(&self) {
        self.counts().writes += 1;
    }

    /// Notes how one entry stands now against how it stood at the start.
    pub(crate) fn entry(
        &self,
        tenant: &Tenant,
        user: usize,
        (number, folder): (usize, &str),
        principal: &Principal,
        (before, after): (Option<u32>, Option<u32>),
    ) {
        let managed = tenant.managed.contains(principal);
        let mailbox = tenant.users[user].mail.clone();
        let key = (managed, mailbox.clone(), number, principal.clone());
        let mut guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = &mut *guard;
        let differed = changes.standing.contains_key(&key);
        let count = if managed {
            &mut changes.managed
        } else {
            &mut changes.foreign
        };
        if before == after {
            if differed {
                *count -= 1;
                changes.standing.remove(&key);
            }
            return;
        }
        if !differed {
            *count += 1;
        }
        let principal = tenant.address(principal).to_owned();
        changes.standing.insert(
            key,
            Change {
                mailbox,
                folder: folder.to_owned(),
                principal,
                before,
                after,
            },
        );
    }

    pub(crate) fn report(&self) -> Value {
        let named = |mask: Option<u32>| mask.map(rights::names);
        let (foreign, managed, list) = {
            let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            let list: Vec<Value> = changes
                .standing
                .values()
                .take(LISTED)
                .map(|change| {
                    json!({
                        "mailbox": change.mailbox, "folder": change.folder, "principal": change.principal,
                        "before": named(change.before), "after": named(change.after),
                    })
                })
                .collect();
            (changes.foreign, changes.managed, list)
        };
        let counts = self.counts();
        json!({
            "calls": counts.calls,
            "calls_by_app": counts.calls_by_app,
            "fronts": counts.fronts,
            "round_trips": counts.round_trips,
            "graph_round_trips": counts.graph_round_trips,
            "writes": counts.writes,
            "refused": counts.refused,
            "limit_violations": counts.limit_violations,
            "violations": counts.violations,
            "injected": counts.injected,
            "foreign_entries_changed": foreign,
            "managed_entries_changed": managed,
            "changes": list,
        })
    }
}
