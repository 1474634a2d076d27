//! Names looked up in batches, and trustees.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use calgrant_domain::{Address, Listed, MailboxId, OperationFailure, Reason};
use calgrant_exchange::{
    CallError, ListingError, LookedUp, Meaning, PrincipalKind, Resolved, TrusteeFound,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{OnlineDirectory, batch, directory::refused, graph, pages::read, wire};

/// Requests that Graph takes in one batch.
pub(crate) const BATCH: usize = 20;

/// Looks up to [`BATCH`] names up in one request; what no mailbox is called is looked for among other recipients.
pub(crate) async fn look_up(
    directory: &OnlineDirectory,
    names: &[Address],
) -> Result<LookedUp, CallError> {
    let users = ask(
        directory,
        names,
        "users",
        graph::by_any_name,
        graph::USER_FIELDS,
    )
    .await?;
    let site = directory.site();
    let mut found = Found::default();
    let mut unknown = Vec::new();
    for (name, answer) in names.iter().zip(users) {
        match answer {
            Ok(objects) if objects.is_empty() => unknown.push(name.clone()),
            Ok(objects) => found.resolve(name, listed(name, &objects, site)),
            // A name the directory can't even look for is that name's trouble, not the list's.
            Err(CallError {
                meaning: Meaning::GiveUp(why),
                ..
            }) => found.resolve(name, unsuitable(name, why, site)),
            Err(error) => found.fail(error),
        }
    }
    if unknown.is_empty() {
        return Ok(found.0);
    }
    let groups = ask(
        directory,
        &unknown,
        "groups",
        graph::by_proxy,
        graph::GROUP_FIELDS,
    )
    .await;
    match groups {
        Ok(answers) => {
            for (name, answer) in unknown.iter().zip(answers) {
                match answer {
                    // That it is a group is said, but a reader that may not see groups isn't stopped by it.
                    Ok(objects) => found.resolve(name, not_a_user(name, &objects, site)),
                    Err(error) if waits(&error) => found.fail(error),
                    Err(_) => found.resolve(name, unsuitable(name, Reason::NotFound, site)),
                }
            }
        }
        Err(error) => found.fail(error),
    }
    Ok(found.0)
}

/// Which of these mailboxes are members of the group of this id, nested groups resolved; `None` where the account may not ask so, or a
/// mailbox isn't known by its id.
pub(crate) async fn members_among(
    directory: &OnlineDirectory,
    group: &str,
    mailboxes: &[MailboxId],
) -> Result<Option<HashSet<MailboxId>>, CallError> {
    let mut members = HashSet::new();
    for mailboxes in mailboxes.chunks(BATCH) {
        let asked = mailboxes.iter().enumerate();
        let requests = asked.map(|(at, mailbox)| membership(at, *mailbox, group));
        let answers: Vec<Result<Vec<String>, _>> = together(directory, requests.collect()).await?;
        for (mailbox, answer) in mailboxes.iter().zip(answers) {
            match answer {
                Ok(groups) if groups.is_empty() => {}
                Ok(_) => {
                    members.insert(*mailbox);
                }
                Err(error) if waits(&error) => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }
    Ok(Some(members))
}

/// Asks the same of several names in one request; one answer a name.
async fn ask(
    directory: &OnlineDirectory,
    names: &[Address],
    path: &str,
    filter: fn(&Address) -> String,
    fields: &str,
) -> Result<Vec<Result<Vec<wire::Object>, CallError>>, CallError> {
    let requests = names
        .iter()
        .enumerate()
        .map(|(at, name)| request(at, path, &filter(name), fields))
        .collect();
    together(directory, requests).await
}

/// Sends up to [`BATCH`] requests in one, each of which is answered by a list; one answer for each.
async fn together<T: DeserializeOwned>(
    directory: &OnlineDirectory,
    requests: Vec<wire::BatchRequest>,
) -> Result<Vec<Result<Vec<T>, CallError>>, CallError> {
    let count = requests.len();
    let request = directory
        .http
        .client
        .post(directory.url("$batch", &[]))
        .json(&wire::Batch { requests });
    let (reply, token) = directory.graph(request).await?;
    let now = (directory.http.now)();
    let answers: Vec<_> = batch::parts(reply, count, now)?
        .into_iter()
        .map(|reply| {
            let page: wire::Page<T> = read(reply.ok_or_else(batch::missing)?)?;
            Ok(page.value)
        })
        .collect();
    let refused = |answer: &Result<_, CallError>| matches!(answer, Err(error) if error.meaning == Meaning::SignInAgain);
    if answers.iter().any(refused) {
        directory.graph_token_refused(&token);
    }
    Ok(answers)
}

fn request(at: usize, path: &str, filter: &str, fields: &str) -> wire::BatchRequest {
    let query = graph::query(&[("$filter", filter), ("$select", fields), ("$count", "true")]);
    wire::BatchRequest {
        id: at.to_string(),
        method: "GET",
        url: format!("/{path}?{query}"),
        headers: HashMap::from([("ConsistencyLevel", "eventual".to_owned())]),
        body: None,
    }
}

/// Whether a user is a member of this group, directly or not: a function that takes User.Read.All and GroupMember.Read.All (Microsoft Graph,
/// user: checkMemberGroups).
fn membership(at: usize, user: MailboxId, group: &str) -> wire::BatchRequest {
    wire::BatchRequest {
        id: at.to_string(),
        method: "POST",
        url: format!("/users/{}/checkMemberGroups", user.as_uuid()),
        headers: HashMap::from([("Content-Type", "application/json".to_owned())]),
        body: Some(json!({"groupIds": [group]})),
    }
}

/// What was found, and what the failures mean together: the longest wait, else the first.
struct Found(LookedUp);

impl Default for Found {
    fn default() -> Self {
        Self(LookedUp {
            resolved: Vec::new(),
            rest: None,
        })
    }
}

impl Found {
    fn resolve(&mut self, name: &Address, listed: Listed) {
        self.0.resolved.push(Resolved {
            asked: name.clone(),
            listed,
        });
    }

    fn fail(&mut self, error: CallError) {
        self.0.rest = Some(worse(self.0.rest.take(), error));
    }
}

fn waits(error: &CallError) -> bool {
    matches!(
        error.meaning,
        Meaning::Retry | Meaning::WaitUntil { .. } | Meaning::SignInAgain
    )
}

fn worse(held: Option<CallError>, error: CallError) -> CallError {
    let wait = |error: &CallError| match error.meaning {
        Meaning::WaitUntil { after, .. } => Some(after.unwrap_or(Duration::ZERO)),
        _ => None,
    };
    match held {
        Some(held) if wait(&held) >= wait(&error) => held,
        _ => error,
    }
}

fn unsuitable(name: &Address, why: Reason, site: &str) -> Listed {
    Listed {
        id: MailboxId::of_unknown(site, name.as_str()),
        name: name.to_string(),
        what: Err(why),
        lines: Vec::new(),
    }
}

fn listed(name: &Address, found: &[wire::Object], site: &str) -> Listed {
    match found {
        [one] => one.listed(site),
        [] => unsuitable(name, Reason::NotFound, site),
        _ => unsuitable(name, Reason::Ambiguous, site),
    }
}

/// What isn't a user is a group or nothing.
fn not_a_user(name: &Address, groups: &[wire::Object], site: &str) -> Listed {
    let why = if groups.is_empty() {
        Reason::NotFound
    } else {
        Reason::NotAMailbox
    };
    unsuitable(name, why, site)
}

/// Finds a trustee and judges it.
pub(crate) async fn trustee(
    directory: &OnlineDirectory,
    address: &Address,
) -> Result<TrusteeFound, ListingError> {
    let groups = directory.groups(address).await?;
    let users = if groups.is_empty() {
        directory
            .find(
                "users",
                &graph::by_any_name(address),
                graph::USER_FIELDS,
                true,
            )
            .await?
    } else {
        Vec::new()
    };
    judge(address, &groups, &users, directory.site())
}

fn judge(
    address: &Address,
    groups: &[wire::Object],
    users: &[wire::Object],
    site: &str,
) -> Result<TrusteeFound, ListingError> {
    let unsuitable = |what: &str| {
        Err(refused(
            OperationFailure::TrusteeNotSecurityPrincipal,
            format!(
                "the trustee {address} is {what}, which can hold no rights on folders: use a mail-enabled security group or a mailbox of this organisation"
            ),
        ))
    };
    let (object, kind) = match (groups, users) {
        ([group], []) => {
            let mail = group.mail_enabled == Some(true);
            let security = group.security_enabled == Some(true);
            if group.is_unified() {
                return unsuitable("a Microsoft 365 group");
            }
            match (mail, security) {
                (true, true) => (group, PrincipalKind::SecurityGroup),
                (true, false) => return unsuitable("a distribution group"),
                (false, _) => return unsuitable("a security group that is not mail-enabled"),
            }
        }
        ([], [user]) if user.is_guest() => return unsuitable("a guest of another organisation"),
        ([], [user]) => match user.mail.as_deref() {
            Some(mail) if !mail.is_empty() => (user, PrincipalKind::Mailbox),
            _ => return unsuitable("a user without a mailbox"),
        },
        ([], []) => {
            return Err(refused(
                OperationFailure::TrusteeNotFound,
                format!(
                    "the directory knows no trustee with the address {address}: check its spelling; a group made just now takes some minutes to appear"
                ),
            ));
        }
        _ => {
            return Err(refused(
                OperationFailure::TrusteeNotFound,
                format!(
                    "several objects of the directory have the address {address}: take it away from all but one"
                ),
            ));
        }
    };
    Ok(TrusteeFound {
        id: object.key(site),
        address: object.primary().unwrap_or_else(|| address.clone()),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use calgrant_exchange::Scope;
    use serde_json::{Value, json};

    use super::*;

    fn name() -> Address {
        "a0@uni.example".parse().unwrap()
    }

    #[test]
    fn names_are_found_or_not_or_ambiguous() {
        let object = || -> wire::Object {
            serde_json::from_value(json!({"id": "6f1c2d3e-0000-4000-8000-000000000001",
                "userPrincipalName": "a0@uni.example", "mail": "a0@uni.example"}))
            .unwrap()
        };
        let what = |found: &[wire::Object]| listed(&name(), found, "site").what.err();
        assert_eq!(what(&[object()]), None);
        assert_eq!(what(&[]), Some(Reason::NotFound));
        assert_eq!(what(&[object(), object()]), Some(Reason::Ambiguous));
        let other = |found: &[wire::Object]| not_a_user(&name(), found, "site");
        assert_eq!(other(&[object()]).what, Err(Reason::NotAMailbox));
        assert_eq!(other(&[]).what, Err(Reason::NotFound));
        assert_eq!(
            other(&[]).id,
            MailboxId::of_unknown("site", "a0@uni.example")
        );
    }

    #[test]
    fn the_longest_wait_counts() {
        let wait = |secs: Option<u64>| {
            let meaning = Meaning::WaitUntil {
                scope: Scope::Account,
                after: secs.map(Duration::from_secs),
            };
            CallError::new(meaning, "TooManyRequests", "")
        };
        let mut found = Found::default();
        for error in [batch::missing(), wait(Some(3)), wait(Some(9)), wait(None)] {
            found.fail(error);
        }
        assert_eq!(found.0.rest, Some(wait(Some(9))));
        let mut found = Found::default();
        found.fail(batch::missing());
        assert_eq!(found.0.rest.unwrap().meaning, Meaning::Retry);
    }

    #[test]
    fn trustees() {
        use OperationFailure::{TrusteeNotFound, TrusteeNotSecurityPrincipal};
        let address: Address = "team@uni.example".parse().unwrap();
        let group = |mail: bool, security: bool, kinds: &[&str]| json!([{"id": "g", "mail": "Team@uni.example", "mailEnabled": mail, "securityEnabled": security, "groupTypes": kinds}]);
        let none = json!([]);
        let judged = |groups: &Value, users: &Value| {
            let objects =
                |value: &Value| serde_json::from_value::<Vec<wire::Object>>(value.clone()).unwrap();
            match judge(&address, &objects(groups), &objects(users), "site") {
                Ok(found) => Ok(found.kind),
                Err(ListingError::Refused { failure, .. }) => Err(failure),
                Err(other) => panic!("{other}"),
            }
        };
        for (groups, users, want) in [
            (
                group(true, true, &[]),
                none.clone(),
                Ok(PrincipalKind::SecurityGroup),
            ),
            (
                group(true, true, &["Unified"]),
                none.clone(),
                Err(TrusteeNotSecurityPrincipal),
            ),
            (
                group(true, false, &[]),
                none.clone(),
                Err(TrusteeNotSecurityPrincipal),
            ),
            (
                group(false, true, &[]),
                none.clone(),
                Err(TrusteeNotSecurityPrincipal),
            ),
            (
                none.clone(),
                json!([{"mail": "team@uni.example"}]),
                Ok(PrincipalKind::Mailbox),
            ),
            (
                none.clone(),
                json!([{"mail": "team@b.example", "userPrincipalName": "team_b.example#EXT#@uni.example"}]),
                Err(TrusteeNotSecurityPrincipal),
            ),
            (
                none.clone(),
                json!([{"mail": null}]),
                Err(TrusteeNotSecurityPrincipal),
            ),
            (none.clone(), none.clone(), Err(TrusteeNotFound)),
            (none.clone(), json!([{}, {}]), Err(TrusteeNotFound)),
        ] {
            assert_eq!(judged(&groups, &users), want, "{groups} {users}");
        }
    }
}
