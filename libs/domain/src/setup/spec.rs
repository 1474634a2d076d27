//! What a site's set-up is to bring about.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{Address, BadInput, SiteKind, TenantName, name::slug, outcome::words};

/// The most accounts that a site is set up with.
pub const MOST_ACCOUNTS: u32 = 50;
/// The longest name that Exchange takes.
const LONGEST_NAME: usize = 64;
/// The most days that a password lasts.
const MOST_DAYS: u32 = 3650;
/// The most owners of a group.
const MOST_OWNERS: usize = 20;

words!(
    /// Who makes a part of a set-up.
    ManagedBy {
        /// Calgrant does.
        Calgrant = "calgrant",
        /// Somebody else does: Calgrant looks whether it is right, and changes nothing.
        External = "external",
    }
);

/// Who makes which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedParts {
    /// The accounts: their users, and on premises their mailboxes.
    pub accounts: ManagedBy,
    /// Their licences; online only.
    pub licences: ManagedBy,
    /// The delegation group itself.
    pub group: ManagedBy,
    /// Who is in it.
    pub members: ManagedBy,
}

impl Default for ManagedParts {
    fn default() -> Self {
        Self {
            accounts: ManagedBy::Calgrant,
            licences: ManagedBy::Calgrant,
            group: ManagedBy::Calgrant,
            members: ManagedBy::Calgrant,
        }
    }
}

/// The user principal names of a site's accounts: an address with `{n}` where the number stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPattern(Address);

impl AddressPattern {
    /// The name of this number.
    pub fn of(&self, number: u32) -> Address {
        self.0.numbered(number)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AddressPattern {
    type Err = BadInput;

    /// An address with one `{n}` before the @, otherwise of letters `a-z`, digits, `.`, `-` and `_` there.
    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let address: Address = raw.parse()?;
        let local = address.as_str().split('@').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let rest = local.replacen("{n}", "", 1);
        if rest.len() == local.len() || !rest.chars().all(plain) {
            return Err(BadInput::new(
                "",
                raw,
                "{n} once before the @, where the number of the account stands, and only letters, digits, dots, hyphens and underscores besides, such as sa-mytt-exch-{n}@uni.example",
            ));
        }
        Ok(Self(address))
    }
}

/// The accounts and the group of a site, as a tenant's file wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupSpec {
    /// How many accounts: they are numbered from 1.
    pub count: u32,
    /// Numbers among these that have no account (any more).
    pub without: Vec<u32>,
    /// What they sign in with.
    pub name: AddressPattern,
    /// What people see; may hold `{n}`.
    pub display_name: String,
    /// ISO 3166 country, two letters, upper case; online only, where a licence needs it.
    pub usage_location: Option<String>,
    /// The product that they get, by its name (`EXCHANGESTANDARD`) or its id; online only.
    pub sku: Option<String>,
    /// The distinguished name of the unit that they and the group are put into; on premises only.
    pub organizational_unit: Option<String>,
    /// The address of the delegation group.
    pub group: Address,
    /// Its name.
    pub group_name: String,
    /// Who manages it; never members for that.
    pub group_owners: Vec<Address>,
    /// Who makes which part.
    pub managed: ManagedParts,
    /// Where the process that runs the set-up hands the accounts' passwords over. `None`: they are only kept sealed.
    pub hand_over: Option<HandOver>,
    /// Days after which their passwords expire, as the directory's policy says; `None`: they don't, or nobody said.
    pub password_days: Option<u32>,
}

/// Where passwords are handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOver {
    /// A folder, by its path: a file for each account.
    Folder(String),
    /// A Secret of Kubernetes: a key for each account.
    Kubernetes(SecretObject),
}

/// A Secret of Kubernetes: `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretObject {
    namespace: String,
    name: String,
}

