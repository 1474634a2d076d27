//! What comes to a tenant while it is served: users and groups, and who knows of them.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::calendar::{Folder, Principal};
use crate::dice::Dice;
use crate::group::{Group, MadeGroup};
use crate::ldap::{Name, escaped};
use crate::replica::{Place, Shows};
use crate::scenario::{GroupSpec, UserSpec};
use crate::tenant::{Object, Tenant};
use crate::user::{Made, User};

impl Tenant {
    /// For who makes something: between the look whether it is there and its being there, nobody else makes anything.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A user comes; the caller is [alone](Self::alone), and has looked at the names.
    pub(crate) fn make_user(&self, mut spec: UserSpec, made: Made, dice: &Dice) -> usize {
        let shows = made.shows;
        if spec.id.is_nil() {
            spec.id = dice.uuid();
        }
        let mut user = User::new(spec, dice);
        user.made = Some(Box::new(made));
        if let Some(mailbox) = &user.mailbox {
            let list = vec![(Principal::Default, 2048), (Principal::Anonymous, 0)];
            *mailbox.folders() = vec![Folder::new("Calendar".to_owned(), list)];
        }
        let at = self.users.push(user);
        self.name_user(at);
        self.happens(shows);
        at
    }

    /// A group comes; the caller is [alone](Self::alone), and has looked at the names.
    pub(crate) fn make_group(&self, mut spec: GroupSpec, made: MadeGroup, dice: &Dice) -> usize {
        let shows = made.shows;
        if spec.id.is_nil() {
            spec.id = dice.uuid();
        }
        let is_awaited = |mail: &String| {
            let mut awaited = self.awaited.iter();
            awaited.any(|awaited| awaited.eq_ignore_ascii_case(mail))
        };
        let awaited = spec.mail.as_ref().is_some_and(is_awaited);
        let at = self.groups.push(Group::new(spec, Some(made)));
        self.name_group(at);
        if awaited {
            self.manage(Principal::Group(at));
        }
        self.happens(shows);
        at
    }

    pub(crate) fn name_user(&self, at: usize) {
        let (user, object) = (&self.users[at], Object::User(at));
        let spec = &user.spec;
        let names = spec.addresses.iter().chain([&spec.upn, &user.mail]);
        for name in names {
            self.identities.insert(name, object);
        }
        if let Some(made) = &user.made {
            self.identities.insert_if_free(&user.alias, object);
            self.identities.insert_if_free(&made.sam, object);
            if made.common_name != spec.name {
                self.call(&made.common_name, object);
            }
        } else {
            self.identities.insert(&user.alias, object);
        }
        self.identities.insert(&spec.id.to_string(), object);
        if let Some(mailbox) = &user.mailbox {
            self.identities.insert(&mailbox.guid.to_string(), object);
        }
        self.call(&spec.name, object);
    }

    pub(crate) fn name_group(&self, at: usize) {
        let (group, object) = (&self.groups[at], Object::Group(at));
        if let Some(mail) = &group.spec.mail {
            self.identities.insert(mail, object);
            self.identities.insert_if_free(&group.alias, object);
        }
        self.identities.insert(&group.spec.id.to_string(), object);
        self.call(&group.spec.name, object);
        if group.common_name != group.spec.name {
            self.call(&group.common_name, object);
        }
    }

    /// Whether one who looks from here knows of an object yet.
    pub(crate) fn knows(&self, object: Object, looks: Place, now: Duration) -> bool {
        match object {
            Object::User(at) => self.users[at].shows().is_seen(looks, now),
            Object::Group(at) => self.is_visible(at, looks, now),
            Object::Contact(_) | Object::Device(_) => true,
        }
    }

    /// Something was written that shows like this: LDAP may show something else from then on.
    pub(crate) fn happens(&self, shows: Shows) {
        let at = shows.since(Place::Controller(0));
        if self.site.is_some() && at != Duration::MAX {
            let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
            moments.push(at);
        }
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let places = [Place::Exchange, Place::Graph, Place::Controller(0)];
        // the last of them, but for those that never know of it
        let known = places
            .map(|place| shows.since(place))
            .into_iter()
            .filter(|since| *since != Duration::MAX);
        *settled = known.max().unwrap_or_default().max(*settled);
    }

    /// How often what LDAP shows has changed until now.
    pub(crate) fn directory_epoch(&self, now: Duration) -> usize {
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.iter().filter(|moment| **moment <= now).count()
    }

    /// The trustees a run may manage entries for.
    pub(crate) fn managed(&self) -> Vec<Principal> {
        let managed = self.managed.read().unwrap_or_else(PoisonError::into_inner);
        managed.clone()
    }

    pub(crate) fn is_managed(&self, principal: &Principal) -> bool {
        let managed = self.managed.read().unwrap_or_else(PoisonError::into_inner);
        managed.contains(principal)
    }

    pub(crate) fn manage(&self, principal: Principal) {
        let mut managed = self.managed.write().unwrap_or_else(PoisonError::into_inner);
        managed.push(principal);
    }

    /// Whether it has shown that this domain is its own.
    pub(crate) fn owns_domain(&self, domain: &str) -> bool {
        let mut domains = std::iter::once(&self.domain).chain(&self.domains);
        domains.any(|own| own.eq_ignore_ascii_case(domain))
    }

    /// The distinguished name of the domain on premises.
    pub(crate) fn domain_name(&self) -> String {
        format!("DC={}", self.domain.replace('.', ",DC="))
    }

    /// The distinguished name of a group in the directory on premises.
    pub(crate) fn group_directory_name(&self, at: usize) -> String {
        let spec = &self.groups[at].spec;
        spec.dn.clone().unwrap_or_else(|| {
            let name = escaped(&spec.name);
            format!("CN={name},OU=Groups,{}", self.domain_name())
        })
    }

    /// The unit that is called so, by its distinguished or canonical name: as distinguished name.
    pub(crate) fn directory_unit(&self, name: &str) -> Option<String> {
        let units = self.directory_units.get_or_init(|| self.all_units());
        let there = |dn: &String| Name::parse(dn).is_some_and(|dn| units.contains(&dn.key()));
        if name.contains('=') {
            return Some(name.trim().to_owned()).filter(there);
        }
        let (domain, path) = name.split_once('/')?;
        if !domain.eq_ignore_ascii_case(&self.domain) {
            return None;
        }
        let dn = |kind: &str| {
            let parts = path.split('/').rev();
            let parts: String = parts
                .map(|part| format!("{kind}={},", escaped(part)))
                .collect();
            format!("{parts}{}", self.domain_name())
        };
        [dn("OU"), dn("CN")].into_iter().find(there)
    }

    fn all_units(&self) -> HashSet<String> {
        let domain = self.domain_name();
        let mut units: HashSet<String> = HashSet::new();
        let users = (0..self.users.seeds()).filter_map(|at| self.users[at].spec.dn.as_deref());
        let groups = (0..self.groups.seeds()).map(|at| self.group_directory_name(at));
        let inside = users.filter_map(Name::parse).collect::<Vec<_>>();
        let groups = groups.filter_map(|name| Name::parse(&name));
        let above = inside.into_iter().chain(groups);
        let written = self.site.iter().flat_map(|site| &site.units);
        let written = written.filter_map(|name| Name::parse(name));
        let usual = format!("CN=Users,{domain}");
        let alone = written.chain(Name::parse(&usual));
        let from = above.filter_map(|name| name.parent()).chain(alone);
        for name in from {
            let mut next = Some(name);
            while let Some(name) = next {
                if !units.insert(name.key()) {
                    break;
                }
                next = name.parent();
            }
        }
        units.remove("");
        units
    }
}
