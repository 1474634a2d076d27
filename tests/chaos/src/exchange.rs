//! The simulator's own interface.

use anyhow::{Context, ensure};
use reqwest::{Client, Method};
use serde_json::Value;

/// The simulator, which holds what is true.
#[derive(Clone)]
pub(crate) struct Exchange {
    base: String,
    client: Client,
}

impl Exchange {
    pub(crate) fn new(address: std::net::SocketAddr) -> Self {
        Self {
            base: format!("http://{address}/_simulator"),
            client: Client::new(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        self.ask(Method::PUT, path, Some(body)).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("the simulator")?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status.is_success(),
            "the simulator: {path}: {status} {text}"
        );
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// All pages of a list.
    pub(crate) async fn pages(&self, query: &str, list: &str) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut offset) = (Vec::new(), Some(0));
        while let Some(from) = offset {
            let page = self.get(&format!("{query}&offset={from}")).await?;
            all.extend(page[list].as_array().cloned().unwrap_or_default());
            offset = page["next_offset"].as_u64();
        }
        Ok(all)
    }
}
