//! How an operation is asked for, whatever it does, and how it is followed.

use std::process::ExitCode;

use calgrant_contract::pb::provisioning::v1::Operation;
use clap::Args;

use crate::{front::Front, operations, output::Output, progress};

/// What every command takes that begins an operation.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Only finds out what would be done.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Shows progress until it ends, or waits for a person; the exit code says how it ended.
    #[arg(long)]
    wait: bool,
    /// Makes a repeat harmless; a new one by default.
    #[arg(long)]
    request_id: Option<String>,
    /// Reference to a ticket.
    #[arg(long, default_value = "")]
    pub(crate) ticket: String,
    /// How to print the operation.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The one that was given, or a new one.
pub(crate) fn request_id(given: Option<&String>) -> String {
    let new = || uuid::Uuid::new_v4().to_string();
    given.cloned().unwrap_or_else(new)
}

impl How {
    /// The one that was given, or a new one.
    pub(crate) fn request_id(&self) -> String {
        request_id(self.request_id.as_ref())
    }

    /// Says what was accepted, and waits for it if asked to.
    pub(crate) async fn follow(
        &self,
        front: &Front,
        operation: Operation,
    ) -> anyhow::Result<ExitCode> {
        let ended = self.follow_one(front, operation).await?;
        Ok(ExitCode::from(progress::code(&ended)))
    }

    async fn follow_one(
        &self,
        front: &Front,
        mut operation: Operation,
    ) -> anyhow::Result<Operation> {
        if self.wait {
            eprintln!("{} is accepted", operation.id);
            operation = progress::watch(front, &operation.id).await?;
            operations::say(&operation);
        } else {
            eprintln!(
                "accepted; follow it by: calgrant operations watch {}",
                operation.id
            );
        }
        operations::show(&operation, self.output)?;
        Ok(operation)
    }

    /// The same for several: the exit code says how the one ended that ended worst.
    pub(crate) async fn follow_all(
        &self,
        front: &Front,
        accepted: Vec<Operation>,
    ) -> anyhow::Result<ExitCode> {
        eprintln!("{} operations are accepted", accepted.len());
        let mut worst = 0;
        for operation in accepted {
            let ended = self.follow_one(front, operation).await?;
            worst = worst.max(progress::code(&ended));
        }
        Ok(ExitCode::from(worst))
    }
}
