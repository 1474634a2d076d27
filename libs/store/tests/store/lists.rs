use calgrant_domain::{Lane, ListId, Selector};
use calgrant_store::StoreError;
use calgrant_testkit::sample;
use uuid::Uuid;

use crate::world::{World, at};

type Part = Result<Vec<(u32, String)>, StoreError>;

fn lines(from: u32, to: u32) -> Vec<(u32, String)> {
    (from..to)
        .map(|line| (line, format!("person-{line}@example.org")))
        .collect()
}

async fn upload(
    world: &World,
    id: ListId,
    parts: Vec<Part>,
) -> Result<(u64, Vec<calgrant_store::Repeat>), StoreError> {
    let tenant = "uni".parse().unwrap();
    let parts = futures::stream::iter(parts);
    world.store.store_list(id, &tenant, parts, at(0)).await
}

fn id() -> ListId {
    ListId::new(at(0), Uuid::new_v4())
}

#[tokio::test]
async fn a_hundred_thousand_names_are_copied_in_and_read_in_pages() {
    let world = World::new().await;
    let id = id();
    let mut parts: Vec<Part> = (0..20)
        .map(|part| Ok(lines(part * 5000 + 1, part * 5000 + 5001)))
        .collect();
    // Two lines at the end say again what the first and the second said.
    parts.push(Ok(vec![
        (100_001, "person-2@example.org".to_owned()),
        (100_002, "person-1@example.org".to_owned()),
        (100_003, "person-2@example.org".to_owned()),
    ]));
    let (names, repeats) = upload(&world, id, parts).await.unwrap();
    assert_eq!(names, 100_000);
    let repeats: Vec<_> = repeats
        .iter()
        .map(|repeat| (repeat.line, repeat.first_line))
        .collect();
    assert_eq!(repeats, [(100_001, 2), (100_002, 1), (100_003, 2)]);
    let tenant = "uni".parse().unwrap();
    assert!(world.store.has_list(id, &tenant).await.unwrap());
    let mut after = 0;
    let mut read = 0;
    loop {
        let page = world.store.list_names(id, after, 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page[0].lines[0] > after);
        if after == 0 {
            assert_eq!(page[1].address.as_str(), "person-2@example.org");
            assert_eq!(page[1].lines, [2, 100_001, 100_003]);
        }
        after = last.lines[0];
        read += page.len();
    }
    assert_eq!(read, 100_000);
}

#[tokio::test]
async fn nothing_is_stored_of_an_upload_that_fails() {
    let world = World::new().await;
    let failing = id();
    let parts = vec![
        Ok(lines(1, 2000)),
        Err(StoreError::Refused("line 2000 is no address".to_owned())),
        Ok(lines(2001, 3000)),
    ];
    let refused = upload(&world, failing, parts).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(why)) if why.contains("2000")),
        "{refused:?}"
    );
    let tenant = "uni".parse().unwrap();
    assert!(!world.store.has_list(failing, &tenant).await.unwrap());
    let names = world.store.list_names(failing, 0, 10).await.unwrap();
    assert!(names.is_empty());
    // The connection it was on is as good as any: more uploads than there are connections.
    for _ in 0..20 {
        let stored = upload(&world, id(), vec![Ok(lines(1, 3))]).await.unwrap();
        assert_eq!(stored.0, 2);
    }
}

#[tokio::test]
async fn a_list_belongs_to_its_tenant() {
    let world = World::new().await;
    world.tenant("college").await;
    let id = id();
    upload(&world, id, vec![Ok(lines(1, 3))]).await.unwrap();
    let college = "college".parse().unwrap();
    assert!(!world.store.has_list(id, &college).await.unwrap());
    let nobody = "nobody".parse().unwrap();
    let none = futures::stream::iter(Vec::<Part>::new());
    let refused = world
        .store
        .store_list(id, &nobody, none, at(0))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::NotFound("tenant")));
}

#[tokio::test]
async fn a_list_that_a_delegation_names_is_kept_and_any_other_goes_when_it_is_old() {
    let world = World::new().await;
    let [named, unnamed] = [id(), id()];
    for list in [named, unnamed] {
        upload(&world, list, vec![Ok(lines(1, 11))]).await.unwrap();
    }
    let mut of_list = sample::operation("uni", Lane::Bulk, at(1));
    of_list.new_delegation.as_mut().unwrap().spec.selector = Selector::List(named);
    world.store.accept(&of_list).await.unwrap();

    let young = world.store.forget_list(at(0)).await.unwrap();
    assert_eq!((young.rows, young.more), (0, false));
    let old = world.store.forget_list(at(1)).await.unwrap();
    assert_eq!((old.rows, old.more), (11, true));
    assert!(!world.store.forget_list(at(1)).await.unwrap().more);
    let tenant = "uni".parse().unwrap();
    assert!(world.store.has_list(named, &tenant).await.unwrap());
    assert!(!world.store.has_list(unnamed, &tenant).await.unwrap());
    // Whoever names it now is told.
    let mut late = sample::operation("uni", Lane::Bulk, at(2));
    late.new_delegation.as_mut().unwrap().spec.selector = Selector::List(unnamed);
    let refused = world.store.accept(&late).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound("mailbox list")));
}
