//! The api, as the commands ask it.

use calgrant_contract::pb::{
    fleet::v1::fleet_service_client::FleetServiceClient,
    ledger::v1::setup_journal_service_client::SetupJournalServiceClient,
    provisioning::v1::provisioning_service_client::ProvisioningServiceClient,
    setup::v1::setup_service_client::SetupServiceClient,
    status::v1::status_service_client::StatusServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// Says who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller(MetadataValue<Ascii>);

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("calgrant-caller", self.0.clone());
        Ok(request)
    }
}

/// A channel that says who asks.
pub(crate) type Wire = InterceptedService<Channel, Caller>;

/// Clients of everything the api serves.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) provisioning: ProvisioningServiceClient<Wire>,
    pub(crate) status: StatusServiceClient<Wire>,
    pub(crate) fleet: FleetServiceClient<Wire>,
    pub(crate) setup: SetupServiceClient<Wire>,
    pub(crate) journal: SetupJournalServiceClient<Channel>,
}

impl Front {
    /// Clients for the api at `url`, for a caller of this name.
    pub(crate) fn new(url: &str, caller: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|cause| {
            anyhow::anyhow!("--api {url:?}: {cause}; a URL such as http://127.0.0.1:7101 is needed")
        })?;
        let caller = Caller(
            caller
                .parse()
                .map_err(|_| anyhow::anyhow!("--caller {caller:?}: printable ASCII is needed"))?,
        );
        let channel = endpoint.connect_lazy();
        let wire = InterceptedService::new(channel.clone(), caller);
        Ok(Self {
            provisioning: ProvisioningServiceClient::new(wire.clone()),
            status: StatusServiceClient::new(wire.clone()),
            fleet: FleetServiceClient::new(wire.clone()),
            setup: SetupServiceClient::new(wire),
            journal: SetupJournalServiceClient::new(channel),
        })
    }
}
