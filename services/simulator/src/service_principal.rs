//! Graph's service principals: of a tenant's apps, and of the two APIs whose application permissions they have consent for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::graph::no_such_segment;
use crate::graph_ask::{Ask, missing};
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::world::World;

/// An API: its app's id, and its name.
type Api = (&'static str, &'static str);

const GRAPH: Api = ("00000003-0000-0000-c000-000000000000", "Microsoft Graph");
const EXCHANGE: Api = (
    "00000002-0000-0ff1-ce00-000000000000",
    "Office 365 Exchange Online",
);

const PROPERTIES: [&str; 4] = ["id", "appId", "displayName", "appRoles"];

/// Whether a path's first segment is about them.
pub(crate) fn is_meant(segment: &str) -> bool {
    segment.starts_with("servicePrincipals")
}

/// One by its id or its app's, or the permissions that one has consent for.
pub(crate) fn answer(world: &World, ask: &Ask, segments: &[&str]) -> Result<Reply, Reply> {
    ask.role("Application.Read.All")?;
    let tenant = &*ask.token.tenant;
    let unknown = || no_such_segment(segments);
    let (first, rest) = segments.split_first().ok_or_else(unknown)?;
    let by_app = first
        .strip_prefix("servicePrincipals(appId='")
        .and_then(|id| id.strip_suffix("')"));
    let (app_id, rest) = match (by_app, rest) {
        (Some(app_id), rest) => (named(tenant, app_id), rest),
        (None, [id, rest @ ..]) if *first == "servicePrincipals" => (by_id(tenant, id), rest),
        _ => return Err(unknown()),
    };
    let app_id = app_id.ok_or_else(|| missing(first))?;
    match rest {
        [] => shown(tenant, ask, &app_id),
        ["appRoleAssignments"] => {
            let held = held(tenant, &app_id);
            ask.list(world, held.len(), |at| {
                assignment(tenant, &app_id, &held[at])
            })
        }
        _ => Err(unknown()),
    }
}

/// The client ids of all of them.
fn all(tenant: &Tenant) -> impl Iterator<Item = &str> {
    let apps = tenant.apps.keys().map(String::as_str);
    apps.chain([GRAPH.0, EXCHANGE.0])
}

fn named(tenant: &Tenant, app_id: &str) -> Option<String> {
    let mut all = all(tenant);
    let found = all.find(|one| one.eq_ignore_ascii_case(app_id));
    found.map(str::to_owned)
}

fn by_id(tenant: &Tenant, id: &str) -> Option<String> {
    let mut all = all(tenant);
    let found = all.find(|app_id| {
        object_id(tenant, app_id)
            .to_string()
            .eq_ignore_ascii_case(id)
    });
    found.map(str::to_owned)
}

fn object_id(tenant: &Tenant, app_id: &str) -> Uuid {
    let name = format!("{}/{app_id}", tenant.id);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// The API that a permission is of.
fn api(permission: &str) -> Api {
    if permission.starts_with("Exchange.") || permission == "full_access_as_app" {
        EXCHANGE
    } else {
        GRAPH
    }
}

fn role_id(permission: &str) -> Uuid {
    let name = format!("{}/{permission}", api(permission).0);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// What an app has consent for, in order.
fn held(tenant: &Tenant, app_id: &str) -> Vec<String> {
    let app = tenant.apps.get(app_id);
    let held: BTreeSet<String> = app
        .map(|app| app.registration().roles.into_iter().collect())
        .unwrap_or_default();
    held.into_iter().collect()
}

fn assignment(tenant: &Tenant, app_id: &str, permission: &str) -> Value {
    let (resource, name) = api(permission);
    json!({
        "id": format!("{}.{}", object_id(tenant, app_id).simple(), role_id(permission).simple()),
        "appRoleId": role_id(permission).to_string(),
        "createdDateTime": "2026-11-23T06:00:00Z",
        "principalDisplayName": app_id,
        "principalId": object_id(tenant, app_id).to_string(),
        "principalType": "ServicePrincipal",
        "resourceDisplayName": name,
        "resourceId": object_id(tenant, resource).to_string(),
    })
}

fn shown(tenant: &Tenant, ask: &Ask, app_id: &str) -> Result<Reply, Reply> {
    // Of the APIs' own permissions no more are there than some app has.
    let offered: BTreeSet<String> = tenant
        .apps
        .values()
        .flat_map(|app| app.registration().roles)
        .filter(|permission| api(permission).0 == app_id)
        .collect();
    let roles = offered.iter().map(|permission| {
        json!({
            "id": role_id(permission).to_string(), "value": permission, "displayName": permission,
            "allowedMemberTypes": ["Application"], "isEnabled": true, "origin": "Application",
        })
    });
    let name = [GRAPH, EXCHANGE].into_iter().find(|api| api.0 == app_id);
    let mut object = json!({
        "id": object_id(tenant, app_id).to_string(),
        "appId": app_id,
        "displayName": name.map_or(app_id, |(_, name)| name),
        "appRoles": roles.collect::<Vec<_>>(),
    });
    if let Some(select) = ask.params.get("$select") {
        let wanted: Vec<&str> = select.split(',').map(str::trim).collect();
        if let Some(unknown) = wanted.iter().find(|name| !PROPERTIES.contains(name)) {
            let text = format!(
                "Could not find a property named '{unknown}' on type 'microsoft.graph.servicePrincipal'."
            );
            return Err(Reply::error(400, "Request_BadRequest", &text));
        }
        if let Some(object) = object.as_object_mut() {
            object.retain(|name, _| wanted.contains(&name.as_str()));
        }
    }
    Ok(Reply::json(200, object))
}
