//! Servers that are killed and started again while others run, on their word: one line in, one line back.
//!
//! Asked over loopback TCP, and done by the thread that asks [`OnCall::serve`]: servers end with the thread that started them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Servers;

/// Who connects says at once what it wants.
const SAID_WITHIN: Duration = Duration::from_secs(5);

/// Where others ask.
pub(crate) struct OnCall {
    listener: TcpListener,
    address: SocketAddr,
}

impl OnCall {
    /// Listens on a free port.
    pub(crate) fn listen() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does what has been asked since.
    pub(crate) fn serve(&self, servers: &mut Servers) {
        while let Ok((stream, _)) = self.listener.accept() {
            if let Err(error) = answer(stream, servers) {
                eprintln!("servers: {error:#}");
            }
        }
    }
}

fn answer(mut stream: TcpStream, servers: &mut Servers) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SAID_WITHIN))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let said = match act(line.trim(), servers) {
        Ok(()) => "ok\n".to_owned(),
        Err(error) => format!("{error:#}\n").replace('\n', " "),
    };
    stream.write_all(said.as_bytes())?;
    Ok(())
}

fn act(word: &str, servers: &mut Servers) -> Result<()> {
    let broker = servers.rabbitmq.as_mut().context("no RabbitMQ of ours");
    let database = servers.postgres.as_mut().context("no Postgres of ours");
    match word {
        "kill broker" => broker?.kill(),
        "start broker" => broker?.start_again()?,
        "alarm broker" => broker?.alarm(true)?,
        "calm broker" => broker?.alarm(false)?,
        "kill database" => database?.crash(),
        "start database" => database?.start_again()?,
        other => bail!("not a word of ours: {other:?}"),
    }
    Ok(())
}
