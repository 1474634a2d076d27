//! What the simulated tenants hold at the start.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dials::Dials;
use crate::identity::Registered;
use crate::limits::Limits;
use crate::onprem::OnPremSpec;
use crate::rights;
use crate::sku::SkuSpec;

/// Tenants and dials to start with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Seeds every chance the running server takes.
    pub seed: u64,
    /// Where to serve everything over TLS as well, with a certificate for `localhost` that is made at the start; port 0
    /// takes a free one.
    pub https: Option<SocketAddr>,
    /// Where to serve the directories on premises by LDAP; port 0 takes a free one. `StartTLS` seals a connection, with the
    /// certificate of `https`.
    pub ldap: Option<SocketAddr>,
    /// As `ldap`, sealed from the first byte on.
    pub ldaps: Option<SocketAddr>,
    /// A file with the keys of the service (`HTTP/localhost`), with which the servers on premises take Kerberos. Who signs in so
    /// is the account whose user principal name is the principal's.
    pub keytab: Option<PathBuf>,
    /// The dials at the start.
    pub dials: Dials,
    /// The tenants.
    #[serde(rename = "tenant")]
    pub tenants: Vec<TenantSpec>,
}

/// One Entra tenant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSpec {
    /// Directory id, a GUID.
    pub id: Uuid,
    /// Verified domain.
    pub domain: String,
    /// More verified domains.
    pub domains: Vec<String>,
    /// Products it has bought; `EXCHANGESTANDARD` for everybody when none is written. Who is `licensed` has the first.
    #[serde(rename = "sku")]
    pub skus: Vec<SkuSpec>,
    /// Switches the Admin API off for this tenant.
    pub without_admin_api: bool,
    /// Limits on the Exchange calls of all apps together.
    pub limits: Limits,
    /// Limits on the Graph calls of all apps together.
    pub graph_limits: Limits,
    /// Limits on the Exchange calls about each mailbox, of all apps together.
    pub mailbox_limits: Limits,
    /// Limits on the Graph calls of each app about each mailbox.
    pub graph_mailbox_limits: Limits,
    /// Its Exchange servers on premises, when it has any.
    pub onprem: Option<OnPremSpec>,
    /// Addresses of the trustees a run is allowed to manage entries for.
    pub managed: Vec<String>,
    /// Addresses of such trustees that aren't there yet: a run makes them.
    pub awaited: Vec<String>,
    /// Registered apps.
    #[serde(rename = "app")]
    pub apps: Vec<AppSpec>,
    /// Users, with their mailboxes.
    #[serde(rename = "user")]
    pub users: Vec<UserSpec>,
    /// Groups.
    #[serde(rename = "group")]
    pub groups: Vec<GroupSpec>,
    /// Administrative units.
    #[serde(rename = "unit")]
    pub units: Vec<UnitSpec>,
    /// Addresses of mail contacts.
    pub contacts: Vec<String>,
    /// Names of devices.
    pub devices: Vec<String>,
}

/// One app registration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppSpec {
    /// Client id.
    pub client_id: Uuid,
    /// Client secret.
    pub secret: Option<String>,
    /// Registered certificate, PEM.
    pub certificate: Option<String>,
    /// Application roles, such as `User.Read.All` or `Exchange.ManageAsApp`.
    pub roles: Vec<String>,
    /// Cmdlets its Exchange role groups allow.
    pub cmdlets: Vec<String>,
    /// Management roles of those, such as `Mail Recipients`, besides `cmdlets`. Where some are written, parameters of roles
    /// that aren't among them don't exist for it.
    pub management_roles: Vec<String>,
    /// What it has in Exchange as an application (RBAC for Applications). `Test-ServicePrincipalAuthorization` tells of it; who has
    /// nothing isn't known there.
    pub assignments: Vec<AssignmentSpec>,
    /// Limits on its Exchange calls.
    pub limits: Limits,
    /// Limits on its Graph calls.
    pub graph_limits: Limits,
    /// People may sign in to it on other devices (a "public client flow"); a token then has the app's roles.
    pub public_client: bool,
    /// The secret is the right one, but has expired.
    pub secret_expired: bool,
}

/// A role that an app has in Exchange as an application; in every mailbox without a scope and a unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssignmentSpec {
    /// `Application Calendars.ReadWrite` and its like.
    pub role: String,
    /// In the mailboxes of a management scope.
    pub scope: Option<ScopeSpec>,
    /// In the mailboxes of an administrative unit, by its name.
    pub unit: Option<String>,
}

/// A management scope.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSpec {
    /// What it is called.
    pub name: String,
    /// Which mailboxes are in it, written as for `Get-Mailbox -Filter`.
    pub filter: String,
}

/// What sort of mailbox a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person's mailbox, when there is a licence.
    #[default]
    User,
    /// Shared mailbox; needs no licence.
    Shared,
    /// Room; needs no licence.
    Room,
    /// Equipment; needs no licence.
    Equipment,
    /// No mailbox at all.
    None,
}

