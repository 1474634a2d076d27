//! A vhost by RabbitMQ's management API, spoken by hand: a client would be a dependency for two requests.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    ops::Deref,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use calgrant_bus::Bus;

use crate::eventually;

/// A vhost with a bus on it. Gone when dropped.
pub(crate) struct Vhost {
    name: String,
    pub(crate) url: String,
    bus: Bus,
}

impl Deref for Vhost {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

fn named(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts RabbitMQ and sets it")
    })
}

impl Vhost {
    pub(crate) async fn new() -> Self {
        let name = format!("bus-{}", uuid::Uuid::new_v4().simple());
        let base = named("AMQP_URL");
        let end = base.find("://").map_or(0, |at| at + 3);
        let slash = base[end..].find('/').map_or(base.len(), |at| end + at);
        let url = format!("{}/{name}", &base[..slash]);
        request("PUT", &format!("/api/vhosts/{name}"), "");
        let bus = Bus::connect(&url, "test").await.expect("a bus");
        Self { name, url, bus }
    }

    /// Another bus on the same vhost.
    pub(crate) async fn another(&self) -> Bus {
        Bus::connect(&self.url, "test").await.expect("a bus")
    }

    /// Ends all connections of this vhost, as an operator may. They are listed some seconds after they were made.
    pub(crate) async fn cut(&self) -> usize {
        let path = format!("/api/vhosts/{}/connections", self.name);
        let mut names: Vec<String> = Vec::new();
        eventually("both connections are listed", async || {
            let list = request("GET", &path, "");
            // `"name":` is also that of clients and users, which have no arrow.
            names = list
                .split("\"name\":\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .filter(|name| name.contains(" -> "))
                .map(str::to_owned)
                .collect();
            names.len() >= 2
        })
        .await;
        for name in &names {
            let name = name.replace(' ', "%20").replace('>', "%3E");
            request("DELETE", &format!("/api/connections/{name}"), "");
        }
        names.len()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        request("DELETE", &format!("/api/vhosts/{}", self.name), "");
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    let url = named("RABBITMQ_MANAGEMENT_URL");
    let rest = url.strip_prefix("http://").expect("an http URL");
    let amqp = named("AMQP_URL");
    let amqp = amqp.split("://").nth(1).unwrap_or_default();
    // Without a user of its own it has that of AMQP.
    let (user, host) = rest
        .split_once('@')
        .unwrap_or((amqp.split('@').next().unwrap_or_default(), rest));
    let host = host.trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("the management API answers");
    let user = BASE64_STANDARD.encode(user);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {user}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 2"),
        "{method} {path}: {answer}"
    );
    answer
}
