//! Requests to take away, to put back and to verify: what they are about, and whether they may be accepted.

use calgrant_contract::{
    back::{Of, back_submission},
    pb::ledger::v1 as pb,
    refusal,
};
use calgrant_domain::{
    Address, BadInput, DelegationId, OperationId, OperationKind, Outcome, TenantName, name::Caller,
};
use calgrant_runtime::clock;
use calgrant_store::{NewBack, OperationView, Store};
use tonic::Status;

use crate::refuse;

/// What an operation is about.
struct About {
    tenant: TenantName,
    delegation: Option<DelegationId>,
    trustee: Option<Address>,
    undoes: Option<OperationId>,
    repair: bool,
}

/// Reads a request and checks it against what is stored.
pub(crate) async fn new(store: &Store, request: pb::AcceptBackRequest) -> Result<NewBack, Status> {
    let caller: Caller = request
        .caller
        .parse()
        .map_err(refuse::field("calgrant-caller"))?;
    let missing = || refusal::bad_input(&[BadInput::missing("request", "say what is to be done")]);
    let submission = back_submission(request.request.ok_or_else(missing)?)
        .map_err(|faults| refusal::bad_input(&faults))?;
    let about = about(store, &submission.of).await?;
    // A repeat is answered as it was the first time, whatever has happened since.
    let repeated = store
        .has_request(&about.tenant, caller.as_str(), &submission.request_id)
        .await
        .map_err(refuse::store)?;
    if submission.kind() == OperationKind::Revoke
        && submission.mailboxes.is_empty()
        && !submission.validate_only
        && !repeated
    {
        nothing_under_way(store, &about).await?;
    }
    let now = clock::now();
    Ok(NewBack {
        id: OperationId::new(now, uuid::Uuid::new_v4()),
        tenant: about.tenant,
        kind: submission.kind(),
        delegation: about.delegation,
        trustee: about.trustee,
        undoes: about.undoes,
        repair: about.repair,
        names: submission
            .mailboxes
            .iter()
            .map(ToString::to_string)
            .collect(),
        lane: submission.lane,
        validate_only: submission.validate_only,
        caller: caller.to_string(),
        canonical: submission.canonical(),
        request_id: submission.request_id,
        ticket: submission.ticket,
        traceparent: request.traceparent,
        at: now,
    })
}

async fn about(store: &Store, of: &Of) -> Result<About, Status> {
    match of {
        Of::Delegation(id) => of_delegation(store, *id, false).await,
        Of::Verified(id, repair) => of_delegation(store, *id, *repair).await,
        Of::Trustee(tenant, trustee) => {
            let known = store.tenant(tenant).await.map_err(refuse::store)?;
            if known.is_none() {
                let why = "there is no such tenant";
                return Err(refusal::not_found("tenant", tenant.as_str(), why));
            }
            Ok(About {
                tenant: tenant.clone(),
                delegation: None,
                trustee: Some(trustee.clone()),
                undoes: None,
                repair: false,
            })
        }
        Of::Operation(id) => {
            let found = store.operation(*id).await.map_err(refuse::store)?;
            let undone = found.ok_or_else(|| {
                let why = "there is no such operation";
                refusal::not_found("operation", &id.to_string(), why)
            })?;
            undoable(&undone)?;
            Ok(About {
                tenant: undone.tenant,
                delegation: undone.delegation,
                trustee: None,
                undoes: Some(*id),
                repair: false,
            })
        }
    }
}

async fn of_delegation(store: &Store, id: DelegationId, repair: bool) -> Result<About, Status> {
    let found = store.delegation(id).await.map_err(refuse::store)?;
    let stored = found.ok_or_else(|| {
        let why = "there is no such delegation";
        refusal::not_found("delegation", &id.to_string(), why)
    })?;
    Ok(About {
        tenant: stored.spec.tenant,
        delegation: Some(id),
        trustee: None,
        undoes: None,
        repair,
    })
}

/// Whether an operation can be undone: it is over, and it may have written something.
fn undoable(undone: &OperationView) -> Result<(), Status> {
    let id = undone.id;
    if undone.ended_at.is_none() {
        let why = format!(
            "{id} is not over, so what it changed isn't known yet: wait for it, or cancel it first by `calgrant operations cancel {id}`"
        );
        return Err(refusal::precondition("STILL_RUNNING", &why));
    }
    let only_read = undone.validate_only
        || undone.kind == OperationKind::Verify && undone.counts.of(Outcome::Repaired) == 0;
    if only_read {
        let why = format!("{id} wrote nothing, so there is nothing to undo");
        return Err(refusal::precondition("NOTHING_WRITTEN", &why));
    }
    Ok(())
}

/// Everything can be taken away only when nothing is still being given.
async fn nothing_under_way(store: &Store, about: &About) -> Result<(), Status> {
    let giving = store
        .still_giving(&about.tenant, about.delegation, about.trustee.as_ref())
        .await
        .map_err(refuse::store)?;
    giving.map_or(Ok(()), |id| {
        let why = format!(
            "{id} is still giving what would be taken away: wait for it, or cancel it first by `calgrant operations cancel {id}`"
        );
        Err(refusal::precondition("STILL_RUNNING", &why))
    })
}
