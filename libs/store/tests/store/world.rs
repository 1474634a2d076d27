//! What these tests begin with: a database, the tenant `uni`, a clock that is set by hand.

use std::{ops::Range, time::Duration};

use calgrant_domain::{
    AccessRole, Begin, BeginRefusal, Counts, Detail, Job, JobId, Lane, Observed, OperationId,
    Outcome, Reading, reading::Report,
};
use calgrant_store::{Applied, JobView, OperationView, ReadyJob, ReportedResult, Store};
use calgrant_testkit::{Database, sample};
use time::OffsetDateTime;

/// Acceptance of the first operation; everything else is so many seconds later.
pub(crate) fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// Under which these tests claim.
pub(crate) const CLAIM: uuid::Uuid = uuid::Uuid::from_u128(7);

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) store: Store,
}

pub(crate) fn author() -> Observed {
    Observed::Present(AccessRole::AUTHOR.rights())
}

pub(crate) fn rights(raw: &str) -> Observed {
    Observed::Present(raw.parse().unwrap())
}

/// A result of a job as it was handed out.
pub(crate) fn result(job: &Job, reading: Reading) -> ReportedResult {
    ReportedResult {
        job: job.id,
        operation: job.operation,
        delivery: job.delivery,
        report: Some(Report {
            reading,
            detail: Detail::default(),
        }),
        calendar: None,
        account: "sa-1".to_owned(),
        calls: 2,
        read_at: at(30),
    }
}

/// Says that no worker took it.
pub(crate) fn returned(job: &Job) -> ReportedResult {
    ReportedResult {
        report: None,
        calls: 0,
        account: String::new(),
        ..result(job, Reading::Retry)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::new().await;
        let store = database.store();
        let world = Self { database, store };
        world.tenant("uni").await;
        world
    }

    pub(crate) async fn tenant(&self, name: &str) {
        self.store
            .apply_tenant(&sample::tenant(name), "", "1", at(0))
            .await
            .unwrap();
    }

    /// A running operation of `uni` on these mailboxes, accepted so many seconds later.
    pub(crate) async fn running(
        &self,
        lane: Lane,
        seconds: u64,
        mailboxes: Range<u32>,
    ) -> OperationId {
        let new = sample::operation("uni", lane, at(seconds));
        sample::listed_operation(&self.store, &new, mailboxes).await
    }

    pub(crate) async fn bulk(&self, seconds: u64, mailboxes: Range<u32>) -> OperationId {
        self.running(Lane::Bulk, seconds, mailboxes).await
    }

    pub(crate) async fn claim(&self, limit: u32, window: u32) -> Vec<ReadyJob> {
        self.claim_at(limit, window, 20).await
    }

    pub(crate) async fn claim_at(&self, limit: u32, window: u32, seconds: u64) -> Vec<ReadyJob> {
        self.store
            .claim_ready(limit, window, CLAIM, at(seconds))
            .await
            .unwrap()
    }

    /// Everything that is ready, as jobs.
    pub(crate) async fn claim_all(&self) -> Vec<Job> {
        self.claim_all_at(20).await
    }

    pub(crate) async fn claim_all_at(&self, seconds: u64) -> Vec<Job> {
        let claimed = self.claim_at(10_000, 10_000, seconds).await;
        claimed.into_iter().map(|ready| ready.job).collect()
    }

    pub(crate) async fn begin(
        &self,
        job: JobId,
        before: Observed,
    ) -> Result<Observed, BeginRefusal> {
        let asked = [Begin { job, before }];
        self.store
            .begin(&asked, at(25))
            .await
            .unwrap()
            .pop()
            .unwrap()
    }

    pub(crate) async fn apply(&self, results: &[ReportedResult]) -> Vec<Applied> {
        self.apply_at(results, 40).await
    }

    pub(crate) async fn apply_at(&self, results: &[ReportedResult], seconds: u64) -> Vec<Applied> {
        self.store.apply(results, 0.5, at(seconds)).await.unwrap()
    }

    /// Writes for it as a worker does that finds no entry.
    pub(crate) async fn grant(&self, job: &Job) {
        self.begin(job.id, Observed::Absent).await.unwrap();
        self.apply(&[result(job, Reading::Wrote(author()))]).await;
    }

    pub(crate) async fn operation(&self, id: OperationId) -> OperationView {
        self.store.operation(id).await.unwrap().unwrap()
    }

    pub(crate) async fn counts(&self, id: OperationId) -> Counts {
        self.operation(id).await.counts
    }

    pub(crate) async fn jobs(&self, id: OperationId) -> Vec<JobView> {
        self.store
            .jobs(id, &[], false, None, 100_000)
            .await
            .unwrap()
    }

    pub(crate) async fn job(&self, job: &Job) -> JobView {
        let all = self.jobs(job.operation).await;
        all.into_iter().find(|view| view.id == job.id).unwrap()
    }

    pub(crate) async fn outcome(&self, job: &Job) -> Option<Outcome> {
        self.job(job).await.outcome
    }
}
