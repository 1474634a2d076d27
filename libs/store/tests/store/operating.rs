//! What operators change and see: one account of a tenant, what waits, what holds an operation up.

use std::time::Duration;

use calgrant_domain::{AccountStand, CallWindow, Lane, Observed, Reading, SiteKind};
use calgrant_store::{AccountChange, HeldUp, Stopped, StoreError};

use crate::world::{World, at, author, result};

#[tokio::test]
async fn one_account_is_changed_and_nothing_else() {
    let world = World::new().await;
    let (tenant, account) = ("uni".parse().unwrap(), "sa-1".parse().unwrap());
    let change = |change: AccountChange, etag: &'static str| {
        let (store, tenant, account) = (&world.store, &tenant, &account);
        async move {
            store
                .change_account(tenant, SiteKind::Online, account, &change, etag, at(5))
                .await
        }
    };
    world
        .store
        .pause("uni", "online", "sa-1", Some("refused"), at(3))
        .await
        .unwrap();
    let before = world.store.fleet_version().await.unwrap();
    let windows = vec![CallWindow {
        calls: 100,
        length: Duration::from_secs(10),
    }];
    let scaled = AccountChange {
        workers: Some(9),
        ..AccountChange::default()
    };
    change(scaled, "2").await.unwrap();
    let budget = AccountChange {
        windows: Some(windows.clone()),
        ..AccountChange::default()
    };
    change(budget, "3").await.unwrap();
    let stored = world.store.tenant(&tenant).await.unwrap().unwrap();
    let account_now = &stored.spec.sites[0].accounts[0];
    assert_eq!((account_now.workers, account_now.limits.in_flight), (9, 10));
    assert_eq!(account_now.limits.windows, windows);
    assert_eq!((stored.etag.as_str(), stored.updated_at), ("3", at(5)));
    assert_ne!(world.store.fleet_version().await.unwrap(), before);
    assert_eq!(
        world.store.pauses().await.unwrap().len(),
        1,
        "still refused"
    );
    let cleared = AccountChange {
        windows: Some(Vec::new()),
        in_flight: Some(3),
        ..AccountChange::default()
    };
    change(cleared, "4").await.unwrap();
    let stored = world.store.tenant(&tenant).await.unwrap().unwrap();
    let limits = &stored.spec.sites[0].accounts[0].limits;
    assert_eq!((limits.in_flight, limits.windows.len()), (3, 0));
    // An account that isn't there changes nothing.
    let absent = "sa-9".parse().unwrap();
    let refused = world
        .store
        .change_account(
            &tenant,
            SiteKind::Online,
            &absent,
            &AccountChange::default(),
            "5",
            at(6),
        )
        .await;
    assert!(matches!(refused, Err(StoreError::NotFound("account"))));
    let stored = world.store.tenant(&tenant).await.unwrap().unwrap();
    assert_eq!(stored.etag, "4");
}

