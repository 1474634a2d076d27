//! What is forgotten when it is old, and what never is.

use calgrant_domain::{Lane, Observed, OperationKind, OperationState, Outcome, Reading, Reason};
use calgrant_store::{Accepted, Forgotten, NewBack, StoreError};
use calgrant_testkit::sample;

use crate::{
    taking_back::back,
    world::{World, at, author, result},
};

impl World {
    /// Looks through the history of what ended before so many seconds, in pieces of `limit`. Answers how many rows are gone.
    async fn history_gone(&self, seconds: u64, limit: u32) -> u64 {
        let mut gone = 0;
        loop {
            let piece = self.store.forget_history(at(seconds), limit).await.unwrap();
            gone += piece.rows;
            if !piece.more {
                return gone;
            }
        }
    }
}

#[tokio::test]
async fn ids_of_requests_go_piece_by_piece_and_then_mean_nothing() {
    let world = World::new().await;
    let mut all = Vec::new();
    for second in 0..5 {
        let new = sample::operation("uni", Lane::Bulk, at(second));
        world.store.accept(&new).await.unwrap();
        all.push(new);
    }
    let piece = |rows, more| Forgotten { rows, more };
    let forget = async |seconds| world.store.forget_requests(at(seconds), 2).await.unwrap();
    assert_eq!(forget(0).await, piece(0, false));
    assert_eq!(forget(3).await, piece(2, true));
    assert_eq!(forget(3).await, piece(1, false));
    // The fourth is as known as ever, the first is a new one.
    let again = world.store.accept(&all[3]).await.unwrap();
    assert!(matches!(again, Accepted::Known(id) if id == all[3].id));
    let mut first = sample::operation("uni", Lane::Bulk, at(9));
    first.request_id.clone_from(&all[0].request_id);
    let new = world.store.accept(&first).await.unwrap();
    assert!(matches!(new, Accepted::New(id) if id == first.id));
}

#[tokio::test]
async fn who_watches_learns_that_changes_are_gone() {
    let world = World::new().await;
    let id = world.bulk(0, 0..1).await;
    let running = world.bulk(1, 1..2).await;
    for job in world.claim_all().await {
        if job.operation == id {
            world.grant(&job).await;
        }
    }
    let ended = world.operation(id).await;
    assert_eq!(ended.state, OperationState::Done);
    let forget = async |seconds| world.store.forget_changes(at(seconds)).await.unwrap().rows;
    assert_eq!(forget(40).await, 0, "it ended then");
    assert_eq!(forget(41).await, ended.sequence);
    assert_eq!(forget(1000).await, 0, "the other one goes on");
    let events = |id, after| world.store.events(id, after, 100);
    for after in [0, ended.sequence - 1, ended.sequence + 1] {
        let refused = events(id, after).await;
        assert!(matches!(refused, Err(StoreError::Pruned)), "{refused:?}");
    }
    assert!(events(id, ended.sequence).await.unwrap().is_empty());
    assert!(!events(running, 0).await.unwrap().is_empty());
    let latest = world.operation(running).await.sequence;
    assert!(events(running, latest).await.unwrap().is_empty());
    let never = events(running, latest + 1).await;
    assert!(matches!(never, Err(StoreError::Pruned)), "{never:?}");
}

