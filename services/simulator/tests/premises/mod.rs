//! A school with servers of its own, and clients for them that are no more than text.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests uses its own part"
)]

use calgrant_simulator::Scenario;
use reqwest::Response;

use crate::rig::Rig;

pub(crate) const SCHOOL: &str = r#"
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "school.example"
managed = ["delegates@school.example"]

[tenant.onprem]
domain = "SCHOOL"

[[tenant.onprem.policy]]
name = "small"
ews_max_concurrency = 2
ews_max_burst = 0
ews_recharge_rate = 360000
ews_cutoff_balance = 100
powershell_max_concurrency = 2
powershell_max_cmdlets = 3
powershell_max_cmdlets_time_period = 60

[[tenant.onprem.account]]
user = "sa-full@school.example"
password = "full:secret"
full_access = ["*"]
cmdlets = [
    "Get-Mailbox", "Get-MailboxFolderStatistics", "Get-MailboxFolderPermission", "Add-MailboxFolderPermission",
    "Set-MailboxFolderPermission", "Remove-MailboxFolderPermission",
]

[[tenant.onprem.account]]
user = "sa-imp@school.example"
password = "imp"
impersonation = ["teachers@school.example"]
without_remote_powershell = true

[[tenant.onprem.account]]
user = "sa-small@school.example"
password = "small"
policy = "small"
full_access = ["*"]
cmdlets = ["Get-Mailbox", "Get-MailboxFolderPermission"]

[[tenant.onprem.account]]
user = "eva@school.example"
password = "eva"

[[tenant.onprem.account]]
user = "dave@school.example"
password = "dave"

[[tenant.user]]
upn = "sa-full@school.example"
name = "Service Full"
kind = "none"

[[tenant.user]]
upn = "sa-imp@school.example"
name = "Service Imp"
on_premises = true

[[tenant.user]]
upn = "sa-small@school.example"
name = "Service Small"
kind = "none"

[[tenant.user]]
upn = "ada@school.example"
name = "Ada Lovelace"
mail = "ada.lovelace@school.example"
addresses = ["a.l@school.example"]
on_premises = true
dn = "CN=ada,OU=Teachers,DC=school,DC=example"

[[tenant.user.calendar]]
path = "Agenda"
entries = [
    { principal = "bob@school.example", mask = 1563 },
    { principal = "dave@school.example", rights = ["Editor"], flags = ["Delegate"] },
    { principal = "NT:S-1-5-21-1-2-3-500", rights = ["Reviewer"] },
    { principal = "external:pat@partner.example", rights = ["AvailabilityOnly"] },
]

[[tenant.user.calendar]]
path = "Agenda\\Projekt"

[[tenant.user]]
upn = "bob@school.example"
name = "Bob Noyce"
on_premises = true

[[tenant.user.calendar]]
path = "Kalender"
entries = [{ principal = "Default", rights = ["LimitedDetails"] }]

[[tenant.user]]
upn = "dave@school.example"
name = "Dave"
on_premises = true

[[tenant.user]]
upn = "eva@school.example"
name = "Eva"
on_premises = true

[[tenant.user]]
upn = "cloud@school.example"
name = "Up There"

[[tenant.user]]
upn = "rector@school.example"
name = "Rector"
on_premises = true
outside_write_scope = true

[[tenant.group]]
name = "Calendar Delegates"
mail = "delegates@school.example"
members = ["eva@school.example", "Nested"]

[[tenant.group]]
name = "Nested"
kind = "security"
members = ["sa-imp@school.example"]

[[tenant.group]]
name = "News"
mail = "news@school.example"
kind = "distribution"
members = ["eva@school.example"]

[[tenant.group]]
name = "Teachers"
mail = "teachers@school.example"
members = ["ada@school.example", "bob@school.example", "rector@school.example"]
"#;

const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"
 xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">"#;

/// An account and its password.
pub(crate) type Login = (&'static str, &'static str);

pub(crate) const FULL: Login = ("SCHOOL\\sa-full", "full:secret");
pub(crate) const IMP: Login = ("sa-imp@school.example", "imp");
pub(crate) const SMALL: Login = ("sa-small@school.example", "small");
pub(crate) const EVA: Login = ("eva@school.example", "eva");
pub(crate) const DAVE: Login = ("dave@school.example", "dave");

pub(crate) async fn open() -> Rig {
    Rig::of(Scenario::from_toml(SCHOOL).unwrap()).await
}

/// With something said otherwise.
pub(crate) async fn open_with(said: &str, instead: &str) -> Rig {
    assert!(SCHOOL.contains(said));
    Rig::of(Scenario::from_toml(&SCHOOL.replace(said, instead)).unwrap()).await
}

/// A request around a body, with what belongs into its header.
pub(crate) fn envelope(header: &str, body: &str) -> String {
    format!(
        "{HEAD}<soap:Header>{header}</soap:Header><soap:Body>{body}</soap:Body></soap:Envelope>"
    )
}

