//! Requests, as text. Pure.
//!
//! A mailbox is always named by its address, and an address is never empty ([`Address`] has no empty value): some servers take an empty
//! one, or none, for the caller's own mailbox.

use calgrant_domain::{
    Address,
    permission_list::{Flags, Level, Written, WrittenEntry, WrittenIdentity},
};

use crate::xml::escaped;

/// What 2013 SP1 and every later server takes.
const VERSION: &str = "Exchange2013_SP1";

/// What is asked of calendar folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// What the folder is called.
    Names,
    /// Its permission list.
    List,
}

/// A request, acting for somebody or not.
fn envelope(acting_for: Option<&Address>, body: &str) -> String {
    let acting = acting_for.map_or_else(String::new, |address| {
        format!(
            "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>",
            escaped(address.as_str())
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
        <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" \
        xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
        xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\">\
        <soap:Header><t:RequestServerVersion Version=\"{VERSION}\"/>{acting}</soap:Header>\
        <soap:Body>{body}</soap:Body></soap:Envelope>"
    )
}

/// Asks for the main calendars of mailboxes, whatever they are called there.
pub(crate) fn get_folder(
    acting_for: Option<&Address>,
    mailboxes: &[&Address],
    shape: Shape,
) -> String {
    let fields: &[&str] = match shape {
        Shape::Names => &["folder:DisplayName", "folder:FolderClass"],
        Shape::List => &["folder:DisplayName", "folder:PermissionSet"],
    };
    let fields: String = fields
        .iter()
        .map(|field| format!("<t:FieldURI FieldURI=\"{field}\"/>"))
        .collect();
    let ids: String = mailboxes
        .iter()
        .map(|mailbox| {
            format!(
                "<t:DistinguishedFolderId Id=\"calendar\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>",
                escaped(mailbox.as_str())
            )
        })
        .collect();
    envelope(
        acting_for,
        &format!(
            "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape>\
            <t:AdditionalProperties>{fields}</t:AdditionalProperties></m:FolderShape>\
            <m:FolderIds>{ids}</m:FolderIds></m:GetFolder>"
        ),
    )
}

/// Replaces a calendar folder's permission list.
pub(crate) fn update_folder(
    acting_for: Option<&Address>,
    id: &str,
    change_key: &str,
    entries: &[WrittenEntry],
) -> String {
    let change_key = if change_key.is_empty() {
        String::new()
    } else {
        format!(" ChangeKey=\"{}\"", escaped(change_key))
    };
    envelope(
        acting_for,
        &format!(
            "<m:UpdateFolder><m:FolderChanges><t:FolderChange>\
            <t:FolderId Id=\"{}\"{change_key}/>\
            <t:Updates><t:SetFolderField><t:FieldURI FieldURI=\"folder:PermissionSet\"/>\
            <t:CalendarFolder>{}</t:CalendarFolder>\
            </t:SetFolderField></t:Updates></t:FolderChange></m:FolderChanges></m:UpdateFolder>",
            escaped(id),
            permission_set(entries)
        ),
    )
}

/// Makes an event in the main calendar of somebody else's mailbox. Nobody is invited to it.
pub(crate) fn create_event(mailbox: &Address, subject: &str, start: &str, end: &str) -> String {
    envelope(
        None,
        &format!(
            "<m:CreateItem SendMeetingInvitations=\"SendToNone\"><m:SavedItemFolderId>\
            <t:DistinguishedFolderId Id=\"calendar\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>\
            </m:SavedItemFolderId><m:Items><t:CalendarItem><t:Subject>{}</t:Subject><t:ReminderIsSet>false</t:ReminderIsSet>\
            <t:Start>{start}</t:Start><t:End>{end}</t:End><t:LegacyFreeBusyStatus>Free</t:LegacyFreeBusyStatus>\
            </t:CalendarItem></m:Items></m:CreateItem>",
            escaped(mailbox.as_str()),
            escaped(subject)
        ),
    )
}

/// Deletes an event for good. Nobody is told.
pub(crate) fn delete_event(id: &str, change_key: &str) -> String {
    envelope(
        None,
        &format!(
            "<m:DeleteItem DeleteType=\"HardDelete\" SendMeetingCancellations=\"SendToNone\"><m:ItemIds>\
            <t:ItemId Id=\"{}\" ChangeKey=\"{}\"/></m:ItemIds></m:DeleteItem>",
            escaped(id),
            escaped(change_key)
        ),
    )
}

/// A list as it is written.
pub(crate) fn permission_set(entries: &[WrittenEntry]) -> String {
    let entries: String = entries.iter().map(entry).collect();
    format!(
        "<t:PermissionSet><t:CalendarPermissions>{entries}</t:CalendarPermissions></t:PermissionSet>"
    )
}

fn entry(entry: &WrittenEntry) -> String {
    let (flags, level) = match entry.rights {
        Written::Level(level) => (String::new(), level),
        Written::Flags(flags) => (all_flags(&flags), Level::Custom),
    };
    format!(
        "<t:CalendarPermission><t:UserId>{}</t:UserId>{flags}<t:CalendarPermissionLevel>{}</t:CalendarPermissionLevel></t:CalendarPermission>",
        identity(&entry.identity),
        level.name()
    )
}

/// Nothing that names it a second time: servers refuse that.
fn identity(identity: &WrittenIdentity) -> String {
    match identity {
        WrittenIdentity::Default => "<t:DistinguishedUser>Default</t:DistinguishedUser>".to_owned(),
        WrittenIdentity::Anonymous => {
            "<t:DistinguishedUser>Anonymous</t:DistinguishedUser>".to_owned()
        }
        WrittenIdentity::Sid(sid) => format!("<t:SID>{}</t:SID>", escaped(sid.as_str())),
        WrittenIdentity::Address(address) => {
            format!(
                "<t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress>",
                escaped(address)
            )
        }
        WrittenIdentity::External { identity, address } => format!(
            "<t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress><t:ExternalUserIdentity>{}</t:ExternalUserIdentity>",
            escaped(address),
            escaped(identity)
        ),
    }
}

/// All eight, in the order of the schema.
fn all_flags(flags: &Flags) -> String {
    format!(
        "<t:CanCreateItems>{}</t:CanCreateItems><t:CanCreateSubFolders>{}</t:CanCreateSubFolders>\
        <t:IsFolderOwner>{}</t:IsFolderOwner><t:IsFolderVisible>{}</t:IsFolderVisible>\
        <t:IsFolderContact>{}</t:IsFolderContact><t:EditItems>{}</t:EditItems>\
        <t:DeleteItems>{}</t:DeleteItems><t:ReadItems>{}</t:ReadItems>",
        flags.create_items,
        flags.create_subfolders,
        flags.owner,
        flags.visible,
        flags.contact,
        flags.edit.name(),
        flags.delete.name(),
        flags.read.name(),
    )
}
