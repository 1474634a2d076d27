//! RabbitMQ and Postgres, killed and started by whoever started us.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The one who started the servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Servers(pub(crate) SocketAddr);

impl Servers {
    /// Asks for something, such as `kill broker`.
    ///
    /// # Errors
    /// It isn't done.
    pub(crate) async fn ask(self, word: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.0)
            .await
            .context("nobody there who started the servers")?;
        stream.write_all(format!("{word}\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        ensure!(answer.trim() == "ok", "{word}: {}", answer.trim());
        Ok(())
    }
}
