//! One tenant as the server holds it: objects, and the index that finds each of them in one step.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use crate::app::{App, Registration};
use crate::application::Assignment;
use crate::calendar::{Acl, EXTERNAL, Folder, Mailbox, Principal, mask_of};
use crate::dice::Dice;
use crate::group::Group;
use crate::growing::Growing;
use crate::identities::Identities;
use crate::limiter::{Limiter, Targets};
use crate::onprem::Site;
use crate::replica::{Place, Shows};
use crate::scenario::{CalendarSpec, GroupKind, GroupSpec, TenantSpec, UserSpec};
use crate::sku::SkuSpec;
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
    /// More verified domains.
    pub(crate) domains: Vec<String>,
    pub(crate) skus: Vec<SkuSpec>,
    pub(crate) managed: RwLock<Vec<Principal>>,
    /// Addresses of trustees that a run is to make.
    pub(crate) awaited: Vec<String>,
    pub(crate) apps: HashMap<String, Arc<App>>,
    pub(crate) users: Growing<User>,
    pub(crate) groups: Growing<Group>,
    pub(crate) units: Vec<Unit>,
    pub(crate) contacts: Vec<(Uuid, String)>,
    pub(crate) devices: Vec<(Uuid, String)>,
    pub(crate) identities: Identities,
    pub(crate) names: RwLock<HashMap<String, Vec<Object>>>,
    /// Members of groups with nesting resolved, until some group changes.
    transitive: Mutex<HashMap<usize, Arc<Transitive>>>,
    /// Until when some place doesn't know the members of all groups.
    pub(crate) settled: Mutex<Duration>,
    /// Held by who makes something, from the look whether it is there until it is.
    pub(crate) making: Mutex<()>,
    /// When what LDAP shows has changed, or will.
    pub(crate) moments: Mutex<Vec<Duration>>,
    /// The units of the directory on premises, once somebody asks.
    pub(crate) directory_units: OnceLock<HashSet<String>>,
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
            domains: spec.domains.iter().map(|it| it.to_lowercase()).collect(),
            skus: products(spec.skus),
            managed: RwLock::default(),
            awaited: spec.awaited,
            apps: HashMap::new(),
            users: Growing::with_capacity(spec.users.len()),
            groups: Growing::with_capacity(spec.groups.len()),
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
            names: RwLock::default(),
            transitive: Mutex::default(),
            settled: Mutex::default(),
            making: Mutex::default(),
            moments: Mutex::default(),
            directory_units: OnceLock::new(),
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
            tenant.call(&device.1, Object::Device(at));
        }
        for group in spec.groups {
            tenant.add_group(group, dice);
        }
        for at in 0..tenant.groups.len() {
            let names = tenant.groups.get_mut(at);
            let names = names.map(|group| std::mem::take(&mut group.spec.members));
            let names = names.unwrap_or_default();
            let members = names
                .iter()
                .map(|name| {
                    tenant
                        .member(name)
                        .with_context(|| format!("group member {name}: no such object"))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            tenant.set_members(at, members, Shows::ALWAYS);
        }
        tenant.license_members();
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
            tenant.manage(principal);
        }
        for (number, mut spec) in spec.apps.into_iter().enumerate() {
            let assignments = Assignment::all(std::mem::take(&mut spec.assignments), &tenant);
            let app = App::build(spec, number);
            app.register(Registration {
                assignments: assignments.map_err(anyhow::Error::msg)?,
                ..app.registration()
            });
            tenant.apps.insert(app.client_id.clone(), Arc::new(app));
        }
        if let Some(onprem) = spec.onprem {
            let site = Site::build(&onprem, &tenant).map_err(anyhow::Error::msg)?;
            tenant.site = Some(site);
        }
        Ok(tenant)
    }

    fn add_user(&mut self, mut spec: UserSpec, dice: &Dice) {
        let at = self.users.len();
        spec.id = or_random(spec.id, dice);
        self.users.seed(User::new(spec, dice));
        self.name_user(at);
    }

    fn add_group(&mut self, mut spec: GroupSpec, dice: &Dice) {
        let at = self.groups.len();
        spec.id = or_random(spec.id, dice);
        self.groups.seed(Group::new(spec, None));
        self.name_group(at);
    }

    /// The object is called so from now on.
    pub(crate) fn call(&self, name: &str, object: Object) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let named = names.entry(name.trim().to_lowercase()).or_default();
        named.push(object);
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
    pub(crate) fn named(&self, name: &str) -> Vec<Object> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let named = names.get(&name.trim().to_lowercase());
        named.cloned().unwrap_or_default()
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

    /// Whether one who looks from here knows of a group yet.
    pub(crate) fn is_visible(&self, group: usize, looks: Place, now: Duration) -> bool {
        let group = &self.groups[group];
        let held_back = looks != Place::Graph && now.as_secs() < group.spec.visible_after_secs;
        !held_back && group.shows.is_seen(looks, now)
    }

    /// Changes who is in a group.
    pub(crate) fn set_members(&self, group: usize, members: Vec<Object>, shows: Shows) {
        self.groups[group].members.write(members, shows);
        self.resolved().clear();
    }

    fn resolved(&self) -> MutexGuard<'_, HashMap<usize, Arc<Transitive>>> {
        self.transitive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The members of a group in truth, nesting resolved.
    pub(crate) fn transitive(&self, group: usize) -> Arc<Transitive> {
        let mut resolved = self.resolved();
        let found = resolved.entry(group).or_insert_with(|| {
            let members = |at: usize| self.groups[at].members();
            Arc::new(walk(group, members))
        });
        Arc::clone(found)
    }

    /// As [`Tenant::transitive`], as far as one who looks from here knows of it.
    pub(crate) fn transitive_seen(
        &self,
        group: usize,
        looks: Place,
        now: Duration,
    ) -> Arc<Transitive> {
        let settled = *self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= settled {
            return self.transitive(group);
        }
        let members = |at: usize| self.groups[at].members_seen(looks, now);
        Arc::new(walk(group, members))
    }
}

fn walk(group: usize, members: impl Fn(usize) -> Arc<Vec<Object>>) -> Transitive {
    let mut found = Transitive::default();
    let mut seen = HashSet::from([Object::Group(group)]);
    let mut open = vec![group];
    while let Some(at) = open.pop() {
        for member in members(at).iter() {
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
    found
}

fn products(skus: Vec<SkuSpec>) -> Vec<SkuSpec> {
    if skus.is_empty() {
        return vec![SkuSpec::usual()];
    }
    skus.into_iter().map(SkuSpec::complete).collect()
}

fn or_random(id: Uuid, dice: &Dice) -> Uuid {
    if id.is_nil() { dice.uuid() } else { id }
}
