//! Budgets shared by many replicas: several status replicas grant from the same rows, all at the same time.

#![expect(
    clippy::unwrap_used,
    reason = "what is prepared for a test succeeds or ends it"
)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use calgrant_budget::{KeyName, Terms, message::Lane};
use calgrant_contract::{
    fleet,
    pb::{
        fleet::v1::{
            ApplyTenantRequest, CallWindow, TenantSpec, fleet_service_client::FleetServiceClient,
        },
        ledger::v1::lease_service_client::LeaseServiceClient,
    },
};
use calgrant_domain::Retention;
use calgrant_e2e::Setup;
use calgrant_leases::{Budgets, keys};
use calgrant_runtime::{clock, grpc};
use calgrant_testkit::{Database, Vhost, eventually_within};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What one account may do: hardly more slots than replicas, and a short window.
const SLOTS: u32 = 8;
const WINDOW: (u32, Duration) = (100, Duration::from_secs(1));
/// What all accounts of the site may do together: less than the sum.
const SITE_SLOTS: u32 = 10;
/// A call takes so long.
const CALL: Duration = Duration::from_millis(10);
/// Calls in all: several windows of both accounts.
const CALLS: usize = 700;
const STATUSES: usize = 2;
const REPLICAS: usize = 6;

/// What was ever under way of one key at the same moment.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicU32,
    most: AtomicU32,
}

impl Gauge {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was called, by whom and when.
#[derive(Debug, Default)]
struct Judge {
    accounts: [Gauge; 2],
    site: Gauge,
    /// Account and replica of each call, and when it started.
    calls: Mutex<Vec<(usize, usize, Instant)>>,
}

impl Judge {
    fn calls(&self) -> Vec<(usize, usize, Instant)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone()
    }
}

/// Status replicas over one database, with their tenant.
struct Statuses {
    urls: Vec<String>,
    keys: [Vec<KeyName>; 2],
    stop: CancellationToken,
    tasks: TaskTracker,
    _database: Database,
    _vhost: Vhost,
}

impl Statuses {
    async fn start() -> Self {
        let (database, vhost) = (Database::new().await, Vhost::new());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut urls = Vec::new();
        for _ in 0..STATUSES {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = TcpListener::bind(any).await.unwrap();
            let listen = listener.local_addr().unwrap();
            let config = calgrant_status::Config {
                listen,
                database_url: database.url().to_owned(),
                database_ca_file: None,
                access_route: None,
                keep_changes: 1000,
                retention: Retention::default(),
                drain: Duration::from_secs(5),
                terms: Terms::default(),
                amqp_url: vhost.url().to_owned(),
            };
            let running = calgrant_status::run_on(listener, config, stop.clone());
            tasks.spawn(async move { running.await.unwrap() });
            urls.push(format!("http://{listen}"));
        }
        let tenant = tenant();
        let client = FleetServiceClient::new(grpc::channel(&urls[0]).unwrap());
        eventually_within(
            Duration::from_secs(60),
            "the tenant is applied",
            async || {
                let request = ApplyTenantRequest {
                    spec: Some(tenant.clone()),
                    ..ApplyTenantRequest::default()
                };
                client.clone().apply_tenant(request).await.is_ok()
            },
        )
        .await;
        let spec = fleet::tenant(tenant).unwrap();
        let site = &spec.sites[0];
        let keys =
            [1, 2].map(|at| keys::of_account(&spec.name, site, &site.accounts[at], keys::EXCHANGE));
        Self {
            urls,
            keys,
            stop,
            tasks,
            _database: database,
            _vhost: vhost,
        }
    }

    /// A replica that renews at one of the status replicas and calls with both accounts, until there were enough calls.
    fn replica(&self, number: usize, judge: &Arc<Judge>) -> Budgets {
        let url = &self.urls[number % STATUSES];
        let budgets = Budgets::new(
            &format!("replica-{number}"),
            Terms::default(),
            clock::instant,
        );
        let status = LeaseServiceClient::new(grpc::channel(url).unwrap());
        self.tasks
            .spawn(budgets.clone().renew(status, self.stop.clone()));
        for (account, keys) in self.keys.iter().enumerate() {
            // More callers than any replica gets slots.
            for _ in 0..SLOTS {
                let allowed = budgets.account(keys).unwrap();
                let (judge, stop) = (Arc::clone(judge), self.stop.clone());
                self.tasks.spawn(async move {
                    loop {
                        let permits = tokio::select! {
                            permits = allowed.permits(Lane::Bulk, 1) => permits,
                            () = stop.cancelled() => return,
                        };
                        judge.accounts[account].begin();
                        judge.site.begin();
                        permits.first_byte(Duration::ZERO);
                        let started = (account, number, clock::instant());
                        judge.calls.lock().unwrap().push(started);
                        let mut takes = tokio::time::interval(CALL);
                        takes.tick().await;
                        takes.tick().await;
                        judge.site.end();
                        judge.accounts[account].end();
                        permits.done(true);
                    }
                });
            }
        }
        budgets
    }
}

fn tenant() -> TenantSpec {
    let mut tenant = Setup {
        max_in_flight: SLOTS,
        ..Setup::default()
    }
    .online_at("http://127.0.0.1:1", std::path::Path::new("/nowhere"));
    let site = &mut tenant.sites[0];
    site.max_in_flight = SITE_SLOTS;
    let (calls, length) = WINDOW;
    for account in &mut site.accounts {
        account.windows = vec![CallWindow {
            calls,
            millis: u64::try_from(length.as_millis()).unwrap(),
        }];
    }
    tenant
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_status_replicas_never_grant_more_than_the_budgets() {
    let statuses = Statuses::start().await;
    let judge = Arc::new(Judge::default());
    let budgets: Vec<_> = (0..REPLICAS)
        .map(|number| statuses.replica(number, &judge))
        .collect();
    eventually_within(
        Duration::from_secs(90),
        "enough calls were made",
        async || {
            let calls = judge.calls();
            calls.len() >= CALLS && (0..STATUSES).all(|status| served(&calls, status))
        },
    )
    .await;
    statuses.stop.cancel();
    statuses.tasks.close();
    statuses.tasks.wait().await;

    let calls = judge.calls();
    for (account, gauge) in judge.accounts.iter().enumerate() {
        let most = gauge.most.load(Ordering::SeqCst);
        assert!(most <= SLOTS, "account {account}: {most} calls at once");
        let mut starts: Vec<_> = calls
            .iter()
            .filter(|(of, ..)| *of == account)
            .map(|(.., at)| *at)
            .collect();
        starts.sort_unstable();
        let (most, length) = (WINDOW.0 as usize, WINDOW.1);
        for (first, last) in starts.iter().zip(starts.iter().skip(most)) {
            assert!(
                *last - *first >= length,
                "account {account}: more than {most} calls in {length:?}"
            );
        }
    }
    let most = judge.site.most.load(Ordering::SeqCst);
    assert!(most <= SITE_SLOTS, "the site: {most} calls at once");
    for budgets in budgets {
        assert_eq!(budgets.breaches().clock, 0);
    }
}

/// Whether there was a call under a lease of that status replica: else nothing is raced for.
fn served(calls: &[(usize, usize, Instant)], status: usize) -> bool {
    calls
        .iter()
        .any(|(_, replica, _)| replica % STATUSES == status)
}