/// An answer of EWS.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The text between these tags, each time they come.
    pub(crate) fn all(&self, tag: &str) -> Vec<String> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let parts = self.text.split(&open).skip(1);
        parts
            .filter_map(|part| Some(part.split_once(&close)?.0.to_owned()))
            .collect()
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        self.all("m:ResponseCode")
    }

    /// The code of a fault.
    pub(crate) fn fault(&self) -> String {
        let code = self.text.split(">a:").nth(1).unwrap_or_default();
        code.split('<').next().unwrap_or_default().to_owned()
    }

    /// The first folder id, with its change key.
    pub(crate) fn folder_id(&self) -> String {
        let start = self.text.find("<t:FolderId ").unwrap();
        let rest = &self.text[start..];
        rest[..=rest.find("/>").unwrap() + 1].to_owned()
    }
}

impl Rig {
    pub(crate) async fn send(&self, login: Login, text: String) -> Response {
        self.client
            .post(format!("{}/EWS/Exchange.asmx", self.url))
            .basic_auth(login.0, Some(login.1))
            .header("content-type", "text/xml; charset=utf-8")
            .body(text)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn ews_with(&self, login: Login, header: &str, body: &str) -> Answer {
        let reply = self.send(login, envelope(header, body)).await;
        Answer {
            status: reply.status().as_u16(),
            text: reply.text().await.unwrap(),
        }
    }

    pub(crate) async fn ews(&self, login: Login, body: &str) -> Answer {
        self.ews_with(login, "", body).await
    }

    pub(crate) async fn calendar(&self, login: Login, address: &str) -> Answer {
        self.ews(login, &get_folder(&[&calendar_of(address)])).await
    }

    /// Replaces a calendar's list.
    pub(crate) async fn set(&self, login: Login, id: &str, permissions: &str) -> Answer {
        self.ews(login, &update_folder(&[(id, permissions)])).await
    }

    /// The true list of a mailbox's calendar: who, and the stored mask.
    pub(crate) async fn list(&self, mailbox: &str) -> Vec<(String, u64)> {
        let path = format!("/_simulator/mailboxes/{mailbox}/permissions");
        let all = self.get(&path).await;
        let entries = all["folders"][0]["entries"].as_array().unwrap().clone();
        let entry = |entry: &serde_json::Value| {
            let who = entry["principal"].as_str().unwrap().to_owned();
            (who, entry["mask"].as_u64().unwrap())
        };
        entries.iter().map(entry).collect()
    }
}

pub(crate) fn calendar_of(address: &str) -> String {
    format!(
        "<t:DistinguishedFolderId Id=\"calendar\"><t:Mailbox><t:EmailAddress>{address}</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>"
    )
}

pub(crate) fn get_folder(ids: &[&str]) -> String {
    format!(
        "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
         <t:FieldURI FieldURI=\"folder:DisplayName\"/><t:FieldURI FieldURI=\"folder:PermissionSet\"/>\
         <t:FieldURI FieldURI=\"folder:EffectiveRights\"/></t:AdditionalProperties></m:FolderShape>\
         <m:FolderIds>{}</m:FolderIds></m:GetFolder>",
        ids.concat()
    )
}

pub(crate) fn update_folder(changes: &[(&str, &str)]) -> String {
    let one = |(id, permissions): &(&str, &str)| {
        format!(
            "<t:FolderChange>{id}<t:Updates><t:SetFolderField><t:FieldURI FieldURI=\"folder:PermissionSet\"/>\
             <t:CalendarFolder><t:PermissionSet><t:CalendarPermissions>{permissions}</t:CalendarPermissions>\
             </t:PermissionSet></t:CalendarFolder></t:SetFolderField></t:Updates></t:FolderChange>"
        )
    };
    let changes: String = changes.iter().map(one).collect();
    format!("<m:UpdateFolder><m:FolderChanges>{changes}</m:FolderChanges></m:UpdateFolder>")
}

/// An entry with a level.
pub(crate) fn entry(user: &str, level: &str) -> String {
    format!(
        "<t:CalendarPermission><t:UserId>{user}</t:UserId><t:CalendarPermissionLevel>{level}</t:CalendarPermissionLevel></t:CalendarPermission>"
    )
}

pub(crate) fn everybody(level: &str) -> String {
    entry("<t:DistinguishedUser>Default</t:DistinguishedUser>", level)
}

pub(crate) fn strangers(level: &str) -> String {
    entry(
        "<t:DistinguishedUser>Anonymous</t:DistinguishedUser>",
        level,
    )
}

pub(crate) fn by_address(address: &str, level: &str) -> String {
    let user = format!("<t:PrimarySmtpAddress>{address}</t:PrimarySmtpAddress>");
    entry(&user, level)
}

/// An entry with rights of its own.
pub(crate) fn custom(user: &str, flags: [&str; 8]) -> String {
    let names = [
        "CanCreateItems",
        "CanCreateSubFolders",
        "IsFolderOwner",
        "IsFolderVisible",
        "IsFolderContact",
        "EditItems",
        "DeleteItems",
        "ReadItems",
    ];
    let flags: String = names
        .iter()
        .zip(flags)
        .map(|(name, value)| format!("<t:{name}>{value}</t:{name}>"))
        .collect();
    format!(
        "<t:CalendarPermission><t:UserId>{user}</t:UserId>{flags}<t:CalendarPermissionLevel>Custom</t:CalendarPermissionLevel></t:CalendarPermission>"
    )
}
