//! One tenant's jobs: from its two queues to the shelves of its sites, and back when nobody takes them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use calgrant_bus::{Bus, Consumer, Delivery, Queue};
use calgrant_contract::{bus::JobResult, pb};
use calgrant_domain::{AccountSpec, Job, Lane, Purpose, SiteKind, SiteSpec, TenantSpec};
use calgrant_leases::{Budgets, keys};
use calgrant_runtime::{clock, shutdown::Tasks, waiting};
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    fleet::Fleet,
    ledger::{AccountKey, StatusLedger},
    only::Only,
    pool::{Held, Pool, Shared, in_hand, report},
    shelf::Shelf,
};

/// How long a delivery waits for a permit before it is given back.
const HOLD: Duration = Duration::from_secs(60);
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
    let online = tenant
        .sites
        .iter()
        .filter(|site| site.kind == SiteKind::Online);
    let all = online.flat_map(|site| site.accounts.iter().map(move |account| (site, account)));
    all.filter(move |(site, account)| {
        account.is(Purpose::Grantor) && only.serves(&key(tenant, site, account))
    })
}

fn key(tenant: &TenantSpec, site: &SiteSpec, account: &AccountSpec) -> AccountKey {
    AccountKey {
        tenant: tenant.name.clone(),
        site: site.kind,
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
    let pools_of = |kind: SiteKind| served.iter().filter(|(site, _)| site.kind == kind).count();
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
            shelf: Arc::clone(&shelves[&site.kind]),
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
        let number = numbers.entry(site.kind).or_default();
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
    for lane in Lane::ALL {
        tasks.spawn(
            "intake",
            take_in(
                bus.clone(),
                Queue::jobs(tenant.name.as_str(), lane.as_str()),
                *lane,
                prefetch,
                Arc::clone(&shelves),
                stop.clone(),
            ),
        );
    }
    tasks.spawn(
        "give back",
        give_back(bus.clone(), Arc::clone(&shelves), stop.clone()),
    );
    info!(tenant = %tenant.name, accounts = pools.len(), prefetch, "serving {} with {} accounts", tenant.name, pools.len());
    stop.cancelled().await;
    // However long that takes: who stops the process has a limit.
    tasks.drain(Duration::MAX).await;
}

async fn take_in(
    bus: Bus,
    queue: Queue,
    lane: Lane,
    prefetch: u16,
    shelves: Arc<Shelves>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let consumer = waiting::until_ok("RabbitMQ to consume jobs", &stop, || {
            bus.consumer(&queue, prefetch)
        })
        .await;
        let Some(mut consumer) = consumer else { return };
        receive(&bus, &mut consumer, lane, &shelves, &stop).await;
        consumer.stop().await;
    }
}

async fn receive(
    bus: &Bus,
    consumer: &mut Consumer,
    lane: Lane,
    shelves: &Shelves,
    stop: &CancellationToken,
) {
    loop {
        let delivery = tokio::select! {
            () = stop.cancelled() => return,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { return };
        match read(&delivery) {
            Ok(job) => {
                let (shelf, operation) = (&shelves[&job.site], job.operation);
                shelf.put(lane, operation, clock::instant(), Held { job, delivery });
            }
            Err(why) => {
                error!(
                    reason = why,
                    message.id = delivery.message_id,
                    "a job can't be read; it is dead-lettered"
                );
                if let Err(cause) = delivery.dead_letter(&bus.publisher(), &why).await {
                    warn!(error = %cause, "couldn't dead-letter it; it is delivered again");
                }
            }
        }
    }
}

fn read(delivery: &Delivery) -> Result<Job, String> {
    let job = pb::bus::v1::Job::decode(delivery.body.as_slice())
        .map_err(|cause| format!("not a Job: {cause}"))?;
    Job::try_from(job).map_err(|bad| format!("not a Job: {bad}"))
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
                        job: held.job.id,
                        operation: held.job.operation,
                        delivery: held.job.delivery,
                        report: None,
                        calendar: None,
                        account: String::new(),
                        calls: 0,
                        read_at: clock::now(),
                    };
                    (result, held.delivery)
                });
            report(&bus, &publisher, &stop, returned.collect()).await;
        }
    }
}
