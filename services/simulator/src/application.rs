//! Applications that work in mailboxes by roles of Exchange's own (RBAC for Applications): what they have, in which mailboxes, and
//! the cmdlets that tell of it.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output, find_mailbox, type_details};
use crate::filter::Mailboxes;
use crate::parameters::Parameters;
use crate::reply::CmdletError;
use crate::scenario::{AssignmentSpec, ScopeSpec};
use crate::tenant::Tenant;

/// A role of an app, and in which mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    role: String,
    within: Within,
}

#[derive(Debug, Clone)]
enum Within {
    /// In all.
    Organization,
    Scope {
        name: String,
        /// As it was written.
        text: String,
        filter: Mailboxes,
    },
    /// The place of an administrative unit.
    Unit(usize),
}

impl Assignment {
    /// All of an app's.
    pub(crate) fn all(specs: Vec<AssignmentSpec>, tenant: &Tenant) -> Result<Vec<Self>, String> {
        let specs = specs.into_iter();
        specs.map(|spec| Self::build(spec, tenant)).collect()
    }

    fn build(spec: AssignmentSpec, tenant: &Tenant) -> Result<Self, String> {
        let AssignmentSpec { role, scope, unit } = spec;
        if !role.starts_with("Application ") {
            return Err(format!(
                "assignments.role: {role:?} isn't one such as \"Application Calendars.ReadWrite\""
            ));
        }
        let within = match (scope, unit) {
            (None, None) => Within::Organization,
            (Some(ScopeSpec { name, filter }), None) => Within::Scope {
                name,
                filter: Mailboxes::parse(Some(&filter)).map_err(|_| {
                    format!("assignments.scope.filter: {filter:?} isn't understood here")
                })?,
                text: filter,
            },
            (None, Some(unit)) => {
                let mut units = tenant.units.iter();
                let found = units.position(|one| one.name.eq_ignore_ascii_case(&unit));
                Within::Unit(found.ok_or_else(|| {
                    format!("assignments.unit: there is no administrative unit {unit:?}")
                })?)
            }
            (Some(_), Some(_)) => {
                return Err("assignments: write a scope or a unit, not both".to_owned());
            }
        };
        Ok(Self { role, within })
    }

    fn holds(&self, command: &Command<'_>, user: usize, type_details: &str) -> bool {
        let tenant = command.tenant;
        match &self.within {
            Within::Organization => true,
            Within::Scope { filter, .. } => filter.holds(tenant, user, type_details),
            Within::Unit(at) => tenant.units[*at].members.contains(&user),
        }
    }

    /// What it applies to, and which sort of scope that is.
    fn scope(&self, tenant: &Tenant) -> (String, &'static str) {
        match &self.within {
            Within::Organization => ("Organization".to_owned(), "Organization"),
            Within::Scope { name, .. } => (name.clone(), "CustomRecipientScope"),
            Within::Unit(at) => (tenant.units[*at].id.to_string(), "AdministrativeUnit"),
        }
    }
}

/// `Test-ServicePrincipalAuthorization`: what an app may do in Exchange, and whether in this mailbox. What the directory consented to
/// is no part of it.
pub(crate) fn authorization(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "Resource"])?;
    let identity = parameters.required("Identity")?;
    let app = command.tenant.apps.get(&identity.to_lowercase());
    let assignments = app.map(|app| app.registration().assignments);
    let assignments = assignments.filter(|assignments| !assignments.is_empty());
    let assignments = assignments.ok_or_else(|| CmdletError::not_found(identity))?;
    let mailbox = parameters.text("Resource");
    let mailbox = mailbox.map(|mailbox| find_mailbox(command, mailbox));
    let mailbox = mailbox.transpose()?;
    let rows = assignments.iter().map(|one| {
        let in_scope = match mailbox {
            None => "Not Run",
            Some((user, mailbox)) if one.holds(command, user, type_details(mailbox.kind)) => "True",
            Some(_) => "False",
        };
        let (scope, sort) = one.scope(command.tenant);
        json!({
            "RoleName": one.role, "GrantedPermissions": one.role.trim_start_matches("Application "),
            "AllowedResourceScope": scope, "ScopeType": sort, "InScope": in_scope,
        })
    });
    Ok(Output::of(rows.collect()))
}

/// `Get-ManagementScope`: of those that limit what apps may do.
pub(crate) fn scope(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity"])?;
    let wanted = parameters.text("Identity");
    let apps = command.tenant.apps.values();
    let all = apps.flat_map(|app| app.registration().assignments);
    let mut rows: Vec<Value> = Vec::new();
    for one in all {
        let Within::Scope { name, text, .. } = one.within else {
            continue;
        };
        let is_wanted = wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(&name));
        if is_wanted && rows.iter().all(|row| row["Name"] != name.as_str()) {
            rows.push(json!({
                "Name": name, "Identity": name, "ScopeRestrictionType": "RecipientScope", "Exclusive": false,
                "RecipientRoot": "", "RecipientFilter": text,
            }));
        }
    }
    match wanted {
        Some(wanted) if rows.is_empty() => Err(CmdletError::not_found(wanted)),
        _ => Ok(Output::of(rows)),
    }
}
