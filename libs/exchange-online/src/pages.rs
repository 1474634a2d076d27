//! Pages of listings: what comes of one, and of the links between them. Pure.

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, ListingError, Meaning, Selection};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    calendars::of_many,
    classify::{Asked, classify, failure},
    http::Reply,
};

/// Reads an answer of Graph.
pub(crate) fn read<T: DeserializeOwned>(reply: Reply) -> Result<T, CallError> {
    let value = classify(reply, Asked::Directory)?;
    serde_json::from_value(value)
        .map_err(|e| CallError::new(Meaning::Retry, "unexpected_answer", e.to_string()))
}

/// Reads a page, which may have been reached by a link that expired meanwhile.
pub(crate) fn followed(reply: Reply, following: bool) -> Result<Value, ListingError> {
    if following && expired(&reply) {
        return Err(ListingError::Expired);
    }
    classify(reply, Asked::Directory)
        .map_err(|error| {
            if following {
                of_many(error, "page")
            } else {
                error
            }
        })
        .map_err(ListingError::Call)
}

/// Whether a link of the server's own is refused. Whatever words it finds for that, it won't lead on any more.
fn expired(reply: &Reply) -> bool {
    matches!(reply.status, Some(400 | 404 | 410))
        && matches!(
            failure(reply, Asked::Directory),
            Some(CallError {
                meaning: Meaning::GiveUp(_),
                ..
            })
        )
        || matches!(reply.status, Some(404 | 410))
}

/// Whether a question is refused for its form, and not for what it is about.
pub(crate) fn is_unsupported(reply: &Reply) -> bool {
    if !matches!(reply.status, Some(400 | 404 | 501)) {
        return false;
    }
    !matches!(
        failure(reply, Asked::Directory),
        Some(error) if error.meaning != Meaning::GiveUp(Reason::Rejected)
            || error.detail.server_code == "Request_ResourceNotFound"
    )
}

/// The same question about users alone.
pub(crate) fn cast_to_users(url: &str) -> Option<String> {
    let (path, query) = url.split_once('?')?;
    Some(format!("{path}/microsoft.graph.user?{query}"))
}

/// Says which permission members of a group take.
pub(crate) fn hint(error: ListingError, selection: &Selection) -> ListingError {
    match (error, selection) {
        (ListingError::Call(mut error), Selection::Group(_))
            if error.meaning == Meaning::PauseAccount =>
        {
            error.detail.server_text.push_str(
                " (members of groups take GroupMember.Read.All, hidden ones Member.Read.Hidden too)",
            );
            ListingError::Call(error)
        }
        (error, _) => error,
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
