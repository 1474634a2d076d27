//! `$batch` answers, told apart by id. Pure.

use std::collections::HashMap;

use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    http::Reply,
    wire::{BatchAnswer, BatchResponse},
};

/// One reply for each of the ids `0` to `count - 1`; `None` where the answer lacks it.
pub(crate) fn replies(body: Value, count: usize, now: OffsetDateTime) -> Vec<Option<Reply>> {
    let mut replies: Vec<Option<Reply>> = vec![None; count];
    let Ok(answer) = serde_json::from_value::<BatchAnswer>(body) else {
        return replies;
    };
    for response in answer.responses {
        let id = match &response.id {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        if let Some(slot) = id.and_then(|id: usize| replies.get_mut(id)) {
            *slot = Some(reply(response, now));
        }
    }
    replies
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
        Value::Null => Vec::new(),
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    };
    Reply {
        status: response.status,
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
            {"id": 0, "status": 429, "headers": {"Retry-After": "10", "Request-Id": "r"}},
            {"id": "9", "status": 200},
        ]});
        let replies = replies(body, 3, datetime!(2026-01-01 00:00 UTC));
        let first = replies[0].as_ref().unwrap();
        assert_eq!(first.retry_after, Some(Duration::from_secs(10)));
        assert_eq!((first.status, first.request_id.as_str()), (Some(429), "r"));
        assert!(replies[1].is_none());
        assert_eq!(replies[2].as_ref().unwrap().status, None);
    }
}
