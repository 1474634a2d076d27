use calgrant_domain::{SetupAim, SiteKind, setup::SetupState};

use crate::{journal::Dies, world::World};

/// The process dies at every single write of the journal, in a world of its own each time, and another goes on.
async fn dies_everywhere(site: SiteKind, dies: Dies) {
    for write in 0.. {
        let world = World::new(site).await;
        world.journal.cut_at(write, dies);
        let state = world.finish().await;
        assert_eq!(state, SetupState::Done, "write {write}");
        world.is_whole().await;
        if world.journal.writes() <= write {
            assert!(write > 15, "only {write} writes");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn online_it_may_die_before_any_write() {
    dies_everywhere(SiteKind::Online, Dies::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn online_it_may_die_after_any_write() {
    dies_everywhere(SiteKind::Online, Dies::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_premises_it_may_die_before_any_write() {
    dies_everywhere(SiteKind::Onprem, Dies::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_premises_it_may_die_after_any_write() {
    dies_everywhere(SiteKind::Onprem, Dies::After).await;
}

/// It dies again and again: each life ends after one write more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_life_may_be_short() {
    let world = World::new(SiteKind::Online).await;
    for _ in 0..60 {
        world.journal.cut_at(1, Dies::After);
        let _died = world.go_on().await;
        world.journal.mend();
    }
    assert_eq!(world.finish().await, SetupState::Done);
    world.is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_goes_and_others_stay() {
    let mut world = World::new(SiteKind::Online).await;
    assert_eq!(world.finish().await, SetupState::Done);
    world.journal.forget_steps();
    world.aim = SetupAim::Remove(2);
    assert_eq!(world.finish().await, SetupState::Done);
    let hand = &world.administration;
    hand.sign_in().await.unwrap();
    let spec = &world.setting.spec;
    let gone = hand.user(&spec.name.of(2)).await.unwrap().unwrap();
    assert!(!gone.enabled && gone.licences.is_empty());
    let members = hand.members(&spec.group).await.unwrap();
    assert!(members.iter().all(|member| member.id != gone.id));
    assert_eq!(members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_is_another_one() {
    let mut world = World::new(SiteKind::Online).await;
    assert_eq!(world.finish().await, SetupState::Done);
    let name = world.setting.secret_name(1);
    let before = world.journal.sealed(&name);
    world.journal.forget_steps();
    world.aim = SetupAim::Rotate(1);
    world.journal.cut_at(3, Dies::Before);
    assert_eq!(world.finish().await, SetupState::Done);
    assert_ne!(world.journal.sealed(&name), before);
}
