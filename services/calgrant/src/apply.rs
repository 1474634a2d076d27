//! Applying a tenant's file: a diff first, then the change.

use std::{path::PathBuf, process::ExitCode};

use calgrant_contract::pb::fleet::v1::ApplyTenantRequest;
use clap::Args;

use crate::{check, front::Front, tenant_file};

/// What to apply.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The tenant's TOML file.
    #[arg(short, long)]
    file: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    plan: bool,
    /// Don't look afterwards at what the accounts may do.
    #[arg(long)]
    no_check: bool,
    /// Address of status, for that look.
    #[arg(long, env = "CALGRANT_STATUS", default_value = "http://127.0.0.1:7102")]
    status: String,
}

/// Shows the diff and applies it.
pub(crate) async fn run(front: Front, args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file)
        .map_err(|cause| anyhow::anyhow!("{}: {cause}", args.file.display()))?;
    let spec = tenant_file::read(&text)?;
    let tenant = spec.name.clone();
    let request = ApplyTenantRequest {
        spec: Some(spec),
        validate_only: true,
        etag: String::new(),
    };
    let plan = front
        .fleet
        .clone()
        .apply_tenant(request.clone())
        .await?
        .into_inner();
    for change in &plan.changes {
        println!("{change}");
    }
    if plan.changes.is_empty() {
        eprintln!("nothing to change");
    }
    if !args.plan {
        // What was shown is what is applied: another change in between is refused.
        let etag = plan.tenant.map(|tenant| tenant.etag).unwrap_or_default();
        front
            .fleet
            .clone()
            .apply_tenant(ApplyTenantRequest {
                validate_only: false,
                etag,
                ..request
            })
            .await?;
        if !plan.changes.is_empty() {
            eprintln!("applied {} changes", plan.changes.len());
        }
        if !args.no_check {
            check::after_apply(&front, &tenant, &args.status).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}
