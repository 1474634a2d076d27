//! Users and products: what is asked of Graph, and its rows as the port shows them. Pure.

use calgrant_domain::{LicenceFound, NewUser, PlanFound, SkuFound, UserChange, UserFound};
use calgrant_exchange::{CallError, Meaning};
use serde_json::{Map, Value, json};

use super::wire::{SkuRow, UserRow};
use crate::graph::key;

/// What is asked of users.
pub(super) const USER_FIELDS: &str = "id,displayName,userPrincipalName,accountEnabled,usageLocation,passwordPolicies,onPremisesSyncEnabled,employeeId,assignedLicenses,licenseAssignmentStates";
/// What is asked of products.
pub(super) const SKU_FIELDS: &str =
    "skuId,skuPartNumber,capabilityStatus,consumedUnits,prepaidUnits,servicePlans";

/// The policy of a password that doesn't expire.
const NEVER_EXPIRES: &str = "DisablePasswordExpiration";

/// The body that makes a user. It holds its password: it is sent and shown nowhere.
pub(super) fn creation(user: &NewUser) -> Value {
    let name = user.user_name.as_str();
    let mut body = json!({
        "accountEnabled": true,
        "displayName": user.display_name,
        "mailNickname": name.split('@').next(),
        "userPrincipalName": name,
        "employeeId": user.mark,
        "passwordPolicies": NEVER_EXPIRES,
        "passwordProfile": {"password": user.password.reveal(), "forceChangePasswordNextSignIn": false},
    });
    if let Some(country) = &user.usage_location {
        body["usageLocation"] = json!(country);
    }
    body
}

/// The body that changes a user, which may hold a password; `None` if nothing is to be changed.
pub(super) fn change(change: &UserChange) -> Option<Value> {
    let mut body = Map::new();
    if let Some(enabled) = change.enabled {
        body.insert("accountEnabled".into(), json!(enabled));
    }
    if let Some(country) = &change.usage_location {
        body.insert("usageLocation".into(), json!(country));
    }
    if let Some(mark) = &change.mark {
        body.insert("employeeId".into(), json!(mark));
    }
    if let Some(never) = change.password_never_expires {
        let policies = if never { NEVER_EXPIRES } else { "None" };
        body.insert("passwordPolicies".into(), json!(policies));
    }
    if let Some(password) = &change.password {
        let profile =
            json!({"password": password.reveal(), "forceChangePasswordNextSignIn": false});
        body.insert("passwordProfile".into(), profile);
    }
    (!body.is_empty()).then_some(Value::Object(body))
}

/// The body that gives a product, with plans switched off.
pub(super) fn assignment(sku_id: &str, disabled_plans: &[String]) -> Value {
    json!({"addLicenses": [{"skuId": sku_id, "disabledPlans": disabled_plans}], "removeLicenses": []})
}

/// The body that takes a product away.
pub(super) fn removal(sku_id: &str) -> Value {
    json!({"addLicenses": [], "removeLicenses": [sku_id]})
}

/// A user that was just made: the answer tells its id, and not all that was asked for.
pub(super) fn created(row: UserRow, user: &NewUser, site: &str) -> UserFound {
    let shown = row.user_principal_name.as_deref();
    let user_name = shown.and_then(|name| name.parse().ok());
    UserFound {
        id: key(&row.id, site, user.user_name.as_str()),
        user_name: user_name.unwrap_or_else(|| user.user_name.clone()),
        display_name: row
            .display_name
            .unwrap_or_else(|| user.display_name.clone()),
        enabled: true,
        usage_location: user.usage_location.clone(),
        password_never_expires: true,
        synchronised: false,
        mark: Some(user.mark.clone()),
        licences: Vec::new(),
    }
}

/// A user as the directory shows it.
///
/// # Errors
/// It has no name that is one.
pub(super) fn found(row: UserRow, site: &str) -> Result<UserFound, CallError> {
    let licences = licences(&row);
    let name = row.user_principal_name.unwrap_or_default();
    let user_name = name.parse().map_err(|_| {
        CallError::new(
            Meaning::Retry,
            "unexpected_answer",
            "a user without a user principal name",
        )
    })?;
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(UserFound {
        id: key(&row.id, site, &name),
        user_name,
        display_name: row.display_name.unwrap_or_default(),
        enabled: row.account_enabled.unwrap_or(false),
        usage_location: said(row.usage_location).map(|country| country.to_uppercase()),
        password_never_expires: row
            .password_policies
            .iter()
            .flat_map(|policies| policies.split(','))
            .any(|policy| policy.trim().eq_ignore_ascii_case(NEVER_EXPIRES)),
        synchronised: row.on_premises_sync_enabled.unwrap_or(false),
        mark: said(row.employee_id),
        licences,
    })
}

/// The licences that work, each with the groups that it comes through.
fn licences(row: &UserRow) -> Vec<LicenceFound> {
    let assigned = row.assigned_licenses.iter().flatten();
    assigned
        .map(|licence| {
            let through = row
                .license_assignment_states
                .iter()
                .flatten()
                .filter(|way| way.sku_id.eq_ignore_ascii_case(&licence.sku_id))
                .filter_map(|way| way.assigned_by_group.clone());
            LicenceFound {
                sku_id: licence.sku_id.clone(),
                disabled_plans: licence.disabled_plans.clone().unwrap_or_default(),
                through_groups: through.filter(|group| !group.is_empty()).collect(),
            }
        })
        .collect()
}

/// A product. One that was suspended has no seat that can be used.
pub(super) fn product(row: SkuRow) -> SkuFound {
    let usable = row
        .capability_status
        .as_deref()
        .is_none_or(|status| ["Enabled", "Warning"].contains(&status));
    let seats = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
    let enabled = row.prepaid_units.map_or(0, |units| units.enabled);
    SkuFound {
        sku_id: row.sku_id,
        part_number: row.sku_part_number,
        enabled_seats: if usable { seats(enabled) } else { 0 },
        used_seats: seats(row.consumed_units),
        plans: row
            .service_plans
            .into_iter()
            .flatten()
            .map(|plan| PlanFound {
                for_users: plan
                    .applies_to
                    .is_some_and(|what| what.eq_ignore_ascii_case("User")),
                id: plan.service_plan_id,
                name: plan.service_plan_name,
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
