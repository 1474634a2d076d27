//! Asked ahead: how long so many mailboxes take, and how many accounts would be enough.

use std::process::ExitCode;

use calgrant_contract::{pb::fleet::v1::PlanCapacityRequest, words};
use calgrant_runtime::clock;
use clap::Args;

use crate::{
    cli::OutputArgs,
    front::Front,
    operations::when,
    output::{Output, Rows},
    windows,
};

/// What is planned.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Whose accounts.
    #[arg(long)]
    tenant: String,
    /// Which site: online or onprem.
    #[arg(long, default_value = "online")]
    site: calgrant_domain::SiteKind,
    /// How many mailboxes.
    #[arg(long)]
    mailboxes: u64,
    /// By when they should be done, such as 2026-11-30, monday or 36h: says how many accounts that needs.
    #[arg(long, value_name = "WHEN", value_parser = |raw: &str| windows::by(raw, clock::now()))]
    by: Option<calgrant_contract::pb::Timestamp>,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("tenant", 12),
    ("mailboxes", 9),
    ("calls_needed", 12),
    ("seconds", 10),
    ("end", 20),
    ("seconds_per_call", 16),
    ("bound_by", 30),
    ("accounts", 8),
    ("accounts_needed", 15),
    ("useless_because", 30),
    ("text", 60),
];

/// Asks for the plan and says it.
pub(crate) async fn run(front: Front, args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let request = PlanCapacityRequest {
        tenant: args.tenant.clone(),
        site: words::site_kind_to_wire(args.site),
        mailboxes: args.mailboxes,
        by: args.by,
    };
    let plan = front
        .fleet
        .clone()
        .plan_capacity(request)
        .await?
        .into_inner();
    if args.output.output == Output::Table {
        println!("{}", plan.text);
        return Ok(ExitCode::SUCCESS);
    }
    Rows::new(args.output.output, COLUMNS).print(vec![
        args.tenant.as_str().into(),
        args.mailboxes.into(),
        plan.calls_needed.into(),
        plan.seconds.into(),
        when(plan.end_time.as_ref()).into(),
        plan.seconds_per_call.into(),
        plan.bound_by.as_str().into(),
        plan.accounts.into(),
        plan.accounts_needed.into(),
        plan.useless_because.as_str().into(),
        plan.text.as_str().into(),
    ])?;
    Ok(ExitCode::SUCCESS)
}
