//! Several processes at the same time, and a server that goes away.

use std::time::Duration;

use calgrant_domain::{Begin, Calendar, Lane, Observed, OperationState, Outcome, Reading};
use calgrant_store::{Applied, NewOperation, ReportedResult, StoreError};
use calgrant_testkit::{
    eventually,
    sample::{self, HOLD, PLANNER},
};

use crate::world::{World, at, author, result, returned};

#[tokio::test]
async fn two_replicas_that_apply_the_same_results_count_them_once() {
    let world = World::new().await;
    let id = world.bulk(0, 0..400).await;
    let other = world.database.store();
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    let reversed: Vec<_> = results.iter().rev().cloned().collect();
    let both = results
        .chunks(50)
        .zip(reversed.chunks(70))
        .map(|(one, two)| {
            futures::future::join(
                world.store.apply(one, 0.5, at(30)),
                other.apply(two, 0.5, at(30)),
            )
        });
    for (one, two) in futures::future::join_all(both).await {
        assert!(
            one.unwrap()
                .iter()
                .all(|applied| *applied == Applied::Recorded)
        );
        assert!(
            two.unwrap()
                .iter()
                .all(|applied| *applied == Applied::Recorded)
        );
    }
    let view = world.operation(id).await;
    assert_eq!(view.counts.of(Outcome::Unchanged), 400);
    assert_eq!(view.state, OperationState::Done);
}

/// Begins, results, cancellations, claims, give-backs and listings of operations on the same mailboxes, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_deadlocks() {
    const MAILBOXES: u32 = 120;
    let world = World::new().await;
    let other = world.database.store();
    let mut ids = Vec::new();
    for second in 0..4 {
        ids.push(world.bulk(second, 0..MAILBOXES).await);
    }
    let jobs = world.claim_all().await;
    assert_eq!(jobs.len(), 4 * MAILBOXES as usize);
    let client = world.database.client().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let shuffled = |seed: usize| {
        let mut order = jobs.clone();
        order.sort_by_key(|job| uuid::Uuid::new_v5(&job.id.as_uuid(), &seed.to_be_bytes()));
        order
    };
    let work = (0..24).map(|seed| {
        let store = if seed % 2 == 0 { &world.store } else { &other };
        let order = shuffled(seed);
        let id = ids[seed % ids.len()];
        async move {
            match seed % 6 {
                0 | 1 => {
                    for part in order.chunks(60) {
                        let begins: Vec<_> = part
                            .iter()
                            .map(|job| Begin {
                                job: job.id,
                                before: Observed::Absent,
                            })
                            .collect();
                        store.begin(&begins, at(30)).await?;
                    }
                }
                2 | 3 => {
                    for part in order.chunks(60) {
                        let results: Vec<_> = part
                            .iter()
                            .map(|job| ReportedResult {
                                calendar: Some(Calendar {
                                    folder_id: format!("id-{seed}"),
                                    path: "\\Kalender".to_owned(),
                                }),
                                ..result(job, Reading::Wrote(author()))
                            })
                            .collect();
                        store.apply(&results, 0.5, at(31)).await?;
                    }
                }
                4 => {
                    let given: Vec<_> = order.iter().take(100).map(|job| job.id).collect();
                    store.give_back(&given).await?;
                    store
                        .claim_ready(50, 1000, uuid::Uuid::new_v4(), at(32))
                        .await?;
                    store
                        .take_back_overdue(Duration::from_secs(1), at(33))
                        .await?;
                    if seed > 12 {
                        store.cancel(id, at(34)).await?;
                    }
                }
                _ => {
                    let new = sample::operation("uni", Lane::Interactive, at(40 + seed as u64));
                    store.accept(&new).await?;
                    let owner = format!("planner-{seed}");
                    if let Some(claim) = store.claim_listing(&owner, HOLD, at(40)).await? {
                        let listed = (0..MAILBOXES).rev().map(sample::listed).collect();
                        store
                            .record_jobs(
                                claim.operation,
                                &owner,
                                HOLD,
                                &sample::page(listed),
                                at(41),
                            )
                            .await?;
                    }
                }
            }
            Ok::<(), StoreError>(())
        }
    });
    for done in futures::future::join_all(work).await {
        done.unwrap();
    }
    let count: i64 = client.query_one(deadlocks, &[]).await.unwrap().get(0);
    assert_eq!(count, 0, "transactions locked each other out");
    for id in ids {
        let view = world.operation(id).await;
        let ended = world
            .jobs(id)
            .await
            .iter()
            .filter(|job| job.outcome.is_some())
            .count();
        assert_eq!(view.counts.ended(), ended as u64);
    }
}

