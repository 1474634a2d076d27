//! What onboarding asks: which of a mailbox's events counts.

use calgrant_contract::{pb::ledger::v1 as pb, words};
use calgrant_domain::{
    Address, BadInput, DelegationId, EventMoment, EventVerdict, MailboxId, OperationId, TenantName,
    event::ACTING,
};
use calgrant_runtime::clock;
use calgrant_store::{IncomingEvent, Store};
use time::OffsetDateTime;
use tonic::Status;

use crate::refuse;

fn optional<T: std::str::FromStr<Err = BadInput>>(
    field: &str,
    raw: &str,
) -> Result<Option<T>, Status> {
    calgrant_domain::outcome::optional(raw).map_err(refuse::field(field))
}

fn incoming(request: &pb::AcceptEventRequest) -> Result<IncomingEvent, Status> {
    let nanos = i128::from(request.time_micros) * 1000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .map_err(|_| BadInput::new("time_micros", request.time_micros, "not a time"))
        .map_err(refuse::field(""))?;
    Ok(IncomingEvent {
        moment: EventMoment {
            at,
            kind: words::event_kind("kind", request.kind).map_err(refuse::field("kind"))?,
            source: request.source.clone(),
            id: request.id.clone(),
        },
        tenant: request
            .tenant
            .parse::<TenantName>()
            .map_err(refuse::field("tenant"))?,
        address: optional::<Address>("address", &request.address)?,
        mailbox: optional::<MailboxId>("mailbox_id", &request.mailbox_id)?,
        delegation: optional::<DelegationId>("delegation_id", &request.delegation_id)?,
        approved: request.approved,
    })
}

/// `LedgerService.AcceptEvent`.
pub(crate) async fn accept(
    store: &Store,
    request: &pb::AcceptEventRequest,
) -> Result<pb::AcceptEventResponse, Status> {
    let event = incoming(request)?;
    let decision = store
        .accept_event(&event, clock::now())
        .await
        .map_err(refuse::store)?;
    let why = match decision.verdict {
        EventVerdict::Brake => format!(
            "{} people of {} left within an hour: more than 50 and more than 2 % of all whose calendars are granted. Look whether that is so, then replay those that did leave",
            decision.leavers, event.tenant
        ),
        _ => String::new(),
    };
    Ok(pb::AcceptEventResponse {
        verdict: words::event_verdict_to_wire(decision.verdict),
        why,
        address: decision.address.unwrap_or_default(),
        delegation_ids: decision
            .delegations
            .iter()
            .map(ToString::to_string)
            .collect(),
        overruled_operation_ids: decision.overruled.iter().map(ToString::to_string).collect(),
        acting_millis: calgrant_contract::bus::millis(ACTING),
    })
}

/// `LedgerService.FinishEvent`.
pub(crate) async fn finish(
    store: &Store,
    request: &pb::FinishEventRequest,
) -> Result<pb::FinishEventResponse, Status> {
    let operations = request
        .operation_ids
        .iter()
        .map(|id| id.parse::<OperationId>());
    let operations = operations
        .collect::<Result<Vec<_>, _>>()
        .map_err(refuse::field("operation_ids"))?;
    let overtaken = store
        .finish_event(&request.source, &request.id, &operations)
        .await
        .map_err(refuse::store)?;
    Ok(pb::FinishEventResponse { overtaken })
}
