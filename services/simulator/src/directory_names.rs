//! What a directory on premises knows objects by: addresses, security identifiers, distinguished and canonical names.

use std::collections::HashSet;

use uuid::Uuid;

use crate::calendar::Principal;
use crate::ldap::Name;
use crate::scenario::GroupKind;
use crate::tenant::{Object, Tenant};

/// The first relative identifier that isn't a built-in one's.
const FIRST_RID: usize = 1100;

impl Tenant {
    /// Whether a user's sign-in carries a group: a member of it, or of a security group in it, and so on.
    pub(crate) fn carries(&self, user: usize, group: usize) -> bool {
        let mut seen = HashSet::from([group]);
        let mut open = vec![group];
        while let Some(at) = open.pop() {
            let kind = self.groups[at].spec.kind;
            if !matches!(kind, GroupKind::MailSecurity | GroupKind::Security) {
                continue;
            }
            for member in self.groups[at].members().iter() {
                match member {
                    Object::User(at) if *at == user => return true,
                    Object::Group(at) if seen.insert(*at) => open.push(*at),
                    _ => {}
                }
            }
        }
        false
    }

    /// The distinguished name of a user in the directory on premises.
    pub(crate) fn directory_name(&self, user: usize) -> String {
        let spec = &self.users[user].spec;
        spec.dn.clone().unwrap_or_else(|| {
            let name = &self.users[user].alias;
            format!("CN={name},CN=Users,{}", self.domain_name())
        })
    }

    /// The canonical name of a user there: the domain, the units from the top, and the name.
    pub(crate) fn canonical_name(&self, user: usize) -> String {
        self.canonical(&self.directory_name(user))
    }

    /// The canonical form of a distinguished name of the domain.
    pub(crate) fn canonical(&self, name: &str) -> String {
        let name = name.replace("\\,", "\u{0}");
        let parts = name.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.to_lowercase().starts_with("dc="));
        let mut path: Vec<&str> = parts
            .filter_map(|part| Some(part.split_once('=')?.1))
            .collect();
        path.push(&self.domain);
        path.reverse();
        path.join("/").replace('\u{0}', ",")
    }

    /// The user with this distinguished or canonical name, or this account name with its domain.
    pub(crate) fn by_directory_name(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let users = 0..self.users.len();
        if lower.starts_with("cn=") {
            return users
                .into_iter()
                .find(|at| self.directory_name(*at).to_lowercase() == lower);
        }
        if lower.starts_with(&format!("{}/", self.domain)) {
            return users
                .into_iter()
                .find(|at| self.canonical_name(*at).to_lowercase() == lower);
        }
        let netbios = self.site.as_ref()?.netbios.to_lowercase();
        let sam = lower.strip_prefix(&netbios)?.strip_prefix('\\')?;
        self.user(sam)
    }

    /// The group with this distinguished or canonical name, or this account name with its domain.
    pub(crate) fn group_by_directory_name(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let mut groups = 0..self.groups.len();
        if lower.starts_with("cn=") {
            let wanted = Name::parse(name)?;
            return groups
                .find(|at| Name::parse(&self.group_directory_name(*at)).as_ref() == Some(&wanted));
        }
        if lower.starts_with(&format!("{}/", self.domain)) {
            return groups.find(|at| {
                let canonical = self.canonical(&self.group_directory_name(*at));
                canonical.to_lowercase() == lower
            });
        }
        let netbios = self.site.as_ref()?.netbios.to_lowercase();
        let sam = lower.strip_prefix(&netbios)?.strip_prefix('\\')?;
        groups.find(|at| self.groups[*at].sam.eq_ignore_ascii_case(sam))
    }

    /// The user or group with this SMTP address.
    pub(crate) fn by_address(&self, address: &str) -> Option<Object> {
        let found = self.object(address)?;
        let is = |known: &str| known.eq_ignore_ascii_case(address.trim());
        let has = match found {
            Object::User(at) => {
                let user = &self.users[at];
                is(&user.mail) || user.spec.addresses.iter().any(|known| is(known))
            }
            Object::Group(at) => self.groups[at].spec.mail.as_deref().is_some_and(is),
            Object::Contact(at) => is(&self.contacts[at].1),
            Object::Device(_) => false,
        };
        has.then_some(found)
    }

    /// The security identifier of a user or group of this tenant's domain.
    pub(crate) fn sid(&self, principal: &Principal) -> Option<String> {
        let rid = match principal {
            Principal::User(at) => FIRST_RID + 2 * at,
            Principal::Group(at) => FIRST_RID + 2 * at + 1,
            _ => return None,
        };
        Some(format!("{}-{rid}", self.domain_sid()))
    }

    /// The security identifier of the domain itself.
    pub(crate) fn domain_sid(&self) -> String {
        let id = Uuid::parse_str(&self.id).unwrap_or_default().as_u128();
        let [_, a, b, c] = [96, 64, 32, 0].map(|shift| (id >> shift) & 0xFFFF_FFFF);
        format!("S-1-5-21-{a}-{b}-{c}")
    }

    /// Whose security identifier this is.
    pub(crate) fn by_sid(&self, sid: &str) -> Option<Principal> {
        let rid = sid.strip_prefix(&self.domain_sid())?.strip_prefix('-')?;
        let at = rid.parse::<usize>().ok()?.checked_sub(FIRST_RID)?;
        if at % 2 == 0 {
            (at / 2 < self.users.len()).then_some(Principal::User(at / 2))
        } else {
            (at / 2 < self.groups.len()).then_some(Principal::Group(at / 2))
        }
    }
}
