//! The workers of one account: they take what waits at their site, under this account's budget alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use calgrant_bus::{Bus, Delivery, Message, Publisher, Queue};
use calgrant_contract::bus::{JobResult, results_message};
use calgrant_domain::{AccountSpec, Detail, Job, Lane, SiteSpec};
use calgrant_exchange::{Calendars, secret};
use calgrant_leases::Account;
use calgrant_runtime::clock;
use calgrant_runtime::shutdown::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    connect,
    fleet::Fleet,
    ledger::{AccountKey, Stands, StatusLedger},
    round::{self, Tools},
    shelf::{Shelf, of_budget},
};

/// How long the last rounds of an account are waited for before it is signed out, at most.
const SIGN_OUT: Duration = Duration::from_secs(5);
/// Between looks at how long the certificate of a working account is still good.
const TELL: Duration = Duration::from_secs(600);

/// A job in our hands, acked only when its result is stored.
pub struct Held {
    /// What to do.
    pub job: Job,
    /// What the broker waits to have acked.
    pub delivery: Delivery,
}

/// What the pools of a site share.
#[derive(Clone)]
pub struct Shared {
    /// What waits for them.
    pub shelf: Arc<Shelf<Held>>,
    /// Status.
    pub ledger: StatusLedger,
    /// The broker.
    pub bus: Bus,
    /// Tenants, accounts and their pauses, as status knows them.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Ends them.
    pub stop: CancellationToken,
    /// Where results are published when their round is over.
    pub tasks: Tasks,
}

/// The workers of one account in this process.
pub struct Pool {
    key: AccountKey,
    /// Its number among the pools of the shelf.
    number: usize,
    site: SiteSpec,
    account: AccountSpec,
    budget: Account,
    /// Mailboxes in hand: more than may be called for at the same time, so that permits are never waited for by nobody.
    in_hand: Arc<Semaphore>,
    /// Mailboxes worked on at the same moment: an operator may change it at any time.
    workers: AtomicU32,
    shared: Shared,
    state: watch::Sender<State>,
    /// Whether an operator stopped the account.
    stopped: watch::Sender<bool>,
}

/// A round that may begin.
struct Turn {
    calendars: Arc<dyn Calendars>,
    lane: Lane,
    held: Vec<Held>,
    in_hand: OwnedSemaphorePermit,
}

#[derive(Clone)]
enum State {
    Working(Arc<dyn Calendars>),
    /// Until the credential changes from this, or an operator resumes it.
    Paused {
        credential: Option<u64>,
        recorded_in: Option<String>,
    },
}

impl Pool {
    /// A pool that is not running yet.
    pub fn new(
        key: AccountKey,
        number: usize,
        site: SiteSpec,
        account: AccountSpec,
        budget: Account,
        shared: Shared,
    ) -> Arc<Self> {
        let state = watch::Sender::new(State::Paused {
            credential: None,
            recorded_in: None,
        });
        let in_hand = Arc::new(Semaphore::new(in_hand(account.workers)));
        let stopped = shared.fleet.borrow().stopped.contains(&key);
        Arc::new(Self {
            number,
            workers: AtomicU32::new(account.workers),
            stopped: watch::Sender::new(stopped),
            key,
            site,
            account,
            budget,
            in_hand,
            shared,
            state,
        })
    }

    /// Starts its workers.
    pub fn start(self: &Arc<Self>) {
        let tasks = &self.shared.tasks;
        tasks.spawn("account", Arc::clone(self).keep_usable());
        tasks.spawn("setting", Arc::clone(self).follow());
        self.add_workers(in_hand(self.account.workers));
    }

    fn add_workers(self: &Arc<Self>, more: usize) {
        for _ in 0..more {
            self.shared.tasks.spawn("worker", Arc::clone(self).work());
        }
    }

