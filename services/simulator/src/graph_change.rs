//! What Graph changes: users that are made and changed, their licences, and members of security groups.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::admission::admit;
use crate::directory::{self, Select, Sort};
use crate::faults::About;
use crate::graph_ask::missing;
use crate::graph_user::{self, Change};
use crate::licences::Wanted;
use crate::query::decode;
use crate::replica::{Place, Shows};
use crate::reply::Reply;
use crate::scenario::{GroupKind, UserSpec};
use crate::tenant::{Object, Tenant};
use crate::user::{Made, Password};
use crate::world::{Audience, Token, World};

/// One change, from its arrival to its answer.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) token: &'a Token,
    /// Scheme and host for links.
    pub(crate) base: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
}

type Done = Result<Reply, Reply>;

fn bad(text: &str) -> Reply {
    Reply::error(400, "Request_BadRequest", text)
}

/// Carries a change out.
pub(crate) async fn run(world: &Arc<World>, asked: Asked<'_>) -> Reply {
    let segments: Vec<String> = asked
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| decode(part, false))
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let kind = match segments.as_slice() {
        [first] => format!("{} {first}", asked.method),
        [first, _] => format!("{} {first}/…", asked.method),
        [first, _, rest @ ..] => format!("{} {first}/…/{}", asked.method, rest.join("/")),
        [] => format!("{} /", asked.method),
    };
    let flight = match admit(world, asked.token, Audience::Graph, &kind, None) {
        Ok(flight) => flight,
        Err(refusal) => return refusal,
    };
    let about = About {
        kind: &kind,
        app: &asked.token.app.client_id,
    };
    world.work(about).await;
    if let Some(fault) = world.early_fault(&asked.token.app.graph, about) {
        return fault;
    }
    let writing = Writing {
        world,
        asked: &asked,
        tenant: &asked.token.tenant,
        now: world.clock.now(),
    };
    let reply = writing.route(&segments).unwrap_or_else(|refusal| refusal);
    drop(flight);
    if matches!(reply.status, 400 | 403) {
        let status = reply.status;
        world.judge.refused(&format!("{status} {kind}"));
    }
    if world.fault("lost_reply", about) {
        return Reply::broken();
    }
    if world.fault("error_after_effect", about) {
        return Reply::failed(world.dice.below(4));
    }
    reply.with("x-ms-resource-unit", "1")
}

struct Writing<'a> {
    world: &'a World,
    asked: &'a Asked<'a>,
    tenant: &'a Tenant,
    now: Duration,
}

