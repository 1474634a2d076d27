//! Pace, capacity, plans and courses, from values.

use std::time::Duration;

use calgrant_budget::{
    KeyName, KeyState, Scope, Terms,
    estimate::Accounts,
    key::{KeyLimits, Window},
    message::{Overload, Pushback},
};
use calgrant_domain::{
    AccountSpec, AccountStand, Counts, Lane, OperationKind, OperationState, Outcome, SiteKind,
    TenantName,
};
use calgrant_store::{Backlog, OperationView, Stopped};
use calgrant_testkit::sample;
use proptest::prelude::*;
use time::OffsetDateTime;

use super::{
    capacity::{feedable, tree},
    course::{Ground, course},
    key_view::{
        KeyView, look,
        tests::{AT, ask, key, slots},
    },
    pace::explain,
    plan::{plan, span, text},
    scene::Standing,
    site_view::{AccountView, SiteView},
};

/// What a site is made of in a test.
struct World {
    tenant: TenantName,
    specs: Vec<AccountSpec>,
    keys: Vec<KeyView>,
    site: Option<KeyView>,
    backlog: Option<Backlog>,
    stopped: Vec<Stopped>,
    missed: bool,
}

fn seen(state: &KeyState) -> KeyView {
    look(state, None, &Terms::default(), AT)
}

/// A key that a replica uses up and wants more of.
fn busy(limits: KeyLimits, account: &str) -> KeyView {
    let most = limits.in_flight.unwrap_or(8);
    let mut state = key(account, limits);
    let wants = ask(&state, most, 5);
    state.grant("a", 1, &wants, &Terms::default(), AT).unwrap();
    seen(&state)
}

fn site_key(limits: KeyLimits) -> KeyState {
    let name = KeyName::new(Scope::Site, "uni/online", "exchange");
    KeyState::new(name, limits, AT)
}

impl World {
    fn new(accounts: usize, ready: u64) -> Self {
        let base = sample::tenant("uni").sites[0].accounts[0].clone();
        let specs = (1..=accounts).map(|number| AccountSpec {
            name: format!("sa-{number}").parse().unwrap(),
            ..base.clone()
        });
        Self {
            tenant: "uni".parse().unwrap(),
            specs: specs.collect(),
            keys: (1..=accounts)
                .map(|number| busy(slots(4), &format!("sa-{number}")))
                .collect(),
            site: Some(seen(&site_key(KeyLimits::default()))),
            backlog: Some(Backlog {
                tenant: "uni".parse().unwrap(),
                site: SiteKind::Online,
                operations: 1,
                listing: 0,
                ready,
                oldest: None,
            }),
            stopped: Vec::new(),
            missed: false,
        }
    }

    fn stop(&mut self, account: usize) {
        self.stopped.push(Stopped {
            tenant: self.tenant.clone(),
            site: SiteKind::Online,
            account: self.specs[account].name.clone(),
            stand: AccountStand::Paused,
            reason: String::new(),
            changed_by: "cli:ann".to_owned(),
            changed_at: OffsetDateTime::UNIX_EPOCH,
        });
    }

    fn view(&self) -> SiteView<'_> {
        let accounts = self.specs.iter().zip(&self.keys).map(|(spec, key)| {
            let mut stopped = self.stopped.iter();
            AccountView {
                spec,
                standing: stopped
                    .find(|stopped| stopped.account == spec.name)
                    .map_or(Standing::Working, Standing::Stopped),
                key,
                app: None,
                no_worker: self.missed,
            }
        });
        SiteView {
            tenant: &self.tenant,
            kind: SiteKind::Online,
            accounts: accounts.collect(),
            key: self.site.as_ref(),
            backlog: self.backlog.as_ref(),
        }
    }

    fn why(&self) -> (&'static str, String) {
        let pace = explain(&self.view(), &Terms::default(), AT.now);
        (pace.why, pace.text)
    }

    fn feedable(&self) -> u32 {
        feedable(&self.view(), &Terms::default(), AT.now)
    }
}

fn windowed(calls: u32, seconds: u64, in_flight: u32) -> KeyLimits {
    KeyLimits {
        windows: vec![Window {
            calls,
            length: Duration::from_secs(seconds),
        }],
        ..slots(in_flight)
    }
}