/// One user and the mailbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserSpec {
    /// Object id; random when left out.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// User principal name.
    pub upn: String,
    /// Primary address; the UPN when left out.
    pub mail: Option<String>,
    /// More addresses, bare.
    pub addresses: Vec<String>,
    /// Exchange alias; the local part of the UPN when left out.
    pub alias: Option<String>,
    /// Whether the account is enabled.
    pub enabled: bool,
    /// Whether there is an Exchange licence.
    pub licensed: bool,
    /// The country services are used in, two letters; no licence is assigned without it.
    pub usage_location: Option<String>,
    /// `DisablePasswordExpiration` and its like.
    pub password_policies: Option<String>,
    /// Employee id.
    pub employee_id: Option<String>,
    /// `CustomAttribute15`.
    pub custom_attribute_15: Option<String>,
    /// There was a licence, but it has expired: administrators still reach the mailbox, Graph doesn't.
    pub licence_expired: bool,
    /// Distinguished name on premises.
    pub dn: Option<String>,
    /// Sort of mailbox.
    pub kind: Kind,
    /// The mailbox appears this many seconds after the start.
    pub provisioned_after_secs: u64,
    /// Licensed, but the mailbox never comes.
    pub never_provisioned: bool,
    /// The mailbox lies on premises: needs no licence, is found by EWS and PowerShell remoting, and isn't by Graph and
    /// the cloud's cmdlets.
    pub on_premises: bool,
    /// Nobody of Calgrant's may write to it: it's outside of every app's recipient scope.
    pub outside_write_scope: bool,
    /// There is a mailbox, but no calendar folder in it.
    pub without_calendar: bool,
    /// Reads show a write only after up to this long, and after half of it at least.
    pub read_lag_ms: u64,
    /// Calendar folders, the default one first; `Calendar` when left out.
    #[serde(rename = "calendar")]
    pub calendars: Vec<CalendarSpec>,
}

impl Default for UserSpec {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            name: String::new(),
            upn: String::new(),
            mail: None,
            addresses: Vec::new(),
            alias: None,
            enabled: true,
            licensed: true,
            usage_location: None,
            password_policies: None,
            employee_id: None,
            custom_attribute_15: None,
            licence_expired: false,
            dn: None,
            kind: Kind::User,
            provisioned_after_secs: 0,
            never_provisioned: false,
            on_premises: false,
            outside_write_scope: false,
            without_calendar: false,
            read_lag_ms: 0,
            calendars: Vec::new(),
        }
    }
}

/// One calendar folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalendarSpec {
    /// Path with backslashes, without the first one.
    pub path: String,
    /// Entries besides Default (`AvailabilityOnly`) and Anonymous (None).
    pub entries: Vec<EntrySpec>,
}

/// One entry of a permission list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntrySpec {
    /// Address, `Default`, `Anonymous`, the SID of somebody who has left (`NT:S-1-…`), or `external:` and the identity
    /// of somebody of another organisation.
    pub principal: String,
    /// Rights by name: one role, or granular rights.
    pub rights: Vec<String>,
    /// Sharing flags: `Delegate`, `CanViewPrivateItems`.
    pub flags: Vec<String>,
    /// The stored mask itself instead of rights, such as 1563 for an Author with the Contact bit.
    pub mask: Option<u32>,
    /// Stands beside another entry of the same principal, as happens after migrations, instead of replacing it.
    pub duplicate: bool,
}

impl EntrySpec {
    /// What the folder stores.
    pub(crate) fn stored(&self) -> Result<u32, String> {
        let rights = match self.mask {
            None => rights::parse(&self.rights)?,
            Some(_) if !self.rights.is_empty() => {
                return Err("it has a mask and rights; one of them is enough".to_owned());
            }
            Some(mask) if mask > 0x1FFF => {
                return Err(format!("{mask} holds bits that aren't rights"));
            }
            Some(mask) => mask,
        };
        Ok(rights | rights::parse_flags(&self.flags)?)
    }
}

/// What sort of group it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// Mail-enabled security group; may stand in permission lists.
    #[default]
    MailSecurity,
    /// Security group without mail.
    Security,
    /// Distribution group.
    Distribution,
    /// Microsoft 365 group.
    Unified,
}

/// Who may join a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinRestriction {
    /// Nobody who isn't added.
    #[default]
    Closed,
    /// Whom an owner lets in.
    ApprovalRequired,
    /// Anybody.
    Open,
}

impl JoinRestriction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::ApprovalRequired => "ApprovalRequired",
            Self::Open => "Open",
        }
    }
}

