//! `accepted = outstanding + outcomes`, in every snapshot, whatever happens in whatever order.

use std::collections::BTreeMap;

use calgrant_domain::{
    Begin, Counts, Job, Lane, Observed, OperationId, OperationState, Outcome, Reading, Reason,
};
use calgrant_store::{NewOperation, ReportedResult, StoreError};
use calgrant_testkit::sample::{self, HOLD, PLANNER};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::world::{World, at, author, result, returned, rights};

/// Operations of a case, and mailboxes that each of them is about.
const OPERATIONS: usize = 3;
const MAILBOXES: u32 = 8;

/// One thing that happens. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Record { operation: usize, from: u32 },
    Finish { operation: usize, fails: bool },
    Claim { limit: u32 },
    Begin { jobs: Vec<usize> },
    Apply { results: Vec<(usize, usize)> },
    Cancel { operation: usize },
    Overdue,
    Tomorrow,
}

fn step() -> impl Strategy<Value = Step> {
    let operation = 0..OPERATIONS;
    let jobs = prop::collection::vec(any::<prop::sample::Index>(), 1..5)
        .prop_map(|jobs| jobs.into_iter().map(|job| job.index(1000)).collect());
    let results = prop::collection::vec((0..1000usize, 0..READINGS), 1..6);
    prop_oneof![
        4 => (operation.clone(), 0..MAILBOXES).prop_map(|(operation, from)| Step::Record { operation, from }),
        1 => (operation.clone(), any::<bool>()).prop_map(|(operation, fails)| Step::Finish { operation, fails }),
        4 => (1..8u32).prop_map(|limit| Step::Claim { limit }),
        4 => jobs.prop_map(|jobs| Step::Begin { jobs }),
        6 => results.prop_map(|results| Step::Apply { results }),
        1 => operation.prop_map(|operation| Step::Cancel { operation }),
        1 => Just(Step::Overdue),
        1 => Just(Step::Tomorrow),
    ]
}

const READINGS: usize = 9;

fn reported(job: &Job, reading: usize) -> ReportedResult {
    match reading {
        0 => returned(job),
        1 => result(job, Reading::Retry),
        2 => result(job, Reading::NotReady),
        3 => result(job, Reading::Later(std::time::Duration::from_secs(5))),
        4 => result(job, Reading::Seen(Observed::Absent)),
        5 => result(job, Reading::Seen(author())),
        6 => result(job, Reading::Wrote(author())),
        7 => result(job, Reading::Wrote(rights("Owner"))),
        _ => result(job, Reading::GaveUp(Reason::NoCalendar)),
    }
}

struct Case {
    world: World,
    operations: Vec<OperationId>,
    handed_out: Vec<Job>,
    seconds: u64,
    ended: BTreeMap<(OperationId, calgrant_domain::JobId), Outcome>,
}

