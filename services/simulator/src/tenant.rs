//! One tenant as the server holds it: objects, and the index that finds each of them in one step.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use crate::app::App;
use crate::calendar::{Acl, EXTERNAL, Folder, Mailbox, Principal, mask_of};
use crate::dice::Dice;
use crate::identities::Identities;
use crate::limiter::{Limiter, Targets};
use crate::onprem::Site;
use crate::scenario::{CalendarSpec, GroupKind, GroupSpec, JoinRestriction, TenantSpec, UserSpec};
use crate::user::User;

const HOSTED: &str = "OU=Microsoft Exchange Hosted Organizations";
const LEGACY: &str =
    "/o=ExchangeLabs/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=";

/// An object of the directory, by its place in the tenant's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    User(usize),
    Group(usize),
    Contact(usize),
    Device(usize),
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    members: RwLock<Arc<Vec<Object>>>,
    /// Who manages it, and who may join.
    managed: RwLock<(Vec<String>, JoinRestriction)>,
}

impl Group {
    /// Its direct members as they are now.
    pub(crate) fn members(&self) -> Arc<Vec<Object>> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who manages it as it is now, and who may join.
    pub(crate) fn managed(&self) -> (Vec<String>, JoinRestriction) {
        let managed = self.managed.read().unwrap_or_else(PoisonError::into_inner);
        managed.clone()
    }

    /// Changes what of it is given.
    pub(crate) fn manage(&self, owners: Option<Vec<String>>, join: Option<JoinRestriction>) {
        let mut managed = self.managed.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(owners) = owners {
            managed.0 = owners;
        }
        if let Some(join) = join {
            managed.1 = join;
        }
    }
}

/// The members of a group, nesting resolved, each once.
#[derive(Debug, Default)]
pub(crate) struct Transitive {
    pub(crate) all: Vec<Object>,
    pub(crate) users: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) members: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its place among the tenants.
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) domain: String,
    pub(crate) without_admin_api: AtomicBool,
    pub(crate) exchange: Arc<Limiter>,
    pub(crate) graph: Arc<Limiter>,
    pub(crate) exchange_targets: Targets,
    pub(crate) graph_targets: Targets,
    /// The half of the tenant on its own premises.
    pub(crate) site: Option<Site>,
    pub(crate) managed: Vec<Principal>,
    pub(crate) apps: HashMap<String, Arc<App>>,
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    pub(crate) units: Vec<Unit>,
    pub(crate) contacts: Vec<(Uuid, String)>,
    pub(crate) devices: Vec<(Uuid, String)>,
    identities: Identities,
    names: HashMap<String, Vec<Object>>,
    /// Members of groups with nesting resolved, until some group changes.
    transitive: Mutex<HashMap<usize, Arc<Transitive>>>,
}

