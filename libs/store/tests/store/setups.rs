use std::time::Duration;

use calgrant_domain::{
    AlertKind, Credential, SecretRef, SetupAim, SetupId, SetupSpec, SiteKind, Step,
    setup::{ActionEnd, Last, ManagedParts, SetupState, StepRecord, StepState},
};
use calgrant_store::{ClaimedSetup, NewSetup, SetupRelease, StoreError};
use calgrant_testkit::sample;
use uuid::Uuid;

use crate::world::{World, at};

const HOLD: Duration = Duration::from_secs(60);

fn new(number: u128, request_id: &str) -> NewSetup {
    NewSetup {
        id: SetupId::new(at(1), Uuid::from_u128(number)),
        tenant: "uni".parse().unwrap(),
        site: SiteKind::Online,
        aim: SetupAim::Ensure,
        validate_only: false,
        by_caller: false,
        caller: "ann".to_owned(),
        request_id: request_id.to_owned(),
        canonical: "ensure".to_owned(),
        ticket: String::new(),
        at: at(1),
    }
}

fn record(state: StepState) -> StepRecord {
    StepRecord {
        state,
        says: "says".to_owned(),
        script: String::new(),
        did: vec!["make it".to_owned()],
        last: Some(Last {
            action: "create_user".to_owned(),
            end: ActionEnd::Unknown,
            at: at(2),
        }),
        since: Some(at(2)),
        not_before: Some(at(500)),
    }
}

async fn claim(world: &World, id: Option<SetupId>, second: u64) -> Option<ClaimedSetup> {
    let claimed = world
        .store
        .claim_setup(id, Uuid::new_v4(), HOLD, at(second))
        .await;
    claimed.unwrap()
}

fn ended(state: SetupState, second: u64) -> SetupRelease {
    SetupRelease {
        state,
        not_before: at(second),
        note: String::new(),
    }
}

