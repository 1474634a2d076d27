//! What Graph and cmdlets show of users, products and groups, as JSON.

use serde::Deserialize;
use serde_json::Value;

use crate::wire::OneOrMany;

/// Exchange's own module, as it is made for whoever asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Module {
    /// Names, joined by commas.
    pub(super) exported_cmdlets: String,
}

/// A user.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UserRow {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) user_principal_name: Option<String>,
    pub(super) account_enabled: Option<bool>,
    pub(super) usage_location: Option<String>,
    pub(super) password_policies: Option<String>,
    pub(super) on_premises_sync_enabled: Option<bool>,
    pub(super) employee_id: Option<String>,
    pub(super) assigned_licenses: Option<Vec<AssignedRow>>,
    pub(super) license_assignment_states: Option<Vec<AssignmentRow>>,
}

/// A licence that works.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AssignedRow {
    pub(super) sku_id: String,
    pub(super) disabled_plans: Option<Vec<String>>,
}

/// A way by which a licence came.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AssignmentRow {
    pub(super) sku_id: String,
    pub(super) assigned_by_group: Option<String>,
}

/// A product.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SkuRow {
    pub(super) sku_id: String,
    pub(super) sku_part_number: String,
    pub(super) capability_status: Option<String>,
    pub(super) consumed_units: i64,
    pub(super) prepaid_units: Option<UnitsRow>,
    pub(super) service_plans: Option<Vec<PlanRow>>,
}

/// Seats that are paid for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UnitsRow {
    pub(super) enabled: i64,
}

/// A plan of a product.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PlanRow {
    pub(super) service_plan_id: String,
    pub(super) service_plan_name: String,
    pub(super) applies_to: Option<String>,
}

/// A group, as Graph shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DirectoryGroupRow {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) mail: Option<String>,
    pub(super) mail_enabled: Option<bool>,
    pub(super) security_enabled: Option<bool>,
    pub(super) group_types: Option<Vec<String>>,
    pub(super) on_premises_sync_enabled: Option<bool>,
}

/// A group, as `Get-DistributionGroup` and `New-DistributionGroup` show it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GroupRow {
    pub(super) external_directory_object_id: Option<String>,
    pub(super) guid: Option<String>,
    pub(super) name: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) primary_smtp_address: Option<String>,
    pub(super) recipient_type_details: Option<String>,
    pub(super) group_type: Option<String>,
    pub(super) managed_by: Option<OneOrMany>,
    pub(super) member_join_restriction: Option<String>,
    pub(super) member_depart_restriction: Option<String>,
    pub(super) hidden_from_address_lists_enabled: Option<bool>,
    pub(super) is_dir_synced: Option<bool>,
}

/// A role of an application, as `Test-ServicePrincipalAuthorization` shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AuthorizationRow {
    pub(super) role_name: Option<String>,
    pub(super) granted_permissions: Option<OneOrMany>,
    pub(super) allowed_resource_scope: Option<String>,
    pub(super) scope_type: Option<String>,
    pub(super) in_scope: Value,
}

/// A management scope.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ScopeRow {
    pub(super) recipient_filter: Option<String>,
}

/// A permission that the directory consented to.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConsentRow {
    pub(super) app_role_id: String,
    pub(super) resource_id: String,
    pub(super) resource_display_name: Option<String>,
}

/// A service principal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PrincipalRow {
    pub(super) app_roles: Vec<AppRoleRow>,
}

/// A permission that an API offers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AppRoleRow {
    pub(super) id: String,
    pub(super) value: Option<String>,
}

/// A member, as `Get-DistributionGroupMember` shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MemberRow {
    pub(super) external_directory_object_id: Option<String>,
    pub(super) guid: Option<String>,
    pub(super) name: Option<String>,
    pub(super) primary_smtp_address: Option<String>,
    pub(super) recipient_type: Option<String>,
}