#[tokio::test]
async fn a_transaction_that_gives_way_is_done_again() {
    const TRIES: u32 = 10;
    let world = World::new().await;
    world.bulk(0, 0..2 * TRIES).await;
    let mut jobs = world.claim_all().await;
    jobs.sort_by_key(|job| job.id);
    let console = world.database.client().await;
    let watching = world.database.client().await;
    // The server looks for a deadlock once, a second after a transaction began to wait: whoever crosses it later isn't noticed,
    // and tries again with another two.
    let patience = "SET deadlock_timeout = '60s'; SET lock_timeout = '5s'";
    console.batch_execute(patience).await.unwrap();
    for two in jobs.chunks(2) {
        let begins: Vec<_> = two
            .iter()
            .map(|job| Begin {
                job: job.id,
                before: Observed::Absent,
            })
            .collect();
        // Somebody at a console locks the second, then the first: against the order that everybody keeps.
        let lock = "SELECT 1 FROM job WHERE id = $1 FOR UPDATE";
        console.batch_execute("BEGIN").await.unwrap();
        console
            .execute(lock, &[&two[1].id.as_uuid()])
            .await
            .unwrap();
        let beginning = world.store.begin(&begins, at(25));
        let crossing = async {
            eventually("the begin waits", async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
                watching.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
            })
            .await;
            // The begin holds the first by now, so this is granted only if it gives way.
            let gave_way = console.execute(lock, &[&two[0].id.as_uuid()]).await.is_ok();
            console.batch_execute("ROLLBACK").await.unwrap();
            gave_way
        };
        let (begun, gave_way) = futures::future::join(beginning, crossing).await;
        assert_eq!(begun.unwrap(), [Ok(Observed::Absent), Ok(Observed::Absent)]);
        if gave_way {
            return;
        }
    }
    panic!("no transaction gave way in {TRIES} tries");
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_away_and_leaves_no_trace() {
    let world = World::new().await;
    let id = world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let console = world.database.client().await;
    console.batch_execute("BEGIN").await.unwrap();
    console
        .execute(
            "SELECT 1 FROM operation WHERE id = $1 FOR UPDATE",
            &[&id.as_uuid()],
        )
        .await
        .unwrap();
    let results = [result(&job, Reading::Seen(author()))];
    let applying = world.store.apply(&results, 0.5, at(30));
    let cutting = async {
        eventually("the result waits for the operation", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            console.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
        world.database.cut().await;
    };
    let (applied, ()) = futures::future::join(applying, cutting).await;
    assert!(matches!(applied, Err(StoreError::Away(_))), "{applied:?}");
    // The pool finds new connections by itself, perhaps after it noticed that the old ones are gone.
    eventually("the result is recorded", async || {
        world.store.apply(&results, 0.5, at(31)).await.is_ok()
    })
    .await;
    assert_eq!(world.counts(id).await.of(Outcome::Unchanged), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_away_and_a_fault_of_ours_is_not() {
    let away = calgrant_store::Store::new("postgres://app@127.0.0.1:1/calgrant", None).unwrap();
    assert!(matches!(away.ping().await, Err(StoreError::Away(_))));
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    let zero = ReportedResult {
        report: Some(calgrant_domain::reading::Report {
            reading: Reading::Seen(author()),
            detail: calgrant_domain::Detail {
                server_text: "a text with a zero \0 in it".to_owned(),
                ..calgrant_domain::Detail::default()
            },
        }),
        ..returned(&job)
    };
    let refused = world.store.apply(&[zero], 0.5, at(30)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    let client = world.database.client().await;
    client
        .batch_execute("ALTER TABLE job ADD CONSTRAINT of_a_fault CHECK (false) NOT VALID")
        .await
        .unwrap();
    let refused = world
        .store
        .apply(&[result(&job, Reading::Retry)], 0.5, at(30))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_planners_at_once_claim_different_operations() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for second in 0..6 {
        let new: NewOperation = sample::operation("uni", Lane::Bulk, at(second));
        world.store.accept(&new).await.unwrap();
        ids.push(new.id);
    }
    let owners: Vec<_> = (0..6).map(|number| format!("{PLANNER}-{number}")).collect();
    let claims = owners
        .iter()
        .map(|owner| world.store.claim_listing(owner, HOLD, at(9)));
    let mut claimed: Vec<_> = futures::future::join_all(claims)
        .await
        .into_iter()
        .filter_map(|claim| claim.unwrap().map(|claim| claim.operation))
        .collect();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed, ids);
}