#[tokio::test]
async fn a_site_has_one_at_a_time() {
    let world = World::new().await;
    let first = world.store.accept_setup(&new(1, "a")).await.unwrap();
    for again in [new(2, "a"), new(3, "b"), new(4, "")] {
        assert_eq!(world.store.accept_setup(&again).await.unwrap(), first);
    }
    let other = NewSetup {
        aim: SetupAim::Rotate(1),
        canonical: "rotate".to_owned(),
        ..new(5, "c")
    };
    let refused = world.store.accept_setup(&other).await;
    assert!(matches!(refused, Err(StoreError::SetupUnderWay(id)) if id == first));
    let reused = NewSetup {
        request_id: "a".to_owned(),
        ..other.clone()
    };
    let refused = world.store.accept_setup(&reused).await;
    assert!(matches!(refused, Err(StoreError::SetupRequestIdReused(id)) if id == first));
    let plan = NewSetup {
        validate_only: true,
        ..new(6, "")
    };
    assert_eq!(world.store.accept_setup(&plan).await.unwrap(), plan.id);
    world.store.cancel_setup(first, at(3)).await.unwrap();
    assert_eq!(world.store.accept_setup(&other).await.unwrap(), other.id);
    let all = world.store.setups(None, None, 10).await.unwrap();
    assert_eq!(all.len(), 3);
    let missing = world.store.cancel_setup(new(9, "").id, at(3)).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn many_ask_at_the_same_moment_and_one_is_accepted() {
    let world = World::new().await;
    let asks = (1..=8).map(|number| {
        let store = world.store.clone();
        async move { store.accept_setup(&new(number, "")).await.unwrap() }
    });
    let ids = futures::future::join_all(asks).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn whoever_has_the_claim_records_and_nobody_else() {
    let world = World::new().await;
    let id = world.store.accept_setup(&new(1, "")).await.unwrap();
    let first = claim(&world, None, 2).await.unwrap();
    assert_eq!(first.setup.id, id);
    assert!(claim(&world, None, 10).await.is_none(), "it is claimed");
    let steps = [
        (Step::User(1), record(StepState::Doing)),
        (Step::Group, StepRecord::due()),
    ];
    let store = &world.store;
    store
        .record_steps(id, first.claim, HOLD, &steps, at(20))
        .await
        .unwrap();
    assert!(claim(&world, None, 70).await.is_none(), "it was renewed");

    let second = claim(&world, None, 81).await.unwrap();
    let known: Vec<_> = second
        .setup
        .steps
        .iter()
        .map(|(step, record, _)| (*step, record.clone()))
        .collect();
    assert_eq!(known, steps);
    let late = store
        .record_steps(id, first.claim, HOLD, &steps[..1], at(82))
        .await;
    assert!(matches!(late, Err(StoreError::ClaimLost)));
    let waiting = ended(SetupState::Waiting, 500);
    let late = store.release_setup(id, first.claim, &waiting, at(82)).await;
    assert!(matches!(late, Err(StoreError::ClaimLost)));
    store
        .release_setup(id, second.claim, &waiting, at(82))
        .await
        .unwrap();
    assert!(claim(&world, None, 499).await.is_none(), "it isn't due");

    // Asked for again, it is due at once, and so is what waits.
    let steps = [(Step::User(1), record(StepState::Waiting))];
    let third = claim(&world, None, 500).await.unwrap();
    store
        .record_steps(id, third.claim, HOLD, &steps, at(501))
        .await
        .unwrap();
    store
        .release_setup(id, third.claim, &ended(SetupState::Waiting, 9999), at(502))
        .await
        .unwrap();
    let again = NewSetup {
        at: at(510),
        ..new(2, "")
    };
    assert_eq!(store.accept_setup(&again).await.unwrap(), id);
    let fourth = claim(&world, None, 511).await.unwrap();
    assert_eq!(fourth.setup.steps[0].1.not_before, None);
    store
        .release_setup(id, fourth.claim, &ended(SetupState::Done, 512), at(512))
        .await
        .unwrap();
    assert!(claim(&world, None, 9999).await.is_none());
    let view = store.setup(id).await.unwrap().unwrap();
    assert_eq!(
        (view.state, view.ended_at),
        (SetupState::Done, Some(at(512)))
    );
}

#[tokio::test]
async fn what_a_caller_carries_out_is_claimed_by_its_id_alone() {
    let world = World::new().await;
    let own = NewSetup {
        by_caller: true,
        ..new(1, "")
    };
    let id = world.store.accept_setup(&own).await.unwrap();
    assert!(claim(&world, None, 2).await.is_none());
    assert!(claim(&world, Some(id), 2).await.is_some());
}

#[tokio::test]
async fn a_sealed_secret_comes_into_effect_when_it_is_settled() {
    let world = World::new().await;
    let (store, by) = (&world.store, new(1, "").id);
    let name = "uni/online/sa-1@uni.example";
    let kept = store.sealed_secret(name).await.unwrap();
    assert!(kept.sealed.is_none() && kept.pending.is_none());
    for (offered, pending) in [(b"one", b"one"), (b"two", b"one")] {
        let answered = store.keep_sealed(name, offered, by, at(1)).await.unwrap();
        assert_eq!(answered, pending);
    }
    store.settle_sealed(name, at(2)).await.unwrap();
    store.settle_sealed(name, at(3)).await.unwrap();
    let kept = store.sealed_secret(name).await.unwrap();
    assert_eq!(kept.sealed.as_deref(), Some(b"one".as_slice()));
    assert_eq!((kept.made_by, &kept.pending), (Some(by), &None));
    let later = new(2, "").id;
    store.keep_sealed(name, b"two", later, at(4)).await.unwrap();
    let kept = store.sealed_secret(name).await.unwrap();
    assert_eq!(kept.sealed.as_deref(), Some(b"one".as_slice()));
    assert_eq!(kept.pending.as_deref(), Some(b"two".as_slice()));
    store.settle_sealed(name, at(5)).await.unwrap();
    assert_eq!(
        store.sealed_secret(name).await.unwrap().made_by,
        Some(later)
    );
}

#[tokio::test]
async fn a_person_is_told_thirty_days_before_a_password_expires() {
    let world = World::new().await;
    let store = &world.store;
    let mut tenant = sample::tenant("uni");
    tenant.sites[0].setup = Some(SetupSpec {
        count: 2,
        without: Vec::new(),
        name: "sa-{n}@uni.example".parse().unwrap(),
        display_name: "Service account {n}".to_owned(),
        usage_location: Some("NL".to_owned()),
        sku: Some("EXCHANGESTANDARD".to_owned()),
        organizational_unit: None,
        group: "delegates@uni.example".parse().unwrap(),
        group_name: "Delegates".to_owned(),
        group_owners: vec!["ann@uni.example".parse().unwrap()],
        managed: ManagedParts::default(),
        hand_over: None,
        password_days: Some(90),
    });
    store.apply_tenant(&tenant, "", "2", at(1)).await.unwrap();
    let name = "uni/online/sa-1@uni.example";
    let set = async |second: u64| {
        store
            .keep_sealed(name, b"x", new(1, "").id, at(second))
            .await
            .unwrap();
        store.settle_sealed(name, at(second)).await.unwrap();
    };
    let day = |day: u64| 100 + day * 86_400;
    set(day(0)).await;
    for (today, soon) in [(59, 0), (60, 1), (61, 1)] {
        assert_eq!(store.warn_of_expiry(at(day(today))).await.unwrap(), soon);
    }
    let open = async || store.alerts(None, None, false, None, 10).await.unwrap();
    let alerts = open().await;
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].text.contains("--account 1"), "{}", alerts[0].text);
    set(day(62)).await;
    assert_eq!(store.warn_of_expiry(at(day(62))).await.unwrap(), 0);
    assert!(open().await[0].ended_at.is_some());
}

