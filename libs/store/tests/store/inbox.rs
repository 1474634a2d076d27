use calgrant_domain::{
    DelegationSpec, EventKind, EventMoment, EventVerdict, Lane, OperationId, Policy, Reading,
    event::CALLER,
};
use calgrant_store::{EventDecision, IncomingEvent, NewOperation, StoreError};
use calgrant_testkit::sample;

use crate::world::{World, at, author, result};

fn event(id: &str, kind: EventKind, number: u32, seconds: u64) -> IncomingEvent {
    IncomingEvent {
        moment: EventMoment {
            at: at(seconds),
            kind,
            source: "/identity".to_owned(),
            id: id.to_owned(),
        },
        tenant: "uni".parse().unwrap(),
        address: Some(format!("person-{number}@example.org").parse().unwrap()),
        mailbox: None,
        delegation: None,
        approved: false,
    }
}

impl World {
    async fn accept_event(&self, event: &IncomingEvent, seconds: u64) -> EventDecision {
        self.store.accept_event(event, at(seconds)).await.unwrap()
    }

    async fn finish_event(&self, event: &IncomingEvent, operations: &[OperationId]) -> bool {
        let EventMoment { source, id, .. } = &event.moment;
        self.store
            .finish_event(source, id, operations)
            .await
            .unwrap()
    }

    async fn verdict(&self, event: &IncomingEvent, seconds: u64) -> EventVerdict {
        self.accept_event(event, seconds).await.verdict
    }

    /// An accepted operation of a delegation that is kept.
    async fn kept(&self, seconds: u64) -> NewOperation {
        let mut new = sample::operation("uni", Lane::Interactive, at(seconds));
        let spec = &mut new.new_delegation.as_mut().unwrap().spec;
        *spec = DelegationSpec {
            policy: Policy::Keep,
            ..spec.clone()
        };
        self.store.accept(&new).await.unwrap();
        new
    }
}

#[tokio::test]
async fn an_event_is_acted_on_once_and_older_ones_are_not() {
    let world = World::new().await;
    let kept = world.kept(0).await;
    let joined = event("1", EventKind::Joined, 1, 10);
    let decided = world.accept_event(&joined, 100).await;
    assert_eq!(decided.verdict, EventVerdict::Act);
    assert_eq!(decided.delegations, [kept.delegation]);
    assert_eq!(decided.address.as_deref(), Some("person-1@example.org"));
    // Somebody acts on it.
    assert_eq!(world.verdict(&joined, 101).await, EventVerdict::Wait);
    assert_eq!(
        world
            .verdict(&event("2", EventKind::Moved, 1, 20), 101)
            .await,
        EventVerdict::Wait
    );
    assert_eq!(
        world
            .verdict(&event("0", EventKind::Joined, 1, 5), 101)
            .await,
        EventVerdict::Older
    );
    assert!(!world.finish_event(&joined, &[kept.id]).await);
    assert_eq!(world.verdict(&joined, 102).await, EventVerdict::Repeat);
    assert_eq!(
        world
            .verdict(&event("0", EventKind::Joined, 1, 5), 102)
            .await,
        EventVerdict::Repeat
    );
    // Somebody else's are no matter.
    assert_eq!(
        world
            .verdict(&event("3", EventKind::Joined, 2, 5), 102)
            .await,
        EventVerdict::Act
    );
    let left = world
        .accept_event(&event("4", EventKind::Left, 1, 30), 103)
        .await;
    assert_eq!(
        (left.verdict, left.overruled),
        (EventVerdict::Act, vec![kept.id])
    );
}

#[tokio::test]
async fn one_who_stops_in_the_middle_is_taken_over_or_overtaken() {
    let world = World::new().await;
    let kept = world.kept(0).await;
    let joined = event("1", EventKind::Joined, 1, 10);
    assert_eq!(world.verdict(&joined, 100).await, EventVerdict::Act);
    let under_its_id = NewOperation {
        request_id: joined.moment.request_id(kept.delegation),
        caller: CALLER.to_owned(),
        new_delegation: None,
        delegation: kept.delegation,
        ..sample::operation("uni", Lane::Interactive, at(100))
    };
    world.store.accept(&under_its_id).await.unwrap();
    // The one who acted is gone; it comes again, and then it is not its own operation that it overrules.
    let again = world.accept_event(&joined, 131).await;
    assert_eq!(
        (again.verdict, again.overruled),
        (EventVerdict::Act, vec![])
    );
    let left = event("2", EventKind::Left, 1, 20);
    assert_eq!(world.verdict(&left, 132).await, EventVerdict::Wait);
    let left = world.accept_event(&left, 170).await;
    assert_eq!(
        (left.verdict, left.overruled),
        (EventVerdict::Act, vec![under_its_id.id])
    );
    // The slow one learns that it was overtaken, and what it did is not forgotten.
    assert!(world.finish_event(&joined, &[under_its_id.id]).await);
    assert_eq!(world.verdict(&joined, 171).await, EventVerdict::Repeat);
    let back = world
        .accept_event(&event("3", EventKind::Joined, 1, 30), 210)
        .await;
    assert_eq!(
        (back.verdict, back.overruled),
        (EventVerdict::Act, vec![under_its_id.id])
    );
}