impl SecretObject {
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for SecretObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for SecretObject {
    type Err = BadInput;

    fn from_str(raw: &str) -> Result<Self, BadInput> {
        let parts = raw.split_once('/').map(|(namespace, name)| {
            let label = |raw: &str| slug(raw).ok();
            Some((label(namespace)?, label(name)?))
        });
        let Some((namespace, name)) = parts.flatten() else {
            let why = "a Secret of Kubernetes is named namespace/name, such as timetable/passwords";
            return Err(BadInput::new("", raw, why));
        };
        Ok(Self { namespace, name })
    }
}

impl SetupSpec {
    /// The numbers that have an account.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (1..=self.count).filter(move |number| !self.without.contains(number))
    }

    /// What people see of an account.
    pub fn display_name(&self, number: u32) -> String {
        self.display_name.replace("{n}", &number.to_string())
    }

    /// What is wrong with it at a site of this kind.
    pub fn faults(&self, site: SiteKind) -> Vec<BadInput> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, value: &dyn fmt::Display, why: &str| {
            faults.push(BadInput::new(field, value, why));
        };
        if self.count == 0 || self.count > MOST_ACCOUNTS {
            fault("count", &self.count, "1 to 50 accounts");
        }
        for number in &self.without {
            if *number == 0 || *number > self.count {
                fault("without", number, "only numbers from 1 to count");
            }
        }
        let longest = self.name.of(self.count.max(1));
        if longest.as_str().split('@').next().unwrap_or_default().len() > LONGEST_NAME {
            fault("name", &longest, "64 characters at most before the @");
        }
        for (field, text) in [
            ("display_name", self.display_name(self.count)),
            ("group_name", self.group_name.clone()),
        ] {
            let length = text.trim().chars().count();
            if length == 0 || length > LONGEST_NAME || text.contains(char::is_control) {
                fault(
                    field,
                    &text,
                    "1 to 64 printable characters: Exchange takes no longer names",
                );
            }
        }
        if let Some(days) = self
            .password_days
            .filter(|days| *days == 0 || *days > MOST_DAYS)
        {
            fault("password_days", &days, "1 to 3,650 days");
        }
        if self.group_owners.is_empty() || self.group_owners.len() > MOST_OWNERS {
            fault(
                "group_owners",
                &self.group_owners.len(),
                "1 to 20 people who answer for the group: without one, whoever makes it would own it",
            );
        }
        if self.managed.accounts == ManagedBy::Calgrant {
            self.of_site(site, &mut fault);
        }
        faults
    }

    fn of_site(&self, site: SiteKind, fault: &mut impl FnMut(&str, &dyn fmt::Display, &str)) {
        let location = self.usage_location.as_deref();
        let country =
            |code: &str| code.len() == 2 && code.bytes().all(|letter| letter.is_ascii_uppercase());
        match site {
            SiteKind::Online => {
                if !location.is_some_and(country) {
                    fault(
                        "usage_location",
                        &location.unwrap_or_default(),
                        "the country that licences are used in, two capital letters such as NL: without it none can be given",
                    );
                }
                if self.sku.is_none() && self.managed.licences == ManagedBy::Calgrant {
                    fault(
                        "sku",
                        &"",
                        "the product whose mailbox plan the accounts get, such as EXCHANGESTANDARD",
                    );
                }
                if let Some(unit) = &self.organizational_unit {
                    fault(
                        "organizational_unit",
                        unit,
                        "it goes with a site on premises",
                    );
                }
            }
            SiteKind::Onprem => {
                if !self
                    .organizational_unit
                    .as_deref()
                    .is_some_and(|unit| unit.contains('='))
                {
                    fault(
                        "organizational_unit",
                        &self.organizational_unit.as_deref().unwrap_or_default(),
                        "the unit that accounts and group are put into, such as OU=Service,DC=uni,DC=example",
                    );
                }
                for (field, value) in [("usage_location", location), ("sku", self.sku.as_deref())] {
                    if let Some(value) = value {
                        fault(field, &value, "it goes with Exchange Online");
                    }
                }
            }
        }
    }
}

/// A set-up of a site, with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// What is wanted.
    pub spec: SetupSpec,
}

