//! The directory's port: listings over Graph and Get-Mailbox.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupSeen, MailboxId, MailboxType, Managed, OperationFailure, Reason,
};
use calgrant_exchange::{
    CallError, Depth, Directory, ListingError, LookedUp, Meaning, Page, Selection, TrusteeFound,
    members_of,
};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::{
    Account, ConnectError, Endpoints, Now,
    calendars::{JSON, PREFER, anchor, system_anchor},
    classify::{Asked, classify, failure, next_link, rows},
    command,
    dn::Dn,
    graph::{self, quoted},
    http::{Http, Reply},
    link, lookup,
    pages::{cast_to_users, followed, hint, is_unsupported, read},
    token::{ADMIN_SCOPE, GRAPH_SCOPE, TokenSource},
    token_cache::Token,
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
    ) -> Result<(Reply, Token), CallError> {
        let token = tokens.token().await?;
        let reply = self.http.send(request.bearer_auth(token.expose())).await?;
        if let Some(error) = failure(&reply, Asked::Directory)
            && error.meaning == Meaning::SignInAgain
        {
            tokens.invalidate(&token);
        }
        Ok((reply, token))
    }

    /// Sends a request to Graph. Gives the token it went with, too: a batch may carry its refusal inside.
    pub(crate) async fn graph(&self, request: RequestBuilder) -> Result<(Reply, Token), CallError> {
        self.send(&self.graph_tokens, request).await
    }

    /// Forgets a Graph token that was refused.
    pub(crate) fn graph_token_refused(&self, token: &Token) {
        self.graph_tokens.invalidate(token);
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
        let (reply, _) = self.graph(request).await?;
        let page: wire::Page<wire::Object> = read(reply)?;
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

    /// The id of the one group of this address.
    async fn group_of(&self, address: &Address) -> Result<String, ListingError> {
        let groups = self.groups(address).await?;
        let group = one(
            &groups,
            OperationFailure::GroupNotFound,
            &format!("group with the address {address}"),
        )?;
        Ok(group.id.clone())
    }

    /// The first page's URL.
    async fn first(&self, selection: &Selection) -> Result<String, ListingError> {
        let fields = [("$select", graph::USER_FIELDS), ("$top", PAGE)];
        Ok(match selection {
            Selection::Group(address) => {
                let group = self.group_of(address).await?;
                // Without a cast, so that contacts and devices are reported, not dropped.
                self.url(
                    &format!("groups/{group}/transitiveMembers"),
                    &[fields[0], fields[1], ("$count", "true")],
                )
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
            Selection::OrganizationalUnit { .. } => {
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
            .header("Content-Type", JSON)
            .json(&command::envelope("Get-Mailbox", &parameters));
        let (reply, _) = self.send(&self.admin_tokens, request).await?;
        let answer = followed(reply, following)?;
        let next = next_link(&answer).map(str::to_owned);
        let mut listed = Vec::new();
        for row in rows(answer) {
            let row: wire::MailboxRow = serde_json::from_value(row)
                .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()))?;
            listed.push(row.listed(self.site()));
        }
        Ok(Page { listed, next })
    }

    /// Who manages a group, and who may join it: Graph doesn't know that of groups that were made in Exchange. `None` if the account
    /// may not ask, or Exchange doesn't know the group.
    async fn managed(&self, address: &Address) -> Result<Option<Managed>, CallError> {
        let url = format!(
            "{}/adminapi/beta/{}/InvokeCommand",
            self.endpoints.admin_url, self.endpoints.directory_id
        );
        let name = "Get-DistributionGroup";
        let parameters = json!({"Identity": address.as_str()});
        let request = self
            .http
            .client
            .post(url)
            .header(
                "X-AnchorMailbox",
                anchor(&system_anchor(&self.endpoints.directory_id))?,
            )
            .header("X-CmdletName", name)
            .header("Prefer", PREFER)
            .header("Content-Type", JSON)
            .json(&command::envelope(name, &parameters));
        let sent = self.send(&self.admin_tokens, request).await;
        let answer = sent.and_then(|(reply, _)| classify(reply, Asked::Directory));
        let row = match answer {
            Ok(answer) => rows(answer).into_iter().next(),
            Err(CallError {
                meaning: Meaning::PauseAccount | Meaning::SignInAgain | Meaning::GiveUp(_),
                ..
            }) => None,
            Err(other) => return Err(other),
        };
        let Some(row) = row else { return Ok(None) };
        let row: wire::GroupRow = serde_json::from_value(row)
            .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()))?;
        Ok(row.managed())
    }

    /// A page of users and others.
    async fn objects(
        &self,
        selection: &Selection,
        url: &str,
        following: bool,
    ) -> Result<wire::Page<wire::Object>, ListingError> {
        let get = async |url: &str| {
            let request = self.http.client.get(url);
            let request = match selection {
                // What casts, counts or filters needs it, on every page.
                Selection::Group(_) => request.header("ConsistencyLevel", "eventual"),
                _ => request,
            };
            self.graph(request).await
        };
        let (mut reply, _) = get(url).await?;
        // Where members can't be had as they are, users among them can.
        if matches!(selection, Selection::Group(_))
            && !following
            && is_unsupported(&reply)
            && let Some(cast) = cast_to_users(url)
        {
            tracing::info!("the directory lists members of this group by type only: listing users");
            (reply, _) = get(&cast).await?;
        }
        let answer = followed(reply, following).map_err(|error| hint(error, selection))?;
        let page: wire::Page<wire::Object> = serde_json::from_value(answer)
            .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()))?;
        if let Some(hidden) = page.value.iter().find(|object| object.is_hidden_user()) {
            return Err(CallError::new(
                Meaning::PauseAccount,
                "users_hidden",
                format!("the directory shows no more than the id of users (the first is {}): grant the reader account User.Read.All", hidden.id),
            )
            .into());
        }
        Ok(page)
    }

    /// A link that a page came with, checked before anything is sent to it.
    fn checked(
        &self,
        selection: &Selection,
        at: &str,
        next: Option<&str>,
    ) -> Result<(), CallError> {
        let Some(next) = next else { return Ok(()) };
        match selection {
            Selection::All { .. } => link::check(
                &self.endpoints.admin_url,
                Some(&self.endpoints.directory_id),
                next,
            )?,
            _ => link::check(&self.endpoints.graph_url, None, next)?,
        }
        if next == at {
            return Err(CallError::new(
                Meaning::GiveUp(Reason::Rejected),
                "circular_link",
                "the link to the next page leads to the same page, so the listing would never end",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Directory for OnlineDirectory {
    async fn sign_in(&self) -> Result<(), CallError> {
        self.graph_tokens.token().await.map(drop)
    }

    async fn app_roles(&self) -> Result<Option<Vec<String>>, CallError> {
        Ok(self.graph_tokens.token().await?.app_roles())
    }

    async fn page(&self, selection: &Selection, from: Option<&str>) -> Result<Page, ListingError> {
        let unit = match selection {
            Selection::OrganizationalUnit { dn, depth } => Some((unit(dn)?, *depth)),
            _ => None,
        };
        if matches!(selection, Selection::All { types } if types.is_empty()) {
            return Ok(Page {
                listed: Vec::new(),
                next: None,
            });
        }
        // Where an organisational unit is listed, a plus says that something of it was found already.
        let (url, mut seen) = match from {
            Some(from) => {
                let (link, seen) = match from.strip_prefix('+') {
                    Some(link) => (link, true),
                    None => (from, false),
                };
                self.checked(selection, "", Some(link))?;
                (link.to_owned(), seen)
            }
            None => (self.first(selection).await?, false),
        };
        if let Selection::All { types } = selection {
            let page = self.mailboxes(types, &url, from.is_some()).await?;
            self.checked(selection, &url, page.next.as_deref())?;
            return Ok(page);
        }
        let page = self.objects(selection, &url, from.is_some()).await?;
        self.checked(selection, &url, page.next.as_deref())?;
        let mut listed = Vec::new();
        for object in &page.value {
            let lies_in = |unit: &Dn, depth, dn: &Dn| match depth {
                Depth::Subtree => dn.is_below(unit),
                Depth::OneLevel => dn.is_right_below(unit),
            };
            if let Some((unit, depth)) = &unit
                && !object
                    .dn
                    .as_deref()
                    .and_then(Dn::parse)
                    .is_some_and(|dn| lies_in(unit, *depth, &dn))
            {
                continue;
            }
            seen = true;
            // A nested group's members are listed themselves. Those of a group in a unit are not.
            if !(object.is_group() && matches!(selection, Selection::Group(_))) {
                listed.push(object.listed(self.site()));
            }
        }
        if let Selection::OrganizationalUnit { dn: name, .. } = selection
            && page.next.is_none()
            && !seen
        {
            return Err(refused(
                OperationFailure::OuNotFound,
                format!(
                    "no user lies below {name}: check the unit's distinguished name, and that it is synchronised"
                ),
            ));
        }
        let next = match page.next {
            Some(link) if seen && unit.is_some() => Some(format!("+{link}")),
            other => other,
        };
        Ok(Page { listed, next })
    }

    async fn look_up(&self, names: &[Address]) -> Result<LookedUp, ListingError> {
        // More than was promised: the rest is asked for again.
        let part = &names[..names.len().min(lookup::BATCH)];
        Ok(lookup::look_up(self, part).await?)
    }

    fn lookup_size(&self) -> usize {
        lookup::BATCH
    }

    async fn members_among(
        &self,
        group: &Address,
        mailboxes: &[MailboxId],
    ) -> Result<Option<HashSet<MailboxId>>, ListingError> {
        let group = self.group_of(group).await?;
        Ok(lookup::members_among(self, &group, mailboxes).await?)
    }

    async fn trustee(&self, address: &Address) -> Result<TrusteeFound, ListingError> {
        lookup::trustee(self, address).await
    }

    async fn group(&self, address: &Address) -> Result<GroupSeen, ListingError> {
        let seen = members_of(self, address).await?;
        Ok(GroupSeen {
            managed: self.managed(address).await?,
            ..seen
        })
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
                "{name} is not a distinguished name; write it as OU=Students,DC=uni,DC=example"
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
