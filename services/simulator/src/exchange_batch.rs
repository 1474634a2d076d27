//! `$batch` of `InvokeCommand`: calls that arrive together, each with a token of its own.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::exchange::{Call, Front, authorise, begin, caller, finish};
use crate::faults::About;
use crate::query::Params;
use crate::reply::{Content, Reply};
use crate::world::World;

pub(crate) async fn run(
    world: &Arc<World>,
    tenant: &str,
    base: &str,
    headers: &HeaderMap,
    body: &Value,
) -> Reply {
    let bad = |text: &str| Reply::error(400, "BadRequest", text);
    if let Err(refusal) = authorise(world, tenant, headers, Front::Invoke) {
        return refusal;
    }
    let Some(requests) = body["requests"].as_array() else {
        return bad("requests is missing");
    };
    let most = world.dials().batch_max;
    if requests.is_empty() || requests.len() > most {
        return bad(&format!("a batch takes 1 to {most} requests"));
    }
    let mut calls = Vec::new();
    for request in requests {
        let (Some(id), Some(url)) = (request["id"].as_str(), request["url"].as_str()) else {
            return bad("each request needs an id and a url");
        };
        if calls.iter().any(|(other, _): &(Value, Call)| other == id) {
            return bad("the ids of the requests aren't unique");
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if path != format!("{base}InvokeCommand") || request["method"] != "POST" {
            return bad("each url must be the absolute one of InvokeCommand, and the method POST");
        }
        calls.push((
            id.into(),
            Call {
                front: Front::Invoke,
                tenant: tenant.to_owned(),
                endpoint: "InvokeCommand".to_owned(),
                url: path.to_owned(),
                params: Params::parse(query),
                headers: inner_headers(&request["headers"]),
                body: request["body"].clone(),
            },
        ));
    }
    // they arrive together: all are judged before the first is carried out
    let started: Vec<_> = calls.iter().map(|(_, call)| begin(world, call)).collect();
    let kinds = calls.iter().map(|(_, call)| call.cmdlet().to_owned());
    let kinds: Vec<(String, String)> = kinds.zip(started.iter().map(caller)).collect();
    let tasks: Vec<_> = calls
        .into_iter()
        .zip(started)
        .map(|((id, call), started)| {
            let work = Arc::clone(world);
            (
                id,
                world
                    .tasks
                    .spawn(async move { finish(&work, call, started).await }),
            )
        })
        .collect();
    let mut responses = Vec::new();
    for ((id, task), (kind, app)) in tasks.into_iter().zip(kinds) {
        let reply = task
            .await
            .unwrap_or_else(|_| Reply::error(500, "InternalServerError", "the simulator failed"));
        if matches!(reply.content, Content::Broken) {
            return Reply::broken();
        }
        let about = About {
            kind: &kind,
            app: &app,
        };
        let with_status = !world.fault("missing_batch_status", about);
        responses.push(reply.into_batch_item(&id, with_status));
    }
    world.dice.shuffle(&mut responses);
    Reply::json(200, json!({"responses": responses}))
}

fn inner_headers(headers: &Value) -> HeaderMap {
    let pairs = headers.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| {
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::from_str(value.as_str()?).ok()?,
            ))
        })
        .collect()
}
