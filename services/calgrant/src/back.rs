//! Taking away, putting back, looking whether it is still there.

use std::process::ExitCode;

use calgrant_contract::pb::provisioning::v1::{
    Lane, RevokeDelegationRequest, RevokeTrusteeRequest, UndoOperationRequest,
    VerifyDelegationRequest,
};
use clap::Args;

use crate::{front::Front, how::How};

/// What every one of these commands takes.
#[derive(Debug, Args)]
struct Asked {
    /// Goes before bulk work, as it does by default where one mailbox is named.
    #[arg(long)]
    interactive: bool,
    #[command(flatten)]
    how: How,
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
    asked: Asked,
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
    asked: Asked,
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
    asked: Asked,
}

impl Asked {
    fn lane(&self) -> i32 {
        if self.interactive {
            Lane::Interactive.into()
        } else {
            Lane::Unspecified.into()
        }
    }
}

/// Takes away.
pub(crate) async fn revoke(front: Front, args: &RevokeArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let (mailboxes, request_id) = (args.mailbox.clone(), how.request_id());
    let (lane, validate_only, ticket) = (args.asked.lane(), how.plan, how.ticket.clone());
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
    how.follow(&front, accepted?.into_inner()).await
}

/// Puts back.
pub(crate) async fn undo(front: Front, args: &UndoArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let request = UndoOperationRequest {
        operation: args.operation.clone(),
        request_id: how.request_id(),
        lane: args.asked.lane(),
        validate_only: how.plan,
        ticket: how.ticket.clone(),
    };
    let accepted = front.provisioning.clone().undo_operation(request).await;
    how.follow(&front, accepted?.into_inner()).await
}

/// Looks.
pub(crate) async fn verify(front: Front, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let request = VerifyDelegationRequest {
        delegation: args.delegation.clone(),
        mailboxes: args.mailbox.clone(),
        repair: args.repair,
        request_id: how.request_id(),
        lane: args.asked.lane(),
        validate_only: how.plan,
        ticket: how.ticket.clone(),
    };
    let accepted = front.provisioning.clone().verify_delegation(request).await;
    how.follow(&front, accepted?.into_inner()).await
}
