//! Taking away, putting back, looking whether it is still there.

use std::process::ExitCode;

use calgrant_contract::pb::provisioning::v1::{
    Lane, Operation, RevokeDelegationRequest, RevokeTrusteeRequest, UndoOperationRequest,
    VerifyDelegationRequest,
};
use clap::Args;
use tonic::Status;

use crate::{front::Front, operations, output::Output, progress};

/// What every one of these commands takes.
#[derive(Debug, Args)]
struct How {
    /// Goes before bulk work, as it does by default where one mailbox is named.
    #[arg(long)]
    interactive: bool,
    /// Only finds out what would be done.
    #[arg(long)]
    plan: bool,
    /// Shows progress until it ends, or waits for a person; the exit code says how it ended.
    #[arg(long)]
    wait: bool,
    /// Makes a repeat harmless; a new one by default.
    #[arg(long)]
    request_id: Option<String>,
    /// Reference to a ticket.
    #[arg(long, default_value = "")]
    ticket: String,
    /// How to print the operation.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What is taken away.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    of: RevokeOf,
    /// Name of the tenant; with --trustee.
    #[arg(long, requires = "trustee", default_value = "")]
    tenant: String,
    /// Only this mailbox: an address it had when it was listed, or its key, mbx_… or a GUID. May be repeated.
    #[arg(long)]
    mailbox: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RevokeOf {
    /// The delegation, dlg_…
    #[arg(long)]
    delegation: Option<String>,
    /// What any delegation of the tenant gave this trustee: its primary address.
    #[arg(long, requires = "tenant")]
    trustee: Option<String>,
}

/// What is put back.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// The operation, op_…
    operation: String,
    #[command(flatten)]
    how: How,
}

/// What is looked at.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The delegation, dlg_…
    #[arg(long)]
    delegation: String,
    /// Only this mailbox: an address it had when it was listed, or its key, mbx_… or a GUID. May be repeated.
    #[arg(long)]
    mailbox: Vec<String>,
    /// Gives the right again where it was taken away or lowered.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    how: How,
}

impl How {
    fn lane(&self) -> i32 {
        if self.interactive {
            Lane::Interactive.into()
        } else {
            Lane::Unspecified.into()
        }
    }

    fn request_id(&self) -> String {
        let new = || uuid::Uuid::new_v4().to_string();
        self.request_id.clone().unwrap_or_else(new)
    }
}

/// Takes away.
pub(crate) async fn revoke(front: Front, args: &RevokeArgs) -> anyhow::Result<ExitCode> {
    let how = &args.how;
    let (mailboxes, request_id) = (args.mailbox.clone(), how.request_id());
    let (lane, validate_only, ticket) = (how.lane(), how.plan, how.ticket.clone());
    let mut api = front.provisioning.clone();
    let accepted = match &args.of.trustee {
        Some(trustee) => {
            let request = RevokeTrusteeRequest {
                tenant: args.tenant.clone(),
                trustee: trustee.clone(),
                mailboxes,
                request_id,
                lane,
                validate_only,
                ticket,
            };
            api.revoke_trustee(request).await
        }
        None => {
            let request = RevokeDelegationRequest {
                delegation: args.of.delegation.clone().unwrap_or_default(),
                mailboxes,
                request_id,
                lane,
                validate_only,
                ticket,
            };
            api.revoke_delegation(request).await
        }
    };
    follow(&front, how, accepted).await
}

/// Puts back.
pub(crate) async fn undo(front: Front, args: &UndoArgs) -> anyhow::Result<ExitCode> {
    let request = UndoOperationRequest {
        operation: args.operation.clone(),
        request_id: args.how.request_id(),
        lane: args.how.lane(),
        validate_only: args.how.plan,
        ticket: args.how.ticket.clone(),
    };
    let accepted = front.provisioning.clone().undo_operation(request).await;
    follow(&front, &args.how, accepted).await
}

/// Looks.
pub(crate) async fn verify(front: Front, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let request = VerifyDelegationRequest {
        delegation: args.delegation.clone(),
        mailboxes: args.mailbox.clone(),
        repair: args.repair,
        request_id: args.how.request_id(),
        lane: args.how.lane(),
        validate_only: args.how.plan,
        ticket: args.how.ticket.clone(),
    };
    let accepted = front.provisioning.clone().verify_delegation(request).await;
    follow(&front, &args.how, accepted).await
}

/// Says what was accepted, and waits for it if asked to.
async fn follow(
    front: &Front,
    how: &How,
    accepted: Result<tonic::Response<Operation>, Status>,
) -> anyhow::Result<ExitCode> {
    let mut operation = accepted?.into_inner();
    if how.wait {
        eprintln!("{} is accepted", operation.id);
        operation = progress::watch(front, &operation.id).await?;
        operations::say(&operation);
    } else {
        eprintln!(
            "accepted; follow it by: calgrant operations watch {}",
            operation.id
        );
    }
    operations::show(&operation, how.output)?;
    Ok(progress::exit_code(&operation))
}