    /// Follows what an operator sets: whether the account is used, and how many workers it has.
    async fn follow(self: Arc<Self>) {
        let mut fleet = self.shared.fleet.clone();
        let mut started = in_hand(self.account.workers);
        let mut allowed = started;
        loop {
            let (stopped, workers) = {
                let fleet = fleet.borrow_and_update();
                let workers = fleet.account(&self.key).map(|account| account.workers);
                (fleet.stopped.contains(&self.key), workers)
            };
            if *self.stopped.borrow() != stopped {
                info!(account = %self.key.account, tenant = %self.key.tenant, stopped, "an operator {} account {}", if stopped { "stopped" } else { "resumed" }, self.key.account);
                self.stopped.send_replace(stopped);
            }
            if let Some(workers) = workers.filter(|now| *now != self.workers.load(Relaxed)) {
                info!(account = %self.key.account, tenant = %self.key.tenant, workers, "account {} has {workers} workers now", self.key.account);
                self.workers.store(workers, Relaxed);
                let wanted = in_hand(workers);
                self.add_workers(wanted.saturating_sub(started));
                started = started.max(wanted);
                if wanted > allowed {
                    self.in_hand.add_permits(wanted - allowed);
                } else if let Ok(fewer) = u32::try_from(allowed - wanted) {
                    let in_hand = Arc::clone(&self.in_hand);
                    // As mailboxes are done: it stands in line with those that want more.
                    self.shared.tasks.spawn("fewer workers", async move {
                        if let Ok(taken) = in_hand.acquire_many_owned(fewer).await {
                            taken.forget();
                        }
                    });
                }
                allowed = wanted;
            }
            tokio::select! {
                () = self.shared.stop.cancelled() => break,
                changed = fleet.changed() => if changed.is_err() { break },
            }
        }
        // Whichever of the two heard of the stop first. No permit is waited for any more: others do what hasn't been asked yet.
        self.stopped.send_replace(true);
    }

    /// Mailboxes of a round: as many as the protocol takes in one request, and no more than the account has workers.
    fn round_size(&self, calendars: &dyn Calendars) -> usize {
        calendars
            .round_size()
            .min(self.workers.load(Relaxed) as usize)
            .max(1)
    }

    async fn work(self: Arc<Self>) {
        let publisher = self.shared.bus.publisher();
        loop {
            let turn = tokio::select! {
                () = self.shared.stop.cancelled() => return,
                turn = self.next() => turn,
            };
            let held = self.still_wanted(turn.held).await;
            if held.is_empty() {
                continue;
            }
            let longest_call = self.shared.fleet.borrow().terms.longest_call;
            let tools = Tools {
                calendars: &*turn.calendars,
                budget: &self.budget,
                lane: of_budget(turn.lane),
                longest_call,
                stopped: self.stopped.subscribe(),
                ledger: &self.shared.ledger,
                account: self.account.name.as_str(),
            };
            let (jobs, deliveries): (Vec<_>, Vec<_>) = held
                .into_iter()
                .map(|held| (held.job, held.delivery))
                .unzip();
            let (results, signals) = round::carry_out(&tools, jobs).await;
            if let Some(detail) = signals.pause {
                self.pause(&detail).await;
            }
            let results = results.into_iter().zip(deliveries).collect();
            let (bus, publisher, stop) = (
                self.shared.bus.clone(),
                publisher.clone(),
                self.shared.stop.clone(),
            );
            // Beside the next round: a permit that is free is used at once.
            self.shared.tasks.spawn("report", async move {
                report(&bus, &publisher, &stop, results).await;
                drop(turn.in_hand);
            });
        }
    }

