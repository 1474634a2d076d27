//! Service accounts: list, resume.

use std::process::ExitCode;

use calgrant_contract::{
    pb::fleet::v1::{Account, ListAccountsRequest, Purpose, ResumeAccountRequest},
    words,
};
use clap::Subcommand;
use serde_json::Value;

use crate::{
    cli::OutputArgs,
    front::Front,
    operations::when,
    output::{Output, Rows},
};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// Every account with its state.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Lets a paused account work again.
    Resume {
        /// Its name.
        account: String,
        /// Whose.
        #[arg(long)]
        tenant: String,
        /// Its site: online or onprem.
        #[arg(long, default_value = "online")]
        site: calgrant_domain::SiteKind,
    },
}

const COLUMNS: &[(&str, usize)] = &[
    ("tenant", 16),
    ("site", 7),
    ("account", 20),
    ("purposes", 16),
    ("workers", 7),
    ("in_flight", 9),
    ("state", 7),
    ("since", 20),
    ("reason", 40),
];

/// Runs the command.
pub(crate) async fn run(front: Front, command: &AccountsCommand) -> anyhow::Result<ExitCode> {
    match command {
        AccountsCommand::List { tenant, output } => {
            let mut rows = Rows::new(output.output, COLUMNS);
            for account in front
                .fleet
                .clone()
                .list_accounts(ListAccountsRequest {
                    tenant: tenant.clone().unwrap_or_default(),
                })
                .await?
                .into_inner()
                .accounts
            {
                rows.print(cells(&account))?;
            }
        }
        AccountsCommand::Resume {
            account,
            tenant,
            site,
        } => {
            let request = ResumeAccountRequest {
                tenant: tenant.clone(),
                site: words::site_kind_to_wire(*site),
                account: account.clone(),
            };
            let account = front
                .fleet
                .clone()
                .resume_account(request)
                .await?
                .into_inner();
            Rows::new(Output::Table, COLUMNS).print(cells(&account))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(account: &Account) -> Vec<Value> {
    let spec = account.spec.clone().unwrap_or_default();
    let purposes = spec
        .purposes
        .iter()
        .filter_map(|raw| Purpose::try_from(*raw).ok())
        .map(|purpose| {
            purpose
                .as_str_name()
                .trim_start_matches("PURPOSE_")
                .to_lowercase()
        });
    vec![
        account.tenant.as_str().into(),
        account
            .site()
            .as_str_name()
            .trim_start_matches("SITE_KIND_")
            .to_lowercase()
            .into(),
        spec.name.into(),
        purposes.collect::<Vec<_>>().into(),
        spec.workers.into(),
        spec.max_in_flight.into(),
        if account.paused { "paused" } else { "active" }.into(),
        when(account.pause_time.as_ref()).into(),
        account.pause_reason.as_str().into(),
    ]
}
