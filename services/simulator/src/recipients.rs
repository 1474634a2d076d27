//! The cmdlets that read recipients, groups and the organisation.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output, pages, type_details};
use crate::exchange::Front;
use crate::parameters::Parameters;
use crate::reply::CmdletError;
use crate::scenario::{GroupKind, Kind};
use crate::tenant::Object;
use crate::user::Side;

/// Finds a mail-enabled group that is no Microsoft 365 group, as the distribution group cmdlets do.
pub(crate) fn find(command: &Command<'_>, identity: &str) -> Result<usize, CmdletError> {
    let tenant = command.tenant;
    let distribution = |object: Object| match object {
        Object::Group(at) => matches!(
            tenant.groups[at].spec.kind,
            GroupKind::MailSecurity | GroupKind::Distribution
        )
        .then_some(at)
        .filter(|_| command.knows(object)),
        _ => None,
    };
    let here = match command.front.side() {
        Side::Online => None,
        Side::OnPremises => tenant.group_by_directory_name(identity).map(Object::Group),
    };
    let found = here.or_else(|| tenant.recipient(identity));
    if let Some(at) = found.and_then(distribution) {
        return Ok(at);
    }
    let mut named = tenant.named(identity).into_iter().filter_map(distribution);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(CmdletError::ambiguous(identity)),
        (None, _) => Err(CmdletError::not_found(identity)),
    }
}

pub(crate) fn group_object(command: &Command<'_>, at: usize) -> Value {
    let tenant = command.tenant;
    let group = &tenant.groups[at];
    let settings = group.settings_seen(command.place, command.now());
    let mail = group.spec.mail.as_deref().unwrap_or_default();
    let (recipient, flags) = match group.spec.kind {
        GroupKind::MailSecurity => ("MailUniversalSecurityGroup", "Universal, SecurityEnabled"),
        GroupKind::Distribution | GroupKind::Security | GroupKind::Unified => {
            ("MailUniversalDistributionGroup", "Universal")
        }
    };
    let leave = if settings.leaves_freely {
        "Open"
    } else {
        "Closed"
    };
    let mut object = json!({
        "Name": group.common_name,
        "DisplayName": group.spec.name,
        "Alias": group.alias,
        "PrimarySmtpAddress": mail,
        "EmailAddresses": [format!("SMTP:{mail}")],
        "EmailAddresses@odata.type": "#Collection(String)",
        "RecipientType": recipient,
        "RecipientTypeDetails": recipient,
        "GroupType": flags,
        "HiddenFromAddressListsEnabled": settings.hidden,
        "RequireSenderAuthenticationEnabled": !settings.takes_strangers,
        "ManagedBy": settings.owners,
        "ManagedBy@odata.type": "#Collection(String)",
        "MemberJoinRestriction": settings.join.as_str(),
        "MemberDepartRestriction": leave,
        "CustomAttribute15": settings.custom_15.as_deref().unwrap_or_default(),
        "IsDirSynced": group.spec.synced,
        "ExternalDirectoryObjectId": group.spec.id.to_string(),
        "Guid": group.spec.id.to_string(),
        "Guid@odata.type": "#Guid",
        "Identity": group.common_name,
        "DistinguishedName": tenant.distinguished_name(&group.alias),
    });
    if command.front.side() == Side::OnPremises {
        let name = tenant.group_directory_name(at);
        let canonical = tenant.canonical(&name);
        let unit = canonical.rsplit_once('/').map_or("", |(unit, _)| unit);
        object["ExternalDirectoryObjectId"] = "".into();
        object["OriginatingServer"] = command.controller().into();
        object["OrganizationalUnit"] = unit.into();
        object["Identity"] = canonical.as_str().into();
        object["SamAccountName"] = group.sam.as_str().into();
        object["DistinguishedName"] = name.into();
    }
    object
}

/// `Get-DistributionGroup`.
pub(crate) fn group(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Shell => parameters.only(&["Identity", "ResultSize", "DomainController"])?,
        Front::Admin | Front::Invoke => parameters.only(&["Identity", "ResultSize"])?,
    }
    let tenant = command.tenant;
    if let Some(identity) = parameters.text("Identity") {
        let at = find(command, identity)?;
        return Ok(Output::of(vec![group_object(command, at)]));
    }
    pages(command, parameters, |from| {
        let groups = tenant.groups.starting_at(from);
        groups.filter_map(|(at, group)| {
            let kind = group.spec.kind;
            let sort = matches!(kind, GroupKind::MailSecurity | GroupKind::Distribution);
            (sort && command.knows(Object::Group(at))).then(|| (at, group_object(command, at)))
        })
    })
}