#[tokio::test]
async fn what_waits_for_a_person_is_told_until_it_goes_on() {
    let world = World::new().await;
    let store = &world.store;
    let id = store.accept_setup(&new(1, "")).await.unwrap();
    let blocked = |note: &str| SetupRelease {
        note: note.to_owned(),
        ..ended(SetupState::Blocked, 2)
    };
    let released = async |release: SetupRelease, second: u64| {
        let claimed = claim(&world, None, second).await.unwrap();
        let steps = [
            (Step::User(1), record(StepState::Done)),
            (Step::Licence(1), record(StepState::Refused)),
            (Step::Group, record(StepState::Refused)),
        ];
        let claim = claimed.claim;
        store
            .record_steps(id, claim, HOLD, &steps, at(second))
            .await
            .unwrap();
        store
            .release_setup(id, claim, &release, at(second))
            .await
            .unwrap();
    };
    let alerts = async || store.alerts(None, None, true, None, 10).await.unwrap();
    released(blocked(""), 3).await;
    let raised = alerts().await;
    assert_eq!(raised.len(), 1);
    assert_eq!(
        (raised[0].kind, raised[0].subject.as_str()),
        (AlertKind::SetupBlocked, "set-up at online")
    );
    assert!(
        raised[0].text.contains("licence/1, group;"),
        "{}",
        raised[0].text
    );
    store
        .acknowledge(raised[0].id, "ann", "", at(4))
        .await
        .unwrap();
    // It is looked at again, and is as it was: whoever has seen it isn't told again.
    released(blocked(""), 400).await;
    let still = alerts().await;
    assert_eq!((still.len(), still[0].acknowledged_by.as_str()), (1, "ann"));
    // It can't even be begun: that is another matter.
    released(
        blocked("the site has no account with the purpose setup"),
        800,
    )
    .await;
    let other = alerts().await;
    assert_eq!((other.len(), other[0].acknowledged_by.as_str()), (1, ""));
    assert!(other[0].text.contains("purpose setup"));
    released(ended(SetupState::Running, 2), 1200).await;
    assert!(alerts().await[0].ended_at.is_some());
    released(blocked(""), 1600).await;
    store.cancel_setup(id, at(1700)).await.unwrap();
    let over = alerts().await;
    assert!(over.iter().all(|alert| alert.ended_at.is_some()));
    assert_eq!(over.len(), 2);
}

