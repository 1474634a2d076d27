//! Names looked up in batches, and trustees.

use std::{collections::HashMap, time::Duration};

use calgrant_domain::{Address, Listed, MailboxId, OperationFailure, Reason};
use calgrant_exchange::{CallError, ListingError, Meaning, PrincipalKind, Resolved, TrusteeFound};

use crate::{
    OnlineDirectory, batch,
    calendars::of_many,
    classify::{Asked, classify},
    directory::{read, refused},
    graph,
    http::Reply,
    wire,
};

/// Requests that Graph takes in one batch.
pub(crate) const BATCH: usize = 20;

/// Looks up to [`BATCH`] names up in one request.
pub(crate) async fn look_up(
    directory: &OnlineDirectory,
    names: &[Address],
) -> Result<Vec<Resolved>, CallError> {
    let requests = names.iter().enumerate().map(request).collect();
    let request = directory
        .http
        .client
        .post(directory.url("$batch", &[]))
        .json(&wire::Batch { requests });
    let reply = directory.graph(request).await?;
    let body = classify(&reply, Asked::Directory).map_err(|error| of_many(error, "batch"))?;
    let replies = batch::replies(body, names.len(), (directory.http.now)());
    let resolved = resolved(names, replies, directory.site());
    if matches!(&resolved, Err(error) if error.meaning == Meaning::SignInAgain) {
        directory.graph_token_refused().await;
    }
    resolved
}

fn request((at, name): (usize, &Address)) -> wire::BatchRequest {
    let query = graph::query(&[
        ("$filter", &graph::by_any_name(name)),
        ("$select", graph::USER_FIELDS),
        ("$count", "true"),
    ]);
    wire::BatchRequest {
        id: at.to_string(),
        method: "GET",
        url: format!("/users?{query}"),
        headers: HashMap::from([("ConsistencyLevel", "eventual".to_owned())]),
        body: None,
    }
}

/// One answer a name, or what the failures among them mean together: the longest wait, else the first.
fn resolved(
    names: &[Address],
    replies: Vec<Option<Reply>>,
    site: &str,
) -> Result<Vec<Resolved>, CallError> {
    let (mut found, mut worst) = (Vec::with_capacity(names.len()), None);
    for (name, reply) in names.iter().zip(replies) {
        let page = reply
            .ok_or_else(|| {
                CallError::new(
                    Meaning::Retry,
                    "not_answered",
                    "the batch's answer lacks this name",
                )
            })
            .and_then(|reply| read::<wire::Page<wire::Object>>(&reply));
        match page {
            Ok(page) => found.push(Resolved {
                asked: name.clone(),
                listed: listed(name, &page.value, site),
            }),
            Err(error) => worst = Some(worse(worst, error)),
        }
    }
    worst.map_or(Ok(found), Err)
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

fn listed(name: &Address, found: &[wire::Object], site: &str) -> Listed {
    let unsuitable = |why| Listed {
        id: MailboxId::of_unknown(site, name.as_str()),
        name: name.to_string(),
        what: Err(why),
        lines: Vec::new(),
    };
    match found {
        [one] => one.listed(site),
        [] => unsuitable(Reason::NotFound),
        _ => unsuitable(Reason::Ambiguous),
    }
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

    fn reply(status: u16, wait: Option<u64>, body: &Value) -> Option<Reply> {
        Some(Reply {
            status: Some(status),
            retry_after: wait.map(Duration::from_secs),
            body: body.to_string().into_bytes(),
            ..Reply::default()
        })
    }

    fn names(count: usize) -> Vec<Address> {
        (0..count)
            .map(|at| format!("a{at}@uni.example").parse().unwrap())
            .collect()
    }

    #[test]
    fn names_are_found_or_not_or_ambiguous() {
        let user = json!({"id": "6f1c2d3e-0000-4000-8000-000000000001", "userPrincipalName": "a0@uni.example", "mail": "a0@uni.example"});
        let replies = [json!([user]), json!([]), json!([user, user])]
            .iter()
            .map(|value| reply(200, None, &json!({"value": value})))
            .collect();
        let found = resolved(&names(3), replies, "site").unwrap();
        assert!(found[0].listed.what.is_ok());
        assert_eq!(found[1].listed.what, Err(Reason::NotFound));
        assert_eq!(
            found[1].listed.id,
            MailboxId::of_unknown("site", "a1@uni.example")
        );
        assert_eq!(found[2].listed.what, Err(Reason::Ambiguous));
    }

    #[test]
    fn the_longest_wait_counts() {
        let throttled = json!({"error": {"code": "TooManyRequests"}});
        let replies = vec![
            None,
            reply(429, Some(3), &throttled),
            reply(429, Some(9), &throttled),
            reply(429, None, &throttled),
        ];
        assert_eq!(
            resolved(&names(4), replies, "site").unwrap_err().meaning,
            Meaning::WaitUntil {
                scope: Scope::Account,
                after: Some(Duration::from_secs(9))
            }
        );
        let error = resolved(&names(1), vec![None], "site").unwrap_err();
        assert_eq!(error.meaning, Meaning::Retry);
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