impl Case {
    async fn new() -> Self {
        let world = World::new().await;
        let mut operations = Vec::new();
        for number in 0..OPERATIONS {
            let new = NewOperation {
                validate_only: number == 2,
                ..sample::operation("uni", Lane::Bulk, at(number as u64))
            };
            world.store.accept(&new).await.unwrap();
            world
                .store
                .claim_listing(PLANNER, HOLD * 1_000_000, new.at)
                .await
                .unwrap();
            operations.push(new.id);
        }
        Self {
            world,
            operations,
            handed_out: Vec::new(),
            seconds: 20,
            ended: BTreeMap::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        self.seconds += 1;
        let now = at(self.seconds);
        let store = &self.world.store;
        let lost_is_fine = |answer: Result<(), StoreError>| match answer {
            Ok(()) | Err(StoreError::ClaimLost) => {}
            Err(unexpected) => panic!("{unexpected}"),
        };
        match step {
            Step::Record { operation, from } => {
                let page =
                    (*from..(from + 3).min(MAILBOXES))
                        .map(sample::listed)
                        .map(|mut listed| {
                            if listed.id == sample::mailbox_id(5) {
                                listed.what = Err(Reason::Unlicensed);
                            }
                            listed
                        });
                let page = sample::page(page.collect());
                let id = self.operations[*operation];
                lost_is_fine(store.record_jobs(id, PLANNER, HOLD, &page, now).await);
            }
            Step::Finish { operation, fails } => {
                let failure = (calgrant_domain::OperationFailure::ReaderRefused, "refused");
                let id = self.operations[*operation];
                let failure = fails.then_some(failure);
                lost_is_fine(store.finish_listing(id, PLANNER, failure, now).await);
            }
            Step::Claim { limit } => {
                let claimed = store
                    .claim_ready(*limit, 6, uuid::Uuid::new_v4(), now)
                    .await
                    .unwrap();
                self.handed_out
                    .extend(claimed.into_iter().map(|ready| ready.job));
            }
            Step::Begin { jobs } if !self.handed_out.is_empty() => {
                let begins: Vec<_> = jobs
                    .iter()
                    .map(|job| Begin {
                        job: self.handed_out[job % self.handed_out.len()].id,
                        before: Observed::Absent,
                    })
                    .collect();
                store.begin(&begins, now).await.unwrap();
            }
            Step::Apply { results } if !self.handed_out.is_empty() => {
                let results: Vec<_> = results
                    .iter()
                    .map(|(job, reading)| {
                        reported(&self.handed_out[job % self.handed_out.len()], *reading)
                    })
                    .collect();
                store.apply(&results, 0.5, now).await.unwrap();
            }
            Step::Begin { .. } | Step::Apply { .. } => {}
            Step::Cancel { operation } => {
                store
                    .cancel(self.operations[*operation], now)
                    .await
                    .unwrap();
            }
            Step::Overdue => {
                let limit = std::time::Duration::from_secs(2);
                store.take_back_overdue(limit, now).await.unwrap();
            }
            Step::Tomorrow => self.seconds += 86_400,
        }
    }

    /// What must hold after each step.
    async fn check(&mut self) {
        let mut published = 0;
        for id in self.operations.clone() {
            let view = self.world.operation(id).await;
            let jobs = self.world.jobs(id).await;
            let mut counted = Counts::accepting(jobs.len() as u64);
            for job in &jobs {
                let Some(outcome) = job.outcome else {
                    assert_ne!(job.state, "ended");
                    published += usize::from(job.state == "published");
                    continue;
                };
                counted.add(outcome, 1);
                // The first terminal outcome stands.
                let first = *self.ended.entry((id, job.id)).or_insert(outcome);
                assert_eq!(first, outcome);
                if outcome == Outcome::Cancelled {
                    assert_eq!(job.before, None, "a job that had begun was cancelled");
                }
            }
            assert_eq!(view.counts, counted);
            assert_eq!(view.ended_at.is_some(), view.state.is_final());
            if view.state.is_final() || view.state == OperationState::Cancelling {
                let unbegun = jobs
                    .iter()
                    .filter(|job| job.outcome.is_none() && job.before.is_none());
                assert_eq!(unbegun.count(), 0);
            }
            assert!(!view.state.is_final() || view.counts.outstanding() == 0);
        }
        assert!(published <= 6, "{published} are published");
    }

    /// Every event is a snapshot too.
    async fn check_events(&self) {
        for id in &self.operations {
            let events = self.world.store.events(*id, 0, 1000).await.unwrap();
            for (event, number) in events.iter().zip(1..) {
                assert_eq!(event.sequence, number);
                assert!(event.counts.ended() <= event.counts.accepted);
            }
            let view = self.world.operation(*id).await;
            let last = events.last().unwrap();
            assert_eq!(
                (last.sequence, last.counts, last.state),
                (view.sequence, view.counts, view.state)
            );
            let ends = events.iter().filter(|event| event.state.is_final()).count();
            assert!(ends <= 1, "it ended {ends} times");
        }
    }
}

#[test]
fn counts_add_up_in_every_snapshot() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = proptest::test_runner::Config {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Default::default()
    };
    proptest::proptest!(config, |(steps in prop::collection::vec(step(), 10..60))| {
        runtime.block_on(async {
            let mut case = Case::new().await;
            for step in &steps {
                case.take(step).await;
                case.check().await;
            }
            case.check_events().await;
        });
    });
}
