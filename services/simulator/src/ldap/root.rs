//! What the server says of itself, to anybody (RFC 4512, 5.1; MS-ADTS 3.1.1.3.2).

use time::macros::format_description;

use crate::clock::Clock;
use crate::ldap::entry::{Attributes, View};
use crate::ldap::matching::Looked;
use crate::ldap::message::{Scope, Search};
use crate::ldap::outcome::Outcome;
use crate::ldap::search::{Found, Wanted};

/// Pages of answers.
pub(crate) const PAGES: &str = "1.2.840.113556.1.4.319";
/// No other servers are to be named.
pub(crate) const STAYS_HERE: &str = "1.2.840.113556.1.4.1339";
pub(crate) const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
pub(crate) const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";

/// Active Directory; able to sign; of 2003 and later, 2008 and later, 2008 R2 and later.
const CAPABILITIES: [&str; 5] = [
    "1.2.840.113556.1.4.800",
    "1.2.840.113556.1.4.1791",
    "1.2.840.113556.1.4.1670",
    "1.2.840.113556.1.4.1935",
    "1.2.840.113556.1.4.2080",
];

/// Answers a search of the server's own entry.
pub(crate) fn search(view: &View<'_>, asked: &Search) -> Found {
    if asked.scope != Scope::Base {
        return Found {
            outcome: Outcome::no_object(""),
            ..Found::default()
        };
    }
    let attributes = attributes(view);
    let looked = Looked {
        tree: view.tree,
        at: 0,
        attributes: &vec![("objectClass", vec![b"top".to_vec()])],
    };
    if looked.fits(&asked.filter) != Some(true) {
        return Found::default();
    }
    match Wanted::of(&asked.attributes).select(attributes, asked.types_only) {
        Ok(selected) => Found {
            entries: vec![(String::new(), selected)],
            ..Found::default()
        },
        Err(outcome) => Found {
            outcome,
            ..Found::default()
        },
    }
}

fn attributes(view: &View<'_>) -> Attributes {
    let (domain, configuration) = (&view.tree.domain, &view.tree.configuration);
    let of = &view.tenant.domain;
    let schema = format!("CN=Schema,{configuration}");
    let site = view.tenant.site.as_ref();
    let first = site.and_then(|site| site.controllers.first());
    let host = first.map_or("DC01", String::as_str);
    let server =
        format!("CN={host},CN=Servers,CN=Default-First-Site-Name,CN=Sites,{configuration}");
    let format = format_description!("[year][month][day][hour][minute][second].0Z");
    let now = Clock::utc().format(format).unwrap_or_default();
    let newest = (view.tree.items.len() + 4096).to_string();
    let one = |name: &'static str, value: &str| (name, vec![value.as_bytes().to_vec()]);
    let several = |name: &'static str, values: &[&str]| {
        let values = values.iter().map(|value| value.as_bytes().to_vec());
        (name, values.collect())
    };
    vec![
        one("currentTime", &now),
        one("dnsHostName", &format!("{host}.{of}")),
        one("serverName", &server),
        one("dsServiceName", &format!("CN=NTDS Settings,{server}")),
        one(
            "ldapServiceName",
            &format!("{of}:{}$@{}", host.to_lowercase(), of.to_uppercase()),
        ),
        one("defaultNamingContext", domain),
        one("rootDomainNamingContext", domain),
        one("configurationNamingContext", configuration),
        one("schemaNamingContext", &schema),
        several(
            "namingContexts",
            &[domain.as_str(), configuration.as_str(), schema.as_str()],
        ),
        several("supportedControl", &[PAGES, STAYS_HERE]),
        several("supportedExtension", &[START_TLS, WHO_AM_I]),
        several("supportedCapabilities", &CAPABILITIES),
        one("supportedLDAPVersion", "3"),
        one("highestCommittedUSN", &newest),
        one("isSynchronized", "TRUE"),
        one("isGlobalCatalogReady", "FALSE"),
        one("domainFunctionality", "7"),
        one("forestFunctionality", "7"),
        one("domainControllerFunctionality", "7"),
    ]
}
