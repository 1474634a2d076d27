//! The api, as the commands ask it.

use std::time::Duration;

use calgrant_contract::{
    fleet,
    pb::{
        fleet::v1::{
            GetTenantRequest, TenantSpec as PbTenantSpec, fleet_service_client::FleetServiceClient,
        },
        ledger::v1::setup_journal_service_client::SetupJournalServiceClient,
        provisioning::v1::provisioning_service_client::ProvisioningServiceClient,
        setup::v1::setup_service_client::SetupServiceClient,
        status::v1::{
            ListOperationMailboxesRequest, OperationMailbox,
            status_service_client::StatusServiceClient,
        },
    },
};
use calgrant_domain::TenantSpec;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// How often is asked while the api is away, and the pause in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

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

    /// A tenant as it was applied.
    pub(crate) async fn tenant(&self, name: &str) -> anyhow::Result<TenantSpec> {
        let request = GetTenantRequest {
            name: name.to_owned(),
        };
        let tenant = self.fleet.clone().get_tenant(request).await?.into_inner();
        tenant_spec(tenant.spec.unwrap_or_default())
    }

    /// The mailboxes of an operation that a request is about, page by page; `told` is given each.
    pub(crate) async fn mailboxes(
        &self,
        mut request: ListOperationMailboxesRequest,
        mut told: impl FnMut(OperationMailbox) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        request.page_size = 1000;
        loop {
            let mut status = self.status.clone();
            let page = status.list_operation_mailboxes(request.clone()).await?;
            let page = page.into_inner();
            page.mailboxes.into_iter().try_for_each(&mut told)?;
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Asks, and again while the api is away. Only for what is harmless to repeat: by its `request_id`, or as it changes nothing.
pub(crate) async fn patiently<T, F: Future<Output = Result<Response<T>, Status>>>(
    ask: impl Fn() -> F,
) -> Result<T, Status> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match ask().await {
            Err(status) if status.code() == Code::Unavailable && left > 0 => {
                eprintln!("{}; trying again", status.message());
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer.map(Response::into_inner),
        }
    }
}

/// Reads a tenant.
///
/// # Errors
/// This version can't: says what it doesn't understand.
pub(crate) fn tenant_spec(wire: PbTenantSpec) -> anyhow::Result<TenantSpec> {
    fleet::tenant(wire).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("this version can't read the tenant: {}", faults.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_api_that_is_away_is_asked_again_and_a_refusal_is_not() {
        let asked = Cell::new(0);
        let after = async |failures: u32, status: fn(&'static str) -> Status| {
            asked.set(0);
            patiently(|| {
                asked.set(asked.get() + 1);
                let answer = if asked.get() > failures {
                    Ok(Response::new(asked.get()))
                } else {
                    Err(status("why"))
                };
                async { answer }
            })
            .await
        };
        let answered = after(ATTEMPTS - 1, Status::unavailable).await;
        assert_eq!(answered.unwrap(), ATTEMPTS);
        let given_up = after(ATTEMPTS, Status::unavailable).await;
        assert_eq!(given_up.unwrap_err().code(), Code::Unavailable);
        let refused = after(1, Status::not_found).await;
        assert_eq!(
            (refused.unwrap_err().code(), asked.get()),
            (Code::NotFound, 1)
        );
    }
}
