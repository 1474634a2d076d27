//! `$batch` answers, told apart by id. Pure.

use std::collections::HashMap;

use serde_json::Value;
use time::OffsetDateTime;

use calgrant_exchange::{CallError, Meaning};

use crate::{
    body::Body,
    calendars::of_many,
    classify::{Asked, classify},
    http::Reply,
    wire::{BatchAnswer, BatchResponse},
};

/// What a batch came to: one reply for each of its `count` requests, as [`replies`] tells them apart.
///
/// # Errors
/// The batch as a whole failed.
pub(crate) fn parts(
    whole: Reply,
    count: usize,
    now: OffsetDateTime,
) -> Result<Vec<Option<Reply>>, CallError> {
    let request_id = whole.request_id.clone();
    let body = classify(whole, Asked::Directory).map_err(|error| of_many(error, "batch"))?;
    Ok(replies(body, count, &request_id, now))
}

/// One reply for each of the ids `0` to `count - 1`; `None` where the answer lacks it, or has two. A reply that
/// names no request id of its own has that of the whole, `request_id`.
fn replies(body: Value, count: usize, request_id: &str, now: OffsetDateTime) -> Vec<Option<Reply>> {
    let mut replies: Vec<Option<Reply>> = vec![None; count];
    let mut seen = vec![false; count];
    let Ok(answer) = serde_json::from_value::<BatchAnswer>(body) else {
        return replies;
    };
    for response in answer.responses {
        let Ok(response) = serde_json::from_value::<BatchResponse>(response) else {
            continue;
        };
        let id = match &response.id {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let Some(id) = id.filter(|id| *id < count) else {
            continue;
        };
        let mut reply = reply(response, now);
        if reply.request_id.is_empty() {
            request_id.clone_into(&mut reply.request_id);
        }
        // Two answers to one request: nobody knows which is the right one.
        replies[id] = (!std::mem::replace(&mut seen[id], true)).then_some(reply);
    }
    replies
}

/// What is said of a request that the batch's answer lacks. It was sent, and may still be under way.
pub(crate) fn missing() -> CallError {
    CallError {
        unanswered: true,
        ..CallError::new(
            Meaning::Retry,
            "not_answered",
            "the batch's answer lacks this call",
        )
    }
}

fn reply(response: BatchResponse, now: OffsetDateTime) -> Reply {
    let headers: HashMap<String, String> = response
        .headers
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.to_ascii_lowercase(), value)
        })
        .collect();
    let body = match response.body {
        Value::Null => Body::default(),
        Value::String(text) => Body::read(text.into_bytes()),
        other => Body::Json(other),
    };
    let status = match &response.status {
        Value::String(text) => text.parse().ok(),
        status => status
            .as_u64()
            .and_then(|status| u16::try_from(status).ok()),
    };
    Reply {
        status,
        body,
        ..Reply::of_headers(|name| headers.get(name).cloned().unwrap_or_default(), now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn by_id_whatever_the_order_and_whatever_is_missing() {
        let body = json!({"responses": [
            {"id": "2", "body": {"value": []}},
            "nonsense",
            {"no": "id"},
            {"id": 0, "status": 429, "headers": {"Retry-After": "10", "Request-Id": "r"}},
            {"id": "9", "status": 200},
            {"id": "3", "status": "404"},
            {"id": "4", "status": 200},
            {"id": "4", "status": 500},
            {"id": -1, "status": 200},
        ]});
        let replies = replies(body, 5, "outer", datetime!(2026-01-01 00:00 UTC));
        let first = replies[0].as_ref().unwrap();
        assert_eq!(first.retry_after, Some(Duration::from_secs(10)));
        assert_eq!((first.status, first.request_id.as_str()), (Some(429), "r"));
        assert!(replies[1].is_none());
        let third = replies[2].as_ref().unwrap();
        assert_eq!((third.status, third.request_id.as_str()), (None, "outer"));
        assert_eq!(replies[3].as_ref().unwrap().status, Some(404));
        assert!(replies[4].is_none());
    }

    #[test]
    fn what_is_no_batch_answer_answers_nothing() {
        for body in [
            json!(null),
            json!([]),
            json!({"responses": 1}),
            json!({"value": []}),
        ] {
            let none = replies(body, 2, "", datetime!(2026-01-01 00:00 UTC));
            assert!(none.iter().all(Option::is_none));
        }
    }
}