#[tokio::test]
async fn what_stands_keeps_what_it_rests_on_and_the_rest_goes() {
    let world = World::new().await;
    let (id, delegation) = world.given(0, 0..4).await;
    // One is taken away again.
    let revokes = world
        .listed(&NewBack {
            names: vec![sample::mailbox_id(1).to_string()],
            ..back(OperationKind::Revoke, delegation, 1)
        })
        .await;
    let job = world.only_job(revokes).await;
    world.begin(job.id, author()).await.unwrap();
    let removed = result(&job, Reading::Wrote(Observed::Absent));
    world.apply_at(&[removed], 70).await;
    // Of a later run one finds it as it was, one is refused: nothing stands by that alone.
    let later = world.bulk(80, 2..4).await;
    let mut jobs = world.claim_all_at(90).await;
    jobs.sort_by_key(|job| job.mailbox != sample::mailbox_id(2));
    let found = result(&jobs[0], Reading::Seen(author()));
    let gone = result(&jobs[1], Reading::GaveUp(Reason::NotFound));
    world.apply_at(&[found, gone], 95).await;
    // And a look at all of them.
    let looks = world
        .listed(&back(OperationKind::Verify, delegation, 96))
        .await;
    for job in world.claim_all_at(97).await {
        let seen = result(&job, Reading::Seen(author()));
        world.apply_at(&[seen], 98).await;
    }
    for (id, accepted) in [(id, 4), (revokes, 1), (later, 2), (looks, 3)] {
        let view = world.operation(id).await;
        assert_eq!(
            (view.state, view.counts.accepted),
            (OperationState::Done, accepted)
        );
    }
    world.store.cover().await.unwrap();

    assert_eq!(world.history_gone(40, 2).await, 0, "none ended before");
    // Of the first one job, of the later one the refusal; the others with all they had.
    assert_eq!(world.history_gone(1000, 2).await, 1 + 2 + 1 + 4);
    for gone in [revokes, looks] {
        assert!(world.store.operation(gone).await.unwrap().is_none());
        assert!(world.jobs(gone).await.is_empty());
    }
    let kept: Vec<_> = world.jobs(id).await.iter().map(|job| job.mailbox).collect();
    assert_eq!(kept.len(), 3);
    assert!(!kept.contains(&sample::mailbox_id(1)));
    let view = world.operation(id).await;
    assert_eq!((view.counts.accepted, view.forgotten), (4, 1));
    assert_eq!(world.operation(later).await.forgotten, 1);
    // Nothing is looked through again before some days are over, and then nothing more is found.
    assert_eq!(world.history_gone(1000, 2).await, 0);
    assert_eq!(world.history_gone(1000 + 8 * 86_400, 2).await, 0);
    assert_eq!(world.jobs(id).await.len(), 3);

    // What stands can still be undone by its before-image.
    let undoes = world
        .listed(&NewBack {
            undoes: Some(id),
            ..back(OperationKind::Undo, delegation, 2000)
        })
        .await;
    let mut undone = 0;
    for job in world.claim_all_at(2010).await {
        assert_eq!(job.operation, undoes);
        let refused = world.begin(job.id, author()).await;
        // The later run's delegation wants one of them too.
        if refused.is_ok() {
            let removed = result(&job, Reading::Wrote(Observed::Absent));
            world.apply_at(&[removed], 2020).await;
            assert_eq!(world.outcome(&job).await, Some(Outcome::Removed));
            undone += 1;
        }
    }
    assert_eq!(undone, 2);
}

#[tokio::test]
async fn several_processes_forget_at_the_same_time() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for second in 0..6 {
        ids.push(world.bulk(second, 0..20).await);
    }
    for job in world.claim_all().await {
        let gone = result(&job, Reading::GaveUp(Reason::NotFound));
        world.apply(&[gone]).await;
    }
    world.store.cover().await.unwrap();
    let other = world.database.store();
    let forget = async |store: &calgrant_store::Store| {
        let (mut rows, mut idle) = (0, 0);
        // One that finds everything locked has nothing to do for now.
        while idle < 20 {
            let piece = store.forget_history(at(1000), 7).await.unwrap();
            rows += piece.rows;
            idle = if piece.more { 0 } else { idle + 1 };
        }
        rows
    };
    let (one, two, changes) = futures::join!(
        forget(&world.store),
        forget(&other),
        world.store.forget_changes(at(1000))
    );
    changes.unwrap();
    assert_eq!(one + two, 6 * 21);
    for id in ids {
        assert!(world.store.operation(id).await.unwrap().is_none());
    }
}
