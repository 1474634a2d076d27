//! A mailbox as `Get-Mailbox` shows it.

use serde_json::{Value, json};

use crate::calendar::Mailbox;
use crate::cmdlet::{Command, type_details};
use crate::tenant::Tenant;
use crate::user::Side;

pub(crate) fn mailbox_object(command: &Command<'_>, at: usize, mailbox: &Mailbox) -> Value {
    let tenant = command.tenant;
    let user = &tenant.users[at];
    let account = user.account(command.place, command.now());
    let mut addresses = vec![format!("SMTP:{}", user.mail)];
    let others = user
        .spec
        .addresses
        .iter()
        .filter(|address| !address.eq_ignore_ascii_case(&user.mail));
    addresses.extend(others.map(|address| format!("smtp:{address}")));
    let mut object = json!({
        "Name": user.common_name(),
        "DisplayName": user.spec.name,
        "UserPrincipalName": user.spec.upn,
        "Alias": user.alias,
        "RecipientType": "UserMailbox",
        "RecipientTypeDetails": type_details(mailbox.kind),
        "EmailAddresses": addresses,
        "EmailAddresses@odata.type": "#Collection(String)",
        "PrimarySmtpAddress": user.mail,
        "Guid": mailbox.guid.to_string(),
        "Guid@odata.type": "#Guid",
        "Guid@data.type": "System.Guid",
        "ExchangeGuid": mailbox.guid.to_string(),
        "ExchangeGuid@odata.type": "#Guid",
        "ExternalDirectoryObjectId": user.spec.id.to_string(),
        "Id": user.alias,
        "Identity": user.alias,
        "DistinguishedName": tenant.distinguished_name(&user.alias),
        "LegacyExchangeDN": Tenant::legacy_name(&user.alias),
        "MaxSendSize": "35 MB (36,700,160 bytes)",
        "AccountDisabled": !account.enabled,
        "CustomAttribute15": account.custom_15.as_deref().unwrap_or_default(),
        "HiddenFromAddressListsEnabled": account.hidden,
        "GrantSendOnBehalfTo": [],
        "GrantSendOnBehalfTo@odata.type": "#Collection(String)",
    });
    if command.front.side() == Side::OnPremises {
        on_premises(tenant, at, &mut object);
        object["OriginatingServer"] = command.controller().into();
    }
    object
}

/// What is told of a mailbox otherwise by a server on premises.
fn on_premises(tenant: &Tenant, at: usize, object: &mut Value) {
    let user = &tenant.users[at];
    let canonical = tenant.canonical_name(at);
    let unit = canonical.rsplit_once('/').map_or("", |(unit, _)| unit);
    object["Guid"] = user.spec.id.to_string().into();
    object["ExternalDirectoryObjectId"] = "".into();
    object["DistinguishedName"] = tenant.directory_name(at).into();
    object["OrganizationalUnit"] = unit.into();
    object["Id"] = canonical.as_str().into();
    object["Identity"] = canonical.as_str().into();
    object["SamAccountName"] = user.sam().into();
    if let Some(site) = &tenant.site {
        let server = site.server.split('.').next().unwrap_or_default();
        object["ServerName"] = server.to_lowercase().into();
        object["Database"] = "DB01".into();
    }
}
