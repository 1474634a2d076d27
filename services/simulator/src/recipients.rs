//! The cmdlets about groups and the organisation.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output, type_details};
use crate::parameters::Parameters;
use crate::reply::CmdletError;
use crate::scenario::{GroupKind, Kind};
use crate::tenant::{Object, Tenant};

fn printed(value: Vec<Value>) -> Output {
    Output {
        value,
        ..Output::default()
    }
}

/// Finds a mail-enabled group that is no Microsoft 365 group, as the distribution group cmdlets do.
fn find(tenant: &Tenant, identity: &str) -> Result<usize, CmdletError> {
    let distribution = |object: &Object| match object {
        Object::Group(at) => matches!(
            tenant.groups[*at].spec.kind,
            GroupKind::MailSecurity | GroupKind::Distribution
        )
        .then_some(*at),
        _ => None,
    };
    if let Some(at) = tenant.object(identity).as_ref().and_then(distribution) {
        return Ok(at);
    }
    let mut named = tenant.named(identity).iter().filter_map(distribution);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(CmdletError::ambiguous(identity)),
        (None, _) => Err(CmdletError::not_found(identity)),
    }
}

fn group_object(tenant: &Tenant, at: usize) -> Value {
    let spec = &tenant.groups[at].spec;
    let mail = spec.mail.as_deref().unwrap_or_default();
    let alias = mail.split('@').next().unwrap_or_default();
    let (recipient, flags) = match spec.kind {
        GroupKind::MailSecurity => ("MailUniversalSecurityGroup", "Universal, SecurityEnabled"),
        GroupKind::Distribution | GroupKind::Security | GroupKind::Unified => {
            ("MailUniversalDistributionGroup", "Universal")
        }
    };
    json!({
        "Name": spec.name,
        "DisplayName": spec.name,
        "Alias": alias,
        "PrimarySmtpAddress": mail,
        "EmailAddresses": [format!("SMTP:{mail}")],
        "EmailAddresses@odata.type": "#Collection(String)",
        "RecipientType": recipient,
        "RecipientTypeDetails": recipient,
        "GroupType": flags,
        "HiddenFromAddressListsEnabled": false,
        "MemberJoinRestriction": "Closed",
        "ExternalDirectoryObjectId": spec.id.to_string(),
        "Guid": spec.id.to_string(),
        "Guid@odata.type": "#Guid",
        "Identity": spec.name,
    })
}

/// `Get-DistributionGroup`.
pub(crate) fn group(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    let tenant = &command.token.tenant;
    if let Some(identity) = parameters.text("Identity") {
        let at = find(tenant, identity)?;
        return Ok(printed(vec![group_object(tenant, at)]));
    }
    let most = parameters.result_size()?;
    let groups = tenant.groups.iter().enumerate().filter(|(_, group)| {
        matches!(
            group.spec.kind,
            GroupKind::MailSecurity | GroupKind::Distribution
        )
    });
    let shown = groups.take(most).map(|(at, _)| group_object(tenant, at));
    Ok(printed(shown.collect()))
}

/// `Get-DistributionGroupMember`: direct members only.
pub(crate) fn group_members(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    let tenant = &command.token.tenant;
    let at = find(tenant, parameters.required("Identity")?)?;
    let most = parameters.result_size()?;
    let members = tenant.groups[at].members.iter();
    let shown = members.filter_map(|member| match *member {
        Object::User(at) => {
            let user = &tenant.users[at];
            let details = match user.spec.kind {
                Kind::None => "MailUser",
                kind => type_details(kind),
            };
            Some(json!({
                "Name": user.alias, "Alias": user.alias, "DisplayName": user.spec.name,
                "PrimarySmtpAddress": user.mail,
                "RecipientType": "UserMailbox", "RecipientTypeDetails": details,
                "ExternalDirectoryObjectId": user.spec.id.to_string(), "Identity": user.alias,
            }))
        }
        Object::Group(at) if tenant.groups[at].spec.mail.is_some() => {
            Some(group_object(tenant, at))
        }
        Object::Contact(at) => {
            let mail = &tenant.contacts[at].1;
            Some(json!({
                "Name": mail, "DisplayName": mail, "PrimarySmtpAddress": mail,
                "RecipientType": "MailContact", "RecipientTypeDetails": "MailContact", "Identity": mail,
            }))
        }
        Object::Group(_) | Object::Device(_) => None,
    });
    let mut value: Vec<Value> = shown.take(most.saturating_add(1)).collect();
    let more = value.len() > most;
    value.truncate(most);
    Ok(Output {
        value,
        warning: more.then(|| "There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.".to_owned()),
        next: None,
    })
}

/// `Get-OrganizationConfig`.
pub(crate) fn organization(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&[])?;
    let tenant = &command.token.tenant;
    Ok(printed(vec![json!({
        "Name": tenant.domain, "DisplayName": tenant.domain, "Identity": tenant.domain,
        "Guid": tenant.id, "ExternalDirectoryOrganizationId": tenant.id, "IsDehydrated": false,
    })]))
}

/// `Get-AcceptedDomain`.
pub(crate) fn accepted_domains(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    let domain = &command.token.tenant.domain;
    if let Some(identity) = parameters.text("Identity")
        && !identity.eq_ignore_ascii_case(domain)
    {
        return Err(CmdletError::not_found(identity));
    }
    Ok(printed(vec![json!({
        "Name": domain, "DomainName": domain, "DomainType": "Authoritative", "Default": true,
        "Identity": domain,
    })]))
}