    /// Waits until the account is usable, something is there to do, the budget open and the publisher free; then takes a round.
    async fn next(&self) -> Turn {
        loop {
            let (mut state, mut stopped) = (self.state.subscribe(), self.stopped.subscribe());
            let calendars = working(&mut state).await;
            // An operator's word is no fault of the credential: the account stays as it is, and others take what lies here.
            if stopped.wait_for(|stopped| !stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
            let most = self.round_size(&*calendars);
            let wanted = u32::try_from(most).unwrap_or(1);
            let ready = async {
                let in_hand = Arc::clone(&self.in_hand).acquire_many_owned(wanted).await;
                let lane = self.shared.shelf.ready(self.number).await;
                tokio::select! {
                    () = self.budget.open(of_budget(lane), wanted) => {}
                    // Others took it: nothing more is asked of the budget.
                    () = self.shared.shelf.emptied() => return None,
                }
                while !self.shared.bus.is_up() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some((in_hand, lane))
            };
            let ready = tokio::select! {
                ready = ready => ready,
                // Paused meanwhile, or connected anew, by a colleague.
                _ = state.changed() => continue,
                _ = stopped.changed() => continue,
            };
            // Never closed.
            let Some((Ok(in_hand), lane)) = ready else {
                continue;
            };
            let held = self.shared.shelf.take(most);
            if !held.is_empty() {
                return Turn {
                    calendars,
                    lane,
                    held,
                    in_hand,
                };
            }
        }
    }

    /// Acks jobs that a cancellation ended, before they cost a call. Those that had begun are finished.
    async fn still_wanted(&self, held: Vec<Held>) -> Vec<Held> {
        let fleet = Arc::clone(&self.shared.fleet.borrow());
        let (suspects, mut wanted): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|held| fleet.cancelled.contains(&held.job.operation));
        if suspects.is_empty() {
            return wanted;
        }
        let jobs: Vec<_> = suspects.iter().map(|held| held.job.id).collect();
        let ended = self.shared.ledger.ended(&jobs).await;
        for (held, ended) in suspects.into_iter().zip(ended) {
            if !ended {
                wanted.push(held);
            } else if let Err(cause) = held.delivery.ack().await {
                warn!(error = %cause, job.id = %held.job.id, "a job has ended already but couldn't be acked");
            }
        }
        wanted
    }

    /// Connects the account, and again whenever its credential changes or an operator resumes it.
    async fn keep_usable(self: Arc<Self>) {
        let mut fleet = self.shared.fleet.clone();
        self.connect().await;
        let mut told = clock::instant();
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
                // Whoever keeps the fleet may have heard of the stop before.
                changed = fleet.changed() => if changed.is_err() { break },
            }
            // Nothing of it is borrowed while something is awaited.
            let state = self.state.borrow().clone();
            let (credential, recorded_in) = match state {
                State::Working(calendars) => {
                    calendars.rest().await;
                    // A certificate may be exchanged while it still works.
                    if clock::instant().saturating_duration_since(told) > TELL {
                        self.working().await;
                        told = clock::instant();
                    }
                    continue;
                }
                State::Paused {
                    credential,
                    recorded_in,
                } => (credential, recorded_in),
            };
            let known = Arc::clone(&fleet.borrow());
            let listed = known.paused.contains(&self.key);
            if secret::fingerprint(&self.site, &self.account) != credential {
                self.connect().await;
            } else if listed && recorded_in.is_none() {
                // From now on, its absence from the list means that an operator resumed it.
                self.state.send_replace(State::Paused {
                    credential,
                    recorded_in: Some(known.version.clone()),
                });
            } else if !listed && recorded_in.is_some() {
                self.connect().await;
            }
        }
        self.sign_out().await;
    }

    /// Says that the account works, and until when its certificate does.
    async fn working(&self) {
        let expires = secret::certificate_expires(&self.account);
        self.shared
            .ledger
            .report(&self.key, Stands::Working { expires })
            .await;
    }

    async fn connect(&self) {
        match connect::calendars(&self.site, &self.account) {
            Ok(calendars) => {
                self.working().await;
                info!(account = %self.key.account, tenant = %self.key.tenant, "account {} is working", self.key.account);
                self.state.send_replace(State::Working(calendars));
            }
            Err(why) => {
                self.pause(&Detail {
                    server_text: why,
                    ..Detail::default()
                })
                .await
            }
        }
    }

    /// Ends what is kept open at the server, when the last round is over.
    async fn sign_out(&self) {
        let all = u32::try_from(in_hand(self.workers.load(Relaxed))).unwrap_or(1);
        let rounds = tokio::time::timeout(SIGN_OUT, self.in_hand.acquire_many(all));
        if rounds.await.is_err() {
            return;
        }
        let state = self.state.borrow().clone();
        if let State::Working(calendars) = state {
            calendars.sign_out().await;
        }
    }

    async fn pause(&self, detail: &Detail) {
        let state = State::Paused {
            credential: secret::fingerprint(&self.site, &self.account),
            recorded_in: None,
        };
        let before = self.state.send_replace(state);
        let was_working = matches!(before, State::Working(_));
        if let State::Working(calendars) = before {
            calendars.sign_out().await;
        }
        let reason = format!(
            "{} {} Correct it; the account goes on by itself when its secret changes, or by `calgrant accounts resume`.",
            detail.server_code, detail.server_text
        );
        if was_working {
            warn!(account = %self.key.account, tenant = %self.key.tenant, code = detail.server_code, request.id = detail.request_id, "account {} is paused", self.key.account);
        }
        self.shared
            .ledger
            .report(
                &self.key,
                Stands::Paused {
                    reason: reason.trim(),
                },
            )
            .await;
    }
}