impl Tenant {
    pub(crate) fn build(spec: TenantSpec, number: usize, dice: &Dice) -> anyhow::Result<Self> {
        let mut tenant = Self {
            number,
            id: spec.id.to_string(),
            domain: spec.domain.to_lowercase(),
            without_admin_api: AtomicBool::new(spec.without_admin_api),
            exchange: Arc::new(Limiter::new("tenant", spec.limits)),
            graph: Arc::new(Limiter::new("tenant, Graph", spec.graph_limits)),
            exchange_targets: Targets::new("mailbox", spec.mailbox_limits),
            graph_targets: Targets::new("mailbox, Graph", spec.graph_mailbox_limits),
            site: None,
            managed: Vec::new(),
            apps: HashMap::new(),
            users: Vec::with_capacity(spec.users.len()),
            groups: Vec::new(),
            units: Vec::new(),
            contacts: spec
                .contacts
                .into_iter()
                .map(|mail| (dice.uuid(), mail))
                .collect(),
            devices: spec
                .devices
                .into_iter()
                .map(|name| (dice.uuid(), name))
                .collect(),
            identities: Identities::with_capacity(spec.users.len() * 6),
            names: HashMap::new(),
            transitive: Mutex::default(),
        };
        let mut calendars = Vec::with_capacity(spec.users.len());
        for mut user in spec.users {
            calendars.push(std::mem::take(&mut user.calendars));
            tenant.add_user(user, dice);
        }
        for (at, contact) in tenant.contacts.iter().enumerate() {
            tenant.identities.insert(&contact.1, Object::Contact(at));
        }
        for (at, device) in tenant.devices.iter().enumerate() {
            tenant
                .names
                .entry(device.1.to_lowercase())
                .or_default()
                .push(Object::Device(at));
        }
        for group in spec.groups {
            tenant.add_group(group, dice);
        }
        for at in 0..tenant.groups.len() {
            let names = std::mem::take(&mut tenant.groups[at].spec.members);
            let members = names
                .iter()
                .map(|name| {
                    tenant
                        .member(name)
                        .with_context(|| format!("group member {name}: no such object"))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            tenant.set_members(at, members);
        }
        for unit in spec.units {
            let members = unit
                .members
                .iter()
                .filter_map(|name| tenant.user(name))
                .collect();
            tenant.units.push(Unit {
                id: or_random(unit.id, dice),
                name: unit.name,
                members,
            });
        }
        for (at, calendars) in calendars.into_iter().enumerate() {
            tenant.add_calendars(at, calendars)?;
        }
        for trustee in &spec.managed {
            let principal = tenant
                .principal(trustee)
                .with_context(|| format!("managed trustee {trustee}: no such object"))?;
            tenant.managed.push(principal);
        }
        for (number, app) in spec.apps.into_iter().enumerate() {
            let app = App::build(app, number);
            tenant.apps.insert(app.client_id.clone(), Arc::new(app));
        }
        if let Some(onprem) = spec.onprem {
            let site = Site::build(&onprem, &tenant).map_err(anyhow::Error::msg)?;
            tenant.site = Some(site);
        }
        Ok(tenant)
    }

    fn add_user(&mut self, mut spec: UserSpec, dice: &Dice) {
        let at = Object::User(self.users.len());
        spec.id = or_random(spec.id, dice);
        let user = User::new(spec, dice);
        let spec = &user.spec;
        let addresses = spec.addresses.iter();
        for key in addresses.chain([&spec.upn, &user.mail, &user.alias]) {
            self.identities.insert(key, at);
        }
        self.identities.insert(&spec.id.to_string(), at);
        if let Some(mailbox) = &user.mailbox {
            self.identities.insert(&mailbox.guid.to_string(), at);
        }
        let names = self.names.entry(spec.name.to_lowercase());
        names.or_default().push(at);
        self.users.push(user);
    }

    fn add_group(&mut self, mut spec: GroupSpec, dice: &Dice) {
        let at = Object::Group(self.groups.len());
        spec.id = or_random(spec.id, dice);
        if let Some(mail) = &spec.mail {
            self.identities.insert(mail, at);
            let alias = mail.split('@').next().unwrap_or_default();
            self.identities.insert_if_free(alias, at);
        }
        self.identities.insert(&spec.id.to_string(), at);
        self.names
            .entry(spec.name.to_lowercase())
            .or_default()
            .push(at);
        let managed = (std::mem::take(&mut spec.owners), spec.join);
        self.groups.push(Group {
            spec,
            members: RwLock::default(),
            managed: RwLock::new(managed),
        });
    }

    fn add_calendars(&mut self, at: usize, mut calendars: Vec<CalendarSpec>) -> anyhow::Result<()> {
        if self.users[at].spec.without_calendar {
            calendars.clear();
        } else if calendars.is_empty() {
            calendars.push(CalendarSpec {
                path: "Calendar".to_owned(),
                entries: Vec::new(),
            });
        }
        let mut folders = Vec::with_capacity(calendars.len());
        for calendar in calendars {
            let mut acl: Acl = vec![(Principal::Default, 2048), (Principal::Anonymous, 0)];
            for entry in calendar.entries {
                let principal = self
                    .principal(&entry.principal)
                    .with_context(|| format!("entry of {}: no such principal", entry.principal))?;
                let mask = entry.stored().map_err(anyhow::Error::msg)?;
                match mask_of(&acl, &principal) {
                    Some(_) if !entry.duplicate => acl
                        .iter_mut()
                        .filter(|(who, _)| *who == principal)
                        .for_each(|(_, old)| *old = mask),
                    _ => acl.push((principal, mask)),
                }
            }
            folders.push(Folder::new(calendar.path, acl));
        }
        if let Some(mailbox) = &self.users[at].mailbox {
            *mailbox.folders() = folders;
        }
        Ok(())
    }

    /// An object by address, alias, user principal name or any of its ids.
    pub(crate) fn object(&self, identity: &str) -> Option<Object> {
        self.identities.get(identity.trim())
    }

    /// As [`Tenant::object`], and by the two sorts of distinguished names Exchange has.
    pub(crate) fn recipient(&self, identity: &str) -> Option<Object> {
        self.object(identity).or_else(|| {
            let alias = match identity
                .strip_prefix("CN=")
                .and_then(|dn| dn.split_once(','))
            {
                Some((alias, rest)) if rest.contains(HOSTED) => alias,
                Some(_) => return None,
                None => identity.strip_prefix(LEGACY)?,
            };
            self.object(alias)
        })
    }

    /// The distinguished name of the object with this alias.
    pub(crate) fn distinguished_name(&self, alias: &str) -> String {
        let domain = &self.domain;
        format!("CN={alias},OU={domain},{HOSTED},DC=EURP190A001,DC=PROD,DC=OUTLOOK,DC=COM")
    }

    /// The X.500 address of the object with this alias.
    pub(crate) fn legacy_name(alias: &str) -> String {
        format!("{LEGACY}{alias}")
    }

    /// Every object with this display name.
    pub(crate) fn named(&self, name: &str) -> &[Object] {
        self.names
            .get(&name.trim().to_lowercase())
            .map_or(&[], Vec::as_slice)
    }

    /// The object that is called so where groups name their members.
    pub(crate) fn member(&self, name: &str) -> Option<Object> {
        self.object(name)
            .or_else(|| self.named(name).first().copied())
    }

    pub(crate) fn user(&self, identity: &str) -> Option<usize> {
        match self.object(identity)? {
            Object::User(at) => Some(at),
            _ => None,
        }
    }

    /// The user behind a mailbox identity, when the mailbox is there now.
    pub(crate) fn mailbox(&self, identity: &str, now: Duration) -> Option<(usize, &Mailbox)> {
        let at = self.user(identity)?;
        let mailbox = self.users.get(at)?.mailbox.as_ref()?;
        mailbox.is_there(now).then_some((at, mailbox))
    }

    /// The group with this id, or with this address when the scenario or the simulator's own API asks.
    pub(crate) fn group(&self, identity: &str) -> Option<usize> {
        match self.object(identity)? {
            Object::Group(at) => Some(at),
            _ => None,
        }
    }

    /// The principal with this name in a scenario.
    pub(crate) fn principal(&self, name: &str) -> Option<Principal> {
        if name.eq_ignore_ascii_case("Default") {
            return Some(Principal::Default);
        }
        if name.eq_ignore_ascii_case("Anonymous") {
            return Some(Principal::Anonymous);
        }
        if name.starts_with("NT:S-1-") {
            return Some(Principal::Orphan(name.into()));
        }
        if let Some(identity) = name.strip_prefix("external:") {
            return Some(Principal::External(format!("{EXTERNAL}{identity}").into()));
        }
        match self.object(name)? {
            Object::User(at) => Some(Principal::User(at)),
            Object::Group(at) => Some(Principal::Group(at)),
            Object::Contact(_) | Object::Device(_) => None,
        }
    }

    /// What a read shows for a principal.
    pub(crate) fn display_name<'a>(&'a self, principal: &'a Principal) -> &'a str {
        match principal {
            Principal::Default => "Default",
            Principal::Anonymous => "Anonymous",
            Principal::User(at) => &self.users[*at].spec.name,
            Principal::Group(at) => &self.groups[*at].spec.name,
            Principal::Orphan(name) | Principal::External(name) => name,
        }
    }

    /// What the judge calls a principal.
    pub(crate) fn address<'a>(&'a self, principal: &'a Principal) -> &'a str {
        match principal {
            Principal::User(at) => &self.users[*at].mail,
            Principal::Group(at) => self.groups[*at]
                .spec
                .mail
                .as_deref()
                .unwrap_or_else(|| self.display_name(principal)),
            Principal::Default
            | Principal::Anonymous
            | Principal::Orphan(_)
            | Principal::External(_) => self.display_name(principal),
        }
    }

    /// Whether this group may stand in a permission list.
    pub(crate) fn may_hold_rights(&self, group: usize) -> bool {
        self.groups[group].spec.kind == GroupKind::MailSecurity
    }

    /// Whether Exchange's servers know of a group yet.
    pub(crate) fn is_visible(&self, group: usize, now: Duration) -> bool {
        now.as_secs() >= self.groups[group].spec.visible_after_secs
    }

    /// Changes who is in a group.
    pub(crate) fn set_members(&self, group: usize, members: Vec<Object>) {
        *self.groups[group]
            .members
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
        self.resolved().clear();
    }

    fn resolved(&self) -> MutexGuard<'_, HashMap<usize, Arc<Transitive>>> {
        self.transitive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn transitive(&self, group: usize) -> Arc<Transitive> {
        let mut resolved = self.resolved();
        let found = resolved.entry(group).or_insert_with(|| {
            let mut found = Transitive::default();
            let mut seen = HashSet::from([Object::Group(group)]);
            let mut open = vec![group];
            while let Some(at) = open.pop() {
                for member in self.groups[at].members().iter() {
                    if !seen.insert(*member) {
                        continue;
                    }
                    found.all.push(*member);
                    match member {
                        Object::User(user) => found.users.push(*user),
                        Object::Group(nested) => open.push(*nested),
                        Object::Contact(_) | Object::Device(_) => {}
                    }
                }
            }
            Arc::new(found)
        });
        Arc::clone(found)
    }
}

fn or_random(id: Uuid, dice: &Dice) -> Uuid {
    if id.is_nil() { dice.uuid() } else { id }
}