#[test]
fn one_sentence_says_why() {
    let mut world = World::new(2, 300);
    let (why, text) = world.why();
    assert_eq!(why, "in_flight");
    assert_eq!(
        text,
        "uni/online: 300 jobs wait; sa-1 has all of its 4 calls under way (calgrant accounts budget set --in-flight), \
         sa-2 has all of its 4 calls under way (calgrant accounts budget set --in-flight)."
    );
    world.stop(1);
    let (why, text) = world.why();
    assert!(
        why == "in_flight" && text.contains("sa-2 is paused by cli:ann"),
        "{text}"
    );
    world.stop(0);
    assert_eq!(world.why().0, "stopped");
    world.stopped.clear();
    world.missed = true;
    let (why, text) = world.why();
    assert!(
        why == "no_worker" && text.contains("no worker can serve"),
        "{text}"
    );
    world.missed = false;
    world.keys = vec![seen(&key("sa-1", slots(4))), seen(&key("sa-2", slots(4)))];
    assert_eq!(world.why().0, "enough");
    let mut refused = site_key(KeyLimits::default());
    refused.block(AT.now + Duration::from_secs(30), "429 TooManyRequests");
    world.site = Some(seen(&refused));
    let (why, text) = world.why();
    assert!(
        why == "blocked" && text.contains("429 TooManyRequests"),
        "{text}"
    );
    world.backlog.as_mut().unwrap().ready = 0;
    assert_eq!(world.why().0, "idle");
    world.backlog.as_mut().unwrap().listing = 1;
    assert_eq!(world.why().0, "listing");
    world.backlog = None;
    assert_eq!(world.why().0, "idle");
}

#[test]
fn what_was_learned_of_the_site_is_named_before_what_binds_accounts() {
    let mut world = World::new(2, 300);
    let mut site = site_key(KeyLimits::default());
    let refused = calgrant_budget::message::Ask {
        pushbacks: vec![Pushback {
            overload: Overload::Concurrency,
            wait: Some(Duration::ZERO),
            cause: "busy".to_owned(),
        }],
        ..ask(&site, 8, 3)
    };
    site.grant("a", 1, &refused, &Terms::default(), AT).unwrap();
    world.site = Some(seen(&site));
    let (why, text) = world.why();
    assert!(
        why == "learned" && text.contains("4 calls at once"),
        "{text}"
    );
}

#[test]
fn workers_are_fed_by_budgets_and_not_by_the_queue() {
    let mut world = World::new(3, 100_000);
    assert_eq!(world.feedable(), 12);
    world.stop(0);
    assert_eq!(world.feedable(), 8);
    // Two calls a second of half a second each: one at a time, whatever the slots.
    world.keys = (1..=3).map(|_| busy(windowed(20, 10, 50), "sa")).collect();
    assert_eq!(world.feedable(), 2);
    world.backlog.as_mut().unwrap().ready = 1;
    assert_eq!(world.feedable(), 1);
    world.backlog = None;
    assert_eq!(world.feedable(), 0);
}

#[test]
fn nothing_is_fed_while_the_server_wants_nothing_for_long() {
    let mut world = World::new(2, 1000);
    let mut blocked = key("sa-1", slots(4));
    blocked.block(AT.now + Duration::from_secs(3600), "wait");
    world.keys[0] = seen(&blocked);
    assert_eq!(world.feedable(), 4);
    world.keys[1] = seen(&blocked);
    assert_eq!(world.feedable(), 0);
}

#[test]
fn a_plan_says_how_many_accounts_and_when_more_are_useless() {
    let mut world = World::new(2, 0);
    let terms = Terms::default();
    let ask = |world: &World, by| {
        plan(
            &world.view(),
            1000,
            Some(Duration::from_secs(by)),
            &terms,
            AT.now,
        )
    };
    // 4,000 calls of half a second (a guess), eight at once.
    let found = ask(&world, 1000);
    assert_eq!(
        (found.calls, found.takes.map(|takes| takes.as_secs())),
        (4000, Some(250))
    );
    assert_eq!(found.needed, Some(Accounts::Needed(1)));
    assert!(text(&found, 1000).contains("these are enough"));
    let found = ask(&world, 100);
    assert_eq!(found.needed, Some(Accounts::Needed(5)));
    assert!(
        text(&found, 1000).contains("3 more"),
        "{}",
        text(&found, 1000)
    );
    // Five at once in all.
    world.site = Some(seen(&site_key(slots(5))));
    let found = ask(&world, 100);
    assert!(
        matches!(found.needed, Some(Accounts::Useless { .. })),
        "{found:?}"
    );
    assert!(text(&found, 1000).contains("site:uni/online/exchange"));
    world.stop(0);
    world.stop(1);
    let found = ask(&world, 100);
    assert_eq!((found.takes, found.accounts), (None, 0));
    assert!(text(&found, 1000).contains("resume one"));
}

