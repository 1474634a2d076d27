//! What an object shows of itself: its attributes, from the state the other fronts serve.

use std::time::Duration;

use crate::calendar::Principal;
use crate::ldap::name::{plain, split};
use crate::ldap::sid;
use crate::ldap::tree::{HERE, Tree, What};
use crate::scenario::{GroupKind, Kind};
use crate::tenant::{Object, Tenant};
use crate::user::{Side, User};

/// Bits of `userAccountControl`: a normal account, and one that is disabled.
const NORMAL: u32 = 0x200;
const DISABLED: u32 = 0x2;
/// Bits of `groupType`: universal, and security (the sign of 32 bits).
const UNIVERSAL: i64 = 8;
const UNIVERSAL_SECURITY: i64 = -2_147_483_640;
const GLOBAL_SECURITY: i64 = -2_147_483_646;
/// The relative identifier of the built-in group of everybody.
const DOMAIN_USERS: u32 = 513;
/// What mailboxes of servers since Exchange 2013 have for a version.
const EXCHANGE_2013: i64 = 88_218_628_259_840;
/// When everything was made.
const MADE: &str = "20200901060000.0Z";

/// Attributes by their names, each with its values.
pub(crate) type Attributes = Vec<(&'static str, Vec<Vec<u8>>)>;

/// Whose attributes, and when.
pub(crate) struct View<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) tree: &'a Tree,
    pub(crate) now: Duration,
}

#[derive(Default)]
struct Shown(Attributes);

impl Shown {
    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, vec![value.into().into_bytes()]));
    }

    fn number(&mut self, name: &'static str, value: impl Into<i64>) {
        self.text(name, value.into().to_string());
    }

    fn bytes(&mut self, name: &'static str, value: Vec<u8>) {
        self.0.push((name, vec![value]));
    }

    fn texts(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        let values: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
        if !values.is_empty() {
            self.0.push((name, values));
        }
    }

    fn class(&mut self, classes: &[&str], category: &str, configuration: &str) {
        self.texts("objectClass", classes.iter().map(ToString::to_string));
        self.text(
            "objectCategory",
            format!("CN={category},CN=Schema,{configuration}"),
        );
    }
}