impl Setting {
    /// What is written into the users that this site's set-up makes, to know them again: 16 characters, as many as an employee id
    /// has room for.
    pub fn mark(&self) -> String {
        let whose = format!("calgrant set-up of {}/{}", self.tenant, self.site);
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, whose.as_bytes());
        format!("cg-{}", &hash.simple().to_string()[..13])
    }

    /// The name under which an account's password is kept.
    pub fn secret_name(&self, number: u32) -> String {
        format!(
            "{}/{}/{}",
            self.tenant,
            self.site,
            self.spec.name.of(number)
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A set-up online, or on premises.
    pub(crate) fn setting(site: SiteKind) -> Setting {
        let online = site == SiteKind::Online;
        Setting {
            tenant: "uni".parse().unwrap(),
            site,
            spec: SetupSpec {
                count: 3,
                without: vec![2],
                name: "sa-mytt-exch-{n}@uni.example".parse().unwrap(),
                display_name: "MyTimetable {n}".into(),
                usage_location: online.then(|| "NL".into()),
                sku: online.then(|| "EXCHANGESTANDARD".into()),
                organizational_unit: (!online).then(|| "OU=Service,DC=uni,DC=example".into()),
                group: "mytt-delegates@uni.example".parse().unwrap(),
                group_name: "MyTimetable delegates".into(),
                group_owners: vec!["ann@uni.example".parse().unwrap()],
                managed: ManagedParts::default(),
                hand_over: None,
                password_days: None,
            },
        }
    }

    #[test]
    fn patterns() {
        for (raw, third) in [
            (
                "sa-mytt-exch-{n}@uni.example",
                Some("sa-mytt-exch-3@uni.example"),
            ),
            ("SA{n}.x@Uni.Example", Some("sa3.x@uni.example")),
            ("sa@uni.example", None),
            ("sa-{n}-{n}@uni.example", None),
            ("sa@{n}.example", None),
            ("s ä{n}@uni.example", None),
            ("sä{n}@uni.example", None),
            ("{n}", None),
        ] {
            let read: Option<AddressPattern> = raw.parse().ok();
            let of = read.map(|pattern| pattern.of(3).to_string());
            assert_eq!(of.as_deref(), third, "{raw}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for site in [SiteKind::Online, SiteKind::Onprem] {
            assert_eq!(setting(site).spec.faults(site), []);
        }
        let fields = |spec: &SetupSpec, site| -> Vec<String> {
            let faults = spec.faults(site).into_iter();
            faults.map(|bad| bad.field).collect()
        };
        let mut spec = setting(SiteKind::Online).spec;
        spec.count = 51;
        spec.without = vec![0];
        spec.group_name = "x".repeat(65);
        spec.group_owners.clear();
        spec.usage_location = Some("nl".into());
        spec.sku = None;
        assert_eq!(
            fields(&spec, SiteKind::Online),
            [
                "count",
                "without",
                "group_name",
                "group_owners",
                "usage_location",
                "sku"
            ]
        );
        let spec = setting(SiteKind::Online).spec;
        assert_eq!(
            fields(&spec, SiteKind::Onprem),
            ["organizational_unit", "usage_location", "sku"]
        );
    }

    #[test]
    fn secrets_of_kubernetes_are_named_in_two_parts() {
        for (raw, good) in [
            ("timetable/passwords", true),
            ("passwords", false),
            ("a/b/c", false),
            ("../x", false),
            ("a/", false),
        ] {
            let read: Result<SecretObject, _> = raw.parse();
            assert_eq!(read.is_ok(), good, "{raw}");
            if let Ok(read) = read {
                assert_eq!(read.to_string(), raw);
            }
        }
    }

    #[test]
    fn a_mark_fits_and_tells_sites_apart() {
        let (online, onprem) = (setting(SiteKind::Online), setting(SiteKind::Onprem));
        assert_eq!(online.mark().len(), 16);
        assert_ne!(online.mark(), onprem.mark());
        assert_eq!(online.mark(), setting(SiteKind::Online).mark());
    }
}
