//! How fast the ledger is: records jobs, claims, begins and applies them in batches, and prints jobs per second of each
//! step. On the server that `DATABASE_URL` names: `cargo run --release -p calgrant-store --example pipeline [jobs]`.

use std::time::Duration;

use calgrant_domain::{Begin, Job, JobId, Lane, Observed, Reading, reading::Report};
use calgrant_store::{ReportedResult, Store};
use calgrant_testkit::{Database, sample};
use time::OffsetDateTime;

/// Results of one transaction, and begins of one call.
const BATCH: usize = 200;
/// Jobs of one claim.
const CLAIM: u32 = 1000;

#[tokio::main]
async fn main() {
    let jobs = std::env::args()
        .nth(1)
        .and_then(|raw| raw.parse().ok())
        .unwrap_or(100_000);
    let database = Database::new().await;
    let store = database.store();
    let at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    run(&store, jobs, at)
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
    database
        .client()
        .await
        .batch_execute("VACUUM ANALYZE job")
        .await
        .unwrap_or_else(|cause| panic!("{cause}"));
}

async fn run(
    store: &Store,
    jobs: u32,
    at: OffsetDateTime,
) -> Result<(), calgrant_store::StoreError> {
    store
        .apply_tenant(&sample::tenant("uni"), "", "1", at)
        .await?;
    let mut clock = Clock::default();
    let new = sample::operation("uni", Lane::Bulk, at);
    let operation = sample::listed_operation(store, &new, 0..jobs).await;
    clock.lap("record", jobs);

    let (mut claiming, mut beginning, mut applying) =
        (Clock::default(), Clock::default(), Clock::default());
    let mut done = 0;
    while done < jobs {
        claiming.start();
        let claimed = store
            .claim_ready(CLAIM, CLAIM, uuid::Uuid::new_v4(), at)
            .await?;
        claiming.stop();
        assert!(!claimed.is_empty(), "{done} of {jobs} were claimed");
        for batch in claimed.chunks(BATCH) {
            let begins: Vec<_> = batch.iter().map(|ready| begin(ready.job.id)).collect();
            beginning.start();
            let answers = store.begin(&begins, at).await?;
            beginning.stop();
            assert!(answers.iter().all(Result::is_ok), "a begin is refused");
            let results: Vec<_> = batch.iter().map(|ready| written(&ready.job, at)).collect();
            applying.start();
            store.apply(&results, 0.5, at).await?;
            applying.stop();
        }
        done += u32::try_from(claimed.len()).unwrap_or(u32::MAX);
    }
    claiming.say("claim", jobs);
    beginning.say("begin", jobs);
    applying.say("apply", jobs);
    beginning.spent += applying.spent;
    beginning.say("begin + apply", jobs);
    let view = store.operation(operation).await?;
    assert!(view.is_some_and(|view| view.counts.outstanding() == 0 && view.ended_at.is_some()));
    Ok(())
}

fn begin(job: JobId) -> Begin {
    Begin {
        job,
        before: Observed::Absent,
    }
}

fn written(job: &Job, at: OffsetDateTime) -> ReportedResult {
    let rights = calgrant_domain::AccessRole::AUTHOR.rights();
    ReportedResult {
        job: job.id,
        operation: job.operation,
        delivery: job.delivery,
        report: Some(Report {
            reading: Reading::Wrote(Observed::Present(rights)),
            detail: calgrant_domain::Detail::default(),
        }),
        calendar: Some(calgrant_domain::Calendar {
            folder_id: "AAMkADNkNmY".to_owned(),
            path: "\\Kalender".to_owned(),
        }),
        account: "sa-1".to_owned(),
        calls: 4,
        read_at: at,
    }
}

/// Adds up what a step took.
struct Clock {
    started: std::time::Instant,
    spent: Duration,
}

#[expect(
    clippy::disallowed_methods,
    reason = "it measures, and decides nothing by the time"
)]
impl Clock {
    fn start(&mut self) {
        self.started = std::time::Instant::now();
    }

    fn stop(&mut self) {
        self.spent += self.started.elapsed();
    }

    fn lap(&mut self, step: &str, jobs: u32) {
        self.stop();
        self.say(step, jobs);
    }

    fn say(&self, step: &str, jobs: u32) {
        let seconds = self.spent.as_secs_f64();
        println!(
            "{step}: {seconds:.2} s, {:.0} jobs/s",
            f64::from(jobs) / seconds
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it measures, and decides nothing by the time"
)]
impl Default for Clock {
    fn default() -> Self {
        Self {
            started: std::time::Instant::now(),
            spent: Duration::ZERO,
        }
    }
}
