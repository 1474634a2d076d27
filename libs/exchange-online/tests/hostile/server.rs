//! A server that says what a test wants it to say.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use calgrant_domain::WritePath;
use calgrant_exchange::{Answer, Ask, CalendarCall, Calendars, CallError, Performed, Selection};
use calgrant_exchange_online::{Account, Endpoints, OnlineCalendars, OnlineDirectory, Secret};
use calgrant_runtime::clock;
use serde_json::{Value, json};

pub(crate) const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// What was asked: the path with its query, the headers and the body.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

type Says = dyn Fn(&Asked) -> Response + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    says: Arc<Says>,
    asked: Arc<Mutex<Vec<Asked>>>,
    url: String,
}

impl Server {
    /// A server that gives tokens, and says this to everything else. `{here}` in a text stands for its URL.
    pub(crate) async fn new(
        says: impl Fn(&str, &Asked) -> Response + Send + Sync + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let here = url.clone();
        let server = Self {
            says: Arc::new(move |asked| says(&here, asked)),
            asked: Arc::default(),
            url,
        };
        let app = Router::new().fallback(answer).with_state(server.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            login_url: self.url.clone(),
            graph_url: self.url.clone(),
            admin_url: self.url.clone(),
            directory_id: TENANT.to_owned(),
        }
    }

    pub(crate) fn calendars(&self, path: WritePath) -> OnlineCalendars {
        OnlineCalendars::new(self.endpoints(), account(), path, clock::now).unwrap()
    }

    pub(crate) fn directory(&self) -> OnlineDirectory {
        OnlineDirectory::new(self.endpoints(), account(), clock::now).unwrap()
    }

    pub(crate) async fn find(&self) -> Result<Answer, CallError> {
        find(&self.calendars(WritePath::InvokeCommand), 1)
            .await
            .answers
            .remove(0)
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let asked = Asked {
        url: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    if asked.url.ends_with("/token") {
        return json_of(
            200,
            &json!({"access_token": "a-token", "expires_in": "3599"}),
        );
    }
    let response = (server.says)(&asked);
    server.asked.lock().unwrap().push(asked);
    response
}

fn account() -> Account {
    Account {
        client_id: "app".to_owned(),
        secret: Secret::Client("hush".into()),
    }
}

pub(crate) fn json_of(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, axum::Json(body.clone())).into_response()
}

pub(crate) fn text_of(
    status: u16,
    headers: &[(&'static str, &str)],
    body: &'static str,
) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

pub(crate) fn folder(kind: &str, path: &str) -> Value {
    json!({"FolderType": kind, "FolderId": "LgAA", "FolderPath": path})
}

pub(crate) fn addressed(at: usize) -> calgrant_domain::Address {
    format!("u{at}@uni.example").parse().unwrap()
}

pub(crate) async fn find(calendars: &OnlineCalendars, count: usize) -> Performed {
    let calls = (0..count).map(|at| CalendarCall {
        mailbox: addressed(at),
        ask: Ask::FindCalendar,
    });
    calendars.perform(calls.collect()).await
}

pub(crate) fn group() -> Selection {
    Selection::Group("g@uni.example".parse().unwrap())
}
