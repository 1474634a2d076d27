//! The front door. What isn't done here is passed on to status as it came, and its answer back, so that a
//! client needs one address.

use std::pin::Pin;

use calgrant_contract::pb::{
    fleet::v1::{
        self as fleet, fleet_service_client::FleetServiceClient, fleet_service_server::FleetService,
    },
    ledger::v1::{
        AcceptBackRequest, AcceptRequest, accept_back_request::Request as Back,
        ledger_service_client::LedgerServiceClient,
    },
    provisioning::v1::{
        self as provisioning, provisioning_service_client::ProvisioningServiceClient,
        provisioning_service_server::ProvisioningService,
    },
    status::v1::{
        self as status, status_service_client::StatusServiceClient,
        status_service_server::StatusService,
    },
};
use calgrant_runtime::telemetry;
use futures::Stream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};
use tracing::info;

use crate::upload;

/// The metadata key in which a caller says who it is.
const CALLER: &str = "calgrant-caller";

/// Clients of everything that status serves.
#[derive(Debug, Clone)]
pub struct Front {
    provisioning: ProvisioningServiceClient<Channel>,
    status: StatusServiceClient<Channel>,
    fleet: FleetServiceClient<Channel>,
    ledger: LedgerServiceClient<Channel>,
}

impl Front {
    /// A front door to the status service behind `channel`.
    pub fn new(channel: Channel) -> Self {
        Self {
            provisioning: ProvisioningServiceClient::new(channel.clone()),
            status: StatusServiceClient::new(channel.clone()),
            fleet: FleetServiceClient::new(channel.clone()),
            ledger: LedgerServiceClient::new(channel),
        }
    }
}

/// Who asks; status reads it.
fn caller<T>(request: &Request<T>) -> String {
    let raw = request.metadata().get(CALLER);
    raw.and_then(|value| value.to_str().ok())
        .unwrap_or("anonymous")
        .to_owned()
}

impl Front {
    /// Has an operation accepted that takes away, puts back or verifies.
    async fn accept_back(
        &self,
        caller: String,
        request: Back,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let accept = AcceptBackRequest {
            request: Some(request),
            caller,
            traceparent: telemetry::traceparent().unwrap_or_default(),
        };
        let accepted = self.ledger.clone().accept_back(accept).await?.into_inner();
        told(accepted.operation)
    }
}

/// An operation that was accepted.
fn told(
    operation: Option<provisioning::Operation>,
) -> Result<Response<provisioning::Operation>, Status> {
    let operation = operation.ok_or_else(|| Status::internal("internal error; see the log"))?;
    info!(operation.id = operation.id, "accepted {}", operation.id);
    Ok(Response::new(operation))
}

/// What `async_trait` makes of an async method, spelled out: it can't look into a macro.
type Passed<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;

