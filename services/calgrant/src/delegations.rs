//! Delegations: what is wished, and how it is kept.

use std::process::ExitCode;

use calgrant_contract::pb::provisioning::v1::{
    Delegation, ListDelegationsRequest, Policy, selector::By,
};
use clap::Subcommand;
use serde_json::Value;

use crate::{cli::OutputArgs, front::Front, operations::when, output::Rows};

/// What to do with delegations.
#[derive(Debug, Subcommand)]
pub(crate) enum DelegationsCommand {
    /// Newest first, with the age of the oldest verification of those that are kept.
    List {
        /// Name of the tenant.
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

const COLUMNS: &[(&str, usize)] = &[
    ("id", 36),
    ("policy", 6),
    ("selector", 40),
    ("trustees", 40),
    ("role", 10),
    ("mailboxes", 9),
    ("oldest_verification", 20),
    ("missing", 7),
    ("listed", 20),
    ("verify_operation", 35),
    ("list_operation", 35),
    ("leave_operation", 35),
    ("created", 20),
    ("created_by", 16),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &DelegationsCommand) -> anyhow::Result<ExitCode> {
    let DelegationsCommand::List { tenant, output } = command;
    let mut provisioning = front.provisioning.clone();
    let mut rows = Rows::new(output.output, COLUMNS);
    let mut page_token = String::new();
    loop {
        let request = ListDelegationsRequest {
            tenant: tenant.clone(),
            page_size: 500,
            page_token,
        };
        let page = provisioning.list_delegations(request).await?.into_inner();
        for delegation in page.delegations {
            rows.print(cells(delegation))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn cells(delegation: Delegation) -> Vec<Value> {
    let spec = delegation.spec.unwrap_or_default();
    let kept = delegation.kept.unwrap_or_default();
    let policy = match spec.policy() {
        Policy::Keep => "keep",
        Policy::Once | Policy::Unspecified => "once",
    };
    let selector = match spec.selector.and_then(|selector| selector.by) {
        Some(By::Group(group)) => format!("group {group}"),
        Some(By::OrganizationalUnit(unit)) => format!("unit {unit}"),
        Some(By::OrganizationalUnitOneLevel(unit)) => format!("unit {unit}, without those below"),
        Some(By::AdministrativeUnit(unit)) => format!("administrative unit {unit}"),
        Some(By::MailboxList(list)) => list,
        Some(By::All(_)) | None => "all".to_owned(),
    };
    let trustees: Vec<_> = spec
        .trustees
        .iter()
        .map(|trustee| trustee.address.as_str())
        .collect();
    vec![
        delegation.id.into(),
        policy.into(),
        selector.into(),
        trustees.join(", ").into(),
        spec.role.into(),
        kept.mailboxes.into(),
        when(kept.oldest_verify_time.as_ref()).into(),
        kept.missing.into(),
        when(kept.list_time.as_ref()).into(),
        kept.verify_operation_id.into(),
        kept.list_operation_id.into(),
        kept.leave_operation_id.into(),
        when(delegation.create_time.as_ref()).into(),
        delegation.created_by.into(),
    ]
}
