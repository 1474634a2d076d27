//! The cmdlets about groups and the organisation.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output, pages, type_details};
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
fn find(command: &Command<'_>, identity: &str) -> Result<usize, CmdletError> {
    let (tenant, now) = (command.tenant, command.world.clock.now());
    let distribution = |object: &Object| match object {
        Object::Group(at) => matches!(
            tenant.groups[*at].spec.kind,
            GroupKind::MailSecurity | GroupKind::Distribution
        )
        .then_some(*at)
        .filter(|at| tenant.is_visible(*at, now)),
        _ => None,
    };
    if let Some(at) = tenant.recipient(identity).as_ref().and_then(distribution) {
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
    let (owners, join) = tenant.groups[at].managed();
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
        "ManagedBy": owners,
        "ManagedBy@odata.type": "#Collection(String)",
        "MemberJoinRestriction": join.as_str(),
        "ExternalDirectoryObjectId": spec.id.to_string(),
        "Guid": spec.id.to_string(),
        "Guid@odata.type": "#Guid",
        "Identity": spec.name,
        "DistinguishedName": tenant.distinguished_name(alias),
    })
}

/// `Get-DistributionGroup`.
pub(crate) fn group(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    let tenant = command.tenant;
    if let Some(identity) = parameters.text("Identity") {
        let at = find(command, identity)?;
        return Ok(printed(vec![group_object(tenant, at)]));
    }
    let now = command.world.clock.now();
    pages(command, parameters, |from| {
        let groups = tenant.groups.iter().enumerate().skip(from);
        groups.filter_map(move |(at, group)| {
            let kind = group.spec.kind;
            let sort = matches!(kind, GroupKind::MailSecurity | GroupKind::Distribution);
            (sort && tenant.is_visible(at, now)).then(|| (at, group_object(tenant, at)))
        })
    })
}

/// `Get-DynamicDistributionGroupMember`: there are no such groups.
pub(crate) fn dynamic_members(parameters: &Parameters<'_>) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    Err(CmdletError::not_found(parameters.required("Identity")?))
}

/// `Get-DistributionGroupMember`: direct members only.
pub(crate) fn group_members(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ResultSize"])?;
    let tenant = command.tenant;
    let at = find(command, parameters.required("Identity")?)?;
    let members = tenant.groups[at].members();
    pages(command, parameters, |from| {
        let members = members.iter().enumerate().skip(from);
        members.filter_map(|(place, member)| Some((place, member_object(tenant, *member)?)))
    })
}

/// A member as the cmdlet shows it; what has no mail isn't shown.
fn member_object(tenant: &Tenant, member: Object) -> Option<Value> {
    match member {
        Object::User(at) => {
            let user = &tenant.users[at];
            let (recipient, details) = match user.spec.kind {
                Kind::None => ("MailUser", "MailUser"),
                kind => ("UserMailbox", type_details(kind)),
            };
            Some(json!({
                "Name": user.alias, "Alias": user.alias, "DisplayName": user.spec.name,
                "PrimarySmtpAddress": user.mail, "HiddenFromAddressListsEnabled": false,
                "RecipientType": recipient, "RecipientTypeDetails": details,
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
    }
}

/// `Get-OrganizationConfig`.
pub(crate) fn organization(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&[])?;
    let tenant = command.tenant;
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
    let domain = &command.tenant.domain;
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
