//! Groups: what is asked of cmdlets, and the rows of cmdlets and of Graph as the port shows them. Pure.

use calgrant_domain::{
    Address, GroupChange, GroupFound, GroupKind, GroupMemberFound, MailboxId, NewGroup,
};
use serde_json::{Map, Value, json};

use super::wire::{DirectoryGroupRow, GroupRow, MemberRow};
use crate::{graph::key, wire::OneOrMany};

/// What is asked of groups that Exchange doesn't show.
pub(super) const GROUP_FIELDS: &str =
    "id,displayName,mail,mailEnabled,securityEnabled,groupTypes,onPremisesSyncEnabled";

/// Parameters that name a group, or a mailbox.
pub(super) fn named(address: &Address) -> Value {
    json!({"Identity": address.as_str()})
}

/// Parameters that ask for all members of a group.
pub(super) fn listing(address: &Address) -> Value {
    json!({"Identity": address.as_str(), "ResultSize": "Unlimited"})
}

/// Parameters that make a group: closed, and with owners who are no members.
pub(super) fn creation(group: &NewGroup) -> Value {
    let address = group.address.as_str();
    let mut parameters = json!({
        "Name": group.name,
        "DisplayName": group.name,
        "Alias": address.split('@').next(),
        "PrimarySmtpAddress": address,
        "Type": "Security",
        "MemberJoinRestriction": "Closed",
        "MemberDepartRestriction": "Closed",
        "RequireSenderAuthenticationEnabled": true,
    });
    if !group.owners.is_empty() {
        parameters["ManagedBy"] = texts(&group.owners);
    }
    parameters
}

/// Parameters that change a group; `None` if nothing is to be changed.
pub(super) fn change(address: &Address, change: &GroupChange) -> Option<Value> {
    let mut parameters = Map::new();
    if let Some(closed) = change.join_closed {
        // `Open` doesn't go with security groups.
        let word = if closed { "Closed" } else { "ApprovalRequired" };
        parameters.insert("MemberJoinRestriction".into(), json!(word));
    }
    if let Some(closed) = change.depart_closed {
        let word = if closed { "Closed" } else { "Open" };
        parameters.insert("MemberDepartRestriction".into(), json!(word));
    }
    if let Some(hidden) = change.hidden {
        parameters.insert("HiddenFromAddressListsEnabled".into(), json!(hidden));
    }
    if let Some(owners) = &change.owners {
        parameters.insert("ManagedBy".into(), texts(owners));
    }
    if parameters.is_empty() {
        return None;
    }
    parameters.insert("Identity".into(), json!(address.as_str()));
    parameters.insert("BypassSecurityGroupManagerCheck".into(), json!(true));
    Some(Value::Object(parameters))
}

/// Parameters that make somebody a member.
pub(super) fn adding(group: &Address, member: &Address) -> Value {
    json!({"Identity": group.as_str(), "Member": member.as_str(), "BypassSecurityGroupManagerCheck": true})
}

/// Parameters that take a member out.
pub(super) fn taking_out(group: &Address, member: &Address) -> Value {
    let mut parameters = adding(group, member);
    parameters["Confirm"] = json!(false);
    parameters
}

fn texts(addresses: &[Address]) -> Value {
    addresses.iter().map(Address::as_str).collect()
}

/// The directory's own id of what a cmdlet shows; until the directory knows it, Exchange's.
fn id(directory: Option<&str>, exchange: Option<&str>, site: &str, name: &str) -> MailboxId {
    let said = [directory, exchange].into_iter().flatten();
    let id = said.into_iter().find(|id| !id.is_empty());
    key(id.unwrap_or_default(), site, name)
}

/// A group that was asked for by this address.
pub(super) fn found(row: &GroupRow, asked: &Address, site: &str) -> GroupFound {
    let address = row.primary_smtp_address.as_deref();
    let address = address.and_then(|address| address.parse().ok());
    let is = |text: &Option<String>, word: &str| {
        text.as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case(word))
    };
    let said = [&row.name, &row.display_name];
    let name = said
        .into_iter()
        .find_map(|name| name.clone().filter(|name| !name.is_empty()));
    GroupFound {
        id: id(
            row.external_directory_object_id.as_deref(),
            row.guid.as_deref(),
            site,
            asked.as_str(),
        ),
        address: address.unwrap_or_else(|| asked.clone()),
        name: name.unwrap_or_default(),
        kind: kind(row),
        join_closed: is(&row.member_join_restriction, "Closed"),
        depart_closed: is(&row.member_depart_restriction, "Closed"),
        hidden: row.hidden_from_address_lists_enabled.unwrap_or(false),
        synchronised: row.is_dir_synced.unwrap_or(false),
        owners: row
            .managed_by
            .as_ref()
            .map(OneOrMany::all)
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

fn kind(row: &GroupRow) -> GroupKind {
    let details = row.recipient_type_details.as_deref().unwrap_or_default();
    match details.to_ascii_lowercase().as_str() {
        "mailuniversalsecuritygroup" => GroupKind::MailEnabledSecurity,
        "groupmailbox" => GroupKind::Microsoft365,
        "dynamicdistributiongroup" => GroupKind::Dynamic,
        "" if is_security(row) => GroupKind::MailEnabledSecurity,
        _ => GroupKind::Distribution,
    }
}

fn is_security(row: &GroupRow) -> bool {
    let words = row.group_type.iter().flat_map(|kind| kind.split(','));
    let mut words = words.map(str::trim);
    words.any(|word| word.eq_ignore_ascii_case("SecurityEnabled"))
}

/// A group that Exchange doesn't show. `None` for a mail-enabled security group: it is one that Exchange doesn't show yet, and what
/// matters about it can't be told.
pub(super) fn of_directory(
    row: DirectoryGroupRow,
    asked: &Address,
    site: &str,
) -> Option<GroupFound> {
    let is = |word: &str| {
        let mut kinds = row.group_types.iter().flatten();
        kinds.any(|kind| kind.eq_ignore_ascii_case(word))
    };
    let kind = if is("DynamicMembership") {
        GroupKind::Dynamic
    } else if is("Unified") {
        GroupKind::Microsoft365
    } else {
        match (row.mail_enabled, row.security_enabled) {
            (Some(true), Some(true)) => return None,
            (Some(true), _) => GroupKind::Distribution,
            _ => GroupKind::Security,
        }
    };
    let address = row.mail.as_deref().and_then(|mail| mail.parse().ok());
    Some(GroupFound {
        id: key(&row.id, site, asked.as_str()),
        address: address.unwrap_or_else(|| asked.clone()),
        name: row.display_name.unwrap_or_default(),
        kind,
        join_closed: false,
        depart_closed: false,
        hidden: false,
        synchronised: row.on_premises_sync_enabled.unwrap_or(false),
        owners: Vec::new(),
    })
}

/// A member.
pub(super) fn member(row: &MemberRow, site: &str) -> GroupMemberFound {
    let address = row.primary_smtp_address.as_deref().unwrap_or_default();
    let name = row.name.as_deref().unwrap_or_default();
    GroupMemberFound {
        id: id(
            row.external_directory_object_id.as_deref(),
            row.guid.as_deref(),
            site,
            if address.is_empty() { name } else { address },
        ),
        address: address.parse().ok(),
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
