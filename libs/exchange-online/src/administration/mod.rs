//! The port of set-up: users, licences and groups of every kind over Graph, mail-enabled security groups over InvokeCommand.
//!
//! * `users`, `groups`: what is asked, and rows as the port shows them. `wire`: those rows.
//! * `attempt`: what is tried, in words. `refusal`: what errors mean, classed once.
//! * `credential`: tokens, one for each of the two resources.
//! * `applications`: what others were let do in mailboxes; no part of the port.

pub(crate) mod applications;
mod attempt;
mod credential;
mod groups;
mod refusal;
mod users;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupChange, GroupFound, GroupMemberFound, MailboxFound, MailboxId, NewGroup, NewUser,
    Reason, SkuFound, UserChange, UserFound,
};
use calgrant_exchange::{
    Administered, Administration, AdministrationError, AppRoles, CallError, Meaning, one_line,
};
use reqwest::RequestBuilder;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::{attempt::Attempt, credential::Tokens};
use crate::{
    Account, ConnectError, Endpoints, Now,
    calendars::{JSON, PREFER, anchor},
    classify::{self, Asked, classify, next_link},
    command,
    graph::{encoded, query, quoted},
    http::Http,
    link,
    token::{ADMIN_SCOPE, GRAPH_SCOPE, TokenSource},
    token_cache::Token,
};

/// The version of Exchange's own module whose cmdlets are asked for.
const MODULE: &str = "3.9.2";
/// Pages of one answer that are followed: a thousand members on each.
const PAGES: usize = 100;

/// A set-up credential at Exchange Online and its directory.
pub struct OnlineAdministration {
    http: Arc<Http>,
    graph: Tokens,
    exchange: Tokens,
    endpoints: Endpoints,
}

/// Why a call failed.
enum Failed {
    /// There is no answer, or none by the server we asked.
    Call(CallError),
    /// The server's answer: what it means depends on what was tried.
    Answer(CallError),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl Failed {
    fn of(self, attempt: &Attempt<'_>) -> AdministrationError {
        match self {
            Self::Call(error) => error.into(),
            Self::Answer(error) => refusal::classed(error, attempt),
        }
    }
}

impl OnlineAdministration {
    /// A credential of ours that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(endpoints: Endpoints, account: Account, now: Now) -> Result<Self, ConnectError> {
        let endpoints = endpoints.checked()?;
        let http = Arc::new(Http::new(now)?);
        let source = |scope| {
            TokenSource::new(Arc::clone(&http), &endpoints, &account, scope)
                .map(|source| Tokens::Asked(Box::new(source)))
        };
        let (graph, exchange) = (source(GRAPH_SCOPE)?, source(ADMIN_SCOPE)?);
        drop(account);
        Ok(Self {
            http,
            graph,
            exchange,
            endpoints,
        })
    }

