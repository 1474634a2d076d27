//! Graph's `$batch`: up to twenty GETs, answered in any order.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::graph::{Ask, one};
use crate::query::Params;
use crate::reply::Reply;
use crate::world::{Token, World};

const BATCH: usize = 20;

pub(crate) async fn run(world: &Arc<World>, token: &Token, base: &str, body: &[u8]) -> Reply {
    let bad = |text: &str| Reply::error(400, "BadRequest", text);
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return bad("the body isn't JSON");
    };
    let Some(requests) = body["requests"].as_array() else {
        return bad("requests is missing");
    };
    if requests.is_empty() || requests.len() > BATCH {
        return bad("Number of batch request steps must be between 1 and 20.");
    }
    let mut tasks = Vec::new();
    for request in requests {
        let (Some(id), Some(url)) = (request["id"].as_str(), request["url"].as_str()) else {
            return bad("each request needs an id and a url");
        };
        if tasks.iter().any(|(other, _): &(Value, _)| other == id) {
            return bad("the ids of the requests aren't unique");
        }
        if url.contains("://") || request["method"] != "GET" {
            return bad("the url must be relative and the method GET");
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let eventual = request["headers"].as_object().is_some_and(|headers| {
            headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("ConsistencyLevel") && value == "eventual"
            })
        });
        let path = format!("/{}", path.trim_start_matches('/'));
        let ask = Ask {
            token: token.clone(),
            base: base.to_owned(),
            path,
            params: Params::parse(query),
            eventual,
        };
        let work = Arc::clone(world);
        tasks.push((
            id.into(),
            world.tasks.spawn(async move { one(&work, ask).await }),
        ));
    }
    let mut responses = Vec::new();
    for (id, task) in tasks {
        let reply = task
            .await
            .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"));
        responses.push(reply.into_batch_item(&id, true));
    }
    world.dice.shuffle(&mut responses);
    Reply::json(200, json!({"responses": responses}))
}
