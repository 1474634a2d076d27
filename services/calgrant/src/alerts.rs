//! What a person should know of: looked at, and acknowledged.

use std::process::ExitCode;

use calgrant_contract::pb::status::v1::{AcknowledgeAlertRequest, Alert, ListAlertsRequest};
use clap::Subcommand;
use serde_json::Value;

use crate::{cli::OutputArgs, front::Front, operations::when, output::Rows};

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Those that nobody has acknowledged, newest first.
    List {
        /// Only this tenant's.
        #[arg(long, default_value = "")]
        tenant: String,
        /// Only of this kind: `empty_selection`, `listing_failed`, `drift`, `leavers`, `held`, `group_members`, `group_owners`, `group_open`, `password_expires`, `credential_expires`, `setup_blocked`.
        #[arg(long, default_value = "")]
        kind: String,
        /// Also those that somebody has acknowledged.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Says that you have seen one; recorded with who did it. It isn't raised again unless something is new.
    Acknowledge {
        /// alert_…
        id: String,
        /// Reference to a ticket.
        #[arg(long, default_value = "")]
        ticket: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const COLUMNS: &[(&str, usize)] = &[
    ("id", 38),
    ("since", 20),
    ("tenant", 10),
    ("kind", 15),
    ("text", 60),
    ("subject", 36),
    ("last", 20),
    ("ended", 20),
    ("delegation", 36),
    ("operation", 35),
    ("acknowledged_by", 15),
    ("acknowledged", 20),
    ("ticket", 10),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &AlertsCommand) -> anyhow::Result<ExitCode> {
    let mut status = front.status.clone();
    match command {
        AlertsCommand::List {
            tenant,
            kind,
            all,
            output,
        } => {
            let mut rows = Rows::new(output.output, COLUMNS);
            let mut page_token = String::new();
            loop {
                let request = ListAlertsRequest {
                    tenant: tenant.clone(),
                    kind: kind.clone(),
                    all: *all,
                    page_size: 500,
                    page_token,
                };
                let page = status.list_alerts(request).await?.into_inner();
                for alert in page.alerts {
                    rows.print(cells(alert))?;
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        AlertsCommand::Acknowledge { id, ticket, output } => {
            let request = AcknowledgeAlertRequest {
                id: id.clone(),
                ticket: ticket.clone(),
            };
            let alert = status.acknowledge_alert(request).await?.into_inner();
            Rows::new(output.output, COLUMNS).print(cells(alert))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn cells(alert: Alert) -> Vec<Value> {
    vec![
        alert.id.into(),
        when(alert.raise_time.as_ref()).into(),
        alert.tenant.into(),
        alert.kind.into(),
        alert.text.into(),
        alert.subject.into(),
        when(alert.last_time.as_ref()).into(),
        when(alert.end_time.as_ref()).into(),
        alert.delegation_id.into(),
        alert.operation_id.into(),
        alert.acknowledged_by.into(),
        when(alert.acknowledge_time.as_ref()).into(),
        alert.ticket.into(),
    ]
}