/// One group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupSpec {
    /// Object id; random when left out.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Address; none for a plain security group.
    pub mail: Option<String>,
    /// Exchange alias; the local part of the address when left out.
    pub alias: Option<String>,
    /// Distinguished name on premises; below `OU=Groups` when left out.
    pub dn: Option<String>,
    /// It is synchronised from the directory on premises: nobody changes it in the cloud.
    pub synced: bool,
    /// Products, by name or id, that its direct members are licensed with.
    pub licences: Vec<String>,
    /// Everybody who is made by Graph becomes a member, as of a group with a rule.
    pub takes_new_users: bool,
    /// Sort.
    pub kind: GroupKind,
    /// Its members can be read only with `Member.Read.Hidden`.
    pub hidden_membership: bool,
    /// Exchange knows of it only so many seconds after the start; Graph knows it at once.
    pub visible_after_secs: u64,
    /// Direct members: addresses of users, groups and contacts, display names of groups without mail, device names.
    pub members: Vec<String>,
    /// Who manages it, as Exchange's cmdlets call them.
    pub owners: Vec<String>,
    /// Who may join.
    pub join: JoinRestriction,
}

/// One administrative unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitSpec {
    /// Object id; random when left out.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Addresses of its users.
    pub members: Vec<String>,
}

impl Scenario {
    /// Everything that is wrong with this scenario.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.dials.mistakes();
        if self.tenants.is_empty() {
            mistakes.push("there is no tenant: write [school] or [[tenant]]".to_owned());
        }
        let has_site = self.tenants.iter().any(|tenant| tenant.onprem.is_some());
        if (self.ldap.is_some() || self.ldaps.is_some()) && !has_site {
            mistakes.push(
                "ldap, ldaps: no tenant has a directory on premises: write [tenant.onprem], or school.on_premises_share above 0"
                    .to_owned(),
            );
        }
        let mut ids = HashSet::new();
        for tenant in &self.tenants {
            if tenant.id.is_nil() || !ids.insert(tenant.id) {
                mistakes.push(format!(
                    "tenant {:?}: the id is missing or used twice",
                    tenant.domain
                ));
            }
            if !ids_are_addresses(tenant) {
                mistakes.push(format!(
                    "tenant {:?}: a user's upn isn't an address, or is used twice",
                    tenant.domain
                ));
            }
            app_mistakes(tenant, &mut mistakes);
            sku_mistakes(tenant, &mut mistakes);
            if let Some(onprem) = &tenant.onprem {
                mistakes.extend(onprem.mistakes(&format!("tenant {:?}: onprem", tenant.domain)));
            }
            for (field, limits) in [
                ("limits", &tenant.limits),
                ("graph_limits", &tenant.graph_limits),
                ("mailbox_limits", &tenant.mailbox_limits),
                ("graph_mailbox_limits", &tenant.graph_mailbox_limits),
            ] {
                mistakes.extend(limits.mistakes(&format!("tenant {:?}: {field}", tenant.domain)));
            }
            for entry in tenant
                .users
                .iter()
                .flat_map(|user| &user.calendars)
                .flat_map(|c| &c.entries)
            {
                if let Err(error) = entry.stored() {
                    mistakes.push(format!(
                        "tenant {:?}, entry of {}: {error}",
                        tenant.domain, entry.principal
                    ));
                }
            }
        }
        mistakes
    }
}

fn ids_are_addresses(tenant: &TenantSpec) -> bool {
    let mut seen = HashSet::new();
    tenant
        .users
        .iter()
        .all(|user| user.upn.contains('@') && seen.insert(user.upn.to_lowercase()))
}

fn sku_mistakes(tenant: &TenantSpec, mistakes: &mut Vec<String>) {
    let wrong = tenant.skus.iter().filter_map(SkuSpec::mistake);
    mistakes.extend(wrong.map(|wrong| format!("tenant {:?}: {wrong}", tenant.domain)));
    let whole: Vec<SkuSpec> = tenant.skus.iter().cloned().map(SkuSpec::complete).collect();
    for group in &tenant.groups {
        for name in &group.licences {
            let known = whole.iter().any(|sku| sku.is(name));
            let usual = tenant.skus.is_empty() && SkuSpec::usual().is(name);
            if !known && !usual {
                mistakes.push(format!(
                    "tenant {:?}, group {:?}: licences: no sku is called {name:?}",
                    tenant.domain, group.name
                ));
            }
        }
    }
}

fn app_mistakes(tenant: &TenantSpec, mistakes: &mut Vec<String>) {
    let mut ids = HashSet::new();
    for app in &tenant.apps {
        if !ids.insert(app.client_id) {
            let id = app.client_id;
            mistakes.push(format!("app {id}: the client_id is used twice"));
        }
        if app.client_id.is_nil() {
            mistakes.push(format!(
                "tenant {:?}: an app has no client_id",
                tenant.domain
            ));
        }
        if let Some(pem) = &app.certificate
            && Registered::from_pem(pem).is_none()
        {
            mistakes.push(format!(
                "app {}: the certificate isn't PEM with an RSA key",
                app.client_id
            ));
        }
        mistakes.extend(
            app.limits
                .mistakes(&format!("app {}: limits", app.client_id)),
        );
        let graph = format!("app {}: graph_limits", app.client_id);
        mistakes.extend(app.graph_limits.mistakes(&graph));
        if app.secret.is_none() && app.certificate.is_none() {
            mistakes.push(format!(
                "app {}: it has neither secret nor certificate",
                app.client_id
            ));
        }
    }
}
