//! The front door. What isn't done here is passed on to status as it came, and its answer back, so that a
//! client needs one address.

use std::{error::Error, pin::Pin, time::Duration};

use calgrant_contract::{
    pb::{
        fleet::v1::{
            self as fleet, fleet_service_client::FleetServiceClient,
            fleet_service_server::FleetService,
        },
        ledger::v1::{
            self as journal, AcceptBackRequest, AcceptRequest,
            accept_back_request::Request as Back, ledger_service_client::LedgerServiceClient,
            setup_journal_service_client::SetupJournalServiceClient,
            setup_journal_service_server::SetupJournalService,
        },
        provisioning::v1::{
            self as provisioning, provisioning_service_client::ProvisioningServiceClient,
            provisioning_service_server::ProvisioningService,
        },
        setup::v1::{
            self as setup, setup_service_client::SetupServiceClient,
            setup_service_server::SetupService,
        },
        status::v1::{
            self as status, status_service_client::StatusServiceClient,
            status_service_server::StatusService,
        },
    },
    refusal,
};
use calgrant_runtime::telemetry;
use futures::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
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
    setup: SetupServiceClient<Channel>,
    journal: SetupJournalServiceClient<Channel>,
    stop: CancellationToken,
}

impl Front {
    /// A front door to the status service behind `channel`. Streams end with `stop`, so that their clients go on elsewhere.
    pub fn new(channel: Channel, stop: CancellationToken) -> Self {
        Self {
            provisioning: ProvisioningServiceClient::new(channel.clone()),
            status: StatusServiceClient::new(channel.clone()),
            fleet: FleetServiceClient::new(channel.clone()),
            ledger: LedgerServiceClient::new(channel.clone()),
            setup: SetupServiceClient::new(channel.clone()),
            journal: SetupJournalServiceClient::new(channel),
            stop,
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
        let accepted = self.ledger.clone().accept_back(accept).await;
        told(accepted.map_err(away)?.into_inner().operation)
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
            Box::pin(async move { client.$method(request).await.map_err(away) })
        })+
    };
}

/// What a client is told when the connection to status can't be made, or breaks: tonic calls that unknown or cancelled, and only
/// then does a status have a source.
fn away(status: Status) -> Status {
    if status.source().is_none() {
        return status;
    }
    refusal::unavailable(
        "status is away, or went away during the call; try again",
        Duration::from_secs(1),
    )
}

/// A stream that ends when this server does, in words by which a client knows that another one goes on with it.
fn until_stopped<T: Send + 'static>(
    changes: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
    stop: CancellationToken,
) -> impl Stream<Item = Result<T, Status>> + Send {
    stream::unfold(Some((changes, stop)), |open| async move {
        let (mut changes, stop) = open?;
        let next = tokio::select! {
            biased;
            change = changes.next() => change.map(|change| change.map_err(away)),
            () = stop.cancelled() => {
                let why = "this server stops; resume after the last number, another one goes on";
                return Some((Err(refusal::unavailable(why, Duration::ZERO)), None));
            }
        };
        Some((next?, Some((changes, stop))))
    })
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
        let accepted = self.ledger.clone().accept(accept).await;
        told(accepted.map_err(away)?.into_inner().operation)
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
        let changes = self.provisioning.clone().watch_operation(request).await;
        let changes = changes.map_err(away)?;
        Ok(changes.map(|changes| {
            Box::pin(until_stopped(changes, self.stop.clone())) as Self::WatchOperationStream
        }))
    }

    async fn upload_mailbox_list(
        &self,
        request: Request<Streaming<provisioning::UploadMailboxListRequest>>,
    ) -> Result<Response<provisioning::UploadMailboxListResponse>, Status> {
        upload::upload(self.ledger.clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(away)
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
        status.list_alerts(status::ListAlertsRequest) -> status::ListAlertsResponse;
        status.acknowledge_alert(status::AcknowledgeAlertRequest) -> status::Alert;
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

#[tonic::async_trait]
impl SetupService for Front {
    pass_on! {
        setup.run_setup(setup::RunSetupRequest) -> setup::Setup;
        setup.get_setup(setup::GetSetupRequest) -> setup::Setup;
        setup.list_setups(setup::ListSetupsRequest) -> setup::ListSetupsResponse;
        setup.cancel_setup(setup::CancelSetupRequest) -> setup::Setup;
    }
}

/// For whoever carries out a set-up with a credential of their own.
#[tonic::async_trait]
impl SetupJournalService for Front {
    pass_on! {
        journal.claim_setup(journal::ClaimSetupRequest) -> journal::ClaimSetupResponse;
        journal.record_steps(journal::RecordStepsRequest) -> journal::RecordStepsResponse;
        journal.release_setup(journal::ReleaseSetupRequest) -> journal::ReleaseSetupResponse;
        journal.get_sealed_secret(journal::GetSealedSecretRequest) -> journal::GetSealedSecretResponse;
        journal.keep_sealed_secret(journal::KeepSealedSecretRequest) -> journal::KeepSealedSecretResponse;
        journal.settle_sealed_secret(journal::SettleSealedSecretRequest) -> journal::SettleSealedSecretResponse;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_told_that_status_is_away() {
        let nowhere = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let mut client = ProvisioningServiceClient::new(nowhere);
        let request = provisioning::GetOperationRequest::default();
        let broken = client.get_operation(request).await.unwrap_err();
        assert_eq!(away(broken).code(), tonic::Code::Unavailable);
        let torn = Status::from_error(std::io::Error::other("torn").into());
        assert_eq!(torn.code(), tonic::Code::Unknown);
        assert_eq!(away(torn).code(), tonic::Code::Unavailable);
        let said = Status::not_found("by status itself");
        assert_eq!(away(said).code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn a_watch_ends_when_the_server_stops() {
        let stop = CancellationToken::new();
        let changes = stream::iter([Ok(1)]).chain(stream::pending());
        let mut watched = Box::pin(until_stopped(Box::pin(changes), stop.clone()));
        assert_eq!(watched.next().await.unwrap().unwrap(), 1);
        stop.cancel();
        let told = watched.next().await.unwrap().unwrap_err();
        assert_eq!(told.code(), tonic::Code::Unavailable);
        assert!(watched.next().await.is_none());
    }
}
