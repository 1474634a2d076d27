//! As much HTTP as it takes to ask the simulator on this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// Ask, and return the JSON of the answer.
pub(crate) fn ask(port: u16, method: &str, path: &str) -> Result<Value> {
    let body =
        exchange(port, method, path).with_context(|| format!("{method} {path} of port {port}"))?;
    serde_json::from_str(&body).with_context(|| format!("{method} {path} of port {port}: no JSON"))
}

/// Ask, and return the text of the answer.
pub(crate) fn text(port: u16, path: &str) -> Result<String> {
    exchange(port, "GET", path).with_context(|| format!("GET {path} of port {port}"))
}

/// Whether something answers with success.
pub(crate) fn is_well(port: u16, path: &str) -> bool {
    exchange(port, "GET", path).is_ok()
}

fn exchange(port: u16, method: &str, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Version 1.0: the answer ends with the connection, in one piece.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "answered {status}: {body}");
    Ok(body.to_owned())
}
