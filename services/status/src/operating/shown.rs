//! Accounts and keys as the contract shows them.

use std::time::Duration;

use calgrant_budget::{Breaches, Moment};
use calgrant_contract::{
    fleet,
    pb::{Timestamp, fleet::v1 as pb},
    words,
};
use calgrant_domain::{AccountSpec, AccountStand, Purpose, SiteSpec, TenantName};
use time::OffsetDateTime;

use super::{
    key_view::KeyView,
    scene::{Scene, Standing},
    site_view::{self, AccountView},
};
use crate::{leases, provisioning::timestamp};

/// How long a breach of exactness is named among an account's notes.
const AT_RISK_FOR: Duration = Duration::from_hours(1);

/// Every account of the scene.
pub(crate) fn accounts(scene: &Scene) -> Vec<pb::Account> {
    let mut out = Vec::new();
    for tenant in &scene.tenants {
        for site in &tenant.sites {
            let view = site_view::site(scene, &tenant.name, site);
            for spec in &site.accounts {
                let mut grantors = view.accounts.iter();
                let grantor = grantors.find(|grantor| grantor.spec.name == spec.name);
                out.push(account(scene, &tenant.name, site, spec, grantor));
            }
        }
    }
    out
}

fn account(
    scene: &Scene,
    tenant: &TenantName,
    site: &SiteSpec,
    spec: &AccountSpec,
    grantor: Option<&AccountView<'_>>,
) -> pb::Account {
    let keys = scene.keys_of(tenant, site, spec);
    let own: Vec<_> = keys
        .iter()
        .copied()
        .filter(|key| key.name.scope == calgrant_budget::Scope::Account)
        .collect();
    let backlog = grantor.and_then(|_| scene.backlog_of(tenant, site.kind()));
    let base = pb::Account {
        tenant: tenant.to_string(),
        site: words::site_kind_to_wire(site.kind()),
        spec: Some(fleet::account_to_wire(spec)),
        state: pb::AccountState::Working.into(),
        replicas: own.iter().map(|key| key.replicas).max().unwrap_or(0),
        calls_in_flight: own.iter().map(|key| key.in_flight).sum(),
        calls_per_second: own.iter().map(|key| key.rate).sum(),
        next_permit_time: keys
            .iter()
            .filter_map(|key| key.blocked.as_ref().map(|(until, _)| *until))
            .max()
            .map(of_moment),
        ready_jobs: backlog.map_or(0, |backlog| backlog.ready),
        oldest_ready_time: backlog.and_then(|backlog| backlog.oldest).map(timestamp),
        no_worker: grantor.is_some_and(|grantor| grantor.no_worker),
        notes: [
            notes(spec, grantor),
            at_risk(&own, leases::since_epoch(scene.now)),
        ]
        .concat(),
        keys: keys.iter().map(|key| key_use(key)).collect(),
        ..pb::Account::default()
    };
    let is_empty = own.iter().all(|key| key.is_empty());
    with_standing(
        base,
        scene.standing(tenant, site.kind(), &spec.name),
        is_empty,
    )
}

/// Adds who stopped it. `is_empty`: nothing of it is under way.
pub(crate) fn with_standing(
    account: pb::Account,
    standing: Standing<'_>,
    is_empty: bool,
) -> pb::Account {
    use pb::AccountState as State;
    let stopped = |state: State, reason: &str, by: &str, at: OffsetDateTime| pb::Account {
        state: state.into(),
        paused: true,
        pause_reason: reason.to_owned(),
        pause_time: Some(timestamp(at)),
        changed_by: by.to_owned(),
        ..account.clone()
    };
    match standing {
        Standing::Working => account,
        Standing::Refused(pause) => stopped(State::Refused, &pause.reason, "", pause.paused_at),
        Standing::Stopped(by) => {
            let state = match (by.stand, is_empty) {
                (AccountStand::Draining, true) => State::Drained,
                (AccountStand::Draining, false) => State::Draining,
                (AccountStand::Paused | AccountStand::Working, _) => State::Paused,
            };
            stopped(state, &by.reason, &by.changed_by, by.changed_at)
        }
    }
}

/// What keeps an account from doing what it is set to.
fn notes(spec: &AccountSpec, grantor: Option<&AccountView<'_>>) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(grantor) = grantor else {
        return notes;
    };
    let (name, workers) = (&spec.name, spec.workers);
    if grantor.no_worker {
        notes.push("no worker can serve this: jobs wait, and no worker process has asked for its budget of late; start calgrant worker, and see that --only doesn't leave it out".to_owned());
    }
    let configured = if spec.is(Purpose::Member) {
        // Half is left to those who use the account besides us.
        (spec.limits.in_flight / 2).max(1)
    } else {
        spec.limits.in_flight
    };
    if configured < workers {
        notes.push(format!(
            "its budget allows {configured} calls in flight, fewer than its {workers} workers: calgrant accounts budget set {name} --in-flight …"
        ));
    }
    if let Some(learned) = grantor
        .key
        .learned
        .filter(|learned| *learned < workers.min(configured))
    {
        notes.push(format!(
            "the server was found to take {learned} calls at once, fewer than its {workers} workers"
        ));
    }
    notes
}

/// Where exactness was at risk of late: calls left late, or a clock runs at another rate.
fn at_risk(keys: &[&KeyView], now: Moment) -> Vec<String> {
    let recent = keys.iter().filter(|key| {
        let at = key.breached_at;
        at.is_some_and(|at| now.saturating_sub(at) < AT_RISK_FOR)
    });
    let mut breaches = Breaches::default();
    for key in recent {
        breaches.add(key.breaches);
    }
    let mut notes = Vec::new();
    if breaches.clock > 0 {
        notes.push(format!(
            "a worker's clock runs at another rate than status's ({} times so far): its limits may not have been kept; set the clocks of both machines right",
            breaches.clock
        ));
    }
    if breaches.stalls > 0 {
        notes.push(format!(
            "{} calls so far left later than their permit allows: its limits may not have been kept; give its worker more processor time",
            breaches.stalls
        ));
    }
    notes
}

fn key_use(key: &KeyView) -> pb::KeyUse {
    let last = key.last_pushback.as_ref();
    pb::KeyUse {
        scope: key.name.scope.as_str().to_owned(),
        key: key.name.to_string(),
        in_flight_most: key.most,
        in_flight: key.in_flight,
        in_flight_left: key.left(),
        learned_in_flight: key.learned,
        windows: key
            .windows
            .iter()
            .map(|window| pb::WindowUse {
                millis: u64::try_from(window.length.as_millis()).unwrap_or(u64::MAX),
                calls: window.calls,
                left: window.left,
                learned: window.learned,
            })
            .collect(),
        calls_per_second: key.rate,
        replicas: key.replicas,
        pushbacks: key.pushbacks,
        last_pushback: last.map(|last| last.cause.clone()).unwrap_or_default(),
        last_pushback_time: last.map(|last| of_moment(last.at)),
        blocked_until: key.blocked.as_ref().map(|(until, _)| of_moment(*until)),
        stalls: key.breaches.stalls,
        clock_breaches: key.breaches.clock,
        breach_time: key.breached_at.map(of_moment),
    }
}

/// The authority's moments are lengths since 1970.
fn of_moment(moment: Moment) -> Timestamp {
    timestamp(OffsetDateTime::UNIX_EPOCH + moment)
}

/// A moment so long after another.
pub(crate) fn later(now: OffsetDateTime, by: Duration) -> Option<Timestamp> {
    now.checked_add(time::Duration::try_from(by).ok()?)
        .map(timestamp)
}
