//! One question to Graph: what it may ask, and the pages of its answer.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::{self, Select, Sort};
use crate::directory_filter;
use crate::query::{BadPage, Params, page_token, read_page_token};
use crate::replica::Place;
use crate::reply::Reply;
use crate::tenant::Object;
use crate::world::{Token, World};

/// One GET, or a function that is called by POST and changes nothing; from outside or from a batch.
pub(crate) struct Ask {
    pub(crate) token: Token,
    /// Scheme and host for links.
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) params: Params,
    pub(crate) eventual: bool,
    /// The body of a function that is called by POST; `None`: it is a GET.
    pub(crate) body: Option<Value>,
    /// When it was asked.
    pub(crate) now: Duration,
}

impl Ask {
    /// Refuses an app that has neither this role nor one that holds it.
    pub(crate) fn role(&self, role: &str) -> Result<(), Reply> {
        let wider: &[&str] = match role {
            "User.Read.All" => &["User.ReadWrite.All", "Directory.Read.All"],
            "GroupMember.Read.All" => &[
                "Group.Read.All",
                "GroupMember.ReadWrite.All",
                "Directory.Read.All",
            ],
            "AdministrativeUnit.Read.All" | "Application.Read.All" => &["Directory.Read.All"],
            "LicenseAssignment.Read.All" => &[
                "LicenseAssignment.ReadWrite.All",
                "Organization.Read.All",
                "Directory.Read.All",
            ],
            _ => &[],
        };
        if wider
            .iter()
            .chain([&role])
            .any(|role| self.token.app.has_role(role))
        {
            return Ok(());
        }
        Err(Reply::error(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        ))
    }

    /// The group whose members are asked for, when this app may see them.
    pub(crate) fn group_members(&self, id: &str) -> Result<usize, Reply> {
        self.role("GroupMember.Read.All")?;
        let group = self.group(id)?;
        if self.token.tenant.groups[group].spec.hidden_membership {
            self.role("Member.Read.Hidden")?;
        }
        Ok(group)
    }

    /// The user of this id or user principal name, when the directory shows it yet.
    pub(crate) fn user(&self, id: &str) -> Result<usize, Reply> {
        let tenant = &self.token.tenant;
        let known = tenant.user(id).filter(|at| {
            let spec = &tenant.users[*at].spec;
            let named = spec.upn.eq_ignore_ascii_case(id);
            (named || spec.id.to_string().eq_ignore_ascii_case(id)) && self.knows(Object::User(*at))
        });
        known.ok_or_else(|| missing(id))
    }

    /// Those of the groups that are named which a user is a member of, directly or not. What this app may not see is left out.
    pub(crate) fn check_member_groups(&self, id: &str, body: &Value) -> Result<Reply, Reply> {
        self.role("User.Read.All")?;
        self.role("GroupMember.Read.All")?;
        let bad = |text: &str| Reply::error(400, "Request_BadRequest", text);
        let named = body["groupIds"].as_array();
        let Some(named) = named.filter(|ids| (1..=20).contains(&ids.len())) else {
            return Err(bad("groupIds must name 1 to 20 groups."));
        };
        let user = self.user(id)?;
        let mut member_of = Vec::new();
        for id in named {
            let id = id.as_str().and_then(|id| Uuid::try_parse(id).ok());
            let id = id
                .ok_or_else(|| bad("Invalid GUID in groupIds."))?
                .to_string();
            let Ok(group) = self.group_members(&id) else {
                continue;
            };
            let members = self
                .token
                .tenant
                .transitive_seen(group, Place::Graph, self.now);
            if members.users.contains(&user) {
                member_of.push(id);
            }
        }
        let context = format!("{}/v1.0/$metadata#Collection(Edm.String)", self.base);
        let answer = json!({"@odata.context": context, "value": member_of});
        Ok(Reply::json(200, answer))
    }

    pub(crate) fn need_advanced(&self, what: &str) -> Result<(), Reply> {
        if self.advanced() {
            return Ok(());
        }
        let text = format!("{what} needs the header 'ConsistencyLevel: eventual' and $count=true.");
        Err(Reply::error(400, "Request_UnsupportedQuery", &text))
    }