#[tokio::test]
async fn a_stand_is_kept_until_it_is_taken_back_and_takes_a_refusal_with_it() {
    let world = World::new().await;
    let wanted = |stand| Stopped {
        tenant: "uni".parse().unwrap(),
        site: SiteKind::Online,
        account: "sa-1".parse().unwrap(),
        stand,
        reason: "maintenance".to_owned(),
        changed_by: "cli:ann".to_owned(),
        changed_at: at(7),
    };
    for stand in [AccountStand::Paused, AccountStand::Draining] {
        let before = world.store.fleet_version().await.unwrap();
        world.store.stand(&wanted(stand)).await.unwrap();
        assert_ne!(world.store.fleet_version().await.unwrap(), before);
        let stopped = world.store.stopped().await.unwrap();
        assert_eq!((stopped.len(), stopped[0].stand), (1, stand));
        assert_eq!(stopped[0].changed_by, "cli:ann");
    }
    world
        .store
        .pause("uni", "online", "sa-1", Some("refused"), at(8))
        .await
        .unwrap();
    world
        .store
        .stand(&wanted(AccountStand::Working))
        .await
        .unwrap();
    assert!(world.store.stopped().await.unwrap().is_empty());
    assert!(world.store.pauses().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_waits_is_counted_from_operations() {
    let world = World::new().await;
    let tenant = "uni".parse().unwrap();
    let backlog = || async { world.store.backlog(Some(&tenant), at(30)).await.unwrap() };
    assert!(backlog().await.is_empty());
    let first = world.bulk(0, 0..10).await;
    world.running(Lane::Interactive, 5, 20..22).await;
    let jobs = world.claim_all().await;
    let of_first = jobs.iter().find(|job| job.operation == first).unwrap();
    world.grant(of_first).await;
    let waits = backlog().await;
    assert_eq!(waits.len(), 1);
    assert_eq!(
        (waits[0].operations, waits[0].listing, waits[0].ready),
        (2, 0, 11)
    );
    // All were handed out at 20 s.
    assert_eq!(waits[0].oldest, Some(at(20)));
    let other = "college".parse().unwrap();
    assert!(
        world
            .store
            .backlog(Some(&other), at(30))
            .await
            .unwrap()
            .is_empty()
    );
    let mut outstanding = world.store.outstanding(&tenant).await.unwrap();
    outstanding.sort_by_key(|(_, left)| *left);
    assert_eq!(
        outstanding
            .iter()
            .map(|(_, left)| *left)
            .collect::<Vec<_>>(),
        [2, 9]
    );
}

#[tokio::test]
async fn a_job_that_waits_for_later_is_not_ready() {
    let world = World::new().await;
    world.bulk(0, 0..3).await;
    let jobs = world.claim_all().await;
    world.apply(&[result(&jobs[0], Reading::NotReady)]).await;
    let waits = world.store.backlog(None, at(41)).await.unwrap();
    assert_eq!(waits[0].ready, 2);
}

#[tokio::test]
async fn calls_are_counted_with_every_result() {
    let world = World::new().await;
    let operation = world.bulk(0, 0..2).await;
    let jobs = world.claim_all().await;
    world.begin(jobs[0].id, Observed::Absent).await.unwrap();
    world.apply(&[result(&jobs[1], Reading::Retry)]).await;
    let before = world.operation(operation).await;
    assert_eq!(before.calls, 2);
    world
        .apply(&[result(&jobs[0], Reading::Wrote(author()))])
        .await;
    let after = world.operation(operation).await;
    assert_eq!(after.calls, 4);
    // A repeat counts nothing twice.
    world
        .apply(&[result(&jobs[0], Reading::Wrote(author()))])
        .await;
    assert_eq!(world.operation(operation).await.calls, 4);
    let course = world
        .store
        .course(operation, at(0) - Duration::from_secs(1))
        .await
        .unwrap();
    assert!(!course.is_empty() && course.is_sorted_by_key(|(at, _)| *at));
}

#[tokio::test]
async fn what_holds_an_operation_up_is_numbered_and_taken_back() {
    let world = World::new().await;
    let operation = world.bulk(0, 0..3).await;
    let before = world.operation(operation).await.sequence;
    let site = |site| HeldUp {
        tenant: "uni".parse().unwrap(),
        site,
        text: format!("all accounts of {site} are paused"),
    };
    let sites = [site(SiteKind::Online), site(SiteKind::Onprem)];
    let hold = |sites: &[HeldUp], seconds| {
        let (store, sites) = (&world.store, sites.to_vec());
        async move { store.hold_up(&sites, at(seconds)).await.unwrap() }
    };
    assert_eq!(hold(&sites[1..], 10).await, 0, "it has no jobs there");
    assert_eq!(hold(&sites, 10).await, 1);
    assert_eq!(hold(&sites, 11).await, 0, "once said is enough");
    let held = world.operation(operation).await;
    assert_eq!(held.waiting_for, "all accounts of online are paused");
    assert_eq!(held.sequence, before + 1);
    let events = world.store.events(operation, before, 10).await.unwrap();
    assert_eq!(events[0].waiting_for, held.waiting_for);
    assert_eq!(hold(&[], 12).await, 1);
    let freed = world.operation(operation).await;
    assert_eq!(
        (freed.waiting_for.as_str(), freed.sequence),
        ("", before + 2)
    );
    // What is over waits for nothing.
    for job in world.claim_all().await {
        world.grant(&job).await;
    }
    assert_eq!(hold(&sites, 50).await, 0);
}