impl Writing<'_> {
    fn route(&self, segments: &[&str]) -> Done {
        match (self.asked.method, segments) {
            (&Method::POST, ["users"]) => self.create(),
            (&Method::PATCH, ["users", id]) => self.change(id),
            (&Method::POST, ["users", id, "assignLicense"]) => self.license(id),
            (&Method::POST, ["groups", id, "members", "$ref"]) => self.join(id),
            (&Method::DELETE, ["users" | "groups", ..]) => {
                self.world.judge.did("deletions_tried", 1);
                Err(Reply::error(
                    405,
                    "Request_BadRequest",
                    "this resource can't be deleted here",
                ))
            }
            (&Method::POST, ["groups"]) | (&Method::PATCH, ["groups", _]) => Err(bad(
                "The service does not currently support writes of mail-enabled groups. Please ensure that the \
                 mail-enablement property is unset and the security-enablement property is set.",
            )),
            _ => Err(Reply::error(
                405,
                "Request_BadRequest",
                "this resource is read only",
            )),
        }
    }

    /// Refuses an app with none of these roles.
    fn role(&self, roles: &[&str]) -> Result<(), Reply> {
        if roles.iter().any(|role| self.asked.token.app.has_role(role)) {
            return Ok(());
        }
        Err(Reply::error(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        ))
    }

    fn body(&self) -> Result<Map<String, Value>, Reply> {
        let read = serde_json::from_slice(self.asked.body);
        read.map_err(|_| {
            let text =
                "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.";
            Reply::error(400, "BadRequest", text)
        })
    }

    fn user(&self, id: &str) -> Result<usize, Reply> {
        let known = self.tenant.user(id).filter(|at| {
            let user = &self.tenant.users[*at];
            let spec = &user.spec;
            let named = spec.upn.eq_ignore_ascii_case(id);
            (named || spec.id.to_string().eq_ignore_ascii_case(id))
                && user.shows().is_seen(Place::Graph, self.now)
        });
        known.ok_or_else(|| missing(id))
    }

    fn lag(&self) -> Duration {
        Duration::from_millis(self.world.dials().replication_lag_ms)
    }

    /// From when on what is written now shows; nothing of it comes down to the site.
    fn shows(&self) -> Shows {
        Shows::written(Place::Graph, self.now, self.lag(), None)
    }

    fn shown(&self, status: u16, user: usize) -> Done {
        let select = Select::parse(None, Sort::User, self.now)?;
        let mut shown = directory::user(self.tenant, user, &select);
        let context = format!("{}/v1.0/$metadata#users/$entity", self.asked.base);
        shown["@odata.context"] = context.into();
        Ok(Reply::json(status, shown))
    }

    /// `POST /users`.
    fn create(&self) -> Done {
        self.role(&["User.ReadWrite.All", "Directory.ReadWrite.All"])?;
        let (tenant, body) = (self.tenant, self.body()?);
        let owns = |domain: &str| tenant.owns_domain(domain);
        let new = graph_user::new(&body, owns).map_err(|text| bad(&text))?;
        let creation = Duration::from_millis(self.world.dials().creation_lag_ms);
        let spec = UserSpec {
            name: new.display_name,
            upn: new.upn.clone(),
            alias: Some(new.nickname.clone()),
            enabled: new.enabled,
            licensed: false,
            usage_location: new.change.usage_location.flatten(),
            password_policies: new.change.password_policies.flatten(),
            employee_id: new.change.employee_id.flatten(),
            ..UserSpec::default()
        };
        let local = new.upn.split('@').next().unwrap_or_default();
        let made = Made {
            common_name: local.to_owned(),
            sam: local.to_owned(),
            shows: Shows::written(Place::Graph, self.now + creation, self.lag(), None),
            by: self.asked.token.app.client_id.clone(),
        };
        let at = {
            let _alone = tenant.alone();
            if tenant.object(&new.upn).is_some() {
                return Err(bad(
                    "Another object with the same value for property userPrincipalName already exists.",
                ));
            }
            tenant.make_user(spec, made, &self.world.dice)
        };
        tenant.users[at].set_password(new.password);
        self.world.judge.did("accounts_created", 1);
        self.world.judge.did("passwords_set", 1);
        self.by_rule(at);
        self.shown(201, at)
    }

    /// Groups with a rule take everybody who is new.
    fn by_rule(&self, user: usize) {
        for (at, group) in self.tenant.groups.starting_at(0) {
            if group.spec.takes_new_users {
                self.add(at, user);
            }
        }
    }

    fn add(&self, group: usize, user: usize) {
        let shows = self.shows();
        {
            let _alone = self.tenant.alone();
            let mut members = self.tenant.groups[group].members().to_vec();
            members.push(Object::User(user));
            self.tenant.set_members(group, members, shows);
        }
        self.tenant.happens(shows);
        self.world.judge.did("members_added", 1);
        let lag = Duration::from_millis(self.world.dials().provisioning_lag_ms);
        self.tenant.relicense(user, self.now, lag);
    }

    /// `PATCH /users/{id}`.
    fn change(&self, id: &str) -> Done {
        self.role(&["User.ReadWrite.All", "Directory.ReadWrite.All"])?;
        let body = self.body()?;
        let change = graph_user::changed(&body).map_err(|text| bad(&text))?;
        let at = self.user(id)?;
        let user = &self.tenant.users[at];
        // where a licence may be used is the cloud's own
        let of_cloud = Change {
            usage_location: change.usage_location.clone(),
            ..Change::default()
        };
        if user.spec.dn.is_some() && change != of_cloud {
            return Err(bad(
                "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects \
                 currently undergoing migration.",
            ));
        }
        let mut account = user.account_now().as_ref().clone();
        let before = account.clone();
        let Change {
            enabled,
            usage_location,
            password_policies,
            employee_id,
            password,
        } = change;
        account.enabled = enabled.unwrap_or(account.enabled);
        account.usage_location = usage_location.unwrap_or(account.usage_location);
        account.password_policies = password_policies.unwrap_or(account.password_policies);
        account.employee_id = employee_id.unwrap_or(account.employee_id);
        let judge = &self.world.judge;
        if account.enabled != before.enabled {
            judge.did(
                if account.enabled {
                    "accounts_enabled"
                } else {
                    "accounts_disabled"
                },
                1,
            );
        }
        if account != before {
            judge.did("accounts_changed", 1);
            user.change(account, self.shows());
        }
        if let Some(password) = password {
            self.set_password(at, password);
        }
        Ok(Reply::text(204, "application/json", ""))
    }

    fn set_password(&self, at: usize, password: Password) {
        self.tenant.users[at].set_password(password);
        self.world.judge.did("passwords_set", 1);
    }

    /// `POST /users/{id}/assignLicense`.
    fn license(&self, id: &str) -> Done {
        self.role(&[
            "LicenseAssignment.ReadWrite.All",
            "User.ReadWrite.All",
            "Directory.ReadWrite.All",
        ])?;
        let wanted = wanted(&self.body()?).map_err(|text| bad(&text))?;
        let at = self.user(id)?;
        let provisioning = Duration::from_millis(self.world.dials().provisioning_lag_ms);
        let done = self.tenant.assign(at, &wanted, self.now, provisioning);
        let done = done.map_err(|text| bad(&text))?;
        self.world.judge.did("licences_assigned", done.assigned);
        self.world.judge.did("licences_removed", done.removed);
        self.shown(200, at)
    }

    /// `POST /groups/{id}/members/$ref`, of groups without mail.
    fn join(&self, id: &str) -> Done {
        self.role(&[
            "GroupMember.ReadWrite.All",
            "Group.ReadWrite.All",
            "Directory.ReadWrite.All",
        ])?;
        let group = match self.tenant.object(id) {
            Some(Object::Group(at))
                if !id.contains('@') && self.tenant.is_visible(at, Place::Graph, self.now) =>
            {
                at
            }
            _ => return Err(missing(id)),
        };
        let spec = &self.tenant.groups[group].spec;
        if spec.kind != GroupKind::Security || spec.synced || spec.takes_new_users {
            return Err(bad(
                "Cannot Update a mail-enabled security groups and or distribution list.",
            ));
        }
        let body = self.body()?;
        let link = body.get("@odata.id").and_then(Value::as_str);
        let member = link.and_then(|link| link.rsplit('/').next());
        let member = member.ok_or_else(|| bad("Invalid URL format specified in @odata.id."))?;
        let user = self.user(member)?;
        let members = self.tenant.groups[group].members();
        if members.contains(&Object::User(user)) {
            return Err(bad(
                "One or more added object references already exist for the following modified properties: 'members'.",
            ));
        }
        self.add(group, user);
        Ok(Reply::text(204, "application/json", ""))
    }
}

