use calgrant_domain::{Lane, Listed, Mailbox, MailboxId, Observed, Reading, Reason};
use calgrant_store::Access;
use calgrant_testkit::sample::{self, HOLD, PLANNER, TRUSTEE};

use crate::world::{World, at, author, result};

async fn access(world: &World, names: &[&str]) -> Vec<Access> {
    let tenant = "uni".parse().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    world.store.access(&tenant, &names).await.unwrap()
}

#[tokio::test]
async fn a_mailbox_is_found_by_any_of_its_names() {
    let world = World::new().await;
    let id = world.bulk(0, 1..3).await;
    let guid = sample::mailbox_id(1);
    let names = [
        "Person-1@Example.org ",
        "p1@alias.example.org",
        &guid.to_string(),
        "nobody@example.org",
        "person-2@example.org",
    ];
    let known = access(&world, &names).await;
    assert!(
        known[..3].iter().all(|access| access.pending
            && access.granted.is_none()
            && access.mailbox == Some(guid))
    );
    for job in world.claim_all().await {
        if job.mailbox == guid {
            world.grant(&job).await;
        } else {
            world
                .apply(&[result(&job, Reading::GaveUp(Reason::NoCalendar))])
                .await;
        }
    }
    let known = access(&world, &names).await;
    assert_eq!(known.len(), 5);
    for (access, name) in known.iter().zip(&names) {
        assert_eq!(access.name, *name);
    }
    for access in &known[..3] {
        assert_eq!(
            (access.granted, access.pending, access.role.as_str()),
            (Some(true), false, "Author")
        );
        assert_eq!(access.trustee, TRUSTEE);
        assert_eq!(access.verified_at, Some(at(30)));
        assert_eq!(access.operation, Some(id));
    }
    assert_eq!(known[3].mailbox, None);
    assert_eq!(
        (known[4].granted, known[4].reason),
        (Some(false), Some(Reason::NoCalendar))
    );
}

#[tokio::test]
async fn a_reused_address_belongs_to_the_new_mailbox() {
    let world = World::new().await;
    world.bulk(0, 1..2).await;
    let job = world.claim_all().await.remove(0);
    world.grant(&job).await;
    // The person left; somebody new has the address, and another mailbox.
    let successor = sample::mailbox_id(777);
    let Ok(mailbox) = sample::listed(1).what else {
        panic!("it suits")
    };
    let listed = Listed {
        id: successor,
        what: Ok(Mailbox {
            kind: None,
            id: successor,
            ..mailbox
        }),
        ..sample::listed(1)
    };
    record(&world, listed).await;
    let known = access(&world, &["person-1@example.org", "p1@alias.example.org"]).await;
    for access in known {
        assert_eq!(access.mailbox, Some(successor));
        assert_eq!((access.granted, access.pending), (None, true));
    }
    let old = access(&world, &[&sample::mailbox_id(1).to_string()]).await;
    assert_eq!(old[0].granted, Some(true));
}

/// A second operation of one mailbox.
async fn record(world: &World, listed: Listed) {
    let new = sample::operation("uni", Lane::Bulk, at(50));
    world.store.accept(&new).await.unwrap();
    world
        .store
        .claim_listing(PLANNER, HOLD, at(50))
        .await
        .unwrap();
    world
        .store
        .record_jobs(new.id, PLANNER, HOLD, &sample::page(vec![listed]), at(50))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_seen_stays_known_when_a_later_operation_sees_nothing() {
    let world = World::new().await;
    world.bulk(0, 1..2).await;
    let first = world.claim_all().await.remove(0);
    world.grant(&first).await;
    let later = world.bulk(50, 1..2).await;
    let second = world.claim_all_at(60).await.remove(0);
    world
        .apply(&[result(&second, Reading::GaveUp(Reason::OutOfWriteScope))])
        .await;
    let known = access(&world, &["person-1@example.org"]).await.remove(0);
    assert_eq!((known.granted, known.role.as_str()), (Some(true), "Author"));
    assert_eq!(known.reason, Some(Reason::OutOfWriteScope));
    assert_eq!(
        (known.verified_at, known.operation),
        (Some(at(30)), Some(later))
    );
}

#[tokio::test]
async fn an_earlier_operation_does_not_overwrite_a_later_one() {
    let world = World::new().await;
    world.bulk(0, 1..2).await;
    let later = world.bulk(5, 1..2).await;
    let mut jobs = world.claim_all().await;
    jobs.sort_by_key(|job| job.operation);
    world.grant(&jobs[1]).await;
    world
        .apply(&[result(&jobs[0], Reading::GaveUp(Reason::Superseded))])
        .await;
    let known = access(&world, &["person-1@example.org"]).await.remove(0);
    assert_eq!((known.granted, known.operation), (Some(true), Some(later)));
    // The same in one batch, whatever its order.
    world.bulk(60, 3..4).await;
    world.bulk(61, 3..4).await;
    let mut jobs = world.claim_all_at(70).await;
    jobs.sort_by_key(|job| job.operation);
    world
        .apply(&[
            result(&jobs[1], Reading::Seen(author())),
            result(&jobs[0], Reading::GaveUp(Reason::Superseded)),
        ])
        .await;
    let known = access(&world, &["person-3@example.org"]).await.remove(0);
    assert_eq!(known.granted, Some(true));
}

#[tokio::test]
async fn a_plan_leaves_no_knowledge() {
    let world = World::new().await;
    let new = calgrant_store::NewOperation {
        validate_only: true,
        ..sample::operation("uni", Lane::Bulk, at(0))
    };
    sample::listed_operation(&world.store, &new, 1..2).await;
    let pending = access(&world, &["person-1@example.org"]).await.remove(0);
    assert!(!pending.pending);
    let job = world.claim_all().await.remove(0);
    world
        .apply(&[result(&job, Reading::Seen(Observed::Absent))])
        .await;
    let known = access(&world, &["person-1@example.org"]).await.remove(0);
    assert_eq!(known.granted, None);
    assert!(
        known
            .mailbox
            .is_some_and(|id: MailboxId| id == sample::mailbox_id(1))
    );
}