    /// A credential that somebody lends for one run: a token for Graph and one for Exchange. It is kept in memory, and not renewed.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn with_tokens(
        endpoints: Endpoints,
        graph_token: SecretString,
        exchange_token: SecretString,
        now: Now,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            http: Arc::new(Http::new(now)?),
            graph: Tokens::Given(Token::given(graph_token)),
            exchange: Tokens::Given(Token::given(exchange_token)),
            endpoints: endpoints.checked()?,
        })
    }

    /// What objects without an id are keyed by.
    fn site(&self) -> &str {
        &self.endpoints.directory_id
    }

    fn url(&self, path: &str, parts: &[(&str, &str)]) -> String {
        let query = query(parts);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/v1.0/{path}{mark}{query}", self.endpoints.graph_url)
    }

    fn user_url(&self, user: MailboxId, action: &str) -> String {
        self.url(&format!("users/{}{action}", user.as_uuid()), &[])
    }

    async fn send(
        &self,
        tokens: &Tokens,
        token: &Token,
        request: RequestBuilder,
    ) -> Result<Value, Failed> {
        let reply = self.http.send(request.bearer_auth(token.expose())).await?;
        match classify(reply, Asked::Directory) {
            Ok(value) => Ok(value),
            Err(error) if error.meaning == Meaning::SignInAgain => {
                Err(tokens.refused(token, error).into())
            }
            Err(error) => Err(Failed::Answer(error)),
        }
    }

    /// One request to Graph.
    async fn graph(&self, request: RequestBuilder) -> Result<Value, Failed> {
        let token = self.graph.token().await?;
        self.send(&self.graph, &token, request).await
    }

    /// A cmdlet, and all pages of what it prints.
    async fn cmdlet(&self, name: &str, parameters: &Value) -> Result<Vec<Value>, Failed> {
        let Endpoints {
            admin_url,
            directory_id,
            ..
        } = &self.endpoints;
        let body = command::envelope(name, parameters);
        let mut url = format!("{admin_url}/adminapi/beta/{directory_id}/InvokeCommand");
        let mut rows = Vec::new();
        for _ in 0..PAGES {
            let token = self.exchange.token().await?;
            let request = self
                .http
                .client
                .post(&url)
                .header(
                    "X-AnchorMailbox",
                    anchor(&credential::anchor(&token, directory_id))?,
                )
                .header("X-CmdletName", name)
                .header("Prefer", PREFER)
                .header("Content-Type", JSON)
                .json(&body);
            let mut page = self.send(&self.exchange, &token, request).await?;
            let next = next_link(&page).map(str::to_owned);
            // It is no part of an object that came un-wrapped.
            if let Some(page) = page.as_object_mut() {
                page.remove("@odata.nextLink");
            }
            rows.extend(classify::rows(page));
            let Some(next) = next else { return Ok(rows) };
            link::check(admin_url, Some(directory_id), &next)?;
            if next == url {
                return Err(CallError::new(
                    Meaning::GiveUp(Reason::Rejected),
                    "circular_link",
                    "the link to the next page leads to the same page",
                )
                .into());
            }
            url = next;
        }
        Err(CallError::new(
            Meaning::Retry,
            "too_many_pages",
            format!("the answer has more than {PAGES} pages"),
        )
        .into())
    }

    /// A cmdlet that changes something, of what is tried.
    async fn write(&self, attempt: &Attempt<'_>, parameters: &Value) -> Administered<Vec<Value>> {
        let written = self.cmdlet(attempt.cmdlet(), parameters).await;
        written.map_err(|failed| failed.of(attempt))
    }

    /// The group as Exchange shows it.
    async fn exchange_group(&self, address: &Address) -> Administered<Option<GroupFound>> {
        let attempt = Attempt::FindGroup(address);
        let found = self.cmdlet(attempt.cmdlet(), &groups::named(address)).await;
        let row = match found {
            Ok(rows) => rows.into_iter().next(),
            Err(Failed::Answer(error)) if refusal::is_missing(&error) => None,
            Err(failed) => return Err(failed.of(&attempt)),
        };
        Ok(row
            .map(read)
            .transpose()?
            .map(|row| groups::found(&row, address, self.site())))
    }

    /// The group as the directory shows it.
    async fn directory_group(&self, address: &Address) -> Administered<Option<GroupFound>> {
        let filter = format!("mail eq {}", quoted(address.as_str()));
        let parts = [
            ("$filter", filter.as_str()),
            ("$select", groups::GROUP_FIELDS),
        ];
        let request = self.http.client.get(self.url("groups", &parts));
        let answer = self
            .graph(request)
            .await
            .map_err(|failed| failed.of(&Attempt::FindOtherGroup(address)))?;
        let row = classify::rows(answer).into_iter().next();
        Ok(row
            .map(read)
            .transpose()?
            .and_then(|row| groups::of_directory(row, address, self.site())))
    }
}

/// Reads a row.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, CallError> {
    serde_json::from_value(value).map_err(|e| {
        CallError::new(
            Meaning::Retry,
            "unexpected_answer",
            one_line(&e.to_string()),
        )
    })
}