/// Reads the body of `assignLicense`.
fn wanted(body: &Map<String, Value>) -> Result<Wanted, String> {
    let list = |name: &str| {
        body.get(name).and_then(Value::as_array).ok_or_else(|| {
            format!(
                "One or more parameters of the operation 'assignLicense' are missing from the request payload. The missing parameters are: {name}."
            )
        })
    };
    let guid = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        Uuid::try_parse(text).map_err(|_| {
            format!("Cannot convert the literal '{text}' to the expected type 'Edm.Guid'.")
        })
    };
    let mut add = Vec::new();
    for licence in list("addLicenses")? {
        let disabled = match &licence["disabledPlans"] {
            Value::Null => Vec::new(),
            Value::Array(plans) => plans.iter().map(guid).collect::<Result<_, _>>()?,
            _ => return Err("Invalid value specified for property 'disabledPlans'.".to_owned()),
        };
        add.push((guid(&licence["skuId"])?, disabled));
    }
    let remove = list("removeLicenses")?.iter().map(guid);
    Ok(Wanted {
        add,
        remove: remove.collect::<Result<_, _>>()?,
    })
}

/// What is free of a product, as `subscribedSkus` shows it.
pub(crate) fn products(tenant: &Tenant) -> Vec<Value> {
    let skus = tenant.skus.iter().enumerate();
    let shown = skus.map(|(at, sku)| {
        let plans = sku.plans.iter().map(|plan| {
            json!({
                "servicePlanId": plan.id.to_string(), "servicePlanName": plan.name,
                "provisioningStatus": "Success",
                "appliesTo": if plan.of_company { "Company" } else { "User" },
            })
        });
        json!({
            "id": format!("{}_{}", tenant.id, sku.id),
            "accountId": tenant.id,
            "skuId": sku.id.to_string(), "skuPartNumber": sku.part_number,
            "capabilityStatus": sku.capability_status.as_deref().unwrap_or("Enabled"),
            "appliesTo": "User",
            "consumedUnits": tenant.consumed(at),
            "prepaidUnits": {"enabled": tenant.seats(sku), "suspended": 0, "warning": 0, "lockedOut": 0},
            "servicePlans": plans.collect::<Vec<_>>(),
        })
    });
    shown.collect()
}
