//! Graph's view of one calendar: the default one of a user, and who may do what in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::calendar::{Folder, Mailbox, Principal};
use crate::graph_ask::Ask;
use crate::reply::Reply;
use crate::rights;
use crate::tenant::Tenant;
use crate::user::Side;
use crate::world::World;

impl Ask {
    fn may_read_calendars(&self) -> Result<(), Reply> {
        let roles = ["Calendars.Read", "Calendars.ReadWrite"];
        if roles.iter().any(|role| self.token.app.has_role(role)) {
            return Ok(());
        }
        let text = "Access is denied. Check credentials and try again.";
        Err(Reply::error(403, "ErrorAccessDenied", text))
    }

    /// The user with this id or address, and the mailbox, for an app that may read calendars.
    fn calendar_owner(&self, world: &World, id: &str) -> Result<(usize, &Mailbox), Reply> {
        self.may_read_calendars()?;
        let tenant = &self.token.tenant;
        let user = tenant.user(id).ok_or_else(|| {
            let text = format!("The requested user '{id}' is invalid.");
            Reply::error(404, "ErrorInvalidUser", &text)
        })?;
        let mailbox = tenant.users[user].mailbox_at(Side::Online);
        let there = mailbox.filter(|mailbox| {
            mailbox.is_there(world.clock.now()) && !tenant.users[user].licence_has_expired()
        });
        let mailbox = there.ok_or_else(|| {
            let text = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
            Reply::error(404, "MailboxNotEnabledForRESTAPI", text)
        })?;
        Ok((user, mailbox))
    }

    /// `GET /users/{id}/calendar`.
    pub(crate) fn calendar(&self, world: &World, id: &str) -> Result<Reply, Reply> {
        let (user, mailbox) = self.calendar_owner(world, id)?;
        let folders = mailbox.folders();
        let folder = main(&folders)?;
        let user = &self.token.tenant.users[user];
        Ok(Reply::json(
            200,
            json!({
                "@odata.context": format!("{}/v1.0/$metadata#users('{}')/calendar/$entity", self.base, user.spec.id),
                "id": format!("AAMk{}", mailbox.guid.simple()), "name": folder.name(),
                "color": "auto", "hexColor": "", "isDefaultCalendar": true, "changeKey": "AAAAAA==",
                "canShare": true, "canViewPrivateItems": true, "canEdit": true, "isRemovable": false,
                "owner": {"name": user.spec.name, "address": user.mail},
            }),
        ))
    }

    /// `GET /users/{id}/calendar/calendarPermissions`, or one of them.
    pub(crate) fn calendar_permissions(
        &self,
        world: &World,
        id: &str,
        only: Option<&str>,
    ) -> Result<Reply, Reply> {
        let (user, mailbox) = self.calendar_owner(world, id)?;
        let tenant = &self.token.tenant;
        let shown: Vec<Value> = {
            let folders = mailbox.folders();
            let list = main(&folders)?.shown(world.clock.now());
            list.iter()
                // there is no entry for strangers while they may do nothing
                .filter(|(who, mask)| *who != Principal::Anonymous || *mask != 0)
                .map(|(who, mask)| permission(tenant, who, *mask))
                .collect()
        };
        let id = tenant.users[user].spec.id;
        let context = format!(
            "{}/v1.0/$metadata#users('{id}')/calendar/calendarPermissions",
            self.base
        );
        match only {
            None => self.list(world, shown.len(), |at| shown[at].clone()),
            Some(only) => shown
                .into_iter()
                .find(|permission| permission["id"] == only)
                .map(|mut permission| {
                    permission["@odata.context"] = format!("{context}/$entity").into();
                    Reply::json(200, permission)
                })
                .ok_or_else(not_found),
        }
    }
}

fn not_found() -> Reply {
    let text = "The specified object was not found in the store.";
    Reply::error(404, "ErrorItemNotFound", text)
}

fn main(folders: &[Folder]) -> Result<&Folder, Reply> {
    let folder = folders.first().filter(|folder| !folder.is_root());
    folder.ok_or_else(not_found)
}

fn permission(tenant: &Tenant, who: &Principal, mask: u32) -> Value {
    let (name, address, special) = match who {
        Principal::Default => ("My Organization", None, true),
        Principal::Anonymous => ("People outside my organization", None, true),
        _ => (tenant.display_name(who), Some(tenant.address(who)), false),
    };
    let mut email = json!({"name": name});
    if let Some(address) = address {
        email["address"] = address.into();
    }
    json!({
        "id": URL_SAFE_NO_PAD.encode(tenant.address(who)),
        "isRemovable": !special,
        "isInsideOrganization": !matches!(who, Principal::Anonymous | Principal::External(_)),
        "role": role(mask),
        "allowedRoles": if special {
            json!(["none", "freeBusyRead", "limitedRead", "read", "write"])
        } else {
            json!(["freeBusyRead", "limitedRead", "read", "write"])
        },
        "emailAddress": email,
    })
}

/// Graph's word for rights: it has none for most of them.
fn role(mask: u32) -> &'static str {
    match (rights::names(mask).as_slice(), rights::flag_names(mask)) {
        (["None"], _) => "none",
        (["AvailabilityOnly"], _) => "freeBusyRead",
        (["LimitedDetails"], _) => "limitedRead",
        (["Reviewer"], _) => "read",
        (["Editor"], None) => "write",
        (["Editor"], Some("Delegate")) => "delegateWithoutPrivateEventAccess",
        (["Editor"], Some(_)) => "delegateWithPrivateEventAccess",
        _ => "custom",
    }
}