#[tokio::test]
async fn names_of_one_mailbox_are_one_mailbox() {
    let world = World::new().await;
    world.bulk(0, 0..3).await;
    let by_address = event("1", EventKind::Moved, 1, 10);
    assert_eq!(world.verdict(&by_address, 100).await, EventVerdict::Act);
    world.finish_event(&by_address, &[]).await;
    let mut by_alias = event("2", EventKind::Joined, 1, 5);
    by_alias.address = Some("p1@alias.example.org".parse().unwrap());
    assert_eq!(world.verdict(&by_alias, 101).await, EventVerdict::Older);
    // By an address that was not known to be of the same mailbox then.
    let unknown = event("5", EventKind::Moved, 7, 10);
    assert_eq!(world.verdict(&unknown, 101).await, EventVerdict::Act);
    world.finish_event(&unknown, &[]).await;
    world.bulk(20, 7..8).await;
    let mut by_alias = event("6", EventKind::Joined, 7, 5);
    by_alias.address = Some("p7@alias.example.org".parse().unwrap());
    assert_eq!(world.verdict(&by_alias, 102).await, EventVerdict::Older);
    let mut by_key = event("3", EventKind::Joined, 1, 20);
    (by_key.address, by_key.mailbox) = (None, Some(sample::mailbox_id(1)));
    let decided = world.accept_event(&by_key, 102).await;
    assert_eq!(decided.address.as_deref(), Some("person-1@example.org"));
    by_key.mailbox = Some(sample::mailbox_id(99));
    by_key.moment.id = "4".to_owned();
    assert_eq!(world.accept_event(&by_key, 103).await.address, None);
}

#[tokio::test]
async fn leavers_concern_what_was_granted_and_named_delegations_must_be_there() {
    let world = World::new().await;
    let id = world.bulk(0, 0..3).await;
    let jobs = world.claim_all().await;
    let results: Vec<_> = jobs
        .iter()
        .map(|job| result(job, Reading::Seen(author())))
        .collect();
    world.apply(&results).await;
    let granted_by = world.operation(id).await.delegation.unwrap();
    let left = world
        .accept_event(&event("1", EventKind::Left, 1, 10), 100)
        .await;
    assert_eq!(left.delegations, [granted_by]);
    let joined = world
        .accept_event(&event("2", EventKind::Joined, 2, 10), 100)
        .await;
    assert_eq!(joined.delegations, []);
    let mut named = event("3", EventKind::Joined, 2, 20);
    named.delegation = Some(granted_by);
    world
        .finish_event(&event("2", EventKind::Joined, 2, 10), &[])
        .await;
    assert_eq!(
        world.accept_event(&named, 101).await.delegations,
        [granted_by]
    );
    named.moment.id = "4".to_owned();
    named.moment.at = at(30);
    named.delegation = Some(calgrant_domain::DelegationId::from_uuid(uuid::Uuid::nil()));
    world
        .finish_event(&event("3", EventKind::Joined, 2, 20), &[])
        .await;
    let refused = world.store.accept_event(&named, at(102)).await;
    assert!(
        matches!(refused, Err(StoreError::NotFound("delegation"))),
        "{refused:?}"
    );
    named.tenant = "nobody".parse().unwrap();
    let refused = world.store.accept_event(&named, at(102)).await;
    assert!(
        matches!(refused, Err(StoreError::NotFound("tenant"))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn too_many_leavers_at_once_wait_for_a_person() {
    let world = World::new().await;
    for number in 0..50 {
        let left = event(&format!("L{number}"), EventKind::Left, number, 10);
        assert_eq!(world.verdict(&left, 100).await, EventVerdict::Act);
    }
    let mut one_more = event("L50", EventKind::Left, 50, 10);
    let held = world.accept_event(&one_more, 101).await;
    assert_eq!((held.verdict, held.leavers), (EventVerdict::Brake, 51));
    // Nothing is remembered of it: it is decided when it comes again.
    assert_eq!(
        world
            .verdict(&event("J", EventKind::Joined, 50, 5), 101)
            .await,
        EventVerdict::Act
    );
    world
        .finish_event(&event("J", EventKind::Joined, 50, 5), &[])
        .await;
    one_more.approved = true;
    assert_eq!(world.verdict(&one_more, 102).await, EventVerdict::Act);
    one_more.approved = false;
    assert_eq!(
        world.verdict(&one_more, 140).await,
        EventVerdict::Act,
        "begun already"
    );
    let later = event("L51", EventKind::Left, 51, 10);
    assert_eq!(world.verdict(&later, 103).await, EventVerdict::Brake);
    assert_eq!(world.verdict(&later, 3800).await, EventVerdict::Act);
}

#[tokio::test]
async fn what_is_old_is_forgotten() {
    let world = World::new().await;
    let joined = event("1", EventKind::Joined, 1, 10);
    world.verdict(&joined, 100).await;
    assert_eq!(
        world.store.forget_events(at(200), 10).await.unwrap().rows,
        0,
        "nobody finished it"
    );
    world.finish_event(&joined, &[]).await;
    assert_eq!(
        world.store.forget_events(at(100), 10).await.unwrap().rows,
        0
    );
    assert_eq!(
        world.store.forget_events(at(200), 10).await.unwrap().rows,
        1
    );
    assert_eq!(world.verdict(&joined, 300).await, EventVerdict::Act);
}
