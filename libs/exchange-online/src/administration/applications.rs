//! Applications that work in mailboxes by roles of Exchange's own, and what the directory consented to for them. Only looked at.

use std::collections::HashMap;

use calgrant_domain::{Address, ApplicationScope, Authorization};
use calgrant_exchange::Administered;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    OnlineAdministration,
    attempt::Attempt,
    read,
    wire::{AuthorizationRow, ConsentRow, MemberRow, PrincipalRow, ScopeRow},
};
use crate::{classify, graph::encoded, wire::OneOrMany};

/// The most that Graph puts on a page.
const TOP: &str = "999";
/// Consent to an API as a whole, without any of its permissions.
const NO_ROLE: &str = "00000000-0000-0000-0000-000000000000";

/// A permission of an API that the directory consented to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consented {
    /// The permission's id among the API's.
    pub role: String,
    /// The API's object id.
    pub api: String,
    /// The name that the API shows.
    pub api_name: String,
}

impl OnlineAdministration {
    /// The roles that Exchange gave an application, by its client id; whether this mailbox is in their scopes, where one is named. One
    /// call.
    ///
    /// # Errors
    /// Exchange doesn't know the application, or the mailbox; not allowed, or a call failed.
    pub async fn authorizations(
        &self,
        application: Uuid,
        mailbox: Option<&Address>,
    ) -> Administered<Vec<Authorization>> {
        let attempt = Attempt::Authorizations(application, mailbox);
        let mut parameters = json!({"Identity": application.to_string()});
        if let Some(mailbox) = mailbox {
            parameters["Resource"] = json!(mailbox.as_str());
        }
        let rows = self.looked_up(&attempt, &parameters).await?;
        let rows = rows.into_iter().map(|row| Ok(authorization(read(row)?)));
        rows.collect()
    }

    /// The recipient filter of a management scope. One call.
    ///
    /// # Errors
    /// There is no such scope, not allowed, or a call failed.
    pub async fn scope_filter(&self, scope: &str) -> Administered<String> {
        let attempt = Attempt::Scope(scope);
        let rows = self
            .looked_up(&attempt, &json!({"Identity": scope}))
            .await?;
        let row: ScopeRow = read(rows.into_iter().next().unwrap_or_default())?;
        Ok(row.recipient_filter.unwrap_or_default())
    }

    /// The groups among the direct members of a group, by their names; the group by its distinguished name. A call for each thousand
    /// members.
    ///
    /// # Errors
    /// There is no such group, not allowed, or a call failed.
    pub async fn nested_groups(&self, group: &str) -> Administered<Vec<String>> {
        let attempt = Attempt::NestedGroups(group);
        let all = json!({"Identity": group, "ResultSize": "Unlimited"});
        let mut nested = Vec::new();
        for row in self.looked_up(&attempt, &all).await? {
            nested.extend(nested_group(read(row)?));
        }
        Ok(nested)
    }

    /// The permissions that the directory consented to for an application, by its client id. One call.
    ///
    /// # Errors
    /// There is no such application, not allowed, or a call failed.
    pub async fn consented(&self, application: Uuid) -> Administered<Vec<Consented>> {
        let path = format!("servicePrincipals(appId='{application}')/appRoleAssignments");
        let request = self.http.client.get(self.url(&path, &[("$top", TOP)]));
        let answer = self.graph(request).await;
        let answer = answer.map_err(|failed| failed.of(&Attempt::Consents(application)))?;
        let mut all = Vec::new();
        for row in classify::rows(answer) {
            all.extend(consent(read(row)?));
        }
        Ok(all)
    }

    /// The names of an API's permissions, by their ids; the API by its object id. One call.
    ///
    /// # Errors
    /// As [`Self::consented`].
    pub async fn permissions(
        &self,
        application: Uuid,
        api: &str,
    ) -> Administered<HashMap<String, String>> {
        let path = format!("servicePrincipals/{}", encoded(api));
        let url = self.url(&path, &[("$select", "id,appRoles")]);
        let answer = self.graph(self.http.client.get(url)).await;
        let answer = answer.map_err(|failed| failed.of(&Attempt::Consents(application)))?;
        let api: PrincipalRow = read(answer)?;
        let roles = api.app_roles.into_iter();
        let named = roles.filter_map(|role| Some((role.id, role.value?)));
        Ok(named.collect())
    }

