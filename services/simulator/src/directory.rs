//! Graph's view of the directory: objects as JSON, `$select`, and the few filters it understands.

use serde_json::{Map, Value, json};

use crate::reply::Reply;
use crate::scenario::GroupKind;
use crate::tenant::{Object, Tenant};

const USER: [&str; 21] = [
    "id",
    "businessPhones",
    "givenName",
    "surname",
    "jobTitle",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "department",
    "mailNickname",
    "userType",
    "usageLocation",
    "onPremisesImmutableId",
    "displayName",
    "userPrincipalName",
    "mail",
    "proxyAddresses",
    "accountEnabled",
    "onPremisesDistinguishedName",
    "onPremisesSyncEnabled",
    "assignedPlans",
];
const USER_DEFAULT: [&str; 11] = [
    "id",
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
];
const GROUP: [&str; 7] = [
    "id",
    "displayName",
    "mail",
    "mailEnabled",
    "securityEnabled",
    "groupTypes",
    "proxyAddresses",
];
const UNIT: [&str; 2] = ["id", "displayName"];

/// The properties an answer shows.
#[derive(Debug, Clone)]
pub(crate) struct Select(Vec<String>);

impl Select {
    /// Reads `$select` for objects of this sort; a property the sort doesn't have is refused.
    pub(crate) fn parse(select: Option<&str>, sort: Sort) -> Result<Self, Reply> {
        let (known, default, name): (&[&str], &[&str], _) = match sort {
            Sort::User => (&USER, &USER_DEFAULT, "user"),
            Sort::Group => (&GROUP, &GROUP, "group"),
            Sort::Unit => (&UNIT, &UNIT, "administrativeUnit"),
            Sort::Any => (&USER, &USER_DEFAULT, "directoryObject"),
        };
        let Some(select) = select else {
            return Ok(Self(default.iter().map(ToString::to_string).collect()));
        };
        let mut chosen = Vec::new();
        for property in select.split(',').map(str::trim) {
            match known
                .iter()
                .find(|name| name.eq_ignore_ascii_case(property))
            {
                Some(property) => chosen.push((*property).to_owned()),
                None => {
                    let text = format!(
                        "Could not find a property named '{property}' on type 'microsoft.graph.{name}'."
                    );
                    return Err(Reply::error(400, "Request_BadRequest", &text));
                }
            }
        }
        Ok(Self(chosen))
    }

    fn keep(&self, mut all: Map<String, Value>) -> Value {
        all.retain(|name, _| name.starts_with('@') || self.0.iter().any(|kept| kept == name));
        Value::Object(all)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    User,
    Group,
    Unit,
    Any,
}

pub(crate) fn user(tenant: &Tenant, at: usize, select: &Select) -> Value {
    let user = &tenant.users[at];
    let spec = &user.spec;
    let mut proxies = vec![format!("SMTP:{}", user.mail)];
    proxies.extend(
        spec.addresses
            .iter()
            .filter(|address| !address.eq_ignore_ascii_case(&user.mail))
            .map(|address| format!("smtp:{address}")),
    );
    let plans = user.capability().map(
        |status| json!({"service": "exchange", "capabilityStatus": status, "servicePlanId": PLAN}),
    );
    let (given, surname) = spec.name.split_once(' ').unzip();
    select.keep(object(json!({
        "id": spec.id.to_string(),
        "displayName": spec.name,
        "userPrincipalName": spec.upn,
        "mail": user.mail,
        "proxyAddresses": proxies,
        "accountEnabled": spec.enabled,
        "onPremisesDistinguishedName": spec.dn,
        "onPremisesSyncEnabled": spec.dn.is_some().then_some(true),
        "assignedPlans": plans.iter().collect::<Vec<_>>(),
        "businessPhones": [],
        "givenName": given,
        "surname": surname,
        "jobTitle": null,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": null,
        "department": null,
        "mailNickname": user.alias,
        "userType": "Member",
        "usageLocation": null,
        "onPremisesImmutableId": null,
    })))
}

/// Exchange Online Plan 1.
const PLAN: &str = "9aaf7827-d63c-4b61-89c3-182f06f82e5c";

/// The one product the tenant has bought.
pub(crate) fn sku(tenant: &Tenant) -> Value {
    let used = tenant
        .users
        .iter()
        .filter(|user| user.capability().is_some());
    json!({
        "skuId": "4b9405b0-7788-4568-add1-99614e613b69", "skuPartNumber": "EXCHANGESTANDARD",
        "capabilityStatus": "Enabled", "appliesTo": "User",
        "consumedUnits": used.count(),
        "prepaidUnits": {"enabled": tenant.users.len(), "suspended": 0, "warning": 0},
        "servicePlans": [
            {"servicePlanId": PLAN, "servicePlanName": "EXCHANGE_S_STANDARD", "provisioningStatus": "Success", "appliesTo": "User"},
        ],
    })
}

pub(crate) fn group(tenant: &Tenant, at: usize, select: &Select) -> Value {
    let spec = &tenant.groups[at].spec;
    let proxies: Vec<String> = spec
        .mail
        .iter()
        .map(|mail| format!("SMTP:{mail}"))
        .collect();
    let types: &[&str] = if spec.kind == GroupKind::Unified {
        &["Unified"]
    } else {
        &[]
    };
    select.keep(object(json!({
        "id": spec.id.to_string(),
        "displayName": spec.name,
        "mail": spec.mail,
        "mailEnabled": spec.mail.is_some(),
        "securityEnabled": matches!(spec.kind, GroupKind::MailSecurity | GroupKind::Security),
        "groupTypes": types,
        "proxyAddresses": proxies,
    })))
}

pub(crate) fn unit(tenant: &Tenant, at: usize, select: &Select) -> Value {
    let unit = &tenant.units[at];
    select.keep(object(
        json!({"id": unit.id.to_string(), "displayName": unit.name}),
    ))
}

/// Any member, with its sort.
pub(crate) fn member(tenant: &Tenant, member: Object, select: &Select) -> Value {
    let (sort, mut shown) = match member {
        Object::User(at) => ("user", user(tenant, at, select)),
        Object::Group(at) => ("group", group(tenant, at, select)),
        Object::Contact(at) => {
            let (id, mail) = &tenant.contacts[at];
            let all = json!({"id": id.to_string(), "displayName": mail, "mail": mail, "proxyAddresses": [format!("SMTP:{mail}")]});
            ("orgContact", select.keep(object(all)))
        }
        Object::Device(at) => {
            let (id, name) = &tenant.devices[at];
            (
                "device",
                select.keep(object(
                    json!({"id": id.to_string(), "displayName": name, "accountEnabled": true}),
                )),
            )
        }
    };
    shown["@odata.type"] = format!("#microsoft.graph.{sort}").into();
    shown
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