impl View<'_> {
    /// What an object shows; its members only where they are wanted, as they may be very many.
    pub(crate) fn attributes(&self, at: usize, with_members: bool) -> Attributes {
        let item = &self.tree.items[at];
        let mut shown = Shown::default();
        self.common(at, &mut shown);
        match item.what {
            What::Domain => {
                let classes = ["top", "domain", "domainDNS"];
                shown.class(&classes, "Domain-DNS", &self.tree.configuration);
                self.sid(&self.tenant.domain_sid(), &mut shown);
            }
            What::Unit => {
                let classes = ["top", "organizationalUnit"];
                shown.class(&classes, "Organizational-Unit", &self.tree.configuration);
            }
            What::Container => {
                shown.class(&["top", "container"], "Container", &self.tree.configuration);
            }
            What::Configuration => {
                let classes = ["top", "configuration"];
                shown.class(&classes, "Configuration", &self.tree.configuration);
            }
            What::DomainUsers => {
                let sid = format!("{}-{DOMAIN_USERS}", self.tenant.domain_sid());
                self.group("Domain Users", GLOBAL_SECURITY, &sid, &mut shown);
            }
            What::Tenants(Object::User(user)) => self.user(user, &mut shown),
            What::Tenants(Object::Group(group)) => self.tenants_group(group, &mut shown),
            What::Tenants(Object::Contact(contact)) => self.contact(contact, &mut shown),
            What::Tenants(Object::Device(device)) => self.device(device, &mut shown),
        }
        if with_members {
            shown.texts("member", self.names(&item.members));
        }
        shown.0
    }

    fn names(&self, places: &[usize]) -> impl Iterator<Item = String> {
        places
            .iter()
            .map(|place| self.tree.items[*place].name.clone())
    }

    fn common(&self, at: usize, shown: &mut Shown) {
        let item = &self.tree.items[at];
        let (first, _) = split(&item.name);
        let (kind, value) = first.split_once('=').unwrap_or_default();
        let value = plain(value).unwrap_or_default();
        match kind.to_ascii_lowercase().as_str() {
            "ou" => shown.text("ou", &value),
            "dc" => shown.text("dc", &value),
            _ => shown.text("cn", &value),
        }
        shown.text("name", value);
        shown.text("distinguishedName", &item.name);
        shown.bytes("objectGUID", item.guid.to_bytes_le().to_vec());
        shown.number("instanceType", 4);
        shown.text("whenCreated", MADE);
        shown.text("whenChanged", MADE);
        let number = i64::try_from(at).unwrap_or_default() + 4096;
        shown.number("uSNCreated", number);
        shown.number("uSNChanged", number);
        shown.texts("memberOf", self.names(&item.groups));
    }

    fn sid(&self, text: &str, shown: &mut Shown) {
        if let Some(bytes) = sid::bytes(text) {
            shown.bytes("objectSid", bytes);
        }
    }

    fn user(&self, at: usize, shown: &mut Shown) {
        let user = &self.tenant.users[at];
        let classes = ["top", "person", "organizationalPerson", "user"];
        shown.class(&classes, "Person", &self.tree.configuration);
        if let Some(sid) = self.tenant.sid(&Principal::User(at)) {
            self.sid(&sid, shown);
        }
        shown.text("displayName", &user.spec.name);
        shown.text("sAMAccountName", user.sam());
        shown.number("sAMAccountType", 0x3000_0000);
        shown.text("userPrincipalName", &user.spec.upn);
        shown.text("mail", &user.mail);
        let disabled = if self.is_disabled(at) { DISABLED } else { 0 };
        shown.number("userAccountControl", NORMAL | disabled);
        shown.number("primaryGroupID", DOMAIN_USERS);
        let account = user.account(HERE, self.now);
        shown.texts("employeeID", account.employee_id.clone());
        shown.texts("extensionAttribute15", account.custom_15.clone());
        if account.hidden {
            shown.text("msExchHideFromAddressLists", "TRUE");
        }
        self.recipient(user, shown);
    }

    /// The accounts of shared mailboxes, rooms and equipment are disabled by design.
    fn is_disabled(&self, at: usize) -> bool {
        let user = &self.tenant.users[at];
        let account = self.tenant.site.as_ref().and_then(|site| site.of_user(at));
        let nobodys = matches!(user.spec.kind, Kind::Shared | Kind::Room | Kind::Equipment);
        let enabled = user.account(HERE, self.now).enabled;
        nobodys || !enabled || account.is_some_and(|account| account.rights().disabled)
    }

    fn recipient(&self, user: &User, shown: &mut Shown) {
        let Some(mailbox) = &user.mailbox else {
            return;
        };
        let here = user.mailbox_at(Side::OnPremises).is_some();
        // what is said of a mailbox in the cloud was written before it is there
        let shows = if here {
            mailbox.is_there(self.now)
        } else {
            mailbox.is_coming()
        };
        if !shows {
            return;
        }
        let others = user.spec.addresses.iter();
        let others = others.filter(|address| !address.eq_ignore_ascii_case(&user.mail));
        let others = others.map(|address| format!("smtp:{address}"));
        let all = std::iter::once(format!("SMTP:{}", user.mail)).chain(others);
        shown.texts("proxyAddresses", all);
        shown.text("mailNickname", &user.alias);
        shown.text("legacyExchangeDN", Tenant::legacy_name(&user.alias));
        shown.bytes("msExchMailboxGuid", mailbox.guid.to_bytes_le().to_vec());
        shown.number("msExchVersion", EXCHANGE_2013);
        let (details, remote, display): (i64, i64, i64) = match mailbox.kind {
            Kind::User => (1, 0x8000_0000, 0x4000_0000),
            Kind::Shared => (4, 0x8_0000_0000, 0),
            Kind::Room => (16, 0x2_0000_0000, 7),
            Kind::Equipment => (32, 0x4_0000_0000, 8),
            Kind::None => return,
        };
        if here {
            shown.number("msExchRecipientTypeDetails", details);
            shown.number("msExchRecipientDisplayType", display);
            self.home(shown);
        } else {
            shown.number("msExchRecipientTypeDetails", remote);
            // that of a synchronised mailbox that may stand in permission lists
            shown.number("msExchRecipientDisplayType", -1_073_741_818);
            shown.number("msExchRemoteRecipientType", 4);
            let first = self.tenant.domain.split('.').next().unwrap_or_default();
            let cloud = format!("SMTP:{}@{first}.mail.onmicrosoft.com", user.alias);
            shown.text("targetAddress", cloud);
        }
    }

    /// Which server and database a mailbox lies in.
    fn home(&self, shown: &mut Shown) {
        let Some(site) = &self.tenant.site else {
            return;
        };
        let server = site.server.split('.').next().unwrap_or_default();
        let group = "Exchange Administrative Group (FYDIBOHF23SPDLT)";
        shown.text(
            "msExchHomeServerName",
            format!("/o=ExchangeLabs/ou={group}/cn=Configuration/cn=Servers/cn={server}"),
        );
        shown.text(
            "homeMDB",
            format!(
                "CN=DB01,CN=Databases,CN={group},CN=Administrative Groups,CN=ExchangeLabs,CN=Microsoft Exchange,CN=Services,{}",
                self.tree.configuration
            ),
        );
    }

    fn group(&self, account: &str, kind: i64, sid: &str, shown: &mut Shown) {
        shown.class(&["top", "group"], "Group", &self.tree.configuration);
        self.sid(sid, shown);
        shown.text("sAMAccountName", account);
        shown.number("groupType", kind);
        let security = kind < 0;
        let distribution = i64::from(!security);
        shown.number("sAMAccountType", 0x1000_0000 + distribution);
    }

    fn tenants_group(&self, at: usize, shown: &mut Shown) {
        let group = &self.tenant.groups[at];
        let (spec, account) = (&group.spec, &group.sam);
        let kind = match spec.kind {
            GroupKind::MailSecurity | GroupKind::Security => UNIVERSAL_SECURITY,
            GroupKind::Distribution | GroupKind::Unified => UNIVERSAL,
        };
        let sid = self.tenant.sid(&Principal::Group(at)).unwrap_or_default();
        self.group(account, kind, &sid, shown);
        shown.text("displayName", &spec.name);
        let settings = group.settings_seen(HERE, self.now);
        shown.texts("extensionAttribute15", settings.custom_15.clone());
        if settings.hidden {
            shown.text("msExchHideFromAddressLists", "TRUE");
        }
        let Some(mail) = &spec.mail else {
            return;
        };
        shown.text("mail", mail);
        shown.text("proxyAddresses", format!("SMTP:{mail}"));
        shown.text("mailNickname", &group.alias);
        shown.text("legacyExchangeDN", Tenant::legacy_name(&group.alias));
        let (details, display) = if kind < 0 {
            (1024, 0x4000_0009)
        } else {
            (256, 1)
        };
        shown.number("msExchRecipientTypeDetails", details);
        shown.number("msExchRecipientDisplayType", display);
        shown.number("msExchVersion", EXCHANGE_2013);
    }

    fn contact(&self, at: usize, shown: &mut Shown) {
        let mail = &self.tenant.contacts[at].1;
        let classes = ["top", "person", "organizationalPerson", "contact"];
        shown.class(&classes, "Person", &self.tree.configuration);
        shown.text("displayName", mail);
        shown.text("mail", mail);
        shown.text("proxyAddresses", format!("SMTP:{mail}"));
        shown.text("targetAddress", format!("SMTP:{mail}"));
        shown.number("msExchRecipientTypeDetails", 64);
        shown.number("msExchRecipientDisplayType", 6);
    }

    fn device(&self, at: usize, shown: &mut Shown) {
        let name = &self.tenant.devices[at].1;
        let classes = ["top", "person", "organizationalPerson", "user", "computer"];
        shown.class(&classes, "Computer", &self.tree.configuration);
        shown.text("displayName", format!("{name}$"));
        shown.text("sAMAccountName", format!("{name}$"));
        shown.number("sAMAccountType", 0x3000_0001);
        // a workstation's account, in the group of computers
        shown.number("userAccountControl", 0x1000);
        shown.number("primaryGroupID", 515);
    }
}