/// How many mailboxes an account with so many workers has in hand: while one is begun or reported, another's call is under way.
pub(crate) fn in_hand(workers: u32) -> usize {
    2 * workers as usize + 2
}

/// Waits until the account works, and answers what it works with.
async fn working(state: &mut watch::Receiver<State>) -> Arc<dyn Calendars> {
    loop {
        if let State::Working(calendars) = &*state.borrow_and_update() {
            return Arc::clone(calendars);
        }
        // The sender lives in the pool that waits here.
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Most results of one message: few enough that status takes them in one transaction with others.
const TOGETHER: usize = 50;

/// Publishes results, those of one trace together, and acks their jobs, in that order; tries again while the broker is away.
pub async fn report(
    bus: &Bus,
    publisher: &Publisher,
    stop: &CancellationToken,
    mut results: Vec<(JobResult, Delivery)>,
) {
    while !results.is_empty() {
        let parts = results
            .chunk_by(|(_, one), (_, next)| one.traceparent == next.traceparent)
            .flat_map(|of_a_trace| of_a_trace.chunks(TOGETHER));
        let (sizes, messages): (Vec<_>, Vec<_>) =
            parts.map(|part| (part.len(), message(part))).unzip();
        let stored = publisher.publish_all(&Queue::results(), messages).await;
        let (mut left, mut items) = (Vec::new(), results.into_iter());
        for (size, stored) in sizes.into_iter().zip(stored) {
            let part = items.by_ref().take(size);
            match stored {
                Ok(()) => done(part).await,
                Err(cause) => {
                    error!(error = %cause, results = size, "results couldn't be published; trying again");
                    left.extend(part);
                }
            }
        }
        results = left;
        if !results.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(if bus.is_up() { 200 } else { 1000 })) => {}
                // Unacked, they are delivered again.
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Results that are of one trace, as a message.
fn message(part: &[(JobResult, Delivery)]) -> Message {
    let (kind, body) = results_message(part.iter().map(|(result, _)| result));
    let first = part.first();
    Message {
        body,
        message_id: first.map_or_else(String::new, |(result, _)| result.job.to_string()),
        kind,
        traceparent: first.and_then(|(_, delivery)| delivery.traceparent.clone()),
    }
}

/// Acks jobs whose results are stored.
async fn done(part: impl Iterator<Item = (JobResult, Delivery)>) {
    for (result, delivery) in part {
        if let Err(cause) = delivery.ack().await {
            // It will be delivered again, and its repeat changes nothing.
            warn!(error = %cause, job.id = %result.job, "a job was done but couldn't be acked");
        }
    }
}
