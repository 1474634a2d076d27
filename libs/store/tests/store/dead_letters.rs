use calgrant_domain::{DeadCause, DeadLetterId, Job, OperationState, Outcome, Reading, Reason};
use calgrant_store::{DeadLetterFilter, DeadLetterState, NewDeadLetter};
use uuid::Uuid;

use crate::world::{World, at, author, result};

fn letter(number: u32, queue: &str, cause: DeadCause) -> NewDeadLetter {
    NewDeadLetter {
        id: DeadLetterId::new(at(u64::from(number)), Uuid::new_v4()),
        number: number.to_string(),
        queue: queue.to_owned(),
        cause,
        reason: "a \0 in it".to_owned(),
        by_version: 1,
        about: "something".to_owned(),
        tenant: "uni".to_owned(),
        operation: None,
        job: None,
        is_job: false,
        message_id: "m".to_owned(),
        content_type: "application/json".to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned())],
        body: vec![0, 255],
        at: at(u64::from(number)),
    }
}

fn of_job(number: u32, job: &Job) -> NewDeadLetter {
    NewDeadLetter {
        operation: Some(job.operation),
        job: Some(job.id),
        is_job: true,
        ..letter(number, "jobs.uni.bulk", DeadCause::Crashes)
    }
}

#[tokio::test]
async fn letters_are_kept_once_listed_by_filter_and_resolved_once() {
    let world = World::new().await;
    let store = &world.store;
    let letters = [
        letter(1, "results", DeadCause::Malformed),
        letter(2, "events", DeadCause::Unknown),
        letter(3, "events", DeadCause::Newer),
    ];
    for letter in letters.iter().chain(&letters) {
        store.keep_dead_letter(letter).await.unwrap();
    }
    let list = async |filter: &DeadLetterFilter, state| {
        let found = store.dead_letters(filter, state, None, 100).await.unwrap();
        found
            .into_iter()
            .map(|letter| letter.id)
            .collect::<Vec<_>>()
    };
    let waiting = DeadLetterState::Waiting;
    let all = DeadLetterFilter::default();
    assert_eq!(
        list(&all, waiting).await,
        [letters[2].id, letters[1].id, letters[0].id]
    );
    let page = store
        .dead_letters(&all, waiting, Some(letters[2].id.as_uuid()), 1)
        .await
        .unwrap();
    assert_eq!(page[0].id, letters[1].id);
    assert_eq!(
        (page[0].body.as_slice(), &page[0].headers),
        (&[0u8, 255][..], &letters[1].headers)
    );
    assert_eq!(page[0].reason, "a \u{fffd} in it");
    let events = DeadLetterFilter {
        queue: Some("events".to_owned()),
        ..all.clone()
    };
    assert_eq!(list(&events, waiting).await.len(), 2);
    let newer = |version| DeadLetterFilter {
        cause: Some(DeadCause::Newer),
        before_version: Some(version),
        ..all.clone()
    };
    assert_eq!(list(&newer(1), waiting).await, []);
    assert_eq!(list(&newer(2), waiting).await, [letters[2].id]);
    let oldest_first = store
        .dead_letters_to_resolve(&events, None, 100)
        .await
        .unwrap();
    assert_eq!(oldest_first[0].id, letters[1].id);
    let resolve =
        |id| store.resolve_dead_letter(id, DeadLetterState::Replayed, "ada", "T-1", at(50));
    assert!(resolve(letters[1].id).await.unwrap());
    assert!(!resolve(letters[1].id).await.unwrap());
    assert_eq!(
        list(&events, DeadLetterState::Replayed).await,
        [letters[1].id]
    );
    assert_eq!(store.dead_letters_waiting(None).await.unwrap(), 2);
    // It dies again, by the broker's hand, and looks the same.
    store.keep_dead_letter(&letters[1]).await.unwrap();
    assert_eq!(store.dead_letters_waiting(None).await.unwrap(), 3);
    resolve(letters[1].id).await.unwrap();
    assert_eq!(store.forget_dead_letters(at(50), 10).await.unwrap().rows, 0);
    assert_eq!(store.forget_dead_letters(at(51), 10).await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_job_is_set_aside_with_its_message() {
    let world = World::new().await;
    let id = world.bulk(0, 0..2).await;
    let jobs = world.claim_all().await;
    for (number, job) in (0..).zip(&jobs) {
        world
            .store
            .keep_dead_letter(&of_job(number, job))
            .await
            .unwrap();
        assert_eq!(world.job(job).await.waiting, "set_aside");
    }
    assert_eq!(world.store.dead_letters_waiting(Some(id)).await.unwrap(), 2);
    assert!(
        world.claim_all_at(1_000_000).await.is_empty(),
        "neither published again nor overdue"
    );
    // One is taken up again, the other given up.
    assert!(
        world
            .store
            .take_up_again(jobs[0].id, at(100))
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .take_up_again(jobs[0].id, at(100))
            .await
            .unwrap()
    );
    let again = world.claim_all_at(101).await;
    assert_eq!(again[0].id, jobs[0].id);
    world
        .apply_at(&[result(&again[0], Reading::Seen(author()))], 102)
        .await;
    let delivery = world.store.set_aside(jobs[1].id).await.unwrap().unwrap();
    assert_eq!(delivery, jobs[1].delivery);
    world
        .apply_at(&[result(&jobs[1], Reading::GaveUp(Reason::Discarded))], 103)
        .await;
    assert_eq!(world.outcome(&jobs[1]).await, Some(Outcome::Failed));
    assert_eq!(world.store.set_aside(jobs[1].id).await.unwrap(), None);
    assert_eq!(world.operation(id).await.state, OperationState::Done);
}

/// The message was a repeat: its job has gone on.
#[tokio::test]
async fn a_job_that_has_ended_or_waits_stays_as_it_is() {
    let world = World::new().await;
    world.bulk(0, 0..2).await;
    let jobs = world.claim_all().await;
    world
        .apply(&[result(&jobs[0], Reading::Seen(author()))])
        .await;
    world.apply(&[result(&jobs[1], Reading::NotReady)]).await;
    for (number, job) in (0..).zip(&jobs) {
        world
            .store
            .keep_dead_letter(&of_job(number, job))
            .await
            .unwrap();
    }
    assert_eq!(world.outcome(&jobs[0]).await, Some(Outcome::Unchanged));
    assert_eq!(world.job(&jobs[1]).await.waiting, "parked");
}