#[test]
fn times_are_said_as_people_say_them() {
    for (seconds, said) in [
        (0, "1 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(span(Duration::from_secs(seconds)), said);
    }
}

fn operation(accepted: u64, added: u64, calls: u64) -> OperationView {
    let new = sample::operation("uni", Lane::Bulk, OffsetDateTime::UNIX_EPOCH);
    OperationView {
        id: new.id,
        tenant: new.tenant,
        kind: OperationKind::Delegate,
        delegation: Some(new.delegation),
        trustee: String::new(),
        undoes: None,
        hold: None,
        state: OperationState::Running,
        lane: Lane::Bulk,
        validate_only: false,
        counts: counted(accepted, added),
        failure: String::new(),
        failure_text: String::new(),
        waiting_for: String::new(),
        requested_by: String::new(),
        ticket: String::new(),
        created_at: new.at,
        ended_at: None,
        sequence: 1,
        merged_lines: 0,
        excluded: 0,
        parked: 0,
        calls,
        confined_to: Vec::new(),
        forgotten: 0,
        kept: None,
    }
}

fn counted(accepted: u64, added: u64) -> Counts {
    let mut counts = Counts::accepting(accepted);
    counts.add(Outcome::Added, added);
    counts
}

fn ground<'a>(world: &World, others: &'a [u64]) -> Ground<'a> {
    Ground {
        trees: tree(&world.view(), AT.now).into_iter().collect(),
        call_takes: Duration::from_millis(200),
        others,
        terms: Terms::default(),
    }
}

#[test]
fn before_anything_is_done_the_limits_say_how_long() {
    let world = World::new(2, 1000);
    let found = course(&operation(1000, 0, 0), &ground(&world, &[]), &[], AT.now);
    assert_eq!((found.needed, found.left), (4000, 4000));
    // Eight at once, five a second each.
    assert_eq!(found.remaining.map(|time| time.as_secs()), Some(100));
    let shared = course(
        &operation(1000, 0, 0),
        &ground(&world, &[5000, 500]),
        &[],
        AT.now,
    );
    assert_eq!(shared.remaining.map(|time| time.as_secs()), Some(250));
}

#[test]
fn with_no_account_nothing_is_promised() {
    let mut world = World::new(1, 1000);
    world.stop(0);
    let passed = [(AT.now - Duration::from_secs(60), counted(1000, 10))];
    let found = course(
        &operation(1000, 100, 300),
        &ground(&world, &[]),
        &passed,
        AT.now,
    );
    assert_eq!((found.remaining, found.left), (None, 2700));
}

#[test]
fn a_plan_counts_what_carrying_it_out_would_cost() {
    let world = World::new(2, 0);
    let mut plan = operation(300, 100, 600);
    plan.counts.add(Outcome::Unchanged, 150);
    plan.counts.add(Outcome::Refused, 50);
    plan.validate_only = true;
    plan.state = OperationState::Done;
    plan.ended_at = Some(OffsetDateTime::UNIX_EPOCH);
    let found = course(&plan, &ground(&world, &[]), &[], AT.now);
    assert_eq!((found.needed, found.left), (450, 450));
    assert_eq!(
        found.remaining.map(|time| time.as_millis() / 100),
        Some(112)
    );
    plan.validate_only = false;
    let found = course(&plan, &ground(&world, &[]), &[], AT.now);
    assert_eq!((found.needed, found.left, found.remaining), (600, 0, None));
}

proptest! {
    /// At a tenth of a steady run, what is told is within a tenth of what it takes.
    #[test]
    fn at_a_tenth_of_a_steady_run_the_end_is_known(
        mailboxes in 500u64..200_000,
        per_second in 2u64..200,
        ramp in 0u64..3,
    ) {
        let total = mailboxes / per_second + ramp;
        // Shorter ones have hardly begun at a tenth: then the limits say it.
        prop_assume!(total > 200);
        let world = World::new(2, mailboxes);
        let start = AT.now - Duration::from_secs(total);
        let done = |second: u64| (second.saturating_sub(ramp) * per_second).min(mailboxes);
        let tenth = total / 10 + ramp;
        let from = tenth.saturating_sub(300);
        let passed: Vec<_> = (from..=tenth)
            .step_by(2)
            .map(|second| (start + Duration::from_secs(second), counted(mailboxes, done(second))))
            .collect();
        let at = start + Duration::from_secs(tenth);
        let view = operation(mailboxes, done(tenth), done(tenth) * 3);
        let found = course(&view, &ground(&world, &[]), &passed, at);
        let told = tenth as f64 + found.remaining.unwrap().as_secs_f64();
        let off = told / total as f64;
        prop_assert!((0.9..1.1).contains(&off), "{told} of {total}");
    }

    /// More accounts never take longer, nor feed fewer workers.
    #[test]
    fn more_accounts_are_never_slower(accounts in 1usize..6, mailboxes in 1u64..1_000_000) {
        let (fewer, more) = (World::new(accounts, 100_000), World::new(accounts + 1, 100_000));
        let terms = Terms::default();
        let takes = |world: &World| plan(&world.view(), mailboxes, None, &terms, AT.now).takes;
        if let (Some(slow), Some(fast)) = (takes(&fewer), takes(&more)) {
            prop_assert!(fast <= slow + Duration::from_millis(10));
        }
        prop_assert!(fewer.feedable() <= more.feedable());
    }
}
