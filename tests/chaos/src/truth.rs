//! Gathering what the judge needs: what is true from the simulator, what is told from the apis.

use std::collections::BTreeMap;

use calgrant_contract::pb::provisioning::v1::{
    DelegationSpec, ListDelegationsRequest, Operation, OperationKind,
    provisioning_service_client::ProvisioningServiceClient, selector::By,
};
use serde_json::Value;

use crate::{
    asks::Asks,
    desk::{Desk, timely},
    exchange::Exchange,
    history::{ABSENT, Entry, Step},
    identity::{Identity, ticket},
    school::TENANTS,
    verdict::{Claim, Happening, Job, Members, Told, Truth, Wanted},
};

/// Who is in which group, and what every trustee has on every calendar, and how it came to that.
pub(crate) async fn truth(exchange: &Exchange) -> anyhow::Result<(Members, Truth)> {
    let (mut members, mut truth) = (Members::new(), Truth::new());
    for tenant in &TENANTS {
        let name = tenant.name.to_owned();
        for trustee in tenant.trustees {
            let query = format!(
                "expectation?tenant={}&all=true&trustee={trustee}",
                tenant.id
            );
            for row in exchange.pages(&query, "members").await? {
                let is_there = row["state"] == "mailbox" && !row["calendar"].is_null();
                let entry = Entry {
                    now: role(&row["now"]),
                    steps: row["story"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(step)
                        .collect(),
                    is_there,
                    plain: is_there && tenant.is_plain(),
                };
                let key = (name.clone(), key(&row["object_id"]), (*trustee).to_owned());
                truth.insert(key, entry);
            }
        }
        for group in tenant.groups {
            let query = format!(
                "expectation?tenant={}&group={group}&trustee={}",
                tenant.id, tenant.trustees[0]
            );
            let rows = exchange.pages(&query, "members").await?;
            let keys = rows.iter().map(|row| key(&row["object_id"])).collect();
            members.insert((name.clone(), (*group).to_owned()), keys);
        }
    }
    Ok((members, truth))
}

fn step(step: &Value) -> Step {
    Step {
        from: role(&step["from"]),
        to: role(&step["to"]),
        by_user: step["by_user"] == true,
    }
}

fn key(id: &Value) -> String {
    id.as_str().unwrap_or_default().replace('-', "")
}

fn role(entry: &Value) -> String {
    let Some(names) = entry["rights"].as_array() else {
        return ABSENT.to_owned();
    };
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    names.join(",")
}

/// What was asked for.
pub(crate) fn wanted(asks: &Asks, identity: &Identity) -> Wanted {
    let (asked, events) = (asks.asked(), identity.told());
    let claims = asked.iter().map(|(number, asked)| Claim {
        number: *number,
        ids: asked.ids.clone(),
        cancelled: asked.cancelled,
        named: asked.named,
    });
    let happenings = events.iter().map(|event| {
        let moment = identity.moment(event);
        Happening {
            ticket: ticket(&moment),
            subject: TENANTS[event.tenant].person(event.person),
            delegations: asks.kept(event.tenant),
            moment,
        }
    });
    Wanted {
        claims: claims.collect(),
        happenings: happenings.collect(),
    }
}

/// What is told of every operation, oldest first.
pub(crate) async fn told(desk: &Desk) -> Vec<Told> {
    let delegations = delegations(desk).await;
    let operations = desk.operations().await;
    let by_id: BTreeMap<_, _> = operations
        .iter()
        .map(|operation| (operation.id.as_str(), operation))
        .collect();
    let mut told = Vec::with_capacity(operations.len());
    for operation in by_id.values() {
        let first = origin(operation, &by_id);
        let spec = delegations.get(&first.delegation_id);
        told.push(of_operation(desk, operation, first, spec).await);
    }
    told
}

/// The operation that this one undoes, or that undoes, in the end.
fn origin<'o>(operation: &'o Operation, by_id: &BTreeMap<&str, &'o Operation>) -> &'o Operation {
    let mut first = operation;
    while let Some(undone) = by_id.get(first.undoes.as_str()).copied() {
        first = undone;
    }
    first
}

async fn delegations(desk: &Desk) -> BTreeMap<String, DelegationSpec> {
    let mut all = BTreeMap::new();
    for tenant in &TENANTS {
        let mut page_token = String::new();
        loop {
            let request = ListDelegationsRequest {
                tenant: tenant.name.to_owned(),
                page_size: 1000,
                page_token: page_token.clone(),
            };
            let page = desk.insist(async |channel| {
                ProvisioningServiceClient::new(channel)
                    .list_delegations(timely(request.clone()))
                    .await
            });
            let Some(page) = page.await.map(tonic::Response::into_inner) else {
                return all;
            };
            let of_page = page.delegations.into_iter();
            all.extend(of_page.filter_map(|stored| Some((stored.id, stored.spec?))));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    all
}

async fn of_operation(
    desk: &Desk,
    operation: &Operation,
    first: &Operation,
    spec: Option<&DelegationSpec>,
) -> Told {
    let mailboxes = desk.mailboxes(&operation.id).await;
    let jobs = mailboxes.into_iter().map(|mailbox| Job {
        state: mailbox.state(),
        outcome: mailbox.outcome(),
        ended: mailbox.end_time.map(millis),
        mailbox: mailbox.mailbox_id.trim_start_matches("mbx_").to_owned(),
        waiting: mailbox.waiting,
        reason: mailbox.reason,
        before: mailbox.before,
        kept_by: mailbox.kept_by,
    });
    let trustee = spec.and_then(|spec| Some(spec.trustees.first()?.address.clone()));
    let gives = operation.kind() == OperationKind::Delegate;
    let group = spec
        .and_then(|spec| spec.selector.clone()?.by)
        .and_then(|by| match by {
            By::Group(group) => Some(group),
            _ => None,
        })
        .filter(|_| gives && operation.mailboxes.is_empty());
    let counts = operation.counts.clone().unwrap_or_default();
    Told {
        id: operation.id.clone(),
        tenant: operation.tenant.clone(),
        kind: operation.kind(),
        delegation: operation.delegation_id.clone(),
        trustee: trustee.unwrap_or_else(|| first.trustee.clone()),
        role: spec
            .filter(|_| gives)
            .map(|spec| spec.role.clone())
            .unwrap_or_default(),
        group,
        validate_only: operation.validate_only,
        undoes: operation.undoes.clone(),
        ticket: operation.ticket.clone(),
        created: operation.create_time.map(millis).unwrap_or_default(),
        state: operation.state(),
        failure: format!("{} {}", operation.failure, operation.failure_text),
        accepted: counts.accepted,
        outstanding: counts.outstanding,
        outcomes: counts
            .outcomes
            .iter()
            .map(|count| (count.outcome, count.count))
            .collect(),
        jobs: jobs.collect(),
    }
}

fn millis(time: prost_types::Timestamp) -> i64 {
    time.seconds * 1000 + i64::from(time.nanos) / 1_000_000
}
