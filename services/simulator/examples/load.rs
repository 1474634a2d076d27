//! How fast the simulator answers: `cargo run --release -p calgrant-simulator --example load -- [mailboxes] [connections] [seconds]`.
//!
//! Starts a school without limits or latency in this process, reads one permission list after the other over
//! keep-alive connections, and prints what starting cost and how many calls a second were answered. Server and clients
//! share the machine's cores, so the figure is a lower bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use calgrant_simulator::{Config, Scenario, SchoolOptions, TENANT_ID, start};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock itself"
)]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut number = |default| numbers.next().unwrap_or(Ok(default));
    let (mailboxes, connections, seconds) = (number(10_000)?, number(32)?, number(5)?);
    let begun = Instant::now();
    let running = start(Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        scenario: Scenario::school(&SchoolOptions {
            mailboxes,
            max_in_flight: None,
            read_lag_max_secs: 0,
            ..SchoolOptions::default()
        }),
    })
    .await?;
    println!(
        "{mailboxes} mailboxes: started in {:.2?}, {} now",
        begun.elapsed(),
        resident()
    );
    let address = running.address;
    let token = token(address).await?;
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for first in 0..connections {
        let (stop, calls, token) = (Arc::clone(&stop), Arc::clone(&calls), token.clone());
        clients.spawn(async move {
            let mut wire = Wire::open(address).await?;
            let mut at = first;
            while !stop.load(Ordering::Relaxed) {
                at = (at + connections) % mailboxes;
                wire.post(&invoke(at), &token).await?;
                calls.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(Duration::from_secs(seconds.try_into()?)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let calls = calls.load(Ordering::Relaxed);
    let millis = u64::try_from(begun.elapsed().as_millis())?;
    println!(
        "{calls} calls on {connections} connections: {} a second, {} at the end",
        calls * 1000 / millis.max(1),
        resident()
    );
    running.stop().await;
    Ok(())
}

/// The memory of this process, as the kernel says it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name));
    let value = |name: &str| line(name).map_or("?", |line| line[name.len()..].trim());
    format!("VmRSS {}, VmHWM {}", value("VmRSS:"), value("VmHWM:"))
}

fn invoke(number: usize) -> String {
    format!(
        r#"{{"CmdletInput":{{"CmdletName":"Get-MailboxFolderPermission","Parameters":{{"Identity":"u{number:06}@uni.example"}}}}}}"#
    )
}

async fn token(address: SocketAddr) -> anyhow::Result<String> {
    let form = "grant_type=client_credentials&client_id=bbbbbbbb-0000-0000-0000-000000000002\
                &client_secret=grantor-secret-2&scope=https%3A%2F%2Foutlook.office365.com%2F.default";
    let mut wire = Wire::open(address).await?;
    let path = format!("/{TENANT_ID}/oauth2/v2.0/token");
    let answer = wire
        .send(&path, "application/x-www-form-urlencoded", "", form)
        .await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let token = answer["access_token"].as_str();
    Ok(token.context("no token was given")?.to_owned())
}

/// One keep-alive connection.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    async fn post(&mut self, body: &str, token: &str) -> anyhow::Result<()> {
        let path = format!("/adminapi/beta/{TENANT_ID}/InvokeCommand");
        let header = format!("Authorization: Bearer {token}\r\n");
        self.send(&path, "application/json", &header, body).await?;
        Ok(())
    }

    async fn send(
        &mut self,
        path: &str,
        kind: &str,
        more: &str,
        body: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: simulator\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                bail!("the connection ended");
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).await?;
        Ok(answer)
    }
}
