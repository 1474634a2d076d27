//! Migrations: a schema that is behind, further, or another one; and work that goes on while it changes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use calgrant_domain::{Begin, Lane, Observed, OperationKind, Reading, TenantName};
use calgrant_store::{Store, StoreError};
use calgrant_testkit::{
    Database, eventually,
    sample::{self, HOLD, PLANNER},
};
use refinery::Target;

use crate::{
    taking_back::back,
    world::{CLAIM, at, author, result},
};

mod embedded {
    refinery::embed_migrations!("migrations");
}

#[tokio::test]
async fn a_version_works_with_a_schema_that_a_later_one_has_brought_further() {
    let database = Database::new().await;
    let store = database.store();
    database.migrate_further().await;
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_went_another_way_is_refused_and_the_migration_named() {
    let database = Database::new().await;
    let client = database.client().await;
    let changed = "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 4";
    client.execute(changed, &[]).await.unwrap();
    match database.store().migrate().await {
        Err(StoreError::WrongSchema(why)) => assert!(why.contains("V4__claims"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Asks again while others are in the way, as whoever calls status does. Anything else is a fault.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(mut call: impl FnMut() -> F) -> T {
    loop {
        match call().await {
            Err(StoreError::Contended(_) | StoreError::Away(_)) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

/// Gives a right to five mailboxes and takes it away again, by all that the services call on this way.
async fn errand(store: &Store, number: u32) {
    // Far enough from the one before that taking away is no burst.
    let second = u64::from(number) * 4000;
    let new = sample::operation("uni", Lane::Bulk, at(second));
    let page = sample::page((0..5).map(sample::listed).collect());
    again(|| store.accept(&new)).await;
    again(|| store.claim_listing(PLANNER, HOLD, at(second))).await;
    again(|| store.record_jobs(new.id, PLANNER, HOLD, &page, at(second))).await;
    again(|| store.finish_listing(new.id, PLANNER, None, at(second))).await;
    carry_out(store, second + 10, Observed::Absent, author()).await;
    let events = again(|| store.events(new.id, 0, 100)).await;
    assert_eq!(events.last().map(|event| event.counts.ended()), Some(5));
    let jobs = again(|| store.jobs(new.id, &[], false, None, 100)).await;
    assert_eq!(jobs.len(), 5);
    let tenant: TenantName = "uni".parse().unwrap();
    let names = [sample::listed(1).name];
    again(|| store.access(&tenant, &names)).await;
    again(|| store.mailboxes_known(&tenant, None, 10)).await;
    again(|| store.fleet_version()).await;

    let revokes = back(OperationKind::Revoke, new.delegation, second + 50);
    again(|| store.accept_back(&revokes)).await;
    again(|| store.cover()).await;
    again(|| store.list_from_records(at(second + 50))).await;
    carry_out(store, second + 60, author(), Observed::Absent).await;
}

/// Carries out what is ready: finds `before` everywhere, and leaves `after`.
async fn carry_out(store: &Store, second: u64, before: Observed, after: Observed) {
    let ready = again(|| store.claim_ready(100, 1000, CLAIM, at(second))).await;
    again(|| store.settle_claim(CLAIM)).await;
    assert_eq!(ready.len(), 5);
    for ready in ready {
        let job = ready.job.id;
        let (jobs, begins) = ([job], [Begin { job, before }]);
        again(|| store.ended(&jobs)).await;
        let begun = again(|| store.begin(&begins, at(second + 1))).await;
        assert_eq!(begun, [Ok(before)]);
        let results = [result(&ready.job, Reading::Wrote(after))];
        again(|| store.apply(&results, 0.5, at(second + 2))).await;
    }
}

/// What the programs of this version call goes on while the schema they found becomes that of this version, and while it becomes a
/// later one's. That a later one's is of the kind that is tried here is a rule that `tests/tidy` holds.
#[tokio::test]
async fn work_goes_on_while_the_schema_changes() {
    let database = Database::empty().await;
    let runner = embedded::migrations::runner();
    let mut versions: Vec<_> = runner
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .collect();
    versions.sort_unstable();
    let before = versions[versions.len() - 2];
    let mut client = database.client().await;
    let runner = runner.set_target(Target::Version(before));
    runner.run_async(&mut client).await.unwrap();
    let store = database.store();
    store
        .apply_tenant(&sample::tenant("uni"), "", "1", at(0))
        .await
        .unwrap();
    let (done, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let work = async {
        while !over.load(Ordering::Relaxed) {
            errand(&store, done.load(Ordering::Relaxed)).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let some = async || {
        let now = done.load(Ordering::Relaxed);
        eventually("some errands are done", async || {
            done.load(Ordering::Relaxed) >= now + 3
        })
        .await;
    };
    let migrating = async {
        some().await;
        // Another process, that of the new version.
        again(|| async { database.store().migrate().await }).await;
        some().await;
        database.migrate_further().await;
        some().await;
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(work, migrating);
    store.migrate().await.unwrap();
}
