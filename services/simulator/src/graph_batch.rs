//! Graph's `$batch`: up to twenty requests that change nothing, answered in any order.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::graph::{is_function, one};
use crate::graph_ask::Ask;
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
    let mut steps: Vec<Step> = Vec::new();
    for request in requests {
        let (Some(id), Some(url)) = (request["id"].as_str(), request["url"].as_str()) else {
            return bad("each request needs an id and a url");
        };
        if steps.iter().any(|step| step.id == id) {
            return bad("the ids of the requests aren't unique");
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let function = request["method"] == "POST" && is_function(path);
        if url.contains("://") || !(function || request["method"] == "GET") {
            return bad("the url must be relative, and the method GET, or POST for a function");
        }
        let has_header = |name: &str, wanted: &str| {
            let mut headers = request["headers"].as_object().into_iter().flatten();
            headers.any(|(header, value)| header.eq_ignore_ascii_case(name) && value == wanted)
        };
        if function && !has_header("Content-Type", "application/json") {
            return bad("a request with a body needs the header Content-Type: application/json");
        }
        let after: Vec<Value> = request["dependsOn"].as_array().cloned().unwrap_or_default();
        if !after
            .iter()
            .all(|id| steps.iter().any(|step| step.id == *id))
        {
            return bad("dependsOn names a request that doesn't come before this one");
        }
        steps.push(Step {
            id: id.into(),
            after,
            ask: Ask {
                token: token.clone(),
                base: base.to_owned(),
                path: format!("/{}", path.trim_start_matches('/')),
                params: Params::parse(query),
                eventual: has_header("ConsistencyLevel", "eventual"),
                body: function.then(|| request["body"].clone()),
                now: world.clock.now(),
            },
        });
    }
    let mut responses = carry_out(world, steps).await;
    world.dice.shuffle(&mut responses);
    Reply::json(200, json!({"responses": responses}))
}

struct Step {
    id: Value,
    /// Requests that must have succeeded before.
    after: Vec<Value>,
    ask: Ask,
}

/// Runs what waits for nothing together, and the rest in its order.
async fn carry_out(world: &Arc<World>, steps: Vec<Step>) -> Vec<Value> {
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for step in steps {
        if step.after.is_empty() {
            let work = Arc::clone(world);
            let task = world.tasks.spawn(async move { one(&work, step.ask).await });
            running.push((step.id, task));
        } else {
            waiting.push(step);
        }
    }
    let mut responses = Vec::new();
    for (id, task) in running {
        let reply = task
            .await
            .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"));
        responses.push(reply.into_batch_item(&id, true));
    }
    for step in waiting {
        let succeeded = |id: &Value| {
            responses.iter().any(|response| {
                response["id"] == *id
                    && response["status"]
                        .as_u64()
                        .is_some_and(|status| status < 400)
            })
        };
        let reply = if step.after.iter().all(succeeded) {
            one(world, step.ask).await
        } else {
            let text = "A request this one depends on has failed.";
            Reply::error(424, "FailedDependency", text)
        };
        responses.push(reply.into_batch_item(&step.id, true));
    }
    responses
}