/// Something was made, and the answer doesn't tell what: it is looked for before it is made again.
fn unseen(error: CallError) -> CallError {
    CallError {
        unanswered: true,
        ..error
    }
}

#[async_trait]
impl Administration for OnlineAdministration {
    async fn sign_in(&self) -> Result<(), CallError> {
        self.graph.token().await?;
        self.exchange.token().await.map(drop)
    }

    async fn app_roles(&self) -> Result<Option<AppRoles>, CallError> {
        let directory = self.graph.token().await?.app_roles();
        let exchange = self.exchange.token().await?.app_roles();
        Ok(directory
            .zip(exchange)
            .map(|(directory, exchange)| AppRoles {
                directory,
                exchange,
            }))
    }

    async fn cmdlets(&self) -> Administered<Vec<String>> {
        let Endpoints {
            admin_url,
            directory_id,
            ..
        } = &self.endpoints;
        let token = self.exchange.token().await?;
        let request = self
            .http
            .client
            .get(format!(
                "{admin_url}/adminapi/v1.0/{directory_id}/EXOModuleFile?Version={MODULE}"
            ))
            .header("CommandName", "*")
            .header(
                "X-AnchorMailbox",
                anchor(&credential::anchor(&token, directory_id))?,
            );
        let answer = self.send(&self.exchange, &token, request).await;
        let answer = answer.map_err(|failed| failed.of(&Attempt::Cmdlets))?;
        let row = classify::rows(answer).into_iter().next();
        let row: wire::Module = read(row.unwrap_or_default())?;
        let names = row.exported_cmdlets.split(',').map(str::trim);
        Ok(names.map(str::to_owned).collect())
    }

    async fn user(&self, user_name: &Address) -> Administered<Option<UserFound>> {
        let path = format!("users/{}", encoded(user_name.as_str()));
        let url = self.url(&path, &[("$select", users::USER_FIELDS)]);
        match self.graph(self.http.client.get(url)).await {
            Ok(row) => Ok(Some(users::found(read(row)?, self.site())?)),
            Err(Failed::Answer(error)) if refusal::is_missing(&error) => Ok(None),
            Err(failed) => Err(failed.of(&Attempt::FindUser(user_name))),
        }
    }

    async fn create_user(&self, user: &NewUser) -> Administered<UserFound> {
        let request = self.http.client.post(self.url("users", &[]));
        let made = self.graph(request.json(&users::creation(user))).await;
        let row = made.map_err(|failed| failed.of(&Attempt::CreateUser(user)))?;
        let row = read(row).map_err(unseen)?;
        Ok(users::created(row, user, self.site()))
    }

    async fn change_user(&self, id: &MailboxId, change: &UserChange) -> Administered<()> {
        let Some(body) = users::change(change) else {
            return Ok(());
        };
        let request = self.http.client.patch(self.user_url(*id, ""));
        let changed = self.graph(request.json(&body)).await;
        changed
            .map(drop)
            .map_err(|failed| failed.of(&Attempt::ChangeUser(*id, change)))
    }

    async fn skus(&self) -> Administered<Vec<SkuFound>> {
        let url = self.url("subscribedSkus", &[("$select", users::SKU_FIELDS)]);
        let answer = self.graph(self.http.client.get(url)).await;
        let answer = answer.map_err(|failed| failed.of(&Attempt::Products))?;
        let mut found = Vec::new();
        for row in classify::rows(answer) {
            found.push(users::product(read(row)?));
        }
        Ok(found)
    }

    async fn assign_licence(
        &self,
        user: &MailboxId,
        sku_id: &str,
        disabled_plans: &[String],
    ) -> Administered<()> {
        let request = self
            .http
            .client
            .post(self.user_url(*user, "/assignLicense"));
        let body = users::assignment(sku_id, disabled_plans);
        let assigned = self.graph(request.json(&body)).await;
        assigned
            .map(drop)
            .map_err(|failed| failed.of(&Attempt::AssignLicence(*user, sku_id)))
    }

