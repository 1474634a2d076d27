//! The directory of one tenant's domain: which objects there are, where they lie, and who is a member of what.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use uuid::Uuid;

use crate::dice::Dice;
use crate::ldap::message::Scope;
use crate::ldap::name::{Name, escaped, split};
use crate::replica::Place;
use crate::scenario::GroupKind;
use crate::tenant::{Object, Tenant};

/// Whose directory it is.
pub(crate) const HERE: Place = Place::Controller(0);

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Domain,
    Unit,
    Container,
    Configuration,
    /// The built-in group that every account belongs to as its primary one.
    DomainUsers,
    /// One of the tenant's.
    Tenants(Object),
}

/// One object.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) what: What,
    /// Its distinguished name.
    pub(crate) name: String,
    pub(crate) guid: Uuid,
    parent: Option<usize>,
    children: Vec<usize>,
    /// Direct members, and the groups it is a direct member of.
    pub(crate) members: Vec<usize>,
    pub(crate) groups: Vec<usize>,
    /// Members at whatever depth.
    chain: OnceLock<HashSet<usize>>,
}

/// A domain's objects, by their place in a list.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The domain's distinguished name, and that of its configuration.
    pub(crate) domain: String,
    pub(crate) configuration: String,
    pub(crate) items: Vec<Item>,
    by_name: HashMap<String, usize>,
    by_guid: HashMap<Uuid, usize>,
    /// Who may be meant by an address, an account's name or an alias, in lower case.
    by_word: HashMap<String, Vec<usize>>,
    places: HashMap<Object, usize>,
}

impl Tree {
    /// As the first domain controller knows it now. Objects keep their places, whatever comes.
    pub(crate) fn of(tenant: &Tenant, now: Duration) -> Self {
        let labels: Vec<String> = tenant
            .domain
            .split('.')
            .map(|label| format!("DC={label}"))
            .collect();
        let domain = labels.join(",");
        let mut tree = Self {
            configuration: format!("CN=Configuration,{domain}"),
            domain: domain.clone(),
            items: Vec::new(),
            by_name: HashMap::new(),
            by_guid: HashMap::new(),
            by_word: HashMap::new(),
            places: HashMap::new(),
        };
        let made = |name: &str| made_up(&tenant.id, name);
        tree.add(What::Domain, domain.clone(), made(&domain));
        for name in ["CN=Users", "CN=Computers"] {
            let name = format!("{name},{domain}");
            let guid = made(&name);
            tree.add(What::Container, name, guid);
        }
        let configuration = tree.configuration.clone();
        let guid = made(&configuration);
        tree.add(What::Configuration, configuration, guid);
        let name = format!("CN=Domain Users,CN=Users,{domain}");
        let guid = made(&name);
        tree.add(What::DomainUsers, name, guid);
        for name in tenant.site.iter().flat_map(|site| &site.units) {
            tree.add_above(tenant, &format!("CN=x,{name}"));
        }
        tree.add_tenants(tenant, now);
        tree.link(tenant, now);
        tree
    }

    fn add_tenants(&mut self, tenant: &Tenant, now: Duration) {
        let domain = self.domain.clone();
        for at in 0..tenant.users.seeds() {
            self.add_user(tenant, at);
        }
        for at in 0..tenant.groups.seeds() {
            self.add_group(tenant, at);
        }
        for (at, (id, mail)) in tenant.contacts.iter().enumerate() {
            let name = format!("CN={},OU=Contacts,{domain}", escaped(mail));
            let place = self.put(tenant, Object::Contact(at), name, *id);
            self.word(place, [mail]);
        }
        for (at, (id, device)) in tenant.devices.iter().enumerate() {
            let name = format!("CN={},CN=Computers,{domain}", escaped(device));
            let place = self.put(tenant, Object::Device(at), name, *id);
            self.word(place, [&format!("{device}$")]);
        }
        let users = tenant.users.starting_at(tenant.users.seeds());
        let users = users.map(|(at, user)| (user.shows().since(HERE), Object::User(at)));
        let groups = tenant.groups.starting_at(tenant.groups.seeds());
        let groups = groups.map(|(at, group)| (group.shows.since(HERE), Object::Group(at)));
        let known = users.chain(groups).filter(|(since, _)| *since <= now);
        let mut known: Vec<(Duration, Object)> = known.collect();
        known.sort_by_key(|(since, _)| *since);
        for (_, object) in known {
            match object {
                Object::User(at) => self.add_user(tenant, at),
                Object::Group(at) => self.add_group(tenant, at),
                Object::Contact(_) | Object::Device(_) => {}
            }
        }
    }

    /// What is in neither half's directory on premises exists in the cloud alone.
    fn add_user(&mut self, tenant: &Tenant, at: usize) {
        let user = &tenant.users[at];
        let has_account = tenant
            .site
            .as_ref()
            .is_some_and(|site| site.of_user(at).is_some());
        if !(user.spec.on_premises || user.spec.dn.is_some() || has_account) {
            return;
        }
        let name = tenant.directory_name(at);
        let place = self.put(tenant, Object::User(at), name, user.spec.id);
        let names = [&user.spec.upn, &user.mail, &user.alias];
        let words = user.spec.addresses.iter().chain(names);
        self.word(place, words);
        if let Some(mailbox) = &user.mailbox
            && let Some(place) = place
        {
            self.by_guid.insert(mailbox.guid, place);
        }
    }

