//! The operator, who does what Calgrant waits for a person to do.

use calgrant_contract::pb::{
    fleet::v1::{
        AccountState, ExplainPaceRequest, ListAccountsRequest, ResumeAccountRequest,
        fleet_service_client::FleetServiceClient,
    },
    provisioning::v1::{
        Operation, OperationState, ReleaseOperationRequest,
        provisioning_service_client::ProvisioningServiceClient,
    },
    status::v1::{DeadLetter, ListDeadLettersRequest, status_service_client::StatusServiceClient},
};
use calgrant_runtime::clock;
use tonic::{Code, Status};

use crate::{
    desk::{Desk, timely},
    watching::is_over,
};

/// Mailboxes of whom it is said what they wait for.
const TOLD: usize = 8;

/// Resumes accounts that a server refused. Answers how many.
///
/// # Errors
/// An api is away.
pub(crate) async fn resume_paused(desk: &Desk) -> Result<u64, Status> {
    let mut resumed = 0;
    let mut fleet = FleetServiceClient::new(desk.channel());
    let listed = fleet
        .list_accounts(timely(ListAccountsRequest::default()))
        .await?;
    for account in listed.into_inner().accounts {
        if account.state() == AccountState::Refused {
            let spec = account.spec.clone().unwrap_or_default();
            let request = ResumeAccountRequest {
                tenant: account.tenant.clone(),
                site: account.site,
                account: spec.name,
            };
            fleet.resume_account(timely(request)).await?;
            resumed += 1;
        }
    }
    Ok(resumed)
}

/// Lets operations go on that a brake has stopped. Answers how many.
///
/// # Errors
/// An api is away.
pub(crate) async fn release_held(desk: &Desk, operations: &[Operation]) -> Result<u64, Status> {
    let mut released = 0;
    let held = operations
        .iter()
        .filter(|operation| operation.state() == OperationState::Held);
    for operation in held {
        let request = ReleaseOperationRequest {
            id: operation.id.clone(),
            ticket: "chaos".to_owned(),
        };
        let mut client = ProvisioningServiceClient::new(desk.channel());
        match client.release_operation(timely(request)).await {
            Ok(_) => released += 1,
            // Somebody cancelled it meanwhile.
            Err(status) if status.code() == Code::FailedPrecondition => {}
            Err(status) => return Err(status),
        }
    }
    Ok(released)
}

/// What waits with the dead letters.
pub(crate) async fn dead_letters(desk: &Desk) -> Vec<DeadLetter> {
    let listed = desk.insist(async |channel| {
        let all = ListDeadLettersRequest {
            page_size: 1000,
            ..ListDeadLettersRequest::default()
        };
        StatusServiceClient::new(channel)
            .list_dead_letters(timely(all))
            .await
    });
    let listed = listed.await.map(tonic::Response::into_inner);
    listed.map(|listed| listed.dead_letters).unwrap_or_default()
}

/// Says of some mailboxes that have not ended what they wait for.
pub(crate) async fn tell_outstanding(desk: &Desk, operations: &[Operation]) {
    let mut left = TOLD;
    for operation in operations.iter().filter(|operation| !is_over(operation)) {
        let mailboxes = desk.outstanding(&operation.id, left).await;
        let now = clock::now();
        for mailbox in &mailboxes {
            let wait = mailbox
                .not_before
                .map(|at| at.seconds - now.unix_timestamp());
            eprintln!(
                "chaos:   {} of {} ({:?}, {:?}) is {:?} {}, in {} s, attempts {}, {} {}",
                mailbox.name,
                operation.id,
                operation.kind(),
                operation.state(),
                mailbox.state(),
                mailbox.waiting,
                wait.unwrap_or_default(),
                mailbox.attempts,
                mailbox.server_code,
                mailbox.account
            );
        }
        left = left.saturating_sub(mailboxes.len());
        if left == 0 {
            return;
        }
    }
}

/// Says what an operator would look at when things are slow.
pub(crate) async fn tell_pace(desk: &Desk) {
    let mut fleet = FleetServiceClient::new(desk.channel());
    let pace = fleet
        .explain_pace(timely(ExplainPaceRequest::default()))
        .await;
    for site in pace.map(|pace| pace.into_inner().sites).unwrap_or_default() {
        eprintln!("chaos: {} is {}: {}", site.tenant, site.why, site.text);
    }
    let listed = fleet
        .list_accounts(timely(ListAccountsRequest::default()))
        .await;
    for account in listed
        .map(|listed| listed.into_inner().accounts)
        .unwrap_or_default()
    {
        let name = account.spec.clone().unwrap_or_default().name;
        eprintln!("chaos: {}/{name}: {:?}", account.tenant, account.keys);
    }
}
