//! One tenant's jobs: from its two queues to the shelves of its sites, and back when nobody takes them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use calgrant_bus::{Bus, Consumer, Queue};
use calgrant_contract::bus::{JobResult, UnreadableJob, VERSION, read_job};
use calgrant_domain::{
    AccountSpec, Detail, JobId, Lane, OperationId, Purpose, Reading, SiteKind, SiteSpec,
    TenantSpec, reading::Report,
};
use calgrant_leases::{Budgets, keys};
use calgrant_runtime::{clock, shutdown::Tasks, waiting};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    fleet::Fleet,
    ledger::{AccountKey, StatusLedger},
    only::Only,
    pool::{Held, Pool, Shared, in_hand, report},
    shelf::Shelf,
    suspects::Suspects,
};

/// How long a delivery waits for a permit before it is given back.
const HOLD: Duration = Duration::from_secs(60);
/// How long a job waits that was made for a newer worker.
const UPGRADE: Duration = Duration::from_secs(20);
/// Between looks for jobs that others moved to where they are tried alone. Whoever moves one looks at once; so does whoever starts.
const SUSPECTS: Duration = Duration::from_secs(600);

type Shelves = HashMap<SiteKind, Arc<Shelf<Held>>>;

/// The deliveries that a tenant's pools may hold: enough for what is in hand and for the next round after it, and no more.
#[must_use]
pub fn prefetch(tenant: &TenantSpec, only: &Only) -> u16 {
    let workers: u32 = accounts(tenant, only)
        .map(|(_, account)| account.workers)
        .sum();
    u16::try_from((4 * workers).clamp(20, 1000)).unwrap_or(1000)
}

/// Whether a tenant's queues can go on with those deliveries: what is in hand must have room.
#[must_use]
pub fn has_room(tenant: &TenantSpec, only: &Only, prefetch: u16) -> bool {
    let in_hand: usize = accounts(tenant, only)
        .map(|(_, account)| in_hand(account.workers))
        .sum();
    in_hand <= usize::from(prefetch) || prefetch >= 1000
}

/// The grantor accounts that are served here.
fn accounts<'a>(
    tenant: &'a TenantSpec,
    only: &'a Only,
) -> impl Iterator<Item = (&'a SiteSpec, &'a AccountSpec)> {
    let all = tenant
        .sites
        .iter()
        .flat_map(|site| site.accounts.iter().map(move |account| (site, account)));
    all.filter(move |(site, account)| {
        account.is(Purpose::Grantor) && only.serves(&key(tenant, site, account))
    })
}

fn key(tenant: &TenantSpec, site: &SiteSpec, account: &AccountSpec) -> AccountKey {
    AccountKey {
        tenant: tenant.name.clone(),
        site: site.kind(),
        account: account.name.clone(),
    }
}

/// Serves one tenant, or those of its accounts that `only` names, until `stop`.
pub async fn serve(
    tenant: TenantSpec,
    only: Only,
    ledger: StatusLedger,
    bus: Bus,
    fleet: watch::Receiver<Arc<Fleet>>,
    budgets: Budgets,
    stop: CancellationToken,
) {
    let tasks = Tasks::new(stop.clone());
    let served: Vec<_> = accounts(&tenant, &only).collect();
    if served.is_empty() {
        // Whoever can serve it shall have its deliveries.
        stop.cancelled().await;
        return;
    }
    let pools_of = |kind: SiteKind| {
        served
            .iter()
            .filter(|(site, _)| site.kind() == kind)
            .count()
    };
    let shelves: Arc<Shelves> = Arc::new(
        SiteKind::ALL
            .iter()
            .map(|site| (*site, Arc::new(Shelf::new(pools_of(*site)))))
            .collect(),
    );
    let mut pools = Vec::with_capacity(served.len());
    let mut numbers: HashMap<SiteKind, usize> = HashMap::new();
    for (site, account) in served {
        let shared = Shared {
            shelf: Arc::clone(&shelves[&site.kind()]),
            ledger: ledger.clone(),
            bus: bus.clone(),
            fleet: fleet.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let charged = keys::of_account(&tenant.name, site, account, keys::EXCHANGE);
        let Some(budget) = budgets.account(&charged) else {
            error!(account = %account.name, "the account has no budget keys; it isn't used");
            continue;
        };
        let number = numbers.entry(site.kind()).or_default();
        pools.push(Pool::new(
            key(&tenant, site, account),
            *number,
            site.clone(),
            account.clone(),
            budget,
            shared,
        ));
        *number += 1;
    }
    let prefetch = prefetch(&tenant, &only);
    for pool in &pools {
        pool.start();
    }
    let suspects = Suspects::new(tenant.name.as_str());
    for lane in Lane::ALL {
        tasks.spawn(
            "intake",
            take_in(
                bus.clone(),
                Queue::jobs(tenant.name.as_str(), lane.as_str()),
                *lane,
                prefetch,
                Arc::clone(&shelves),
                suspects.clone(),
                stop.clone(),
            ),
        );
    }
    tasks.spawn(
        "suspects",
        take_in_alone(bus.clone(), Arc::clone(&shelves), suspects, stop.clone()),
    );
    tasks.spawn(
        "give back",
        give_back(bus.clone(), Arc::clone(&shelves), stop.clone()),
    );
    info!(tenant = %tenant.name, accounts = pools.len(), prefetch, "serving {} with {} accounts", tenant.name, pools.len());
    stop.cancelled().await;
    // However long that takes: who stops the process has a limit.
    tasks.drain(Duration::MAX).await;
}

/// Takes in what was handed out again and again, one by one, while there is some.
async fn take_in_alone(
    bus: Bus,
    shelves: Arc<Shelves>,
    suspects: Suspects,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        // The queue is there only while it has been needed of late: nothing is kept for it.
        if suspects.some(&bus).await {
            let (queue, alone) = (suspects.queue(), suspects.alone());
            let (bus, shelves) = (bus.clone(), Arc::clone(&shelves));
            take_in(
                bus,
                queue,
                Lane::Interactive,
                1,
                shelves,
                alone,
                stop.clone(),
            )
            .await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = suspects.moved() => {}
            () = tokio::time::sleep(SUSPECTS) => {}
        }
    }
}

