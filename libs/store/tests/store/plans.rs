//! What statements read, where statistics are of a time when there was nothing to do.

use calgrant_domain::{JobId, Observed, Reading};
use calgrant_testkit::eventually;

use crate::world::{World, at, author, result};

/// Jobs that wait.
const READY: u32 = 10_000;
/// Entries of indexes that may be read for each job that something is done with: some look-ups. All that waits is many more.
const EACH: u64 = 40;

#[tokio::test]
async fn what_is_done_with_some_jobs_does_not_read_all_that_wait() {
    let world = World::new().await;
    world.bulk(0, 0..500).await;
    let seen = world.claim_all().await;
    let seen = seen.iter().map(|job| result(job, Reading::Seen(author())));
    world.apply(&seen.collect::<Vec<_>>()).await;
    let client = world.database.client().await;
    client.batch_execute("VACUUM (ANALYZE) job").await.unwrap();
    let waiting = world.bulk(1, 500..500 + READY).await;

    let mut done = 0;
    for seconds in [20, 21] {
        let claimed = world.claim_at(300, 1000, seconds).await;
        let jobs: Vec<JobId> = claimed.iter().map(|ready| ready.job.id).collect();
        assert_eq!(jobs.len(), 300);
        assert!(!world.store.ended(&jobs).await.unwrap().contains(&true));
        world.store.give_back(&jobs[..100]).await.unwrap();
        for job in &jobs[100..150] {
            world.begin(*job, Observed::Absent).await.unwrap();
        }
        let wrote = claimed[100..150].iter();
        let wrote = wrote.map(|ready| result(&ready.job, Reading::Wrote(author())));
        world.apply(&wrote.collect::<Vec<_>>()).await;
        done += 300 + 300 + 100 + 50 + 50;
    }
    let outstanding = world.store.jobs(waiting, &[], true, None, 200).await;
    done += outstanding.unwrap().len() as u64;
    world.store.cancel(waiting, at(50)).await.unwrap();
    done += u64::from(READY);

    let read = entries_read(world, &client).await;
    assert!(read < EACH * done, "{read} entries for {done} jobs");
}

/// How many entries of indexes of jobs were read, said when whoever read them has gone.
async fn entries_read(world: World, client: &tokio_postgres::Client) -> u64 {
    let World { database, store } = world;
    drop(store);
    let others = "SELECT count(*) AS others FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    eventually("nobody else is connected", async || {
        client
            .query_one(others, &[])
            .await
            .unwrap()
            .get::<_, i64>("others")
            == 0
    })
    .await;
    let sql = "SELECT sum(idx_tup_read)::bigint AS entries FROM pg_stat_user_indexes WHERE relname = 'job'";
    let read: i64 = client.query_one(sql, &[]).await.unwrap().get("entries");
    drop(database);
    u64::try_from(read).unwrap()
}
