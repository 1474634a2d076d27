use calgrant_bus::{Announcement, Queue};

use crate::{message, until_ready, vhost::Vhost};

fn announcement(key: &str, id: u32) -> Announcement {
    Announcement {
        key: key.to_owned(),
        message: message(id),
    }
}

#[tokio::test]
async fn a_queue_receives_what_it_is_bound_to() {
    let bus = Vhost::new().await;
    let events = Queue::events();
    let keys = ["uni.#".to_owned(), "*.left".to_owned()];
    bus.bind(&events, "identity", &keys).await.expect("bound");
    // Harmless to repeat.
    bus.bind(&events, "identity", &keys).await.expect("bound");
    let all = vec![
        announcement("uni.joined", 1),
        announcement("school.joined", 2),
        announcement("school.left", 3),
    ];
    let told = bus.publisher().announce("identity", all).await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    until_ready(&bus, &events, 2).await;
}

#[tokio::test]
async fn nobody_need_listen_and_the_route_is_made() {
    let bus = Vhost::new().await;
    let told = bus
        .publisher()
        .announce("access", vec![announcement("uni", 1)])
        .await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    bus.bind(&Queue::events(), "access", &["#".to_owned()])
        .await
        .expect("bound");
    let told = bus
        .publisher()
        .announce("access", vec![announcement("uni", 2)])
        .await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    until_ready(&bus, &Queue::events(), 1).await;
}
