//! Whole worlds, from their seeds.

use std::time::Duration;

use calgrant_budget::{KeyLimits, ServerTime, Window};
use calgrant_world::{Bug, Report, Scenario, World};

const SECOND: u64 = 1_000_000;

fn window(calls: u32, seconds: u64) -> Window {
    Window {
        calls,
        length: Duration::from_secs(seconds),
    }
}

fn limits(in_flight: Option<u32>, windows: &[Window]) -> KeyLimits {
    KeyLimits {
        in_flight,
        windows: windows.to_vec(),
        ..KeyLimits::default()
    }
}

#[test]
fn with_everything_going_wrong_nothing_is_violated() {
    let mut all = Report::default();
    for seed in 1..=60 {
        let report = World::new(Scenario::drawn(seed, None)).run();
        assert_eq!(
            report.violations, 0,
            "seed {seed}: {:?}",
            report.first_violation
        );
        assert!(
            report.events >= 2000 && report.faults >= 10,
            "seed {seed}: {} events, {} faults",
            report.events,
            report.faults
        );
        all.add(seed, &report);
    }
    assert!(all.kinds.len() >= 13, "{:?}", all.kinds);
}

#[test]
fn the_same_seed_is_the_same_world() {
    let run = |seed| World::new(Scenario::drawn(seed, None)).run().json();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (1..=1000).find(|seed| {
            World::new(Scenario::drawn(*seed, Some(bug)))
                .run()
                .violations
                > 0
        });
        println!("{bug:?}: seed {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

/// What was served of what was allowed, over whole windows after the first minute.
fn utilisation(accounts: u32, replicas: u32, account: &KeyLimits) -> f64 {
    let scenario = Scenario {
        latency: (200_000, 214_000),
        network: (0, 2_000),
        until: 180 * SECOND,
        ..Scenario::calm(1, accounts, replicas, account.clone())
    };
    let rate = scenario.rate();
    let report = World::new(scenario).run();
    assert_eq!(report.violations, 0, "{:?}", report.first_violation);
    report.mean(60, 120) / rate
}

#[test]
fn budgets_are_used_up() {
    for accounts in [1, 4, 16] {
        for replicas in [1, 3] {
            for (bound, account) in [
                ("in flight", limits(Some(10), &[])),
                (
                    "windows",
                    limits(Some(50), &[window(120, 6), window(360, 20)]),
                ),
                ("6 s", limits(None, &[window(120, 6)])),
                ("both", limits(Some(4), &[window(118, 6), window(390, 20)])),
                // Fewer slots than replicas.
                ("few", limits(Some(2), &[window(60, 6), window(180, 20)])),
                ("one", limits(Some(1), &[])),
            ] {
                let used = utilisation(accounts, replicas, &account);
                println!("{accounts} accounts, {replicas} replicas, {bound}: {used:.4}");
                assert!(
                    used >= 0.97,
                    "{accounts} accounts, {replicas} replicas, {bound}: {used}"
                );
            }
        }
    }
}

/// The least and the most ten-minute mean after the first ten minutes, of what is really allowed.
fn means(scenario: Scenario) -> (f64, f64, Report) {
    let rate = scenario.rate();
    let report = World::new(Scenario {
        until: 5400 * SECOND,
        ..scenario
    })
    .run();
    let means: Vec<f64> = (600..=4800)
        .step_by(60)
        .map(|from| report.mean(from, 600) / rate)
        .collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(0.0, f64::max);
    (least, most, report)
}

#[test]
fn limits_that_nobody_told_are_found() {
    let account = limits(Some(10), &[]);
    // Four accounts could make 200 calls a second.
    let calm = |replicas| Scenario::calm(1, 4, replicas, account.clone());
    for (name, scenario) in [
        (
            "tenant at 60 %, by rate",
            Scenario {
                hidden_tenant: Some(limits(None, &[window(1200, 10)])),
                ..calm(3)
            },
        ),
        (
            "tenant at 60 %, in flight",
            Scenario {
                hidden_tenant: Some(limits(Some(24), &[])),
                ..calm(3)
            },
        ),
        (
            "accounts told four times too much, by rate",
            Scenario {
                hidden_account: Some(limits(None, &[window(75, 6)])),
                ..calm(1)
            },
        ),
        (
            "accounts told four times too much, windows",
            Scenario {
                hidden_account: Some(limits(None, &[window(75, 6)])),
                ..Scenario::calm(1, 4, 3, limits(Some(40), &[window(300, 6)]))
            },
        ),
        (
            "accounts told four times too much, in flight",
            Scenario {
                hidden_account: Some(limits(Some(5), &[])),
                ..Scenario::calm(1, 4, 3, limits(Some(20), &[]))
            },
        ),
    ] {
        let (least, most, report) = means(scenario);
        println!(
            "{name}: {least:.3} to {most:.3}, {} refused of {}",
            report.refused, report.served
        );
        assert!(least >= 0.90 && most <= 1.0, "{name}: {least} to {most}");
    }
}

#[test]
fn somebody_who_waits_goes_before_a_hundred_thousand() {
    for replicas in [1, 3] {
        let scenario = Scenario {
            newcomers_every: 2_300_000,
            until: 1200 * SECOND,
            ..Scenario::calm(1, 4, replicas, limits(Some(4), &[window(30, 6)]))
        };
        let mut waits = World::new(scenario).run().interactive_waits;
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        println!(
            "{replicas} replicas: {} newcomers, p99 {p99} µs",
            waits.len()
        );
        assert!(p99 < 2 * SECOND, "{replicas} replicas: p99 {p99} µs");
    }
}

/// A run on premises of 10,000 mailboxes, with one account, and the seconds it takes at best.
fn on_premises(replicas: u32, account: KeyLimits, call: u64, calls: u64) -> (Report, f64) {
    let scenario = Scenario {
        latency: (call, call),
        network: (0, 500),
        operations: vec![calls],
        until: 0,
        ..Scenario::calm(1, 1, replicas, account)
    };
    let best = scenario.best_seconds(f64::from(u32::try_from(calls).unwrap_or(u32::MAX)));
    let report = World::new(scenario).run();
    (report, best)
}

/// Exchange's default policy for EWS: a burst of five minutes of server time, a quarter of the time comes back. Each mailbox
/// is read, written and read again.
#[test]
fn the_default_policy_on_premises_is_used_up_by_ews_and_never_overdrawn() {
    let policy = KeyLimits {
        server_time: Some(ServerTime {
            burst: Duration::from_secs(300),
            recharge_per_hour: Duration::from_secs(900),
            floor: Duration::from_secs(1),
        }),
        ..limits(Some(27), &[])
    };
    for replicas in [1, 3] {
        let (report, best) = on_premises(replicas, policy.clone(), 120_000, 30_000);
        // An hour of work, less five minutes, at a quarter.
        assert_eq!(best.round(), 13_200.0);
        println!(
            "{replicas} replicas: {} s, at best {best} s",
            report.virtual_seconds
        );
        assert_eq!(report.violations, 0, "{:?}", report.first_violation);
        assert_eq!((report.refused, report.served), (0, 30_000));
        assert!(
            report.virtual_seconds <= 1.05 * best,
            "{replicas} replicas: {} s of {best} s",
            report.virtual_seconds
        );
    }
}

/// Its default policy for PowerShell: 18 sessions, and nothing else. Each mailbox is looked up, read, written and read again.
#[test]
fn eighteen_sessions_on_premises_are_kept_busy() {
    for replicas in [1, 3] {
        let (report, best) = on_premises(replicas, limits(Some(18), &[]), 400_000, 40_000);
        assert_eq!(best.round(), 889.0);
        println!(
            "{replicas} replicas: {} s, at best {best} s",
            report.virtual_seconds
        );
        assert_eq!(report.violations, 0, "{:?}", report.first_violation);
        assert_eq!((report.refused, report.served), (0, 40_000));
        assert!(
            report.virtual_seconds <= 1.05 * best,
            "{replicas} replicas: {} s of {best} s",
            report.virtual_seconds
        );
    }
}