    pub(crate) fn advanced(&self) -> bool {
        self.eventual && self.params.get("$count") == Some("true")
    }

    pub(crate) fn select(&self, sort: Sort) -> Result<Select, Reply> {
        Select::parse(self.params.get("$select"), sort, self.now)
    }

    pub(crate) fn group(&self, id: &str) -> Result<usize, Reply> {
        match self.token.tenant.object(id) {
            Some(Object::Group(at)) if !id.contains('@') && self.knows(Object::Group(at)) => Ok(at),
            _ => Err(missing(id)),
        }
    }

    pub(crate) fn filtered(&self, sort: Sort) -> Result<Option<Vec<Object>>, Reply> {
        let Some(text) = self.params.get("$filter") else {
            return Ok(None);
        };
        let mut found = directory_filter::filter(&self.token.tenant, sort, text, self.advanced())?;
        found.retain(|object| self.knows(*object));
        Ok(Some(found))
    }

    /// Whether Graph knows of an object yet.
    pub(crate) fn knows(&self, object: Object) -> bool {
        self.token.tenant.knows(object, Place::Graph, self.now)
    }

    /// Every object of a list that Graph knows of; `None` where that is all of them.
    pub(crate) fn known(
        &self,
        (seeds, len): (usize, usize),
        object: impl Fn(usize) -> Object,
    ) -> Option<Vec<usize>> {
        let unknown = |at: &usize| !self.knows(object(*at));
        if !(seeds..len).any(|at| unknown(&at)) {
            return None;
        }
        Some((0..len).filter(|at| !unknown(at)).collect())
    }

    pub(crate) fn objects(
        &self,
        world: &World,
        found: &[Object],
        select: &Select,
    ) -> Result<Reply, Reply> {
        self.list(world, found.len(), |at| {
            directory::member(&self.token.tenant, found[at], select)
        })
    }

    /// One page of a collection.
    pub(crate) fn list(
        &self,
        world: &World,
        total: usize,
        show: impl Fn(usize) -> Value,
    ) -> Result<Reply, Reply> {
        let bad = |code: &str, text: &str| Reply::error(400, code, text);
        let top = match self.params.get("$top") {
            None => 100,
            Some(text) => text
                .parse()
                .ok()
                .filter(|top| (1..=999).contains(top))
                .ok_or_else(|| {
                    bad(
                        "Request_UnsupportedQuery",
                        "Invalid page size specified: it must be between 1 and 999.",
                    )
                })?,
        };
        let now = world.clock.now();
        let fingerprint = self
            .params
            .fingerprint(&format!("{}{}", self.token.tenant.id, self.path));
        let offset = match self.params.get("$skiptoken") {
            None => 0,
            Some(token) => {
                let life = Duration::from_secs(world.dials().next_link_life_secs);
                read_page_token(token, now, life, fingerprint)
                    .map(|(offset, _)| offset)
                    .map_err(|reason| match reason {
                        BadPage::Foreign => bad(
                            "Request_BadRequest",
                            "The specified skip token isn't valid for this query.",
                        ),
                        BadPage::Expired => bad(
                            "Directory_ExpiredPageToken",
                            "The specified page token has expired.",
                        ),
                    })?
            }
        };
        let end = (offset + top).min(total);
        let value: Vec<Value> = (offset.min(end)..end).map(show).collect();
        let mut body = json!({
            "@odata.context": format!("{}/v1.0/$metadata#{}", self.base, self.path.trim_start_matches('/')),
            "value": value,
        });
        if self.advanced() {
            body["@odata.count"] = total.into();
        }
        if end < total {
            let query = self
                .params
                .with_token(&page_token((end, 0), now, fingerprint));
            body["@odata.nextLink"] = format!("{}/v1.0{}?{query}", self.base, self.path).into();
        }
        Ok(Reply::json(200, body))
    }
}

/// What isn't there.
pub(crate) fn missing(id: &str) -> Reply {
    let text = format!(
        "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
    );
    Reply::error(404, "Request_ResourceNotFound", &text)
}
