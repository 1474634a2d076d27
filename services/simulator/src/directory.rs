//! Graph's view of the directory: objects as JSON, `$select`, and the few filters it understands.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::replica::Place;
use crate::reply::Reply;
use crate::scenario::GroupKind;
use crate::sku::PLAN_1;
use crate::tenant::{Object, Tenant};

const USER: [&str; 26] = [
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
    "assignedLicenses",
    "licenseAssignmentStates",
    "passwordPolicies",
    "employeeId",
    "onPremisesExtensionAttributes",
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
const GROUP: [&str; 8] = [
    "id",
    "displayName",
    "mail",
    "mailEnabled",
    "securityEnabled",
    "groupTypes",
    "proxyAddresses",
    "onPremisesSyncEnabled",
];
const UNIT: [&str; 2] = ["id", "displayName"];

/// The properties an answer shows, and when.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    properties: Vec<String>,
    now: Duration,
}

impl Select {
    /// Reads `$select` for objects of this sort; a property the sort doesn't have is refused.
    pub(crate) fn parse(select: Option<&str>, sort: Sort, now: Duration) -> Result<Self, Reply> {
        let (known, default, name): (&[&str], &[&str], _) = match sort {
            Sort::User => (&USER, &USER_DEFAULT, "user"),
            Sort::Group => (&GROUP, &GROUP, "group"),
            Sort::Unit => (&UNIT, &UNIT, "administrativeUnit"),
            Sort::Any => (&USER, &USER_DEFAULT, "directoryObject"),
        };
        let Some(select) = select else {
            return Ok(Self {
                properties: default.iter().map(ToString::to_string).collect(),
                now,
            });
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
        Ok(Self {
            properties: chosen,
            now,
        })
    }

    fn asks(&self, property: &str) -> bool {
        self.properties.iter().any(|asked| asked == property)
    }

    fn keep(&self, mut all: Map<String, Value>) -> Value {
        all.retain(|name, _| name.starts_with('@') || self.properties.contains(name));
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
    let account = user.account(Place::Graph, select.now);
    let mail = user.mail_at(select.now);
    let mut proxies: Vec<String> = mail.iter().map(|mail| format!("SMTP:{mail}")).collect();
    proxies.extend(
        spec.addresses
            .iter()
            .filter(|address| !address.eq_ignore_ascii_case(&user.mail))
            .map(|address| format!("smtp:{address}")),
    );
    let capability = user.capability().filter(|_| select.asks("assignedPlans"));
    let plans = capability.map(|status| {
        let plan = tenant.mailbox_plans_of(at).first().copied();
        let plan = plan.unwrap_or(PLAN_1).to_string();
        json!({"service": "exchange", "capabilityStatus": status, "servicePlanId": plan})
    });
    let (given, surname) = spec.name.split_once(' ').unzip();
    let mut shown = object(json!({
        "id": spec.id.to_string(),
        "displayName": spec.name,
        "userPrincipalName": spec.upn,
        "mail": mail,
        "proxyAddresses": proxies,
        "accountEnabled": account.enabled,
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
        "usageLocation": account.usage_location,
        "onPremisesImmutableId": null,
        "passwordPolicies": account.password_policies,
        "employeeId": account.employee_id,
        "onPremisesExtensionAttributes": {"extensionAttribute15": account.custom_15},
    }));
    if select.asks("assignedLicenses") || select.asks("licenseAssignmentStates") {
        let (held, states) = licences(tenant, at);
        shown.insert("assignedLicenses".to_owned(), held.into());
        shown.insert("licenseAssignmentStates".to_owned(), states.into());
    }
    select.keep(shown)
}

/// The products a user has, and from where.
fn licences(tenant: &Tenant, at: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut held, mut states): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let direct = tenant.users[at].licences().clone();
    let direct = direct.into_iter().map(|it| (it.sku, it.disabled, None));
    let inherited = tenant.inherited(at).into_iter();
    let inherited = inherited.map(|(sku, group)| (sku, Vec::new(), Some(group.to_string())));
    for (sku, disabled, group) in direct.chain(inherited) {
        let id = tenant.skus[sku].id.to_string();
        let disabled: Vec<String> = disabled.iter().map(ToString::to_string).collect();
        if held.iter().all(|held| held["skuId"] != id.as_str()) {
            held.push(json!({"skuId": id, "disabledPlans": disabled}));
        }
        states.push(json!({
            "skuId": id, "disabledPlans": disabled, "assignedByGroup": group,
            "state": "Active", "error": "None", "lastUpdatedDateTime": "2026-11-23T06:00:00Z",
        }));
    }
    (held, states)
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
        "onPremisesSyncEnabled": spec.synced.then_some(true),
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
