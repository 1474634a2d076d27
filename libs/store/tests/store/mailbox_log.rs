use calgrant_domain::{AccessChange, Confined, Lane, Listed, Reading, Reason, TenantName};
use calgrant_store::{MailboxChange, StoreError};
use calgrant_testkit::sample::{self, HOLD, PLANNER};

use crate::world::{World, at, author, result, rights};

fn uni() -> TenantName {
    "uni".parse().unwrap()
}

impl World {
    async fn changes(&self, after: u64) -> Vec<MailboxChange> {
        self.store
            .mailbox_changes(&uni(), after, 1000)
            .await
            .unwrap()
    }

    /// Forgets in pieces of 7. Answers how many changes are gone.
    async fn forgotten(&self, keep: u64, announced_only: bool) -> u64 {
        let mut gone = 0;
        loop {
            let store = &self.store;
            let piece = store.forget_mailbox_changes(keep, announced_only, 7).await;
            let piece = piece.unwrap();
            assert!(piece.rows <= 7);
            gone += piece.rows;
            if !piece.more {
                return gone;
            }
        }
    }
}

#[tokio::test]
async fn changes_are_numbered_without_gaps_by_several_writers() {
    let world = World::new().await;
    world.bulk(0, 0..40).await;
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    let store = &world.store;
    let watched = async {
        let mut seen = Vec::new();
        while seen.len() < 40 {
            let after = seen.last().copied().unwrap_or(0);
            seen.extend(
                world
                    .changes(after)
                    .await
                    .iter()
                    .map(|change| change.sequence),
            );
            tokio::task::yield_now().await;
        }
        seen
    };
    let applied =
        futures::future::join_all(results.chunks(2).map(|two| store.apply(two, 0.5, at(30))));
    let (seen, applied) = futures::join!(watched, applied);
    assert!(applied.iter().all(Result::is_ok));
    let all: Vec<u64> = (1..=40).collect();
    assert_eq!(seen, all, "whoever looks meanwhile misses none");
}

#[tokio::test]
async fn only_what_is_new_is_told() {
    let world = World::new().await;
    world.bulk(0, 0..3).await;
    let jobs = world.claim_all().await;
    let readings = [
        Reading::Seen(author()),
        Reading::Seen(rights("Owner")),
        Reading::GaveUp(Reason::Rejected),
    ];
    for (job, reading) in jobs.iter().zip(&readings) {
        world.apply(&[result(job, reading.clone())]).await;
    }
    let first = world.changes(0).await;
    let kinds: Vec<_> = first
        .iter()
        .map(|change| (change.kind, change.role.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (AccessChange::Granted, "Author"),
            (AccessChange::Granted, "Owner"),
            (AccessChange::Failed, "")
        ]
    );
    assert_eq!(first[2].reason, Some(Reason::Rejected));
    assert!(first[0].address.ends_with("@example.org"), "{first:?}");
    // The same again.
    world.bulk(50, 0..3).await;
    let again = world.claim_all_at(60).await;
    for job in &again {
        let before = jobs
            .iter()
            .position(|before| before.mailbox == job.mailbox)
            .unwrap();
        world
            .apply_at(&[result(job, readings[before].clone())], 61)
            .await;
    }
    assert_eq!(world.changes(3).await.len(), 0);
    // Something else.
    world.bulk(70, 0..3).await;
    for job in &world.claim_all_at(80).await {
        world
            .apply_at(&[result(job, Reading::Seen(author()))], 81)
            .await;
    }
    assert_eq!(world.changes(3).await.len(), 2);
}

