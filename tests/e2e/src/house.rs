//! A running house, and what tests do with it.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calgrant_budget::Terms;
use calgrant_contract::pb::{
    fleet::v1::{ApplyTenantRequest, TenantSpec, fleet_service_client::FleetServiceClient},
    provisioning::v1::{
        GetOperationRequest, Operation, OperationState, Outcome, RunDelegationRequest,
        provisioning_service_client::ProvisioningServiceClient,
    },
    status::v1::{OperationMailbox, status_service_client::StatusServiceClient},
};
use calgrant_domain::{Retention, SecretRef};
use calgrant_runtime::grpc;
use calgrant_testkit::{Database, Proxy, School, Vhost, eventually_within, server_of};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;

use crate::{Setup, setup::secrets_key};

/// The exchange of RabbitMQ that a house's onboarding listens to, under `mailbox.#`.
pub const IDENTITY: &str = "identity";
/// The exchange of RabbitMQ by which a house tells who becomes ready.
pub const ACCESS: &str = "calgrant.access";
/// Longest wait for an operation of a test.
pub(crate) const OPERATION: Duration = Duration::from_secs(120);

/// A service of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// The front door, the planner and the pump.
    Api,
    /// The system of record.
    Status,
    /// The pools.
    Worker,
    /// Events of people who join, move and leave.
    Onboarding,
}

/// Everything, running.
#[derive(Debug)]
pub struct House {
    /// The simulated Exchange.
    pub school: School,
    /// What status stores in.
    pub database: Database,
    /// The broker.
    pub vhost: Vhost,
    /// Between status and Postgres.
    pub to_database: Proxy,
    /// Between all services and RabbitMQ.
    pub to_broker: Proxy,
    /// What it was set up with.
    pub setup: Setup,
    /// Calls to the api.
    pub provisioning: ProvisioningServiceClient<Channel>,
    /// Calls to the api.
    pub status: StatusServiceClient<Channel>,
    /// Calls to the api.
    pub fleet: FleetServiceClient<Channel>,
    /// Where the api serves.
    pub api_url: String,
    folder: PathBuf,
    ports: HashMap<Service, SocketAddr>,
    /// What stops a service, and what tells that it has.
    stops: HashMap<Service, (CancellationToken, CancellationToken)>,
    tasks: TaskTracker,
}

impl House {
    /// All services, and the school applied as a tenant.
    ///
    /// # Panics
    /// Something doesn't start.
    pub async fn start(setup: Setup) -> Self {
        let house = Self::empty(setup).await;
        let tenant = house.tenant();
        house.apply(tenant).await;
        house
    }