async fn take_in(
    bus: Bus,
    queue: Queue,
    lane: Lane,
    prefetch: u16,
    shelves: Arc<Shelves>,
    suspects: Suspects,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let consumer = waiting::until_ok("RabbitMQ to consume jobs", &stop, || {
            bus.consumer(&queue, prefetch)
        })
        .await;
        let Some(mut consumer) = consumer else { return };
        receive(&bus, &mut consumer, lane, &shelves, &suspects, &stop).await;
        consumer.stop().await;
    }
}

async fn receive(
    bus: &Bus,
    consumer: &mut Consumer,
    lane: Lane,
    shelves: &Shelves,
    suspects: &Suspects,
    stop: &CancellationToken,
) {
    while let Some(delivery) = stop.run_until_cancelled(consumer.next()).await.flatten() {
        let Some(delivery) = suspects.look(bus, delivery).await else {
            continue;
        };
        match read_job(&delivery.body) {
            Ok(job) => {
                let (shelf, operation) = (&shelves[&job.site], job.operation);
                shelf.put(lane, operation, clock::instant(), Held { job, delivery });
            }
            Err(UnreadableJob {
                why,
                named: Some((job, operation, answers)),
            }) => {
                info!(job.id = %job, "a job waits for a newer worker: {why}");
                let result = JobResult {
                    delivery: answers,
                    report: Some(Report {
                        reading: Reading::Later(UPGRADE),
                        detail: Detail {
                            server_text: format!("waits for a newer worker: {why}"),
                            ..Detail::default()
                        },
                    }),
                    ..nothing_done(job, operation)
                };
                report(bus, &bus.publisher(), stop, vec![(result, delivery)]).await;
            }
            Err(UnreadableJob { why, named: None }) => {
                error!(
                    reason = %why,
                    message.id = delivery.message_id,
                    "a job can't be read; it is dead-lettered"
                );
                let cause = why.cause().as_str();
                bus.put_aside(delivery, cause, &why.to_string(), VERSION)
                    .await;
            }
        }
    }
}

/// What is said of a job that nothing was done for.
fn nothing_done(job: JobId, operation: OperationId) -> JobResult {
    JobResult {
        job,
        operation,
        delivery: 0,
        report: None,
        calendar: None,
        account: String::new(),
        calls: 0,
        read_at: clock::now(),
    }
}

/// Reports jobs as returned that nobody could take in time: they become ready again, for whoever can.
async fn give_back(bus: Bus, shelves: Arc<Shelves>, stop: CancellationToken) {
    let publisher = bus.publisher();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        for shelf in shelves.values() {
            // What no pool here can take is left to workers elsewhere, without delay.
            let hold = if shelf.is_idle() {
                Duration::ZERO
            } else {
                HOLD
            };
            let returned = shelf
                .expired(clock::instant(), hold)
                .into_iter()
                .map(|held| {
                    let result = JobResult {
                        delivery: held.job.delivery,
                        ..nothing_done(held.job.id, held.job.operation)
                    };
                    (result, held.delivery)
                });
            report(&bus, &publisher, &stop, returned.collect()).await;
        }
    }
}
