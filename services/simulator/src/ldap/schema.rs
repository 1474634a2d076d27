//! The attributes this directory knows, and how their values are compared.

use crate::ldap::name::Name;
use crate::ldap::sid;

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Words, whatever their case.
    Text,
    /// A number in decimal digits.
    Number,
    /// Names of objects.
    Name,
    /// Names of classes, where their first word is enough.
    Category,
    /// Bytes that a GUID is kept as.
    Guid,
    /// Bytes that a security identifier is kept as.
    Sid,
}

/// An attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) syntax: Syntax,
}

const fn of(syntax: Syntax, name: &'static str) -> Attribute {
    Attribute { name, syntax }
}

static ATTRIBUTES: &[Attribute] = &[
    of(Syntax::Text, "objectClass"),
    of(Syntax::Category, "objectCategory"),
    of(Syntax::Name, "distinguishedName"),
    of(Syntax::Text, "cn"),
    of(Syntax::Text, "name"),
    of(Syntax::Text, "ou"),
    of(Syntax::Text, "dc"),
    of(Syntax::Text, "displayName"),
    of(Syntax::Text, "description"),
    of(Syntax::Guid, "objectGUID"),
    of(Syntax::Sid, "objectSid"),
    of(Syntax::Text, "sAMAccountName"),
    of(Syntax::Number, "sAMAccountType"),
    of(Syntax::Text, "userPrincipalName"),
    of(Syntax::Number, "userAccountControl"),
    of(Syntax::Number, "primaryGroupID"),
    of(Syntax::Number, "groupType"),
    of(Syntax::Name, "member"),
    of(Syntax::Name, "memberOf"),
    of(Syntax::Text, "mail"),
    of(Syntax::Text, "mailNickname"),
    of(Syntax::Text, "proxyAddresses"),
    of(Syntax::Text, "targetAddress"),
    of(Syntax::Text, "legacyExchangeDN"),
    of(Syntax::Guid, "msExchMailboxGuid"),
    of(Syntax::Number, "msExchRecipientTypeDetails"),
    of(Syntax::Number, "msExchRecipientDisplayType"),
    of(Syntax::Number, "msExchRemoteRecipientType"),
    of(Syntax::Text, "msExchHomeServerName"),
    of(Syntax::Text, "msExchHideFromAddressLists"),
    of(Syntax::Text, "extensionAttribute15"),
    of(Syntax::Text, "employeeID"),
    of(Syntax::Number, "msExchVersion"),
    of(Syntax::Name, "homeMDB"),
    of(Syntax::Number, "instanceType"),
    of(Syntax::Text, "whenCreated"),
    of(Syntax::Text, "whenChanged"),
    of(Syntax::Number, "uSNCreated"),
    of(Syntax::Number, "uSNChanged"),
];

impl Attribute {
    /// The attribute of this name, whatever its case.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ATTRIBUTES
            .iter()
            .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }
}

/// A value in a form in which equal values are equal.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folded {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Syntax {
    /// A value that is asked for; `None` where it can't be one.
    pub(crate) fn asked(self, value: &[u8]) -> Option<Folded> {
        let text = || str::from_utf8(value).ok();
        match self {
            Self::Guid if value.len() != 16 => {
                let guid = uuid::Uuid::try_parse(text()?).ok()?;
                Some(Folded::Bytes(guid.to_bytes_le().to_vec()))
            }
            Self::Sid if value.starts_with(b"S-1-") => Some(Folded::Bytes(sid::bytes(text()?)?)),
            Self::Category if !value.contains(&b'=') => Some(Folded::Text(
                category(&text()?.to_lowercase())?.to_lowercase(),
            )),
            _ => self.held(value),
        }
    }

    /// A value that an object has.
    pub(crate) fn held(self, value: &[u8]) -> Option<Folded> {
        let text = || str::from_utf8(value).ok();
        Some(match self {
            Self::Text => Folded::Text(text()?.to_lowercase()),
            Self::Number => Folded::Number(text()?.trim().parse().ok()?),
            Self::Name => Folded::Text(Name::parse(text()?)?.key()),
            // by the class alone: there is one schema
            Self::Category => {
                let class = text()?.split(',').next()?.split_once('=')?.1;
                Folded::Text(class.trim().to_lowercase())
            }
            Self::Guid | Self::Sid => Folded::Bytes(value.to_vec()),
        })
    }
}

/// The category of the objects of a class.
fn category(class: &str) -> Option<&'static str> {
    Some(match class {
        "person" | "user" | "contact" | "organizationalperson" | "inetorgperson" => "Person",
        "group" => "Group",
        "computer" => "Computer",
        "organizationalunit" | "organizational-unit" => "Organizational-Unit",
        "container" => "Container",
        "domain" | "domaindns" | "domain-dns" => "Domain-DNS",
        "configuration" => "Configuration",
        _ => return None,
    })
}
