//! The mailboxes of an operation.

use std::process::ExitCode;

use calgrant_contract::{
    pb::status::v1::{ListOperationMailboxesRequest, OperationMailbox},
    words,
};
use clap::Args;

use crate::{cli::OutputArgs, front::Front, operations::when, output::Rows, progress};

/// Which mailboxes.
#[derive(Debug, Args)]
pub(crate) struct MailboxesArgs {
    /// The operation, op_…
    #[arg(long)]
    operation: String,
    /// Only those that ended so: `added`, `updated`, `unchanged`, `left_higher`, `refused`, `failed`, `cancelled`, `unconfirmed`, `removed`, `restored`, `left_changed_since`, `kept_by`, `verified`, `drifted`, `repaired`. May be repeated.
    #[arg(long)]
    outcome: Vec<calgrant_domain::Outcome>,
    /// Only those that have not ended.
    #[arg(long, conflicts_with = "outcome")]
    outstanding: bool,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("name", 36),
    ("outcome", 11),
    ("reason", 16),
    ("before", 10),
    ("waiting", 9),
    ("account", 14),
    ("ended", 20),
    ("advice", 40),
    ("server_code", 20),
    ("request_id", 36),
    ("mailbox_id", 36),
    ("job_id", 36),
    ("lines", 8),
    ("server_text", 20),
    ("kept_by", 36),
];

/// Prints them, page by page.
pub(crate) async fn run(front: Front, args: &MailboxesArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Rows::new(args.output.output, COLUMNS);
    let request = ListOperationMailboxesRequest {
        operation_id: args.operation.clone(),
        outcomes: args
            .outcome
            .iter()
            .map(|outcome| words::outcome_to_wire(*outcome))
            .collect(),
        outstanding_only: args.outstanding,
        ..ListOperationMailboxesRequest::default()
    };
    let told = |mailbox: OperationMailbox| {
        let outcome = if mailbox.outcome == 0 {
            String::new()
        } else {
            progress::outcome(mailbox.outcome)
        };
        let ended = when(mailbox.end_time.as_ref());
        rows.print(vec![
            mailbox.name.into(),
            outcome.into(),
            mailbox.reason.into(),
            mailbox.before.into(),
            mailbox.waiting.into(),
            mailbox.account.into(),
            ended.into(),
            mailbox.advice.into(),
            mailbox.server_code.into(),
            mailbox.request_id.into(),
            mailbox.mailbox_id.into(),
            mailbox.job_id.into(),
            mailbox.lines.into(),
            mailbox.server_text.into(),
            mailbox.kept_by.into(),
        ])
    };
    front.mailboxes(request, told).await?;
    Ok(ExitCode::SUCCESS)
}