    fn add_group(&mut self, tenant: &Tenant, at: usize) {
        let group = &tenant.groups[at];
        if group.spec.kind == GroupKind::Unified {
            return;
        }
        let name = tenant.group_directory_name(at);
        let place = self.put(tenant, Object::Group(at), name, group.spec.id);
        let words = group.spec.mail.iter().chain([&group.spec.name, &group.sam]);
        self.word(place, words);
    }

    /// Adds an object of the tenant's, with the units it lies in. `None` outside of the domain.
    fn put(&mut self, tenant: &Tenant, object: Object, name: String, guid: Uuid) -> Option<usize> {
        let domain = Name::parse(&self.domain)?;
        if !Name::parse(&name).is_some_and(|name| name.is_within(&domain)) {
            tracing::warn!(%name, "this object isn't in the directory: its name lies outside of the domain");
            return None;
        }
        self.add_above(tenant, &name);
        // names are unique; of two that would have the same, the second says which it is
        let name = if self.named(&name).is_some() {
            let (first, rest) = split(&name);
            format!("{first} {guid},{rest}")
        } else {
            name
        };
        let place = self.add(What::Tenants(object), name, guid);
        self.places.insert(object, place);
        Some(place)
    }

    fn add_above(&mut self, tenant: &Tenant, name: &str) {
        let (_, above) = split(name);
        if above.is_empty() || self.named(above).is_some() {
            return;
        }
        self.add_above(tenant, above);
        let is_unit = above
            .get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("ou="));
        let what = if is_unit { What::Unit } else { What::Container };
        self.add(what, above.to_owned(), made_up(&tenant.id, above));
    }

    fn add(&mut self, what: What, name: String, guid: Uuid) -> usize {
        let place = self.items.len();
        let (_, above) = split(&name);
        // what another naming context holds lies in nothing
        let parent = self.named(above).filter(|_| what != What::Configuration);
        if let Some(parent) = parent {
            self.items[parent].children.push(place);
        }
        if let Some(parsed) = Name::parse(&name) {
            self.by_name.insert(parsed.key(), place);
        }
        self.by_guid.insert(guid, place);
        self.items.push(Item {
            what,
            name,
            guid,
            parent,
            children: Vec::new(),
            members: Vec::new(),
            groups: Vec::new(),
            chain: OnceLock::new(),
        });
        place
    }

    fn word<'a>(&mut self, place: Option<usize>, words: impl IntoIterator<Item = &'a String>) {
        for word in words {
            let known = self.by_word.entry(word.to_lowercase()).or_default();
            known.extend(place.filter(|place| !known.contains(place)));
        }
    }

    fn link(&mut self, tenant: &Tenant, now: Duration) {
        for (at, group) in tenant.groups.starting_at(0) {
            let Some(place) = self.place(Object::Group(at)) else {
                continue;
            };
            let members = group.members_seen(HERE, now);
            let members = members.iter().filter_map(|member| self.place(*member));
            let members: Vec<usize> = members.collect();
            for member in &members {
                self.items[*member].groups.push(place);
            }
            self.items[place].members = members;
        }
    }

    /// Where an object of the tenant's is, when it is in this directory.
    pub(crate) fn place(&self, object: Object) -> Option<usize> {
        self.places.get(&object).copied()
    }

    /// The object of this distinguished name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(&Name::parse(name)?.key()).copied()
    }

    /// The object that a parsed name is of.
    pub(crate) fn at(&self, name: &Name) -> Option<usize> {
        self.by_name.get(&name.key()).copied()
    }

    /// The object of this id, or with the mailbox of this id.
    pub(crate) fn with_guid(&self, guid: Uuid) -> Option<usize> {
        self.by_guid.get(&guid).copied()
    }

    /// Everybody who may be meant by an address, an alias or an account's name.
    pub(crate) fn meant(&self, word: &str) -> &[usize] {
        self.by_word
            .get(&word.to_lowercase())
            .map_or(&[], Vec::as_slice)
    }

    /// Members of an object at whatever depth; itself, too, where groups are members of each other.
    pub(crate) fn chain(&self, group: usize) -> &HashSet<usize> {
        self.items[group].chain.get_or_init(|| {
            let mut met = HashSet::new();
            let mut open = vec![group];
            while let Some(at) = open.pop() {
                for member in &self.items[at].members {
                    if met.insert(*member) {
                        open.push(*member);
                    }
                }
            }
            met
        })
    }

    /// Whether an object lies where a search looks.
    pub(crate) fn is_in(&self, at: usize, base: usize, scope: Scope) -> bool {
        match scope {
            Scope::Base => at == base,
            Scope::OneLevel => self.items[at].parent == Some(base),
            Scope::Subtree => {
                std::iter::successors(Some(at), |at| self.items[*at].parent).any(|at| at == base)
            }
        }
    }

    /// Every object where a search looks.
    pub(crate) fn all_in(&self, base: usize, scope: Scope) -> BTreeSet<usize> {
        match scope {
            Scope::Base => BTreeSet::from([base]),
            Scope::OneLevel => self.items[base].children.iter().copied().collect(),
            Scope::Subtree => {
                let mut all = BTreeSet::from([base]);
                let mut open = vec![base];
                while let Some(at) = open.pop() {
                    all.extend(&self.items[at].children);
                    open.extend(&self.items[at].children);
                }
                all
            }
        }
    }
}

/// An id that is always the same for an object that no scenario names.
fn made_up(tenant: &str, name: &str) -> Uuid {
    let bytes = tenant.bytes().chain(name.to_lowercase().into_bytes());
    // FNV-1a
    let seed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Dice::new(seed).uuid()
}
