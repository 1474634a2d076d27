use calgrant_domain::{Begin, BeginRefusal, Lane, Observed, OperationId, Outcome, Reading};
use calgrant_store::NewOperation;
use calgrant_testkit::sample::{self, listed_operation};

use crate::world::{World, at, author, result, rights};

#[tokio::test]
async fn a_repeat_hands_back_the_first_before_image_and_still_says_added() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    let job = world.claim_all().await.remove(0);
    assert_eq!(
        world.begin(job.id, Observed::Absent).await,
        Ok(Observed::Absent)
    );
    // The worker wrote and died; the next one sees what it wrote.
    assert_eq!(world.begin(job.id, author()).await, Ok(Observed::Absent));
    world.apply(&[result(&job, Reading::Seen(author()))]).await;
    assert_eq!(world.outcome(&job).await, Some(Outcome::Added));
    assert_eq!(world.job(&job).await.before, Some(Observed::Absent));
}

#[tokio::test]
async fn ended_cancelled_and_unknown_jobs_may_not_begin() {
    let world = World::new().await;
    let id = world.bulk(0, 0..3).await;
    let jobs = world.claim_all().await;
    world
        .apply(&[result(&jobs[0], Reading::Seen(author()))])
        .await;
    world.begin(jobs[1].id, Observed::Absent).await.unwrap();
    world.store.cancel(id, at(30)).await.unwrap();
    let begun: Vec<_> =
        futures::future::join_all(jobs.iter().map(|job| world.begin(job.id, Observed::Absent)))
            .await;
    let ended = Err(BeginRefusal::Ended);
    // What had begun may go on.
    assert_eq!(begun, [ended, Ok(Observed::Absent), ended]);
    let unknown = calgrant_domain::JobId::of(id, sample::mailbox_id(77));
    assert_eq!(world.begin(unknown, Observed::Absent).await, ended);
}

#[tokio::test]
async fn a_plan_never_begins() {
    let world = World::new().await;
    let new = NewOperation {
        validate_only: true,
        ..sample::operation("uni", Lane::Bulk, at(0))
    };
    listed_operation(&world.store, &new, 0..1).await;
    let job = world.claim_all().await.remove(0);
    assert_eq!(
        world.begin(job.id, Observed::Absent).await,
        Err(BeginRefusal::Ended)
    );
    world
        .apply(&[result(&job, Reading::Seen(rights("Reviewer")))])
        .await;
    assert_eq!(world.outcome(&job).await, Some(Outcome::Updated));
}

#[tokio::test]
async fn a_later_operation_wins_and_an_unsettled_write_is_waited_for() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    world.bulk(1, 0..1).await;
    let mut jobs = world.claim_all().await;
    jobs.sort_by_key(|job| job.operation);
    let (earlier, later) = (&jobs[0], &jobs[1]);
    // The earlier one begins: the later one waits until that is settled.
    world.begin(earlier.id, Observed::Absent).await.unwrap();
    assert_eq!(
        world.begin(later.id, Observed::Absent).await,
        Err(BeginRefusal::Unsettled)
    );
    world
        .apply(&[result(earlier, Reading::Wrote(author()))])
        .await;
    assert_eq!(world.begin(later.id, author()).await, Ok(author()));
    // Once the later one has begun, one before it may not any more: not while it writes, and not after.
    let third = world.bulk_before(later.operation, 0..1).await;
    assert_eq!(
        world.begin(third.id, author()).await,
        Err(BeginRefusal::Superseded)
    );
    world
        .apply(&[result(later, Reading::Wrote(author()))])
        .await;
    assert_eq!(
        world.begin(third.id, author()).await,
        Err(BeginRefusal::Superseded)
    );
}

#[tokio::test]
async fn what_was_read_before_the_last_write_was_settled_is_read_again() {
    let world = World::new().await;
    world.bulk(0, 0..1).await;
    world.bulk(1, 0..1).await;
    let mut jobs = world.claim_all().await;
    jobs.sort_by_key(|job| job.operation);
    let (earlier, later) = (&jobs[0], &jobs[1]);
    // Both have read the list; the earlier one begins, writes and is settled before the later one asks.
    world.begin(earlier.id, rights("Reviewer")).await.unwrap();
    world
        .apply(&[result(earlier, Reading::Wrote(author()))])
        .await;
    assert_eq!(
        world.begin(later.id, rights("Reviewer")).await,
        Err(BeginRefusal::Unsettled),
        "its before-image is what the earlier one has changed"
    );
    let waits = Reading::Later(std::time::Duration::ZERO);
    world.apply(&[result(later, waits)]).await;
    let again = world.claim_all_at(50).await.remove(0);
    // Handed out anew, whatever it reads is how things are now.
    assert_eq!(
        world.begin(again.id, rights("Editor")).await,
        Ok(rights("Editor"))
    );
}

impl World {
    /// The job of an operation that was accepted a millisecond before another, and is listed only now.
    async fn bulk_before(
        &self,
        other: OperationId,
        mailboxes: std::ops::Range<u32>,
    ) -> calgrant_domain::Job {
        let new = sample::operation(
            "uni",
            Lane::Bulk,
            at(1) - std::time::Duration::from_millis(1),
        );
        assert!(new.id < other);
        listed_operation(&self.store, &new, mailboxes).await;
        self.claim_all().await.remove(0)
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_and_decided_as_one_after_the_other() {
    let world = World::new().await;
    world.bulk(0, 0..3).await;
    world.bulk(1, 1..2).await;
    let mut jobs = world.claim_all().await;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    let before = |number: usize| {
        if number.is_multiple_of(2) {
            Observed::Absent
        } else {
            rights("Reviewer")
        }
    };
    let begins: Vec<_> = jobs
        .iter()
        .enumerate()
        .map(|(number, job)| Begin {
            job: job.id,
            before: before(number),
        })
        .collect();
    let doubled: Vec<_> = begins.iter().chain(&begins[..1]).cloned().collect();
    let answers = world.store.begin(&doubled, at(25)).await.unwrap();
    assert_eq!(answers.len(), 5);
    let same_mailbox = |number: usize| jobs[number].mailbox == sample::mailbox_id(1);
    let (mut granted, mut waiting) = (0, 0);
    for (number, answer) in answers.iter().take(4).enumerate() {
        match answer {
            Ok(first) => {
                assert_eq!(*first, before(number));
                granted += 1;
            }
            Err(refusal) => {
                assert_eq!(*refusal, BeginRefusal::Unsettled);
                assert!(same_mailbox(number));
                waiting += 1;
            }
        }
    }
    assert_eq!((granted, waiting), (3, 1));
    assert_eq!(answers[4], answers[0]);
    let again = world.store.begin(&begins, at(26)).await.unwrap();
    assert_eq!(again, answers[..4]);
}
