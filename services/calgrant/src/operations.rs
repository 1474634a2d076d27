//! Operations: list, get, watch, cancel, release.

use std::process::ExitCode;

use calgrant_contract::pb::provisioning::v1::{
    CancelOperationRequest, GetOperationRequest, ListOperationsRequest, Operation,
    ReleaseOperationRequest,
};
use clap::Subcommand;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    cli::OutputArgs,
    front::Front,
    output::{Output, Rows, word},
    progress,
};

/// What to do with operations.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// Newest first.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// One of them.
    Get {
        /// op_…
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Shows progress until it ends, or waits for a person; the exit code says how it ended.
    Watch {
        /// op_…
        id: String,
    },
    /// Ends every job that has not begun to write; those that have are finished and proven.
    Cancel {
        /// op_…
        id: String,
    },
    /// Lets one go on that a brake has stopped; recorded with who did it.
    Release {
        /// op_…
        id: String,
        /// Reference to a ticket.
        #[arg(long, default_value = "")]
        ticket: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const COLUMNS: &[(&str, usize)] = &[
    ("id", 35),
    ("tenant", 16),
    ("kind", 8),
    ("state", 10),
    ("lane", 11),
    ("accepted", 8),
    ("outstanding", 11),
    ("outcomes", 40),
    ("created", 20),
    ("failure", 20),
    ("waiting_for", 20),
    ("dead_letters", 12),
    ("calls_needed", 12),
    ("calls_left", 10),
    ("remaining_seconds", 17),
    ("estimated_end", 20),
    ("delegation", 36),
    ("undoes", 35),
    ("hold", 12),
    ("requested_by", 12),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &OperationsCommand) -> anyhow::Result<ExitCode> {
    match command {
        OperationsCommand::List { tenant, output } => {
            let mut rows = Rows::new(output.output, COLUMNS);
            let mut page_token = String::new();
            loop {
                let request = ListOperationsRequest {
                    tenant: tenant.clone().unwrap_or_default(),
                    page_size: 500,
                    page_token,
                };
                let page = front
                    .provisioning
                    .clone()
                    .list_operations(request)
                    .await?
                    .into_inner();
                for operation in &page.operations {
                    rows.print(cells(operation))?;
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        OperationsCommand::Get { id, output } => {
            let operation = front
                .provisioning
                .clone()
                .get_operation(GetOperationRequest { id: id.clone() })
                .await?
                .into_inner();
            show(&operation, output.output)?;
            Ok(ExitCode::SUCCESS)
        }
        OperationsCommand::Watch { id } => {
            let operation = progress::watch(&front, id).await?;
            say(&operation);
            Ok(ExitCode::from(progress::code(&operation)))
        }
        OperationsCommand::Cancel { id } => {
            let operation = front
                .provisioning
                .clone()
                .cancel_operation(CancelOperationRequest { id: id.clone() })
                .await?
                .into_inner();
            say(&operation);
            Ok(ExitCode::SUCCESS)
        }
        OperationsCommand::Release { id, ticket, output } => {
            let request = ReleaseOperationRequest {
                id: id.clone(),
                ticket: ticket.clone(),
            };
            let operation = front
                .provisioning
                .clone()
                .release_operation(request)
                .await?
                .into_inner();
            show(&operation, output.output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One row of it.
pub(crate) fn show(operation: &Operation, output: Output) -> anyhow::Result<()> {
    Ok(Rows::new(output, COLUMNS).print(cells(operation))?)
}

/// One sentence about it, and what to look at next.
pub(crate) fn say(operation: &Operation) {
    let would = if operation.validate_only {
        " (a plan: nothing was written)"
    } else {
        ""
    };
    eprintln!(
        "{} is {}{would}: {}",
        operation.id,
        progress::state(operation),
        progress::counts(operation)
    );
    if let Some(estimate) = &operation.estimate
        && operation.validate_only
    {
        let takes = estimate.remaining_seconds.map_or_else(
            || "; how long that takes can't be said".to_owned(),
            |seconds| format!(", about {}", progress::span(seconds)),
        );
        let bound = if estimate.bound_by.is_empty() {
            String::new()
        } else {
            format!(", bound by {}", estimate.bound_by)
        };
        eprintln!(
            "carrying it out needs {} calls{takes}{bound}",
            estimate.calls_needed
        );
    }
    if operation.hold != 0 {
        eprintln!("it waits for {}", operation.waiting_for);
    }
    if !operation.failure.is_empty() {
        eprintln!("{}: {}", operation.failure, operation.failure_text);
    }
    if operation.dead_letters > 0 {
        eprintln!(
            "{} of its messages couldn't be handled; see calgrant dead-letters list --operation {}",
            operation.dead_letters, operation.id
        );
    }
}

/// A moment, or nothing.
pub(crate) fn when(at: Option<&calgrant_contract::pb::Timestamp>) -> String {
    at.and_then(|at| OffsetDateTime::from_unix_timestamp(at.seconds).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn cells(operation: &Operation) -> Vec<Value> {
    let all = operation.counts.clone().unwrap_or_default();
    let estimate = operation.estimate.as_ref();
    vec![
        operation.id.as_str().into(),
        operation.tenant.as_str().into(),
        word(operation.kind().as_str_name(), "OPERATION_KIND_").into(),
        progress::state(operation).into(),
        word(operation.lane().as_str_name(), "LANE_").into(),
        all.accepted.into(),
        all.outstanding.into(),
        all.outcomes
            .iter()
            .map(|count| (progress::outcome(count.outcome), Value::from(count.count)))
            .collect(),
        when(operation.create_time.as_ref()).into(),
        operation.failure.as_str().into(),
        operation.waiting_for.as_str().into(),
        operation.dead_letters.into(),
        estimate.map(|estimate| estimate.calls_needed).into(),
        estimate.map(|estimate| estimate.calls_left).into(),
        estimate
            .and_then(|estimate| estimate.remaining_seconds)
            .into(),
        when(estimate.and_then(|estimate| estimate.estimated_end_time.as_ref())).into(),
        operation.delegation_id.as_str().into(),
        operation.undoes.as_str().into(),
        if operation.hold == 0 {
            Value::Null
        } else {
            word(operation.hold().as_str_name(), "HOLD_").into()
        },
        operation.requested_by.as_str().into(),
    ]
}
