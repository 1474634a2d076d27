//! Changes an account while the simulator runs.

use std::sync::{Arc, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use crate::admin::{bad, read};
use crate::onprem::account::Scope;
use crate::reply::Reply;
use crate::world::World;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    password: Option<String>,
    disabled: Option<bool>,
    remote_powershell: Option<bool>,
    policy: Option<String>,
    cmdlets: Option<Vec<String>>,
    management_roles: Option<Vec<String>>,
    full_access: Option<Vec<String>>,
    impersonation: Option<Vec<String>>,
}

/// `PUT /_simulator/accounts/{name}`.
pub(crate) async fn change(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Reply, Reply> {
    let change: Change = read(&body)?;
    let found = world.tenants.iter().find_map(|tenant| {
        let site = tenant.site.as_ref()?;
        Some((tenant, site, site.account(&name)?))
    });
    let (tenant, site, account) = found.ok_or_else(|| Reply::error(404, "NoSuchAccount", &name))?;
    let scope = |names: Vec<String>| Scope::read(&names, tenant).map_err(|wrong| bad(&wrong));
    let mut rights = account.rights().as_ref().clone();
    if let Some(names) = change.full_access {
        rights.full_access = scope(names)?;
    }
    if let Some(names) = change.impersonation {
        rights.impersonation = scope(names)?;
    }
    if let Some(password) = change.password {
        rights.password = password;
    }
    if let Some(disabled) = change.disabled {
        rights.disabled = disabled;
    }
    if let Some(on) = change.remote_powershell {
        rights.remote_powershell = on;
    }
    if let Some(policy) = change.policy {
        let set = site.set_policy(&world, &account, &policy);
        rights.policy = set.map_err(|wrong| bad(&wrong))?;
    }
    if change.cmdlets.is_some() || change.management_roles.is_some() {
        let mut registration = account.app.registration();
        let (cmdlets, roles) = (change.cmdlets, change.management_roles);
        registration.allow(&cmdlets.unwrap_or_default(), &roles.unwrap_or_default());
        account.app.register(registration);
    }
    *account
        .rights
        .write()
        .unwrap_or_else(PoisonError::into_inner) = Arc::new(rights);
    Ok(Reply::json(200, json!({})))
}