macro_rules! pass_on {
    ($($client:ident . $method:ident ( $request:ty ) -> $answer:ty;)+) => {
        $(fn $method<'a, 'b>(&'a self, request: Request<$request>) -> Passed<'b, $answer>
        where
            'a: 'b,
            Self: 'b,
        {
            let mut client = self.$client.clone();
            Box::pin(async move { client.$method(request).await })
        })+
    };
}

#[tonic::async_trait]
impl ProvisioningService for Front {
    pass_on! {
        provisioning.create_delegation(provisioning::CreateDelegationRequest) -> provisioning::Delegation;
        provisioning.get_delegation(provisioning::GetDelegationRequest) -> provisioning::Delegation;
        provisioning.list_delegations(provisioning::ListDelegationsRequest) -> provisioning::ListDelegationsResponse;
        provisioning.get_operation(provisioning::GetOperationRequest) -> provisioning::Operation;
        provisioning.list_operations(provisioning::ListOperationsRequest) -> provisioning::ListOperationsResponse;
        provisioning.cancel_operation(provisioning::CancelOperationRequest) -> provisioning::Operation;
        provisioning.release_operation(provisioning::ReleaseOperationRequest) -> provisioning::Operation;
    }

    async fn run_delegation(
        &self,
        request: Request<provisioning::RunDelegationRequest>,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let caller = caller(&request);
        let accept = AcceptRequest {
            request: Some(request.into_inner()),
            caller,
            traceparent: telemetry::traceparent().unwrap_or_default(),
        };
        let accepted = self.ledger.clone().accept(accept).await?.into_inner();
        told(accepted.operation)
    }

    async fn revoke_delegation(
        &self,
        request: Request<provisioning::RevokeDelegationRequest>,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let caller = caller(&request);
        let request = Back::RevokeDelegation(request.into_inner());
        self.accept_back(caller, request).await
    }

    async fn revoke_trustee(
        &self,
        request: Request<provisioning::RevokeTrusteeRequest>,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let caller = caller(&request);
        let request = Back::RevokeTrustee(request.into_inner());
        self.accept_back(caller, request).await
    }

    async fn undo_operation(
        &self,
        request: Request<provisioning::UndoOperationRequest>,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let caller = caller(&request);
        self.accept_back(caller, Back::Undo(request.into_inner()))
            .await
    }

    async fn verify_delegation(
        &self,
        request: Request<provisioning::VerifyDelegationRequest>,
    ) -> Result<Response<provisioning::Operation>, Status> {
        let caller = caller(&request);
        self.accept_back(caller, Back::Verify(request.into_inner()))
            .await
    }

    type WatchOperationStream =
        Pin<Box<dyn Stream<Item = Result<provisioning::WatchOperationResponse, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<provisioning::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let changes = self.provisioning.clone().watch_operation(request).await?;
        Ok(changes.map(|changes| Box::pin(changes) as Self::WatchOperationStream))
    }

    async fn upload_mailbox_list(
        &self,
        request: Request<Streaming<provisioning::UploadMailboxListRequest>>,
    ) -> Result<Response<provisioning::UploadMailboxListResponse>, Status> {
        upload::upload(self.ledger.clone(), request.into_inner())
            .await
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl StatusService for Front {
    pass_on! {
        status.list_operation_mailboxes(status::ListOperationMailboxesRequest) -> status::ListOperationMailboxesResponse;
        status.batch_get_mailbox_access(status::BatchGetMailboxAccessRequest) -> status::BatchGetMailboxAccessResponse;
        status.list_dead_letters(status::ListDeadLettersRequest) -> status::ListDeadLettersResponse;
        status.replay_dead_letters(status::ReplayDeadLettersRequest) -> status::ReplayDeadLettersResponse;
        status.discard_dead_letters(status::DiscardDeadLettersRequest) -> status::DiscardDeadLettersResponse;
    }

    type WatchMailboxAccessStream =
        Pin<Box<dyn Stream<Item = Result<status::WatchMailboxAccessResponse, Status>> + Send>>;

    async fn watch_mailbox_access(
        &self,
        request: Request<status::WatchMailboxAccessRequest>,
    ) -> Result<Response<Self::WatchMailboxAccessStream>, Status> {
        let changes = self.status.clone().watch_mailbox_access(request).await?;
        Ok(changes.map(|changes| Box::pin(changes) as Self::WatchMailboxAccessStream))
    }
}

#[tonic::async_trait]
impl FleetService for Front {
    pass_on! {
        fleet.apply_tenant(fleet::ApplyTenantRequest) -> fleet::ApplyTenantResponse;
        fleet.get_tenant(fleet::GetTenantRequest) -> fleet::Tenant;
        fleet.list_tenants(fleet::ListTenantsRequest) -> fleet::ListTenantsResponse;
        fleet.list_sites(fleet::ListSitesRequest) -> fleet::ListSitesResponse;
        fleet.list_accounts(fleet::ListAccountsRequest) -> fleet::ListAccountsResponse;
        fleet.scale_account(fleet::ScaleAccountRequest) -> fleet::Account;
        fleet.set_account_budget(fleet::SetAccountBudgetRequest) -> fleet::Account;
        fleet.pause_account(fleet::PauseAccountRequest) -> fleet::Account;
        fleet.drain_account(fleet::DrainAccountRequest) -> fleet::Account;
        fleet.resume_account(fleet::ResumeAccountRequest) -> fleet::Account;
        fleet.explain_pace(fleet::ExplainPaceRequest) -> fleet::ExplainPaceResponse;
        fleet.plan_capacity(fleet::PlanCapacityRequest) -> fleet::PlanCapacityResponse;
    }
}
