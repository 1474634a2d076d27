//! What is known of mailboxes.

use std::process::ExitCode;

use calgrant_contract::pb::status::v1::BatchGetMailboxAccessRequest;
use clap::Args;

use crate::{
    cli::OutputArgs,
    front::Front,
    operations::when,
    output::{Rows, word},
};

/// Which mailboxes.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Any address of each, or mbx_….
    #[arg(required = true)]
    names: Vec<String>,
    /// Whose.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("name", 36),
    ("state", 11),
    ("role", 10),
    ("trustee", 36),
    ("site", 6),
    ("accounts", 30),
    ("verified", 20),
    ("reason", 16),
    ("advice", 40),
    ("operation", 36),
    ("mailbox_id", 36),
];

/// Prints what is known, asking for up to 1,000 at a time.
pub(crate) async fn run(front: Front, args: &AccessArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Rows::new(args.output.output, COLUMNS);
    for names in args.names.chunks(1000) {
        let request = BatchGetMailboxAccessRequest {
            tenant: args.tenant.clone(),
            names: names.to_vec(),
        };
        for access in front
            .status
            .clone()
            .batch_get_mailbox_access(request)
            .await?
            .into_inner()
            .access
        {
            let state = word(access.state().as_str_name(), "ACCESS_STATE_");
            let site = word(access.site().as_str_name(), "SITE_KIND_");
            let verified = when(access.verify_time.as_ref());
            rows.print(vec![
                access.name.into(),
                state.into(),
                access.role.into(),
                access.trustee.into(),
                site.into(),
                access.accounts.into(),
                verified.into(),
                access.reason.into(),
                access.advice.into(),
                access.operation_id.into(),
                access.mailbox_id.into(),
            ])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