    async fn remove_licence(&self, user: &MailboxId, sku_id: &str) -> Administered<()> {
        let request = self
            .http
            .client
            .post(self.user_url(*user, "/assignLicense"));
        match self.graph(request.json(&users::removal(sku_id))).await {
            Ok(_) => Ok(()),
            Err(Failed::Answer(error)) if refusal::has_no_such_licence(&error) => Ok(()),
            Err(failed) => Err(failed.of(&Attempt::RemoveLicence(*user, sku_id))),
        }
    }

    async fn mailbox(&self, user_name: &Address) -> Administered<MailboxFound> {
        let attempt = Attempt::FindMailbox(user_name);
        let found = self
            .cmdlet(attempt.cmdlet(), &groups::named(user_name))
            .await;
        match found {
            Ok(rows) if rows.is_empty() => Ok(MailboxFound::Missing),
            Ok(_) => Ok(MailboxFound::Ready),
            Err(Failed::Answer(error)) if refusal::is_missing(&error) => Ok(MailboxFound::Missing),
            Err(failed) => Err(failed.of(&attempt)),
        }
    }

    /// Two calls where Exchange doesn't know it: other kinds are looked for in the directory.
    async fn group(&self, address: &Address) -> Administered<Option<GroupFound>> {
        match self.exchange_group(address).await? {
            Some(group) => Ok(Some(group)),
            None => self.directory_group(address).await,
        }
    }

    /// A second call where the answer doesn't tell what was made.
    async fn create_group(&self, group: &NewGroup) -> Administered<GroupFound> {
        let attempt = Attempt::CreateGroup(group);
        let rows = self.write(&attempt, &groups::creation(group)).await?;
        if let Some(row) = rows.into_iter().next() {
            let row = read(row).map_err(unseen)?;
            return Ok(groups::found(&row, &group.address, self.site()));
        }
        match self.exchange_group(&group.address).await? {
            Some(found) => Ok(found),
            None => Err(unseen(CallError::new(
                Meaning::Retry,
                "not_shown",
                "the group was made, and isn't shown yet",
            ))
            .into()),
        }
    }

    async fn change_group(&self, address: &Address, change: &GroupChange) -> Administered<()> {
        let Some(parameters) = groups::change(address, change) else {
            return Ok(());
        };
        let attempt = Attempt::ChangeGroup(address, change);
        self.write(&attempt, &parameters).await.map(drop)
    }

    async fn members(&self, address: &Address) -> Administered<Vec<GroupMemberFound>> {
        let attempt = Attempt::Members(address);
        let rows = self
            .cmdlet(attempt.cmdlet(), &groups::listing(address))
            .await;
        let mut members = Vec::new();
        for row in rows.map_err(|failed| failed.of(&attempt))? {
            members.push(groups::member(&read(row)?, self.site()));
        }
        Ok(members)
    }

    async fn add_member(&self, group: &Address, member: &Address) -> Administered<()> {
        let attempt = Attempt::AddMember(group, member);
        match self
            .cmdlet(attempt.cmdlet(), &groups::adding(group, member))
            .await
        {
            Ok(_) => Ok(()),
            Err(Failed::Answer(error)) if error.meaning == Meaning::EntryExists => Ok(()),
            Err(failed) => Err(failed.of(&attempt)),
        }
    }

    async fn remove_member(&self, group: &Address, member: &Address) -> Administered<()> {
        let attempt = Attempt::RemoveMember(group, member);
        match self
            .cmdlet(attempt.cmdlet(), &groups::taking_out(group, member))
            .await
        {
            Ok(_) => Ok(()),
            Err(Failed::Answer(error)) if refusal::is_no_member(&error, group, member) => Ok(()),
            Err(failed) => Err(failed.of(&attempt)),
        }
    }
}
