//! Gathering what the judge needs: what is true from the simulator, what is told from the apis.

use std::collections::BTreeSet;

use calgrant_contract::pb::provisioning::v1::{Operation, OperationState};
use serde_json::Value;

use crate::{
    desk::{Desk, Run},
    exchange::Exchange,
    school::TENANTS,
    verdict::{Entry, Job, Members, Told, Truth},
};

/// Who is in which group, and what every trustee has on every calendar.
pub(crate) async fn truth(exchange: &Exchange) -> anyhow::Result<(Members, Truth)> {
    let (mut members, mut truth) = (Members::new(), Truth::new());
    for (number, tenant) in TENANTS.iter().enumerate() {
        let mut edited: BTreeSet<String> = BTreeSet::new();
        for trustee in tenant.trustees {
            let query = format!(
                "expectation?tenant={}&all=true&trustee={trustee}",
                tenant.id
            );
            for row in exchange.pages(&query, "members").await? {
                let key = key(&row["object_id"]);
                let is_there = row["state"] == "mailbox" && !row["calendar"].is_null();
                if is_there && was_edited(exchange, &row["address"]).await? {
                    edited.insert(key.clone());
                }
                let entry = Entry {
                    before: role(&row["before"]),
                    now: role(&row["now"]),
                    edited: edited.contains(&key),
                    is_there,
                    plain: is_there && number > 0,
                };
                truth.insert((tenant.name, key, *trustee), entry);
            }
        }
        for group in tenant.groups {
            let query = format!(
                "expectation?tenant={}&group={group}&trustee={}",
                tenant.id, tenant.trustees[0]
            );
            let rows = exchange.pages(&query, "members").await?;
            let keys = rows.iter().map(|row| key(&row["object_id"])).collect();
            members.insert((tenant.name, *group), keys);
        }
    }
    Ok((members, truth))
}

/// The simulator's user leaves this mark when the list was changed between our read and our write.
async fn was_edited(exchange: &Exchange, address: &Value) -> anyhow::Result<bool> {
    let address = address.as_str().unwrap_or_default();
    let entries = exchange
        .get(&format!("permissions?mailbox={address}"))
        .await?;
    let everybody = entries.as_array().into_iter().flatten();
    Ok(everybody
        .filter(|entry| entry["principal"] == "Default")
        .any(|entry| entry["rights"][0] == "Reviewer" || entry["rights"] == "Reviewer"))
}

fn key(id: &Value) -> String {
    id.as_str().unwrap_or_default().replace('-', "")
}

fn role(entry: &Value) -> Option<String> {
    let names = entry["rights"].as_array()?;
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    Some(names.join(","))
}

/// What is told of every run.
pub(crate) async fn told(desk: &Desk) -> Vec<Told> {
    let runs: Vec<_> = desk
        .runs()
        .iter()
        .map(|(number, run)| (*number, run.clone()))
        .collect();
    let mut told = Vec::with_capacity(runs.len());
    for (number, run) in runs {
        if let Some(id) = run.ids.first().cloned() {
            told.push(of_run(desk, number, run, &id).await);
        }
    }
    told
}

async fn of_run(desk: &Desk, number: usize, run: Run, id: &str) -> Told {
    let operation = desk.operation(id).await;
    let mailboxes = if operation.is_some() {
        desk.mailboxes(id).await
    } else {
        Vec::new()
    };
    let jobs = mailboxes.into_iter().map(|mailbox| Job {
        state: mailbox.state(),
        outcome: mailbox.outcome(),
        mailbox: mailbox.mailbox_id.trim_start_matches("mbx_").to_owned(),
        waiting: mailbox.waiting,
        reason: mailbox.reason,
        before: mailbox.before,
    });
    // Its time of acceptance leads the id.
    let order = operation.as_ref().map(|operation| operation.id.clone());
    let state = operation
        .as_ref()
        .map_or(OperationState::Unspecified, Operation::state);
    let operation = operation.unwrap_or_default();
    let counts = operation.counts.unwrap_or_default();
    let outcomes = counts.outcomes.iter();
    Told {
        number,
        tenant: TENANTS[run.tenant].name,
        group: run.group,
        trustee: run.trustee,
        role: run.role,
        validate_only: run.validate_only,
        ids: run.ids,
        cancelled: run.cancelled,
        order,
        state,
        failure: format!("{} {}", operation.failure, operation.failure_text),
        accepted: counts.accepted,
        outstanding: counts.outstanding,
        outcomes: outcomes.map(|count| (count.outcome, count.count)).collect(),
        jobs: jobs.collect(),
    }
}