    /// What a cmdlet prints that changes nothing.
    async fn looked_up(
        &self,
        attempt: &Attempt<'_>,
        parameters: &Value,
    ) -> Administered<Vec<Value>> {
        let printed = self.cmdlet(attempt.cmdlet(), parameters).await;
        printed.map_err(|failed| failed.of(attempt))
    }
}

fn authorization(row: AuthorizationRow) -> Authorization {
    let name = row.allowed_resource_scope.unwrap_or_default();
    let kind = row.scope_type.unwrap_or_default();
    let scope = match kind.as_str() {
        "Organization" => ApplicationScope::Organization,
        "CustomRecipientScope" => ApplicationScope::Recipients(name),
        _ => ApplicationScope::Other { kind, name },
    };
    let permissions = row.granted_permissions.iter().flat_map(OneOrMany::all);
    let permissions = permissions.flat_map(|some| some.split(','));
    Authorization {
        role: row.role_name.unwrap_or_default(),
        permissions: permissions.map(|one| one.trim().to_owned()).collect(),
        scope,
        // It has a third value, for no mailbox: `Not Run`.
        in_scope: match row.in_scope {
            Value::Bool(is) => Some(is),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        },
    }
}

/// A member that is a group itself.
fn nested_group(row: MemberRow) -> Option<String> {
    let is_group = row.recipient_type?.ends_with("Group");
    let named = [row.primary_smtp_address, row.name];
    let mut named = named.into_iter().flatten().filter(|name| !name.is_empty());
    is_group.then(|| named.next().unwrap_or_default())
}

fn consent(row: ConsentRow) -> Option<Consented> {
    (row.app_role_id != NO_ROLE).then(|| Consented {
        role: row.app_role_id,
        api: row.resource_id,
        api_name: row.resource_display_name.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_exchange_writes_them() {
        let limited = |kind: &str, name: &str, in_scope: Value| {
            let row = json!({
                "RoleName": "Application Calendars.ReadWrite", "GrantedPermissions": "Calendars.ReadWrite",
                "AllowedResourceScope": name, "ScopeType": kind, "InScope": in_scope,
            });
            authorization(read(row).unwrap())
        };
        for (in_scope, wanted) in [
            (json!("True"), Some(true)),
            (json!("False"), Some(false)),
            (json!(true), Some(true)),
            (json!("Not Run"), None),
            (Value::Null, None),
        ] {
            let found = limited("Organization", "Organization", in_scope);
            assert_eq!(
                (found.in_scope, found.scope),
                (wanted, ApplicationScope::Organization)
            );
        }
        let found = limited("CustomRecipientScope", "Timetable", Value::Null);
        assert_eq!(
            found.scope,
            ApplicationScope::Recipients("Timetable".into())
        );
        let found = limited("AdministrativeUnit", "4d81", Value::Null);
        assert_eq!(found.scope.to_string(), "the AdministrativeUnit 4d81");
        for several in [
            json!("Mail.Read, Calendars.ReadWrite"),
            json!(["Mail.Read", "Calendars.ReadWrite"]),
        ] {
            let row = read(json!({"RoleName": "x", "GrantedPermissions": several}));
            let found = authorization(row.unwrap());
            assert_eq!(found.permissions, ["Mail.Read", "Calendars.ReadWrite"]);
        }
    }

    #[test]
    fn groups_among_members_are_told_from_people() {
        let member = |kind: &str| {
            let row = json!({"RecipientType": kind, "Name": "Students", "PrimarySmtpAddress": ""});
            nested_group(read(row).unwrap())
        };
        for (kind, is) in [
            ("MailUniversalSecurityGroup", true),
            ("MailUniversalDistributionGroup", true),
            ("UserMailbox", false),
            ("MailContact", false),
        ] {
            assert_eq!(member(kind).as_deref(), is.then_some("Students"), "{kind}");
        }
    }

    #[test]
    fn consent_to_an_api_as_a_whole_is_none_to_a_permission() {
        let row = |role: &str| {
            let row = json!({"appRoleId": role, "resourceId": "r", "resourceDisplayName": "Microsoft Graph"});
            consent(read(row).unwrap())
        };
        assert!(row(NO_ROLE).is_none());
        assert_eq!(row("ef54").unwrap().api_name, "Microsoft Graph");
    }
}