#[tokio::test]
async fn old_ones_go_but_for_the_last_that_was_carried_out() {
    let world = World::new().await;
    let store = &world.store;
    let plan = NewSetup {
        validate_only: true,
        ..new(9, "")
    };
    // Each as it is accepted, and as it ends a moment later.
    for (number, one, state) in [
        (1, new(1, ""), SetupState::Done),
        (2, new(2, ""), SetupState::Done),
        (3, new(3, ""), SetupState::Cancelled),
        (9, plan, SetupState::Planned),
    ] {
        let id = store.accept_setup(&one).await.unwrap();
        let claimed = claim(&world, Some(id), 10 * number).await.unwrap();
        let steps = [(Step::Group, record(StepState::Done))];
        let held = claimed.claim;
        store
            .record_steps(id, held, HOLD, &steps, at(10 * number))
            .await
            .unwrap();
        let release = ended(state, 0);
        store
            .release_setup(id, held, &release, at(10 * number))
            .await
            .unwrap();
    }
    let left = async || {
        let left = store.setups(None, None, 10).await.unwrap();
        left.iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let early = store.forget_setups(at(5), 10).await.unwrap();
    assert_eq!((early.rows, left().await.len()), (0, 4));
    assert_eq!(store.forget_setups(at(1000), 1).await.unwrap().rows, 1);
    assert_eq!(store.forget_setups(at(1000), 10).await.unwrap().rows, 1);
    assert_eq!(left().await, [new(3, "").id, new(2, "").id]);
    assert_eq!(store.forget_setups(at(1000), 10).await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_person_is_told_thirty_days_before_a_credential_expires() {
    let world = World::new().await;
    let store = &world.store;
    let mut tenant = sample::tenant("uni");
    let day = |day: u64| at(day * 86_400);
    let site = tenant.sites[0].kind();
    let mut with = tenant.sites[0].accounts[0].clone();
    let path = || SecretRef::File("certificate.pem".to_owned());
    with.name = "by-certificate".parse().unwrap();
    with.credential = Credential::Certificate {
        key: path(),
        certificate: path(),
    };
    tenant.sites[0].accounts.push(with);
    let account = &mut tenant.sites[0].accounts[0];
    let name = account.name.to_string();
    account.expires = Some(day(100).date());
    store.apply_tenant(&tenant, "", "2", at(1)).await.unwrap();
    let stored = store.tenant(&tenant.name).await.unwrap().unwrap();
    assert_eq!(stored.spec, tenant, "the day is kept");
    let open = async || {
        let all = store.alerts(None, None, true, None, 10).await.unwrap();
        let open = all.iter().filter(|alert| alert.ended_at.is_none());
        open.map(|alert| alert.text.clone()).collect::<Vec<_>>()
    };
    for (today, soon) in [(69, 0), (70, 1), (101, 1)] {
        assert_eq!(store.warn_of_credentials(day(today)).await.unwrap(), soon);
    }
    let told = open().await;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("{name} at {site}")), "{told:?}");
    // A later day is written: it is over.
    tenant.sites[0].accounts[0].expires = Some(day(500).date());
    store.apply_tenant(&tenant, "", "3", at(2)).await.unwrap();
    assert_eq!(store.warn_of_credentials(day(102)).await.unwrap(), 0);
    assert!(open().await.is_empty());
    // What a worker has read of a certificate counts where the account has one, and nowhere else.
    let read = async |account: &str, expires| {
        let site = site.as_str();
        store
            .certificate_expires("uni", site, account, expires)
            .await
            .unwrap();
    };
    let with = "by-certificate";
    read(with, Some(day(110))).await;
    read(&name, Some(day(110))).await;
    assert_eq!(store.warn_of_credentials(day(102)).await.unwrap(), 1);
    assert!(open().await[0].contains(&format!("certificate of {with}")));
    read(with, Some(day(900))).await;
    assert_eq!(store.warn_of_credentials(day(103)).await.unwrap(), 0);
    read(with, None).await;
    assert!(open().await.is_empty());
}
