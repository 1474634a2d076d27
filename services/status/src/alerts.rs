//! Alerts, as people ask for them.

use calgrant_contract::{pb::status::v1 as pb, provisioning::check_ticket, refusal};
use calgrant_domain::{AlertId, AlertKind, TenantName, outcome::optional};
use calgrant_runtime::clock;
use calgrant_store::{Alert, Store};
use tonic::Status;
use tracing::info;

use crate::{pages::Page, provisioning::timestamp, refuse};

/// Those that are asked for.
pub(crate) async fn list(
    store: &Store,
    request: &pb::ListAlertsRequest,
) -> Result<pb::ListAlertsResponse, Status> {
    let tenant: Option<TenantName> = if request.tenant.is_empty() {
        None
    } else {
        Some(request.tenant.parse().map_err(refuse::field("tenant"))?)
    };
    let kind: Option<AlertKind> = optional(&request.kind).map_err(refuse::field("kind"))?;
    let page = Page::of(
        &(&tenant, kind, request.all),
        request.page_size,
        &request.page_token,
    )?;
    let alerts = store
        .alerts(tenant.as_ref(), kind, request.all, page.after, page.size)
        .await
        .map_err(refuse::store)?;
    let next_page_token = page.next(alerts.len(), alerts.last().map(|last| last.id.as_uuid()));
    Ok(pb::ListAlertsResponse {
        alerts: alerts.iter().map(wire).collect(),
        next_page_token,
    })
}

/// Records that a person has seen one.
pub(crate) async fn acknowledge(
    store: &Store,
    by: &str,
    request: &pb::AcknowledgeAlertRequest,
) -> Result<pb::Alert, Status> {
    let id: AlertId = request.id.parse().map_err(refuse::field("id"))?;
    if let Some(bad) = check_ticket(&request.ticket) {
        return Err(refusal::bad_input(&[bad]));
    }
    let alert = store
        .acknowledge(id, by, &request.ticket, clock::now())
        .await
        .map_err(refuse::store)?;
    info!(alert.id = %id, caller = by, "an alert is acknowledged");
    Ok(wire(&alert))
}

fn wire(alert: &Alert) -> pb::Alert {
    pb::Alert {
        id: alert.id.to_string(),
        tenant: alert.tenant.to_string(),
        kind: alert.kind.to_string(),
        subject: alert.subject.clone(),
        text: alert.text.clone(),
        delegation_id: alert
            .delegation
            .map_or_else(String::new, |id| id.to_string()),
        operation_id: alert
            .operation
            .map_or_else(String::new, |id| id.to_string()),
        raise_time: Some(timestamp(alert.raised_at)),
        last_time: Some(timestamp(alert.last_at)),
        end_time: alert.ended_at.map(timestamp),
        acknowledged_by: alert.acknowledged_by.clone(),
        acknowledge_time: alert.acknowledged_at.map(timestamp),
        ticket: alert.ticket.clone(),
    }
}