#[tokio::test]
async fn what_somebody_asked_for_by_name_is_always_told() {
    let world = World::new().await;
    for (seconds, sequence) in [(0, 1), (50, 3)] {
        let mut new = sample::operation("uni", Lane::Interactive, at(seconds));
        let names = ["person-1@example.org", "nobody@example.org"];
        new.confined = Some(Confined {
            mailboxes: names.map(|name| name.parse().unwrap()).to_vec(),
            beyond_selector: true,
            awaits: true,
        });
        world.store.accept(&new).await.unwrap();
        let claim = world
            .store
            .claim_listing(PLANNER, HOLD, at(seconds))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (claim.confined, claim.accepted_at),
            (new.confined, at(seconds))
        );
        let unknown = Listed {
            what: Err(Reason::NotFound),
            name: names[1].to_owned(),
            ..sample::listed(2)
        };
        let page = sample::page(vec![sample::listed(1), unknown]);
        let recorded = world
            .store
            .record_jobs(new.id, PLANNER, HOLD, &page, at(seconds));
        recorded.await.unwrap();
        world
            .store
            .finish_listing(new.id, PLANNER, None, at(seconds))
            .await
            .unwrap();
        let refused = world.changes(sequence - 1).await;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(
            (refused[0].address.as_str(), refused[0].reason),
            (names[1], Some(Reason::NotFound))
        );
        let jobs = world.claim_all_at(seconds + 1).await;
        world
            .apply_at(&[result(&jobs[0], Reading::Seen(author()))], seconds + 2)
            .await;
        let granted = world.changes(sequence).await;
        assert_eq!(
            (granted[0].sequence, granted[0].kind),
            (sequence + 1, AccessChange::Granted)
        );
        assert_eq!(granted[0].operation, new.id);
    }
}

#[tokio::test]
async fn a_watcher_resumes_where_it_was_and_learns_what_is_pruned() {
    let world = World::new().await;
    world.bulk(0, 0..100).await;
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    world.apply(&results).await;
    assert_eq!(
        world.store.mailbox_changes(&uni(), 10, 5).await.unwrap()[0].sequence,
        11
    );
    // What nobody has announced stays, if somebody is to.
    assert_eq!(world.forgotten(40, true).await, 0);
    assert_eq!(world.store.unannounced().await.unwrap(), [uni()]);
    let out = async |changes: Vec<MailboxChange>| changes.get(49).map(|change| change.sequence);
    assert_eq!(world.store.announce(&uni(), 1000, out).await.unwrap(), 100);
    assert_eq!(world.forgotten(40, true).await, 50);
    assert_eq!(world.forgotten(40, false).await, 10);
    for pruned in [0, 59, 101, 1000] {
        let changes = world.store.mailbox_changes(&uni(), pruned, 1000).await;
        assert!(
            matches!(changes, Err(StoreError::Pruned)),
            "{pruned}: {changes:?}"
        );
    }
    assert_eq!(world.changes(60).await.len(), 40);
    assert_eq!(world.changes(100).await.len(), 0);
    // What is known is there nevertheless, page by page.
    let mut known: Vec<MailboxChange> = Vec::new();
    loop {
        let after = known
            .last()
            .map(|last| (last.mailbox, last.trustee.as_str()));
        let page = world
            .store
            .mailboxes_known(&uni(), after, 30)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        known.extend(page);
    }
    assert_eq!(known.len(), 100);
    assert!(
        known
            .iter()
            .all(|known| known.kind == AccessChange::Granted && known.sequence == 0)
    );
}

#[tokio::test]
async fn each_is_announced_at_least_once_and_by_one_at_a_time() {
    let world = World::new().await;
    world.bulk(0, 0..10).await;
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    world.apply(&results).await;
    let other = async |changes: Vec<MailboxChange>| changes.last().map(|last| last.sequence);
    let tenant = uni();
    let announced = world
        .store
        .announce(&tenant, 4, async |changes: Vec<MailboxChange>| {
            // Another process meanwhile: it leaves this to us.
            assert_eq!(world.store.announce(&uni(), 4, other).await.unwrap(), 0);
            assert_eq!(changes.len(), 4);
            // The broker took two of them.
            Some(changes[1].sequence)
        });
    assert_eq!(announced.await.unwrap(), 4);
    let rest = world
        .store
        .announce(&tenant, 100, async |changes: Vec<MailboxChange>| {
            assert_eq!(changes[0].sequence, 3);
            None
        });
    assert_eq!(rest.await.unwrap(), 8);
    assert_eq!(world.store.announce(&uni(), 100, other).await.unwrap(), 8);
    assert!(world.store.unannounced().await.unwrap().is_empty());
}
