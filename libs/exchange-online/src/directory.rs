//! The directory's port: listings over Graph and Get-Mailbox.

use std::sync::Arc;

use async_trait::async_trait;
use calgrant_domain::{Address, MailboxType, OperationFailure};
use calgrant_exchange::{
    CallError, Directory, ListingError, Meaning, Page, Resolved, Selection, TrusteeFound,
};
use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    Account, ConnectError, Endpoints, Now,
    calendars::{PREFER, anchor, of_many, system_anchor},
    classify::{Asked, classify},
    command,
    dn::Dn,
    graph::{self, quoted},
    http::{Http, Reply},
    lookup,
    token::{ADMIN_SCOPE, GRAPH_SCOPE, TokenSource},
    wire,
};

/// Objects on one page.
const PAGE: &str = "999";

/// A reader account at Exchange Online.
pub struct OnlineDirectory {
    pub(crate) http: Arc<Http>,
    graph_tokens: TokenSource,
    admin_tokens: TokenSource,
    endpoints: Endpoints,
}

impl OnlineDirectory {
    /// An account that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(endpoints: Endpoints, account: Account, now: Now) -> Result<Self, ConnectError> {
        let endpoints = endpoints.checked()?;
        let http = Arc::new(Http::new(now)?);
        let source = |scope| TokenSource::new(Arc::clone(&http), &endpoints, &account, scope);
        let (graph_tokens, admin_tokens) = (source(GRAPH_SCOPE)?, source(ADMIN_SCOPE)?);
        drop(account);
        Ok(Self {
            http,
            graph_tokens,
            admin_tokens,
            endpoints,
        })
    }

    /// What unknown names are keyed by.
    pub(crate) fn site(&self) -> &str {
        &self.endpoints.directory_id
    }

    /// A Graph URL.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let query = graph::query(query);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/v1.0/{path}{mark}{query}", self.endpoints.graph_url)
    }

    /// Sends a request with a token of the source, which forgets the token if it is refused.
    async fn send(
        &self,
        tokens: &TokenSource,
        request: RequestBuilder,
    ) -> Result<Reply, CallError> {
        let token = tokens.token().await?;
        let reply = self.http.send(request.bearer_auth(token.expose())).await?;
        if reply.status == Some(401) {
            tokens.invalidate(&token).await;
        }
        Ok(reply)
    }

    /// Sends a request to Graph.
    pub(crate) async fn graph(&self, request: RequestBuilder) -> Result<Reply, CallError> {
        self.send(&self.graph_tokens, request).await
    }

    /// Forgets the Graph token: a batch carried its refusal inside.
    pub(crate) async fn graph_token_refused(&self) {
        if let Ok(token) = self.graph_tokens.token().await {
            self.graph_tokens.invalidate(&token).await;
        }
    }

    /// Objects that a filter finds: two are as good as many. `eventual` where the filter is an advanced one.
    pub(crate) async fn find(
        &self,
        path: &str,
        filter: &str,
        fields: &str,
        eventual: bool,
    ) -> Result<Vec<wire::Object>, CallError> {
        let mut query = vec![("$filter", filter), ("$select", fields)];
        if eventual {
            query.push(("$count", "true"));
        }
        let mut request = self.http.client.get(self.url(path, &query));
        if eventual {
            request = request.header("ConsistencyLevel", "eventual");
        }
        let page: wire::Page<wire::Object> = read(&self.graph(request).await?)?;
        Ok(page.value)
    }

    /// Groups of this address: by their mail, else by any other address.
    pub(crate) async fn groups(&self, address: &Address) -> Result<Vec<wire::Object>, CallError> {
        let by_mail = format!("mail eq {}", quoted(address.as_str()));
        for filter in [by_mail, graph::by_proxy(address)] {
            let found = self
                .find("groups", &filter, graph::GROUP_FIELDS, false)
                .await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The first page's URL.
    async fn first(&self, selection: &Selection) -> Result<String, ListingError> {
        let fields = [("$select", graph::USER_FIELDS), ("$top", PAGE)];
        Ok(match selection {
            Selection::Group(address) => {
                let groups = self.groups(address).await?;
                let group = one(
                    &groups,
                    OperationFailure::GroupNotFound,
                    &format!("group with the address {address}"),
                )?;
                self.url(&format!("groups/{}/transitiveMembers", group.id), &fields)
            }
            Selection::AdministrativeUnit(name) => {
                let filter = format!("displayName eq {}", quoted(name));
                let units = self
                    .find(
                        "directory/administrativeUnits",
                        &filter,
                        "id,displayName",
                        false,
                    )
                    .await?;
                let unit = one(
                    &units,
                    OperationFailure::AdministrativeUnitNotFound,
                    &format!("administrative unit named {name:?}"),
                )?;
                let path = format!("directory/administrativeUnits/{}/members", unit.id);
                self.url(&path, &fields)
            }
            Selection::OrganizationalUnit(_) => {
                let fields_and_dn = format!("{},onPremisesDistinguishedName", graph::USER_FIELDS);
                self.url("users", &[("$select", &fields_and_dn), ("$top", PAGE)])
            }
            Selection::All { .. } => format!(
                "{}/adminapi/beta/{}/InvokeCommand?{}",
                self.endpoints.admin_url,
                self.endpoints.directory_id,
                graph::query(&[("$select", graph::MAILBOX_FIELDS)])
            ),
        })
    }

    async fn mailboxes(
        &self,
        types: &[MailboxType],
        url: &str,
        following: bool,
    ) -> Result<Page, ListingError> {
        let parameters =
            json!({"ResultSize": "Unlimited", "RecipientTypeDetails": type_names(types)});
        let request = self
            .http
            .client
            .post(url)
            .header(
                "X-AnchorMailbox",
                anchor(&system_anchor(&self.endpoints.directory_id))?,
            )
            .header("X-CmdletName", "Get-Mailbox")
            .header("Prefer", PREFER)
            .json(&command::envelope("Get-Mailbox", &parameters));
        let reply = self.send(&self.admin_tokens, request).await?;
        let page: wire::Page<wire::MailboxRow> = followed(&reply, following)?;
        Ok(Page {
            listed: page
                .value
                .iter()
                .map(|row| row.listed(self.site()))
                .collect(),
            next: page.next,
        })
    }
}

#[async_trait]
impl Directory for OnlineDirectory {
    async fn sign_in(&self) -> Result<(), CallError> {
        self.graph_tokens.token().await.map(drop)
    }

    async fn page(&self, selection: &Selection, from: Option<&str>) -> Result<Page, ListingError> {
        let unit = match selection {
            Selection::OrganizationalUnit(name) => Some(unit(name)?),
            _ => None,
        };
        if matches!(selection, Selection::All { types } if types.is_empty()) {
            return Ok(Page {
                listed: Vec::new(),
                next: None,
            });
        }
        // Where an organisational unit is listed, a plus says that something of it was found already.
        let (url, seen) = match from {
            Some(from) => {
                let (link, seen) = match from.strip_prefix('+') {
                    Some(link) => (link, true),
                    None => (from, false),
                };
                let base = match selection {
                    Selection::All { .. } => &self.endpoints.admin_url,
                    _ => &self.endpoints.graph_url,
                };
                same_place(base, link)?;
                (link.to_owned(), seen)
            }
            None => (self.first(selection).await?, false),
        };
        if let Selection::All { types } = selection {
            return self.mailboxes(types, &url, from.is_some()).await;
        }
        let reply = self.graph(self.http.client.get(&url)).await?;
        let page: wire::Page<wire::Object> = followed(&reply, from.is_some())?;
        let (mut seen, mut listed) = (seen, Vec::new());
        for object in &page.value {
            if let Some(unit) = &unit
                && !object
                    .dn
                    .as_deref()
                    .and_then(Dn::parse)
                    .is_some_and(|dn| dn.is_below(unit))
            {
                continue;
            }
            seen = true;
            // A nested group's members are listed themselves.
            if !object.is_group() {
                listed.push(object.listed(self.site()));
            }
        }
        if let Selection::OrganizationalUnit(name) = selection
            && page.next.is_none()
            && !seen
        {
            return Err(refused(
                OperationFailure::OuNotFound,
                format!(
                    "no user lies below {name:?}: check the unit's distinguished name, and that it is synchronised"
                ),
            ));
        }
        let next = match page.next {
            Some(link) if seen && unit.is_some() => Some(format!("+{link}")),
            other => other,
        };
        Ok(Page { listed, next })
    }

    async fn look_up(&self, names: &[Address]) -> Result<Vec<Resolved>, ListingError> {
        let mut resolved = Vec::with_capacity(names.len());
        for part in names.chunks(lookup::BATCH) {
            resolved.extend(lookup::look_up(self, part).await?);
        }
        Ok(resolved)
    }

    fn lookup_size(&self) -> usize {
        lookup::BATCH
    }

    async fn trustee(&self, address: &Address) -> Result<TrusteeFound, ListingError> {
        lookup::trustee(self, address).await
    }
}

/// A refusal.
pub(crate) fn refused(failure: OperationFailure, why: String) -> ListingError {
    ListingError::Refused { failure, why }
}

fn one<'a>(
    found: &'a [wire::Object],
    failure: OperationFailure,
    what: &str,
) -> Result<&'a wire::Object, ListingError> {
    match found {
        [one] => Ok(one),
        [] => Err(refused(
            failure,
            format!("the directory knows no {what}: check its spelling"),
        )),
        several => Err(refused(
            failure,
            format!(
                "the directory knows {} objects where one {what} is wanted: rename all but one",
                several.len()
            ),
        )),
    }
}

