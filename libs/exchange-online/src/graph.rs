//! Graph's objects as recipients, and the queries that find them. Pure.

use calgrant_domain::{Address, Listed, Mailbox, MailboxId, Reason};
use uuid::Uuid;

use crate::wire::{MailboxRow, Object, Plan};

/// What is asked of users.
pub(crate) const USER_FIELDS: &str =
    "id,displayName,userPrincipalName,mail,proxyAddresses,accountEnabled,assignedPlans";
/// What is asked of groups.
pub(crate) const GROUP_FIELDS: &str =
    "id,displayName,mail,proxyAddresses,mailEnabled,securityEnabled,groupTypes";
/// What is asked of mailboxes.
pub(crate) const MAILBOX_FIELDS: &str =
    "ExternalDirectoryObjectId,UserPrincipalName,PrimarySmtpAddress,DisplayName,EmailAddresses";

/// The plan that is in every licence and holds no mailbox.
const EXCHANGE_FOUNDATION: &str = "113feb6c-3fe4-4440-bddc-54d774bf0318";

/// A query: names as they are, values encoded.
pub(crate) fn query(parts: &[(&str, &str)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    parts.join("&")
}

/// A text as part of a URL.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A text inside a filter.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The filter that finds a recipient by any of its addresses.
pub(crate) fn by_proxy(address: &Address) -> String {
    format!(
        "proxyAddresses/any(p:p eq {})",
        quoted(&format!("smtp:{address}"))
    )
}

/// The filter that finds a user by any of its names.
pub(crate) fn by_any_name(address: &Address) -> String {
    format!(
        "{} or userPrincipalName eq {}",
        by_proxy(address),
        quoted(address.as_str())
    )
}

impl Object {
    /// Whether it is a group.
    pub(crate) fn is_group(&self) -> bool {
        self.kind
            .as_deref()
            .is_some_and(|kind| kind.ends_with(".group"))
    }

    /// Whether it is a Microsoft 365 group.
    pub(crate) fn is_unified(&self) -> bool {
        self.group_types
            .iter()
            .flatten()
            .any(|kind| kind.eq_ignore_ascii_case("Unified"))
    }

    fn is_user(&self) -> bool {
        self.kind
            .as_deref()
            .is_none_or(|kind| kind.ends_with(".user"))
    }

    /// Whether it is somebody of another organisation.
    pub(crate) fn is_guest(&self) -> bool {
        let upn = self.user_principal_name.as_deref().unwrap_or_default();
        upn.to_uppercase().contains("#EXT#")
    }

    /// Whether it is a user of whom the directory shows no more than the id, for want of a permission.
    pub(crate) fn is_hidden_user(&self) -> bool {
        let said = self.kind.as_deref();
        said.is_some_and(|kind| kind.ends_with(".user")) && self.user_principal_name.is_none()
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        [&self.user_principal_name, &self.mail, &self.display_name]
            .into_iter()
            .find_map(|name| name.as_deref().filter(|name| !name.is_empty()))
            .unwrap_or(&self.id)
    }

    /// Its key.
    pub(crate) fn key(&self, site: &str) -> MailboxId {
        key(&self.id, site, self.name())
    }

    /// Its primary address.
    pub(crate) fn primary(&self) -> Option<Address> {
        let mail = self.mail.as_deref().and_then(|mail| mail.parse().ok());
        mail.or_else(|| {
            addresses(self.proxy_addresses.iter().flatten().map(String::as_str))
                .into_iter()
                .next()
        })
    }

    /// It as a recipient of a listing.
    pub(crate) fn listed(&self, site: &str) -> Listed {
        Listed {
            id: self.key(site),
            name: self.name().to_owned(),
            what: self.mailbox(site),
            lines: Vec::new(),
        }
    }

    fn mailbox(&self, site: &str) -> Result<Mailbox, Reason> {
        let upn = self.user_principal_name.as_deref().unwrap_or_default();
        if !self.is_user() || self.is_guest() {
            return Err(Reason::NotAMailbox);
        }
        let licensed = self.assigned_plans.iter().flatten().any(Plan::is_mailbox);
        if self.mail.as_deref().unwrap_or_default().is_empty() && !licensed {
            return Err(Reason::Unlicensed);
        }
        let address = upn
            .parse()
            .ok()
            .or_else(|| self.primary())
            .ok_or(Reason::NotAMailbox)?;
        let mut aliases = addresses(self.proxy_addresses.iter().flatten().map(String::as_str));
        if let Some(mail) = self.primary()
            && !aliases.contains(&mail)
        {
            aliases.push(mail);
        }
        aliases.retain(|alias| *alias != address);
        Ok(Mailbox {
            kind: None,
            id: self.key(site),
            address,
            aliases,
            licensed: Some(licensed),
        })
    }
}

impl Plan {
    fn is_mailbox(&self) -> bool {
        self.service.eq_ignore_ascii_case("exchange")
            && self.capability_status.eq_ignore_ascii_case("Enabled")
            && !self
                .service_plan_id
                .eq_ignore_ascii_case(EXCHANGE_FOUNDATION)
    }
}

impl MailboxRow {
    /// It as a recipient of a listing.
    pub(crate) fn listed(&self, site: &str) -> Listed {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let id = text(&self.external_directory_object_id).unwrap_or_default();
        let name = text(&self.user_principal_name)
            .or_else(|| text(&self.primary_smtp_address))
            .or_else(|| text(&self.display_name))
            .unwrap_or_else(|| id.clone());
        let id = key(&id, site, &name);
        let address: Option<Address> = [&self.user_principal_name, &self.primary_smtp_address]
            .into_iter()
            .find_map(|name| name.as_deref()?.parse().ok());
        let what = address.ok_or(Reason::NotAMailbox).map(|address| {
            let all = self
                .email_addresses
                .as_ref()
                .map(crate::wire::OneOrMany::all);
            let mut aliases = addresses(all.into_iter().flatten());
            aliases.retain(|alias| *alias != address);
            Mailbox {
                kind: None,
                id,
                address,
                aliases,
                licensed: None,
            }
        });
        Listed {
            id,
            name,
            what,
            lines: Vec::new(),
        }
    }
}

/// The key of an object: its own id, or, where it shows none, one that follows from its name.
pub(crate) fn key(id: &str, site: &str, name: &str) -> MailboxId {
    Uuid::try_parse(id).map_or_else(|_| MailboxId::of_unknown(site, name), MailboxId::from_uuid)
}

/// Mail addresses among proxy addresses, primary first.
fn addresses<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<Address> {
    let mut found: Vec<(bool, Address)> = all
        .into_iter()
        .filter_map(|raw| {
            let (scheme, address) = raw.split_once(':').unwrap_or(("smtp", raw));
            let secondary = scheme != "SMTP";
            scheme
                .eq_ignore_ascii_case("smtp")
                .then(|| address.parse().ok())
                .flatten()
                .map(|address| (secondary, address))
        })
        .collect();
    found.sort_by_key(|(secondary, _)| *secondary);
    found.into_iter().map(|(_, address)| address).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn what(object: serde_json::Value) -> Result<Mailbox, Reason> {
        serde_json::from_value::<Object>(object)
            .unwrap()
            .listed("site")
            .what
    }

    #[test]
    fn users_and_others() {
        let plan = |id: &str| json!([{"service": "exchange", "capabilityStatus": "Enabled", "servicePlanId": id}]);
        let id = "6f1c2d3e-0000-4000-8000-000000000001";
        let ada = what(json!({"id": id, "userPrincipalName": "Ada@uni.example", "mail": "ada.l@uni.example",
            "proxyAddresses": ["smtp:al@uni.example", "SMTP:ada.l@uni.example", "X500:/o=x", "smtp:ada@uni.example"],
            "assignedPlans": plan("x")}))
        .unwrap();
        assert_eq!(ada.id.as_uuid().to_string(), id);
        assert_eq!(ada.address.as_str(), "ada@uni.example");
        let aliases: Vec<_> = ada.aliases.iter().map(Address::as_str).collect();
        assert_eq!(aliases, ["ada.l@uni.example", "al@uni.example"]);
        assert_eq!(ada.licensed, Some(true));
        for (object, want) in [
            (
                json!({"@odata.type": "#microsoft.graph.orgContact", "mail": "a@b.example"}),
                Reason::NotAMailbox,
            ),
            (
                json!({"@odata.type": "#microsoft.graph.device", "displayName": "PC"}),
                Reason::NotAMailbox,
            ),
            (
                json!({"userPrincipalName": "g_b.example#EXT#@uni.example", "mail": "g@b.example"}),
                Reason::NotAMailbox,
            ),
            (
                json!({"userPrincipalName": "a@uni.example", "mail": null, "assignedPlans": null}),
                Reason::Unlicensed,
            ),
            (
                json!({"userPrincipalName": "a@uni.example", "assignedPlans": plan(EXCHANGE_FOUNDATION)}),
                Reason::Unlicensed,
            ),
        ] {
            assert_eq!(what(object.clone()).unwrap_err(), want, "{object}");
        }
        let shared = what(json!({"userPrincipalName": "s@uni.example", "mail": "s@uni.example"}));
        assert_eq!(shared.unwrap().licensed, Some(false));
    }

    #[test]
    fn filters_are_quoted_and_encoded() {
        let address: Address = "o'neil@uni.example".parse().unwrap();
        assert_eq!(
            query(&[("$filter", &by_any_name(&address))]),
            "$filter=proxyAddresses%2Fany%28p%3Ap%20eq%20%27smtp%3Ao%27%27neil%40uni.example%27%29\
             %20or%20userPrincipalName%20eq%20%27o%27%27neil%40uni.example%27"
        );
    }
}
