//! A vhost by RabbitMQ's management API, spoken by hand: dropping it can't wait for an async client.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{eventually, named};

/// A vhost of RabbitMQ. Gone when dropped.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    url: String,
}

impl Vhost {
    /// Makes one.
    ///
    /// # Panics
    /// RabbitMQ's management API isn't there.
    #[must_use]
    pub fn new() -> Self {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        let base = named("AMQP_URL");
        let end = base.find("://").map_or(0, |at| at + 3);
        let slash = base[end..].find('/').map_or(base.len(), |at| end + at);
        request("PUT", &format!("/api/vhosts/{name}"), "");
        Self {
            url: format!("{}/{name}", &base[..slash]),
            name,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that the broker is, on its own machine. None if it doesn't say.
    ///
    /// # Panics
    /// The management API refuses.
    #[must_use]
    pub fn broker_pid(&self) -> Option<u32> {
        let nodes = request("GET", "/api/nodes", "");
        let (_, rest) = nodes.split_once("\"os_pid\":\"")?;
        rest.split('"').next()?.parse().ok()
    }

    /// Ends all connections of this vhost, as an operator may, once at least `expected` are listed: that takes
    /// some seconds after they were made. Answers how many.
    ///
    /// # Panics
    /// So many never show, or the management API refuses.
    pub async fn cut(&self, expected: usize) -> usize {
        let path = format!("/api/vhosts/{}/connections", self.name);
        let mut names: Vec<String> = Vec::new();
        eventually("the connections are listed", async || {
            let list = request("GET", &path, "");
            // `"name":` is also that of clients and users, which have no arrow.
            names = list
                .split("\"name\":\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .filter(|name| name.contains(" -> "))
                .map(str::to_owned)
                .collect();
            names.len() >= expected
        })
        .await;
        for name in &names {
            let name = name.replace(' ', "%20").replace('>', "%3E");
            request("DELETE", &format!("/api/connections/{name}"), "");
        }
        names.len()
    }
}

impl Default for Vhost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        request("DELETE", &format!("/api/vhosts/{}", self.name), "");
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    let url = named("RABBITMQ_MANAGEMENT_URL");
    let rest = url
        .strip_prefix("http://")
        .unwrap_or_else(|| panic!("RABBITMQ_MANAGEMENT_URL is no http URL"));
    let amqp = named("AMQP_URL");
    let amqp = amqp.split("://").nth(1).unwrap_or_default();
    // Without a user of its own it has that of AMQP.
    let (user, host) = rest
        .split_once('@')
        .unwrap_or((amqp.split('@').next().unwrap_or_default(), rest));
    let host = host.trim_end_matches('/');
    let mut stream = TcpStream::connect(host)
        .unwrap_or_else(|cause| panic!("the management API doesn't answer: {cause}"));
    let user = BASE64_STANDARD.encode(user);
    let sent = write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {user}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let answered = sent.and_then(|()| stream.read_to_string(&mut answer));
    assert!(
        answered.is_ok() && answer.starts_with("HTTP/1.1 2"),
        "{method} {path}: {answered:?} {answer}"
    );
    answer
}