fn unit(name: &str) -> Result<Dn, ListingError> {
    Dn::parse(name).ok_or_else(|| {
        refused(
            OperationFailure::OuNotFound,
            format!(
                "{name:?} is not a distinguished name; write it as OU=Students,DC=uni,DC=example"
            ),
        )
    })
}

fn type_names(types: &[MailboxType]) -> Vec<&'static str> {
    types
        .iter()
        .map(|kind| match kind {
            MailboxType::User => "UserMailbox",
            MailboxType::Shared => "SharedMailbox",
            MailboxType::Room => "RoomMailbox",
            MailboxType::Equipment => "EquipmentMailbox",
        })
        .collect()
}

/// Reads an answer of Graph.
pub(crate) fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, CallError> {
    let value = classify(reply, Asked::Directory)?;
    serde_json::from_value(value)
        .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()))
}

/// Reads a page, which may have been reached by a link that expired meanwhile.
fn followed<T: DeserializeOwned>(reply: &Reply, following: bool) -> Result<T, ListingError> {
    if following && expired(reply) {
        return Err(ListingError::Expired);
    }
    let value: Value = classify(reply, Asked::Directory).map_err(|error| {
        if following {
            of_many(error, "page")
        } else {
            error
        }
    })?;
    serde_json::from_value(value)
        .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()).into())
}

fn expired(reply: &Reply) -> bool {
    match reply.status {
        Some(404 | 410) => true,
        Some(400) => {
            let body = String::from_utf8_lossy(&reply.body).to_lowercase();
            ["skiptoken", "pagetoken", "page token", "expired"]
                .iter()
                .any(|word| body.contains(word))
        }
        _ => false,
    }
}

/// A token is sent to links of the server that it is for only.
fn same_place(base: &str, link: &str) -> Result<(), CallError> {
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
    if origin(base).is_some_and(|base| base.is_tuple() && Some(base) == origin(link)) {
        return Ok(());
    }
    Err(CallError::new(
        Meaning::Retry,
        "foreign_link",
        "the link to the next page leads to another server, so no token was sent to it",
    ))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
