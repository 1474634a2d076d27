//! What was made since the start, as it is in truth, for whoever wants to prove a set-up from outside.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use crate::admin::query;
use crate::proof::state;
use crate::reply::Reply;
use crate::tenant::{Object, Tenant};
use crate::world::World;

/// `GET /_simulator/created?tenant=`: users and groups that no scenario has written.
pub(crate) async fn created(
    State(world): State<Arc<World>>,
    RawQuery(text): RawQuery,
) -> Result<Reply, Reply> {
    let params = query(text, &["tenant"])?;
    let named = params.get("tenant");
    let tenants = world
        .tenants
        .iter()
        .filter(|tenant| named.is_none_or(|name| tenant.id == name || tenant.domain == name));
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for tenant in tenants {
        let made = tenant.users.starting_at(tenant.users.seeds());
        users.extend(made.map(|(at, _)| user(&world, tenant, at)));
        let made = tenant.groups.starting_at(tenant.groups.seeds());
        groups.extend(made.map(|(at, _)| group(tenant, at)));
    }
    Ok(Reply::json(200, json!({"users": users, "groups": groups})))
}

fn user(world: &World, tenant: &Tenant, at: usize) -> Value {
    let user = &tenant.users[at];
    let account = user.account_now();
    let licences: Vec<Value> = user
        .licences()
        .iter()
        .map(|held| {
            let sku = &tenant.skus[held.sku];
            let off = sku.plans.iter();
            let off = off.filter(|plan| held.disabled.contains(&plan.id));
            let off: Vec<&str> = off.map(|plan| plan.name.as_str()).collect();
            json!({"sku": sku.part_number, "disabled_plans": off})
        })
        .collect();
    let inherited = tenant.inherited(at);
    let inherited = inherited.iter().map(|(sku, _)| &tenant.skus[*sku]);
    let inherited: Vec<&str> = inherited.map(|sku| sku.part_number.as_str()).collect();
    json!({
        "upn": user.spec.upn, "id": user.spec.id.to_string(), "address": user.mail,
        "name": user.common_name(), "display_name": user.spec.name, "sam": user.sam(),
        "by": user.made.as_ref().map(|made| made.by.as_str()),
        "on_premises": user.spec.on_premises, "dn": user.spec.dn,
        "enabled": account.enabled, "usage_location": account.usage_location,
        "password_policies": account.password_policies, "employee_id": account.employee_id,
        "custom_attribute_15": account.custom_15, "hidden": account.hidden,
        "licences": licences, "inherited_licences": inherited,
        "state": state(user, world.clock.now()),
    })
}

fn group(tenant: &Tenant, at: usize) -> Value {
    let group = &tenant.groups[at];
    let settings = group.settings();
    let members = group.members();
    let members = members.iter().map(|member| match member {
        Object::User(at) => tenant.users[*at].mail.as_str(),
        Object::Group(at) => &tenant.groups[*at].common_name,
        Object::Contact(at) => &tenant.contacts[*at].1,
        Object::Device(at) => &tenant.devices[*at].1,
    });
    let members: Vec<&str> = members.collect();
    json!({
        "address": group.spec.mail, "id": group.spec.id.to_string(), "alias": group.alias,
        "name": group.common_name, "display_name": group.spec.name, "kind": group.spec.kind,
        "by": group.made_by, "dn": group.spec.dn, "on_premises": group.spec.synced,
        "hidden": settings.hidden, "owners": settings.owners, "join": settings.join,
        "members": members,
    })
}