/// `Get-Recipient`: mailboxes that are there, users with mail, groups and contacts.
pub(crate) fn recipient(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    let all = [
        "Identity",
        "ResultSize",
        "RecipientTypeDetails",
        "Properties",
        "DomainController",
    ];
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&all[..4])?,
        Front::Shell => parameters.only(&[&all[..3], &all[4..]].concat())?,
    }
    let tenant = command.tenant;
    if let Some(identity) = parameters.text("Identity") {
        let found = find_recipient(command, identity)?;
        let shown = member_object(command, found);
        return shown
            .map(|shown| Output::of(vec![shown]))
            .ok_or_else(|| CmdletError::not_found(identity));
    }
    let kinds = parameters.list("RecipientTypeDetails")?;
    let users = tenant.users.len();
    pages(command, parameters, |from| {
        (from..users + tenant.groups.len()).filter_map(move |place| {
            let object = match place.checked_sub(users) {
                None => Object::User(place),
                Some(group) => Object::Group(group),
            };
            let shown = member_object(command, object).filter(|_| is_recipient(command, object))?;
            let sort = shown["RecipientTypeDetails"].as_str().unwrap_or_default();
            let wanted =
                kinds.is_empty() || kinds.iter().any(|kind| kind.eq_ignore_ascii_case(sort));
            wanted.then_some((place, shown))
        })
    })
}

/// Whether Exchange knows an object as somebody to write to.
fn is_recipient(command: &Command<'_>, object: Object) -> bool {
    let tenant = command.tenant;
    if !command.knows(object) {
        return false;
    }
    match object {
        Object::User(at) => {
            let user = &tenant.users[at];
            let there = |side| {
                let mailbox = user.mailbox_at(side);
                mailbox.is_some_and(|mailbox| mailbox.is_there(command.now()))
            };
            // a mailbox of the other side is a user with mail on this one
            user.spec.kind == Kind::None && user.made.is_none()
                || there(Side::Online)
                || there(Side::OnPremises)
        }
        Object::Group(at) => {
            let kind = tenant.groups[at].spec.kind;
            kind != GroupKind::Security
        }
        Object::Contact(_) => true,
        Object::Device(_) => false,
    }
}

/// Finds somebody to write to by any name, or says that there is nobody, or several.
pub(crate) fn find_recipient(command: &Command<'_>, identity: &str) -> Result<Object, CmdletError> {
    let tenant = command.tenant;
    let here = match command.front.side() {
        Side::Online => None,
        Side::OnPremises => {
            let group = tenant.group_by_directory_name(identity).map(Object::Group);
            group.or_else(|| tenant.by_directory_name(identity).map(Object::User))
        }
    };
    let found = here.or_else(|| tenant.recipient(identity));
    if let Some(object) = found
        && is_recipient(command, object)
    {
        return Ok(object);
    }
    let named = tenant.named(identity).into_iter();
    let mut named = named.filter(|object| is_recipient(command, *object));
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(CmdletError::ambiguous(identity)),
        (None, _) => Err(CmdletError::not_found(identity)),
    }
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
    match command.front {
        Front::Shell => parameters.only(&["Identity", "ResultSize", "DomainController"])?,
        Front::Admin | Front::Invoke => parameters.only(&["Identity", "ResultSize"])?,
    }
    let at = find(command, parameters.required("Identity")?)?;
    let members = command.tenant.groups[at].members_seen(command.place, command.now());
    pages(command, parameters, |from| {
        let members = members.iter().enumerate().skip(from);
        members.filter_map(|(place, member)| Some((place, member_object(command, *member)?)))
    })
}

/// A member as the cmdlet shows it; what has no mail isn't shown.
fn member_object(command: &Command<'_>, member: Object) -> Option<Value> {
    let tenant = command.tenant;
    match member {
        Object::User(at) => {
            let user = &tenant.users[at];
            let account = user.account(command.place, command.now());
            let (recipient, details) = match user.spec.kind {
                Kind::None => ("MailUser", "MailUser"),
                kind => ("UserMailbox", type_details(kind)),
            };
            Some(json!({
                "Name": user.common_name(), "Alias": user.alias, "DisplayName": user.spec.name,
                "PrimarySmtpAddress": user.mail, "HiddenFromAddressListsEnabled": account.hidden,
                "RecipientType": recipient, "RecipientTypeDetails": details,
                "ExternalDirectoryObjectId": user.spec.id.to_string(), "Identity": user.common_name(),
                "Guid": user.spec.id.to_string(), "Guid@odata.type": "#Guid",
            }))
        }
        Object::Group(at) if tenant.groups[at].spec.mail.is_some() => {
            Some(group_object(command, at))
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
    Ok(Output::of(vec![json!({
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
    let tenant = command.tenant;
    let shown = |domain: &String| {
        json!({
            "Name": domain, "DomainName": domain, "DomainType": "Authoritative",
            "Default": *domain == tenant.domain, "Identity": domain,
        })
    };
    let domains = std::iter::once(&tenant.domain).chain(&tenant.domains);
    let Some(identity) = parameters.text("Identity") else {
        return Ok(Output::of(domains.map(shown).collect()));
    };
    let mut domains = domains.filter(|domain| identity.eq_ignore_ascii_case(domain));
    let found = domains.next().map(shown);
    let found = found.ok_or_else(|| CmdletError::not_found(identity))?;
    Ok(Output::of(vec![found]))
}
