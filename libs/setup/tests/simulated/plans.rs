use calgrant_domain::{
    SiteKind, Step,
    setup::{SetupState, StepRecord, StepState},
};

use crate::world::World;

fn of(world: &World, step: Step) -> StepRecord {
    let known = world.journal.known();
    let found = known.into_iter().find(|(known, _)| *known == step);
    found.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_would_be_done_and_does_nothing() {
    for site in [SiteKind::Online, SiteKind::Onprem] {
        let mut world = World::new(site).await;
        world.planning = true;
        assert_eq!(world.finish().await, SetupState::Planned);
        for (step, command) in [
            (Step::User(1), "sa-mytt-exch-1@uni.example"),
            (Step::Group, "New-DistributionGroup"),
            (Step::Member(2), "Add-DistributionGroupMember"),
        ] {
            let record = of(&world, step);
            assert!(record.says.starts_with("would "), "{record:?}");
            assert!(record.script.contains(command), "{record:?}");
        }
        assert!(!world.has_user("sa-mytt-exch-1@uni.example").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_must_do_is_said_and_the_rest_is_done() {
    let mut world = World::new(SiteKind::Online).await;
    world.setting.spec.name = "taken-{n}@uni.example".parse().unwrap();
    assert_eq!(world.finish().await, SetupState::Blocked);
    let taken = of(&world, Step::User(1));
    assert_eq!(taken.state, StepState::Refused);
    assert!(taken.says.contains("was there before"), "{}", taken.says);
    assert_eq!(of(&world, Step::Group).state, StepState::Done);

    let mut world = World::new(SiteKind::Online).await;
    world.setting.spec.group = "students@uni.example".parse().unwrap();
    world.setting.spec.count = 3;
    assert_eq!(world.finish().await, SetupState::Blocked);
    assert!(of(&world, Step::Group).says.contains("distribution list"));
    assert!(of(&world, Step::Seats).says.contains("3 seats"));
}