    /// All services, without a tenant.
    ///
    /// # Panics
    /// Something doesn't start.
    pub async fn empty(setup: Setup) -> Self {
        // Shown with a test that fails. Dropping the telemetry ends nothing: there is only the log.
        let _telemetry = calgrant_runtime::telemetry::init("e2e");
        let folder =
            std::env::temp_dir().join(format!("calgrant-e2e-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder)
            .unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
        let school = School::new(&setup.school).await;
        setup.write_secrets(&school, &folder);
        let (database, vhost) = (Database::new().await, Vhost::new());
        let to_database = Proxy::new(server_of(database.url()), setup.servers_away).await;
        let to_broker = Proxy::new(server_of(vhost.url()), setup.servers_away).await;
        let mut listeners = HashMap::new();
        let mut services = vec![Service::Status, Service::Api, Service::Worker];
        services.extend(setup.onboarding.then_some(Service::Onboarding));
        for service in services {
            listeners.insert(
                service,
                listener(SocketAddr::from(([127, 0, 0, 1], 0))).await,
            );
        }
        let ports: HashMap<_, _> = listeners
            .iter()
            .map(|(service, listener)| (*service, port(listener)))
            .collect();
        let api_url = format!("http://{}", ports[&Service::Api]);
        let channel = grpc::channel(&api_url).unwrap_or_else(|fault| panic!("{fault}"));
        let mut house = Self {
            school,
            database,
            vhost,
            to_database,
            to_broker,
            setup,
            provisioning: ProvisioningServiceClient::new(channel.clone()),
            status: StatusServiceClient::new(channel.clone()),
            fleet: FleetServiceClient::new(channel),
            api_url,
            folder,
            ports,
            stops: HashMap::new(),
            tasks: TaskTracker::new(),
        };
        for (service, listener) in listeners {
            house.run(service, listener);
        }
        house
    }

    /// The tenant as the setup says.
    #[must_use]
    pub fn tenant(&self) -> TenantSpec {
        self.setup.tenant(&self.school, &self.folder)
    }

    /// Where the secrets are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Applies a tenant, once status is ready.
    ///
    /// # Panics
    /// It is refused.
    pub async fn apply(&self, spec: TenantSpec) {
        let request = ApplyTenantRequest {
            spec: Some(spec),
            ..ApplyTenantRequest::default()
        };
        eventually_within(OPERATION, "the tenant is applied", async || {
            match self.fleet.clone().apply_tenant(request.clone()).await {
                Ok(_) => true,
                Err(status) if status.code() == tonic::Code::Unavailable => false,
                Err(status) => panic!("the tenant is refused: {status:?}"),
            }
        })
        .await;
    }

    /// Stops a service in its own order, and waits until it has.
    pub async fn stop(&mut self, service: Service) {
        if let Some((stop, stopped)) = self.stops.remove(&service) {
            stop.cancel();
            stopped.cancelled().await;
        }
    }

    /// Starts a service again, on its port.
    ///
    /// # Panics
    /// Its port can't be had.
    pub async fn restart(&mut self, service: Service) {
        let listener = listener(self.ports[&service]).await;
        self.run(service, listener);
    }

    /// Submits a run. Answers its operation.
    ///
    /// # Panics
    /// It is refused.
    pub async fn submit(&self, request: RunDelegationRequest) -> Operation {
        match self.provisioning.clone().run_delegation(request).await {
            Ok(operation) => operation.into_inner(),
            Err(status) => panic!("refused: {status:?}"),
        }
    }

    /// An operation as it stands.
    ///
    /// # Panics
    /// There is none of this id.
    pub async fn operation(&self, id: &str) -> Operation {
        let request = GetOperationRequest { id: id.to_owned() };
        match self.provisioning.clone().get_operation(request).await {
            Ok(operation) => operation.into_inner(),
            Err(status) => panic!("{id}: {status:?}"),
        }
    }

    /// Waits until an operation is as wanted.
    ///
    /// # Panics
    /// It isn't within two minutes.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Operation) -> bool) -> Operation {
        let request = GetOperationRequest { id: id.to_owned() };
        let mut last = Operation::default();
        eventually_within(OPERATION, "an operation is as wanted", async || {
            // A service that is being restarted doesn't answer for a moment.
            if let Ok(answer) = self
                .provisioning
                .clone()
                .get_operation(request.clone())
                .await
            {
                last = answer.into_inner();
            }
            wanted(&last)
        })
        .await;
        last
    }

    /// Waits until an operation is over.
    ///
    /// # Panics
    /// It isn't within two minutes.
    pub async fn ended(&self, id: &str) -> Operation {
        self.until(id, |operation| operation.end_time.is_some())
            .await
    }

    /// Submits a run and waits until it is over.
    ///
    /// # Panics
    /// It is refused, doesn't end, or isn't done in the end.
    pub async fn done(&self, request: RunDelegationRequest) -> Operation {
        let operation = self.submit(request).await;
        let ended = self.ended(&operation.id).await;
        assert_eq!(ended.state(), OperationState::Done, "{ended:?}");
        ended
    }

    /// Every mailbox of an operation.
    ///
    /// # Panics
    /// There is no such operation.
    pub async fn mailboxes(&self, operation: &str) -> Vec<OperationMailbox> {
        let listed = calgrant_testkit::mailboxes(&self.status, operation).await;
        listed.unwrap_or_else(|status| panic!("{operation}: {status:?}"))
    }

    /// The word of an outcome.
    #[must_use]
    pub fn word(outcome: Outcome) -> String {
        let name = outcome.as_str_name().trim_start_matches("OUTCOME_");
        name.to_lowercase()
    }

    /// Counts of an operation by their words, checked to add up.
    ///
    /// # Panics
    /// They don't.
    #[must_use]
    pub fn counts(operation: &Operation) -> BTreeMap<String, u64> {
        let counts = operation.counts.clone().unwrap_or_default();
        let by_word: BTreeMap<_, _> = counts
            .outcomes
            .iter()
            .map(|count| (Self::word(count.outcome()), count.count))
            .collect();
        let sum: u64 = by_word.values().sum();
        assert_eq!(counts.accepted, counts.outstanding + sum, "{counts:?}");
        by_word
    }

    fn run(&mut self, service: Service, listener: tokio::net::TcpListener) {
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        self.stops.insert(service, (stop.clone(), stopped.clone()));
        let listen = self.ports[&service];
        let only = self.setup.only.clone();
        let api_url = self.api_url.clone();
        let access_route = self.setup.onboarding.then(|| ACCESS.to_owned());
        let secrets_key = SecretRef::File(secrets_key(&self.folder).display().to_string());
        let status_url = format!("http://{}", self.ports[&Service::Status]);
        let amqp_url = self.to_broker.before(self.vhost.url());
        let database_url = self.to_database.before(self.database.url());
        self.tasks.spawn(async move {
            let _stopped = stopped.drop_guard();
            let ended = match service {
                Service::Api => {
                    let config = calgrant_api::Config {
                        drain: Duration::from_secs(25),
                        listen,
                        status_url,
                        amqp_url,
                        window: 2000,
                        listings: 4,
                        secrets_key: Some(secrets_key),
                    };
                    calgrant_api::run_on(listener, config, stop).await
                }
                Service::Status => {
                    let config = calgrant_status::Config {
                        drain: Duration::from_secs(25),
                        listen,
                        database_url,
                        database_ca_file: None,
                        // The simulator is done with a call whose client is gone long before that.
                        terms: Terms {
                            longest_call: Duration::from_secs(10),
                            abandoned_hold: Duration::from_secs(1),
                            ..Terms::default()
                        },
                        amqp_url,
                        access_route,
                        keep_changes: 10_000,
                        retention: Retention::default(),
                    };
                    calgrant_status::run_on(listener, config, stop).await
                }
                Service::Onboarding => {
                    let config = calgrant_onboarding::Config {
                        listen,
                        api_url,
                        status_url,
                        amqp_url,
                        route: Some(IDENTITY.to_owned()),
                        bindings: vec!["mailbox.#".to_owned()],
                    };
                    calgrant_onboarding::run_on(listener, config, stop).await
                }
                Service::Worker => {
                    let config = calgrant_worker::Config {
                        drain: Duration::from_secs(25),
                        only,
                        listen,
                        status_url,
                        amqp_url,
                    };
                    calgrant_worker::run_on(listener, config, stop).await
                }
            };
            if let Err(cause) = ended {
                panic!("{service:?}: {cause:#}");
            }
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for (stop, _) in self.stops.values() {
            stop.cancel();
        }
        let _gone_already = std::fs::remove_dir_all(&self.folder);
    }
}

async fn listener(at: SocketAddr) -> tokio::net::TcpListener {
    // The one who had the port before may be letting go of it just now.
    let mut taken = None;
    eventually_within(OPERATION, "the port is free", async || {
        taken = grpc::bind(at).await.ok();
        taken.is_some()
    })
    .await;
    taken.unwrap_or_else(|| panic!("{at} can't be had"))
}

fn port(listener: &tokio::net::TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .unwrap_or_else(|cause| panic!("no address: {cause}"))
}
